"""Fills templates.

What belongs here: the one environment of all templates, and what each of them can count on. What does not: the words
that they use (`shown`), and what is shown (`looking`).

Whatever stands in a page passes through the template's escaping: nothing that a commit, a job or a runner says can
become a part of the page. No template may switch that off; a test looks.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

from surveil import __version__
from surveil.web.pages import assets, shown
from surveil.web.root import path_of, root_of
from surveil.web.visitors import CSRF_FIELD, Visitor

PAGES: Final = (
    ("Overview", "/", "o"), ("Builds", "/builds", "b"), ("Repositories", "/repositories", "r"),
    ("Runners", "/runners", "m"), ("Schedules", "/schedules", "s"), ("Artifacts", "/artifacts", "a"),
    ("Settings", "/settings", "e"),
)  # fmt: skip
"""What every page leads to: its name, its address, and the key that goes there."""
ROOTS_MAX: Final = 2
"""Pages are reached at most in two ways: below a prefix, and by this machine without one."""
_OUR_ADDRESS: Final = re.compile(r"""\b(href|src|action|hx-get|hx-post)="(?=/)""")


class _Rooted(Extension):
    """Lets templates write addresses as routes have them, from `/` on: what stands before them is put there. Only a
    template can hold such an attribute, as whatever else comes into a page is escaped.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002  # Jinja's
        """The source of a template with the root before each address."""
        return _OUR_ADDRESS.sub(r'\1="{{ root }}', source)


@lru_cache(maxsize=ROOTS_MAX)
def templates(root: str) -> Environment:
    """The templates, for pages whose addresses begin with this."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Rooted],
    )
    made.filters.update(shown.FILTERS, leads=leads)
    made.globals.update(
        version=__version__, asset=lambda name: root + assets.address_of(name), csrf_field=CSRF_FIELD, pages=PAGES,
        root=root,
    )  # fmt: skip
    return made


def leads(visitor: Visitor, to: str) -> bool:
    """Whether a page is one for this visitor: machines are for who sees all, settings for who is signed in."""
    return {"/runners": visitor.may("read"), "/settings": bool(visitor.pass_id)}.get(to, True)


def page(request: Request, template: str, visitor: Visitor | None, *, code: int = 200, **values: Any) -> HTMLResponse:
    """A page as HTML; `values` are what its template shows."""
    text = (
        templates(root_of(request))
        .get_template(template)
        .render(
            **values,
            visitor=visitor,
            csrf="" if visitor is None else visitor.csrf or "",
            here=path_of(request),
            address=_address(request),
            position=getattr(request.state, "position", -1),
        )
    )
    return HTMLResponse(text, status_code=code)


def _address(request: Request) -> str:
    """What the browser asked for, as it wrote it: the names in it may hold whatever addresses give a meaning."""
    path = request.scope.get("raw_path") or b"/"
    query = request.scope.get("query_string") or b""
    return (path.partition(b"?")[0] + (b"?" + query if query else b"")).decode("ascii", "replace")
