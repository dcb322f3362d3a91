"""What is kept on disk, and the promise that every implementation of the store gives.

What belongs here: the two halves of the store's contract (`Store` for the one writer, `Reader` for everybody), the
records that only the store knows, and its errors. What does not: SQL (`tables`, `writing`, `reading`), files and
locks (`sqlite`), logs (`logs`), and why anything is written (the minds).

`Store` is called by one thread at a time. `Reader` is called by any thread, of any process, and sees only what is
durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from surveil.core.model import Attempt, AttemptId, Build, Job, Note, Record, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.core.scopes import Scope, Secret
from surveil.core.shards import Asked
from surveil.core.state import Changes
from surveil.core.timetable import Timetable
from surveil.errors import InfrastructureError
from surveil.frozen import dataclass
from surveil.protocol import Case, Tally

if TYPE_CHECKING:
    from surveil.store.happening import Happened
    from surveil.store.looks import Look

SHARED_BUILDS_MAX: Final = 20_000
"""Whoever looks for how long tests took looks at no more builds of all repositories than these."""
ROWS_MAX: Final = 1000
"""The most builds or lines of the journal that one question returns."""
HISTORY_BUILDS: Final = 30
"""Whoever asks how a test has been doing is told of so many builds."""
PAST_BUILDS_MAX: Final = 5_000
"""Whoever comes back after more builds than these with an attempt that was given up, and after a restart of ours, is
turned away without a word.
"""


class StoreError(InfrastructureError):
    """The disk's fault: nothing of the transaction is known to be durable.

    Memory is now ahead of the disk, so whoever gets this from `commit` starts again from what is stored.
    """


class FullError(StoreError):
    """There is no room on the disk; nothing of the transaction or flush counts, and all before it is as it was."""


class FencedError(StoreError):
    """Another dispatcher took this database over: nothing that we say is written any more."""


class DefectError(StoreError):
    """Our own fault: a change that must never be asked for, such as leaving a verdict. Nothing of the transaction was
    written.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A join token, known by the SHA-256 of its secret only."""

    id: str
    digest: bytes
    role: Role
    labels: tuple[str, ...]
    uses_left: int
    created_at: int
    expires_at: int
    revoked_at: int | None = None

    def usable(self, now: int) -> bool:
        """Whether it would still let a stranger in."""
        return self.uses_left > 0 and self.expires_at > now and self.revoked_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which installation this is. `epoch` grows by at least one with each start of a dispatcher and fences the one
    before.
    """

    id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildDetail:
    """A build with its jobs in their order, and all attempts at these, oldest first within a job."""

    build: Build
    jobs: tuple[Job, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """A line of the journal at its position. Positions only grow; a later commit has later ones."""

    position: int
    note: Note


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTally:
    """What the test reports of an attempt say all in all."""

    job: str
    attempt: int
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """A test and how it ended in an attempt."""

    job: str
    attempt: int
    case: Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """A list that shards share, packed, and all that they asked about it."""

    digest: str
    items: bytes
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many jobs of open builds stand where, and how many slots of runners that are online are taken."""

    blocked: int
    held: int
    queued: int
    running: int
    online: int
    offline: int
    slots: int
    busy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """As much of a build as tells how a repository has been doing."""

    id: int
    ref: str
    state: Status
    created_at: int
    started_at: int | None
    finished_at: int | None


class Reader(Protocol):
    """Questions about what is durable. Every answer is one consistent moment; none takes a lock that the writer waits
    for.

    Every method raises `StoreError` where the database cannot be read.
    """

    def cluster(self) -> Cluster:
        """Which installation this is, and the epoch of its newest dispatcher."""

    def builds(
        self,
        *,
        repo: str | None = None,
        ref: str | None = None,
        state: Status | None = None,
        event: str | None = None,
        limit: int = 20,
        before: int | None = None,
        jobs: bool = True,
        among: Sequence[str] | None = None,
        authors: Sequence[str] | None = None,
    ) -> list[Build]:
        """The newest builds first, at most `limit` (and `ROWS_MAX`), of this `repo` or those `among` these, of this
        `ref`, `state` and `event`, by one of these `authors`, with ids below `before`; without the names of their
        `jobs` where nobody wants them, which are more than all else.
        """

    def repositories(self) -> list[str]:
        """Every repository that was ever built, by name, at most `ROWS_MAX`."""

    def authors(self, *, limit: int = ROWS_MAX) -> list[str]:
        """Every author of a commit that was ever built, as commits have them, by name, at most `limit`."""

    def outlines(self, repo: str, *, ref: str | None = None, limit: int = 200) -> list[Outline]:
        """The newest builds of a repository, or of one of its refs, first, at most `limit` (and `ROWS_MAX`)."""

    def outlines_after(self, after: int, among: Sequence[int]) -> tuple[list[tuple[str, Outline]], dict[int, Outline]]:
        """Builds with ids above `after`, the oldest first, at most `ROWS_MAX`, each with its repository; and by id
        those `among` these that are there.
        """

    def build(self, build: int) -> BuildDetail | None:
        """One build with everything under it."""

    def details(self, builds: Sequence[int]) -> list[BuildDetail]:
        """Several builds, at most `ROWS_MAX`, each with everything under it, in the order asked for; unknown ids are
        left out.
        """

    def looks(self, builds: Sequence[int], *, tests: bool = False) -> list[Look]:
        """The same, each read when somebody wants to know; with `tests`, versions vouch for test results as well."""

    def mark(self) -> object:
        """Equal to an earlier one only if nothing at all was written in between, by anybody."""

    def build_of_mid(self, mid: str) -> int | None:
        """The build that the fact `mid` made, None where it was never seen."""

    def journal(self, *, after: int = 0, limit: int = 200, build: int | None = None) -> list[JournalLine]:
        """Lines after position `after`, oldest first, at most `limit` (and `ROWS_MAX`)."""

    def journal_beside(
        self, runners: Sequence[str], *, after: int, before: int | None = None, limit: int = 200
    ) -> list[JournalLine]:
        """Lines about these `runners`, at most `ROWS_MAX`, and about the dispatcher, between two positions, oldest
        first, at most `limit` (and `ROWS_MAX`).
        """

    def incidents(self, *, limit: int = 200) -> list[JournalLine]:
        """The newest lines about runners and the dispatcher first, at most `limit` (and `ROWS_MAX`)."""

    def journal_end(self) -> int:
        """The position of the newest line, 0 before the first."""

    def happened(self, after: int) -> Happened:
        """What the next lines after a position say in numbers; of a whole journal it takes several looks."""

    def counts(self) -> Counts:
        """How much waits and runs."""

    def queued_since(self) -> int | None:
        """When the job began to wait for a runner that has waited for longest, among those of the oldest builds."""

    def runners(self) -> list[Runner]:
        """Every runner that ever said hello, by name."""

    def owner(self, job: str, attempt: int) -> str | None:
        """The key of the runner that this attempt was given to."""

    def attempt(self, job: str, number: int) -> Attempt | None:
        """One attempt, None where there is none."""

    def tallies(self, wanted: Sequence[int]) -> list[AttemptTally]:
        """What the tests came to in each attempt of these builds that has told all of it, by build, job's name and
        attempt.
        """

    def cases(
        self,
        of: Sequence[AttemptId],
        *,
        sound_of: Sequence[AttemptId] = (),
        wrong: bool = False,
        named: Sequence[str] | None = None,
        at: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[StoredCase]:
        """The test results of some attempts from number `at` on: first those that went wrong, in their order, then the
        slowest; with `wrong`, those that went wrong alone. Of the attempts `sound_of` only what did not go wrong; of
        all, only tests with these names (at most `ROWS_MAX`).
        """

    def tested_before(self, build: int) -> int | None:
        """The newest build before this one, of the same ref and another commit, of which there are test results."""

    def history(self, build: int, suite: str, test: str) -> list[StoredCase]:
        """How a test ended in this build and in those before it of the same ref, newest first: in `HISTORY_BUILDS`
        builds that have test results, none of which is older than `SHARED_BUILDS_MAX` builds.
        """

    def sharing(self, build: int, suite: str) -> Sharing | None:
        """The list of a suite's shards and what they asked, None before one of them brought it."""

    def shared_before(
        self, repo: str, suite: str, *, ref: str | None = None, before: int | None = None, limit: int = 1
    ) -> list[Sharing]:
        """The same of the newest builds of a repository that have it, newest first, at most `limit`: of those of one
        `ref`, and before the build `before`. None of them is older than `SHARED_BUILDS_MAX` builds.
        """

    def peers(self) -> list[Peer]:
        """Every enrolled key, revoked ones too, oldest first."""

    def peer(self, key: str) -> Peer | None:
        """What is known about a key."""

    def tokens(self) -> list[Token]:
        """Every join token, spent and revoked ones too, oldest first."""

    def timetables(self) -> list[Timetable]:
        """What is built by the clock, by repository."""

    def secrets(self) -> list[Secret]:
        """Every secret, encrypted, by name and scope."""

    def close(self) -> None:
        """Let go of all connections. Closing twice is harmless."""


class Store(Protocol):
    """The writer's half. There is at most one at a time: the lock of the data folder says so, and `epoch` makes sure
    of it.

    What is written is durable when the method returns, also against a loss of power. Every method that writes raises
    `FencedError` when deposed, `DefectError` for a change that must not happen, and `StoreError` for any other
    failure; in each case nothing was written.
    """

    @property
    def cluster(self) -> Cluster:
        """Which installation this is, with the epoch that this store holds."""

    @property
    def reader(self) -> Reader:
        """The other half, for any thread of this process; closed together with this."""

    def load(self) -> tuple[list[Record], int]:
        """The records of open builds (builds before their jobs, jobs before their attempts); of the newest settled
        builds the attempts that were given up and of which their runners have not said the last word, oldest first;
        every runner; and the next build's id.
        """

    def commit(self, changes: Changes) -> None:
        """Write one batch as one transaction.

        `new` records are inserted; the jobs of a build are those that are stored under it, by position. Of `changed`
        ones only what may change is written: state, reason, counters and times; what else they hold, a job's spec or
        what a build was asked for, must be as it is stored. Runners are taken either way, because the mind forgets
        those that were away for long.

        `log_ends` say how long the logs of given-up attempts are; each counts only for the runner's own attempt, and
        the first time.

        Raises:
            DefectError: a verdict of a build, job or attempt would change, or anything else that never changes, a job's
                attempt number would fall, a record that is new exists, or one that changed does not.
        """

    def add_cases(self, attempt: AttemptId, at: int, found: Sequence[Case], tally: Tally | None) -> bool:
        """Keep the test results of an attempt from number `at` on, and with the last ones how many there are in all.
        What is kept already stays as it is. False, and none of these is kept, where all results of the attempt would
        have printed more than `PRINTED_MAX` characters.
        """

    def add_shard_list(self, build: int, suite: str, digest: str, items: bytes) -> None:
        """Keep the list that the shards of a suite share. The first one stays."""

    def add_shard_ask(self, asked: Asked, suite: str) -> None:
        """Keep a question of a shard with its answer. The first of its number stays."""

    def add_peer(self, peer: Peer) -> Peer:
        """Let a key in. Saying it again for a live key of that role returns what is stored.

        Raises:
            NotAllowedError: the key was revoked or has another role, or a live key of this role has that name.
        """

    def revoke_peer(self, key: str, *, now: int) -> bool:
        """Let a key in no more; False where it was not let in anyway."""

    def add_token(self, token: Token) -> None:
        """Keep a new join token."""

    def revoke_token(self, token: str, *, now: int) -> bool:
        """Make the token with this id worthless; False where no live token has it."""

    def put_timetable(self, repo: str, table: Timetable | None) -> None:
        """Keep the timetable of a repository in place of the one before, or none any more."""

    def put_secrets(self, secrets: Sequence[Secret]) -> None:
        """Keep these in the place of those of the same name and scope, all or none; at least one."""

    def remove_secret(self, name: str, scope: Scope) -> bool:
        """Forget the secret of this name and scope; False where there is none."""

    def redeem(self, digest: bytes, *, key: str, name: str, now: int) -> Peer:
        """Spend one use of the token whose secret has this SHA-256, and let `key` in with its role and labels: both
        or neither.

        A key that was let in before, by this token or another of its role, is answered without spending a use: the
        first answer was lost.

        Raises:
            NotAllowedError: the token is unknown, spent, expired or revoked, or `add_peer` refuses the key.
        """

    def close(self) -> None:
        """Let go of the database and the lock. Closing twice is harmless."""
