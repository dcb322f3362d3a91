"""Fills the templates of badges and feeds, and answers with a mark of what is in them.

What belongs here: what all three formats need of XML, and of HTTP. What does not: what they say.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from surveil.core.spelling import printable


def _shown(value: object) -> object:
    """What XML cannot say, and what turns the rest of a line around, stands there as an escape."""
    return printable(value) if isinstance(value, str) else value


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True, finalize=_shown,
)  # fmt: skip


def drawn(
    request: Request, template: str, *, media_type: str, code: int = 200, for_all: bool = False, **values: Any
) -> Response:
    """The document, or that whoever asks has it; `for_all` may be shown in pages of others."""
    body = _TEMPLATES.get_template(template).render(**values).encode()
    mark = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"etag": mark, "cache-control": "no-cache", "vary": "Authorization, Cookie"}
    if for_all:
        headers["cross-origin-resource-policy"] = "cross-origin"
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if code == 200 and (mark in known or "*" in known):  # noqa: PLR2004  # HTTP's own number
        return Response(status_code=304, headers=headers)
    return Response(body, status_code=code, media_type=media_type, headers=headers)
