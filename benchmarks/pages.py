"""Pages and the API over a store with a million builds: how long each page takes while jobs are dispatched and how
heavy it is, how near reads are to the framework's bare speed (`reads`), and what readers and indexes cost the
dispatcher.

`python -m benchmarks.pages [--builds N] [--data FOLDER] [--only pages,api,dispatch,indexes]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from benchmarks import reads
from benchmarks.cluster import (
    Dispatcher,
    PeerKey,
    client_of,
    dispatching,
    let_in,
    noop_pipeline,
    scratch,
    submission,
)
from benchmarks.dispatch import run_builds
from benchmarks.figures import Figure, Usage, in_turns, percentile, say, spread
from benchmarks.past import CALM, REPOS, TESTED, newest_of, write_past
from benchmarks.sprint import sprinters
from benchmarks.web import Web, bare_of, web_of, weigh

BUILDS: Final = 1_000_000
P99_MS: Final = 60.0
WEIGHT: Final = 100_000
BARE_SHARE: Final = 0.6
MOVED: Final = 0.05
JOBS_A_BUILD: Final = 20
BUILDS_A_S: Final = 10
"""What goes on while pages are timed: two hundred jobs a second."""
PAGES_A_S: Final = 10
"""What is read while dispatch is timed."""
SLOTS: Final = 8
Speed: TypeAlias = tuple[float, float]
"""Jobs a second, and microseconds of the dispatcher's processor time for each."""
WARM: Final = 5


# ---- pages ---------------------------------------------------------------------------------------------------------


def addresses(builds: int) -> dict[str, Callable[[random.Random], str]]:
    """By name the pages that are timed; chance turns to another page of a list each time, as no two people look at the
    same.
    """
    calm, some, tested = quote(CALM, safe=""), quote(REPOS[5], safe=""), newest_of(TESTED, builds)

    def anywhere(query: str) -> Callable[[random.Random], str]:
        return lambda dice: f"/builds?{query}&before={dice.randrange(builds // 2, builds)}"

    return {
        "list of builds": lambda dice: f"/builds?before={dice.randrange(100, builds)}",
        "newest builds": lambda _dice: "/builds",
        "failed": anywhere("state=failed"),
        "of a repository": anywhere(f"repo={some}"),
        "of a ref": anywhere(f"repo={some}&ref=topic-7"),
        "of an event": anywhere("event=schedule"),
        "of a ref of any repository": anywhere("ref=topic-7"),
        "of an author": anywhere("author=person-7%40example.org"),
        "failed of an author": anywhere("author=Person%2013&state=failed"),
        "of nobody": anywhere("author=nobody&ref=nothing"),
        "failed of the repository that hardly fails": lambda _dice: f"/builds?repo={calm}&state=failed",
        "failed of a ref of it": lambda _dice: f"/builds?repo={calm}&ref=main&state=failed",
        "overview": lambda _dice: "/",
        "repositories": lambda _dice: "/repositories",
        "a build": lambda dice: f"/builds/{dice.randrange(1, builds)}",
        "the build of a thousand jobs": lambda _dice: f"/builds/{builds}",
        "tests of a build": lambda dice: f"/builds/{tested - 20 * dice.randrange(40)}/tests",
        "history of a test": lambda _dice: f"/builds/{tested}/tests/history?suite=tests.test_prices&name=test_price_1",
        "story of a build": lambda dice: f"/builds/{dice.randrange(1, builds)}/story",
        "runners": lambda _dice: "/runners",
        "artifacts": lambda _dice: "/artifacts",
        "settings": lambda _dice: "/settings",
    }


def time_bare(folder: Path, web: Web, times: int) -> list[float]:
    """How many milliseconds each of so many requests for a list took of the framework that has it ready."""
    with bare_of(folder, json.dumps({"page": web.connect().get("/builds").decode()}).encode()) as bare:
        connection = bare.connect()
        took = []
        for _ in range(times + WARM):
            begun = time.perf_counter()
            connection.get("/document")
            took.append((time.perf_counter() - begun) * 1000)
    return took[WARM:]


