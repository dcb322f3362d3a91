"""The dispatcher's hands with real sockets and a real database in one process; a runner is played word by word."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import shutil
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from surveil.answer import WAIT_MS_MAX
from surveil.client.access import find_access
from surveil.client.asking import Client
from surveil.clock import Clock
from surveil.config import DispatcherConfig
from surveil.core.peers import Role
from surveil.core.policy import Policy
from surveil.dispatcher import Dispatcher
from surveil.errors import InvalidError, NotAllowedError, NotFoundError, UnreachableError, UsageError
from surveil.hands.dispatching import Parts, assembled
from surveil.net.audit import TURNED_AWAY
from surveil.net.connection import Connection
from surveil.net.enrolment import enrol
from surveil.net.keys import OBSERVER_KEY, RUNNER_KEY, SERVER_KEY, load_keys
from surveil.net.known import load_known
from surveil.net.tokens import parse_token
from surveil.places import KEYS, LOGS
from surveil.protocol import (
    CHUNK_BYTES_MAX,
    Accepted,
    Assign,
    Beat,
    Cancel,
    CommitSeen,
    Finished,
    Heartbeat,
    Held,
    Hello,
    Introduce,
    Kept,
    Message,
    Output,
    Pack,
    Ref,
    Refused,
    Release,
    Want,
    WatchedRepo,
    Watching,
    Welcome,
)
from surveil.store import StoreError
from surveil.store.log_packed import SUFFIX
from surveil.store.logs import LogStore
from surveil.store.sqlite import open_store

SOON_MS = 60_000
"""How long a test waits for what should happen at once; generous, because processors may be shared."""
Wanted = TypeVar("Wanted")
PIPELINE = "jobs: {test: {steps: [{run: make test}]}}"


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class PlayedRunner:
    """A runner that says what the test says."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.seq = 0
        self.cluster = ""
        self.heard: list[Any] = []

    async def hear(self, kind: type[Wanted]) -> Wanted:
        """The next message of this kind; others before it are set aside."""
        async with asyncio.timeout(SOON_MS / 1000):
            while True:
                for index, message in enumerate(self.heard):
                    if isinstance(message, kind):
                        del self.heard[index]
                        return message
                self.heard += await self.connection.receive(SOON_MS)

    async def say(self, message: Message) -> None:
        """Say something as soon as the connection takes it."""
        async with asyncio.timeout(SOON_MS / 1000):
            while not self.connection.send(message):
                self.heard += await self.connection.receive(50)

    def introduction(self, *, incarnation: int = 1, held: tuple[Held, ...] = (), labels: tuple[str, ...] = ()) -> Hello:
        """Its next word about itself."""
        self.seq += 1
        return Hello(
            name="played", software="1", host="here", cluster=self.cluster, incarnation=incarnation, birth=incarnation,
            seq=self.seq, labels=labels, slots=1, held=held,
        )  # fmt: skip

    async def hello(
        self, *, incarnation: int = 1, held: tuple[Held, ...] = (), labels: tuple[str, ...] = ()
    ) -> Welcome:
        """Introduce itself and be welcomed."""
        await self.say(self.introduction(incarnation=incarnation, held=held, labels=labels))
        welcome = await self.hear(Welcome)
        self.connection.use_bulk(welcome.bulk_port)
        return welcome

    async def finish(self, assign: Assign, log_bytes: int = 0) -> None:
        """Say that an attempt passed."""
        await self.say(
            Finished(
                job=assign.job, attempt=assign.attempt, outcome="passed", reason="", exit_code=0, started_after_ms=1,
                finished_after_ms=2, log_bytes=log_bytes, steps=(),
            )
        )  # fmt: skip


class LeapingClock(Clock):
    """A clock that can leap, as that of a machine does which stood still."""

    leapt_ms = 0

    def now(self) -> int:
        return super().now() + self.leapt_ms


