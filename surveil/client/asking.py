"""`Client`: asks a dispatcher one question at a time, or several at once, and reads documents that take several pages.

What belongs here: one question and its answer. What does not: a question that is asked again for what comes
(`following`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from surveil.client import Answered
from surveil.client.access import Access
from surveil.errors import InfrastructureError, NotAllowedError, UnreachableError, error_of
from surveil.net.connection import Connection, Garbled, Incoming, Link
from surveil.protocol import Answer, Ask, Refused

PATIENCE_MS: Final = 5_000
"""How long a question without any sign of a dispatcher waits."""
OUTAGE_MS: Final = 120_000
"""How long following something survives a dispatcher that is away: a restart, an upgrade, a reboot."""
REPEAT_MS: Final = 5_000
"""An answer that is overdue by so long is asked for again: it may have been lost with a connection."""
BUILDS_PAGE: Final = 100
LISTED_PAGE: Final = 1000

_LOST: Final = "The connection was lost before the answer came, and nobody knows whether it was done: "
_ONCE: Final = {
    "token_create": _LOST + "look with `surveil token list`, and type it again.",
    "db_backup": _LOST + "look at the destination before you type it again.",
}
"""Wishes that would be fulfilled twice if they were said twice, and what is said instead."""
_PUMP_MS: Final = 1_000


@dataclass(slots=True)
class _Pending:
    """A question that waits for its answer."""

    ask: Ask
    answer: asyncio.Future[Answer]
    wait_ms: int
    due_at: float = 0.0
    said: bool = False

    def fail(self, error: BaseException) -> None:
        """Raise this where the answer is waited for, unless that has come."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Client:
    """Asks a dispatcher, between `async with` and its end. Several questions may be in the air at once."""

    def __init__(self, access: Access, *, patience_ms: int = PATIENCE_MS, outage_ms: int = OUTAGE_MS) -> None:
        self.address = access.address
        self._connection = Connection(access.address, access.server_key, access.keys)
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._patience_ms = patience_ms
        self.outage_ms = outage_ms
        """How long whoever follows something waits for a dispatcher that is away."""
        self._strange = False
        self._deaf: BaseException | None = None

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        self._pump = asyncio.create_task(self._listen(), name="answers of the dispatcher")
        self._pump.add_done_callback(self._heard_all)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        await self._connection.close()

    # ---- asking ----------------------------------------------------------------------------------

    async def ask(
        self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None
    ) -> Answered:
        """Ask one question and return its answer. `about["wait_ms"]` is added to the patience.

        Raises:
            UnreachableError: no answer within the patience.
            SurveilError: the dispatcher's own sentence, as the error that its exit code stands for.
        """
        if self._deaf is not None:
            raise self._deaf
        about = about or {}
        wait_ms = int(about.get("wait_ms") or 0)
        pending = _Pending(
            Ask(id=next(self._numbers), what=what, about=about), asyncio.get_running_loop().create_future(), wait_ms
        )
        self._pending[pending.ask.id] = pending
        self._say(pending)
        try:
            async with asyncio.timeout(((self._patience_ms if patience_ms is None else patience_ms) + wait_ms) / 1000):
                answer = await pending.answer
        except TimeoutError:
            raise self._unreachable() from None
        finally:
            del self._pending[pending.ask.id]
        if answer.error:
            raise error_of(answer.error, answer.exit_code)
        return Answered(body=answer.body, data=answer.data)

    async def build(self, build: int) -> dict[str, Any]:
        """One build with all its jobs, however many messages they take."""
        document: dict[str, Any] = (await self.ask("build", {"build": build})).body
        return await self.complete(document)

    async def builds(self, *, repo: str | None = None, ref: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The newest builds first, each with all its jobs."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            about = {"repo": repo, "ref": ref, "limit": min(BUILDS_PAGE, limit - len(found)), "before": before}
            page = (await self.ask("builds", about)).body
            if not page:
                break
            found += [await self.complete(document) for document in page]
            before = found[-1]["id"]
        return found

    async def story(self, build: int, job: str = "") -> list[dict[str, Any]]:
        """The lines of a build's story, or of one of its jobs', however many messages they take."""
        found: list[dict[str, Any]] = []
        at: int | None = 0
        while at is not None:
            page = (await self.ask("story", {"build": build, "job": job, "at": at})).body
            found += page["lines"]
            at = page["next"]
        return found

    async def tests(self, build: int, job: str = "") -> dict[str, Any]:
        """The test results of a build, or of one of its jobs, however many messages they take."""
        document: dict[str, Any] = (await self.ask("tests", {"build": build, "job": job})).body
        while (at := document.pop("next")) is not None:
            page = (await self.ask("tests", {"build": build, "job": job, "at": at})).body
            document["cases"] += page["cases"]
            document["next"] = page["next"]
        return document

    async def listed(self, what: str, about: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All of `runners`, `tokens`, `peers` or `artifacts`, however many messages they take."""
        found: list[dict[str, Any]] = []
        while True:
            page = (await self.ask(what, {**(about or {}), "at": len(found), "limit": LISTED_PAGE})).body
            found += page
            if len(page) < LISTED_PAGE:
                return found

    # ---- how -------------------------------------------------------------------------------------

    async def complete(self, document: dict[str, Any]) -> dict[str, Any]:
        """A build's document with the jobs that did not fit into its message, fetched page by page."""
        while (jobs_at := document.pop("jobs_next", None)) is not None:
            more = (await self.ask("build", {"build": document["id"], "jobs_at": jobs_at})).body
            document["jobs"] += more["jobs"]
            if "jobs_next" in more:
                document["jobs_next"] = more["jobs_next"]
        return document

    def _say(self, pending: _Pending) -> None:
        if pending.said and pending.ask.what in _ONCE:
            return
        if self._connection.send(pending.ask):
            pending.said = True
            pending.due_at = asyncio.get_running_loop().time() + (pending.wait_ms + REPEAT_MS) / 1000

    async def _listen(self) -> None:
        """Hand answers to who waits for them, and say again what may have been lost."""
        while True:
            for item in await self._connection.receive(_PUMP_MS):
                self._take(item)
            now = asyncio.get_running_loop().time()
            for pending in list(self._pending.values()):
                if now >= pending.due_at:
                    self._say(pending)

    def _heard_all(self, pump: asyncio.Task[None]) -> None:
        """Whatever ended the listening, be it a mistake of ours, is what everybody learns who waits or asks later."""
        if not pump.cancelled() and (cause := pump.exception()) is not None:
            self._deaf = cause
            self._fail(cause)

    def _take(self, item: Incoming) -> None:
        match item:
            case Answer() if (pending := self._pending.get(item.id)) is not None:
                if not pending.answer.done():
                    pending.answer.set_result(item)
            case Link.CONNECTED:
                self._strange = False
                for pending in list(self._pending.values()):
                    if pending.said and pending.ask.what in _ONCE:
                        pending.fail(InfrastructureError(_ONCE[pending.ask.what]))
                    self._say(pending)
            case Link.STRANGE:
                self._strange = True
            case Link.REFUSED:
                self._fail(
                    NotAllowedError(
                        f"The dispatcher at {self.address} does not know this machine's key (it was revoked, or is of "
                        "another installation): join again with a token of `surveil token create --role client`."
                    )
                )
            case Refused(reason=reason, exit_code=exit_code):
                self._fail(error_of(f"The dispatcher at {self.address} refused: {reason}", exit_code))
            case Garbled(reason=reason):
                self._fail(InfrastructureError(f"The dispatcher at {self.address} cannot be understood: {reason}"))
            case _:
                pass  # A late answer, or a message for another role: nobody waits for it.

    def _fail(self, error: BaseException) -> None:
        for pending in self._pending.values():
            pending.fail(error)

    def _unreachable(self) -> UnreachableError:
        if self._connection.connected:
            return UnreachableError(
                f"The dispatcher at {self.address} is there but does not answer; "
                "`surveil doctor` on its machine may tell why."
            )
        if self._strange:
            return UnreachableError(
                f"What answers at {self.address} does not hold the dispatcher's key: another program, or another "
                "dispatcher; `surveil doctor` looks for the cause."
            )
        return UnreachableError(
            f"No dispatcher answers at {self.address}; start it with `surveil up` or `surveil dispatcher`, or let "
            "`surveil doctor` look for the cause."
        )
