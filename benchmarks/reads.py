"""Reads by the API, held against the framework's bare speed: how many a second, and what each takes of the processor.

What belongs here: which reads, and what each is held against. What does not: servers (`web`, `bare`), and pages
(`pages`).

A document that was read before is held against the framework that has it ready. One that nobody has read is made of
rows first, and held against the framework that reads these rows for each request, as it would without us; beside that
stands what it is to the framework that has it ready, which nobody can reach who reads anything.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from benchmarks.figures import Usage, in_turns, say
from benchmarks.web import Web, bare_at, bare_of

LATELY: Final = 200
"""The builds that programs ask for over and over; all others are mostly asked for the first time."""
CONNECTIONS: Final = 4
Speed: TypeAlias = tuple[float, float]
"""Reads a second, and microseconds of processor time for each."""
Address: TypeAlias = Callable[[], str]


def first_reads(builds: int) -> dict[str, Address]:
    """By name what is mostly read for the first time: any of so many builds."""
    dice = random.Random(2)
    return {
        "a build": lambda: f"/api/v1/builds/{dice.randrange(1, builds)}",
        "twenty builds": lambda: f"/api/v1/builds?before={dice.randrange(100, builds)}",
        "twenty without their jobs": lambda: f"/api/v1/builds?jobs=false&before={dice.randrange(100, builds)}",
    }


def further_reads(builds: int) -> dict[str, Address]:
    """By name what was read before: the last ones."""
    dice, lately = random.Random(2), range(max(1, builds - LATELY), builds)
    return {
        "one of the last builds": lambda: f"/api/v1/builds/{dice.choice(lately)}",
        "twenty of the last builds": lambda: f"/api/v1/builds?before={dice.choice(lately)}",
        "the last twenty without their jobs": lambda: "/api/v1/builds?jobs=false",
    }


def compare(folder: Path, data: Path, web: Web, *, builds: int, seconds: float, pairs: int) -> dict[str, float]:
    """By read its share of the bare speed that it is held against."""
    found: dict[str, float] = {}
    with bare_at(data) as bare:
        for name, address in first_reads(builds).items():
            found[name] = _share(f"{name}, first read", web, bare, address, seconds=seconds, pairs=pairs)
            with bare_of(folder, web.connect().get(address())) as ready:
                _share(f"{name}, to one that is ready", web, ready, address, seconds=seconds, pairs=pairs)
    for name, address in further_reads(builds).items():
        with bare_of(folder, web.connect().get(address())) as ready:
            found[name] = _share(name, web, ready, address, seconds=seconds, pairs=pairs)
    return found


def _share(name: str, web: Web, bare: Web, address: Address, *, seconds: float, pairs: int) -> float:
    ours, theirs = in_turns(lambda: _speed(web, address, seconds), lambda: _speed(bare, address, seconds), pairs=pairs)
    mine, cost = _middle(ours)
    limit, least = _middle(theirs)
    say(
        f"{name}, by the API: {mine:.0f}/s and {cost:.0f} us of CPU, bare {limit:.0f}/s and {least:.0f} us: "
        f"{mine / limit:.2f} of the speed, {least / cost:.2f} by CPU"
    )
    return mine / limit


def _middle(speeds: Sequence[Speed]) -> Speed:
    return statistics.median(per_s for per_s, _ in speeds), statistics.median(us for _, us in speeds)


def _speed(web: Web, address: Address, seconds: float) -> Speed:
    """What several connections read in this time."""
    counts = [0] * CONNECTIONS
    until = time.monotonic() + seconds

    def read(mine: int) -> None:
        connection = web.connect()
        while time.monotonic() < until:
            connection.get(address())
            counts[mine] += 1

    usage, begun = Usage(web.pid), time.monotonic()
    threads = [threading.Thread(target=read, args=(mine,)) for mine in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = max(1, sum(counts))
    return done / (time.monotonic() - begun), usage.cpu_s() / done * 1e6
