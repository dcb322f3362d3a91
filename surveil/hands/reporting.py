"""An observer's reports: each commit is read once, and said until it is acknowledged.

What belongs here: reading the commit of a report, the message that is kept for its repeats, and what is said of commits
that cannot be read. What does not: when a report is made or repeated (`core.observe`), and threads (`observer`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, TypeVar

from surveil.core.observe_model import Acknowledged, Event, Report, ReportFailed
from surveil.core.trust import trigger_of
from surveil.frozen import dataclass
from surveil.lanes import Lanes
from surveil.mirror.changes import Base, asks_for_changes, changed_paths
from surveil.mirror.mirror import Mirror
from surveil.mirror.sighting import Sighting, look, look_at_stranger
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.mirror.watched import Watched
from surveil.protocol import CommitSeen, Message
from surveil.say import Voice

PROBLEM_CHARS_MAX: Final = 1_000
"""What to type stands at a sentence's end, behind paths that may be long."""

# These will not go away by waiting: the author or a person has to know, so they become the commit's build.
_LASTING: Final = frozenset({Trouble.CORRUPT, Trouble.TOO_LARGE})

Result = TypeVar("Result")
voice = Voice("observer")


class InThread(Protocol):
    """Has something that blocks done for a repository in a thread."""

    def __call__(self, watched: Watched, call: Callable[[], Result], /) -> Awaitable[Result]:
        """Do it."""


@dataclass(frozen=True, slots=True)
class _Unread:
    """A commit that could not be read the last time, and why."""

    repo: str
    sentence: str


class Reports:
    """The reports under way. `send` says a message, `put` tells the mind, `start` starts a task, `changed` is called
    when `problems` says something else than before. `told` are the problems of repositories that were said already.
    """

    def __init__(
        self,
        watched: Mapping[str, Watched],
        in_thread: InThread,
        *,
        send: Callable[[Message], object],
        put: Callable[[Event], None],
        start: Callable[[Coroutine[Any, Any, None]], None],
        changed: Callable[[], None],
        told: Mapping[str, str],
    ) -> None:
        self._watched = watched
        self._in_thread = in_thread
        self._send = send
        self._put = put
        self._start = start
        self._changed = changed
        self._told = told
        self._lanes = Lanes()
        self._ready: dict[str, CommitSeen] = {}
        self._reading: set[str] = set()
        self._unread: dict[str, _Unread] = {}

    def say(self, report: Report) -> None:
        """Say it; the first time its commit has to be read before."""
        message = self._ready.get(report.mid)
        if message is not None:
            self._send(message)
        elif report.mid not in self._reading:
            self._reading.add(report.mid)
            # In the order in which the ref moved, so that its newest build is its newest commit.
            self._start(self._lanes.follow((report.repo, report.ref), lambda: self._read(report)))

    def acknowledged(self, mid: str, build: int | None) -> None:
        """The dispatcher has it."""
        if self._ready.pop(mid, None) is not None:
            voice.info("commit acknowledged", mid=mid, build=build)

    def problems(self, under_way: Callable[[str], bool]) -> dict[str, str]:
        """By repository why its newest unread commit cannot be read, of the reports that are still under way."""
        self._unread = {mid: unread for mid, unread in self._unread.items() if under_way(mid)}
        return {unread.repo: unread.sentence for unread in self._unread.values()}

    def doubts(self, repo: str) -> bool:
        """Whether a commit of this repository could not be read the last time."""
        return any(unread.repo == repo for unread in self._unread.values())

    async def _read(self, report: Report) -> None:
        watched = self._watched[report.repo]
        try:
            sighting, paths = await self._in_thread(watched, lambda: _see(watched.mirror, report))
        except MirrorError as problem:
            self._cannot_read(report, problem)
            return
        finally:
            self._reading.discard(report.mid)
        if self._unread.pop(report.mid, None) is not None:
            self._changed()
        self._tell(report, sighting, paths)
        change = "forced" if await self._forced(watched, report) else report.change
        voice.info(f"ref {change}", repo=report.repo, ref=report.ref, sha=sighting.sha, was=report.old_sha)

    async def _forced(self, watched: Watched, report: Report) -> bool:
        """Whether the ref left its history, as far as the mirror can tell; for people to read, so nothing waits for
        it.
        """
        old_sha = report.old_sha
        if old_sha is None:
            return False
        try:
            return not await self._in_thread(watched, lambda: watched.mirror.grew(old_sha, report.sha))
        except MirrorError:
            return False

    def _cannot_read(self, report: Report, problem: MirrorError) -> None:
        if problem.trouble is Trouble.HALTED:
            return
        sentence = str(problem)[:PROBLEM_CHARS_MAX]
        if report.mid not in self._unread and self._told.get(report.repo) != sentence:
            # Once, however often it is tried, and not again what was said of the whole repository.
            voice.warning("commit cannot be read", repo=report.repo, ref=report.ref, reason=sentence)
        if problem.trouble is Trouble.NOT_A_COMMIT:
            # A tag of a file or folder is nothing to build, and never will be.
            self._put(Acknowledged(mid=report.mid))
        elif problem.trouble in _LASTING:
            lost = Sighting(sha=report.sha, message="", author="", pipeline=None, pipeline_file="", problem=sentence)
            self._tell(report, lost, None)
        else:
            self._unread[report.mid] = _Unread(report.repo, sentence)
            self._changed()
            self._put(ReportFailed(mid=report.mid))

    def _tell(self, report: Report, sighting: Sighting, paths: tuple[str, ...] | None) -> None:
        message = CommitSeen(
            mid=report.mid,
            repo=report.repo,
            ref=report.ref,
            sha=sighting.sha,
            event=trigger_of(report.ref),
            message=sighting.message,
            author=sighting.author,
            pipeline=sighting.pipeline,
            pipeline_file=sighting.pipeline_file,
            rule=sighting.rule,
            problem=sighting.problem,
            trusted=report.trusted,
            base=report.base,
            paths=paths,
            includes=sighting.includes,
        )
        # Kept until it is acknowledged: a repeat needs no git, and cannot fail because the commit was forced away.
        self._ready[report.mid] = message
        self._send(message)


def _see(mirror: Mirror, report: Report) -> tuple[Sighting, tuple[str, ...] | None]:
    """The commit of a report with its pipeline, and the files that it changes, if the pipeline may ask. Blocks. Raises
    MirrorError.
    """
    base = Base(ref=report.base, sha=report.base_sha)
    if report.trusted:
        sighting = look(mirror, report.sha, report.ref)
    else:
        sighting = look_at_stranger(mirror, report.sha, report.ref, base)
    if not asks_for_changes(sighting.texts):
        return sighting, None
    merging = not report.trusted or trigger_of(report.ref) == "pull_request"
    return sighting, changed_paths(mirror, sighting.sha, report.ref, before=report.old_sha, base=base, merging=merging)
