"""A runner that was broken into, with its real key: whatever it says harms nobody but itself (security.md, S26)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import zmq

from surveil.client.asking import Client
from surveil.core.policy import Policy
from surveil.hands.dispatching import Parts
from surveil.net.audit import LOG_REFUSED, MALFORMED, MAY_NOT, NO_BUSINESS, NOT_ITS_OWN, TOKENS, TURNED_AWAY
from surveil.net.keys import RUNNER_KEY, KeyPair, load_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.net.options import apply_options, peer_options
from surveil.places import KEYS, LOGS
from surveil.protocol import (
    Accepted,
    Answer,
    Assign,
    Beat,
    Bye,
    Cancel,
    Enrol,
    Enrolled,
    Finished,
    Heartbeat,
    Hello,
    Kept,
    Message,
    Output,
    Progress,
    Refused,
    Rejected,
    Release,
    StepReport,
    Want,
    decode_all,
    encode,
)
from surveil.store.log_packed import SUFFIX
from tests.integration.forgeries import (
    AWAY,
    BAIT,
    BULK,
    JOB,
    LOG,
    OTHERS,
    OVER,
    OWN,
    OWN_BULK,
    UGLY,
    Said,
    beat,
    finished,
    hello,
    holds,
    output,
)
from tests.integration.test_dispatcher import PlayedRunner, dispatching, in_a_loop, local_client, played_runner, submit
from tests.net.stage import PATIENCE_MS, say

pytestmark = pytest.mark.timeout(180)

PIPELINE: Final = "".join(
    f"{line}\n"
    for line in (
        "jobs:",
        "  over: {labels: [fair], steps: [{run: 'true'}]}",
        "  test: {labels: [fair], needs: [over], steps: [{run: 'true'}]}",
        "  bait: {labels: [bait], steps: [{run: 'true'}]}",
    )
)
HONEST_KINDS: Final = (Accepted, Rejected, Progress, Finished, Heartbeat, Hello, Bye)
"""What any runner says. About what is not its own it is ordinary, and changes nothing; all else is refused."""
HONEST_LOG: Final = b"honest work\n"


@contextmanager
def hostile(keys: KeyPair, known: KnownDispatcher, port: int) -> Iterator[zmq.Socket[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    apply_options(peer, peer_options(keys, known.server_key, bulk=False))
    peer.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield peer
    finally:
        peer.close(0)
        context.term()


async def heard(peer: zmq.Socket[Any], wait_ms: int) -> list[Message]:
    """What comes within this time, up to the first word."""
    if not await asyncio.to_thread(peer.poll, wait_ms, zmq.POLLIN):
        return []
    return list(decode_all(peer.recv_multipart(zmq.NOBLOCK)))


def stored(data: Path, besides: tuple[str, ...]) -> dict[str, object]:
    """Every row and every log on the dispatcher's disk, without those rows that hold one of the texts `besides`."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(f"file:{data / 'surveil.db'}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"').fetchall()
            found[table] = sorted(
                repr(row) for row in rows if not any(text in str(value) for text in besides for value in row)
            )
    assert {"builds", "jobs", "attempts", "runners", "peers", "tokens", "notes"} <= set(found)
    return found | {str(path): path.read_bytes() for path in (data / LOGS).rglob("*") if path.is_file()}


class Scene:
    """An honest runner at work, and one that was broken into with a job of its own."""

    def __init__(self, parts: Parts, client: Client, honest: PlayedRunner, folder: Path) -> None:
        self.parts, self.client, self.honest, self.data = parts, client, honest, folder / "d"
        self.keys, self.known = load_keys(folder / "m" / KEYS / RUNNER_KEY), load_known(folder / "m")
        # What the machine does to all of us, who share its processors, is written down as well.
        self.besides: tuple[str, ...] = (self.keys.public, "mallory", "stalled")

    async def is_unharmed(self, name: str) -> None:
        """The honest runner is heard, its attempt is its own, and questions are answered."""
        self.honest.seq += 1
        await self.honest.say(beat(seq=self.honest.seq, held=holds((JOB, 1))))
        answer = await self.honest.hear(Beat)
        assert [(ref.job, ref.attempt) for ref in answer.renewed] == [(JOB, 1)], name
        assert (await self.client.ask("status", {})).body["queue"]["running"] >= 1, name

    async def tries(self, peer: zmq.Socket[Any], attacks: Mapping[str, Said]) -> dict[str, list[Message]]:
        """Say each of these and see that nothing on the dispatcher's disk is another thing afterwards; the answers."""
        answers: dict[str, list[Message]] = {}
        before = stored(self.data, self.besides)
        for name, attack in attacks.items():
            await say(peer, attack if isinstance(attack, list) else encode(attack))
            await self.is_unharmed(name)
            assert stored(self.data, self.besides) == before, name
            patience_ms = 20 if isinstance(attack, HONEST_KINDS) else PATIENCE_MS
            answers[name] = []
            while said := await heard(peer, patience_ms):
                patience_ms = 20
                answers[name] += said
            orders = [word for word in answers[name] if isinstance(word, Assign | Cancel | Enrolled | Answer)]
            assert orders == [], name
        return answers


