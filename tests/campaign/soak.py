"""`python -m tests.campaign.soak`: one cluster under a fault every 20 s for hours, and what grows meanwhile (I13).

What belongs here: sampling, slopes and their limits. What does not: faults and rounds, which are the campaign's.

A slope is the median of the slopes between the samples of the first and of the last third after the warm-up, one by
one; so neither a peak nor a restart in the middle decides. Parts are restarted by faults all the time, hence the
samples of all runners, and of all observers, are taken together as the most that any of them has.

Some things grow by and by up to a bound that the product sets, and stay there: pools start a thread whenever all others
are busy, and an observer keeps an open file for each bundle that it made in the last ten minutes. These have a ceiling,
which no sample may be above, the first ones included.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from surveil.execute import process
from surveil.execute.containers.container import AT_ONCE_MAX
from surveil.hands import entrusting, supplying, threads
from surveil.net import server
from surveil.store import logs
from tests.campaign import apart
from tests.campaign.cluster import Cluster, Role
from tests.campaign.faults import all_kinds
from tests.campaign.rounds import Campaign
from tests.campaign.settings import draw

FAULT_EVERY_S: Final = 20.0
SAMPLE_EVERY_S: Final = 10.0
WARM_UP: Final = 1 / 6
BAD_IN_A_ROW: Final = 3
"""A rule that is broken makes the soak a failure, and does not end it: what grows in hours is to be seen all the same.
After so many such rounds one after the other the cluster is not what it was, and the soak ends."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

LIMITS: Final = {
    ("dispatcher", "memory"): 8.0,
    ("observers", "memory"): 8.0,
    ("runners", "memory"): 8.0,
    ("dispatcher", "descriptors"): 10.0,
    ("observers", "descriptors"): 10.0,
    ("runners", "descriptors"): 10.0,
    ("dispatcher", "threads"): 2.0,
    ("observers", "threads"): 2.0,
    ("runners", "threads"): 2.0,
    ("dispatcher", "processes"): 1.0,
    ("observers", "processes"): 2.0,
    ("runners", "processes"): 2.0,
    ("observers", "disk"): 20.0,
    ("runners", "disk"): 20.0,
}
"""The most that each may grow in an hour: MiB of memory and disk, and counts. The dispatcher's disk grows by what it is
told to keep: every build and every log. Where the soak is shorter than an hour, so much more is no growth either."""
UNITS: Final = {"memory": "MiB", "disk": "MiB"}

POOLS: Final = {
    "dispatcher": {
        "surveil.hands.dispatching": 1,
        "surveil.hands.intake": 1,
        "surveil.hands.closing": 1,
        "surveil.hands.depot": 1,
        "surveil.hands.lending": 1,
        "surveil.store.incoming": 1,
        "surveil.hands.entrusting": entrusting.THREADS,
        "surveil.store.logs": logs.SYNC_THREADS,
    },
    "observers": {
        # Each of them watches local repositories alone, or one at a server; either fills two of these pools.
        "surveil.hands.threads": 1 + 2 * max(threads.LOCAL_THREADS, threads.SERVER_THREADS),
        "surveil.hands.supplying": supplying.MAKING_MAX,
        "surveil.hands.remembering": 1,
    },
    "runners": {
        "surveil.execute.process": process.THREADS + 1,
        "surveil.execute.upkeep": 1,
        # Whoever packs has one of its own, and they pack in the threads of the pool above.
        "surveil.execute.archives.packing": process.THREADS + 1,
        # While a job's services begin, in a thread of the first pool.
        "surveil.execute.containers.container": process.THREADS * AT_ONCE_MAX,
    },
}
"""How many threads each part's pools may come to have, by the module that makes them."""
POOLS_ELSEWHERE: Final = frozenset({"surveil.web.hooks.receiving"})
"""Modules that make pools of threads for a role that no soak runs."""
_LOOPS_OWN: Final = min(32, (os.cpu_count() or 1) + 4)
"""What asyncio's own pool may have (the documentation of `concurrent.futures` says so)."""
_UNPOOLED: Final = {"dispatcher": 2 + server.IO_THREADS, "observers": 3, "runners": 3}
"""The main thread, and libzmq's: one that reaps, and those that read and write."""
CEILINGS: Final = {
    **{(part, "threads"): sum(POOLS[part].values()) + _LOOPS_OWN + _UNPOOLED[part] for part in POOLS},
    ("observers", "bundles"): supplying.KEPT_MAX + supplying.MAKING_QUEUE_MAX,
}
"""The most that any process may ever have."""
FILLING_HOURS: Final = 1.0
"""In a soak that is not longer, what has a ceiling is not judged by its slope: it may still be filling."""


@dataclass(frozen=True)
class Sample:
    """One look: hours since the start, and what each part had."""

    hours: float
    values: dict[tuple[str, str], float]


def look(role: Role) -> dict[str, float]:
    """What a part has now, with all its processes."""
    found = {"memory": 0.0, "descriptors": 0, "bundles": 0, "threads": 0}
    if role.alive:
        found["descriptors"], found["bundles"] = descriptors(role.pid, role.data)
        found["memory"], found["threads"] = _resident(role.pid) / 2**20, _count(role.pid, "task")
    return {**found, "processes": len(role.host.processes()), "disk": _folder_bytes(role.data) / 2**20}


