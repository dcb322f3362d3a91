"""A commit that this machine cannot get from its repository: a pack of it, by way of the dispatcher, piece by piece.

What belongs here: which piece is asked for next, and when to give up. What does not: asking (`asking`), and what is
done with the pack (`surveil.execute.transfer.supply`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from surveil.client import Answered
from surveil.client.documents import Documents
from surveil.client.following import PIECES_AHEAD, WAIT_MS
from surveil.execute.transfer.supply import ABSENT_S, SILENCE_S, SupplyError
from surveil.mirror.bundle import BUNDLE_BYTES_MAX
from surveil.protocol import CHUNK_BYTES_MAX

_TRANSFER_BITS: Final = 40


async def follow_pack(client: Documents, job: str, have: Sequence[str]) -> AsyncIterator[bytes]:
    """What somebody who has all of `have` lacks of the commit of a job, in order.

    Raises:
        SupplyError: it cannot be had.
        SurveilError: the dispatcher's own sentence.
    """
    about = {"job": job, "have": list(have), "transfer": secrets.randbits(_TRANSFER_BITS)}
    first = await _piece(client, {**about, "at": 0})
    made, total, at = first.body["made"], first.body["total"], len(first.data)
    if not 0 < total <= BUNDLE_BYTES_MAX:
        raise SupplyError(f"what is supplied would have {total} bytes")
    yield first.data
    ahead: deque[tuple[int, asyncio.Task[Answered]]] = deque()
    try:
        while at < total or ahead:
            while at < total and len(ahead) < PIECES_AHEAD:
                ahead.append((at, asyncio.create_task(_piece(client, {**about, "at": at}))))
                at += min(CHUNK_BYTES_MAX, total - at)
            begin, task = ahead.popleft()
            got = await task
            if (got.body["made"], len(got.data)) != (made, min(CHUNK_BYTES_MAX, total - begin)):
                raise SupplyError("what is supplied changed on its way")
            yield got.data
    finally:
        for _, task in ahead:
            task.cancel()
        await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)


async def _piece(client: Documents, about: Mapping[str, Any]) -> Answered:
    """One piece; waits for an observer that makes the pack, or comes back. Raises SupplyError."""
    loop = asyncio.get_running_loop()
    over_at, absent_at = loop.time() + SILENCE_S, loop.time() + ABSENT_S
    while True:
        got = await client.ask("replay_pack", {**about, "wait_ms": WAIT_MS}, patience_ms=client.outage_ms)
        if got.data:
            return got
        problem, retry_ms, now = got.body["problem"], got.body["retry_ms"], loop.time()
        if problem and not retry_ms:
            raise SupplyError(problem, denied=True)
        if now >= over_at or (problem and now >= absent_at):
            raise SupplyError(problem or f"nothing was supplied for {SILENCE_S:g} s")
        await asyncio.sleep(retry_ms / 1000)
