"""Who was let in a moment ago, so that each request of theirs is not looked up anew.

What belongs here: remembering visitors by what they showed, and when that is no longer so. What does not: looking them
up (`visitors`), and how passes are kept (`surveil.store.passes`).

Nobody is let in because they were: whoever revokes a pass, or changes a role, writes into the file of passes, from this
process or another one, and each request asks first whether anything was written there. Then nobody is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from surveil.frozen import dataclass
from surveil.store.passes import SEEN_MS, Kind, Pass

if TYPE_CHECKING:
    from surveil.web.visitors import Visitor

KEPT_MAX: Final = 10_000
"""So many are remembered; whoever was looked up longest ago goes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    visitor: Visitor
    until: int


class Recognised:
    """The visitors of one event loop; times are in milliseconds since 1970."""

    def __init__(self) -> None:
        self._mark: object = None
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def find(self, kind: Kind, secret: str, *, mark: object, now: int) -> Visitor | None:
        """Whoever has shown this, if nothing was written since they were looked up."""
        if mark is None:
            return None
        if mark != self._mark:
            self._known.clear()
            self._mark = mark
            return None
        known = self._known.get(_key(kind, secret))
        return known.visitor if known is not None and now < known.until else None

    def remember(self, kind: Kind, secret: str, shown: Pass, visitor: Visitor, *, mark: object, now: int) -> None:
        """This visitor was looked up after the file had this `mark`. They are looked up again when the use of their
        pass is to be noted again.
        """
        if mark is None or mark != self._mark:
            return
        noted_at = now if shown.seen_at is None or now - shown.seen_at > SEEN_MS else shown.seen_at
        self._known[_key(kind, secret)] = _Known(visitor=visitor, until=min(shown.expires_at, noted_at + SEEN_MS))
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)


def _key(kind: Kind, secret: str) -> bytes:
    """Secrets are not held for longer than a request takes."""
    return kind.encode() + sha256(secret.encode("utf-8", "replace")).digest()