@contextlib.asynccontextmanager
async def dispatching(
    data: Path, policy: Policy | None = None, clock: LeapingClock | None = None
) -> AsyncIterator[Parts]:
    """A dispatcher on a free port, stopped in order at the end."""
    async with assembled(DispatcherConfig(data=data, listen="tcp://127.0.0.1:0")) as opened:
        parts = opened if clock is None else replace(opened, clock=clock)
        dispatcher = Dispatcher(parts, policy or Policy())
        running = asyncio.create_task(dispatcher.run())
        try:
            yield parts
        finally:
            dispatcher.stop()
            await running
            await dispatcher.close()


@contextlib.asynccontextmanager
async def local_client(data: Path) -> AsyncIterator[Client]:
    async with Client(find_access(data, None)) as client:
        yield client


@contextlib.asynccontextmanager
async def played_observer(client: Client, folder: Path) -> AsyncIterator[PlayedRunner]:
    """An observer that joined by a token, and says what the test says as well."""
    token = (await client.ask("token_create", {"role": "observer"})).body["token"]
    await enrol(parse_token(token), name="watcher", role=Role.OBSERVER, data=folder)
    known, keys = load_known(folder), load_keys(folder / KEYS / OBSERVER_KEY)
    async with Connection(known.address, known.server_key, keys) as connection:
        yield PlayedRunner(connection)


@contextlib.asynccontextmanager
async def played_runner(client: Client, folder: Path, name: str = "played") -> AsyncIterator[PlayedRunner]:
    """A runner that joined by a token; its key is in `folder` for another start."""
    if not (folder / KEYS).exists():  # a look at a folder of the test's own
        token = (await client.ask("token_create", {"role": "runner"})).body["token"]
        await enrol(parse_token(token), name=name, role=Role.RUNNER, data=folder)
    known = load_known(folder)
    keys = load_keys(folder / KEYS / RUNNER_KEY)
    async with Connection(known.address, known.server_key, keys) as connection:
        yield PlayedRunner(connection)


async def submit(client: Client, number: int = 1, **more: Any) -> int:
    about: dict[str, Any] = {
        "mid": f"manual:{number:08d}", "repo": "/repo", "ref": "refs/heads/main", "sha": "a" * 40, "message": "m",
        "author": "a", "pipeline": PIPELINE, "pipeline_file": ".surveil.yml",
    }  # fmt: skip
    build: int = (await client.ask("submit", about | more)).body["build"]
    return build


@in_a_loop
async def test_a_commit_becomes_a_verdict_with_its_log(tmp_path: Path) -> None:
    async with dispatching(tmp_path / "d"), local_client(tmp_path / "d") as client:
        async with played_runner(client, tmp_path / "r") as runner:
            await runner.hello()
            build = await submit(client)
            assign = await runner.hear(Assign)
            assert (assign.job, assign.attempt, assign.sha) == (f"{build}/test", 1, "a" * 40)
            await runner.say(Accepted(job=assign.job, attempt=1))
            text = b"all is well\n"
            chunk = Output(job=assign.job, attempt=1, at=0, crc=zlib.crc32(text), after_ms=5, data=text)
            await runner.say(chunk)
            assert await runner.hear(Kept) == Kept(job=assign.job, attempt=1, upto=len(text))
            await runner.finish(assign, log_bytes=len(text))
            assert (await runner.hear(Release)).fate == "recorded"
        shown = (await client.ask("build", {"build": build})).body
        log = await client.ask("log", {"job": assign.job})
    assert shown["state"] == "passed"
    assert [attempt["state"] for attempt in shown["jobs"][0]["attempts"]] == ["passed"]
    assert log.data == text
    assert log.body["complete"]


