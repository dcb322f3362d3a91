"""What is kept of attempts, as rows: written once, found by build, and gone when it is dropped."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from surveil.core.kept import Artifact, outdated
from surveil.store import kept_codec
from surveil.store.sqlite import FILE, open_store
from surveil.store.sums import DamagedError
from surveil.store.tables import artifacts
from surveil.store.writing import SqlStore
from tests.store.records import make_artifact, make_build, make_cache, new

ONE = make_artifact()


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    made = open_store(tmp_path, now=1)
    made.commit(new(make_build(1), make_build(2, repo="/srv/other")))
    return made


def test_what_is_kept_is_found_by_its_build_and_by_its_name(store: SqlStore) -> None:
    shelf, other = store.shelf, replace(ONE, job="2/test", blob="b" * 64)
    shelf.keep(ONE)
    shelf.keep(other)
    assert shelf.artifacts() == [ONE, other]
    assert shelf.artifacts(1) == [ONE]
    assert shelf.artifact(*ONE.id) == ONE
    assert shelf.artifact(ONE.job, 1, ONE.name) is None
    assert shelf.blobs() == {"a" * 64, "b" * 64}
    assert [shelf.known_to("/srv/repo", digit * 64) for digit in "ab"] == [True, False]
    store.close()


def test_whoever_looks_while_something_is_written_finds_what_is_durable_and_disturbs_nobody(store: SqlStore) -> None:
    shelf, other = store.shelf, replace(ONE, job="2/test", blob="b" * 64)
    shelf.keep(ONE)
    with ThreadPoolExecutor(1) as threads, store._transaction() as connection:  # noqa: SLF001  # amid a write
        connection.execute(insert(artifacts), [kept_codec.artifact_row(other)])
        seen = [threads.submit(look).result() for look in (shelf.artifacts, shelf.blobs, shelf.caches)]
    assert seen == [[ONE], {"a" * 64}, []]
    assert shelf.artifacts() == [ONE, other]
    store.close()


def test_keeping_twice_is_keeping_once_and_dropping_drops_no_other(store: SqlStore) -> None:
    shelf = store.shelf
    shelf.keep(ONE)
    shelf.keep(replace(ONE, size=11))
    shelf.keep(replace(ONE, attempt=3))
    assert shelf.artifacts() == [replace(ONE, size=11), replace(ONE, attempt=3)]
    shelf.drop([ONE.id])
    assert shelf.artifacts() == [replace(ONE, attempt=3)]
    shelf.drop([])
    store.close()


def test_a_row_that_the_disk_changed_is_noticed(store: SqlStore, tmp_path: Path) -> None:
    store.shelf.keep(ONE)
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE artifacts SET size = 12")
    store = open_store(tmp_path, now=1)
    with pytest.raises(DamagedError, match="artifact"):
        store.shelf.artifacts()
    store.close()


def artifact(name: str, *, size: int = 10, kept_at: int = 0, expires_at: int = 100, blob: str = "") -> Artifact:
    return replace(ONE, name=name, size=size, kept_at=kept_at, expires_at=expires_at, blob=blob or name)


def test_what_is_too_old_goes_and_then_the_oldest_until_the_rest_fits() -> None:
    kept = [
        artifact("new", kept_at=3),
        artifact("over", expires_at=50),
        artifact("old", kept_at=1),
        artifact("mid", kept_at=2),
    ]
    assert [one.name for one in outdated(kept, 50, 30)] == ["over"]
    assert [one.name for one in outdated(kept, 50, 29)] == ["over", "old"]
    assert [one.name for one in outdated(kept, 50, 10)] == ["over", "old", "mid"]
    assert [one.name for one in outdated(kept, 49, 40)] == []


def test_a_blob_that_several_share_takes_its_room_once() -> None:
    kept = [artifact("a", blob="x", kept_at=1), artifact("b", blob="x", kept_at=2), artifact("c", kept_at=3)]
    assert outdated(kept, 50, 20) == []
    assert [one.name for one in outdated(kept, 50, 19)] == ["a", "b"]


def test_caches_are_found_where_they_were_kept_and_nowhere_else(store: SqlStore) -> None:
    shelf = store.shelf
    one, newer = make_cache(), make_cache(key="newer", kept_at=2_000)
    for cache in (one, newer, make_cache(repo="/srv/other"), make_cache(scope=""), make_cache(paths="x")):
        shelf.keep_cache(cache)
    assert shelf.caches(one.repo, one.scope, one.paths) == [newer, one]
    assert len(shelf.caches()) == 5
    shelf.keep_cache(replace(one, used_at=9_000))
    assert shelf.caches(one.repo, one.scope, one.paths) == [newer, replace(one, used_at=9_000)]
    assert shelf.blobs() == {"c" * 64}
    assert [shelf.known_to(repo, "c" * 64) for repo in ("/srv/repo", "/srv/third")] == [True, False]
    shelf.drop_caches([one.id, newer.id])
    assert shelf.caches(one.repo, one.scope, one.paths) == []
    assert len(shelf.caches()) == 3
    store.close()
