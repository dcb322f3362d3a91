"""How long the tests of a suite took lately, as its shards told.

What belongs here: which builds are asked, and how many. What does not: what follows for a shard (`core.shards`), and
rows (`store.shards`).

A ref knows its own tests best; those that are new on it may be known on the main branch, which most of them came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from surveil.core.shards import usual_ms
from surveil.core.shared_lists import unpack
from surveil.frozen import dataclass
from surveil.store import Reader
from surveil.store.shards import known_ms

BUILDS_MAX: Final = 5
"""So many builds of a ref are asked: enough for a median, and few enough that a test which became slow is found out."""
ITEMS_MAX: Final = 200_000
"""More items than these are not read for one answer, beyond the newest list."""


@dataclass(frozen=True, slots=True)
class Lately:
    """The durations of all tests that are known, and the tests of the newest list among them."""

    took_ms: Mapping[str, int]
    items: tuple[str, ...] = ()

    @property
    def newest_ms(self) -> list[int]:
        """How long each test takes that the suite has now, as far as is known."""
        return [self.took_ms[item] for item in self.items if item in self.took_ms]


def lately(reader: Reader, repo: str, suite: str, *, ref: str, base: str, before: int | None = None) -> Lately:
    """Ask the last builds of the ref, for what these do not know those of its `base`, and if neither knows anything
    the last ones of the repository. Raises StoreError.
    """
    took_ms: dict[str, int] = {}
    items: tuple[str, ...] = ()
    room = ITEMS_MAX
    for asked in (*dict.fromkeys(each for each in (ref, base) if each), None):
        if asked is None and took_ms:
            break
        builds: list[Mapping[str, int]] = []
        for sharing in reader.shared_before(repo, suite, ref=asked, before=before, limit=BUILDS_MAX):
            found = unpack(sharing.items)
            if room < len(found) and items:
                break
            room -= len(found)
            items = items or tuple(found)
            builds.append(known_ms(found, sharing))
        took_ms = usual_ms(builds) | took_ms
    return Lately(took_ms, items)
