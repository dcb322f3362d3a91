"""Following what grows: logs, the journal, one build to its verdict.

What belongs here: which question comes next. What does not: asking it (`asking`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from surveil.client import VERDICTS, Answered, LogPiece, WaitOver
from surveil.client.documents import Documents
from surveil.errors import InfrastructureError
from surveil.protocol import CHUNK_BYTES_MAX

WAIT_MS: Final = 10_000
"""How long one question waits for news before it is asked again."""

PIECES_AHEAD: Final = 4
"""So many pieces of an artifact are asked for at once: as many as the dispatcher reads at one time."""

QUIET_MS: Final = 3_000
"""How long nothing happens before whoever wants to know why is told."""

_Result = TypeVar("_Result")


async def follow_log(
    client: Documents,
    job: str,
    *,
    attempt: int | None = None,
    at: int = 0,
    tail_lines: int | None = None,
    follow: bool = True,
) -> AsyncIterator[LogPiece]:
    """The log of a job's attempt in pieces: with `follow` as they come, until the job has its verdict, else those
    that there are.

    Without an `attempt`, the newest, and with `follow` those that come after it as well; each begins with a piece
    at byte 0, even if that is empty.
    """
    number, begun, told = attempt, 0, ()
    while True:
        about = {
            "job": job,
            "attempt": number,
            "at": at,
            "wait_ms": WAIT_MS if follow else 0,
            "tail_lines": tail_lines,
        }
        got = await client.ask("log", about, patience_ms=client.outage_ms if begun else None)
        body, number, tail_lines = got.body, got.body["attempt"], None
        last = body["complete"] if follow else body["next"] >= body["end"]
        missing = (body.get("missing") or "") if last else ""
        # A piece without a byte tells what is new about the steps: how they ended, and what surveil remarks on them.
        news = begun != number or tuple(body["steps"]) != told
        if body["exists"] and (got.data or body["damaged"] or missing or news):
            yield LogPiece(
                attempt=number,
                at=body["at"],
                data=got.data,
                damaged=tuple(body["damaged"]),
                runner=body["runner"] or "",
                steps=tuple(body["steps"]),
                missing=missing,
            )
            begun, told = number, tuple(body["steps"])
        at = body["next"]
        if not follow:
            if at >= body["end"]:
                return
        elif body["complete"]:
            if attempt is not None or body["settled"]:
                return
            number, at = number + 1, 0


async def follow_journal(
    client: Documents, *, after: int = -1, build: int | None = None
) -> AsyncIterator[dict[str, Any]]:
    """Lines of the journal after position `after` (-1: from now on) as they come, without end."""
    while True:
        page = await _journal(client, after, build, wait_ms=0 if after < 0 else WAIT_MS)
        after = page["position"]
        for note in page["notes"]:
            yield note


async def follow_build(
    client: Documents,
    build: int,
    *,
    after: int = 0,
    timeout_ms: int | None = None,
    when_quiet: Callable[[Mapping[str, Any]], None] | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """A build's lines of the journal, ending with that of its verdict. `when_quiet` is given the build's document
    whenever nothing happened for a while.

    Raises:
        WaitOver: there is no verdict after `timeout_ms`.
    """
    until = None if timeout_ms is None else asyncio.get_running_loop().time() + timeout_ms / 1000
    wait_ms, settled = 0, False
    while True:
        page = await _before(until, build, _journal(client, after, build, wait_ms=wait_ms))
        after = page["position"]
        for note in page["notes"]:
            yield note
            if note["what"] == "build" and note["state"] in VERDICTS:
                return
        if not page["notes"] and settled:
            return
        quiet = wait_ms > 0 and not page["notes"]
        # Its verdict may be older than `after`. One more page, because it may also have come since this one.
        answer = await _before(until, build, client.ask("build", {"build": build}))
        settled = answer.body["state"] in VERDICTS
        if quiet and when_quiet is not None and not settled:
            when_quiet(await client.complete(answer.body))
        wait_ms = 0 if settled else WAIT_MS if when_quiet is None else QUIET_MS


async def wait_for(client: Documents, build: int, *, timeout_ms: int | None = None) -> dict[str, Any]:
    """The build's document once it has a verdict. Raises WaitOver."""
    async for _ in follow_build(client, build, timeout_ms=timeout_ms):
        pass
    return await client.build(build)


async def _journal(client: Documents, after: int, build: int | None, *, wait_ms: int) -> dict[str, Any]:
    about = {"after": after, "build": build, "wait_ms": wait_ms}
    page: dict[str, Any] = (await client.ask("journal", about, patience_ms=client.outage_ms if wait_ms else None)).body
    return page


async def _before(until: float | None, build: int, asked: Coroutine[Any, Any, _Result]) -> _Result:
    """The answer, if it comes before `until` in the loop's time, be there a dispatcher or not. Raises WaitOver."""
    try:
        async with asyncio.timeout_at(until):
            return await asked
    except TimeoutError:
        sentence = f"Build {build} has no verdict yet; it goes on, and `surveil watch {build}` shows it."
        raise WaitOver(sentence) from None


async def follow_artifact(client: Documents, about: Mapping[str, Any], at: int, size: int) -> AsyncIterator[bytes]:
    """The bytes of an artifact's archive from `at` on, piece by piece. Raises SurveilError."""
    ahead: deque[tuple[int, asyncio.Task[Answered]]] = deque()
    try:
        while at < size or ahead:
            while at < size and len(ahead) < PIECES_AHEAD:
                asked = client.ask("artifact", {**about, "at": at}, patience_ms=client.outage_ms)
                count = min(CHUNK_BYTES_MAX, size - at)
                ahead.append((count, asyncio.create_task(asked)))
                at += count
            count, task = ahead.popleft()
            got = await task
            if len(got.data) != count:
                raise InfrastructureError("The dispatcher has less of this artifact than it says: type it again.")
            yield got.data
    finally:
        for _, task in ahead:
            task.cancel()
        await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)
