"""The rows of what is kept of attempts' work, over any database that SQLAlchemy reaches.

What belongs here: artifacts and caches, written and asked for. What does not: the bytes that they name (`blobs`), and
when they go (`core.kept`).

It is written by the thread that writes everything else, each call a durable transaction of its own, and read by any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, insert, or_, select

from surveil.core.kept import Artifact, ArtifactId, Cache, CacheId
from surveil.store import codec, kept_codec
from surveil.store.rows import reading
from surveil.store.tables import artifacts, builds, caches


class Shelf:
    """`engine` is the readers', and `transaction` begins one of the writer's; whoever only reads has none."""

    def __init__(
        self, engine: Engine, transaction: Callable[[], AbstractContextManager[Connection]] | None = None
    ) -> None:
        self._engine = engine
        self._begin = transaction

    def _transaction(self) -> AbstractContextManager[Connection]:
        assert self._begin is not None, "this shelf is for reading"
        return self._begin()

    # ---- writing, by the writer's thread ----

    def keep(self, artifact: Artifact) -> None:
        """Note an artifact, in the place of one that the same attempt had under this name."""
        with self._transaction() as connection:
            connection.execute(_DROP, [_key(artifact.id)])
            connection.execute(insert(artifacts), [kept_codec.artifact_row(artifact)])

    def drop(self, ids: Sequence[ArtifactId]) -> None:
        """Keep these no longer."""
        if ids:
            with self._transaction() as connection:
                connection.execute(_DROP, [_key(each) for each in ids])

    def keep_cache(self, cache: Cache) -> None:
        """Note a cache, or that it was used, in the place of one that is found there."""
        with self._transaction() as connection:
            connection.execute(_DROP_CACHE, [_cache_key(cache.id)])
            connection.execute(insert(caches), [kept_codec.cache_row(cache)])

    def drop_caches(self, ids: Sequence[CacheId]) -> None:
        """Keep these no longer."""
        if ids:
            with self._transaction() as connection:
                connection.execute(_DROP_CACHE, [_cache_key(each) for each in ids])

    # ---- reading ----

    def caches(self, repo: str | None = None, scope: str = "", paths: str = "") -> list[Cache]:
        """All that are kept, or those of one repository, scope and list of paths; the newest first. Raises
        StoreError.
        """
        wanted = select(caches).order_by(caches.c.kept_at.desc(), caches.c.key)
        if repo is not None:
            wanted = wanted.where(caches.c.repo == repo, caches.c.scope == scope, caches.c.paths == paths)
        with reading(self._engine) as connection:
            return [kept_codec.cache_of(row) for row in connection.execute(wanted)]

    def artifacts(self, build: int | None = None) -> list[Artifact]:
        """All that are kept, or those of one build, in the order of its attempts. Raises StoreError."""
        wanted = select(artifacts).order_by(*artifacts.primary_key)
        if build is not None:
            wanted = wanted.where(artifacts.c.build == build)
        with reading(self._engine) as connection:
            return [kept_codec.artifact_of(row) for row in connection.execute(wanted)]

    def lately(
        self, *, repo: str | None, before: int, limit: int, among: Sequence[str] | None = None
    ) -> list[tuple[Artifact, str, str]]:
        """Artifacts of builds before this one, the newest build's first, each with the repository and the ref of its
        build; of the repositories with this name or end of a name, or of all, and only `among` these where there are
        any. Raises StoreError.
        """
        key = (column for column in artifacts.primary_key if column is not artifacts.c.build)
        wanted = select(artifacts, builds.c.repo, builds.c.ref).join(builds, builds.c.id == artifacts.c.build)
        wanted = wanted.where(artifacts.c.build < before).order_by(artifacts.c.build.desc(), *key).limit(limit)
        if repo is not None:
            # Few builds have artifacts still: from these to their repositories, and not the other way.
            ends = (f"{before_it}{repo}{dot_git}" for before_it in "/:" for dot_git in ("", ".git"))
            named = (builds.c.repo.endswith(end, autoescape=True) for end in ends)
            wanted = wanted.where(or_(builds.c.repo.concat("") == repo, *named))
        if among is not None:
            wanted = wanted.where(builds.c.repo.concat("").in_(among))
        with reading(self._engine) as connection:
            return [(kept_codec.artifact_of(row[:-2]), row.repo, row.ref) for row in connection.execute(wanted)]

    def artifact(self, job: str, attempt: int, name: str) -> Artifact | None:
        """One of them. Raises StoreError."""
        found = [each for each in self.artifacts(codec.split_job(job)[0]) if each.id == (job, attempt, name)]
        return found[0] if found else None

    def blobs(self) -> set[str]:
        """The names of all that are in use. Raises StoreError."""
        with reading(self._engine) as connection:
            return {
                *connection.execute(select(artifacts.c.blob).distinct()).scalars(),
                *connection.execute(select(caches.c.blob).distinct()).scalars(),
            }

    def is_used(self, blob: str) -> bool:
        """Whether anything is made of it. Raises StoreError."""
        wanted = (select(table.c.blob).where(table.c.blob == blob).limit(1) for table in (artifacts, caches))
        with reading(self._engine) as connection:
            return any(connection.execute(each).first() is not None for each in wanted)

    def known_to(self, repo: str, blob: str) -> bool:
        """Whether something of this repository is made of the blob already. Raises StoreError."""
        wanted = select(artifacts.c.blob).join(builds, builds.c.id == artifacts.c.build)
        wanted = wanted.where(artifacts.c.blob == blob, builds.c.repo == repo).limit(1)
        cached = select(caches.c.blob).where(caches.c.blob == blob, caches.c.repo == repo).limit(1)
        with reading(self._engine) as connection:
            return any(connection.execute(each).first() is not None for each in (wanted, cached))


_DROP = delete(artifacts).where(
    *(artifacts.c[name] == bindparam(f"key_{name}") for name in ("build", "name", "number", "artifact"))
)


_DROP_CACHE = delete(caches).where(
    *(caches.c[name] == bindparam(f"key_{name}") for name in ("repo", "scope", "paths", "key"))
)


def _cache_key(each: CacheId) -> dict[str, Any]:
    return dict(zip(("key_repo", "key_scope", "key_paths", "key_key"), each, strict=True))


def _key(each: ArtifactId) -> dict[str, Any]:
    build, name = codec.split_job(each[0])
    return {"key_build": build, "key_name": name, "key_number": each[1], "key_artifact": each[2]}
