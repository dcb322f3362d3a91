"""Which tests of a shared list a shard runs next: batches on demand, the longest first.

What belongs here: from what was handed out, and what became of it, to the next batch. What does not: where that is
kept (`store.shards`), and who asks (`hands.sharding`).

Jobs that are shards of one suite share a list of items. An item is over once it passed, or once whoever ran it answers
for how it ended. What an attempt was given and has not told of is its own while it lives, and anybody's when it is
over: so a shard that is lost costs the batch in its hands, and nothing that it told before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from statistics import median
from typing import Final, Literal, TypeAlias

from surveil.frozen import dataclass
from surveil.protocol import BATCH_MAX, Case, ShardResult

ROUNDS: Final = 2
"""Each batch is this part of a fair share of what is left, so that the last ones are small and all end together."""
BATCH_MS_MIN: Final = 200
"""A question and its answer take milliseconds; less work than this at a time is not worth one."""

CASE_NAME_MAX: Final = 500
"""Characters of a test's name in a result, as everywhere."""

Fate: TypeAlias = Literal["open", "ended", "gone"]
"""Of an attempt: it lives, it came to a verdict of its own, or it was lost, errored or cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question of an attempt: what it had done since the one before, and what it was given."""

    job: str
    attempt: int
    seq: int
    done: tuple[ShardResult, ...]
    given: tuple[int, ...]


def waiting(count: int, asked: Iterable[Asked], fate: Callable[[str, int], Fate], asker: tuple[str, int]) -> list[int]:
    """The items, of `count`, that somebody has to run: the attempt `asker`, if it likes."""
    over: set[int] = set()
    held: set[int] = set()
    for one in asked:
        became = fate(one.job, one.attempt)
        # Whoever tries again runs again what did not pass, and nothing else.
        answered = became != "gone" and not (one.job == asker[0] and one.attempt < asker[1])
        over.update(result.item for result in one.done if answered or result.state in {"passed", "skipped"})
        if became == "open":
            held.update(one.given)
    return [item for item in range(count) if item not in over and item not in held]


def its_own(done: Iterable[ShardResult], asked: Iterable[Asked], asker: tuple[str, int]) -> tuple[ShardResult, ...]:
    """Of what an attempt says it has done, what it was given: nobody's word makes a test over that others are to run,
    or that nobody was given.
    """
    given = {item for one in asked if (one.job, one.attempt) == asker for item in one.given}
    return tuple(result for result in done if result.item in given)


def undone(asked: Iterable[Asked], asker: tuple[str, int]) -> int:
    """How many items an attempt was given and has not told of."""
    own = [one for one in asked if (one.job, one.attempt) == asker]
    return len({item for one in own for item in one.given} - {result.item for one in own for result in one.done})


def next_batch(left: Sequence[int], weights_ms: Sequence[int], shards: int) -> tuple[int, ...]:
    """What to run next, in the order of the list; empty where nothing is left."""
    longest_first = sorted(left, key=lambda item: (-weights_ms[item], item))
    enough_ms = max(BATCH_MS_MIN, sum(weights_ms[item] for item in left) // (ROUNDS * max(1, shards)))
    batch: list[int] = []
    total_ms = 0
    for item in longest_first[:BATCH_MAX]:
        if batch and total_ms + weights_ms[item] > enough_ms:
            break
        batch.append(item)
        total_ms += weights_ms[item]
    return tuple(sorted(batch))


def enough(took_ms: Sequence[int], *, target_ms: int, most: int, slots: int) -> int:
    """How many shards bring tests that take so long below the target: no more than are allowed, than find a slot (where
    nobody knows of any, all do), or than there is work for beside the longest test. One where nothing is known.
    """
    total_ms = sum(took_ms)
    if not total_ms:
        return 1
    useful = ceil(total_ms / max(took_ms))
    return max(1, min(ceil(total_ms / max(1, target_ms)), useful, most, slots or most))


def usual_ms(builds: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """How long each item usually takes, from how long it took in some builds: one slow machine moves no median."""
    found: dict[str, list[int]] = {}
    for each in builds:
        for item, took_ms in each.items():
            found.setdefault(item, []).append(took_ms)
    return {item: round(median(took)) for item, took in found.items()}


def case_of(item: str, result: ShardResult) -> Case:
    """What a shard told of an item, as a test report says it: pytest's names are taken apart as its own reports do, all
    others stay whole.
    """
    item = item.encode(errors="replace").decode()  # A name of a file may be no text, and results are shown.
    plain, bracket, values = item.partition("[")
    path, *classes = plain.split("::")
    name, suite = item, ""
    if classes:
        name = f"{classes.pop()}{bracket}{values}"
        suite = ".".join([path.removesuffix(".py").replace("/", "."), *classes])
    return Case(
        suite=suite[:CASE_NAME_MAX], name=name[:CASE_NAME_MAX], state=result.state, duration_ms=result.duration_ms
    )


def weights(items: Sequence[str], known_ms: Mapping[str, int]) -> list[int]:
    """How long each item takes, as far as is known; of others, as long as most. Never nothing at all."""
    middle_ms = round(median(known_ms.values())) if known_ms else BATCH_MS_MIN
    return [max(1, known_ms.get(item, middle_ms)) for item in items]
