"""What commands use to talk to a dispatcher: questions with answers, and following what grows.

What belongs here: `Client` for code with an event loop, and which key and address it uses. What does not: the same
without a loop (`surveil.cli.connecting`), sockets (`surveil.net`), and what questions there are (`surveil.answer`).

Nothing here is a subscription: a question that waits for news names the place from which on it wants to hear, so
after any break the same question is simply asked again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from surveil.core.model import VERDICTS
from surveil.errors import (
    ExitCode,
    InfrastructureError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
    SurveilError,
    UnreachableError,
    UsageError,
)
from surveil.net.addresses import Address, parse_address
from surveil.net.connection import Connection, Garbled, Incoming, Link
from surveil.net.enrolment import KEYS_FOLDER
from surveil.net.keys import CLIENT_KEY, KeyPair, load_keys
from surveil.net.known import FILE_NAME, KnownDispatcher, load_known
from surveil.protocol import Answer, Ask, Refused

PATIENCE_MS: Final = 5_000
"""How long a question without any sign of a dispatcher waits."""
OUTAGE_MS: Final = 120_000
"""How long following something survives a dispatcher that is away: a restart, an upgrade, a reboot."""
WAIT_MS: Final = 10_000
"""How long one question waits for news before it is asked again."""
REPEAT_MS: Final = 5_000
"""An answer that is overdue by so long is asked for again: it may have been lost with a connection."""
BUILDS_PAGE: Final = 100
LISTED_PAGE: Final = 1000
ENROLLED_FOLDER: Final = "client"
"""Below the data folder: what a machine keeps that is only a client of a dispatcher elsewhere."""

_LOST: Final = "The connection was lost before the answer came, and nobody knows whether it was done: "
_ONCE: Final = {
    "token_create": _LOST + "look with `surveil token list`, and type it again.",
    "db_backup": _LOST + "look at the destination before you type it again.",
}
"""Wishes that would be fulfilled twice if they were said twice, and what is said instead."""
_PUMP_MS: Final = 1_000
_Result = TypeVar("_Result")


class WaitOver(SurveilError):
    """The time that a person gave is over, and what was waited for has not come."""

    exit_code = ExitCode.TIMED_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a dispatcher is, the key that it must show, and the key that we show."""

    address: Address
    server_key: str
    keys: KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer without an error."""

    body: Any
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Bytes `at` and on of an attempt's log; `damaged` are the ranges before their end that cannot be read any more."""

    attempt: int
    at: int
    data: bytes
    damaged: tuple[Mapping[str, int], ...] = ()


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


def find_access(data: Path, address: str | None) -> Access:
    """The address and keys to use: those of the dispatcher in the folder `data`, or of the one that this machine
    joined as a client.

    `address` overrides where the dispatcher is, and chooses between the two where both are known.

    Raises:
        NotAllowedError: this machine holds no key for any dispatcher, and the sentence says how to get one.
        InfrastructureError: a key's file cannot be used.
    """
    wanted = parse_address(address) if address else None
    folders = [folder for folder in (data, data / ENROLLED_FOLDER) if (folder / KEYS_FOLDER / CLIENT_KEY).exists()]
    known: list[tuple[Path, KnownDispatcher]] = [
        (folder, load_known(folder)) for folder in folders if (folder / FILE_NAME).exists()
    ]
    if not known:
        where = f"the dispatcher at {wanted}" if wanted else "any dispatcher"
        raise NotAllowedError(
            f"{data} holds no key for {where}: start one here with `surveil up`, name its folder with --data, or make "
            "a token with `surveil token create --role client` there and type `surveil client --join TOKEN` here."
        )
    folder, dispatcher = next((pair for pair in known if wanted in {None, pair[1].address}), known[0])
    return Access(
        address=wanted or dispatcher.address.from_here(),
        server_key=dispatcher.server_key,
        keys=load_keys(folder / KEYS_FOLDER / CLIENT_KEY),
    )


