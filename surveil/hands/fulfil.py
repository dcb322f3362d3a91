"""What clients wish for, done: each wish that `answer` checked becomes an event for the mind or a change at the
gate, and then a reply.

What belongs here: performing wishes. What does not: checking them (answer), and deciding what they lead to
(core).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import assert_never

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    PackWish,
    RekeyWish,
    RemoveSecretWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SecretWish,
    SubmitWish,
    TokenWish,
    Wish,
)
from surveil.answer.live import Live
from surveil.answer.views import time_text
from surveil.core.events import BuildWanted, Event, RunnerOrder, RunnerWanted
from surveil.core.peers import Role
from surveil.errors import InfrastructureError
from surveil.hands.gate import Gate
from surveil.hands.relay import Relay
from surveil.hands.safe import Safe
from surveil.protocol import CommitSeen
from surveil.store import Reader
from surveil.store.backup import Copied

Perform = Callable[[Event], Awaitable[None]]
"""Let an event happen, and return once what it did is on disk."""

Submit = Callable[[CommitSeen | BuildWanted, Callable[[int], None], str], bool]
"""Have a commit built, and tell its build's number once that is on disk; False when too many wait already."""


class Fulfiller:
    """Performs wishes through the dispatcher's hands."""

    def __init__(
        self,
        *,
        gate: Gate,
        perform: Perform,
        submit: Submit,
        back_up: Callable[[Path], Copied],
        live: Live,
        reader: Reader,
        safe: Safe,
        relay: Relay,
    ) -> None:
        self._gate = gate
        self._relay = relay
        self._safe = safe
        self._perform = perform
        self._submit = submit
        self._back_up = back_up
        self._live = live
        self._reader = reader

    async def fulfil(self, wish: Wish) -> Reply:
        """Do what is wished; the reply is true when it comes.

        Raises:
            SurveilError: a sentence for the asker.
        """
        match wish:
            case SubmitWish():
                return wish.reply(await self._built(wish.commit, wish.by))
            case RetryWish():
                return wish.reply(await self._built(wish.event, wish.event.by))
            case JobsWish():
                await self._perform(wish.event)
                return wish.reply(await self._state_of(wish.event.build))
            case RunnerWish():
                if wish.event.order == RunnerOrder.REVOKE:
                    await self._gate.revoke_peer(wish.event.runner)
                await self._perform(wish.event)
                return wish.reply()
            case TokenWish():
                token = await self._gate.make_token(wish.role, wish.labels, expires_ms=wish.expires_ms, uses=wish.uses)
                expires_at = time_text(token.expires_at)
                return wish.reply(token=token.text, token_id=token.id, expires_at=expires_at)
            case RevokeTokenWish():
                await self._gate.revoke_token(wish.token)
                return wish.reply()
            case RevokePeerWish():
                await self._gate.revoke_peer(wish.peer.key)
                if wish.peer.role is Role.RUNNER:
                    order = RunnerWanted(runner=wish.peer.key, order=RunnerOrder.REVOKE, reason=wish.reason)
                    await self._perform(order)
                return wish.reply()
            case PackWish() | LookWish():
                return await self._relayed(wish)
            case BackupWish():
                copied = await asyncio.to_thread(self._back_up, Path(wish.destination))
                return wish.reply(size_bytes=copied.size_bytes, left_out=copied.left_out)
            case SecretWish():
                await self._safe.set(wish.name, wish.scope, wish.value, wish.source, wish.by)
                return wish.reply()
            case RemoveSecretWish():
                await self._safe.remove(wish.name, wish.scope, wish.by)
                return wish.reply()
            case RekeyWish():
                return wish.reply(secrets=await self._safe.rekey(wish.by))
            case _:
                assert_never(wish)

    async def _relayed(self, wish: PackWish | LookWish) -> Reply:
        """What observers do for us."""
        if isinstance(wish, LookWish):
            return wish.reply(self._relay.look(wish.repo))
        return wish.reply(await self._relay.bring(wish.want, wish.wait_ms))

    async def _built(self, commit: CommitSeen | BuildWanted, by: str) -> int:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not self._submit(commit, lambda build: None if done.done() else done.set_result(build), by):
            raise InfrastructureError(
                "The dispatcher reads as many commits as it may already; submit again in a while."
            )
        return await done

    async def _state_of(self, build: int) -> str:
        """How a build stands after the commit; settled ones have left memory."""
        present = self._live.state.builds.get(build)
        if present is not None:
            return present.state.value
        detail = await asyncio.to_thread(self._reader.build, build)
        return "unknown" if detail is None else detail.build.state.value
