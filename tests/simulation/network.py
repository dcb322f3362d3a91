"""The ways between peers and the dispatcher: connections, and what becomes of messages on them.

What belongs here: delay, loss, repetition, disorder, cuts and clogs. What does not: when a way is cut
(faults) and what is said (hands).

The real hands speak over TCP through ZeroMQ, so on a healthy way nothing is lost, repeated or out of order;
worlds that are `ordered` and without `loss_pm` and `twice_pm` are like that. The others are worse than TCP on
purpose: the rules of the protocol must hold there too. Words of a connection that is gone may still come
(`stale_pm`), as they do from ZeroMQ's queues, to whichever process now stands at the other end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from surveil.protocol import Message, decode, encode

if TYPE_CHECKING:
    from tests.simulation.world import World


_GHOST_MS = 12_000


class Caller(Protocol):
    """A process that dials: an agent or an observer."""

    alive: bool

    def connected(self, line: Line) -> None: ...
    def disconnected(self, line: Line) -> None: ...
    def hear(self, line: Line, message: Message) -> None: ...


class Listener(Protocol):
    """A process that is dialled: a dispatcher."""

    alive: bool
    paused: bool

    def hear(self, line: Line, message: Message) -> None: ...
    def closed(self, line: Line) -> None: ...


class Line:
    """One connection, from its beginning to its end."""

    __slots__ = ("caller", "listener", "number", "open", "via", "way")

    def __init__(self, number: int, way: Way, caller: Caller, listener: Listener) -> None:
        self.number = number
        self.via = number.to_bytes(8)
        """What the mind knows of it."""
        self.way = way
        self.caller = caller
        self.listener = listener
        self.open = True


class _Direction:
    """One direction of a way; `held` collects what a clog holds back."""

    __slots__ = ("bulk_last_at", "cut", "held", "last_at")

    def __init__(self) -> None:
        self.cut = False
        self.held: list[Callable[[], None]] | None = None
        self.last_at = 0
        self.bulk_last_at = 0


class Way:
    """Everything between one peer and the dispatcher's address."""

    def __init__(self, world: World, peer: str) -> None:
        self.world = world
        self.peer = peer
        self.up = _Direction()
        self.down = _Direction()
        self.line: Line | None = None
        self.flap_until = 0

    # ---- connections ---------------------------------------------------------------------------------------

    def dial(self, caller: Caller) -> None:
        """Try to connect, again and again, as a ZeroMQ socket does by itself."""
        if not caller.alive or (self.line is not None and self.line.open and self.line.caller is caller):
            return
        world = self.world
        listener = world.dispatcher
        if listener is None or not listener.alive or listener.paused or self.blocked:
            world.schedule.after(world.dice.randint(200, 900), self.dial, caller)
            return
        if self.line is not None:
            self.close(self.line)
        line = self.line = Line(world.next_number(), self, caller, listener)
        world.schedule.after(2 * self.delay(), self._connected, line)

    def _connected(self, line: Line) -> None:
        if line.open and line.caller.alive:
            line.caller.connected(line)

    @property
    def blocked(self) -> bool:
        """Whether no new connection could be made now."""
        return self.up.cut or self.down.cut or self.up.held is not None or self.down.held is not None

    def close(self, line: Line, *, by_caller: bool = False) -> None:
        """End a connection. The end that did not close it learns of it only if the way carries the news."""
        if not line.open:
            return
        line.open = False
        world = self.world
        if line.listener.alive and not self.up.cut and world.chance(world.options.seen_close_pm):
            world.schedule.after(self.delay(), self._listener_sees, line)
        if line.caller.alive and not by_caller:
            world.schedule.after(self.delay(), self._caller_sees, line)

    def _listener_sees(self, line: Line) -> None:
        if line.listener.alive:
            line.listener.closed(line)

    def _caller_sees(self, line: Line) -> None:
        if line.caller.alive:
            line.caller.disconnected(line)
            self.dial(line.caller)

    # ---- messages ------------------------------------------------------------------------------------------

    def say_up(self, line: Line, message: Message, *, bulk: bool = False) -> None:
        self._say(self.up, line, message, self._arrive_up, bulk=bulk)

    def say_down(self, line: Line, message: Message, *, bulk: bool = False) -> None:
        self._say(self.down, line, message, self._arrive_down, bulk=bulk)

    def _say(
        self, side: _Direction, line: Line, message: Message, arrive: Callable[[Line, Message], None], *, bulk: bool
    ) -> None:
        world, options = self.world, self.world.options
        if world.chance(options.codec_pm):
            message = decode(encode(message))
        if side.cut or (world.faulty and world.chance(options.loss_pm)):
            return
        copies = 1
        if world.faulty and world.chance(options.twice_pm):
            if not options.ordered and world.chance(options.ghost_pm):
                world.schedule.after(world.dice.randint(1_000, _GHOST_MS), arrive, line, message)
            else:
                copies = 2
        for _ in range(copies):
            if side.held is not None:
                side.held.append(lambda: arrive(line, message))
                continue
            at = world.schedule.now + self.delay()
            if options.ordered:
                at = max(at, side.bulk_last_at if bulk else side.last_at)
                if bulk:
                    side.bulk_last_at = at
                else:
                    side.last_at = at
            world.schedule.at(at, arrive, line, message)

    def delay(self) -> int:
        """How long the next message takes."""
        most = self.world.options.delay_ms
        if not most:
            return 1
        return self.world.dice.randint(most // 4, most)

    def _arrive_up(self, line: Line, message: Message) -> None:
        if not line.open and not self.world.chance(self.world.options.stale_pm):
            return
        listener = line.listener if line.listener.alive else self.world.dispatcher
        if listener is not None and listener.alive:
            listener.hear(line, message)

    def _arrive_down(self, line: Line, message: Message) -> None:
        if not line.open and not self.world.chance(self.world.options.stale_pm):
            return
        caller = line.caller
        if not caller.alive and self.line is not None:
            caller = self.line.caller
        if caller.alive:
            caller.hear(line, message)

    # ---- misfortunes ---------------------------------------------------------------------------------------

    def cut(self, *, up: bool, down: bool) -> None:
        """Lose everything that is said from now on, in one direction or both."""
        self.up.cut, self.down.cut = self.up.cut or up, self.down.cut or down

    def clog(self) -> None:
        """Hold back everything that is said from now on."""
        self.up.held = self.up.held or []
        self.down.held = self.down.held or []

    def mend(self) -> None:
        """Let the way carry again; what a clog held comes out, in any order unless the world is ordered."""
        for side in (self.up, self.down):
            side.cut = False
            held, side.held = side.held or [], None
            if not self.world.options.ordered:
                self.world.dice.shuffle(held)
            for arrive in held:
                at = side.last_at = max(self.world.schedule.now + 1, side.last_at)
                self.world.schedule.at(at, arrive)
