"""What is kept of the work of attempts: its records, and the rules by which they go.

What belongs here: records and pure rules. What does not: the bytes (`store.blobs`), rows (`store.shelf`), and the way
there (`hands.depot`). Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from surveil.frozen import dataclass

RETENTION_MS: Final = 30 * 86_400_000
"""How long an artifact is kept whose job does not say."""

CACHES_MAX: Final = 10_000
"""Keys are cheap to invent; whoever looks for one reads all that there are."""

ArtifactId: TypeAlias = tuple[str, int, str]
"""A job's id, the attempt's number, and the artifact's name."""
CacheId: TypeAlias = tuple[str, str, str, str]
"""The repository, the scope, the paths and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Files of an attempt that are kept under a name: the blob is an archive of them."""

    job: str
    attempt: int
    name: str
    blob: str
    size: int
    files: int
    kept_at: int
    expires_at: int

    @property
    def id(self) -> ArtifactId:
        """Whose it is and what it is called."""
        return (self.job, self.attempt, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What a job left for others to find: the blob is an archive of `paths`. `scope` is empty for what trusted commits
    left, which everybody may find, else the ref whose builds alone may.
    """

    repo: str
    scope: str
    paths: str
    key: str
    blob: str
    size: int
    kept_at: int
    used_at: int

    @property
    def id(self) -> CacheId:
        """Where it is found."""
        return (self.repo, self.scope, self.paths, self.key)


def scopes_of(ref: str, *, trusted: bool) -> tuple[str, ...]:
    """The scopes that a commit's jobs may look into, the one that they keep in first: strangers find what others left,
    and leave nothing that others find.
    """
    return ("",) if trusted else (ref, "")


def named(paths: Iterable[str]) -> str:
    """One text for a list of paths: what was kept of other paths is another cache, whatever its key."""
    return "\n".join(sorted(set(paths)))


def unused(caches: Iterable[Cache], bytes_max: int) -> list[Cache]:
    """Those that go now: the ones that were not used for longest, until the others fit into `bytes_max`, and are no
    more than `CACHES_MAX`.
    """
    gone: list[Cache] = []
    left = sorted(caches, key=lambda one: (one.used_at, one.id))
    size = sum(cache.size for cache in left)
    for cache in left:
        if size <= bytes_max and len(left) - len(gone) <= CACHES_MAX:
            break
        gone.append(cache)
        size -= cache.size
    return gone


def outdated(artifacts: Iterable[Artifact], now: int, bytes_max: int) -> list[Artifact]:
    """Those that go now: whose time is over, and then the oldest until the others fit into `bytes_max`. A blob that
    several share takes its room once.
    """
    gone = [artifact for artifact in artifacts if artifact.expires_at <= now]
    left = [artifact for artifact in artifacts if artifact.expires_at > now]
    used: dict[str, int] = {}
    for artifact in left:
        used[artifact.blob] = used.get(artifact.blob, 0) + 1
    size = sum({artifact.blob: artifact.size for artifact in left}.values())
    for artifact in sorted(left, key=lambda one: (one.kept_at, one.id)):
        if size <= bytes_max:
            break
        gone.append(artifact)
        used[artifact.blob] -= 1
        if not used[artifact.blob]:
            size -= artifact.size
    return gone
