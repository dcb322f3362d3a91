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

ArtifactId: TypeAlias = tuple[str, int, str]
"""A job's id, the attempt's number, and the artifact's name."""


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
