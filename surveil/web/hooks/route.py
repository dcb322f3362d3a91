"""The way in for webhooks: `POST /hooks/FORGE`.

What belongs here: reading a request within its bounds, and writing the answer. What does not: what a delivery means
(`receiving`).

A forge has no pass: each delivery proves itself. So the bounds come first: what proves nothing is not read, what is too
long or too slow is cut off, and only so many are read at once (`surveil.web.room`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from surveil.web.allowing import address_of
from surveil.web.hooks.forges import FORGES
from surveil.web.hooks.receiving import UNPROVED, Receiver
from surveil.web.problems import problem
from surveil.web.routes import page_router

BODY_BYTES_MAX: Final = 1024 * 1024
BODY_S: Final = 10.0

router = page_router()


@router.post("/hooks/{forge}")
async def deliver(request: Request, forge: Annotated[str, Path(max_length=40)]) -> Response:
    """Take a delivery of a forge."""
    receiver: Receiver = request.app.state.receiver
    if forge not in FORGES:
        return problem(404, f"Webhooks go to /hooks/ and one of {', '.join(FORGES)}.")
    proof = receiver.proof(forge, lambda name: _once(request, name))
    if proof is None:
        return problem(UNPROVED.status, UNPROVED.sentence)
    async with receiver.room.place(address_of(request.scope)) as is_there:
        if not is_there:
            return problem(503, "So many deliveries are read already: send this one again in a while.")
        body = await _body(request)
        if isinstance(body, Response):
            return body
        outcome = await receiver.receive(forge, lambda name: _once(request, name), proof, body)
    if outcome.document is not None:
        return JSONResponse(outcome.document, status_code=outcome.status)
    return problem(outcome.status, outcome.sentence)


def _once(request: Request, name: str) -> str:
    """A header that was given once; of two, nobody knows which one another reader would believe."""
    found = request.headers.getlist(name)
    return found[0] if len(found) == 1 else ""


async def _body(request: Request) -> bytes | Response:
    """The body, of which no more is ever held than is allowed; or what to say where it is too long, or too slow."""
    too_long = problem(413, f"A delivery has at most {BODY_BYTES_MAX} bytes: let the forge send fewer events.")
    # The server has checked that it is a number, and that no more comes than it says.
    if int(request.headers.get("content-length", "0")) > BODY_BYTES_MAX:
        return too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    return too_long
    except TimeoutError:
        return problem(408, f"The body did not come within {BODY_S:.0f} s.")
    except ClientDisconnect:
        # Nobody reads this, but it is counted.
        return problem(400, "The body ended before all of it had come.")
    return bytes(body)