def time_pages(web: Web, builds: int, times: int, warm: int) -> dict[str, tuple[list[float], int]]:
    """By page how many milliseconds each of so many requests took, and the weight of the heaviest."""
    dice, connection = random.Random(1), web.connect()
    found: dict[str, tuple[list[float], int]] = {}
    for name, address in addresses(builds).items():
        took: list[float] = []
        heaviest, usage = b"", Usage(web.pid)
        for turn in range(times + warm):
            path = address(dice)
            begun = time.perf_counter()
            page = connection.get(path)
            if turn >= warm:
                took.append((time.perf_counter() - begun) * 1000)
            heaviest = max(heaviest, page, key=len)
        cpu_ms = usage.cpu_s() / (times + warm) * 1000
        found[name] = (took, weigh(connection, heaviest))
        say(f"{name}: {spread(took)}, {cpu_ms:.1f} ms of CPU each, {found[name][1] / 1000:.0f} kB")
    return found


@contextlib.contextmanager
def at_work(data: Path, dispatcher: Dispatcher, peers: Sequence[PeerKey]) -> Iterator[None]:
    """Builds that come all the time and are dispatched."""
    stop = threading.Event()

    async def submit() -> None:
        pipeline = noop_pipeline(JOBS_A_BUILD)
        async with client_of(data) as client:
            number = time.time_ns() // 1_000_000_000 * 1000
            while not stop.is_set():
                number += 1
                await client.ask("submit", submission(number, pipeline))
                await asyncio.sleep(1 / BUILDS_A_S)

    with sprinters(dispatcher, peers, SLOTS):
        thread = threading.Thread(target=lambda: asyncio.run(submit()), name="submitting")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


# ---- what it costs the dispatcher ----------------------------------------------------------------------------------


async def dispatched(
    data: Path, dispatcher: Dispatcher, peers: Sequence[PeerKey], options: argparse.Namespace
) -> Speed:
    """Jobs a second at full speed, and microseconds of the dispatcher's CPU for each."""
    builds, each = options.dispatched, options.jobs_per_build
    first = time.time_ns() // 1_000_000
    with sprinters(dispatcher, peers, SLOTS) as runners:
        tallies = [tally for _, tally in runners]
        async with client_of(data) as client:
            # Not until they are online: whoever follows such a journal from its beginning has a lot to read.
            await run_builds(client, tallies, first, 2, each)
            usage = Usage(dispatcher.pid)
            took_s = await run_builds(client, tallies, first + 2, builds, each)
    jobs = builds * each
    return jobs / took_s, usage.cpu_s() / jobs * 1e6


@contextlib.contextmanager
def being_read(web: Web, builds: int) -> Iterator[None]:
    """Somebody who turns page after page, so many a second."""
    stop, dice = threading.Event(), random.Random(3)
    pages = list(addresses(builds).values())

    def read() -> None:
        connection = web.connect()
        while not stop.wait(1 / PAGES_A_S):
            connection.get(dice.choice(pages)(dice))

    thread = threading.Thread(target=read, name="reading")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def without_indexes(data: Path) -> Iterator[None]:
    """The store without what lists are found by."""
    database = sqlite3.connect(data / "surveil.db", isolation_level=None)
    try:
        kept = database.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE name IN ('builds_not_passed', 'builds_repo_not_passed', 'builds_event', 'builds_author')"
        ).fetchall()
        for name, _ in kept:
            database.execute(f"DROP INDEX {name}")
        yield
        for _, sql in kept:
            database.execute(sql)
    finally:
        database.close()


def moved(what: str, with_it: Sequence[Speed], without: Sequence[Speed]) -> Figure:
    """How dispatch with something compares with dispatch without it, pair by pair."""
    pairs = list(zip(with_it, without, strict=True))
    speeds, costs = ([mine[of] / theirs[of] for mine, theirs in pairs] for of in (0, 1))
    speed, cost = statistics.median(speeds), statistics.median(costs)
    say(
        f"dispatch {what}: jobs/s {', '.join(f'{each:.2f}' for each in speeds)}; CPU a job "
        f"{', '.join(f'{each:.2f}' for each in costs)}; {statistics.median(each[1] for each in with_it):.0f} us"
    )
    return Figure(
        what=f"dispatch {what}", value=f"{speed:.3f} of the jobs/s, {cost:.3f} of the dispatcher's CPU a job",
        limit="dispatch without", ratio=speed, target=f"{1 - MOVED} and {1 + MOVED}",
        met=speed >= 1 - MOVED and cost <= 1 + MOVED,
    )  # fmt: skip


