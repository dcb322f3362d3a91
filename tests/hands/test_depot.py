"""Files on their way from a real courier to a real depot: whatever is lost between, they arrive as they were, and
nobody brings what is none of its business.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import IO, Any

import pytest

from surveil.core.model import Attempt, AttemptState, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.core.state import Identity, State
from surveil.execute.archives.packing import Packed
from surveil.execute.transfer import courier as courier_module
from surveil.execute.transfer import fetching
from surveil.execute.transfer.courier import Courier, CourierError
from surveil.frozen import replace
from surveil.hands import depot as depot_module
from surveil.hands import lending
from surveil.hands.depot import Depot
from surveil.hands.sweeping import Sweeping
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import (
    BLOB_BYTES_MAX,
    ArtifactSpec,
    CacheFound,
    CacheSpec,
    Deposit,
    Deposited,
    DoubtBlob,
    Fetch,
    KeepArtifact,
    KeepCache,
    Message,
    OnBulk,
    Piece,
    SeekCache,
)
from surveil.store import blobs as blobs_module
from surveil.store.blobs import READ_BYTES_MAX, FolderBlobs
from surveil.store.sqlite import FILE, open_store
from tests.store.records import make_attempt, make_build, make_job, new

OWNER = Peer(key="o" * 40, role=Role.RUNNER, name="owner")
STRANGER = Peer(key="s" * 40, role=Role.RUNNER, name="stranger")
HOME = Route(bulk=True, id=b"owner")
ONE = ("1/test", 1)
NOW = 1_750_000_000_000
PATIENCE_S = 60
ARTIFACTS = tuple(
    ArtifactSpec(name=name, paths=("x",), retention_ms=ms) for name, ms in (("wheels", 0), ("old", 1), ("brief", 5))
)
CACHES = (CacheSpec(key="key", paths=("lib",)), CacheSpec(key="other", paths=("lib", "more")))


class Desk:
    """A depot at work on a store, a courier that speaks with it, and a way between them that may lose something."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = open_store(root, now=1)
        self.state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
        self.blobs = FolderBlobs(root / "blobs")
        (root / "blobs").mkdir(exist_ok=True)
        self.writer = ThreadPoolExecutor(1)
        self.now = NOW
        self.refused: list[Sender] = []
        self.said: list[Message] = []
        self.news = asyncio.Event()
        self.loses: Callable[[Message], bool] = lambda _message: False
        self.unread: Callable[[], bool] = lambda: False
        self.full: Callable[[Message], bool] = lambda _message: False
        self.depot = self.new_depot()
        self.loop = asyncio.get_running_loop()
        self.courier = Courier(self._say)

    def new_depot(self) -> Depot:
        return Depot(
            self.root / "blobs", self.blobs, self.store.shelf, self.state, write=self.writer, now=lambda: self.now,
            reply=self._down, on_refused=self.refused.append,
        )  # fmt: skip

    def give(
        self,
        *,
        trusted: bool = True,
        runner: str = OWNER.key,
        state: AttemptState = AttemptState.RUNNING,
        build: int = 1,
    ) -> Attempt:
        job = f"{build}/test"
        attempt = make_attempt(build, number=1, runner=runner, state=state)
        self.state.builds[build] = make_build(build, ref=f"refs/pull/{build}/head", trusted=trusted)
        made = make_job(build, state=Status.RUNNING, attempt=1)
        self.state.jobs[job] = replace(made, spec=replace(made.spec, artifacts=ARTIFACTS, cache=CACHES))
        self.state.attempts[job, 1] = attempt
        return attempt

    def hear(self, message: OnBulk, peer: Peer = OWNER) -> None:
        assert self.depot.take([Received(peer, HOME, message)]) == []

    def _say(self, message: OnBulk, when_not: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(self._up, message, when_not)

    def _up(self, message: OnBulk, when_not: Callable[[], None]) -> None:
        if self.full(message):
            self.loop.call_later(0.001, when_not)
        elif not self.loses(message):
            self.hear(message)

    def _down(self, _route: Route, message: Message) -> bool:
        if self.unread():
            return False
        self.said.append(message)
        self.news.set()
        if isinstance(message, Deposited | CacheFound | Piece) and not self.loses(message):
            self.courier.hear(message.id, message)
        return True

    async def answer(self, message: OnBulk, peer: Peer = OWNER) -> Deposited:
        answer = await self.any_answer(message, peer)
        assert isinstance(answer, Deposited)
        return answer

    async def any_answer(self, message: OnBulk, peer: Peer = OWNER, *, clear: bool = True) -> Any:
        """The answer to it; without `clear`, beside those of what was said just before."""
        if clear:
            self.said.clear()
        self.news.clear()
        self.hear(message, peer)
        async with asyncio.timeout(PATIENCE_S):
            await self.news.wait()
        return self.said[-1]

    async def bring(self, data: bytes, attempt: tuple[str, int] = ONE, check: Callable[[], None] = lambda: None) -> str:
        with packed(data) as (file, summary):
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.to_thread(self.courier.bring, attempt, file, summary, check)
        return summary.digest


class packed:  # noqa: N801  # it is read as a function
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __enter__(self) -> tuple[IO[bytes], Packed]:
        self.file: Any = tempfile.TemporaryFile()
        self.file.write(self.data)
        self.file.flush()
        return self.file, Packed(size=len(self.data), digest=hashlib.sha256(self.data).hexdigest(), files=1)

    def __exit__(self, *_: object) -> None:
        self.file.close()


@asynccontextmanager
async def desk(root: Path) -> AsyncIterator[Desk]:
    made = Desk(root)
    running = [asyncio.create_task(each.run()) for each in (made.depot, made.depot.lending)]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await made.depot.close()
        made.writer.shutdown()
        made.store.close()


def run(story: Any) -> None:
    asyncio.run(asyncio.wait_for(story, PATIENCE_S))


def deposit(at: int = 0, data: bytes = b"", size: int = 3, number: int = 5, job: str = "1/test") -> Deposit:
    return Deposit(id=number, job=job, attempt=1, blob=hashlib.sha256(b"abc").hexdigest(), size=size, at=at, data=data)


def keep(job: str = "1/test", **fields: Any) -> KeepArtifact:
    values = {"name": "wheels", "blob": hashlib.sha256(b"abc").hexdigest(), "size": 3, "files": 1, **fields}
    return KeepArtifact(id=6, job=job, attempt=1, **values)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_lost_on_the_way_the_blob_arrives_as_it_was(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    monkeypatch.setattr(courier_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(courier_module, "GO_BACK_S", 0.01)
    monkeypatch.setattr(courier_module, "LOOK_S", 0.02)
    monkeypatch.setattr(courier_module, "CHUNK_BYTES_MAX", 10_000)
    monkeypatch.setattr(courier_module, "WINDOW_BYTES", 50_000)
    data = dice.randbytes(400_000)

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            here.loses = lambda _message: dice.random() < 0.2
            here.full = lambda _message: dice.random() < 0.1
            digest = await here.bring(data)
            assert here.blobs.read(digest, 0, READ_BYTES_MAX) == data
            assert list((tmp_path / "blobs" / "incoming").iterdir()) == []

    run(story())


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_lost_on_the_way_back_a_cache_comes_as_it_was(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    data = dice.randbytes(400_000)

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            blob = await leave(here, "key", data)
            await here.any_answer(seek("key"))
            monkeypatch.setattr(courier_module, "AGAIN_S", 0.05)
            monkeypatch.setattr(courier_module, "LOOK_S", 0.02)
            monkeypatch.setattr(fetching, "CHUNK_BYTES_MAX", 10_000)
            monkeypatch.setattr(lending, "CHUNK_BYTES_MAX", 10_000)
            here.loses = lambda _message: dice.random() < 0.3
            here.unread = lambda: dice.random() < 0.3
            first = Fetch(id=0, job="1/test", attempt=1, blob=blob, at=0)
            with tempfile.TemporaryFile() as file:
                async with asyncio.timeout(PATIENCE_S):
                    found = await asyncio.to_thread(fetching.fetch, here.courier, first, len(data), file, lambda: None)
                file.seek(0)
                assert (found, file.read() == data) == (blob, True)

    run(story())


def test_what_a_runner_does_not_read_now_is_said_again_soon(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            await leave(here, "key", b"good")
            unread = iter([True, True, False])
            here.unread = lambda: next(unread)
            assert (await here.any_answer(seek("key"))).key == "key"

    run(story())


def test_a_blob_that_the_repository_has_is_not_brought_again_and_one_of_another_is(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            for build in (1, 2):
                here.give(build=build)
            here.give(build=3, runner=STRANGER.key)
            here.store.commit(new(make_build(1), make_build(2), make_build(3, repo="/srv/b")))
            here.state.builds[3] = replace(here.state.builds[3], repo="/srv/b")
            assert (await here.answer(deposit(data=b"abc"))).whole
            assert await here.answer(keep()) == Deposited(id=6, upto=3, whole=True)
            (kept,) = here.store.shelf.artifacts()
            assert (kept.job, kept.name, kept.kept_at, kept.expires_at) == (
                "1/test",
                "wheels",
                NOW,
                NOW + 30 * 86_400_000,
            )
            assert (await here.answer(deposit(job="2/test"))).whole
            answer = await here.answer(deposit(job="3/test"), STRANGER)
            assert (answer.whole, answer.upto, answer.problem) == (False, 0, "")
            assert (await here.answer(deposit(job="3/test", data=b"abc"), STRANGER)).whole

    run(story())


def test_an_artifact_is_noted_only_when_its_bytes_are_here(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            assert "not here" in (await here.answer(keep())).problem
            await here.answer(deposit(data=b"abc"))
            assert "not here" in (await here.answer(keep(size=4))).problem
            assert here.store.shelf.artifacts() == []
            assert (await here.answer(keep(name="brief", retention_ms=5))).whole
            assert here.store.shelf.artifacts()[0].expires_at == NOW + 5

    run(story())


@pytest.mark.parametrize(
    ("runner", "state", "online", "retry_ms"),
    [
        (STRANGER.key, AttemptState.RUNNING, True, 0),
        (OWNER.key, AttemptState.PASSED, True, 0),
        (OWNER.key, AttemptState.LOST, True, 0),
        (OWNER.key, AttemptState.LOST, False, depot_module.AGAIN_MS),
        (STRANGER.key, AttemptState.LOST, False, 0),
    ],
)
def test_only_the_runner_that_has_an_attempt_brings_files_of_it(
    tmp_path: Path, runner: str, state: AttemptState, online: bool, retry_ms: int
) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give(runner=runner, state=state)
            here.state.runners[OWNER.key] = Runner(id=OWNER.key, name="owner", online=online)
            for message in (deposit(data=b"abc"), keep()):
                answer = await here.answer(message)
                assert (bool(answer.problem), answer.retry_ms) == (True, retry_ms)
            assert here.refused == ([] if retry_ms else [OWNER, OWNER])
            assert list(here.blobs.all()) == []

    run(story())


def test_what_is_not_what_was_announced_is_refused_and_told_of(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            assert "damaged" in (await here.answer(deposit(data=b"abx"))).problem
            assert "more of it" in (await here.answer(deposit(data=b"abcd"))).problem
            assert "at most" in (await here.answer(deposit(size=BLOB_BYTES_MAX + 1))).problem
            assert here.refused == [OWNER, OWNER]

    run(story())


def test_what_a_runner_left_damaged_costs_it_one_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(courier_module, "REFUSED_S", 0.01)  # A second refusal is one too many.

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            assert (await here.answer(deposit(data=b"xb"))).upto == 2
            digest = await here.bring(b"abc")
            assert here.blobs.read(digest, 0, READ_BYTES_MAX) == b"abc"
            assert here.refused == [OWNER]

    run(story())


def test_a_disk_that_is_nearly_full_is_kept_for_what_matters_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_module, "ROOM_PERCENT_MIN", 100)

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            answer = await here.answer(deposit(data=b"abc"))
            assert (answer.problem, answer.retry_ms) == (
                "the dispatcher's disk is nearly full",
                depot_module.FULL_RETRY_MS,
            )
            monkeypatch.setattr(courier_module, "REFUSED_S", 0.0)
            with pytest.raises(CourierError, match="the dispatcher's disk is nearly full"):
                await here.bring(b"x" * 1000)

    run(story())


def test_a_courier_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    class Unwanted(Exception):
        pass

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.loses = lambda _message: True
            unwanted = threading.Event()

            def check() -> None:
                if unwanted.is_set():
                    raise Unwanted

            asyncio.get_running_loop().call_later(0.1, unwanted.set)
            with pytest.raises(Unwanted):
                await here.bring(b"x" * 1000, check=check)

    run(story())


def test_room_that_others_have_taken_meanwhile_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            assert (await here.answer(deposit(data=b"a"))).upto == 1
            with monkeypatch.context() as patch:
                patch.setattr(blobs_module, "ROOM_PERCENT_MIN", 100)
                assert (await here.answer(deposit(at=1, data=b"b"))).problem == "the dispatcher's disk is nearly full"
            assert (await here.answer(deposit(at=1, data=b"bc"))).whole, "it goes on from where it was"

    run(story())


@pytest.mark.parametrize(
    "fields", [{"name": "mine"}, {"retention_ms": 2**50}, {"name": "brief"}], ids=["name", "for ever", "for longer"]
)
def test_a_runner_keeps_only_what_its_job_asks_for(tmp_path: Path, fields: dict[str, Any]) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            await here.answer(deposit(data=b"abc"))
            assert "does not ask" in (await here.answer(keep(**fields))).problem
            assert here.refused
            blob = hashlib.sha256(b"abc").hexdigest()
            note = KeepCache(id=8, job="1/test", attempt=1, key="k", paths=("mine",), blob=blob, size=3)
            assert "does not ask" in (await here.answer(note)).problem
            assert (here.store.shelf.artifacts(), here.store.shelf.caches()) == ([], [])

    run(story())


def test_what_has_no_data_fills_the_waiting_room_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depot_module, "PENDING_BYTES_MAX", 3 * depot_module.MESSAGE_BYTES)

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            for number in range(9):
                here.hear(DoubtBlob(id=number, job="1/test", attempt=1, blob="0" * 64))
            async with asyncio.timeout(PATIENCE_S):
                while len(here.said) < 3:
                    here.news.clear()
                    await here.news.wait()
            here.said.clear()
            await here.answer(deposit(data=b"abc"))
            assert [message.id for message in here.said if isinstance(message, Deposited)] == [5]

    run(story())


def test_sweeping_drops_what_is_over_and_the_blobs_that_nothing_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveil.hands.sweeping.GRACE_S", -1)

    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            await here.answer(deposit(data=b"abc"))
            await here.answer(keep())
            other = await here.bring(b"y" * 1000)
            await here.answer(keep(name="old", blob=other, size=1000, retention_ms=1))
            assert {digest for digest, _ in here.blobs.all()} == {keep().blob, other}
            at = NOW
            sweeping = Sweeping(
                here.depot,
                here.store.shelf,
                here.blobs,
                bytes_max=0,
                cache_bytes_max=0,
                write=here.writer,
                now=lambda: at,
            )
            await sweeping.sweep()
            assert len(here.store.shelf.artifacts()) == 2
            at = NOW + 1
            await sweeping.sweep()
            assert [one.name for one in here.store.shelf.artifacts()] == ["wheels"]
            assert [digest for digest, _ in here.blobs.all()] == [keep().blob]

    run(story())


def seek(key: str, *restore_keys: str, job: str = "1/test", paths: tuple[str, ...] = ("lib",)) -> SeekCache:
    return SeekCache(id=7, job=job, attempt=1, key=key, restore_keys=restore_keys, paths=paths)


async def leave(here: Desk, key: str, data: bytes, job: str = "1/test") -> str:
    blob = await here.bring(data, (job, 1))
    said = KeepCache(id=8, job=job, attempt=1, key=key, paths=("lib",), blob=blob, size=len(data))
    assert (await here.answer(said)).whole
    return blob


def test_a_cache_is_found_by_its_key_or_else_the_newest_by_the_beginning_of_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            here.now = NOW
            one = await leave(here, "pip-1", b"one")
            here.now = NOW + 1
            two = await leave(here, "pip-2", b"two!")
            assert await here.any_answer(seek("pip-1")) == CacheFound(id=7, key="pip-1", blob=one, size=3)
            assert await here.any_answer(seek("pip-3", "pip-")) == CacheFound(id=7, key="pip-2", blob=two, size=4)
            assert await here.any_answer(seek("pip-3", "none", "pip-1")) == CacheFound(
                id=7, key="pip-1", blob=one, size=3
            )
            assert await here.any_answer(seek("pip-3")) == CacheFound(id=7)
            assert await here.any_answer(seek("pip-1", paths=("lib", "more"))) == CacheFound(id=7)

    run(story())


def test_caches_whose_bytes_are_gone_are_looked_for_a_few_times_and_not_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            gone = []
            for number in range(5):
                here.now = NOW + number
                gone.append(await leave(here, f"deps-{number}", b"%d" % number))
            looked: list[str] = []
            for blob in gone:
                here.blobs.remove(blob)
            monkeypatch.setattr(lending, "LOOKS_MAX", 3)
            monkeypatch.setattr(here.blobs, "size", looked.append)
            assert await here.any_answer(seek("deps-x", "deps-")) == CacheFound(id=7)
            assert looked == [*reversed(gone)][:3]

    run(story())


def test_strangers_find_what_others_left_and_leave_nothing_that_others_find(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give(build=1)
            here.give(build=2, trusted=False)
            here.give(build=3, trusted=False)
            good = await leave(here, "key", b"good", "1/test")
            assert (await here.any_answer(seek("key", job="2/test"))).blob == good
            bad = await leave(here, "key", b"bad!", "2/test")
            assert (await here.any_answer(seek("key", job="2/test"))).blob == bad
            assert (await here.any_answer(seek("key", "k", job="1/test"))).blob == good
            assert (await here.any_answer(seek("key", "k", job="3/test"))).blob == good
            await leave(here, "poison", b"poison", "2/test")
            assert (await here.any_answer(seek("poison", "poi", job="1/test"))) == CacheFound(id=7)
            assert (await here.any_answer(seek("poison", "poi", job="3/test"))) == CacheFound(id=7)

    run(story())


def test_bytes_are_given_to_the_attempt_that_was_told_of_them_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give(build=1)
            here.give(build=2)
            here.state.builds[2] = replace(here.state.builds[2], repo="/srv/b")
            blob = await leave(here, "key", b"good")
            for job in ("1/test", "2/test"):
                piece = await here.any_answer(Fetch(id=9, job=job, attempt=1, blob=blob, at=0))
                assert (piece.data, bool(piece.problem)) == (b"", True)
            await here.any_answer(seek("key"))
            assert (await here.any_answer(Fetch(id=9, job="1/test", attempt=1, blob=blob, at=1))).data == b"ood"
            assert (await here.any_answer(Fetch(id=9, job="1/test", attempt=1, blob=blob, at=4))).problem
            assert (await here.any_answer(Fetch(id=9, job="2/test", attempt=1, blob=blob, at=0))).problem

    run(story())


def test_a_doubted_blob_goes_only_if_it_is_really_damaged(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            blob = await leave(here, "key", b"good")
            doubt = DoubtBlob(id=9, job="1/test", attempt=1, blob=blob)
            assert (await here.answer(doubt)).whole
            assert here.blobs.size(blob) == 4
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(here.blobs, "doubt", None)
                assert (await here.answer(doubt)).whole, "nobody has the same blob read again and again"
            here.now += depot_module.DOUBTED_MS
            (tmp_path / "blobs" / blob[:2] / blob[2:]).write_bytes(b"gooe")
            assert (await here.answer(doubt)).whole
            assert here.blobs.size(blob) is None
            assert await here.any_answer(seek("key")) == CacheFound(id=7)

    run(story())


def test_the_caches_that_were_not_used_for_longest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            for at, key in enumerate(("old", "used", "new")):
                here.now = NOW + at
                await leave(here, key, key.encode())
            here.now = NOW + 9
            await here.any_answer(seek("old"))
            sweeping = Sweeping(
                here.depot, here.store.shelf, here.blobs, bytes_max=0, cache_bytes_max=6, write=here.writer,
                now=lambda: NOW,
            )  # fmt: skip
            await sweeping.sweep()
            assert sorted(cache.key for cache in here.store.shelf.caches()) == ["new", "old"]
            monkeypatch.setattr("surveil.core.kept.CACHES_MAX", 1)
            await sweeping.sweep()
            assert [cache.key for cache in here.store.shelf.caches()] == ["old"], "keys are cheap to invent"

    run(story())


def test_pieces_that_are_asked_for_at_once_are_all_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            blob = await leave(here, "key", b"good")
            await here.any_answer(seek("key"))
            here.said.clear()
            for at in (0, 1, 2, 3):
                here.hear(Fetch(id=9, job="1/test", attempt=1, blob=blob, at=at))
            await here.any_answer(Fetch(id=10, job="1/test", attempt=1, blob=blob, at=3), clear=False)
            assert [piece.at for piece in here.said if isinstance(piece, Piece)] == [0, 1, 2, 3, 3]

    run(story())


def test_a_damaged_row_ends_no_sweeping_dispatcher(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with desk(tmp_path) as here:
            here.give()
            await leave(here, "key", b"good")
            here.store.close()
            with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
                database.execute("UPDATE caches SET size = 5")
            here.store = open_store(tmp_path, now=2)
            sweeping = Sweeping(
                here.depot, here.store.shelf, here.blobs, bytes_max=0, cache_bytes_max=0, write=here.writer,
                now=lambda: NOW,
            )  # fmt: skip
            await sweeping.sweep()
            assert "what is kept stays for now" in caplog.text

    run(story())
