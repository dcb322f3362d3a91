"""The page about whoever looks: who they are, what they may do, and what lets them in.

What belongs here: that page, and ending sessions and tokens. What does not: making them (`surveil login`), and giving
roles (`surveil user`).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response
from fastapi.responses import RedirectResponse

from surveil.answer.views import time_text
from surveil.web.links import person_view
from surveil.web.pages.asking import Holds, signed
from surveil.web.pages.drawing import page
from surveil.web.routes import page_router
from surveil.web.visitors import Door

router = page_router()


@router.get("/settings")
async def settings(request: Request, visitor: Holds) -> Response:
    """Who am I, what may I do where, and what is there to come in with; and for administrators who else is known."""
    door: Door = request.app.state.door
    passes = [
        {
            "id": each.id,
            "kind": each.kind.value,
            "person": each.person,
            "user": each.user,
            "scope": each.scope,
            "label": each.label,
            "created_at": time_text(each.created_at),
            "seen_at": time_text(each.seen_at),
            "expires_at": time_text(each.expires_at),
            "is_this": each.id == visitor.pass_id,
        }
        for each in await door.passes_of(visitor)
    ]
    known = await door.people()
    people = [person_view(each) for each in known if visitor.may("admin") or each.name == visitor.user]
    mine = next((each for each in people if each["name"] == visitor.user), None)
    return page(
        request, "settings.html", visitor, title="Settings", passes=passes, mine=mine,
        people=people if visitor.may("admin") else None,
    )  # fmt: skip


@router.post("/settings/passes/{pass_id}/end")
async def end(request: Request, pass_id: Annotated[str, Path(max_length=100)], visitor: Holds) -> Response:
    """Let nobody in with it any more."""
    await signed(request, visitor)
    door: Door = request.app.state.door
    await door.end(visitor, pass_id)
    return RedirectResponse("/settings", status_code=303)
