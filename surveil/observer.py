"""The observer's hands: look at repositories, tell the dispatcher, write down what was acknowledged, decide nothing.

What belongs here: one loop, file events, the connection. What does not: decisions (`core.observe`), how a repository is
read (`mirror`) and in which thread (`threads`), reading and saying commits (`reporting`), giving them out
(`supplying`), writing down what is to be remembered (`remembering`), opening the parts (`observing`).
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar, assert_never

from surveil.codec import INT_MAX
from surveil.config import ObserverConfig
from surveil.core.observe import handle, is_under_way, next_deadline, record
from surveil.core.observe_model import (
    HINTED_MS,
    Acknowledged,
    Connected,
    Deleted,
    Disconnected,
    Effect,
    Event,
    Failing,
    Observed,
    Poll,
    PollFailed,
    Recovered,
    Remember,
    Report,
    Stirred,
    Tick,
    Unchanged,
)
from surveil.core.peers import Role
from surveil.errors import ExitCode, NotAllowedError, SurveilError
from surveil.hands.observing import Parts, opened
from surveil.hands.remembering import Memory
from surveil.hands.reporting import PROBLEM_CHARS_MAX, Reports
from surveil.hands.supplying import Supplier
from surveil.hands.threads import Threads
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.mirror.watch import Watch
from surveil.mirror.watched import Look, Watched
from surveil.net.connection import Garbled, Incoming, Link
from surveil.net.refusals import STRANGE_NEWS, Refusals
from surveil.protocol import LookNow, Refused, Seen, Want, WatchedRepo, Watching
from surveil.say import Voice, begin
from surveil.tasks import Tasks

IDLE_MS: Final = 1_000
WATCHING_MS: Final = 60_000
WATCHING_REPOS_MAX: Final = 1_000
WATCHING_BYTES_MAX: Final = 768 * 1024
"""What is said of all repositories together has to fit in one message."""
TIDY_MS: Final = 3_600_000

Result = TypeVar("Result")
voice = Voice("observer")


class Observer:
    """One running observer, on parts that are open already."""

    def __init__(self, parts: Parts) -> None:
        self._state = parts.state
        self._watched = parts.watched
        self._connection = parts.connection
        self._halt = parts.halt
        self._clock = parts.clock
        self._inbox: deque[Event] = deque()
        self._tasks = Tasks(lambda _: self._connection.wake())
        self._threads = Threads(each.address for each in parts.watched.values())
        self._memory = Memory(
            parts.records, find=lambda repo: record(self._state, repo), now=self._clock.now, start=self._tasks.start
        )
        mirrors = {repo: watched.mirror for repo, watched in parts.watched.items()}
        self._supplier = Supplier(
            parts.data, mirrors, send=self._connection.send, start=self._tasks.start, now=self._clock.now
        )
        self._problems: dict[str, str] = {}
        self._reports = Reports(
            parts.watched,
            self._in_thread,
            send=self._connection.send,
            put=self._put,
            start=self._tasks.start,
            changed=self._tell_watching,
            told=self._problems,
        )
        self._files: Watch | None = None
        self._watching_at = 0
        self._birth = secrets.randbelow(INT_MAX)
        self._tidy_at = self._clock.now() + TIDY_MS
        self._refusals = Refusals(Role.OBSERVER, parts.address)
        self._hopeless: SurveilError | None = None
        self._stopping = False

    # ---- the loop ----

    async def run(self) -> None:
        """Observe until `stop`; at the end everything acknowledged is on disk and no git runs.

        Raises:
            SurveilError: the dispatcher does not let this observer in, or somebody else holds its address.
        """
        self._open_files()
        try:
            while not self._stopping:
                incoming = await self._connection.receive(self._timeout())
                self._tasks.check()
                events = [event for item in incoming if (event := self._heard(item)) is not None]
                events += self._inbox
                self._inbox.clear()
                now = self._clock.now()
                for event in (*events, Tick()):
                    for effect in handle(self._state, event, now):
                        self._do(effect)
                self._now_and_then(now)
        finally:
            await self._close()
        if self._hopeless is not None:
            raise self._hopeless

    def stop(self) -> None:
        """Let `run` end, and every git that it waits for."""
        self._stopping = True
        self._halt.ring()
        self._connection.wake()

    def _timeout(self) -> int:
        if self._inbox:
            return 0
        deadlines = [next_deadline(self._state), self._memory.due_at]
        now = self._clock.now()
        return max(0, min([IDLE_MS, *(at - now for at in deadlines if at is not None)]))

    def _put(self, event: Event) -> None:
        self._inbox.append(event)
        self._connection.wake()

    async def _close(self) -> None:
        if self._files is not None:
            asyncio.get_running_loop().remove_reader(self._files.fileno())
            self._files.close()
        self._halt.ring()
        await self._tasks.wait()
        await self._threads.close()
        await self._supplier.close()
        await self._memory.close()

    # ---- what is heard ----

    def _end(self, error: SurveilError) -> None:
        """There is no hope: let `run` end with this."""
        self._hopeless = error
        self.stop()

    def _heard(self, item: Incoming) -> Event | None:
        if isinstance(item, Link) and (hopeless := self._refusals.hear(item)) is not None:
            self._end(hopeless)
        match item:
            case Link.CONNECTED:
                voice.info("connected")
                self._watching_at = 0
                return Connected()
            case Link.DISCONNECTED:
                voice.warning("the dispatcher is away; what is seen meanwhile is reported later")
                return Disconnected()
            case Link.STRANGE if self._refusals.is_news:
                voice.warning(STRANGE_NEWS)
            case Seen():
                self._reports.acknowledged(item.mid, item.build)
                return Acknowledged(mid=item.mid)
            case Want():
                self._supplier.answer(item)
            case LookNow() if item.repo in self._watched:
                return Stirred(repo=item.repo, gap_ms=HINTED_MS)
            case Refused(final=True):
                self._end(NotAllowedError(item.reason))
            case Refused() | Garbled():
                voice.error("the dispatcher objects", reason=item.reason)
            case _:
                pass
        return None

    # ---- what is done ----

    def _do(self, effect: Effect) -> None:
        match effect:
            case Poll():
                self._tasks.start(self._poll(self._watched[effect.repo]))
            case Report():
                self._reports.say(effect)
            case Remember():
                self._memory.remember(effect.repo)
            case Deleted():
                voice.info("ref deleted", repo=effect.repo, ref=effect.ref, sha=effect.sha)
            case Failing():
                if self._unread().get(effect.repo) != effect.reason[:PROBLEM_CHARS_MAX]:
                    voice.warning("repository cannot be read", repo=effect.repo, reason=effect.reason)
                self._problems[effect.repo] = effect.reason[:PROBLEM_CHARS_MAX]
                self._tell_watching()
            case Recovered():
                voice.info("repository can be read again", repo=effect.repo)
                self._problems.pop(effect.repo, None)
                self._tell_watching()
            case _:
                assert_never(effect)

    async def _in_thread(self, watched: Watched, call: Callable[[], Result]) -> Result:
        repo = watched.address.key
        doubtful = repo in self._problems or self._reports.doubts(repo)
        return await self._threads.at(watched.address, call, doubtful=doubtful)

    async def _poll(self, watched: Watched) -> None:
        repo = watched.address.key
        try:
            found = await self._in_thread(watched, watched.look)
        except MirrorError as problem:
            if problem.trouble is not Trouble.HALTED:
                self._put(PollFailed(repo=repo, reason=str(problem)))
            return
        if found.refs is None:
            self._put(Unchanged(repo=repo))
            return
        self._put(Observed(repo=repo, head=found.refs.head, head_sha=found.refs.head_sha, refs=found.refs.refs))
        self._follow(repo, found)

    # ---- file events ----

    def _open_files(self) -> None:
        try:
            self._files = Watch()
        except MirrorError as problem:
            voice.warning(str(problem))
            return
        asyncio.get_running_loop().add_reader(self._files.fileno(), self._stir)

    def _stir(self) -> None:
        assert self._files is not None
        for repo in sorted(self._files.read()):
            self._put(Stirred(repo=repo))

    def _follow(self, repo: str, found: Look) -> None:
        if self._files is None or not found.folders or self._stopping:
            return
        try:
            if self._files.follow(repo, found.folders):
                self._put(Stirred(repo=repo))
        except MirrorError as problem:
            voice.warning(str(problem), repo=repo)

    # ---- now and then ----

    def _now_and_then(self, now: int) -> None:
        self._memory.write_due(now)
        if now >= self._watching_at and self._connection.connected:
            self._watching_at = now + WATCHING_MS
            self._connection.send(Watching(birth=self._birth, repos=self._watched_repos(), looks=True))
        self._supplier.expire()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_MS
            for watched in self._watched.values():
                self._tasks.start(self._tidy(watched))

    def _tell_watching(self) -> None:
        """Let the dispatcher know soon what is watched, and with what success."""
        self._watching_at = 0

    def _unread(self) -> dict[str, str]:
        """By repository why a commit that was seen cannot be read."""
        return self._reports.problems(lambda mid: is_under_way(self._state, mid))

    def _watched_repos(self) -> tuple[WatchedRepo, ...]:
        """What is watched, as far as it fits in one message."""
        problems = self._unread() | self._problems
        found: list[WatchedRepo] = []
        room = WATCHING_BYTES_MAX
        for repo in self._watched:
            problem = problems.get(repo)
            room -= len(repo.encode()) + len((problem or "").encode())
            if room < 0 or len(found) == WATCHING_REPOS_MAX:
                break
            found.append(WatchedRepo(repo=repo, problem=problem))
        return tuple(found)

    async def _tidy(self, watched: Watched) -> None:
        try:
            await self._threads.tidy(watched.mirror.tidy)
        except MirrorError as problem:
            if problem.trouble is not Trouble.HALTED:
                voice.warning("mirror cannot be tidied", repo=watched.address.key, reason=str(problem))


def main(config: ObserverConfig) -> ExitCode:
    """Observe until SIGTERM or SIGINT.

    Raises:
        SurveilError: it cannot start; the sentence says what to do.
    """
    begin("observer", log_format=config.log_format, log_level=config.log_level)
    return asyncio.run(observe(config))


async def observe(config: ObserverConfig) -> ExitCode:
    """Open all parts, observe until a signal comes, and close them in order."""
    async with opened(config) as parts:
        observer = Observer(parts)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, observer.stop)
        voice.info("observer watches", repos=len(parts.watched), dispatcher=parts.address, data=config.data)
        await observer.run()
    voice.info("observer stopped")
    return ExitCode.OK
