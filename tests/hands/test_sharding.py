"""Shards that ask a dispatcher: each gets its part, a question that comes again the same answer, strangers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from surveil.core.model import AttemptState, Status
from surveil.core.shared_lists import pack
from surveil.frozen import replace
from surveil.hands.sharding import OTHER_LIST, TOO_OFTEN, ShardDesk
from surveil.net.traffic import Received, Route
from surveil.protocol import Message, Refused, ShardAsk, ShardResult, ShardTell
from surveil.store import Store
from surveil.store.sqlite import open_store
from tests.hands.test_intake import ELSEWHERE, HOME, OWNER, STRANGER
from tests.store.memory import MemoryStore
from tests.store.records import changed, make_attempt, make_build, make_job, new

ITEMS = [f"test_{number:02}" for number in range(40)]
DIGEST, LIST = pack(ITEMS)
REPO = "repo"


class Desk:
    """A build with two shards, each with an attempt of the owner's."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.refused: list[object] = []
        self.build(1)

    def build(self, number: int) -> None:
        names = tuple(f"t[shard={shard}]" for shard in (1, 2))
        jobs = []
        for at, name in enumerate(names):
            job = make_job(number, name=name, position=at)
            spec = replace(job.spec, name=name, shards=2, matrix={"shard": name[-2]})
            jobs.append(replace(job, repo=REPO, spec=spec, state=Status.RUNNING, attempt=1))
        build = replace(make_build(number, jobs=names), mid=str(number), repo=REPO)
        attempts = [replace(make_attempt(number, name=name), runner=OWNER.key) for name in names]
        self.store.commit(new(build, *jobs, *attempts))

    def ask(self, said: ShardAsk, *, stranger: bool = False) -> ShardTell | Refused:
        told = asyncio.run(self._ask(said, stranger=stranger))
        assert isinstance(told, ShardTell | Refused)
        return told

    async def _ask(self, said: ShardAsk, *, stranger: bool) -> Message:
        tasks: list[asyncio.Task[None]] = []
        answers: list[Message] = []

        def start(work: Coroutine[Any, Any, None]) -> None:
            tasks.append(asyncio.get_running_loop().create_task(work))

        def reply(route: Route, message: Message) -> bool:
            assert route == (ELSEWHERE if stranger else HOME)
            answers.append(message)
            return True

        with ThreadPoolExecutor(1) as writer:
            desk = ShardDesk(self.store, writer, reply=reply, start=start, on_refused=self.refused.append)
            peer, route = (STRANGER, ELSEWHERE) if stranger else (OWNER, HOME)
            assert desk.take([Received(peer=peer, route=route, message=said)]) == []
            await asyncio.gather(*tasks)
        (answer,) = answers
        return answer

    def run(self, shard: int, *, build: int = 1, attempt: int = 1, lose_at: int = 99) -> list[int]:
        """Be a shard until nothing is left, or until it is lost with the batch of that number in its hands."""
        ran: list[int] = []
        done: tuple[ShardResult, ...] = ()
        for seq in range(1, 99):
            told = self.ask(question(shard, seq, done, build=build, attempt=attempt))
            assert isinstance(told, ShardTell)
            if not told.batch or seq == lose_at:
                return ran
            ran += told.batch
            done = tuple(ShardResult(item=item, state="passed", duration_ms=item + 1) for item in told.batch)
        raise AssertionError("it does not end")

    def end(self, shard: int, state: AttemptState, job: Status) -> None:
        detail = self.store.reader.build(1)
        assert detail is not None
        attempt = next(one for one in detail.attempts if one.job.endswith(f"={shard}]"))
        of = next(one for one in detail.jobs if one.id == attempt.job)
        self.store.commit(changed(replace(attempt, state=state), replace(of, state=job)))


def question(
    shard: int, seq: int, done: tuple[ShardResult, ...] = (), *, build: int = 1, attempt: int = 1, data: bytes = LIST,
    final: bool = False,
) -> ShardAsk:  # fmt: skip
    return ShardAsk(
        job=f"{build}/t[shard={shard}]", attempt=attempt, seq=seq, digest=DIGEST, done=done, data=data, final=final
    )