@in_a_loop
async def test_a_commit_goes_from_an_observer_to_the_runner_that_holds_its_attempt_alone(tmp_path: Path) -> None:
    async with (
        dispatching(tmp_path / "d"),
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "r") as runner,
        played_runner(client, tmp_path / "thief", "thief") as thief,
        played_observer(client, tmp_path / "o") as observer,
    ):
        await runner.hello()
        await submit(client)
        assign = await runner.hear(Assign)
        want = Want(id=3, runner="x" * 40, repo=assign.repo, sha=assign.sha, have=("b" * 40,), at=0)
        # Before anybody has said that it watches the repository, there is nobody to ask.
        await runner.say(want)
        absent = await runner.hear(Pack)
        assert (absent.id, absent.data) == (3, b"")
        assert absent.retry_ms
        assert "no observer of /repo" in absent.problem
        await observer.say(Watching(birth=1, repos=(WatchedRepo(repo="/repo"),)))
        await observer.say(Pack(id=0, runner="x" * 40, at=0, data=b"for nobody"))
        async with asyncio.timeout(SOON_MS / 1000):
            while not (await client.ask("status")).body["watching"]:
                continue
        await thief.hello()
        await thief.say(want)
        denied = await thief.hear(Pack)
        assert (denied.data, denied.retry_ms) == (b"", 0)
        assert "holds an attempt" in denied.problem
        await runner.say(want)
        asked = await observer.hear(Want)
        key = load_keys(tmp_path / "r" / KEYS / RUNNER_KEY).public
        assert asked == replace(want, runner=key)
        pack = Pack(id=3, runner=key, made=1, at=0, total=CHUNK_BYTES_MAX, data=bytes(CHUNK_BYTES_MAX))
        await observer.say(pack)
        assert await runner.hear(Pack) == pack
        # Output goes its own way, whatever else is on bulk.
        await runner.say(Accepted(job=assign.job, attempt=1))
        await runner.say(Output(job=assign.job, attempt=1, at=0, crc=zlib.crc32(b"x"), after_ms=5, data=b"x"))
        assert await runner.hear(Kept) == Kept(job=assign.job, attempt=1, upto=1)
        assert not [said for said in thief.heard if isinstance(said, Pack)]


