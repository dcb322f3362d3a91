"""What the observer's mind knows and speaks of: its events, its effects, its state.

What belongs here: data, and what keeps it consistent. What does not: decisions (`core.observe`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Final, TypeAlias

from surveil.core.deadlines import Deadlines
from surveil.core.patterns import Patterns, read_patterns
from surveil.core.trust import Trust, read_trust
from surveil.frozen import dataclass

STIRRED_MS: Final = 20
"""Changes in files come in bursts; a repository is read at most once in this time."""
HINTED_MS: Final = 1_000
"""The same for hints that come from outside: a server is not asked more often because more is said about it."""


class Change(StrEnum):
    """What became of a ref, as far as two listings tell."""

    NEW = "new"
    MOVED = "moved"


# ---- what happens ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A poll found these refs (the objects they hold, tags unpeeled) and HEAD naming `head`, if any, with the commit
    `head_sha`.
    """

    repo: str
    head: str | None
    head_sha: str | None = None
    refs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A poll found, without reading them, that no ref changed since the last time."""

    repo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailed:
    """A poll found nothing out; `reason` is a sentence."""

    repo: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stirred:
    """Something moved in the repository's files, or somebody says so: a poll now may find more than the next one in its
    turn. It begins `gap_ms` after the one before at the earliest.
    """

    repo: str
    gap_ms: int = STIRRED_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The dispatcher has the report `mid` on its disk."""

    mid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFailed:
    """The report `mid` was not said, because its commit could not be read."""

    mid: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The dispatcher listens. What it has not acknowledged it may never have heard."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The dispatcher does not listen."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went by."""


Event: TypeAlias = (
    Observed | Unchanged | PollFailed | Stirred | Acknowledged | ReportFailed | Connected | Disconnected | Tick
)


# ---- what is to be done ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """Look at the repository's refs. Answered by exactly one of Observed, Unchanged and PollFailed."""

    repo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Tell the dispatcher that `ref` holds `sha`; `old_sha` is what it held when last reported. `base` is the branch
    that HEAD names, and `base_sha` its commit; the pipeline of a ref that is not `trusted` is taken from there.
    """

    mid: str
    repo: str
    ref: str
    sha: str
    old_sha: str | None
    change: Change
    trusted: bool = True
    base: str = ""
    base_sha: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remember:
    """What `record` returns for this repository has changed; write it down soon."""

    repo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A watched ref is gone. For people to read; should it come back, it is reported as new."""

    repo: str
    ref: str
    sha: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The repository cannot be read, for a reason that was not said before."""

    repo: str
    reason: str
    retry_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The repository can be read again."""

    repo: str


Effect: TypeAlias = Poll | Report | Remember | Deleted | Failing | Recovered


# ---- what is known ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What outlives the process for one repository.

    That is the refs acknowledged, under which patterns, and whether HEAD's branch is still owed its first report.
    """

    repo: str
    patterns: tuple[str, ...]
    head_owed: bool
    refs: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Sent:
    """A report under way."""

    mid: str
    ref: str
    sha: str
    old_sha: str | None
    change: Change
    number: int
    tries: int = 1
    repeat_at: int


@dataclass(slots=True, kw_only=True)
class Repo:
    """All about one repository. `acknowledged` is None before its first sight."""

    repo: str
    interval_ms: int
    patterns: Patterns
    known_under: Patterns
    acknowledged: dict[str, str] | None
    head_owed: bool
    numbers: dict[str, int] = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    head_sha: str | None = None
    sent: dict[str, Sent] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    queue: deque[str] = field(default_factory=deque)
    polling: bool = False
    stirred_ms: int | None = None
    """Once something stirred, and until the next poll: how long after the last poll that one may begin."""
    poll_at: int
    polled_at: int
    polls: int = 0
    failures: int = 0
    told: list[str] = field(default_factory=list)
    """Why it cannot be read, as far as it was said; empty when all is well."""

    def last_word(self, ref: str) -> str | None:
        """The newest commit reported for the ref, or else the one acknowledged; None for a ref never spoken of."""
        mid = self.newest.get(ref)
        return self.sent[mid].sha if mid is not None else (self.acknowledged or {}).get(ref)


class State:
    """All that one observer knows. Changed by `handle` alone."""

    def __init__(self, trust: Trust | None = None) -> None:
        self.trust = read_trust() if trust is None else trust
        self.repos: dict[str, Repo] = {}
        self.connected = False
        self.reports = 0
        self._deadlines: Deadlines[str] = Deadlines()

    def watch(self, repo: str, patterns: Patterns, interval_ms: int, record: Record | None, now: int) -> None:
        """Begin to watch a repository, from its record if there is one."""
        assert repo not in self.repos, f"{repo} is watched already"
        known_under = patterns if record is None else read_patterns(record.patterns)
        self.repos[repo] = Repo(
            repo=repo,
            interval_ms=interval_ms,
            patterns=patterns,
            known_under=known_under,
            acknowledged=None if record is None else dict(record.refs),
            head_owed=True if record is None else record.head_owed,
            poll_at=now,
            polled_at=now - STIRRED_MS,
        )
        self._deadlines.set(repo, now)

    def schedule(self, repo: Repo) -> None:
        """Note when the repository has to be thought of next."""
        times = [sent.repeat_at for sent in repo.sent.values()] if self.connected else []
        if not repo.polling:
            times.append(repo.poll_at)
        if times:
            self._deadlines.set(repo.repo, min(times))
        else:
            self._deadlines.discard(repo.repo)

    def take_due(self, now: int) -> list[Repo]:
        """The repositories that have to be thought of now."""
        return [self.repos[name] for name in self._deadlines.take_due(now)]

    def next_deadline(self) -> int | None:
        """The instant of the next thought; None if nothing will happen by itself."""
        return self._deadlines.next()
