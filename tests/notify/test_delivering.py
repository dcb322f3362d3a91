"""From the journal to a target: everything at least once, in order, whatever is restarted, and nothing twice if it
need not be.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from surveil.core.outbox import LIFE_MS, Draft, Fate, Outcome, Parcel
from surveil.notify import delivering
from surveil.notify.delivering import TOGETHER_MS, Delivery
from surveil.store import JournalLine, StoreError
from surveil.store.outbox import FILE, Outbox
from tests.store.memory import MemoryStore
from tests.store.records import make_note, new

NOW = 1_750_000_000_000


class Played:
    """A target that is told each line; `moods` are used up one by one."""

    name = "played"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.moods: list[Outcome] = []

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        return [
            Draft(subject="all", slot=str(line.position), body=line.note.reason, made_at=line.note.at) for line in lines
        ]

    async def tell(self, parcel: Parcel) -> Outcome:
        self.told.append(parcel.body)
        return self.moods.pop(0) if self.moods else Outcome(fate=Fate.DELIVERED)


class Scene:
    """A journal, an outbox and a delivery, which can be restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.target = Played()
        self.now = NOW
        self.restart()

    def restart(self) -> None:
        self.outbox = Outbox(self.folder)
        self.delivery = Delivery(self.target, reader=self.store.reader, outbox=self.outbox, now=lambda: self.now)

    def write(self, *words: str, at: int | None = None) -> None:
        written_at = self.now if at is None else at
        self.store.commit(new(notes=tuple(make_note(reason=word, at=written_at) for word in words)))

    def steps(self, count: int = 1) -> list[int]:
        async def walk() -> list[int]:
            return [await self.delivery.step() for _ in range(count)]

        return asyncio.run(walk())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.write("before anybody asked")
    made.steps()
    return made


def test_a_new_target_is_told_of_what_happens_from_now_on_in_order(scene: Scene) -> None:
    scene.write("one", "two", "three")
    scene.steps(5)
    assert scene.target.told == ["one", "two", "three"]


def started(scene: Scene, at: int) -> None:
    """A dispatcher's line about itself, as it writes one each time that it starts."""
    scene.store.commit(new(notes=(make_note("dispatcher", "", build=None, state="started", reason="up", at=at),)))


def test_a_new_target_is_told_of_what_its_dispatcher_did_that_was_started_just_before(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.write("of yesterday")
    started(scene, NOW - TOGETHER_MS)
    # A build may be over before whoever tells of it has come up beside its dispatcher.
    scene.write("one", "two")
    scene.steps(5)
    assert scene.target.told == ["one", "two"]
    scene.outbox.close()
    scene.restart()
    scene.steps(3)
    assert scene.target.told == ["one", "two"]


@pytest.mark.parametrize("ago_ms", [TOGETHER_MS + 1, -TOGETHER_MS - 1])
def test_a_new_target_is_not_told_all_that_a_dispatcher_did_that_was_there_for_long(
    tmp_path: Path, ago_ms: int
) -> None:
    scene = Scene(tmp_path)
    started(scene, NOW - ago_ms)
    scene.write("long ago")
    scene.steps(2)
    scene.write("now")
    scene.steps(3)
    assert scene.target.told == ["now"]


def test_what_happened_while_nobody_told_it_is_told_after_a_restart(scene: Scene) -> None:
    scene.write("one", "two")
    scene.target.moods = [Outcome(fate=Fate.UNAVAILABLE, reason="away")]
    scene.steps(2)
    scene.outbox.close()
    scene.write("three")
    scene.restart()
    scene.steps(3)
    assert scene.target.told == ["one"], "it is not asked again before its time"
    scene.now += 10_000
    scene.steps(4)
    assert scene.target.told == ["one", "one", "two", "three"]


def test_a_target_that_is_away_for_long_holds_back_no_more_than_there_is_room_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "WAITING_MAX", 6)
    monkeypatch.setattr(delivering, "LINES_MAX", 2)
    scene.write(*(str(number) for number in range(15)))
    scene.target.moods = [Outcome(fate=Fate.UNAVAILABLE, reason="away")]
    scene.steps(10)
    assert scene.outbox.waiting()["played"][0] == 6
    [following] = scene.outbox.followings()
    assert following.position == 7
    scene.now += 10_000
    scene.steps(16)
    assert scene.target.told[1:] == [str(number) for number in range(15)]


