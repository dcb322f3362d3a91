"""What the needs of a pipeline's jobs make of them: a graph without unknown names and circles, and its order.

What belongs here: edges between jobs. What does not: what is inside of a job (`core.pipeline`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from surveil.core.conditions import WORDS, asks_for_ends
from surveil.core.declared import Complaint, JobDeclaration, Text
from surveil.core.expressions import ExpressionError, parse
from surveil.core.matrix import Cells
from surveil.core.spelling import did_you_mean, printable, quoted
from surveil.protocol import JobSpec

_CIRCLE_SHOWN_MAX: Final = 8

_WHEN_SHOWN_MAX: Final = 60

CellsByJob: TypeAlias = Mapping[str, Cells]
"""Declared job to the full names of its cells to their matrix values."""


def _job_of(need: str, cells: CellsByJob) -> str | None:
    """The declared job that a need means: by its own name, or by the name of one of its cells."""
    if need in cells:
        return need
    owner = need.partition("[")[0]
    return owner if owner in cells and need in cells[owner] else None


def resolve_needs(job: JobDeclaration, cells: CellsByJob) -> tuple[str, ...]:
    """The full names that a job needs, each once: needing a matrix job is needing all of its cells."""
    names: dict[str, None] = {}
    for need in job.needs:
        names.update(dict.fromkeys(cells.get(need.value, (need.value,))))
    return tuple(names)


def check_needs(jobs: Sequence[JobDeclaration], cells: CellsByJob) -> Iterator[Complaint]:
    """Complain about needs that name no job, and about conditions on needs where there are none."""
    for job in jobs:
        for need in job.needs:
            if _job_of(need.value, cells) is None:
                message = f"job {quoted(job.name.value)} needs {quoted(need.value)}, which does not exist"
                yield Complaint(
                    message,
                    need.place,
                    did_you_mean(need.value, [name for name in cells if name != job.name.value]),
                )
        if job.when is not None and not job.needs and _asks_for_ends(job.when.value):
            message = f"job {quoted(job.name.value)} says `when: {printable(job.when.value)[:_WHEN_SHOWN_MAX]}`"
            hint = "`when` speaks of the jobs under `needs`: add them, or remove `when`"
            yield Complaint(f"{message} but needs nothing", job.name.place, hint)


def _asks_for_ends(when: str) -> bool:
    """Whether a condition is about needs. `passed` alone is what holds anyway."""
    try:
        return when != "passed" and asks_for_ends(parse(WORDS.get(when, when)))
    except ExpressionError:
        return False  # That is complained about elsewhere.


def cells_of_needs(job: JobDeclaration, cells: CellsByJob) -> dict[str, tuple[str, ...]]:
    """By each name that the job's texts may use for what it needs, the full names that are meant: a job's own name
    means those of its cells that are needed.
    """
    full_names = resolve_needs(job, cells)
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in full_names}
    for name in full_names:
        owner = _job_of(name, cells)
        if owner is not None and owner != name:
            found[owner] = (*found.get(owner, ()), name)
    return found


def find_cycles(jobs: Sequence[JobDeclaration], cells: CellsByJob) -> Iterator[Complaint]:
    """Complain about circles, naming them.

    Walks depth first without recursion; a need that leads back onto the current path closes a circle.
    """
    edges = {
        job.name.value: [(owner, need) for need in job.needs if (owner := _job_of(need.value, cells))] for job in jobs
    }
    done: set[str] = set()
    for root, targets in edges.items():
        path: dict[str, Iterator[tuple[str, Text]]] = {} if root in done else {root: iter(targets)}
        while path:
            here = next(reversed(path))
            step = next(path[here], None)
            if step is None:
                done.add(here)
                del path[here]
                continue
            target, need = step
            if target in path:
                names = list(path)
                message = f"jobs wait for each other in a circle: {_show_circle(names[names.index(target) :])}"
                yield Complaint(message, need.place, "remove one of these needs")
            elif target not in done:
                path[target] = iter(edges[target])


def _show_circle(names: Sequence[str]) -> str:
    shown = [quoted(name) for name in names[:_CIRCLE_SHOWN_MAX]]
    more = ["..."] if len(names) > _CIRCLE_SHOWN_MAX else []
    return " needs ".join([*shown, *more, quoted(names[0])])


def in_order(jobs: Sequence[JobSpec]) -> list[list[str]]:
    """Sort job names into ranks: each job stands in the first rank after all that it needs.

    Jobs on a circle would be in no rank; `core.pipeline.expand` lets none through.
    """
    by_name = {job.name: job for job in jobs}
    waiting = {job.name: sum(need in by_name for need in job.needs) for job in jobs}
    needed_by: dict[str, list[str]] = {name: [] for name in by_name}
    for job in jobs:
        for need in job.needs:
            if need in needed_by:
                needed_by[need].append(job.name)
    ranks: list[list[str]] = []
    ready = [job.name for job in jobs if waiting[job.name] == 0]
    while ready:
        ranks.append(ready)
        freed: list[str] = []
        for name in ready:
            for dependent in needed_by[name]:
                waiting[dependent] -= 1
                if waiting[dependent] == 0:
                    freed.append(dependent)
        ready = freed
    return ranks
