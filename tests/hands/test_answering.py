"""A question that we fail to answer by a mistake of ours costs its asker the answer, and nobody anything else."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from surveil.answer import Reply, TokenWish, Wish
from surveil.core.peers import Role
from surveil.errors import ExitCode, NotFoundError
from surveil.hands import answering
from surveil.hands.answering import Answering
from surveil.net.traffic import Route
from surveil.protocol import MESSAGE_BYTES_MAX, Answer, Ask
from tests.answer.desk import Desk
from tests.net.stage import Stage, connected, serving, until

STORY = Ask(id=7, what="story", about={"build": 1})
WISH = Ask(id=8, what="token_create", about={"role": "runner"})


class Odd:
    """Something that no message can carry."""


class Played:
    """A desk whose answers to some questions are planted."""

    def __init__(self, planted: dict[str, Exception | Reply]) -> None:
        self.planted = planted
        self.fulfilled: list[Wish] = []

    async def answer(self, ask: Ask, client: str) -> Reply | Wish:
        found = self.planted.get(ask.what)
        if isinstance(found, Exception):
            raise type(found)(*found.args)  # A new one, as an exception remembers where it has been.
        return found or await Desk().answers().answer(ask, client)

    async def fulfil(self, client: str, route: Route, ask: Ask, wish: Wish) -> Reply:
        self.fulfilled.append(wish)
        if ask.person == "fails":
            raise ZeroDivisionError("planted in what is done")
        return Reply(body={"client": client})


def is_answer(item: object) -> bool:
    return isinstance(item, Answer)


def heard(played: Played, *asked: Ask) -> tuple[list[Answer], Stage]:
    """What a client is told for these questions, one after the other, and the sockets on which it was."""
    told: list[Answer] = []

    async def scene() -> Stage:
        async with serving() as stage:
            answers: Any = played
            desk = Answering(answers, stage.server, played.fulfil)
            async with stage.connection(stage.enrol(Role.CLIENT)) as peer:
                await connected(peer)
                for ask in asked:
                    assert peer.send(ask)
                    (received,) = (await stage.server.receive(60_000)).control
                    await desk.answer("laptop", received.route, ask)
                    told.extend(each for each in await until(peer, is_answer) if isinstance(each, Answer))
            return stage

    return told, asyncio.run(scene())


def test_the_asker_is_told_a_word_that_stands_in_the_log_and_the_next_one_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    played = Played({"story": ZeroDivisionError("planted")})
    (failed, read), stage = heard(played, STORY, Ask(id=9, what="builds", about={}))
    said = re.fullmatch(
        r"The dispatcher could not answer `story` because of a defect of its own; nothing was changed, and all else "
        r"goes on\. Its log has more at `defect=([0-9a-f]{8})`: please report what stands there\.",
        failed.error,
    )
    assert said is not None, failed.error
    assert (failed.id, failed.body, failed.exit_code) == (7, None, ExitCode.INFRASTRUCTURE)
    assert (read.id, read.body, read.error) == (9, [], "")
    (record,) = [each for each in caplog.records if each.name == "surveil.dispatcher"]
    assert record.levelname == "ERROR"
    assert vars(record)["surveil_keys"] == {"defect": said[1], "what": "story"}
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert stage.server.counts.troubles() == [("unanswered", 1, None)]


def test_a_defect_is_written_down_once_a_minute_and_counted_each_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    monkeypatch.setattr(answering, "boot_ms", lambda: now[0])
    played = Played({"story": ZeroDivisionError("planted"), "tests": KeyError("planted")})
    lines: list[int] = []

    class Clocked(Played):
        async def answer(self, ask: Ask, client: str) -> Reply | Wish:
            lines.append(len(caplog.records))
            now[0] += answering.SILENCE_MS // 2
            return await super().answer(ask, client)

    clocked = Clocked(played.planted)
    told, stage = heard(clocked, STORY, STORY, Ask(id=1, what="tests", about={}), STORY)
    names = [re.findall(r"defect=(\w+)", each.error)[0] for each in told]
    assert names[0] == names[1] == names[3] != names[2]
    assert lines == [0, 1, 1, 2]
    assert len(caplog.records) == 3, "the first one is due again"
    assert stage.server.counts.troubles() == [("unanswered", 4, None)]


def test_what_is_known_of_defects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "DEFECTS_MAX", 2)

    async def scene() -> None:
        async with serving() as stage:
            answers: Any = Played({str(number): KeyError(number) for number in range(7)})
            desk = Answering(answers, stage.server, answers.fulfil)
            for number in range(7):
                await desk.answer("laptop", Route(bulk=False, id=b"nobody"), Ask(id=1, what=str(number), about={}))
                assert len(desk._told_at) <= 2  # noqa: SLF001  # that it is bounded shows nowhere else

    asyncio.run(scene())


def test_an_answer_that_no_message_can_carry_is_a_defect_too() -> None:
    (failed,), stage = heard(Played({"story": Reply(body={"odd": Odd()})}), STORY)
    assert failed.error.startswith("The dispatcher could not answer `story` because of a defect of its own")
    assert stage.server.counts.unanswered == 1


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("x" * (MESSAGE_BYTES_MAX + 1), "the Answer message would be larger than 1048576 bytes"),
        ("half of a character: \udc80", "the message's fields cannot be written: "),
    ],
)
def test_whoever_asked_for_more_than_a_message_carries_is_told_so_at_once(
    caplog: pytest.LogCaptureFixture, body: str, cause: str
) -> None:
    (failed, read), stage = heard(Played({"story": Reply(body=body)}), STORY, Ask(id=9, what="builds", about={}))
    assert failed.error.startswith(f"The dispatcher has an answer to `story` that no message can carry ({cause}")
    assert "; nothing was changed, and all else goes on. Ask for less of it at once: " in failed.error
    assert (failed.id, failed.body, failed.exit_code) == (7, None, ExitCode.INFRASTRUCTURE)
    assert (read.id, read.body, read.error) == (9, [], "")
    (record,) = [each for each in caplog.records if each.name == "surveil.dispatcher"]
    assert f"`defect={vars(record)['surveil_keys']['defect']}`" in failed.error
    assert stage.server.counts.troubles() == [("too_large", 1, None), ("unanswered", 1, None)]


def test_whoever_wished_for_what_is_done_is_told_so_where_no_message_can_carry_the_answer() -> None:
    class Talkative(Played):
        async def fulfil(self, client: str, route: Route, ask: Ask, wish: Wish) -> Reply:
            await super().fulfil(client, route, ask, wish)
            return Reply(data=bytes(MESSAGE_BYTES_MAX))

    played = Talkative({})
    (failed,), _ = heard(played, WISH)
    assert failed.error.startswith("The dispatcher has an answer to `token_create` that no message can carry (")
    assert "; what was wished is done, and all else goes on." in failed.error
    assert [type(each) for each in played.fulfilled] == [TokenWish]


def test_nobody_is_at_fault_where_the_asker_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with serving() as stage:
            answers: Any = Played({"story": Reply(body=[])})
            await Answering(answers, stage.server, answers.fulfil).answer(
                "gone", Route(bulk=False, id=b"nobody"), STORY
            )
            assert (stage.server.counts.unsent, stage.server.counts.troubles()) == (1, [])

    asyncio.run(scene())
    assert caplog.records == []


def test_what_is_wrong_with_the_question_is_no_defect(caplog: pytest.LogCaptureFixture) -> None:
    (refused, unknown), stage = heard(
        Played({"story": NotFoundError("There is no build 1.")}), STORY, Ask(id=1, what="x", about={})
    )
    assert (refused.error, refused.exit_code) == ("There is no build 1.", ExitCode.NOT_FOUND)
    assert unknown.exit_code == ExitCode.USAGE
    assert (stage.server.counts.troubles(), caplog.records) == ([], [])


def test_a_mistake_before_anything_is_done_does_nothing_and_one_in_doing_it_is_not_answered() -> None:
    played = Played({"token_create": ZeroDivisionError("planted in the check")})
    (failed,), _ = heard(played, WISH)
    assert failed.error.startswith("The dispatcher could not answer `token_create`")
    assert played.fulfilled == []
    played = Played({})
    (done,), _ = heard(played, WISH)
    assert (done.body, [type(each) for each in played.fulfilled]) == ({"client": "laptop"}, [TokenWish])
    with pytest.raises(ZeroDivisionError, match="planted in what is done"):
        heard(played, Ask(id=8, what="token_create", about={"role": "runner"}, person="fails"))
