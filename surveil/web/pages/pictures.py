"""Builds as pictures: which jobs come after which, and when attempts ran on which runners.

What belongs here: pure functions from a build's document to places on a drawing. What does not: the drawing itself (the
templates `graph.svg` and `waterfall.svg`).

Cells of a matrix and shards are one node: a graph of hundreds of them shows nothing to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from surveil.frozen import dataclass

NODES_MAX: Final = 60
"""A graph of more jobs is not drawn."""
BARS_MAX: Final = 50
"""So many attempts are drawn, the oldest first."""
COLUMN: Final = 190
ROW: Final = 44
NODE_WIDTH: Final = 150
NODE_HEIGHT: Final = 32
LANE: Final = 24
LABEL: Final = 20
_LEAST_WIDTH: Final = 0.4
"""In percent; a bar must be seen, however short it was."""
_WORST_FIRST: Final = (
    "failed", "errored", "cancelled", "running", "assigned", "held", "queued", "blocked", "skipped", "passed"
)  # fmt: skip

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The jobs that one entry of the pipeline file became; most are one job."""

    name: str
    jobs: Sequence[Document]

    @property
    def state(self) -> str:
        """The state that matters most to whoever looks at all of them."""
        states = {job["state"] for job in self.jobs}
        return next((state for state in _WORST_FIRST if state in states), "queued")

    @property
    def passed(self) -> int:
        """How many of them passed."""
        return sum(job["state"] == "passed" for job in self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A group in the graph; `x` and `y` are its upper left corner."""

    group: Group
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes, and the paths of the lines between them."""

    nodes: Sequence[Node]
    lines: Sequence[str]
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An attempt from `x` on for `width`, both in percent of the whole time."""

    job: str
    attempt: Document
    x: float
    width: float
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A runner's name above its bars."""

    runner: str
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """Who was at work when, over `whole_ms` from one side to the other. `left_out` attempts are not drawn."""

    lanes: Sequence[Lane]
    bars: Sequence[Bar]
    height: int
    whole_ms: int
    left_out: int


def group_of(job: str) -> str:
    """The name in the pipeline file that a job has its own from."""
    return job.partition("[")[0]


def groups(jobs: Sequence[Document]) -> list[Group]:
    """The jobs by their names in the pipeline file, in its order."""
    found: dict[str, list[Document]] = {}
    for job in jobs:
        found.setdefault(group_of(job["name"]), []).append(job)
    return [Group(name=name, jobs=members) for name, members in found.items()]


def urgency(job: Document) -> int:
    """Where a job stands among those that somebody wants to see; the smallest first."""
    return _WORST_FIRST.index(job["state"]) if job["state"] in _WORST_FIRST else len(_WORST_FIRST)


def graph(found: Sequence[Group]) -> Graph | None:
    """The groups in columns, each right of all that it needs; None where there is nothing to see."""
    if len(found) > NODES_MAX:
        return None
    names = {group.name for group in found}
    needs = {group.name: _needs(group) & names for group in found}
    if not any(needs.values()):
        return None
    depth = dict.fromkeys(needs, 0)
    # As many rounds as there are groups settle the longest chain there can be.
    for _ in found:
        for name, before in needs.items():
            depth[name] = max((depth[each] + 1 for each in before if each != name), default=0)
    rows = [0] * (max(depth.values()) + 1)
    nodes: dict[str, Node] = {}
    for group in found:
        column = depth[group.name]
        nodes[group.name] = Node(group=group, x=column * COLUMN, y=rows[column] * ROW)
        rows[column] += 1
    lines = [_line(nodes[before], nodes[name]) for name, all_before in needs.items() for before in sorted(all_before)]
    return Graph(
        nodes=tuple(nodes.values()), lines=lines, width=(len(rows) - 1) * COLUMN + NODE_WIDTH,
        height=(max(rows) - 1) * ROW + NODE_HEIGHT,
    )  # fmt: skip


def waterfall(jobs: Sequence[Document], now: datetime | None = None) -> Waterfall | None:
    """The attempts at these jobs by runner, in as few lanes as have room for them; None where nothing ran yet."""
    present = now or datetime.now(UTC)
    spans = sorted(
        (
            (_instant(attempt["assigned_at"]), _instant(attempt["finished_at"]) or present, job["name"], attempt)
            for job in jobs
            for attempt in job["attempts"]
            if attempt["assigned_at"]
        ),
        key=lambda span: (span[0], span[2]),
    )
    if not spans:
        return None
    drawn = spans[:BARS_MAX]
    begin = drawn[0][0]
    whole_s = max((max(end, start) - begin).total_seconds() for start, end, _, _ in drawn) or 1.0
    by_runner: dict[str, list[tuple[datetime, datetime, str, Document]]] = {}
    for span in drawn:
        by_runner.setdefault(span[3]["runner"], []).append(span)
    lanes: list[Lane] = []
    bars: list[Bar] = []
    y = 0
    for runner, mine in sorted(by_runner.items()):
        lanes.append(Lane(runner=runner, y=y))
        y += LABEL
        free_at: list[datetime] = []
        for start, end, name, attempt in mine:
            lane = next((at for at, free in enumerate(free_at) if free <= start), len(free_at))
            free_at[lane : lane + 1] = [max(start, end)]
            x = (start - begin).total_seconds() / whole_s * 100
            width = max(_LEAST_WIDTH, (end - start).total_seconds() / whole_s * 100)
            x = min(x, 100 - _LEAST_WIDTH)
            width = round(min(width, 100 - x), 2)
            bars.append(Bar(job=name, attempt=attempt, x=round(x, 2), width=width, y=y + lane * LANE))
        y += len(free_at) * LANE
    return Waterfall(
        lanes=lanes, bars=bars, height=y, whole_ms=round(whole_s * 1000), left_out=len(spans) - len(drawn)
    )  # fmt: skip


def _needs(group: Group) -> set[str]:
    return {group_of(name) for job in group.jobs for name in job["needs"]} - {group.name}


def _line(before: Node, after: Node) -> str:
    x1, y1 = before.x + NODE_WIDTH, before.y + NODE_HEIGHT // 2
    x2, y2 = after.x, after.y + NODE_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"


def _instant(at: str | None) -> Any:
    return None if at is None else datetime.fromisoformat(at)
