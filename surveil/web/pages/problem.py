"""The page that says what is wrong.

What belongs here: that page. What does not: what programs are told (`surveil.web.problems`).
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from surveil.web.pages.drawing import page


def problem_page(request: Request, status: int, sentence: str) -> Response:
    """The page with this sentence; whoever is unknown is shown the way in."""
    if status == HTTPStatus.UNAUTHORIZED:
        return RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
    return page(request, "problem.html", None, title="That did not work", sentence=sentence, code=status)