def test_what_nobody_needs_any_more_is_given_up_without_a_word(scene: Scene) -> None:
    scene.write("old", at=NOW - LIFE_MS)
    scene.write("new")
    scene.steps(3)
    assert scene.target.told == ["new"]
    assert scene.outbox.followings()[0].given_up == 1


def test_a_journal_that_a_copy_was_put_in_place_of_is_followed_from_where_it_is_new(scene: Scene) -> None:
    scene.write("one", "two", "three", at=NOW + 10)
    scene.steps(5)
    scene.outbox.close()
    del scene.store.lines[2:]
    scene.write("other two", "other three", "four", at=NOW + 20)
    scene.restart()
    scene.steps(6)
    assert scene.target.told == ["one", "two", "three", "other two", "other three", "four"]


def test_a_store_that_cannot_be_read_is_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.write("one")
    broken = [True]
    whole = Played.drafts

    def drafts(target: Played, lines: Sequence[JournalLine]) -> list[Draft]:
        if broken:
            broken.clear()
            scene.delivery.stop()
            raise StoreError("the disk hums")
        return whole(target, lines)

    monkeypatch.setattr(Played, "drafts", drafts)
    asyncio.run(scene.delivery.run())
    assert scene.target.told == []
    scene.outbox.close()
    scene.restart()
    scene.steps(2)
    assert scene.target.told == ["one"]


def test_what_is_being_told_is_not_cut_off_by_a_stop(scene: Scene) -> None:
    scene.write("one", "two")

    async def tell(parcel: Parcel) -> Outcome:
        scene.delivery.stop()
        await asyncio.sleep(0)
        scene.target.told.append(parcel.body)
        return Outcome(fate=Fate.DELIVERED)

    scene.target.tell = tell  # type: ignore[method-assign]
    asyncio.run(scene.delivery.run())
    assert scene.target.told == ["one"]
    assert scene.outbox.followings()[0].delivered == 1


def test_while_the_disk_takes_nothing_nobody_is_told_the_same_over_and_over(scene: Scene) -> None:
    scene.write("one")
    with sqlite3.connect(scene.folder / FILE) as full:
        full.execute("CREATE TRIGGER full BEFORE UPDATE ON parcels BEGIN SELECT RAISE(FAIL, 'no room'); END")
    for _ in range(3):
        with pytest.raises(StoreError, match="no room"):
            scene.steps()
    assert scene.target.told == ["one"]
    with sqlite3.connect(scene.folder / FILE) as full:
        full.execute("DROP TRIGGER full")
    scene.write("two")
    scene.steps(3)
    assert scene.target.told == ["one", "two"]
    assert scene.outbox.followings()[0].delivered == 2


def test_an_outbox_that_was_removed_meanwhile_is_begun_anew_where_it_was(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "STORE_AGAIN_MS", 1)
    monkeypatch.setattr(delivering, "LOOK_MS", 1)

    async def told(*words: str) -> None:
        async with asyncio.timeout(20):
            while scene.target.told != [*words]:  # noqa: ASYNC110  # A step of the delivery is no event.
                await asyncio.sleep(0.01)

    async def follow() -> None:
        running = asyncio.create_task(scene.delivery.run())
        scene.write("one")
        await told("one")
        (scene.folder / FILE).unlink()
        scene.write("two")
        await told("one", "two")
        scene.delivery.stop()
        await running

    asyncio.run(follow())
    [following] = scene.outbox.followings()
    assert following.position == 3
