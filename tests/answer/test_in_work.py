"""How many questions are in work at one time, and that whoever has very many that wait can still ask."""

import asyncio

import pytest

from surveil.answer.answers import Answers
from surveil.answer.in_work import ASKED_EACH_MAX, ASKED_MAX, WAITING_EACH_MAX, WAITING_MAX
from surveil.errors import UnreachableError
from surveil.protocol import Ask
from tests.answer.desk import Desk

STATUS = Ask(id=2, what="status", about={})
READS = Ask(id=1, what="builds", about={})
WAITS = Ask(id=1, what="journal", about={"after": 0, "wait_ms": 30_000})


def refused(ask: Ask, *, of: dict[str, int], by: str, in_work: Ask) -> str:
    """What `by` is told of a question `ask` while these clients have so many `in_work`; afterwards `by` is
    answered.
    """

    async def scenario() -> str:
        answers = Desk().answers()
        tasks = [
            asyncio.create_task(answers.answer(in_work, client)) for client, number in of.items() for _ in range(number)
        ]
        await asyncio.sleep(0)
        sentence = await _told(answers, ask, by)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await _told(answers, STATUS, by) == ""
        return sentence

    return asyncio.run(scenario())


async def _told(answers: Answers, ask: Ask, client: str) -> str:
    try:
        await answers.answer(ask, client)
    except UnreachableError as error:
        return str(error)
    return ""


def test_more_questions_at_once_than_are_bearable_are_refused() -> None:
    half = ASKED_MAX // 2
    assert "ask again in a while" in refused(STATUS, of={"one": half, "two": half}, by="three", in_work=READS)


def test_one_client_that_asks_all_the_time_leaves_room_for_others() -> None:
    assert "of this machine already" in refused(STATUS, of={"greedy": ASKED_EACH_MAX}, by="greedy", in_work=READS)
    assert refused(STATUS, of={"greedy": ASKED_EACH_MAX}, by="modest", in_work=READS) == ""


@pytest.mark.parametrize(
    "of", [{"greedy": WAITING_EACH_MAX}, {"greedy": WAITING_MAX // 2, "other": WAITING_MAX - WAITING_MAX // 2}]
)
def test_whoever_waits_for_all_that_they_may_wait_for_is_answered_otherwise(of: dict[str, int]) -> None:
    """The pages ask for all who read: one of these who followed very much kept everybody from cancelling a build."""
    assert "that wait for news" in refused(WAITS, of=of, by="greedy", in_work=WAITS)
    assert refused(STATUS, of=of, by="greedy", in_work=WAITS) == ""
