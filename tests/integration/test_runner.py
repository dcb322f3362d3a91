"""The runner's hands with real sockets, real git and real keepers; the dispatcher is played word by word."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from surveil.config import RunnerConfig
from surveil.core.model import AttemptId
from surveil.core.peers import Peer, Role
from surveil.core.run_events import Exit
from surveil.errors import ExitCode, InfrastructureError, NotAllowedError
from surveil.execute import processes
from surveil.execute.identity import Tombstones, read_identity
from surveil.execute.process import ProcessExecutor
from surveil.execute.processes import kill_left_behind
from surveil.execute.transfer import supply
from surveil.hands.running import opened
from surveil.mirror import address
from surveil.mirror.bundle import make_bundle
from surveil.mirror.mirror import Mirror
from surveil.net.keys import RUNNER_KEY, load_or_make_keys
from surveil.net.known import KnownDispatcher
from surveil.net.traffic import Received
from surveil.protocol import (
    CHUNK_BYTES_MAX,
    Accepted,
    Assign,
    Beat,
    Bye,
    Cancel,
    Drain,
    Finished,
    Heartbeat,
    Hello,
    JobSpec,
    Kept,
    Message,
    Output,
    Pack,
    Progress,
    Ref,
    Rejected,
    Release,
    StepSpec,
    ToRunner,
    Want,
    Welcome,
)
from surveil.runner import Agent, offer
from tests.net.stage import Stage, serving

SOON_S = 60.0
Wanted = TypeVar("Wanted")


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Played:
    """A dispatcher that welcomes, renews and keeps logs by itself, and says whatever else a test wants said."""

    def __init__(self, stage: Stage, data: Path) -> None:
        self.stage = stage
        self.data = data
        self.key = load_or_make_keys(data / "keys" / RUNNER_KEY).public
        stage.peers.put(Peer(key=self.key, role=Role.RUNNER, name="spare"))
        known = KnownDispatcher(address=stage.address, server_key=stage.server_keys.public, cluster="")
        known.save(data)
        self.heard: list[Message] = []
        self.logs: dict[tuple[str, int], bytearray] = {}
        self.wants: list[Want] = []
        self.beats: list[Heartbeat] = []
        self.welcomes = True
        self.cluster = "c"
        self.keeps = True
        self.heartbeat_ms = 200
        self.lease_ms = 20_000
        self.hello: Hello | None = None
        self.seq = 0
        self._news = asyncio.Condition()

    async def serve(self) -> None:
        while True:
            batch = await self.stage.server.receive(1_000)
            async with self._news:
                for received in batch.control:
                    if isinstance(received.message, Hello) and self.welcomes:
                        self.stage.server.welcome(self.key, received.route)
                    self._take(received.message)
                for received in batch.bulk:
                    self._take_bulk(received)
                self._news.notify_all()

    def _take_bulk(self, received: Received) -> None:
        match received.message:
            case Output() as output:
                kept = self._keep(output)
                if self.keeps:
                    self.stage.server.reply(received.route, kept)
            case Want() as want:
                self.wants.append(want)
                for pack in self.supply(want):
                    self.stage.server.reply(received.route, pack)
            case other:
                raise AssertionError(f"a runner says no {other} on bulk")

    def supply(self, want: Want) -> list[Pack]:
        """What a runner gets that asks for a commit; nothing, unless a test supplies it."""
        return [Pack(id=want.id, runner=self.key, at=want.at, problem="nobody has it")]

    def _take(self, message: Message) -> None:
        match message:
            case Hello():
                self.hello, self.seq = message, message.seq
                if self.welcomes:
                    self.say(self.welcome(message))
            case Heartbeat():
                self.seq = message.seq
                self.beats.append(message)
                held = tuple(Ref(job=one.job, attempt=one.attempt) for one in message.held)
                self.say(Beat(epoch=1, seq=message.seq, renewed=held, revoked=()))
                return
            case _:
                pass
        self.heard.append(message)

    def welcome(self, hello: Hello) -> Welcome:
        renewed = tuple(
            Ref(job=one.job, attempt=one.attempt, log_bytes=len(self.logs.get((one.job, one.attempt), b"")))
            for one in hello.held
        )
        return Welcome(
            cluster=self.cluster, epoch=1, incarnation=hello.incarnation, seq=hello.seq, heartbeat_ms=self.heartbeat_ms,
            lease_ms=self.lease_ms, bulk_port=self.stage.server.bulk_port, renewed=renewed, revoked=(),
        )  # fmt: skip

    def _keep(self, output: Output) -> Kept:
        log = self.logs.setdefault((output.job, output.attempt), bytearray())
        if output.at <= len(log):
            log += output.data[len(log) - output.at :]
        return Kept(job=output.job, attempt=output.attempt, upto=len(log))

    def say(self, message: ToRunner) -> None:
        self.stage.say(self.key, message)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON_S), self._news:
            await self._news.wait_for(true)

    async def hear(self, kind: type[Wanted]) -> Wanted:
        """The next message of this kind; what is of other kinds is left."""
        await self.until(lambda: any(isinstance(message, kind) for message in self.heard))
        found = next(message for message in self.heard if isinstance(message, kind))
        self.heard.remove(found)
        return found

    async def assign(
        self, commit: Commit, *scripts: str, attempt: int = 1, job: str = "7/test", loss: Any = "retry"
    ) -> None:
        """Order an attempt as soon as the runner has said something."""
        await self.until(lambda: self.hello is not None)
        assert self.hello is not None
        steps = tuple(StepSpec(name=f"s{i}", run=script, env={}) for i, script in enumerate(scripts))
        spec = JobSpec(name="test", env={}, timeout_ms=60_000, steps=steps, matrix={}, on_runner_loss=loss)
        self.say(
            Assign(
                epoch=1, incarnation=self.hello.incarnation, anchor=self.seq, job=job, attempt=attempt, build=7,
                repo=str(commit.repo), ref="refs/heads/main", sha=commit.sha, spec=spec,
            )
        )  # fmt: skip

    async def finish(self) -> Finished:
        """The attempt's result, released, with all of its log kept."""
        finished = await self.hear(Finished)
        attempt = (finished.job, finished.attempt)
        await self.until(lambda: len(self.logs.get(attempt, b"")) >= finished.log_bytes)
        self.say(Release(job=finished.job, attempt=finished.attempt, fate="recorded"))
        return finished

    def log(self, attempt: int = 1) -> bytes:
        return bytes(self.logs.get(("7/test", attempt), b""))

    def left(self) -> list[str]:
        """What is left of attempts on the runner's disk."""
        folders = (self.data / "attempts", self.data / "workspaces")
        return [path.name for folder in folders if folder.exists() for path in folder.iterdir()]

    async def until_clean(self) -> None:
        async with asyncio.timeout(SOON_S):
            while self.left():  # noqa: ASYNC110  # A folder has no event.
                await asyncio.sleep(0.02)


