"""What is wrong, said to programs: `application/problem+json` (RFC 9457) with the sentence that people get elsewhere.

What belongs here: which status a failure has, and its document. What does not: raising failures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from surveil.answer.shapes.kinds import Shape, a, many, record, text, whole
from surveil.errors import ExitCode, SurveilError
from surveil.web.api.wrongly import COMPLAINTS_MAX, sentences
from surveil.web.headers import ON_EVERY_ANSWER
from surveil.web.root import path_of
from surveil.web.visitors import UnknownVisitor

MEDIA_TYPE: Final = "application/problem+json"
PROGRAMS: Final = "/api/"
"""Whatever asks below it is a program, whatever it says that it takes."""
_STATUS: Final = {
    ExitCode.USAGE: 400,
    ExitCode.INVALID: 422,
    ExitCode.UNREACHABLE: 503,
    ExitCode.NOT_ALLOWED: 403,
    ExitCode.NOT_FOUND: 404,
    ExitCode.INFRASTRUCTURE: 500,
    ExitCode.TIMED_OUT: 504,
}
_TITLES: Final = {
    400: "this cannot mean anything",
    401: "nobody we know",
    403: "not allowed",
    404: "not found",
    405: "no such way of asking",
    408: "too slow",
    409: "in conflict",
    413: "too large",
    415: "in a form that is not taken",
    421: "not here",
    422: "cannot be used as it stands",
    429: "too often",
    500: "our doing",
    503: "the dispatcher is away",
    504: "out of time",
}

_NOWHERE: Final = (
    "Nothing is at this address: the overview, and for programs `/api/v1/openapi.json`, lead to all there is."
)
_UNREAD: Final = (
    "The body cannot be read: send JSON in UTF-8, with fewer than 500 brackets within each other, and numbers of fewer "
    "than 4000 digits."
)
_OTHERWISE: Final = "This address is asked in another way, with {allow}: the overview leads to all there is."
_BARE: Final = {
    "Not Found": _NOWHERE,
    "Method Not Allowed": _OTHERWISE,
    "There was an error parsing the body": _UNREAD,
}
"""What the framework says by itself, and what we say for it."""

PROBLEM: Final = Shape(
    "Problem",
    {
        "type": text("`about:blank`"),
        "title": text("what is wrong, in a few words that are the same for each status"),
        "status": whole("the HTTP status"),
        "detail": text("what is wrong, in a sentence for people"),
        "exit_code": whole("what a command would end with"),
        "complaints": many(
            record(at=text("where"), because=text("what is wrong there, in a sentence")),
            f"what is wrong with a request's parts, {COMPLAINTS_MAX} of it at most",
        ),
    },
    frozenset({"exit_code", "complaints"}),
)
"""What is sent in place of every answer that cannot be given."""
DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": title, "content": {MEDIA_TYPE: {"schema": a(PROBLEM)}}} for status, title in _TITLES.items()
}
"""What may be wrong with a request, for the description of the API."""


def status_of(error: SurveilError) -> int:
    """The HTTP status that says whose fault this is."""
    return 401 if isinstance(error, UnknownVisitor) else _STATUS.get(error.exit_code, 500)


def problem(status: int, sentence: str, **more: Any) -> JSONResponse:
    """The answer that says what is wrong."""
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004  # HTTP's own number
    document = {"type": "about:blank", "title": _TITLES.get(status, "a problem"), "status": status, "detail": sentence}
    return JSONResponse({**document, **more}, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI, on_page: Callable[[Request, int, str], Response]) -> None:
    """Have all failures of this application said so: to programs here, and to people by `on_page`."""

    def said(request: Request, status: int, sentence: str, **more: Any) -> Response:
        if path_of(request).startswith(PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
            return problem(status, sentence, **more)
        return on_page(request, status, sentence)

    @app.exception_handler(SurveilError)
    async def _ours(request: Request, error: SurveilError) -> Response:
        return said(request, status_of(error), str(error), exit_code=int(error.exit_code))

    @app.exception_handler(Exception)
    async def _mistake(request: Request, _error: Exception) -> Response:
        # It is raised again after this, and so stands in the log, whole; nobody who asks is told more.
        answer = said(request, 500, "This is a defect of surveil; its log on the dispatcher's machine says more.")
        # The framework answers this one outside of all that stands before the application.
        answer.headers.update(ON_EVERY_ANSWER)
        return answer

    @app.exception_handler(RequestValidationError)
    async def _asked_wrongly(request: Request, error: RequestValidationError) -> Response:
        taken = getattr(request.scope.get("route"), "body_field", None)
        complaints = sentences(error.errors(), None if taken is None else taken.field_info.annotation)
        first = complaints[0]
        sentence = first["because"]
        if first["at"] == "body" and "json" not in request.headers.get("content-type", ""):
            sentence += " Send a JSON object with the header `Content-Type: application/json`."
        return said(request, 422, sentence, complaints=complaints)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        headers = error.headers or {}
        ours = _BARE.get(error.detail, "").format(allow=headers.get("Allow", "another method"))
        answer = said(request, error.status_code, ours or str(error.detail))
        answer.headers.update(headers)
        return answer
