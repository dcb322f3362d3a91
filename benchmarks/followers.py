"""Looking at logs: how soon the end of one with a gigabyte and ten million lines is on the screen of a real browser,
how soon a line is there that a step writes, and what a thousand followers of one log and two hundred slow readers take
from the dispatcher, which hands out jobs meanwhile.

`python -m benchmarks.followers [--lines N] [--paints N] [--written N] [--followers N] [--slow N] [--jobs N]
[--pairs N]`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from benchmarks.cluster import client_of, dispatching, let_in, scratch, submission, until_online
from benchmarks.dispatch import run_builds
from benchmarks.figures import Figure, Usage, say, spread
from benchmarks.readers import ELSEWHERE, Heard, reading
from benchmarks.real import commit_of, real_runners, small_repository
from benchmarks.serving import Pages, keep_logs, serving, signed_in
from benchmarks.sprint import sprinters
from surveil.client.asking import Client
from tests.system.browsing import Seen

PAINT_MS: Final = 500
SCREEN_MS: Final = 100
SHARE: Final = 0.05
PATIENCE_S: Final = 120.0
PIECE_LINES: Final = 10_000
SHORT_LINES: Final = 100
LAST: Final = "the last of many lines"
PAUSE_S: Final = 0.05
LOOK_MS: Final = 50
LINES_MAX: Final = 100_000
EARLY_LINES: Final = 200_000
"""20 MB, which those who begin there and read slowly never see the end of."""
EARS: Final = 20
"""Of the followers so many note when lines reach them, by a process that is as quick as others."""
WARM_UP: Final = 40
SETTLE_S: Final = 2.0
JOBS_PER_BUILD: Final = 200
LOG: Final = "/builds/{build}/jobs/test/attempts/1"
EMPTY: Final = "/healthz"
"""What the browser and the machine take for a page with next to nothing in it."""
FOLLOW: Final = "/api/v1/builds/1/jobs/test/log/rows/follow?attempt=1&at={at}"
TALK: Final = """import sys, time
sys.stdout.write(("x" * 99 + chr(10)) * {early})
sys.stdout.flush()
for _ in range({count}):
    time.sleep({pause})
    print("now", time.time_ns(), flush=True)