@in_a_loop
async def test_the_same_fact_makes_one_build_also_after_a_restart(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        first = await submit(client)
        assert await submit(client) == first
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        assert await submit(client) == first
        assert await submit(client, 2) == first + 1


@in_a_loop
async def test_more_commits_than_can_be_read_at_once_are_left_to_their_observers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveil.hands.submitting.READING_MAX", 2)
    made: list[int] = []

    def commit(mid: str) -> CommitSeen:
        return CommitSeen(
            mid=mid, repo="/repo", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="",
            pipeline=PIPELINE, pipeline_file=".surveil.yml",
        )  # fmt: skip

    async with assembled(DispatcherConfig(data=tmp_path, listen="tcp://127.0.0.1:0")) as parts:
        dispatcher = Dispatcher(parts, Policy())
        taken = [dispatcher.submissions.submit(commit(mid), made.append) for mid in ("one", "two", "three", "one")]
        assert taken == [True, True, False, True]
        running = asyncio.create_task(dispatcher.run())
        async with asyncio.timeout(SOON_MS / 1000):
            while len(made) < 3:  # noqa: ASYNC110  # The one who is told has no event.
                await asyncio.sleep(0.01)
            assert dispatcher.submissions.submit(commit("three"), made.append)
            while len(made) < 4:  # noqa: ASYNC110  # The same.
                await asyncio.sleep(0.01)
        dispatcher.stop()
        await running
        await dispatcher.close()
    assert sorted(made) == [1, 1, 2, 3]


@in_a_loop
async def test_labels_that_were_not_granted_are_dropped_and_an_operator_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dispatching(tmp_path / "d"), local_client(tmp_path / "d") as client:
        token = (await client.ask("token_create", {"role": "runner", "labels": ["gpu"]})).body["token"]
        await enrol(parse_token(token), name="greedy", role=Role.RUNNER, data=tmp_path / "r")
        async with played_runner(client, tmp_path / "r") as runner:
            await runner.hello(labels=("gpu", "deploy"))
            (shown,) = (await client.ask("runners")).body
    assert (shown["name"], shown["labels"]) == ("greedy", ["gpu"])
    assert "runner offers labels that its token did not grant" in caplog.text


@in_a_loop
async def test_a_bad_pipeline_is_a_verdict_with_its_place(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        build = await submit(client, pipeline="jobs: {test: {step: []}}")
        shown = (await client.ask("build", {"build": build})).body
    assert shown["state"] == "errored"
    assert shown["reason"].startswith(".surveil.yml:1:")


@in_a_loop
async def test_a_running_job_survives_the_restart_of_the_dispatcher(tmp_path: Path) -> None:
    data, folder = tmp_path / "d", tmp_path / "r"
    async with dispatching(data), local_client(data) as client, played_runner(client, folder) as runner:
        await runner.hello()
        build = await submit(client)
        assign = await runner.hear(Assign)
        await runner.say(Accepted(job=assign.job, attempt=1))
        await runner.say(Heartbeat(incarnation=1, seq=2, held=(), free=0, load_percent=0, disk_free_mib=1000))
        await runner.hear(Beat)
    async with dispatching(data), local_client(data) as client, played_runner(client, folder) as runner:
        # The new dispatcher listens elsewhere; a runner's own hands would find it by its fixed port.
        await runner.connection.close()
        keys = load_keys(folder / KEYS / RUNNER_KEY)
        known = load_known(data)
        async with Connection(known.address, known.server_key, keys) as connection:
            again = PlayedRunner(connection)
            await again.say(Heartbeat(incarnation=1, seq=3, held=(), free=0, load_percent=0, disk_free_mib=1000))
            await again.hear(Introduce)
            again.seq = 3
            welcome = await again.hello(held=(Held(job=assign.job, attempt=1, finished=False, log_bytes=0),))
            assert [(ref.job, ref.attempt) for ref in welcome.renewed] == [(assign.job, 1)]
            await again.finish(assign)
            assert (await again.hear(Release)).fate == "recorded"
        shown = (await client.ask("build", {"build": build})).body
    assert shown["state"] == "passed"
    assert len(shown["jobs"][0]["attempts"]) == 1


@in_a_loop
async def test_output_is_sent_again_from_where_the_dispatcher_has_it(tmp_path: Path) -> None:
    async with (
        dispatching(tmp_path / "d"),
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "r") as runner,
    ):
        await runner.hello()
        await submit(client)
        assign = await runner.hear(Assign)
        await runner.say(Accepted(job=assign.job, attempt=1))
        await runner.say(Output(job=assign.job, attempt=1, at=0, crc=zlib.crc32(b"half"), after_ms=1, data=b"half"))
        assert await runner.hear(Kept) == Kept(job=assign.job, attempt=1, upto=4)
        welcome = await runner.hello(held=(Held(job=assign.job, attempt=1, finished=False, log_bytes=9),))
        assert welcome.renewed == (Ref(job=assign.job, attempt=1, log_bytes=4),)


@in_a_loop
async def test_a_disk_that_fails_under_the_logs_ends_the_dispatcher_and_nothing_is_called_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: LogStore) -> None:
        raise StoreError("the disk is gone")

    async def play(heard: list[Any]) -> None:
        async with (
            dispatching(tmp_path / "d"),
            local_client(tmp_path / "d") as client,
            played_runner(client, tmp_path / "r") as runner,
        ):
            await runner.hello()
            await submit(client)
            assign = await runner.hear(Assign)
            monkeypatch.setattr(LogStore, "flush", failing)
            await runner.say(Output(job=assign.job, attempt=1, at=0, crc=zlib.crc32(b"x"), after_ms=1, data=b"x"))
            with contextlib.suppress(UnreachableError):
                while True:
                    await client.ask("status", patience_ms=2_000)
            heard += runner.heard

    heard: list[Any] = []
    with pytest.raises(StoreError, match="the disk is gone"):
        await play(heard)
    assert not [message for message in heard if isinstance(message, Kept)]


