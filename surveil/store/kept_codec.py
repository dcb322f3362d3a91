"""Records of what is kept to rows and back.

What belongs here: which column holds which field of artifacts and caches. What does not: statements (`shelf`), the
rows of builds and of everybody (`codec`), and any judgement about a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from surveil.core.kept import Artifact, Cache
from surveil.store.codec import ARTIFACTS, CACHES, split_job
from surveil.store.sums import summed
from surveil.store.tables import artifacts, caches


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """All of an artifact."""
    build, name = split_job(artifact.job)
    row = summed((
        build, name, artifact.attempt, artifact.name, artifact.blob, artifact.size, artifact.files, artifact.kept_at,
        artifact.expires_at,
    ))  # fmt: skip
    return dict(zip(artifacts.c.keys(), row, strict=True))


def cache_row(cache: Cache) -> dict[str, Any]:
    """All of a cache."""
    row = summed((
        cache.repo, cache.scope, cache.paths, cache.key, cache.blob, cache.size, cache.kept_at, cache.used_at,
    ))  # fmt: skip
    return dict(zip(caches.c.keys(), row, strict=True))


def cache_of(row: Sequence[Any]) -> Cache:
    """Read a cache."""
    CACHES.check(row)
    return Cache(
        repo=row[0], scope=row[1], paths=row[2], key=row[3], blob=row[4], size=row[5], kept_at=row[6], used_at=row[7]
    )


def artifact_of(row: Sequence[Any]) -> Artifact:
    """Read an artifact."""
    ARTIFACTS.check(row)
    return Artifact(
        job=f"{row[0]}/{row[1]}", attempt=row[2], name=row[3], blob=row[4], size=row[5], files=row[6], kept_at=row[7],
        expires_at=row[8],
    )  # fmt: skip
