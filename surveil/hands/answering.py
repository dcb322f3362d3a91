"""Answers to what clients ask, and what becomes of a question that we fail to answer.

What belongs here: from a question to the message that answers it. What does not: the answers (`surveil.answer`), and
doing what is wished (`fulfil`).

A mistake of ours in answering must not end anything: nothing was changed, and whoever asks again would end it again.
The asker is told so, with a word under which the traceback stands in the log. A mistake in doing what is wished is
another thing: then nobody knows what is true, and the process ends before it says anything (docs/adr/0057).
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

from surveil.answer import Reply, Wish
from surveil.answer.answers import Answers, answered, refusal
from surveil.clock import boot_ms
from surveil.errors import InfrastructureError, ProtocolError, SurveilError
from surveil.net.server import Server
from surveil.net.traffic import Route
from surveil.protocol import Ask, encode
from surveil.say import Voice

SILENCE_MS: Final = 60_000
"""A defect that is met again and again is written down once within so long: others can ask as often as they like."""
DEFECTS_MAX: Final = 100
"""Of so many it is known when they were written down."""
_ID_CHARACTERS: Final = 8
_TROUBLE: Final = "unanswered"

voice = Voice("dispatcher")


class Answering:
    """Answers questions on one server; `fulfil` does what a client wishes, or says why not."""

    def __init__(
        self, answers: Answers, server: Server, fulfil: Callable[[str, Route, Ask, Wish], Awaitable[Reply]]
    ) -> None:
        self._answers = answers
        self._server = server
        self._fulfil = fulfil
        self._told_at: dict[str, int] = {}

    async def answer(self, client: str, route: Route, ask: Ask) -> None:
        """Answer one question of the client of that name, who may ask."""
        try:
            with self._only_looking(ask):
                found = await self._answers.answer(ask, client)
                if isinstance(found, Reply):
                    self._say(route, ask, found, "nothing was changed")
                    return
            done = await self._fulfil(client, route, ask, found)
        except SurveilError as error:
            self._server.reply(route, refusal(ask, error))
        else:
            self._say(route, ask, done, "what was wished is done")

    def _say(self, route: Route, ask: Ask, reply: Reply, meanwhile: str) -> None:
        """Say the answer, or at once why no message can carry it: nobody is to wait for what never comes."""
        answer = answered(ask, reply)
        if self._server.reply(route, answer):
            return
        try:
            encode(answer)
        except ProtocolError as error:
            sentence = (
                f"The dispatcher has an answer to `{ask.what[:60]}` that no message can carry ({error}); {meanwhile}, "
                "and all else goes on. Ask for less of it at once: one build, job or repository, or with a smaller "
                "`limit`."
            )
            self._server.reply(route, refusal(ask, self._defect(ask, error, sentence)))
        # Otherwise the asker is gone or does not read; whoever still wants to know asks again.

    @contextmanager
    def _only_looking(self, ask: Ask) -> Iterator[None]:
        """Nothing is changed in this block, so a mistake of ours in it is one in answering. Raises SurveilError."""
        try:
            yield
        except SurveilError:
            raise
        except Exception as error:  # Which mistakes we make is what nobody knows.
            sentence = (
                f"The dispatcher could not answer `{ask.what[:60]}` because of a defect of its own; nothing was "
                "changed, and all else goes on."
            )
            raise self._defect(ask, error, sentence) from error

    def _defect(self, ask: Ask, error: Exception, sentence: str) -> InfrastructureError:
        """What the asker is told of a mistake of ours, which is counted and stands in the log."""
        self._server.counts.note(_TROUBLE, "")
        name, now = _name_of(ask.what, error), boot_ms()
        if now - self._told_at.get(name, now - SILENCE_MS) >= SILENCE_MS:
            if len(self._told_at) >= DEFECTS_MAX:
                self._told_at.clear()
            self._told_at[name] = now
            voice.defect(
                "a defect of surveil: a question could not be answered; all else goes on",
                error,
                defect=name,
                what=ask.what,
            )
        return InfrastructureError(f"{sentence} Its log has more at `defect={name}`: please report what stands there.")


def _name_of(what: str, error: Exception) -> str:
    """The same for each time that the same thing goes wrong at the same place."""
    places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    told = "\n".join([what, type(error).__name__, *places])
    return sha256(told.encode("utf-8", "replace")).hexdigest()[:_ID_CHARACTERS]
