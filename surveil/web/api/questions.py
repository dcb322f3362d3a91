"""The route of the command line: any question of a client's, as it would ask the dispatcher itself.

What belongs here: questions and their answers over HTTP. What does not: what each takes of its asker
(`surveil.web.own`), the other end (`surveil.client.over_http`), and the routes for programs that are not surveil, which
have addresses for things.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

from fastapi import Body, Depends, Query, Request

from surveil.answer import Question
from surveil.codec import pack_value
from surveil.errors import ProtocolError, UsageError
from surveil.web.api.asking import Asked, Document, allowed, known
from surveil.web.own import RULES
from surveil.web.rights import Scope
from surveil.web.routes import api_router
from surveil.web.submitting import require_watched
from surveil.web.visitors import Visitor

router = api_router("questions")

PATIENCE_MS_MAX: Final = 3_600_000


async def asker(request: Request, question: Question, visitor: Annotated[Visitor, Depends(known)]) -> Visitor:
    """Whoever asks, who may ask this of some repository."""
    return allowed(request, visitor, RULES[question].scope)


@router.post("/questions/{question}")
async def ask(
    books: Asked,
    question: Question,
    visitor: Annotated[Visitor, Depends(asker)],
    about: Annotated[dict[str, Any], Body(max_length=64, description="what the question is about, by name")],
    patience_ms: Annotated[int | None, Query(ge=1, le=PATIENCE_MS_MAX)] = None,
) -> Document:
    """Ask what `surveil --server` asks: `body` is the answer, `data` the bytes beside it in base64."""
    _check_written(about)
    if question is Question.SUBMIT:
        # Its pipeline is whatever the asker says that it is, and would be given the secrets of its ref.
        repo = str(about.get("repo") or "")
        visitor.require(Scope.ADMIN, repo)
        if not visitor.may("admin"):
            await require_watched(books, repo)
    found = await books.ask(question.value, about, patience_ms=patience_ms)
    found = await books.explained(question, about, found)
    return {"body": found.body, "data": base64.b64encode(found.data).decode()}


def _check_written(about: dict[str, Any]) -> None:
    """JSON can spell what is in no text or number that is kept or sent, such as halves of characters. Raises
    UsageError.
    """
    try:
        pack_value(about)
    except ProtocolError as error:
        raise UsageError(f"What the question is about cannot be used: {error}.") from error