def descriptors(pid: int, data: Path) -> tuple[int, int]:
    """How many descriptors a process has, but for the files without a name right in its data folder, and how many of
    those: they are an observer's bundles.
    """
    others = nameless = 0
    for each in _listed(pid, "fd"):
        try:
            target = each.readlink()
        except OSError:
            continue
        if target.name.endswith(" (deleted)") and target.parent == data:
            nameless += 1
        else:
            others += 1
    return others, nameless


def sample(cluster: Cluster, began_at: float) -> Sample:
    """What every part has now."""
    groups = {"dispatcher": [cluster.dispatcher], "observers": cluster.observers, "runners": cluster.runners}
    values: dict[tuple[str, str], float] = {}
    for group, roles in groups.items():
        for role in roles:
            for what, value in look(role).items():
                values[group, what] = max(values.get((group, what), 0.0), value)
    return Sample((time.monotonic() - began_at) / 3600, values)


def slope(samples: Iterable[tuple[float, float]]) -> float:
    """How much something grows in an hour; 0 where there are too few samples to tell."""
    points = sorted(samples)
    third = len(points) // 3
    if not third:
        return 0.0
    pairs = zip(points[:third], points[-third:], strict=True)
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)


def rise(samples: Iterable[tuple[float, float]]) -> float:
    """By how much something grew in all, from the middle of the first third to that of the last."""
    points = sorted(samples)
    third = max(1, len(points) // 3)
    return median(y for _, y in points[-third:]) - median(y for _, y in points[:third])


def table(samples: list[Sample]) -> tuple[list[str], list[str]]:
    """The lines of the table, and which limits are exceeded."""
    warm = [each for each in samples if each.hours >= samples[-1].hours * WARM_UP]
    lines = ["| part | what | at first | at last | an hour | at most | ever at most |", "|---|---|--:|--:|--:|--:|--:|"]
    over = []
    for group, what in sorted(warm[0].values):
        points = [(each.hours, each.values[group, what]) for each in warm]
        grows, limit, unit = slope(points), LIMITS.get((group, what)), UNITS.get(what, "")
        ceiling, most = CEILINGS.get((group, what)), max(each.values[group, what] for each in samples)
        shown = "" if limit is None else f"{limit:.0f} {unit}"
        lines.append(
            f"| {group} | {what} | {points[0][1]:.0f} {unit} | {points[-1][1]:.0f} {unit} | {grows:+.1f} {unit} "
            f"| {shown} | {'' if ceiling is None else ceiling} |"
        )
        if ceiling is not None and most > ceiling:
            over.append(f"{what} of the {group} came to {most:.0f}, of at most {ceiling} ever")
        if ceiling is not None and samples[-1].hours <= FILLING_HOURS:
            continue
        # In a short soak a little noise is a steep slope: what grew has to have grown by something, too.
        if limit is not None and grows > limit and rise(points) > limit:
            over.append(f"{what} of the {group} grows by {grows:.1f} {unit} an hour, of at most {limit:.0f}")
    return lines, over


def main() -> int:
    """Soak; 0 if no rule was broken and nothing grew too fast."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="what everything is drawn from (default: 1)")
    chosen = parser.parse_args()
    if not apart.inside():
        lack = apart.missing()
        if lack:
            sys.stderr.write(f"{lack}\n")
            return 2
        apart.enter("tests.campaign.soak", sys.argv[1:])
    folder = Path(tempfile.mkdtemp(prefix="surveil-soak-"))
    samples, complaints = _soak(folder, chosen.seed, chosen.hours)
    lines, over = table(samples) if samples else ([], ["nothing was sampled"])
    sys.stdout.write("\n".join([*lines, *complaints, *over]) + "\n")
    if complaints or over:
        sys.stdout.write(f"everything that was written is kept in {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


def _soak(folder: Path, seed: int, hours: float) -> tuple[list[Sample], list[str]]:
    kinds = {name: kind for name, kind in all_kinds().items() if kind.weight > 0}
    settings = draw(seed, 0, {name: kind.weight for name, kind in kinds.items()})
    dice, samples, stopping = Random(f"soak {seed}"), [], threading.Event()
    with Cluster(folder, settings) as cluster:
        began_at = time.monotonic()

        def keep_looking() -> None:
            while not stopping.wait(SAMPLE_EVERY_S):
                samples.append(sample(cluster, began_at))

        looking = threading.Thread(target=keep_looking, daemon=True)
        looking.start()

        def names() -> Iterable[list[str]]:
            while time.monotonic() - began_at < hours * 3600:
                struck_at = time.monotonic()
                yield dice.choices(list(settings.weights), list(settings.weights.values()))
                time.sleep(max(0.0, FAULT_EVERY_S - (time.monotonic() - struck_at)))

        complaints: list[str] = []
        for each in Campaign(cluster, kinds).run(iter(names()), bad_in_a_row=BAD_IN_A_ROW):
            broken = [f"round {each.number}: {complaint}" for complaint in each.complaints]
            complaints += broken
            line = f"{each.number:>5} {'+'.join(each.kinds):<20} {each.seconds:5.1f} s  {each.what}"
            sys.stdout.write("\n".join([line, *broken]) + "\n")
            sys.stdout.flush()
        stopping.set()
        looking.join()
    return samples, complaints


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError):
        return 0


def _count(pid: int, what: str) -> int:
    return len(_listed(pid, what))


def _listed(pid: int, what: str) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/{what}").iterdir())
    except OSError:
        return []


def _folder_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(Path(parent) / name).st_blocks * 512
            except OSError:
                continue
    return total


if __name__ == "__main__":
    sys.exit(main())
