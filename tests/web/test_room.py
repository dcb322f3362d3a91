"""Places for what anybody may begin: whose turn it is, and that none is lost, however a wait ends."""

from __future__ import annotations

import asyncio

import pytest

from surveil.web import room
from surveil.web.room import Room
from tests.web.stage import PATIENCE_S

BUSY_MAX = 32
EACH_MAX = 16


class Crowd:
    """Visitors who stay until they are told to leave; `came` is who got a place, in this order."""

    def __init__(self) -> None:
        self.room = Room(most=BUSY_MAX, wait_s=2.0 * PATIENCE_S)
        self.came: list[str] = []
        self.refused: list[str] = []

    async def stay(self, address: str, leaving: asyncio.Event) -> None:
        async with self.room.place(address) as is_there:
            (self.came if is_there else self.refused).append(address)
            if is_there:
                await leaving.wait()

    def send(self, address: str) -> tuple[asyncio.Task[None], asyncio.Event]:
        leaving = asyncio.Event()
        return asyncio.create_task(self.stay(address, leaving)), leaving


async def settled() -> None:
    """Let all do what they can at once."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_next_place_is_for_the_address_that_has_fewest() -> None:
    async def story() -> None:
        crowd = Crowd()
        async with asyncio.timeout(PATIENCE_S):
            first = [crowd.send("a") for _ in range(EACH_MAX)] + [crowd.send("b") for _ in range(EACH_MAX)]
            await settled()
            assert (crowd.room.busy.total(), crowd.room.waiting) == (BUSY_MAX, 0)
            later = [crowd.send(address) for address in ("a", "b", "b", "c", "c", "d")]
            await settled()
            assert (len(crowd.came), crowd.room.waiting) == (BUSY_MAX, 6)
            for _, leaving in first[:6]:
                leaving.set()
                await settled()
            # After its sixth has left, `a` has ten and `b` all that it may have.
            assert crowd.came[BUSY_MAX:] == ["c", "d", "c", "a"]
            for _, leaving in (*first, *later):
                leaving.set()
            await asyncio.gather(*(task for task, _ in (*first, *later)))
        assert (crowd.refused, crowd.room.waiting, crowd.room.busy) == ([], 0, {})

    asyncio.run(story())


@pytest.mark.parametrize("how", ["before", "beside", "with", "after"])
def test_whoever_goes_while_they_wait_takes_no_place_with_them(how: str) -> None:
    async def story() -> None:
        crowd = Crowd()
        async with asyncio.timeout(PATIENCE_S):
            first = [crowd.send(address) for address in "ab" for _ in range(EACH_MAX)]
            await settled()
            (going, _), (other, left) = crowd.send("c"), crowd.send("d")
            await settled()
            if how == "before":
                going.cancel()
            first[0][1].set()
            if how == "beside":
                # Whoever leaves comes first, and sees one who waits no more.
                going.cancel()
            if how == "with":
                # The place is given, and whoever was given it has not heard of it yet.
                while crowd.room.waiting == 2:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                going.cancel()
            await settled()
            going.cancel()
            await asyncio.wait({going})
            await settled()
            assert (crowd.came[-1], crowd.room.busy.total()) == ("d", BUSY_MAX)
            for _, leaving in (*first, (other, left)):
                leaving.set()
            await asyncio.gather(other, *(task for task, _ in first))
        assert (crowd.room.waiting, crowd.room.busy) == (0, {})

    asyncio.run(story())


def test_nobody_waits_for_long_or_beside_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAITING_MAX", 6)

    async def story() -> None:
        crowd = Crowd()
        async with asyncio.timeout(PATIENCE_S):
            first = [crowd.send(address) for address in "ab" for _ in range(EACH_MAX)]
            await settled()
            patient = [crowd.send("a") for _ in range(7)]
            await settled()
            assert (crowd.room.waiting, crowd.refused) == (6, ["a"])
            patient += [crowd.send(address) for address in ("b", "b", "c", "c", "c")]
            await settled()
            # The latest four of `a` made room; then two of each wait, and nobody for more.
            assert (crowd.room.waiting, sorted(crowd.refused)) == (6, ["a"] * 5 + ["c"])
            patient[0][0].cancel()
            await settled()
            crowd.room.wait_s = 0.01
            hasty, _ = crowd.send("f")
            await hasty
            assert (crowd.room.waiting, crowd.refused[-1]) == (5, "f")
            for _, leaving in (*first, *patient):
                leaving.set()
            await asyncio.wait({task for task, _ in (*first, *patient)})
        assert (crowd.room.waiting, crowd.room.busy) == (0, {})

    asyncio.run(story())
