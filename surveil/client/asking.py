"""`Client`: asks a dispatcher one question at a time, or several at once.

What belongs here: one question and its answer. What does not: documents that take several (`documents`), and a question
that is asked again for what comes (`following`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from surveil.client import Answered, Behalf
from surveil.client.access import Access
from surveil.client.documents import Documents
from surveil.errors import (
    ExitCode,
    InfrastructureError,
    NotAllowedError,
    ProtocolError,
    UnreachableError,
    UsageError,
    error_of,
)
from surveil.net.connection import Connection, Garbled, Incoming, Link
from surveil.protocol import NAME_MAX, Answer, Ask, Refused, decode, encode

PATIENCE_MS: Final = 5_000
"""How long a question without any sign of a dispatcher waits."""
BUSY_MS: Final = 25_000
"""For how much longer it waits for somebody who sees what happens, while its dispatcher is there: one on a machine with
too much to do, or with a slow disk, is worth more than the advice to look for the cause."""
OUTAGE_MS: Final = 120_000
"""How long following something survives a dispatcher that is away: a restart, an upgrade, a reboot."""
FULL_MS: Final = 1_000
"""A dispatcher that had no room for a question is left alone with it for so long."""
REPEAT_MS: Final = 5_000
"""An answer that is overdue by so long is asked for again: it may have been lost with a connection."""

LOST: Final = "The connection was lost before the answer came, and nobody knows whether it was done: "
ONCE: Final = {
    "token_create": LOST + "look with `surveil token list`, and type it again.",
    "db_backup": LOST + "look at the destination before you type it again.",
}
"""Wishes that would be fulfilled twice if they were said twice, and what is said instead."""
NOBODY: Final = Behalf()
"""Who asks for nobody in particular."""
WAIT_MS_MAX: Final = 60_000
"""No dispatcher lets a question wait for news that long; whoever wishes for more is answered at once."""
_PUMP_MS: Final = 1_000
_PIECE_MS: Final = 250


@dataclass(slots=True)
class _Pending:
    """A question that waits for its answer."""

    ask: Ask
    answer: asyncio.Future[Answer]
    wait_ms: int
    due_at: float = 0.0
    said: bool = False

    def delay(self, for_ms: int) -> None:
        """Have it be said again after this time, as if it never had been."""
        self.answer = asyncio.get_running_loop().create_future()
        self.said = False
        self.due_at = asyncio.get_running_loop().time() + for_ms / 1000

    def fail(self, error: BaseException) -> None:
        """Raise this where the answer is waited for, unless that has come."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Client(Documents):
    """Asks a dispatcher, between `async with` and its end. Several questions may be in the air at once."""

    def __init__(
        self,
        access: Access,
        *,
        patience_ms: int = PATIENCE_MS,
        busy_ms: int = 0,
        outage_ms: int = OUTAGE_MS,
        behalf: Behalf = NOBODY,
    ) -> None:
        self.address = access.address
        self._behalf = behalf
        self._connection = Connection(access.address, access.server_key, access.keys)
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._patience_ms = patience_ms
        self._busy_ms = busy_ms
        self.outage_ms = outage_ms
        self._strange = False
        self._refusal: NotAllowedError | None = None
        """Why we were not let in, until we are."""
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
        self,
        what: str,
        about: Mapping[str, Any] | None = None,
        *,
        patience_ms: int | None = None,
        behalf: Behalf | None = None,
    ) -> Answered:
        """Ask one question and return its answer. `about["wait_ms"]` is added to the patience; `behalf` is for whom,
        where that is not always the same.

        Raises:
            UsageError: this is nothing that a dispatcher would read.
            UnreachableError: no answer within the patience.
            NotAllowedError: this machine's key is not let in.
            SurveilError: the dispatcher's own sentence, as the error that its exit code stands for.
        """
        if (hopeless := self._deaf or self._refusal) is not None:
            raise hopeless
        about = about or {}
        behalf = behalf or self._behalf
        ask = Ask(id=next(self._numbers), what=what, about=about, person=behalf.person[:NAME_MAX], way=behalf.way)
        _check_sayable(ask)
        said_ms = about.get("wait_ms")
        wait_ms = min(said_ms, WAIT_MS_MAX) if type(said_ms) is int else 0
        pending = _Pending(ask, asyncio.get_running_loop().create_future(), wait_ms)
        self._pending[pending.ask.id] = pending
        try:
            self._say(pending)
            if patience_ms is None:
                answer = await self._answer(pending, self._patience_ms + wait_ms, self._busy_ms)
            else:
                answer = await self._answer(pending, patience_ms + wait_ms, 0)
        finally:
            del self._pending[pending.ask.id]
        if answer.error:
            raise error_of(answer.error, answer.exit_code)
        return Answered(body=answer.body, data=answer.data)

    # ---- how -------------------------------------------------------------------------------------

    async def _answer(self, pending: _Pending, patience_ms: int, busy_ms: int) -> Answer:
        """What is answered, or why nothing is. A dispatcher that has no room for it now is asked again.

        The patience is spent in pieces: a process that is stopped, or gets no processor, has not waited all that time.
        """
        full: Answer | None = None
        for spent_ms in range(0, patience_ms + busy_ms, _PIECE_MS):
            if spent_ms >= patience_ms and not self._connection.connected:
                break
            await asyncio.wait([pending.answer], timeout=min(_PIECE_MS, patience_ms + busy_ms - spent_ms) / 1000)
            if pending.answer.done():
                answer = pending.answer.result()
                if answer.exit_code != ExitCode.UNREACHABLE or spent_ms + pending.wait_ms >= patience_ms + busy_ms:
                    return answer
                full = answer
                pending.delay(FULL_MS)
        if full is not None:
            return full
        raise self._unreachable()

    def _say(self, pending: _Pending) -> None:
        if pending.said and pending.ask.what in ONCE:
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
                self._refusal = None
                for pending in list(self._pending.values()):
                    if pending.said and pending.ask.what in ONCE:
                        pending.fail(InfrastructureError(ONCE[pending.ask.what]))
                    self._say(pending)
            case Link.STRANGE:
                self._strange = True
            case Link.REFUSED:
                self._refusal = NotAllowedError(
                    f"The dispatcher at {self.address} does not know this machine's key (it was revoked, or is of "
                    "another installation): join again with a token of `surveil token create --role client`."
                )
                self._fail(self._refusal)
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


def _check_sayable(ask: Ask) -> None:
    """See that a dispatcher would take this for a question. One that it cannot read it answers to nobody in particular,
    and all who wait beside this one would be told that something is wrong.

    Raises:
        UsageError: it would not.
    """
    try:
        decode(encode(ask))
    except ProtocolError as error:
        raise UsageError(f"The question `{ask.what}` cannot be asked so: {error}.") from error