@in_a_loop
async def test_nobody_loses_a_lease_to_a_dispatcher_that_stood_still(tmp_path: Path) -> None:
    clock = LeapingClock()
    async with (
        dispatching(tmp_path / "d", clock=clock),
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "r") as runner,
    ):
        await runner.hello()
        build = await submit(client)
        assign = await runner.hear(Assign)
        await runner.say(Accepted(job=assign.job, attempt=1))
        await runner.hello(held=(Held(job=assign.job, attempt=1, finished=False, log_bytes=0),))
        clock.leapt_ms = 600_000
        # Whatever it does about that, it has done when it answers the second time.
        shown = [(await client.ask("build", {"build": build})).body for _ in range(2)]
        await runner.finish(assign)
        assert (await runner.hear(Release)).fate == "recorded"
        shown.append((await client.ask("build", {"build": build})).body)
    assert [each["state"] for each in shown] == ["running", "running", "passed"]
    assert [attempt["state"] for attempt in shown[-1]["jobs"][0]["attempts"]] == ["passed"]


@in_a_loop
async def test_what_a_runner_had_that_never_comes_back_after_a_restart_runs_elsewhere(tmp_path: Path) -> None:
    data, policy = tmp_path / "d", Policy(heartbeat_ms=100, lease_ms=400, margin_ms=50, restart_grace_ms=300)
    async with dispatching(data), local_client(data) as client, played_runner(client, tmp_path / "r1") as gone:
        await gone.hello()
        build = await submit(client)
        assign = await gone.hear(Assign)
        await gone.say(Accepted(job=assign.job, attempt=1))
        await gone.hello(held=(Held(job=assign.job, attempt=1, finished=False, log_bytes=0),))
    async with dispatching(data, policy), local_client(data) as client:
        token = (await client.ask("token_create", {"role": "runner"})).body["token"]
        await enrol(parse_token(token), name="other", role=Role.RUNNER, data=tmp_path / "r2")
        async with played_runner(client, tmp_path / "r2") as other, asyncio.timeout(SOON_MS / 1000):
            await other.hello()
            while not any(isinstance(message, Assign) for message in other.heard):
                other.seq += 1
                await other.say(
                    Heartbeat(incarnation=1, seq=other.seq, held=(), free=1, load_percent=0, disk_free_mib=9_000)
                )
                other.heard += await other.connection.receive(50)
            again = await other.hear(Assign)
            assert (again.job, again.attempt) == (assign.job, 2)
        shown = (await client.ask("build", {"build": build})).body
    lost = shown["jobs"][0]["attempts"][0]
    assert lost["state"] == "lost"
    assert re.fullmatch(r"runner played has not come back since the dispatcher restarted \d+\.\d s ago", lost["reason"])


@in_a_loop
async def test_a_closed_connection_moves_the_job_and_the_old_word_is_stale(tmp_path: Path) -> None:
    policy = Policy(suspect_ms=100)
    async with dispatching(tmp_path / "d", policy), local_client(tmp_path / "d") as client:
        async with played_runner(client, tmp_path / "r1") as first:
            await first.hello()
            build = await submit(client)
            assign = await first.hear(Assign)
            await first.say(Accepted(job=assign.job, attempt=1))
            await client.ask("journal", {"after": 0, "build": build, "wait_ms": 0})
        token = (await client.ask("token_create", {"role": "runner"})).body["token"]
        await enrol(parse_token(token), name="other", role=Role.RUNNER, data=tmp_path / "r2")
        async with played_runner(client, tmp_path / "r2") as second:
            await second.hello()
            again = await second.hear(Assign)
            assert (again.job, again.attempt) == (assign.job, 2)
            await second.finish(again)
            await second.hear(Release)
        async with played_runner(client, tmp_path / "r1") as first:
            first.seq = 5
            welcome = await first.hello(held=(Held(job=assign.job, attempt=1, finished=False, log_bytes=0),))
            assert [(ref.job, ref.attempt) for ref in welcome.revoked] == [(assign.job, 1)]
            await first.finish(assign)
            # The build is settled and forgotten; nothing is recorded any more.
            assert (await first.hear(Release)).fate == "duplicate"
        shown = (await client.ask("build", {"build": build})).body
    assert [attempt["state"] for attempt in shown["jobs"][0]["attempts"]] == ["lost", "passed"]


