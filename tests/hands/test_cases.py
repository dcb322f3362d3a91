"""Test results on their way to a store: kept when they are on disk and not before, from their owner alone, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from surveil.core.model import AttemptId
from surveil.frozen import replace
from surveil.hands.cases import RESULTS_MAX, CaseIntake
from surveil.net.traffic import Received, Route
from surveil.protocol import CASES_MAX, PRINTED_MAX, Case, Cases, CasesKept, Message, Output, Refused, Tally
from surveil.store import StoreError
from tests.hands.test_intake import ELSEWHERE, HOME, OWNER, STRANGER, Owners
from tests.store.memory import MemoryReader, MemoryStore

CASE = Case(suite="s", name="n", state="passed", duration_ms=2)
TALLY = Tally(passed=2, failed=0, errored=0, skipped=0, duration_ms=4)
SAID = Cases(job="7/test", attempt=1, at=0, cases=(CASE, CASE), tally=TALLY)


class Shelf(MemoryStore):
    """Every attempt of build 7 is the owner's; the disk may be broken."""

    broken = False

    @property
    def reader(self) -> MemoryReader:
        return Owners(self)

    def add_cases(self, attempt: AttemptId, at: int, found: Sequence[Case], tally: Tally | None) -> bool:
        if self.broken:
            raise StoreError("the disk is broken")
        return super().add_cases(attempt, at, found, tally)


def received(message: Message, *, stranger: bool = False) -> Received:
    peer, route = (STRANGER, ELSEWHERE) if stranger else (OWNER, HOME)
    return Received(peer=peer, route=route, message=message)


class Desk:
    def __init__(self) -> None:
        self.store = Shelf()
        self.said: list[tuple[Route, Message]] = []
        self.refused: list[object] = []
        self.left: list[Received] = []

    def hear(self, *items: Received) -> None:
        asyncio.run(self._hear(items))

    async def _hear(self, items: Sequence[Received]) -> None:
        tasks: list[asyncio.Task[None]] = []

        def start(work: Coroutine[Any, Any, None]) -> None:
            tasks.append(asyncio.get_running_loop().create_task(work))

        def reply(route: Route, message: Message) -> bool:
            self.said.append((route, message))
            return True

        with ThreadPoolExecutor(1) as writer:
            intake = CaseIntake(self.store, writer, reply=reply, start=start, on_refused=self.refused.append)
            self.left = intake.take(list(items))
            await asyncio.gather(*tasks)


def test_results_are_acknowledged_up_to_where_they_are_kept() -> None:
    desk = Desk()
    desk.hear(received(SAID), received(replace(SAID, at=2, cases=(CASE,), tally=None)))
    assert desk.said == [
        (HOME, CasesKept(job="7/test", attempt=1, upto=2, whole=True)),
        (HOME, CasesKept(job="7/test", attempt=1, upto=3)),
    ]
    assert len(desk.store.found_cases) == 3
    assert desk.store.found_tallies == {("7/test", 1): TALLY}


def test_everything_else_is_left_to_others() -> None:
    desk = Desk()
    output = received(Output(job="7/test", attempt=1, at=0, crc=0, after_ms=0, data=b"x"))
    desk.hear(output, received(SAID))
    assert desk.left == [output]


def test_results_of_somebody_elses_attempt_are_refused_and_counted() -> None:
    desk = Desk()
    desk.hear(received(SAID, stranger=True), received(replace(SAID, job="8/test")))
    assert [type(message) for _, message in desk.said] == [Refused, Refused]
    assert desk.said[0] == (ELSEWHERE, Refused(reason="attempt 1 of 7/test is not this runner's"))
    assert desk.refused == [STRANGER, OWNER]
    assert desk.store.found_cases == {}


def test_no_attempt_has_results_without_end() -> None:
    desk = Desk()
    desk.hear(received(replace(SAID, at=RESULTS_MAX - 2)), received(replace(SAID, at=RESULTS_MAX - 1)))
    assert [type(message).__name__ for _, message in desk.said] == ["CasesKept", "Refused"]
    assert len(desk.store.found_cases) == 2


def test_the_results_of_an_attempt_print_no_more_than_may_be_in_whatever_order_they_come() -> None:
    desk, per_message = Desk(), CASES_MAX * 8_000
    loud = (replace(CASE, state="failed", output="x" * 8_000),) * CASES_MAX
    assert per_message == PRINTED_MAX
    said = replace(SAID, cases=loud, tally=None)
    desk.hear(received(replace(said, at=50_000)), received(said), received(replace(said, at=50_000)))
    assert [type(message).__name__ for _, message in desk.said] == ["CasesKept", "Refused", "CasesKept"]
    assert desk.said[1][1] == Refused(
        reason="the test results of an attempt may have printed 8000000 characters together"
    )
    assert len(desk.store.found_cases) == CASES_MAX


def test_what_cannot_be_written_is_not_acknowledged() -> None:
    desk = Desk()
    desk.store.broken = True
    desk.hear(received(SAID))
    assert desk.said == []
    desk.store.broken = False
    desk.hear(received(SAID))
    assert len(desk.said) == 1


def test_more_than_may_wait_is_dropped_and_room_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CaseIntake, "pending_max", 2)
    desk = Desk()
    desk.hear(*[received(replace(SAID, at=at)) for at in range(5)])
    assert len(desk.said) == 2
