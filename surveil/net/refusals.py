"""When a peer that the dispatcher does not let in gives up, and what it tells its user.

What belongs here: counting handshakes that failed in a row, asking who is there, and the sentences. What does not:
noticing them (connection), and ending (the roles).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from surveil.core.peers import Role
from surveil.errors import NotAllowedError, SurveilError, UnreachableError
from surveil.net.addresses import Address
from surveil.net.connection import Link

REFUSED_MAX: Final = 2
"""One refused handshake may meet a dispatcher that has not read its table yet; so many in a row mean us."""
STRANGE_MAX: Final = 3
"""So many handshakes fail, and as many again after somebody spoke, where somebody else holds the address."""
STRANGE_NEWS: Final = (
    "what answers at the dispatcher's address is not the dispatcher: it is away behind a forwarded port, or the "
    "address is somebody else's by now"
)
"""The first of such handshakes, for the log of whoever goes on trying."""
GREETING_S: Final = 1.0
"""So long one is listened for; whoever is asked has met no dispatcher yet, and has nothing else to do."""


def greets(address: Address) -> bool:
    """Whether somebody at this address speaks, as every dispatcher does before it is spoken to.

    A load balancer or a forwarded port takes connections and is silent, or closes them, while the dispatcher behind it
    is away; and so does the system for a dispatcher that stands still.
    """
    try:
        with socket.create_connection((address.host, address.port), GREETING_S) as connection:
            return connection.recv(1) != b""
    except OSError:
        return False


class Refusals:
    """What became of the handshakes of one process with its dispatcher."""

    def __init__(self, role: Role, address: Address, greets: Callable[[Address], bool] = greets) -> None:
        self._greets = greets
        self._role = role
        self._address = address
        self._refused = 0
        self._strange = 0
        self._asked_at = STRANGE_MAX
        """After so many strange handshakes it is asked who is there."""
        self._spoke = False
        """Whether somebody spoke when that was asked last."""
        self._met = False

    @property
    def is_news(self) -> bool:
        """Whether the failure just heard is the first of its row, and so worth a line."""
        return self._refused + self._strange == 1

    def hear(self, link: Link) -> SurveilError | None:
        """Take note of what became of a handshake; the error to end with, once there is no hope.

        A dispatcher that was met once may come back to an address that somebody else holds for a while, and one that
        is away may come back behind whatever takes its connections meanwhile.
        """
        match link:
            case Link.CONNECTED:
                self._refused = self._strange = 0
                self._asked_at, self._spoke = STRANGE_MAX, False
                self._met = True
            case Link.REFUSED:
                self._refused += 1
                if self._refused >= REFUSED_MAX:
                    return NotAllowedError(
                        f"the dispatcher at {self._address} refuses this {self._role}'s key: it was revoked or never "
                        f"enrolled; make a token with 'surveil token create --role {self._role}' on the dispatcher's "
                        "machine and join with --join TOKEN"
                    )
            case Link.STRANGE:
                self._strange += 1
                if not self._met and self._is_somebody_else():
                    return UnreachableError(
                        f"what answers at {self._address} does not hold the key of this {self._role}'s dispatcher: "
                        "check the address (--dispatcher ADDR); if the dispatcher was set up anew, join it with a new "
                        f"token of 'surveil token create --role {self._role}' (--join TOKEN)"
                    )
            case _:
                pass
        return None

    def _is_somebody_else(self) -> bool:
        """Whether somebody spoke at the address, and as many handshakes failed after that as before it: whoever has
        just come back to the address speaks too, but then the next handshake succeeds.
        """
        if self._strange < self._asked_at:
            return False
        spoke, self._spoke = self._spoke, self._greets(self._address)
        self._asked_at = self._strange + (STRANGE_MAX if self._spoke else 1)
        return spoke and self._spoke
