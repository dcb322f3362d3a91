"""What clients may ask of a dispatcher, and what comes of it: a reply, or a wish that the dispatcher's hands fulfil.

What belongs here: the contract of the package. What does not: how records become documents (`views`), how arguments
are read (`arguments`), who did what (`auditing`), how many questions are in work (`in_work`), where readers wait
(`parking`), what is in the logs (`logbook`), in artifacts (`kept_files`) and in the dispatcher's memory (`live`), why a
job waits (`waiting`), how it came to its end (`story`), how it is run again (`replays`), and the answers themselves
(`answers` reads, `wishes` acts).

A question that only reads is answered from the store. One that acts is never performed here: it becomes a `Wish`,
checked and complete, and the dispatcher performs it with everything else that changes the world, and then says what
`wish.reply` returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from surveil.core.events import ApprovalWanted, BuildWanted, CancelWanted, RunnerWanted, UnholdWanted
from surveil.core.peers import Peer
from surveil.core.scopes import Scope, Source
from surveil.frozen import dataclass
from surveil.protocol import CommitSeen, Pack, Want

WAIT_MS_MAX: Final = 30_000
"""The longest that one question may wait for news; the asker then asks again."""
_Read = TypeVar("_Read")


class ReadInThread(Protocol):
    """Reads from the store without holding up the loop, a bounded number at a time."""

    def __call__(self, read: Callable[[], _Read], /) -> Awaitable[_Read]:
        """Do it."""


class Question(StrEnum):
    """The names of all questions; `Ask.what` is one of them."""

    STATUS = "status"
    BUILDS = "builds"
    BUILD = "build"
    LOG = "log"
    JOURNAL = "journal"
    STORY = "story"
    TESTS = "tests"
    HISTORY = "history"
    REPOSITORIES = "repositories"
    INCIDENTS = "incidents"
    ARTIFACTS = "artifacts"
    ARTIFACT = "artifact"
    REPLAY = "replay"
    REPLAY_SHARD = "replay_shard"
    REPLAY_PACK = "replay_pack"
    RUNNERS = "runners"
    RUNNER = "runner"
    LOOK = "look"
    SUBMIT = "submit"
    RETRY = "retry"
    CANCEL = "cancel"
    UNHOLD = "unhold"
    APPROVE = "approve"
    TOKEN_CREATE = "token_create"  # noqa: S105  # a question's name, not a secret
    TOKENS = "tokens"
    TOKEN_REVOKE = "token_revoke"  # noqa: S105  # the same
    PEERS = "peers"
    PEER_REVOKE = "peer_revoke"
    DB_BACKUP = "db_backup"
    SECRET_SET = "secret_set"  # noqa: S105  # a question's name, not a secret
    SECRETS = "secrets"
    SECRET_REMOVE = "secret_remove"  # noqa: S105  # the same
    SECRET_REKEY = "secret_rekey"  # noqa: S105  # the same
    AUDIT = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that is ready: a JSON-like `body`, and raw bytes beside it (of a log)."""

    body: Any = None
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitWish:
    """Test this commit: treat it as if an observer had said it, and answer once its build is on disk."""

    commit: CommitSeen
    by: str
    """Who wants it, in words for the journal."""

    def reply(self, build: int) -> Reply:
        """The answer, once the fact `commit.mid` is acknowledged as `build`."""
        return Reply(body={"build": build})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryWish:
    """Build the same commit again: give `event` to the mind, and answer once it is on disk."""

    event: BuildWanted

    def reply(self, build: int) -> Reply:
        """The answer, once the fact `event.mid` is acknowledged as `build`."""
        return Reply(body={"build": build})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsWish:
    """End jobs, let held ones be tried again, or approve them all: give `event` to the mind, and answer once it is on
    disk.
    """

    event: CancelWanted | UnholdWanted | ApprovalWanted

    def reply(self, state: str) -> Reply:
        """The answer; `state` is the build's after the commit."""
        return Reply(body={"build": self.event.build, "state": state})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerWish:
    """Order a runner: give `event` to the mind, and answer once it is on disk. `revoke` also takes its key off the
    list of known ones.
    """

    event: RunnerWanted

    def reply(self) -> Reply:
        """The answer."""
        return Reply(body={})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWish:
    """Make a join token for `uses` new peers of this role, good for `expires_ms` from now."""

    role: str
    labels: tuple[str, ...]
    expires_ms: int
    uses: int

    def reply(self, *, token: str, token_id: str, expires_at: str) -> Reply:
        """The answer; `expires_at` as RFC 3339."""
        return Reply(body={"token": token, "id": token_id, "expires_at": expires_at})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeTokenWish:
    """Make a join token useless."""

    token: str

    def reply(self) -> Reply:
        """The answer."""
        return Reply(body={})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokePeerWish:
    """Let a peer in no more, whatever its role; `reason` is a sentence for whoever wonders later."""

    peer: Peer
    reason: str

    def reply(self) -> Reply:
        """The answer."""
        return Reply(body={"key": self.peer.key, "role": self.peer.role.value, "name": self.peer.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupWish:
    """Copy the database, as it is at one moment, to a new file on the dispatcher's machine."""

    destination: str

    def reply(self, *, size_bytes: int, left_out: Sequence[str] = ()) -> Reply:
        """The answer, once the copy is whole and on disk; `left_out` is what whoever wants it copies by hand."""
        return Reply(body={"path": self.destination, "bytes": size_bytes, "left_out": list(left_out)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWish:
    """Keep a secret of this name for the jobs of this scope."""

    name: str
    scope: Scope
    value: bytes = field(repr=False)
    source: Source
    by: str

    def reply(self) -> Reply:
        """The answer, once it is on disk."""
        return Reply(body={"name": self.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSecretWish:
    """Forget the secret of this name and scope."""

    name: str
    scope: Scope
    by: str

    def reply(self) -> Reply:
        """The answer, once it is gone."""
        return Reply(body={"name": self.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyWish:
    """Encrypt all secrets with a new key."""

    by: str

    def reply(self, *, secrets: int) -> Reply:
        """The answer, once it is done."""
        return Reply(body={"secrets": secrets})


@dataclass(frozen=True, slots=True, kw_only=True)
class LookWish:
    """Have the observers of a repository look at it now."""

    repo: str

    def reply(self, observers: int) -> Reply:
        """The answer, once so many were told."""
        return Reply(body={"repo": self.repo, "observers": observers})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackWish:
    """Have an observer give a piece of a pack, and wait so long for it."""

    want: Want
    wait_ms: int

    def reply(self, pack: Pack | None) -> Reply:
        """The answer; without a pack nothing came yet, and the question makes sense again."""
        if pack is None:
            return Reply(body={"made": 0, "total": 0, "problem": "", "retry_ms": 0})
        told = {"made": pack.made, "total": pack.total, "problem": pack.problem, "retry_ms": pack.retry_ms}
        return Reply(body=told, data=pack.data)


Wish: TypeAlias = (
    SubmitWish
    | PackWish
    | LookWish
    | RetryWish
    | JobsWish
    | RunnerWish
    | TokenWish
    | RevokeTokenWish
    | RevokePeerWish
    | BackupWish
    | SecretWish
    | RemoveSecretWish
    | RekeyWish
)
