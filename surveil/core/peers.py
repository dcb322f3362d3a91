"""Who is known to a dispatcher, and as what.

What belongs here: the record of an enrolled key. What does not: where it is kept (store), who changes it (the
dispatcher's gate), and what a role may say (net).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from surveil.frozen import dataclass

LOCAL_CLIENT: Final = "local"
"""The client whose key the dispatcher keeps in its own data folder."""


class Role(StrEnum):
    """What a peer is to the dispatcher; it decides what the peer may say."""

    RUNNER = "runner"
    OBSERVER = "observer"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A key that is let in, or was until `revoked_at`. A revoked key never comes back; its machine enrols with a new
    one.

    A runner may carry the `labels` and no others; if there are none, it may call itself what it likes.
    """

    key: str
    role: Role
    name: str
    labels: tuple[str, ...] = ()
    created_at: int = 0
    revoked_at: int | None = None

    @property
    def revoked(self) -> bool:
        """Whether it is let in no more."""
        return self.revoked_at is not None