class Client:
    """Asks a dispatcher, between `async with` and its end. Several questions may be in the air at once."""

    def __init__(self, access: Access, *, patience_ms: int = PATIENCE_MS, outage_ms: int = OUTAGE_MS) -> None:
        self.address = access.address
        self._connection = Connection(access.address, access.server_key, access.keys)
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._patience_ms = patience_ms
        self._outage_ms = outage_ms
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
        return await self._complete(document)

    async def builds(self, *, repo: str | None = None, ref: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The newest builds first, each with all its jobs."""
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            about = {"repo": repo, "ref": ref, "limit": min(BUILDS_PAGE, limit - len(found)), "before": before}
            page = (await self.ask("builds", about)).body
            if not page:
                break
            found += [await self._complete(document) for document in page]
            before = found[-1]["id"]
        return found

    async def listed(self, what: str) -> list[dict[str, Any]]:
        """All of `runners`, `tokens` or `peers`, however many messages they take."""
        found: list[dict[str, Any]] = []
        while True:
            page = (await self.ask(what, {"at": len(found), "limit": LISTED_PAGE})).body
            found += page
            if len(page) < LISTED_PAGE:
                return found

    # ---- following -------------------------------------------------------------------------------

    async def follow_log(
        self, job: str, *, attempt: int | None = None, at: int = 0, tail_lines: int | None = None, follow: bool = True
    ) -> AsyncIterator[LogPiece]:
        """The log of a job's attempt in pieces: with `follow` as they come, until the job has its verdict, else those
        that there are.

        Without an `attempt`, the newest, and with `follow` those that come after it as well; each begins with a piece
        at byte 0, even if that is empty.
        """
        number, begun = attempt, 0
        while True:
            about = {
                "job": job,
                "attempt": number,
                "at": at,
                "wait_ms": WAIT_MS if follow else 0,
                "tail_lines": tail_lines,
            }
            got = await self.ask("log", about, patience_ms=self._outage_ms if begun else None)
            body, number, tail_lines = got.body, got.body["attempt"], None
            if body["exists"] and (got.data or body["damaged"] or begun != number):
                yield LogPiece(attempt=number, at=body["at"], data=got.data, damaged=tuple(body["damaged"]))
                begun = number
            at = body["next"]
            if not follow:
                if at >= body["end"]:
                    return
            elif body["complete"]:
                if attempt is not None or body["settled"]:
                    return
                number, at = number + 1, 0

    async def follow_journal(self, *, after: int = -1, build: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """Lines of the journal after position `after` (-1: from now on) as they come, without end."""
        while True:
            page = await self._journal(after, build, wait_ms=0 if after < 0 else WAIT_MS)
            after = page["position"]
            for note in page["notes"]:
                yield note

    async def follow_build(
        self, build: int, *, after: int = 0, timeout_ms: int | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """A build's lines of the journal, ending with that of its verdict.

        Raises:
            WaitOver: there is no verdict after `timeout_ms`.
        """
        until = None if timeout_ms is None else asyncio.get_running_loop().time() + timeout_ms / 1000
        wait_ms, settled = 0, False
        while True:
            page = await _before(until, build, self._journal(after, build, wait_ms=wait_ms))
            after = page["position"]
            for note in page["notes"]:
                yield note
                if note["what"] == "build" and note["state"] in VERDICTS:
                    return
            if not page["notes"] and settled:
                return
            # Its verdict may be older than `after`. One more page, because it may also have come since this one.
            answer = await _before(until, build, self.ask("build", {"build": build}))
            settled = answer.body["state"] in VERDICTS
            wait_ms = 0 if settled else WAIT_MS

    async def wait_for(self, build: int, *, timeout_ms: int | None = None) -> dict[str, Any]:
        """The build's document once it has a verdict. Raises WaitOver."""
        async for _ in self.follow_build(build, timeout_ms=timeout_ms):
            pass
        return await self.build(build)

    # ---- how -------------------------------------------------------------------------------------

    async def _journal(self, after: int, build: int | None, *, wait_ms: int) -> dict[str, Any]:
        about = {"after": after, "build": build, "wait_ms": wait_ms}
        page: dict[str, Any] = (await self.ask("journal", about, patience_ms=self._outage_ms if wait_ms else None)).body
        return page

    async def _complete(self, document: dict[str, Any]) -> dict[str, Any]:
        """Fetch the jobs that did not fit into the message, page by page."""
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


async def _before(until: float | None, build: int, asked: Coroutine[Any, Any, _Result]) -> _Result:
    """The answer, if it comes before `until` in the loop's time, be there a dispatcher or not. Raises WaitOver."""
    try:
        async with asyncio.timeout_at(until):
            return await asked
    except TimeoutError:
        sentence = f"Build {build} has no verdict yet; it goes on, and `surveil watch {build}` shows it."
        raise WaitOver(sentence) from None


def error_of(sentence: str, exit_code: int) -> SurveilError:
    """The error whose exit code this is, with the dispatcher's sentence."""
    kinds: dict[int, type[SurveilError]] = {
        ExitCode.USAGE: UsageError,
        ExitCode.INVALID: InvalidError,
        ExitCode.UNREACHABLE: UnreachableError,
        ExitCode.NOT_ALLOWED: NotAllowedError,
        ExitCode.NOT_FOUND: NotFoundError,
    }
    return kinds.get(exit_code, InfrastructureError)(sentence)