@in_a_loop
async def test_whoever_has_output_of_an_attempt_that_nobody_knows_is_told_to_forget_it(tmp_path: Path) -> None:
    data = tmp_path / "d"
    async with dispatching(data), local_client(data) as client, played_runner(client, tmp_path / "r") as runner:
        await runner.hello()
        await runner.say(Output(job="7/test", attempt=1, at=0, crc=zlib.crc32(b"x"), after_ms=0, data=b"x"))
        assert await runner.hear(Release) == Release(job="7/test", attempt=1, fate="stale")


@in_a_loop
async def test_a_runner_of_another_installation_is_refused_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "d"
    async with dispatching(data), local_client(data) as client, played_runner(client, tmp_path / "r") as runner:
        runner.cluster = "another"
        await runner.say(runner.introduction())
        refused = await runner.hear(Refused)
        assert "belongs to installation another" in refused.reason
        assert (refused.exit_code, refused.birth) == (5, 1)
        status = (await client.ask("status", {})).body
        assert status["offenders"] == [{"peer": "played", "role": "runner", "did": {TURNED_AWAY: 1}}]
        assert (await client.ask("runners", {})).body == []
        runner.cluster = (await client.ask("status", {})).body["dispatcher"]["id"]
        assert (await runner.hello()).cluster == runner.cluster
    told = [record for record in caplog.records if record.getMessage() == "a runner is refused"]
    assert [vars(record)["surveil_keys"]["runner"] for record in told] == ["played"]


@in_a_loop
async def test_a_revoked_runner_is_heard_no_more(tmp_path: Path) -> None:
    data = tmp_path / "d"
    async with dispatching(data), local_client(data) as client, played_runner(client, tmp_path / "r") as runner:
        await runner.hello()
        await client.ask("runner", {"name": "played", "order": "revoke", "reason": "stolen"})
        await runner.say(Heartbeat(incarnation=1, seq=2, held=(), free=1, load_percent=0, disk_free_mib=1000))
        assert "revoked" in (await runner.hear(Refused)).reason


@in_a_loop
async def test_the_log_of_a_revoked_runner_is_closed_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.hands.closing.SWEEP_S", 0.05)
    monkeypatch.setattr("surveil.hands.closing.QUIET_MS", 0)
    data = tmp_path / "d"
    async with dispatching(data), local_client(data) as client, played_runner(client, tmp_path / "r") as runner:
        await runner.hello()
        build = await submit(client)
        assign = await runner.hear(Assign)
        await runner.say(Accepted(job=assign.job, attempt=1))
        await runner.say(Output(job=assign.job, attempt=1, at=0, crc=zlib.crc32(b"x"), after_ms=0, data=b"x"))
        await runner.hear(Kept)
        await client.ask("runner", {"name": "played", "order": "revoke", "reason": "stolen"})
        (job,) = (await client.ask("build", {"build": build})).body["jobs"]
        missing = "the end of this log was lost with runner played, which was revoked"
        assert (job["attempts"][0]["state"], job["attempts"][0]["log_missing"]) == ("lost", missing)
        async with asyncio.timeout(SOON_MS / 1000):
            while {path.suffix for path in (data / LOGS).rglob("test*")} != {SUFFIX}:  # noqa: ASYNC110  # a thread's
                await asyncio.sleep(0.01)


