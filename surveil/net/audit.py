"""What enrolled peers did that they should not: said what they may not or what is not so, or took too much. It is
counted, and told with their names.

What belongs here: how often, by whom, and how seldom that is told. What does not: judging (admission, core, hands), and
trouble that has no name (counts).

None of it had its way. But a runner that does such things was broken into or is badly mistaken, and a person should
look at it; and whoever does them all day must not fill the disk with our complaints.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from threading import Lock
from typing import Final

from surveil.net.admission import Sender
from surveil.say import Voice

SILENCE_MS: Final = 60_000
"""Between two lines about one peer."""
PEERS_MAX: Final = 1_000
"""So many are remembered; whoever was good for longest is forgotten first."""

MAY_NOT: Final = "may_not_say"
"""Messages that its role does not say on this connection, or at all any more."""
MALFORMED: Final = "malformed"
ENDLESS: Final = "endless_messages"
CROWDED: Final = "connections_too_many"
UNREAD: Final = "answers_not_read"
NOT_ITS_OWN: Final = "attempts_not_its_own"
LOG_REFUSED: Final = "output_refused"
NO_BUSINESS: Final = "commits_not_its_business"
LABELS: Final = "labels_not_granted"
TOKENS: Final = "tokens_refused"
TURNED_AWAY: Final = "hellos_refused"
"""Of a copy of its data folder, or of another installation."""
HELLOS: Final = "hellos_too_often"

voice = Voice("audit")


class Audit:
    """Counts from any thread; `look` tells what is new, `worst` what there was."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: OrderedDict[tuple[str, str], Counter[str]] = OrderedDict()
        self._totals: dict[tuple[str, str], Counter[str]] = {}
        self._silent_until: dict[tuple[str, str], int] = {}

    def count(self, peer: Sender, what: str, times: int = 1) -> bool:
        """This peer did that; whether for the first time since it was last told, so that more may be said of it now."""
        # Strangers have keys and no names; they are told of together.
        key = (str(peer.role), peer.name)
        with self._lock:
            counts = self._counts.setdefault(key, Counter())
            counts[what] += times
            self._totals.setdefault(key, Counter())[what] += times
            self._counts.move_to_end(key)
            if len(self._counts) > PEERS_MAX:
                forgotten = self._counts.popitem(last=False)[0]
                self._silent_until.pop(forgotten, None)
                del self._totals[forgotten]
            return counts[what] == times

    def worst(self, most: int) -> list[tuple[str, str, dict[str, int]]]:
        """The peers that did the most of it since the start: role, name, and how often what."""
        with self._lock:
            found = [(role, name, dict(counts)) for (role, name), counts in self._totals.items()]
        return sorted(found, key=lambda each: sum(each[2].values()), reverse=True)[:most]

    def look(self, now: int | None) -> None:
        """Tell what was not told yet, at `now` milliseconds of a clock that only goes forward; at the end, with None,
        of everybody.
        """
        with self._lock:
            due = [
                (key, counts)
                for key, counts in self._counts.items()
                if counts and (now is None or now >= self._silent_until.get(key, now))
            ]
            for key, _ in due:
                self._counts[key] = Counter()
                self._silent_until[key] = (now or 0) + SILENCE_MS
        for (role, name), counts in due:
            voice.warning(
                "a peer does what it should not, counted since it was last told",
                **{"peer": name, "role": role, **counts},
            )