class Commit:
    """A repository with one commit."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        env = {
            **os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
        }  # fmt: skip
        git = functools.partial(subprocess.run, check=True, capture_output=True, text=True, cwd=repo, env=env)
        repo.mkdir()
        self._git = git
        git(["git", "init", "-q", "-b", "main"])
        (repo / "hello").write_text("hello from the commit\n")
        self.sha = self.commit("One")

    def commit(self, message: str) -> str:
        """Commit what is there; returns the SHA."""
        self._git(["git", "add", "."])
        self._git(["git", "commit", "-q", "-m", message])
        return self._git(["git", "rev-parse", "HEAD"]).stdout.strip()


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    return Commit(tmp_path / "repo")


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """No test may leave a process that belongs to a workspace, nor a child of ours."""
    others = set(psutil.Process().children())  # An engine for containers is there for a whole session of tests.
    yield
    assert kill_left_behind(tmp_path) == 0
    deadline = time.monotonic() + SOON_S
    while children := set(psutil.Process().children()) - others:
        assert time.monotonic() < deadline, children
        time.sleep(0.02)


@contextlib.asynccontextmanager
async def playing(data: Path) -> AsyncIterator[Played]:
    async with serving() as stage:
        played = Played(stage, data)
        serving_task = asyncio.create_task(played.serve())
        try:
            yield played
        finally:
            serving_task.cancel()
            await asyncio.gather(serving_task, return_exceptions=True)


@contextlib.asynccontextmanager
async def offering(data: Path, *, slots: int = 2) -> AsyncIterator[tuple[Agent, asyncio.Task[Exit]]]:
    """A runner in this process; at the end it is detached if it still runs."""
    async with opened(RunnerConfig(data=data, name="spare", slots=slots, sandbox="off")) as parts:
        agent = Agent(parts)
        running = asyncio.create_task(agent.run())
        try:
            yield agent, running
        finally:
            agent.detach()
            async with asyncio.timeout(SOON_S):
                await running


@contextlib.contextmanager
def runner_process(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A runner in a process of its own; killed at the end."""
    program = (
        "import sys; from pathlib import Path; "
        "from surveil.config import RunnerConfig; from surveil.runner import main; "
        "sys.exit(main(RunnerConfig(data=Path(sys.argv[1]), name='spare', slots=2, sandbox='off')))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(data)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@in_a_loop
async def test_an_attempt_is_accepted_run_in_its_commit_reported_and_forgotten(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        await dispatcher.assign(commit, "cat hello; git rev-parse HEAD", "echo $SURVEIL_RUNNER >&2")
        assert await dispatcher.hear(Accepted) == Accepted(job="7/test", attempt=1)
        progress = await dispatcher.hear(Progress)
        finished = await dispatcher.finish()
        assert (finished.outcome, finished.reason, finished.exit_code) == ("passed", "", 0)
        assert [step.state for step in finished.steps] == ["passed", "passed"]
        assert finished.isolation == "process"
        assert progress.steps[0].state in {"pending", "running", "passed"}
        assert dispatcher.log() == f"hello from the commit\n{commit.sha}\nspare\n".encode()
        await dispatcher.until_clean()


@in_a_loop
async def test_a_runner_that_is_idle_again_holds_nothing_of_what_it_had(tmp_path: Path, commit: Commit) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data") as (agent, _):
        opened = 0
        for attempt in range(1, 5):
            await dispatcher.assign(commit, "echo something", attempt=attempt)
            await dispatcher.finish()
            await dispatcher.until_clean()
            opened = opened or descriptors()
        # Its own records, looked into because nobody would see them grow in a short while.
        executor = agent._executor  # noqa: SLF001
        assert isinstance(executor, ProcessExecutor)
        held = (agent._state.held, agent._logs._windows, executor._attempts)  # noqa: SLF001
        assert [len(each) for each in held] == [0, 0, 0]
        assert executor._lookout.empty  # noqa: SLF001
        # What a git of the next spare tree has open is gone when it ends; what leaked would stay.
        await dispatcher.until(lambda: descriptors() <= opened)


@in_a_loop
async def test_output_arrives_while_the_step_runs_and_a_cancel_ends_it(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        await dispatcher.assign(commit, "echo first; sleep 300")
        await dispatcher.until(lambda: dispatcher.log() == b"first\n")
        dispatcher.say(Cancel(job="7/test", attempt=1, grace_ms=1_000, reason="cancelled by Ann"))
        finished = await dispatcher.finish()
        assert (finished.outcome, finished.reason) == ("cancelled", "cancelled by Ann")
        await dispatcher.until_clean()


@in_a_loop
async def test_a_commit_that_cannot_be_had_is_an_error_in_a_sentence(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        commit.sha = "b" * 40
        await dispatcher.assign(commit, "true")
        finished = await dispatcher.finish()
        assert finished.outcome == "errored"
        assert finished.reason.startswith(
            f"commit {'b' * 40} cannot be had, neither from its repository: {commit.repo}"
        )
        assert finished.reason.endswith("; nor through the dispatcher: nobody has it")
        assert "\n" not in finished.reason
        assert [(want.repo, want.sha, want.at) for want in dispatcher.wants] == [(str(commit.repo), "b" * 40, 0)] * 2
        await dispatcher.until_clean()


class Supplying(Played):
    """A dispatcher with an observer behind it that has a commit; it loses every third answer, and gives pieces in
    disorder.
    """

    def __init__(self, stage: Stage, data: Path, bundle: bytes) -> None:
        super().__init__(stage, data)
        self.bundle = bundle
        self.late: list[Pack] = []

    def supply(self, want: Want) -> list[Pack]:
        if len(self.wants) == 1:
            return [Pack(id=want.id, runner=self.key, at=want.at, retry_ms=50)]  # It is being made.
        if len(self.wants) % 3 == 0:
            return []
        data = self.bundle[want.at : want.at + CHUNK_BYTES_MAX]
        total = len(self.bundle)
        pack = Pack(id=want.id, runner=self.key, made=1, at=want.at, total=total, data=data)
        self.late.append(pack)
        if len(self.late) < 2 and want.at + CHUNK_BYTES_MAX < total and want.at:
            return []
        self.late, packs = [], self.late[::-1]
        return packs


@in_a_loop
async def test_a_commit_of_a_repository_on_another_machine_is_supplied_piece_by_piece(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "ASK_AGAIN_S", 0.2)
    (commit.repo / "noise").write_bytes(os.urandom(8 * CHUNK_BYTES_MAX))
    commit.sha = commit.commit("Noise")
    mirror = Mirror(tmp_path / "there", address.parse(str(commit.repo), "/"))
    with tempfile.TemporaryFile() as file:
        make_bundle(mirror, commit.sha, (), file)
        file.seek(0)
        bundle = file.read()
    commit.repo.rename(tmp_path / "moved")
    data = tmp_path / "data"
    async with serving() as stage:
        dispatcher = Supplying(stage, data, bundle)
        task = asyncio.create_task(dispatcher.serve())
        async with offering(data):
            await dispatcher.assign(commit, "wc -c < noise; git log --format=%s")
            assert (await dispatcher.finish()).outcome == "passed"
            assert dispatcher.log() == f"{8 * CHUNK_BYTES_MAX}\nNoise\nOne\n".encode()
            asked = len(dispatcher.wants)
            # A second attempt finds the commit there, and asks for nothing.
            await dispatcher.assign(commit, "cat hello", attempt=2)
            assert (await dispatcher.finish()).outcome == "passed"
            assert len(dispatcher.wants) == asked
            await dispatcher.until_clean()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_a_loop
async def test_a_runner_that_stops_waits_for_no_supply(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(tmp_path / "data") as dispatcher:
        monkeypatch.setattr(dispatcher, "supply", lambda _: [])
        async with offering(tmp_path / "data") as (agent, running):
            commit.sha = "b" * 40
            await dispatcher.assign(commit, "true")
            await dispatcher.until(lambda: bool(dispatcher.wants))
            agent.detach()
            async with asyncio.timeout(SOON_S):
                await running


@in_a_loop
async def test_a_flood_of_output_arrives_whole_while_the_heart_beats(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        await dispatcher.assign(commit, "head -c 20000000 /dev/zero | tr '\\0' y")
        finished = await dispatcher.finish()
        assert finished.log_bytes == 20_000_000
        assert dispatcher.log() == b"y" * 20_000_000
        await dispatcher.until_clean()


@in_a_loop
async def test_a_log_stops_at_its_window_until_the_dispatcher_keeps_it(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        dispatcher.keeps = False
        await dispatcher.assign(commit, "head -c 3000000 /dev/zero | tr '\\0' y")
        await dispatcher.hear(Finished)
        await asyncio.sleep(0.5)
        assert len(dispatcher.log()) == 1024 * 1024
        dispatcher.keeps = True
        kept = Ref(job="7/test", attempt=1, log_bytes=len(dispatcher.log()))
        dispatcher.say(replace(dispatcher.welcome(await dispatcher.hear(Hello)), renewed=(kept,)))
        await dispatcher.until(lambda: len(dispatcher.log()) == 3_000_000)
        dispatcher.say(Release(job="7/test", attempt=1, fate="stale"))
        await dispatcher.until_clean()


@in_a_loop
async def test_a_step_that_prints_more_than_its_log_may_hold_is_judged_as_any_other_and_its_log_says_so(
    tmp_path: Path, commit: Commit
) -> None:
    def limited(*args: Any, **more: Any) -> ProcessExecutor:
        return ProcessExecutor(*args, log_bytes_max=100_000, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("surveil.hands.running.ProcessExecutor", limited)
        async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
            await dispatcher.assign(commit, "head -c 300000 /dev/zero | tr '\\0' x; echo the end; exit 3")
            finished = await dispatcher.finish()
            assert (finished.outcome, finished.exit_code) == ("failed", 3)
            assert dispatcher.log() == b"x" * 100_000
            assert [(remark.at, remark.text) for remark in finished.steps[0].remarks] == [
                (100_000, "the log of this step is longer than 100000 bytes; its rest is dropped"),
                (100_000, "200008 bytes of this step's log were dropped"),
            ]
            await dispatcher.until_clean()


@pytest.mark.parametrize("refusing", [(Tombstones, "write"), (ProcessExecutor, "hold")])
def test_an_order_that_the_disk_does_not_take_is_refused_in_words(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, refusing: tuple[type, str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @in_a_loop
    async def play() -> None:
        async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
            await dispatcher.assign(commit, "true")
            rejected = await dispatcher.hear(Rejected)
            assert "No space left" in rejected.reason
            assert not any(isinstance(message, Accepted) for message in dispatcher.heard)

    monkeypatch.setattr(*refusing, full)
    play()


def test_a_runner_without_room_says_so_once_and_takes_nothing(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = "the disk is nearly full: no new work until there is room"
    full = processes.Load(disk_free_mib=7, disk_total_mib=10_000, load_percent=1)
    monkeypatch.setattr(processes, "measure", lambda _: full)
    monkeypatch.setattr("surveil.runner.LOAD_MS", 10)

    @in_a_loop
    async def play() -> None:
        async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
            await dispatcher.until(lambda: said in caplog.text)
            await dispatcher.assign(commit, "true")
            assert "nearly full (7 MiB free)" in (await dispatcher.hear(Rejected)).reason

    play()
    assert caplog.text.count(said) == 1


def test_a_disk_that_takes_its_time_delays_an_order_and_no_heartbeat(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, slow = Tombstones.write, threading.Event()

    def slowly(tombstones: Tombstones, attempts: Iterable[AttemptId]) -> None:
        assert slow.wait(SOON_S)
        write(tombstones, attempts)

    @in_a_loop
    async def play() -> None:
        async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
            try:
                await dispatcher.assign(commit, "true")
                dispatcher.say(Drain())  # What follows from later words waits as well, but for signs of life.
                beats = dispatcher.seq + 5
                await dispatcher.until(lambda: dispatcher.seq >= beats)
                assert not [message for message in dispatcher.heard if isinstance(message, Accepted | Progress)]
            finally:
                slow.set()
            await dispatcher.hear(Accepted)
            assert (await dispatcher.finish()).outcome == "passed"
            await dispatcher.until_clean()

    monkeypatch.setattr(Tombstones, "write", slowly)
    play()


def test_heartbeats_tell_the_load_and_the_disk_as_they_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = [processes.Load(disk_free_mib=9_000 - n, disk_total_mib=10_000, load_percent=n) for n in range(1_000)]
    measured = iter(loads)
    monkeypatch.setattr(processes, "measure", lambda _: next(measured, loads[-1]))
    monkeypatch.setattr("surveil.runner.LOAD_MS", 20)

    @in_a_loop
    async def play() -> None:
        async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
            await dispatcher.until(lambda: len({beat.load_percent for beat in dispatcher.beats}) > 3)
            assert all(beat.disk_free_mib in {0, 9_000 - beat.load_percent} for beat in dispatcher.beats)

    play()


@in_a_loop
async def test_more_than_its_slots_is_refused(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data", slots=1):
        await dispatcher.assign(commit, "echo ready; sleep 300")
        await dispatcher.assign(commit, "true", job="7/other")
        rejected = await dispatcher.hear(Rejected)
        assert (rejected.job, "slots" in rejected.reason) == ("7/other", True)
        dispatcher.say(Release(job="7/test", attempt=1, fate="stale"))
        assert (await dispatcher.finish()).outcome == "cancelled"
        await dispatcher.until_clean()


@in_a_loop
async def test_a_killed_keeper_is_a_lost_attempt_and_nothing_of_it_runs_on(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        await dispatcher.assign(commit, "setsid sleep 300 >/dev/null 2>&1 & echo ready; sleep 300")
        await dispatcher.until(lambda: dispatcher.log() == b"ready\n")
        (lock,) = (tmp_path / "data" / "attempts").glob("*/lock")
        os.kill(int(lock.read_text()), signal.SIGKILL)
        finished = await dispatcher.finish()
        assert (finished.outcome, finished.exit_code) == ("lost", None)
        assert kill_left_behind(tmp_path / "data" / "workspaces") == 0
        await dispatcher.until_clean()


@in_a_loop
async def test_a_keeper_that_does_not_end_what_it_should_is_killed_with_all_of_it(
    tmp_path: Path, commit: Commit
) -> None:
    data = tmp_path / "data"
    async with (
        playing(data) as dispatcher,
        opened(RunnerConfig(data=data, name="spare", slots=2, sandbox="off")) as parts,
    ):
        agent = Agent(replace(parts, policy=replace(parts.policy, ending_ms=300)))
        running = asyncio.create_task(agent.run())
        await dispatcher.assign(commit, "setsid sleep 300 >/dev/null 2>&1 & echo ready; sleep 300")
        await dispatcher.until(lambda: dispatcher.log() == b"ready\n")
        (lock,) = (data / "attempts").glob("*/lock")
        keeper = psutil.Process(int(lock.read_text()))
        keeper.suspend()
        dispatcher.say(Cancel(job="7/test", attempt=1, grace_ms=0, reason="cancelled by Ann"))
        finished = await dispatcher.hear(Finished)
        assert not keeper.is_running() or keeper.status() == psutil.STATUS_ZOMBIE
        assert kill_left_behind(data / "workspaces") == 0
        assert (finished.outcome, finished.reason) == ("cancelled", "cancelled by Ann")
        dispatcher.say(Release(job="7/test", attempt=1, fate="recorded"))
        await dispatcher.until_clean()
        agent.detach()
        await running


@in_a_loop
async def test_an_exclusive_job_outlives_its_first_lease_while_the_dispatcher_answers(
    tmp_path: Path, commit: Commit
) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        dispatcher.lease_ms = 4_000
        await dispatcher.until(lambda: dispatcher.hello is not None)
        assert dispatcher.hello is not None
        dispatcher.say(dispatcher.welcome(dispatcher.hello))
        await dispatcher.assign(commit, "sleep 6; echo done", loss="hold")
        finished = await dispatcher.finish()
        assert (finished.outcome, dispatcher.log()) == ("passed", b"done\n"), finished.reason


@in_a_loop
async def test_a_killed_agent_comes_back_to_its_running_attempt_and_no_byte_is_lost(
    tmp_path: Path, commit: Commit
) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        with runner_process(data) as first:
            await dispatcher.assign(commit, f"echo one; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo two")
            await dispatcher.until(lambda: dispatcher.log() == b"one\n")
            first.kill()
            first.wait()
        hello = await dispatcher.hear(Hello)
        with runner_process(data):
            again = await dispatcher.hear(Hello)
            assert again.incarnation == hello.incarnation + 1
            assert [(one.job, one.attempt, one.finished) for one in again.held] == [("7/test", 1, False)]
            (tmp_path / "go").touch()
            finished = await dispatcher.finish()
            assert finished.outcome == "passed"
            assert dispatcher.log() == b"one\ntwo\n"
            await dispatcher.until_clean()


@in_a_loop
async def test_a_result_is_kept_while_no_agent_is_there(tmp_path: Path, commit: Commit) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        with runner_process(data) as first:
            await dispatcher.assign(commit, "echo ready; sleep 0.5; exit 3")
            await dispatcher.until(lambda: dispatcher.log() == b"ready\n")
            first.kill()
            first.wait()
        await asyncio.sleep(1.5)
        async with offering(data):
            finished = await dispatcher.finish()
            assert (finished.outcome, finished.exit_code) == ("failed", 3)
            await dispatcher.until_clean()


@in_a_loop
async def test_a_terminated_agent_detaches_and_an_interrupted_one_drains(tmp_path: Path, commit: Commit) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        with runner_process(data) as first:
            await dispatcher.assign(commit, f"echo one; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
            await dispatcher.until(lambda: dispatcher.log() == b"one\n")
            first.send_signal(signal.SIGTERM)
            assert (await dispatcher.hear(Bye)).returning
            assert await asyncio.to_thread(first.wait, SOON_S) == 0
        await dispatcher.hear(Hello)
        with runner_process(data) as second:
            await dispatcher.hear(Hello)
            second.send_signal(signal.SIGINT)
            await asyncio.sleep(0.2)
            (tmp_path / "go").touch()
            assert (await dispatcher.finish()).outcome == "passed"
            assert not (await dispatcher.hear(Bye)).returning
            assert await asyncio.to_thread(second.wait, SOON_S) == 0
    assert not list((data / "attempts").iterdir())


@in_a_loop
async def test_a_second_interrupt_stops_at_once_and_says_that_its_owner_ended_the_attempt(
    tmp_path: Path, commit: Commit
) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        with runner_process(data) as process:
            await dispatcher.assign(commit, "echo ready; sleep 300")
            await dispatcher.until(lambda: dispatcher.log() == b"ready\n")
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert (await dispatcher.finish()).outcome == "cancelled"
            assert await asyncio.to_thread(process.wait, SOON_S) == ExitCode.INTERRUPTED


@in_a_loop
async def test_a_drained_runner_ends(tmp_path: Path) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data") as (_, running):
        await dispatcher.hear(Hello)
        dispatcher.say(Drain(stop=True))
        async with asyncio.timeout(SOON_S):
            assert await running == Exit(code=0, reason="")


@in_a_loop
async def test_an_exclusive_job_is_ended_when_the_dispatcher_falls_silent(tmp_path: Path, commit: Commit) -> None:
    async with playing(tmp_path / "data") as dispatcher, offering(tmp_path / "data"):
        dispatcher.lease_ms = 1_500
        dispatcher.heartbeat_ms = 60_000
        await dispatcher.assign(commit, "echo ready; sleep 300", loss="hold")
        finished = await dispatcher.finish()
        assert finished.outcome == "lost"
        assert "lease" in finished.reason


@in_a_loop
async def test_an_exclusive_job_is_ended_when_its_lease_is_over_although_no_agent_lives(
    tmp_path: Path, commit: Commit
) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        dispatcher.lease_ms = 3_000
        with runner_process(data) as agent:
            await dispatcher.assign(commit, "setsid sleep 300 >/dev/null 2>&1 & echo ready; sleep 300", loss="hold")
            await dispatcher.until(lambda: dispatcher.log() == b"ready\n")
            agent.kill()
            agent.wait()
        (lock,) = (data / "attempts").glob("*/lock")
        keeper = psutil.Process(int(lock.read_text()))
        await asyncio.to_thread(psutil.wait_procs, [keeper], SOON_S)
        assert not keeper.is_running()
        assert kill_left_behind(data / "workspaces") == 0
        async with offering(data):
            finished = await dispatcher.finish()
            assert finished.outcome == "lost"
            assert "lease ran out" in finished.reason
            await dispatcher.until_clean()


@in_a_loop
async def test_a_runner_remembers_its_installation_over_its_starts_and_serves_no_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with playing(data) as dispatcher:
        async with offering(data):
            await dispatcher.until(lambda: bool(dispatcher.beats))
        assert read_identity(data).cluster == "c"
        dispatcher.cluster = "another"
        async with offering(data) as (_, running):
            end = await asyncio.wait_for(running, SOON_S)
        assert dispatcher.hello is not None
        assert (dispatcher.hello.incarnation, dispatcher.hello.cluster) == (2, "c")
        assert end.code == ExitCode.NOT_ALLOWED
        assert "belongs to installation another, this runner to c" in end.reason


@in_a_loop
async def test_two_runners_cannot_share_a_data_folder(tmp_path: Path) -> None:
    async with playing(tmp_path / "data"), offering(tmp_path / "data"):
        with pytest.raises(InfrastructureError, match=r"is used by a runner \(process \d+\): stop that first"):
            await offer(RunnerConfig(data=tmp_path / "data"))


@in_a_loop
async def test_a_key_that_is_not_known_ends_the_runner_with_what_to_type(tmp_path: Path) -> None:
    async with playing(tmp_path / "data") as dispatcher:
        dispatcher.stage.peers.put(Peer(key=dispatcher.key, role=Role.RUNNER, name="spare", revoked_at=1))
        with pytest.raises(NotAllowedError, match="token create"):
            await offer(RunnerConfig(data=tmp_path / "data"))
