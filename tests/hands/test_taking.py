"""Artifacts in orders: by what is noted of them, or a sentence; and given to the attempt that takes them alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.core.kept import Artifact
from surveil.core.model import AttemptState, Status
from surveil.frozen import replace
from surveil.hands import taking
from surveil.hands.entrusting import RefusedError
from surveil.hands.taking import Taking
from surveil.protocol import Assign, Deposited, Fetch, TakenArtifact
from surveil.store.blobs import FolderBlobs
from surveil.store.sqlite import open_store
from surveil.store.writing import SqlStore
from tests.hands.test_depot import Desk, deposit, desk, keep, run
from tests.store.records import make_attempt, make_job, make_spec

SHA = hashlib.sha256(b"abc").hexdigest()
WHEELS = TakenArtifact(job="test", name="wheels", attempt=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = open_store(tmp_path / "data", now=1)
    yield made
    made.close()


def kept(build: int, data: bytes, store: SqlStore, root: Path, *, name: str = "wheels", attempt: int = 1) -> str:
    """An artifact of a job, and its blob; the digest."""
    digest = hashlib.sha256(data).hexdigest()
    (root / "draft").write_bytes(data)
    (root / "blobs").mkdir(exist_ok=True)
    FolderBlobs(root / "blobs").take(root / "draft", digest)
    store.shelf.keep(
        Artifact(
            job=f"{build}/test", attempt=attempt, name=name, blob=digest, size=len(data), files=1, kept_at=1,
            expires_at=2,
        )
    )  # fmt: skip
    return digest


def ordered(root: Path, store: SqlStore, *takes: TakenArtifact) -> tuple[TakenArtifact, ...]:
    order = Assign(
        epoch=1, incarnation=1, anchor=1, job="2/use", attempt=1, build=2, repo="/r", ref="refs/heads/main",
        sha="a" * 40, spec=replace(make_spec("use"), artifacts_from=takes),
    )  # fmt: skip
    return Taking(store.shelf, FolderBlobs(root / "blobs")).ordered(order).spec.artifacts_from


def test_an_order_says_by_which_digest_of_the_attempt_that_counts(tmp_path: Path, store: SqlStore) -> None:
    kept(2, b"first", store, tmp_path)
    second = kept(2, b"second", store, tmp_path, attempt=2)
    earlier = kept(1, b"earlier", store, tmp_path)
    wanted = (replace(WHEELS, attempt=2), replace(WHEELS, build=1))
    assert ordered(tmp_path, store, *wanted) == (
        replace(wanted[0], blob=second, size=6), replace(wanted[1], blob=earlier, size=7),
    )  # fmt: skip


def test_what_is_not_there_is_a_sentence_unless_it_need_not_be(tmp_path: Path, store: SqlStore) -> None:
    kept(2, b"docs", store, tmp_path, name="docs")
    with pytest.raises(RefusedError, match="the artifact `wheels` of 2/test attempt 1 is not there: ") as refused:
        ordered(tmp_path, store, WHEELS)
    assert "`surveil retry 2` makes it anew" in str(refused.value)
    assert ordered(tmp_path, store, replace(WHEELS, optional=True)) == ()
    FolderBlobs(tmp_path / "blobs").remove(hashlib.sha256(b"docs").hexdigest())
    with pytest.raises(RefusedError, match="its files are not on the dispatcher's disk any more"):
        ordered(tmp_path, store, replace(WHEELS, name="docs", optional=True))


def test_all_that_one_job_takes_has_a_limit(tmp_path: Path, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(2, b"wheels", store, tmp_path)
    kept(2, b"docs", store, tmp_path, name="docs")
    both = (WHEELS, replace(WHEELS, name="docs"))
    monkeypatch.setattr(taking, "TAKEN_BYTES_MAX", 10)
    assert len(ordered(tmp_path, store, *both)) == 2
    monkeypatch.setattr(taking, "TAKEN_BYTES_MAX", 9)
    with pytest.raises(RefusedError, match="together, more than"):
        ordered(tmp_path, store, *both)


def give_user(here: Desk) -> None:
    """A job that takes what `1/test` kept, which has passed, and runs."""
    user = make_job(1, name="use", state=Status.RUNNING, attempt=1)
    spec = replace(user.spec, needs=("test",), artifacts_from=(TakenArtifact(job="test", name="wheels"),))
    here.state.jobs["1/use"] = replace(user, spec=spec)
    here.state.jobs["1/test"] = replace(here.state.jobs["1/test"], state=Status.PASSED)
    running = make_attempt(1, name="use", number=1, runner=here.state.attempts["1/test", 1].runner)
    here.state.attempts["1/use", 1] = replace(running, state=AttemptState.RUNNING)


def test_whoever_takes_it_may_fetch_it_also_from_a_dispatcher_that_started_anew(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            other = await here.bring(b"other")
            await here.answer(deposit(data=b"abc"))
            assert (await here.answer(keep())).whole
            give_user(here)
            asked = Fetch(id=9, job="1/use", attempt=1, blob=SHA, at=1)
            assert (await here.any_answer(asked)).data == b"bc"
            assert (await here.any_answer(replace(asked, blob=other))).problem
            # Of its own job's work, which nobody told this attempt of, it gets nothing.
            assert (await here.any_answer(replace(asked, job="1/test"))).problem
        async with desk(tmp_path) as here:
            here.give()
            give_user(here)
            assert (await here.any_answer(asked)).data == b"bc"

    run(story())


def test_what_an_attempt_kept_changes_no_more_once_it_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            await here.bring(b"first")
            await here.bring(b"later")
            first, later = (hashlib.sha256(data).hexdigest() for data in (b"first", b"later"))
            assert (await here.answer(keep(blob=first, size=5))).whole
            # Its verdict is taken while the note is on its way to the thread that writes.
            here.hear(keep(blob=later, size=5))
            attempt = here.state.attempts["1/test", 1]
            here.state.attempts["1/test", 1] = replace(attempt, state=AttemptState.PASSED)
            here.news.clear()
            await here.news.wait()
            said = here.said[-1]
            assert isinstance(said, Deposited)
            assert (said.whole, said.problem) == (False, "the attempt is over, and what it kept changes no more")
            (noted,) = here.store.shelf.artifacts(1)
            assert noted.blob == first

    run(story())
