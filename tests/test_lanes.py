"""Work in lanes."""

import asyncio

from surveil.lanes import Lanes


def test_a_lane_keeps_its_order_and_lanes_do_not_wait_for_each_other() -> None:
    async def scene() -> list[str]:
        lanes, done, gate = Lanes(), list[str](), asyncio.Event()

        async def slow() -> None:
            await gate.wait()
            done.append("a1")

        async def quick(name: str) -> None:
            done.append(name)
            if name == "b1":
                gate.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lanes.follow("a", slow))
            tasks.create_task(lanes.follow("a", lambda: quick("a2")))
            tasks.create_task(lanes.follow("b", lambda: quick("b1")))
        return done

    assert asyncio.run(scene()) == ["b1", "a1", "a2"]


def test_a_lane_goes_on_after_work_that_failed() -> None:
    async def scene() -> list[str]:
        lanes, done = Lanes(), list[str]()

        async def broken() -> None:
            raise ValueError

        async def sound() -> None:
            done.append("sound")

        await asyncio.gather(lanes.follow("a", broken), lanes.follow("a", sound), return_exceptions=True)
        return done

    assert asyncio.run(scene()) == ["sound"]