@pytest.fixture(params=["sqlite", "memory"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    store: Store = open_store(tmp_path, now=1) if request.param == "sqlite" else MemoryStore()
    yield Desk(store)
    store.close()


def test_the_list_is_wanted_once_and_then_known(desk: Desk) -> None:
    assert desk.ask(question(1, 1, data=b"")) == ShardTell(job="1/t[shard=1]", attempt=1, seq=1, wants_list=True)
    told = desk.ask(question(1, 1))
    assert isinstance(told, ShardTell)
    assert len(told.batch) == 10
    assert isinstance(other := desk.ask(question(2, 1, data=b"")), ShardTell)
    assert not set(other.batch) & set(told.batch)


def test_a_question_that_comes_again_has_the_same_answer(desk: Desk) -> None:
    first = desk.ask(question(1, 1))
    second = desk.ask(question(2, 1))
    assert desk.ask(question(1, 1)) == first
    assert desk.ask(question(2, 1, data=b"")) == second


def test_all_is_run_once_by_whoever_asks(desk: Desk) -> None:
    first = desk.run(1, lose_at=2)
    rest = desk.run(2)
    held = desk.ask(question(1, 2))
    assert isinstance(held, ShardTell)
    assert sorted([*first, *rest, *held.batch]) == list(range(40))


def test_a_lost_shard_costs_what_it_had_in_its_hands(desk: Desk) -> None:
    first = desk.run(1, lose_at=2)
    desk.end(1, AttemptState.LOST, Status.QUEUED)
    rest = desk.run(2)
    assert sorted([*first, *rest]) == list(range(40))
    assert len(first) == 10


def test_the_final_question_tells_what_nobody_answers_for(desk: Desk) -> None:
    desk.ask(question(1, 1))
    told = desk.ask(question(1, 0, final=True))
    assert isinstance(told, ShardTell)
    assert told.left == 10, "its own; the other shard may take the rest"
    desk.end(2, AttemptState.PASSED, Status.PASSED)
    last = desk.ask(question(1, 0, final=True))
    assert isinstance(last, ShardTell)
    assert last.left == 30, "what nobody was ever given"


def test_once_all_is_done_nothing_is_left(desk: Desk) -> None:
    desk.run(1)
    told = desk.ask(question(1, 0, final=True))
    assert isinstance(told, ShardTell)
    assert told.left == 0


def test_the_next_build_knows_how_long_each_took(desk: Desk) -> None:
    desk.run(1)
    desk.build(2)
    told = desk.ask(question(1, 1, build=2))
    assert isinstance(told, ShardTell)
    longest = list(range(40 - len(told.batch), 40))
    assert list(told.batch) == longest


def test_nobodys_word_makes_a_test_over_that_it_was_not_given(desk: Desk) -> None:
    """Else one forged answer would be a suite that passed and that nobody ran."""
    everything = tuple(ShardResult(item=item, state="passed", duration_ms=1) for item in range(40))
    first = desk.ask(question(1, 1, everything))
    second = desk.ask(question(1, 2, everything))
    assert isinstance(first, ShardTell)
    assert isinstance(second, ShardTell)
    rest = desk.run(2)
    assert sorted([*first.batch, *second.batch, *rest]) == list(range(40)), "each is given to somebody"


def test_whoever_asks_without_end_is_told_to_stop(desk: Desk) -> None:
    desk.ask(question(1, 1))
    told = desk.ask(question(1, len(ITEMS) + 1_001))
    assert isinstance(told, ShardTell)
    assert (told.batch, told.problem) == ((), TOO_OFTEN)


def test_another_list_is_refused_with_a_sentence(desk: Desk) -> None:
    desk.ask(question(1, 1))
    digest, data = pack(["other"])
    told = desk.ask(replace(question(2, 1, data=data), digest=digest))
    assert isinstance(told, ShardTell)
    assert (told.batch, told.problem) == ((), OTHER_LIST)


def test_a_list_that_is_none_is_refused_with_a_sentence(desk: Desk) -> None:
    told = desk.ask(question(1, 1, data=b"nonsense"))
    assert isinstance(told, ShardTell)
    assert told.problem.startswith("the list of what is to be shared cannot be read")


def test_nobody_asks_for_what_is_not_its_own(desk: Desk) -> None:
    assert isinstance(desk.ask(question(1, 1), stranger=True), Refused)
    assert isinstance(desk.ask(question(1, 1, build=7)), Refused)
    assert isinstance(desk.ask(question(1, 1, attempt=2)), Refused)
    assert len(desk.refused) == 3
