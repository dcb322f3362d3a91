"""A runner that was broken into, with its real key: whatever it says harms nobody but itself (security.md, S26)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import zmq

from surveil.core.model import AttemptState, Status
from surveil.core.state import State
from surveil.net.keys import RUNNER_KEY, KeyPair, load_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.net.options import apply_options, peer_options
from surveil.places import KEYS
from surveil.protocol import (
    Accepted,
    Answer,
    Ask,
    Assign,
    Beat,
    Bye,
    Cancel,
    CommitSeen,
    Drain,
    Enrol,
    Enrolled,
    Finished,
    Heartbeat,
    Held,
    Hello,
    JobSpec,
    Kept,
    Message,
    Output,
    Pack,
    Progress,
    Refused,
    Rejected,
    Release,
    Seen,
    StepReport,
    Want,
    Watching,
    decode_all,
    encode,
)
from tests.integration.test_dispatcher import (
    dispatching,
    in_a_loop,
    local_client,
    played_runner,
    submit,
)
from tests.net.stage import PATIENCE_MS, say

JOB: Final = "1/test"
SHA: Final = "a" * 40
MANY: Final = 20_000


def finished(outcome: str, job: str = JOB, attempt: int = 1) -> Finished:
    return Finished(
        job=job, attempt=attempt, outcome=outcome, reason="so I say", exit_code=0,  # type: ignore[arg-type]  # one of the outcomes
        started_after_ms=0, finished_after_ms=1, log_bytes=0, steps=(),
    )  # fmt: skip


def hello(**said: Any) -> Hello:
    fields: dict[str, Any] = {
        "name": "mallory", "software": "1", "host": "there", "cluster": "", "incarnation": 1, "birth": 9, "seq": 1,
        "labels": (), "slots": 0, "held": (),
    } | said  # fmt: skip
    return Hello(**fields)


def beat(**said: Any) -> Heartbeat:
    fields: dict[str, Any] = {
        "incarnation": 1, "seq": 1_000, "held": (), "free": 0, "load_percent": 0, "disk_free_mib": 1_000,
    } | said  # fmt: skip
    return Heartbeat(**fields)


def output(**said: Any) -> Output:
    fields: dict[str, Any] = {"job": JOB, "attempt": 1, "at": 0, "crc": zlib.crc32(b"x"), "after_ms": 0, "data": b"x"}
    return Output(**fields | said)


def raw(header: bytes, *rest: bytes) -> list[bytes]:
    return [header, *rest]


def fields(message: Message, **changed: Any) -> list[bytes]:
    """A message with values that no honest program could send."""
    header, packed, *rest = encode(message)
    return [header, msgpack.packb(msgpack.unpackb(packed) | changed), *rest]


ENDED: Final = (Held(job=JOB, attempt=1, finished=True, log_bytes=0),)
HELD: Final = (Held(job=JOB, attempt=1, finished=False, log_bytes=0),)
COMMIT: Final = CommitSeen(
    mid="forged", repo="/repo", ref="refs/heads/main", sha=SHA, event="push", message="", author="", pipeline=None,
    pipeline_file="", problem="p",
)  # fmt: skip
SPEC: Final = JobSpec(name="x", env={}, timeout_ms=1, steps=(), matrix={})
ASSIGN: Final = Assign(
    epoch=99, incarnation=1, anchor=1, job=JOB, attempt=1, build=1, repo="/r", ref="r", sha=SHA, spec=SPEC,
)  # fmt: skip

CONTROL: Final[dict[str, Message | list[bytes]]] = {
    "another's attempt accepted": Accepted(job=JOB, attempt=1),
    "another's attempt rejected": Rejected(job=JOB, attempt=1, reason="no"),
    "another's attempt in progress": Progress(job=JOB, attempt=1, steps=(StepReport(name="s", state="failed"),)),
    "another's attempt passed": finished("passed"),
    "another's attempt failed": finished("failed"),
    "another's attempt lost": finished("lost"),
    "an attempt that is still to come": finished("passed", attempt=2),
    "attempt nought": finished("passed", attempt=0),
    "a job of a build that is not there": finished("passed", job="999/test"),
    "another's attempt held by a heartbeat": beat(held=HELD),
    "another's attempt held by a hello": hello(seq=2_000, held=HELD),
    "another's attempt held as finished": hello(
        seq=2_001, held=(Held(job=JOB, attempt=1, finished=True, log_bytes=0),)
    ),
    "another's name": hello(seq=2_002, name="played"),
    "another birth under the same incarnation": hello(seq=2_003, birth=8),
    "an incarnation that is still to come": beat(incarnation=2**52, seq=3_000),
    "an old number": beat(seq=1),
    "a goodbye of another start": Bye(incarnation=77, returning=False),
    "so many attempts": hello(
        seq=2_004, held=tuple(Held(job=f"{n}/x", attempt=1, finished=False, log_bytes=0) for n in range(1, 4_001))
    ),
    "a token's secret guessed": Enrol(secret=bytes(32), name="played"),
    "output on the wrong connection": output(),
    "a client's question": Ask(id=1, what="token_create", about={"role": "client"}),
    "an observer's commit": COMMIT,
    "an observer's list": Watching(birth=1, repos=()),
    "an observer's pack": Pack(id=1, runner="k" * 40, at=0, data=b"x"),
    "a dispatcher's order": ASSIGN,
    "a dispatcher's cancellation": Cancel(job=JOB, attempt=1, grace_ms=0, reason="r"),
    "a dispatcher's release": Release(job=JOB, attempt=1, fate="recorded"),
    "a dispatcher's acknowledgement": Kept(job=JOB, attempt=1, upto=9),
    "a dispatcher's word on commits": Seen(mid="m", build=1),
    "a dispatcher's drain": Drain(stop=True),
    "a dispatcher's beat": Beat(epoch=99, seq=1, renewed=(), revoked=()),
    "a dispatcher's enrolment": Enrolled(cluster="c", name="n", role="client", labels=()),
    "a dispatcher's answer": Answer(id=1, body={}),
    "no header": raw(b"", b"\x80"),
    "a strange header": raw(b"GET ", b"\x80"),
    "an unknown version": raw(b"SV\x7f\x01", b"\x80"),
    "an unknown type": raw(b"SV\x01\xfe", b"\x80"),
    "no fields": raw(b"SV\x01\x02", b""),
    "fields that are no map": raw(b"SV\x01\x02", b"\x93\x01\x02\x03"),
    "a map without an end": raw(b"SV\x01\x02", b"\xdf\xff\xff\xff\xff"),
    "lists in lists": raw(b"SV\x01\x02", b"\x91" * 100_000),
    "a text for a number": fields(beat(), seq="9999"),
    "a number below nought": fields(beat(), seq=-1),
    "a number beyond all limits": fields(beat(), seq=2**63),
    "a fraction": fields(beat(), seq=float("nan")),
    "nothing for a list": fields(beat(), held=None),
    "a job with a strange name": fields(finished("passed"), job="../../etc/passwd"),
    "a text beyond its limit": fields(hello(), name="x" * 300_000),
    "five frames": raw(b"SV\x01\x02", b"\x80", b"", b"", b""),
    "so many frames": raw(b"SV\x01\x02", *[b"x"] * MANY),
}
BULK: Final[dict[str, Message | list[bytes]]] = {
    "output of another's attempt": output(),
    "output of another's attempt with its place guessed": output(at=2**40),
    "output of a job that is not there": output(job="999/test"),
    "output with another checksum": output(crc=1),
    "a commit that is none of its business": Want(id=1, repo="/repo", sha=SHA, have=(), at=0),
    "a commit for another runner": Want(id=2, runner="k" * 40, repo="/repo", sha=SHA, have=(), at=0),
    "a hello on the wrong connection": hello(seq=4_000),
    "a result on the wrong connection": finished("passed"),
    "output without its bytes": encode(output())[:2],
    "output beyond its limit": [*encode(output())[:2], bytes(300_000)],
}


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


def all_of(state: State) -> tuple[object, ...]:
    """Everything that a forged word could have changed."""
    return (
        dict(state.builds),
        dict(state.jobs),
        dict(state.attempts),
        {key: dict(of) for key, of in state.held_by.items()},
    )


@pytest.mark.timeout(180)
@in_a_loop
async def test_no_forged_word_changes_anything_and_the_others_are_served(tmp_path: Path) -> None:
    async with (
        dispatching(tmp_path / "d") as parts,
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "r") as honest,
        played_runner(client, tmp_path / "m", name="mallory"),
    ):
        state = parts.live.state
        await honest.hello()
        await submit(client)
        assign = await honest.hear(Assign)
        await honest.say(Accepted(job=JOB, attempt=1))
        keys, known = load_keys(tmp_path / "m" / KEYS / RUNNER_KEY), load_known(tmp_path / "m")

        async def is_unharmed(name: str) -> None:
            honest.seq += 1
            await honest.say(beat(seq=honest.seq, held=HELD))
            answer = await honest.hear(Beat)
            assert [(ref.job, ref.attempt) for ref in answer.renewed] == [(JOB, 1)], name
            assert (await client.ask("status", {})).body["queue"]["running"] == 1, name

        async def tries(peer: zmq.Socket[Any], attacks: dict[str, Message | list[bytes]]) -> set[str]:
            refused = set()
            for name, attack in attacks.items():
                before = all_of(state)
                await say(peer, attack if isinstance(attack, list) else encode(attack))
                await is_unharmed(name)
                assert all_of(state) == before, name
                patience_ms = 20 if isinstance(attack, HONEST_KINDS) else PATIENCE_MS
                while said := await heard(peer, patience_ms):
                    patience_ms = 20
                    refused |= {name for message in said if isinstance(message, Refused)}
                    orders = [message for message in said if isinstance(message, Assign | Cancel | Enrolled | Answer)]
                    assert orders == [], name
            return refused

        await is_unharmed("nobody")
        with hostile(keys, known, parts.address.port) as control, hostile(keys, known, parts.server.bulk_port) as bulk:
            await say(control, encode(hello()))
            (welcome,) = await heard(control, PATIENCE_MS)
            assert type(welcome).__name__ == "Welcome"
            # Words of a runner about what is not its own are ordinary, and change nothing; all else is refused.
            ordinary = {name for name, attack in CONTROL.items() if isinstance(attack, HONEST_KINDS)}
            copied = {"another birth under the same incarnation"}
            assert await tries(control, CONTROL) == (set(CONTROL) - ordinary) | copied
            # What is wanted is denied by a word that names the transfer.
            wanted = {name for name, attack in BULK.items() if isinstance(attack, Want)}
            assert await tries(bulk, BULK) == set(BULK) - wanted
        counts = parts.server.counts
        assert (counts.denied > 0, counts.malformed > 0) == (True, True)
        assert counts.denied + counts.malformed >= len(CONTROL) - len(ordinary)
        assert (state.jobs[JOB].state, state.attempts[JOB, 1].state) == (Status.RUNNING, AttemptState.RUNNING)
        assert (await client.ask("log", {"job": JOB, "attempt": 1, "at": 0})).data == b""
        await honest.finish(assign)
        assert (await honest.hear(Release)).fate == "recorded"
        shown = (await client.ask("build", {"build": 1})).body
        assert (shown["state"], [each["runner"] for each in shown["jobs"][0]["attempts"]]) == ("passed", ["played"])
        runners = (await client.ask("runners", {})).body
        assert sorted(each["name"] for each in runners) == ["mallory", "played"]


HONEST_KINDS: Final = (Accepted, Rejected, Progress, Finished, Heartbeat, Hello, Bye)