def beside_pages(
    data: Path, dispatcher: Dispatcher, web: Web, peers: Sequence[PeerKey], options: argparse.Namespace
) -> Figure:
    """What readers of pages take from dispatch."""

    def alone() -> Speed:
        return asyncio.run(dispatched(data, dispatcher, peers, options))

    def read() -> Speed:
        with being_read(web, options.builds):
            return alone()

    alone()  # The first one reads the journal of all before it.
    return moved(f"while {PAGES_A_S} pages a second are read", *in_turns(read, alone, pairs=options.pairs))


def with_indexes(data: Path, peers: Sequence[PeerKey], options: argparse.Namespace) -> Figure:
    """What dispatch pays for the indexes that lists go by."""

    def have() -> Speed:
        with dispatching(data) as dispatcher:
            return asyncio.run(dispatched(data, dispatcher, peers, options))

    def lack() -> Speed:
        with without_indexes(data):
            return have()

    return moved("with the indexes that lists go by", *in_turns(have, lack, pairs=options.pairs))


# ---- all of it -----------------------------------------------------------------------------------------------------


def measure(folder: Path, data: Path, options: argparse.Namespace, peers: Sequence[PeerKey]) -> list[Figure]:
    """What was asked for, over a store that is there."""
    builds, only = options.builds, options.only.split(",")
    found: list[Figure] = []
    with dispatching(data) as dispatcher, web_of(data) as web:
        if "pages" in only:
            with at_work(data, dispatcher, peers):
                pages = time_pages(web, builds, options.times, options.warm)
                bare = percentile(time_bare(folder, web, options.times), 0.99)
            listed = percentile(pages["list of builds"][0], 0.99)
            worst = max((percentile(took, 0.99), name) for name, (took, _) in pages.items())
            heaviest = max((weight, name) for name, (_, weight) in pages.items())
            found.append(Figure(
                what=f"pages over {builds} builds while jobs are dispatched", target=f"{P99_MS:.0f} ms and 100 kB",
                value=f"list p99 {listed:.1f} ms, slowest p99 {worst[0]:.1f} ms ({worst[1]}), heaviest "
                f"{heaviest[0] / 1000:.0f} kB ({heaviest[1]})", met=listed <= P99_MS and heaviest[0] <= WEIGHT,
                limit=f"p99 {bare:.1f} ms for the framework that has the list ready", ratio=listed / bare,
            ))  # fmt: skip
        if "api" in only:
            shares = reads.compare(folder, data, web, builds=builds, seconds=options.seconds, pairs=options.pairs)
            least = min(shares.values())
            found.append(Figure(
                what="reads by the API", value=f"{least:.2f} of bare speed at least", ratio=least,
                limit="the framework with the same document, or reading the same rows for one that nobody read",
                target=f"{BARE_SHARE}", met=least >= BARE_SHARE,
            ))  # fmt: skip
        if "dispatch" in only:
            found.append(beside_pages(data, dispatcher, web, peers, options))
    if "indexes" in only:
        found.append(with_indexes(data, peers, options))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.pages", description="Pages over many builds.")
    parser.add_argument("--builds", type=int, default=BUILDS)
    parser.add_argument(
        "--data", type=Path, help="a folder that this benchmark filled, or that it is to fill and leave"
    )
    parser.add_argument("--only", default="pages,api,dispatch,indexes")
    parser.add_argument("--times", type=int, default=200, help="requests of each page")
    parser.add_argument("--warm", type=int, default=WARM, help="requests of each page before these")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each read is repeated")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--dispatched", type=int, default=150, help="builds of each run of the dispatcher")
    parser.add_argument("--jobs-per-build", type=int, default=JOBS_A_BUILD, help="jobs of each of these")
    options = parser.parse_args(arguments)
    with scratch() as folder:
        data = options.data or folder / "data"
        if not data.exists():
            begun = time.monotonic()
            write_past(data, options.builds)
            say(f"{options.builds} builds were written in {time.monotonic() - begun:.0f} s")
        peers = let_in(data, [f"sprinter-{time.time_ns()}-{number}" for number in range(2)])
        figures = measure(folder, data, options, peers)
    for figure in figures:
        say(str(figure))


if __name__ == "__main__":
    main()