@in_a_loop
async def test_the_log_of_a_cancelled_job_ends_when_its_runner_is_done_with_it(tmp_path: Path) -> None:
    async with (
        dispatching(tmp_path / "d"),
        local_client(tmp_path / "d") as client,
        played_runner(client, tmp_path / "r") as runner,
    ):
        await runner.hello()
        build = await submit(client)
        assign = await runner.hear(Assign)
        await runner.say(Accepted(job=assign.job, attempt=1))
        await client.ask("cancel", {"build": build, "reason": "enough"})
        assert (await runner.hear(Cancel)).job == assign.job
        about = {"job": assign.job}
        assert not (await client.ask("log", about)).body["complete"]
        waiting = asyncio.create_task(client.ask("log", about | {"wait_ms": WAIT_MS_MAX}))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await runner.finish(assign)
        body = (await waiting).body
    assert (body["complete"], body["settled"]) == (True, True)


@in_a_loop
async def test_a_token_is_good_once(tmp_path: Path) -> None:
    async with dispatching(tmp_path / "d"), local_client(tmp_path / "d") as client:
        token = parse_token((await client.ask("token_create", {"role": "runner"})).body["token"])
        await enrol(token, name="one", role=Role.RUNNER, data=tmp_path / "one")
        with pytest.raises(NotAllowedError):
            await enrol(token, name="two", role=Role.RUNNER, data=tmp_path / "two")


@in_a_loop
async def test_a_folder_of_another_installation_uses_up_no_token_and_leaves_no_name(tmp_path: Path) -> None:
    """Somebody put the key of the one before beside a new database."""
    async with dispatching(tmp_path / "old"), local_client(tmp_path / "old") as client:
        token = parse_token((await client.ask("token_create", {"role": "runner"})).body["token"])
        await enrol(token, name="spare", role=Role.RUNNER, data=tmp_path / "spare")
    (tmp_path / "new" / KEYS).mkdir(parents=True)
    open_store(tmp_path / "new", now=1).close()
    shutil.copy(tmp_path / "old" / KEYS / SERVER_KEY, tmp_path / "new" / KEYS / SERVER_KEY)
    async with dispatching(tmp_path / "new"), local_client(tmp_path / "new") as client:
        token = parse_token((await client.ask("token_create", {"role": "runner"})).body["token"])
        with pytest.raises(UsageError, match=r"spare belongs to installation .*: join with a folder of its own"):
            await enrol(token, name="spare", role=Role.RUNNER, data=tmp_path / "spare")
        assert "spare" not in [each["name"] for each in (await client.ask("peers")).body]
        assert [each["uses_left"] for each in (await client.ask("tokens")).body] == [1]
        await enrol(token, name="spare", role=Role.RUNNER, data=tmp_path / "another")
        assert "spare" in [each["name"] for each in (await client.ask("peers")).body]


@in_a_loop
async def test_what_clients_wish_is_done_and_on_disk(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        build = await submit(client)
        cancelled = (await client.ask("cancel", {"build": build, "reason": "enough"})).body
        again = (await client.ask("retry", {"build": build, "mid": "manual:00000002"})).body["build"]
        with pytest.raises(NotFoundError):
            await client.ask("build", {"build": 99})
        copied = (await client.ask("db_backup", {"destination": str(tmp_path / "copy")})).body
        status = (await client.ask("status")).body
    assert cancelled["state"] == "cancelled"
    assert again == build + 1
    assert copied["bytes"] > 0
    assert status["queue"]["queued"] == 1


@in_a_loop
async def test_a_database_without_its_key_is_not_given_another(tmp_path: Path) -> None:
    async with dispatching(tmp_path):
        pass
    (tmp_path / KEYS / SERVER_KEY).unlink()
    with pytest.raises(InvalidError, match="put it back"):
        async with dispatching(tmp_path):
            pass
    assert not (tmp_path / KEYS / SERVER_KEY).exists()
