"""The order in which a runner does what was decided: first the tombstone, then the deed.

What belongs here: waiting for tombstones to be on the platter. What does not: the file of them (`execute.identity`),
and doing (`runner`).

Tombstones are written in a thread, many at a time. Whatever was decided after one waits for it, except for heartbeats
and introductions, which no slow disk may delay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from surveil.core.run_events import Effect, Event, Send, TombstoneFailed, WriteTombstone
from surveil.execute.identity import Tombstones
from surveil.protocol import Heartbeat, Hello


class Orders:
    """Gives effects to `do`, each when its time has come.

    `hold` notes on disk what an order is about and raises OSError where it cannot; `tell` lets the mind know what could
    not be written; `start` starts a task of the owner.
    """

    def __init__(
        self,
        tombstones: Tombstones,
        *,
        hold: Callable[[WriteTombstone], None],
        do: Callable[[Effect], None],
        tell: Callable[[Event], None],
        start: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._tombstones = tombstones
        self._hold = hold
        self._do = do
        self._tell = tell
        self._start = start
        self._waiting: list[list[Effect]] = []
        """What waits for a tombstone to be on the platter, or behind one that does."""
        self._syncing = False

    def follow(self, effects: list[Effect]) -> None:
        """Do what was decided together, now unless it must wait for a tombstone."""
        if any(isinstance(effect, WriteTombstone) for effect in effects) or (
            self._waiting and not all(_is_sign_of_life(effect) for effect in effects)
        ):
            self._waiting.append(effects)
        else:
            self._do_all(effects)
        if self._waiting and not self._syncing:
            self._syncing = True
            self._start(self._sync())

    async def _sync(self) -> None:
        """Put the tombstones that wait on the platter, then do all that waited, in its order."""
        try:
            while self._waiting:
                batch = list(self._waiting)
                written = [effect.id for effects in batch for effect in effects if isinstance(effect, WriteTombstone)]
                failure = ""
                try:
                    await asyncio.to_thread(self._tombstones.write, written)
                except OSError as error:
                    failure = str(error.strerror)
                del self._waiting[: len(batch)]
                for effects in batch:
                    self._do_batch(effects, failure)
        finally:
            self._syncing = False

    def _do_batch(self, effects: list[Effect], failure: str) -> None:
        orders = [effect for effect in effects if isinstance(effect, WriteTombstone)]
        if orders and not failure:
            failure = self._hold_all(orders)
        if orders and failure:
            for order in orders:
                self._tell(TombstoneFailed(id=order.id, reason=failure))
        else:
            self._do_all(effects)

    def _hold_all(self, orders: list[WriteTombstone]) -> str:
        """Note all of it on disk; return why it could not be, if so."""
        try:
            for order in orders:
                self._hold(order)
        except OSError as error:
            return str(error.strerror)
        return ""

    def _do_all(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._do(effect)


def _is_sign_of_life(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.message, Heartbeat | Hello)