"""
PAINTED: Final = """
const look = () => {
  const box = document.querySelector(".log-rows")?.getBoundingClientRect();
  const row = [...document.querySelectorAll(".log-rows .text")].at(-1);
  const place = row?.getBoundingClientRect();
  if (row?.textContent === WANTED && place.top >= box.top && place.bottom <= box.bottom) {
    requestAnimationFrame(() => (document.documentElement.dataset.paintedAt = performance.now()));
  } else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
SEEN: Final = """(wanted) => {
  window.ages = [];
  const told = new Set();
  new MutationObserver(() => requestAnimationFrame(() => {
    for (const row of [...document.querySelectorAll(".log-rows .text")].slice(-20)) {
      const found = /^now (\\d{13})(\\d{6})$/.exec(row.textContent);
      if (!found || told.has(row.textContent)) continue;
      told.add(row.textContent);
      window.ages.push(performance.timeOrigin + performance.now() - Number(found[1]) - Number(found[2]) / 1e6);
      if (told.size >= wanted) document.documentElement.dataset.told = "enough";
    }
  })).observe(document.querySelector(".log-rows"), { childList: true });
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """Milliseconds from asking for a page: until something of it, and until the last line of the log was painted."""

    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """Jobs a second, and the dispatcher's processor time for one."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Dispatch without and with readers; the ages of lines when followers had them, in milliseconds; which part of a
    core the pages' process took meanwhile, and its memory before and at the most.
    """

    found: Sequence[tuple[Dispatched, Dispatched]]
    ages: Sequence[float]
    shares: Sequence[float]
    before_mib: float
    most_mib: float


def paints(folder: Path, *, lines: int, times: int) -> tuple[list[Paint], list[Paint], list[Paint], float]:
    """How soon the end of a long log and of a short one was painted, and a page with nothing, in turns; and the MiB of
    the pages' process.
    """
    data = folder / "paints"
    width = 104
    piece = b"".join(b"line %d ".ljust(width, b".") % number + b"\n" for number in range(PIECE_LINES - 1))
    piece += LAST.encode() + b"\n"
    keep_logs(data, (lines // PIECE_LINES, piece), (1, piece[-SHORT_LINES * width :].split(b"\n", 1)[1]))
    found: dict[str, list[Paint]] = {LOG.format(build=1): [], LOG.format(build=2): [], EMPTY: []}
    with dispatching(data) as dispatcher, serving(dispatcher) as pages, signed_in(pages) as seen:
        seen.page.goto(pages.address)
        for _ in range(times):
            for path, paint in found.items():
                paint.append(_paint(seen, pages, path))
        memory = Usage(pages.pid).rss_mib()
    long, short, empty = found.values()
    return long, short, empty, memory


def _paint(seen: Seen, pages: Pages, path: str) -> Paint:
    """A page in a browser that has nothing of it in its cache."""
    there = seen.page.context.browser
    assert there is not None, "a browser was started"
    with there.new_context() as context:
        pages.let_in(context)
        page = context.new_page()
        painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        if path == EMPTY:
            page.goto(pages.address + path, wait_until="commit")
            while (first := page.evaluate(painted)) is None:
                page.wait_for_timeout(LOOK_MS)
            return Paint(first=first, last=first)
        page.add_init_script(PAINTED.replace("WANTED", json.dumps(LAST)))
        page.goto(pages.address + path, wait_until="commit")
        page.wait_for_selector("[data-painted-at]")
        last = "Number(document.documentElement.dataset.paintedAt)"
        return Paint(first=page.evaluate(painted), last=page.evaluate(last))


async def written(folder: Path, count: int) -> list[float]:
    """Milliseconds from a step's writing of a line to its painting in a browser, for each of so many lines."""
    data = folder / "written"
    with dispatching(data) as dispatcher, serving(dispatcher) as pages:
        async with client_of(data) as client, real_runners(client, folder / "writer", ["talker"], slots=1):
            build = await _talk(client, folder, early=10)
            return await asyncio.to_thread(_watch, pages, build, count)


def _watch(pages: Pages, build: int, count: int) -> list[float]:
    with signed_in(pages) as seen:
        seen.page.goto(pages.address + LOG.format(build=build))
        seen.page.wait_for_selector("#log[data-state=following]")
        seen.page.evaluate(SEEN, count + WARM_UP)
        # The first ones were there already, or came while the page was made.
        seen.page.wait_for_selector("[data-told=enough]")
        ages: list[float] = seen.page.evaluate("window.ages")
    return ages[WARM_UP:]


async def _talk(client: Client, folder: Path, *, early: int) -> int:
    """Have a job print so many lines at once and then one after the other; returns its build once it does."""
    talk = TALK.format(early=early, count=LINES_MAX, pause=PAUSE_S)
    repository = small_repository(folder / f"repository-{early}", more={"talk.py": talk})
    about = submission(0, "jobs: {test: {steps: [{run: 'python3 talk.py'}]}}")
    about |= {"repo": str(repository), "sha": commit_of(repository)}
    build: int = (await client.ask("submit", about)).body["build"]
    async with asyncio.timeout(PATIENCE_S):
        while not (await client.ask("log", {"job": f"{build}/test", "limit": 1})).data:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
    return build


async def followed(folder: Path, *, followers: int, slow: int, jobs: int, pairs: int, early: int) -> Followed:
    """What is dispatched without readers and with them, in pairs, and what those readers get and take."""
    data = folder / "followed"
    peers = let_in(data, ["sprint-1", "sprint-2"])
    found: list[tuple[Dispatched, Dispatched]] = []
    ages: list[float] = []
    shares: list[float] = []
    with dispatching(data) as dispatcher, serving(dispatcher) as pages:
        # Each dispatcher has a runner of its own: what one has of another installation is numbered there.
        async with client_of(data) as client, real_runners(client, folder / "followed-by", ["talker"], slots=1):
            await _talk(client, folder, early=early)
            await asyncio.sleep(SETTLE_S)
            end = await asyncio.to_thread(_log_bytes, pages)
            paths = FOLLOW.format(at=end), FOLLOW.format(at=0)
            with sprinters(dispatcher, peers, 32) as runners:
                tallies = [tally for _, tally in runners]
                await until_online(client, len(peers) + 1)
                served = Usage(pages.pid)
                before = most = served.rss_mib()

                async def measure(first: int) -> Dispatched:
                    usage, each = Usage(dispatcher.pid), min(JOBS_PER_BUILD, jobs)
                    took_s = await run_builds(client, tallies, first, jobs // each, each)
                    return Dispatched(per_s=jobs / took_s, cpu_us=usage.cpu_s() / jobs * 1e6)

                await measure(1)
                for number in range(pairs):
                    plain = await measure((2 + 2 * number) * jobs)
                    there, near = (pages.port, pages.token(), paths), min(EARS, followers)
                    with (
                        reading(*there, (followers - near, slow), niceness=ELSEWHERE) as crowd,
                        reading(*there, (near, 0)) as heard,
                    ):
                        await _all_there((crowd, followers - near + slow), (heard, near))
                        heard.take_ages()
                        served.again()
                        busy = await measure((3 + 2 * number) * jobs)
                        shares.append(served.share())
                        ages += heard.take_ages()
                        most = max(most, served.rss_mib())
                        if crowd.broken.value + heard.broken.value:
                            raise SystemExit("not all readers were served")
                    found.append((plain, busy))
    return Followed(found=found, ages=ages, shares=shares, before_mib=before, most_mib=most)


async def _all_there(*crowds: tuple[Heard, int]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while any(heard.connected.value + heard.broken.value < count for heard, count in crowds):  # noqa: ASYNC110
            await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(SETTLE_S)


def _log_bytes(pages: Pages) -> int:
    line = HTTPConnection("127.0.0.1", pages.port, timeout=PATIENCE_S)
    path = f"/api/v1{LOG.format(build=1)}/log/rows?limit=1"
    line.request("GET", path, headers={"authorization": f"Bearer {pages.token()}"})
    end: int = json.load(line.getresponse())["end"]
    line.close()
    return end


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.followers", description="Looking at logs.")
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--paints", type=int, default=3)
    parser.add_argument("--written", type=int, default=200)
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--early", type=int, default=EARLY_LINES, help="lines before those who are fast begin")
    options = parser.parse_args(arguments)
    with scratch() as folder:
        many = {name: getattr(options, name) for name in ("followers", "slow", "jobs", "pairs", "early")}
        met = []
        if options.pairs:
            met.append(_say_followed(asyncio.run(followed(folder, **many)), options))
        if options.written:
            took = asyncio.run(written(folder, options.written))
            say(f"a line from a step's write to a browser's screen: {spread(took)} (target p50 {SCREEN_MS} ms)")
            met.append(statistics.median(took) <= SCREEN_MS)
        if options.paints:
            long, short, empty, memory = paints(folder, lines=options.lines, times=options.paints)
            say(f"a page with nothing in it: {spread([paint.first for paint in empty])}")
            _say_paints(long, short, memory, options.lines, met=all(met))


def _say_followed(seen: Followed, options: argparse.Namespace) -> bool:
    for plain, busy in seen.found:
        say(
            f"dispatch without and with readers: {plain.per_s:.0f} and {busy.per_s:.0f} jobs/s, {plain.cpu_us:.0f} and "
            f"{busy.cpu_us:.0f} us of the dispatcher's CPU a job"
        )
    cpu = statistics.median(busy.cpu_us / plain.cpu_us for plain, busy in seen.found) - 1
    rate = statistics.median(busy.per_s / plain.per_s for plain, busy in seen.found) - 1
    say(
        f"{options.followers} followers and {options.slow} slow readers: {rate:+.1%} jobs/s, {cpu:+.1%} CPU a job; the "
        f"pages' process {statistics.median(seen.shares):.0%} of a core, {seen.before_mib:.0f} MiB before and "
        f"{seen.most_mib:.0f} at the most"
    )
    if seen.ages:
        say(f"a line from its writing to {options.followers} followers: {spread(seen.ages)}")
    return cpu <= SHARE


def _say_paints(long: Sequence[Paint], short: Sequence[Paint], memory: float, lines: int, *, met: bool) -> None:
    last, other = ([paint.last for paint in each] for each in (long, short))
    for many, each, ends in ((lines, long, last), (SHORT_LINES, short, other)):
        say(f"a log of {many} lines: first paint {spread([paint.first for paint in each])}; its end {spread(ends)}")
    say(f"the pages' process after that: {memory:.0f} MiB")
    long_ms, short_ms = statistics.median(last), statistics.median(other)
    figure = Figure(
        what=f"the end of a log of {lines} lines on the screen",
        value=f"p50 {long_ms:.0f} ms",
        limit=f"{short_ms:.0f} ms for {SHORT_LINES} lines",
        ratio=long_ms / short_ms,
        target=f"{PAINT_MS} ms, and all above",
        met=long_ms <= PAINT_MS and met,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
