"""What the judges look at: what is stored, what really happened, and what people did, as plain records.

What belongs here: the records, and gathering them. What does not: judging them (invariants).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from surveil.core.model import OPEN, VERDICTS, Attempt, AttemptId, Job, Note, Runner
from surveil.store import ROWS_MAX, BuildDetail
from surveil.store.log_paths import log_stem
from surveil.store.logs import READ_BYTES_MAX, read_log
from surveil.store.reading import SqlReader
from tests.campaign.truth import Span, Work

TRUTHFUL: Final = "TRUTH"
"""A job with this variable tells the truth; of other jobs nothing is known outside."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """A commit that somebody pushed. `at` is of `boot_ms`."""

    repo: str
    ref: str
    sha: str
    shape: str
    at: int


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a client was told is done: the build that a `submit` made, or the one that a `cancel` ended."""

    what: str
    build: int
    sha: str = ""
    at: int


@dataclass(frozen=True)
class StoredLog:
    """A log as it is stored."""

    data: bytes
    damaged: bool = False


Verdicts = dict[str, tuple[str, int, int | None]]
"""What was stored for good: the state, attempt and exit code of jobs, and of attempts under `JOB#NUMBER`."""


@dataclass(kw_only=True)
class Evidence:
    """All that is known at one moment, after everything has come to its end."""

    builds: list[BuildDetail]
    notes: list[Note] = field(default_factory=list)
    runners: list[Runner] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    logs: dict[AttemptId, StoredLog] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    excused: frozenset[str] | None = frozenset()
    """The runners that had a reason to lose attempts; None for all of them."""
    cut: frozenset[str] = frozenset()
    """The runners whose disks lost or damaged output."""
    interrupted: frozenset[str] = frozenset()
    """The runners that may have lost what they had not begun yet."""
    spooled: dict[str, int] = field(default_factory=dict)
    """How much of the logs of attempts was on the disks of hosts when these died, by the attempts' folders."""
    paused: frozenset[str] = frozenset()
    """The runners that stood still, and could not know that their time was over."""
    fenced: bool = False
    """Whether leases could not be renewed for a while, so that what must not run twice ended itself."""
    forgotten: tuple[Span, ...] = ()
    """When the dispatcher did what it does not know of any more."""
    slots: int = 1
    lost_max: int = 3
    wall_minus_boot_ms: int = 0
    """What to take from a stored time to have one of the truth."""
    before: Verdicts = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    """What is still there on each runner and should not be."""

    @property
    def jobs(self) -> list[Job]:
        """Every job."""
        return [job for detail in self.builds for job in detail.jobs]

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt."""
        return [attempt for detail in self.builds for attempt in detail.attempts]

    def works_of(self, attempt: AttemptId) -> list[Work]:
        """The processes of an attempt in the order of its steps."""
        return sorted((work for work in self.works if work.id == attempt), key=lambda work: work.step)

    def verdicts(self) -> Verdicts:
        """What nothing may change any more."""
        jobs = {job.id: (str(job.state), job.attempt, None) for job in self.jobs if job.state in VERDICTS}
        tries = {
            f"{each.job}#{each.number}": (str(each.state), each.number, each.exit_code)
            for each in self.attempts
            if each.state not in OPEN
        }
        return {**jobs, **tries}


def is_truthful(job: Job) -> bool:
    """Whether its steps tell what they do."""
    return TRUTHFUL in job.spec.env


def stored_builds(reader: SqlReader, after: int) -> list[BuildDetail]:
    """Every build with a number above `after`, oldest first."""
    found: list[int] = []
    before: int | None = None
    while page := reader.builds(limit=ROWS_MAX, before=before):
        found += [build.id for build in page if build.id > after]
        if page[-1].id <= after:
            break
        before = page[-1].id
    found.sort()
    return [detail for at in range(0, len(found), 200) for detail in reader.details(found[at : at + 200])]


def stored_notes(reader: SqlReader, after: int) -> tuple[list[Note], int]:
    """The journal's lines after a position, and the position of the last."""
    notes: list[Note] = []
    while lines := reader.journal(after=after, limit=ROWS_MAX):
        notes += [line.note for line in lines]
        after = lines[-1].position
    return notes, after


def stored_logs(root: Path, attempts: Iterable[Attempt]) -> dict[AttemptId, StoredLog]:
    """The logs of attempts, as the dispatcher has them."""
    return {each.id: _stored_log(log_stem(root, each.job, each.number)) for each in attempts}


def _stored_log(stem: Path) -> StoredLog:
    data, damaged = bytearray(), False
    while True:
        piece = read_log(stem, len(data), READ_BYTES_MAX)
        data += piece.data
        damaged = damaged or piece.damaged
        if len(data) >= piece.length or not piece.data:
            return StoredLog(bytes(data), damaged)
