"""Whose the connections of one socket are, and what one key may have of them: how many, and how much that nobody reads.

What belongs here: the lines that stand, the bounds for each key (and for all strangers together), and cutting what is
beyond. What does not: the socket itself (lane), messages that never end (endless), and how a connection is cut
(kernel).

Who is at the end of a connection is known from its first message on, as ZeroMQ tells it with each message and at no
other time. Until then a connection is silent. An honest bulk connection may be so for days, so silent ones are bounded
all together, and far above what a fleet needs: whoever was silent for longest is cut, and comes again.

What waits for a peer that does not read is bounded by ZeroMQ in messages alone, a thousand of them. How many bytes it
is follows from what was handed over and what the kernel says it was given; while there is nothing left of it, what the
encryption and ZeroMQ add is not counted up.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import zmq

from surveil.net.kernel import borrowed, bytes_written, cookie, hang_up
from surveil.net.monitor import ConnectionEvent
from surveil.net.zap import STRANGER_PREFIX

CONNECTIONS_MAX: Final = 256
"""Of one key to one socket, or of all strangers. A runner has one, and while its link comes and goes some that are half
open; all commands that somebody runs on the dispatcher's machine share a key.
"""
OWED_BYTES_MAX: Final = 16 * 1024 * 1024
"""So much may wait for one key on one socket, as much as the 64 chunks that may wait on a bulk connection."""
MEASURE_S: Final = 0.1
"""Whoever owes too much is looked at again after so long, however often something is to be said to it."""

SHAKEN_S: Final = 5.0
"""Whoever has not said a word for so long was let in: a handshake that takes longer is ended by ZeroMQ."""

Tell = Callable[[str, str, str], None]


@dataclass(slots=True)
class _Line:
    """A connection that has spoken. `handed` was handed over since libzmq had `written` so much to the kernel."""

    user: str
    route: bytes
    cookie: bytes
    written: int
    handed: int = 0


@dataclass(slots=True)
class _Tenant:
    """One key: its lines by descriptor, those that stand longest first; what may wait for it at most, and when that is
    measured again.
    """

    lines: dict[int, _Line] = field(default_factory=dict)
    owed: int = 0
    measure_at: float = 0.0


class Tenancy:
    """The connections of one socket. `tell` hears of each trouble: whose key (empty where nobody knows), `CROWDED` or
    `UNREAD`, and from which address.

    On systems other than Linux nothing is known of connections, and nothing is bounded.
    """

    CROWDED: Final = "crowded"
    UNREAD: Final = "unread"

    def __init__(self, silent_max: int, tell: Tell) -> None:
        self._silent_max = silent_max
        self._tell = tell
        self._lines: dict[int, _Line] = {}
        self._routes: dict[bytes, _Line] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._silent: dict[int, tuple[bytes, float]] = {}
        """The cookies of connections that have said nothing yet, and since when they stand; the oldest first."""
        self._new: set[int] = set()
        """Descriptors on which a connection spoke for the first time since the last news were read."""

    # ---- who is there ----------------------------------------------------------------------------------------------

    def spoke(self, descriptor: int, user: str, route: bytes) -> None:
        """A message came from this connection."""
        line = self._lines.get(descriptor)
        if line is None or line.route != route:
            self._begin(descriptor, user, route)

    def follow(self, events: Sequence[ConnectionEvent]) -> None:
        """Take note of connections that opened or closed, after the messages that are older than this news.

        The kernel gives the descriptor of a closed connection to the next one, so a closing that is not the last news
        of its number is not that of a line which spoke only just now.
        """
        last = {event.value: event for event in events}
        for event in events:
            if event.event == zmq.EVENT_DISCONNECTED and (event.value not in self._new or last[event.value] is event):
                self._end(event.value)
            elif event.event == zmq.EVENT_ACCEPTED and event.value not in self._new:
                self._open(event.value)
        self._new.clear()
        now = time.monotonic()
        while len(self._silent) > self._silent_max:
            oldest = next(iter(self._silent))
            named, since = self._silent[oldest]
            if now - since < SHAKEN_S:
                break
            del self._silent[oldest]
            self._cut(oldest, named, "")

    def _begin(self, descriptor: int, user: str, route: bytes) -> None:
        self._end(descriptor)
        if sys.platform != "linux":
            return
        # Whoever wants in with a token makes as many keys as it likes.
        user = STRANGER_PREFIX if user.startswith(STRANGER_PREFIX) else user
        with suppress(OSError), borrowed(descriptor) as connection:
            line = _Line(user, route, cookie(connection), bytes_written(connection))
            self._lines[descriptor] = self._routes[route] = line
            self._new.add(descriptor)
            lines = self._tenants.setdefault(user, _Tenant()).lines
            lines[descriptor] = line
            if len(lines) > CONNECTIONS_MAX:
                oldest = next(iter(lines))
                self._cut(oldest, lines.pop(oldest).cookie, user)

    def _open(self, descriptor: int) -> None:
        self._end(descriptor)
        if sys.platform != "linux":
            return
        with suppress(OSError), borrowed(descriptor) as connection:
            self._silent[descriptor] = (cookie(connection), time.monotonic())

    def _end(self, descriptor: int) -> None:
        self._silent.pop(descriptor, None)
        line = self._lines.pop(descriptor, None)
        if line is None:
            return
        del self._routes[line.route]
        tenant = self._tenants.get(line.user)
        if tenant is not None and tenant.lines.get(descriptor) is line:
            del tenant.lines[descriptor]
            if not tenant.lines:
                del self._tenants[line.user]

    def _cut(self, descriptor: int, named: bytes, user: str) -> None:
        address = hang_up(descriptor, named)
        if address is not None:
            self._tell(user, self.CROWDED, address)

    # ---- what waits for them ---------------------------------------------------------------------------------------

    def has_room(self, route: bytes, size: int) -> bool:
        """Whether so many more bytes may be said on this connection."""
        line = self._routes.get(route)
        tenant = None if line is None else self._tenants.get(line.user)
        if tenant is None or tenant.owed + size <= OWED_BYTES_MAX:
            return True
        now = time.monotonic()
        if now >= tenant.measure_at:
            tenant.owed = sum(_owed(descriptor, each) for descriptor, each in tenant.lines.items())
            if tenant.owed + size <= OWED_BYTES_MAX:
                return True
            tenant.measure_at = now + MEASURE_S
        assert line is not None, "only a line has a tenant"
        self._tell(line.user, self.UNREAD, "")
        return False

    def handed(self, route: bytes, size: int) -> None:
        """So many bytes were handed over for this connection."""
        line = self._routes.get(route)
        if line is not None and (tenant := self._tenants.get(line.user)) is not None:
            line.handed += size
            tenant.owed += size


def _owed(descriptor: int, line: _Line) -> int:
    """What libzmq still holds for this connection, about."""
    with suppress(OSError), borrowed(descriptor) as connection:
        if cookie(connection) != line.cookie:
            return 0
        written = bytes_written(connection)
        owed = line.handed - (written - line.written)
        if owed > 0:
            return owed
        line.handed, line.written = 0, written
    return 0
