"""Keeps processes running: the hands of `reconcile`.

What belongs here: starting what is to be started, noticing what ended, stopping in order. What does not: deciding (that
is `reconcile`'s), and what the processes are (that is the caller's).

A process that cannot start for a reason that another try will not change (its exit code says so: usage, invalid, not
allowed) is given up. Everything else is tried again, with growing pauses, for ever.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Final

from surveil.core.spelling import printable
from surveil.errors import ExitCode, SurveilError
from surveil.fleet.child import Child
from surveil.fleet.reconcile import Member, Phase, ended, reconcile, start_at
from surveil.frozen import dataclass, replace

GRACE_MS: Final = 10_000
HOPELESS: Final = frozenset({ExitCode.USAGE, ExitCode.INVALID, ExitCode.NOT_ALLOWED})
"""Exit codes that another start with the same words would give again."""

_MARK: Final = "surveil: "


async def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A process to keep running. `prepare` makes what its environment needs beyond the ordinary, before each start;
    what it raises counts as a start that failed.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[], Awaitable[Mapping[str, str]]] = _nothing
    cwd: Path | None = None
    hopeless: frozenset[int] = frozenset(HOPELESS)
    asking: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    grace_ms: int = GRACE_MS


class Change(StrEnum):
    """What became of a part."""

    STARTED = "started"
    ENDED = "ended"
    """It ended without having been asked to, and is started again after `again_ms`."""
    GIVEN_UP = "given up"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One change. `exit_code` is negative for a signal; `sentence` is the last thing that the part said, or why it
    could not start. `again` tells a start after another from the first one.
    """

    part: str
    change: Change
    pid: int | None = None
    exit_code: int | None = None
    again: bool = False
    sentence: str = ""
    again_ms: int | None = None


@dataclass(slots=True)
class _Held:
    """What the supervisor holds of a part."""

    part: Part
    member: Member
    child: Child | None = None
    task: asyncio.Task[None] | None = field(default=None)


class Supervisor:
    """Keeps its parts running between `run` and `stop`.

    `on_line` is given every line that a part says, with the part's name; `on_news` what became of it. Both are called
    in the loop and must not block.
    """

    def __init__(self, *, on_line: Callable[[str, str], None], on_news: Callable[[News], None]) -> None:
        self._on_line = on_line
        self._on_news = on_news
        self._parts: dict[str, Part] = {}
        self._held: dict[str, _Held] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._mistake: BaseException | None = None

    def want(self, part: Part) -> None:
        """Keep this part running from now on. One of the same name that runs already is started this way next time."""
        self._parts[part.name] = part
        self._changed.set()

    def pid_of(self, name: str) -> int | None:
        """The process of a part, or None while it has none."""
        held = self._held.get(name)
        return held.child.pid if held is not None and held.child is not None else None

    async def run(self) -> None:
        """Keep the parts running until `stop`. A mistake of ours in the life of a part is raised here."""
        while not self._stopping:
            if self._mistake is not None:
                raise self._mistake
            self._changed.clear()
            now = _now()
            plan = reconcile(list(self._parts), {name: held.member for name, held in self._held.items()}, now)
            for name in plan.forget:
                del self._held[name]
            for name in plan.start:
                self._start(self._parts[name])
            timeout_s = None if plan.wake_at is None else max(0, plan.wake_at - now) / 1000
            await _wait(self._changed, timeout_s)

    async def stop(self, *order: Sequence[str], asking: Sequence[signal.Signals] | None = None) -> None:
        """End everything: the named groups of parts one after the other, then the rest.

        Each part is asked with its own signals unless `asking` names others, and made to end after its grace.

        Raises:
            InfrastructureError: one does not end at all; the others have.
        """
        self._stopping = True
        self._changed.set()
        named = [name for group in order for name in group]
        rest = [name for name in self._held if name not in named]
        problems: list[BaseException] = []
        for group in (*order, rest):
            stopping = [self._stop_one(name, asking) for name in group if name in self._held]
            results = await asyncio.gather(*stopping, return_exceptions=True)
            problems += [result for result in results if result is not None]
        if problems:
            raise problems[0]

    def kill(self) -> None:
        """End every part's process group at once, and start none again; those who wait for its end learn of it."""
        self._stopping = True
        self._changed.set()
        for held in self._held.values():
            if held.child is not None:
                held.child.kill()

    async def stop_only(self, name: str) -> None:
        """End one part and do not start it again, if it is there at all."""
        self._parts.pop(name, None)
        if name in self._held:
            await self._stop_one(name, None)
        self._changed.set()

    def _start(self, part: Part) -> None:
        before = self._held.get(part.name)
        failures = before.member.failures if before is not None else 0
        member = Member(name=part.name, phase=Phase.STARTING, since=_now(), failures=failures)
        held = _Held(part, member)
        self._held[part.name] = held
        held.task = asyncio.create_task(self._live(part, held), name=f"life of {part.name}")
        held.task.add_done_callback(self._look)

    def _look(self, task: asyncio.Task[None]) -> None:
        """A life that ended in a way that nobody foresaw must not look like one that goes on."""
        if not task.cancelled() and task.exception() is not None:
            self._mistake = task.exception()
            self._changed.set()

    async def _live(self, part: Part, held: _Held) -> None:
        """One life of a part, from its preparation to its end."""
        try:
            extra = await part.prepare()
            held.child = await Child.start(
                part.command, extra=extra, cwd=part.cwd, on_line=lambda line: self._on_line(part.name, line)
            )
        except SurveilError as error:
            self._end(part, held, int(error.exit_code), str(error))
            return
        held.member = replace(held.member, phase=Phase.RUNNING, since=_now())
        again = held.member.failures > 0
        self._on_news(News(part=part.name, change=Change.STARTED, pid=held.child.pid, again=again))
        code = await held.child.wait()
        # What it left in its group must not meet its successor.
        held.child.kill()
        self._end(part, held, code, last_sentence(list(held.child.last_lines)))

    def _end(self, part: Part, held: _Held, code: int, sentence: str) -> None:
        """Write down that a life is over."""
        pid = held.child.pid if held.child is not None else None
        asked = held.member.phase is Phase.STOPPING or self._stopping
        hopeless = code in part.hopeless
        held.member = replace(ended(held.member, _now()), given_up=hopeless)
        held.child = None
        change = Change.STOPPED if asked else Change.GIVEN_UP if hopeless else Change.ENDED
        again_ms = start_at(held.member) - held.member.since if change is Change.ENDED else None
        self._on_news(
            News(part=part.name, change=change, pid=pid, exit_code=code, sentence=sentence, again_ms=again_ms)
        )
        self._changed.set()

    async def _stop_one(self, name: str, asking: Sequence[signal.Signals] | None) -> None:
        held = self._held[name]
        held.member = replace(held.member, phase=Phase.STOPPING)
        if held.child is not None:
            await held.child.stop(asking=asking or held.part.asking, grace_ms=held.part.grace_ms)
        elif held.task is not None:
            held.task.cancel()
        if held.task is not None:
            await asyncio.gather(held.task, return_exceptions=True)


def last_sentence(lines: Sequence[str]) -> str:
    """What a process said about its end: its last line that begins like a sentence of ours, or else its last line."""
    for line in reversed(lines):
        if line.startswith(_MARK):
            return printable(line.removeprefix(_MARK))
    return printable(lines[-1]) if lines else ""


def how_it_ended(exit_code: int | None) -> str:
    """An exit code for people."""
    if exit_code is None:
        return "did not start"
    if exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended with exit code {exit_code}"


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([waiting], timeout=timeout_s)
    finally:
        waiting.cancel()


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