@contextlib.asynccontextmanager
async def playing(folder: Path) -> Any:
    """The scene: `over` has passed and `test` runs, both on the honest runner; `bait` waits for the other one."""
    async with (
        # The forger sends no heartbeat that counts, and its questions are judged by what it holds: until it is away.
        dispatching(folder / "d", Policy(lease_ms=3_600_000)) as parts,
        local_client(folder / "d") as client,
        played_runner(client, folder / "r") as honest,
        played_runner(client, folder / "m", name="mallory"),
    ):
        await honest.hello(labels=("fair",))
        await submit(client, pipeline=PIPELINE)
        for name in (OVER, JOB):
            assign = await honest.hear(Assign)
            assert assign.job == name
            await honest.say(Accepted(job=name, attempt=1))
            await honest.say(output(HONEST_LOG, job=name))
            assert (await honest.hear(Kept)).upto == len(HONEST_LOG)
            if name == OVER:
                await honest.say(finished("passed", job=OVER, log_bytes=len(HONEST_LOG)))
                assert (await honest.hear(Release)).fate == "recorded"
        while {path.suffix for path in (folder / "d" / LOGS).rglob("over*")} != {SUFFIX}:  # noqa: ASYNC110  # a thread's
            await asyncio.sleep(0.01)
        yield Scene(parts, client, honest, folder)


def refused(answers: Mapping[str, list[Message]]) -> set[str]:
    return {name for name, said in answers.items() if any(isinstance(word, Refused) for word in said)}


def told_of(caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    """What the dispatcher's own log says of the forger, summed up."""
    found: dict[str, int] = {}
    for record in caplog.records:
        keys = dict(getattr(record, "surveil_keys", {}))
        if keys.pop("peer", "") == "mallory":
            assert keys.pop("role") == "runner"
            found = {name: found.get(name, 0) + keys.get(name, 0) for name in {*found, *keys}}
    return found


@in_a_loop
async def test_no_forged_word_changes_anything_and_the_others_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with playing(tmp_path) as scene:
        await scene.is_unharmed("nobody")
        # No slots: it has nothing of its own, and nothing but its own may change.
        with (
            hostile(scene.keys, scene.known, scene.parts.address.port) as control,
            hostile(scene.keys, scene.known, scene.parts.server.bulk_port) as bulk,
        ):
            await say(control, encode(hello(slots=0)))
            assert [type(word).__name__ for word in await heard(control, PATIENCE_MS)] == ["Welcome"]
            attacks = {
                name: encode(Hello(**said_by(attack) | {"slots": 0})) if isinstance(attack, Hello) else attack
                for name, attack in OTHERS.items()
            }
            ordinary = {name for name, attack in OTHERS.items() if isinstance(attack, HONEST_KINDS)}
            assert refused(await scene.tries(control, attacks)) == (set(OTHERS) - ordinary) | AWAY
            # What is wanted is denied by a word that names the transfer.
            wanted = {name for name, attack in BULK.items() if isinstance(attack, Want)}
            # And of an attempt that nobody knows it is told that nobody wants the log.
            unknown = {"output of an attempt that is still to come", "output of a job that is not there"}
            assert refused(await scene.tries(bulk, BULK)) == set(BULK) - wanted - unknown
        assert (await scene.client.ask("log", {"job": JOB, "attempt": 1, "at": 0})).data == HONEST_LOG
        more = b"and its end"
        await scene.honest.say(output(more, at=len(HONEST_LOG)))
        assert (await scene.honest.hear(Kept)).upto == len(HONEST_LOG + more)
        await scene.honest.say(finished("passed", log_bytes=len(HONEST_LOG + more)))
        assert (await scene.honest.hear(Release)).fate == "recorded"
        jobs = {job["name"]: job for job in (await scene.client.ask("build", {"build": 1})).body["jobs"]}
        assert [(jobs[name]["state"], [each["runner"] for each in jobs[name]["attempts"]]) for name in jobs] == [
            ("passed", ["played"]), ("passed", ["played"]), ("queued", []),
        ]  # fmt: skip
        assert sorted(each["name"] for each in (await scene.client.ask("runners", {})).body) == ["mallory", "played"]
    told = told_of(caplog)
    assert told.pop(NOT_ITS_OWN) >= len([name for name in OTHERS if "another's" in name and name in ordinary])
    assert told == Counter(filter(None, map(audited, OTHERS.values()))) + Counter(
        audited(attack, bulk=True) for attack in BULK.values()
    ) + Counter({TURNED_AWAY: len(AWAY)})


def audited(attack: Said, *, bulk: bool = False) -> str:
    """Under which name the dispatcher counts this word."""
    match attack:
        case list():
            return MALFORMED
        case Enrol():
            return TOKENS
        case Output() if bulk:
            return LOG_REFUSED
        case Want() if bulk:
            return NO_BUSINESS
        case _:
            return "" if isinstance(attack, HONEST_KINDS) and not bulk else MAY_NOT


def said_by(message: Hello) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__}


@in_a_loop
async def test_lies_about_its_own_work_change_nothing_once_that_has_ended(tmp_path: Path) -> None:
    async with playing(tmp_path) as scene:
        with (
            hostile(scene.keys, scene.known, scene.parts.address.port) as control,
            hostile(scene.keys, scene.known, scene.parts.server.bulk_port) as bulk,
        ):
            await say(control, encode(hello()))
            while not any(isinstance(word, Assign) for word in await heard(control, PATIENCE_MS)):
                pass
            await say(control, encode(Accepted(job=BAIT, attempt=1)))
            steps = (StepReport(name=UGLY, state="passed", exit_code=-(2**53), finished_after_ms=2**53),)
            await say(bulk, encode(output(LOG, job=BAIT)))
            assert [type(word).__name__ for word in await heard(bulk, PATIENCE_MS)] == ["Kept"]
            # One byte more than there will ever be: its log stays open, and could be written to.
            last: dict[str, Any] = {"reason": UGLY, "steps": steps, "log_bytes": len(LOG) + 1}
            await say(control, encode(finished("passed", job=BAIT, finished_after_ms=2**53, **last)))
            while not any(isinstance(word, Release) for word in await heard(control, PATIENCE_MS)):
                pass
            # Now its own rows are looked at as well.
            scene.besides = ("stalled",)
            await scene.tries(control, OWN)
            await scene.tries(bulk, OWN_BULK)
        (offender,) = (await scene.client.ask("status", {})).body["offenders"]
        assert (offender["peer"], offender["role"]) == ("mallory", "runner")
        assert offender["did"][LOG_REFUSED] >= 1
        shown = (await scene.client.ask("build", {"build": 1})).body
        (bait,) = [job for job in shown["jobs"] if job["name"] == "bait"]
        (attempt,) = bait["attempts"]
        assert (bait["state"], attempt["state"], attempt["reason"]) == ("passed", "passed", UGLY)
        assert [step["name"] for step in attempt["steps"]] == [UGLY]
        assert (await scene.client.ask("log", {"job": BAIT, "attempt": 1, "at": 0})).data == LOG


@in_a_loop
async def test_a_flood_of_words_that_are_refused_delays_nobody_else(tmp_path: Path) -> None:
    """Nor does it fill memory or the dispatcher's own log: what is refused is counted."""
    async with playing(tmp_path) as scene:
        before = stored(scene.data, scene.besides)
        with hostile(scene.keys, scene.known, scene.parts.server.bulk_port) as bulk:
            want = encode(Want(id=1, repo="/repo", sha="a" * 40, have=(), at=0))
            for number in range(3_000):
                await say(bulk, want)
                if number % 500 == 0:
                    await scene.is_unharmed("a flood")
            await scene.is_unharmed("a flood")
        assert stored(scene.data, scene.besides) == before
