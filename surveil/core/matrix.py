"""A job's matrix: the cells that it comes to, each with its values and its name.

What belongs here: combinations, `include` and `exclude`, and what is wrong with them. What does not: what is made of a
cell (`core.pipeline`).

`exclude` is taken away first, then each entry of `include` is given to those combinations none of whose values it would
change; an entry that fits none becomes a cell of its own. A name shows the values of the axes, so that no entry of
`include` renames what was there; of a cell that `include` made it shows all values that can be part of a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Final, TypeAlias

from surveil.core.declared import Complaint, JobDeclaration, Text
from surveil.core.spelling import did_you_mean, quoted

COMBINATIONS_MAX: Final = 4096
"""Of the axes of one matrix, before anything is excluded: more are not even looked at."""
SHOWN_CHARACTERS_MAX: Final = 40
"""A longer value that is no axis' is no part of a name."""
_NEVER_IN_A_NAME: Final = frozenset("[],/")

Cells: TypeAlias = Mapping[str, Mapping[str, str]]
"""The full names of a job's cells to their values."""


def combinations_of(job: JobDeclaration) -> int:
    """How many combinations the axes have, before anything is excluded or included."""
    return prod(len(values) for values in job.matrix.values())


def find_cells(job: JobDeclaration) -> tuple[Cells, list[Complaint]]:
    """Name every cell: axes sorted by name, values in the order of the file, what `include` made last. Not for more
    than `COMBINATIONS_MAX` combinations.
    """
    if not job.has_matrix:
        return {job.name.value: {}}, []
    complaints = [*_check_axes(job), *_check_entries(job)]
    if complaints:
        return {}, complaints
    combinations, useless = _combinations(job)
    complaints += useless
    values, made = _included(job, combinations)
    cells: dict[str, Mapping[str, str]] = {}
    axes = sorted(job.matrix)
    for number, cell in enumerate([*values, *made]):
        shown = axes if number < len(values) else _showable(cell)
        label = ",".join([f"{axis}={cell[axis]}" for axis in shown])
        name = f"{job.name.value}[{label}]"
        if name in cells:
            complaints.append(_ambiguous(job, name))
        cells[name] = cell
    if not cells:
        message = f"nothing is left of the matrix of {quoted(job.name.value)} once all is excluded"
        complaints.append(Complaint(message, job.name.place, "remove entries of `exclude`"))
    return cells, complaints


def _combinations(job: JobDeclaration) -> tuple[list[dict[str, str]], list[Complaint]]:
    """What the axes come to without what is excluded, and complaints about entries that exclude nothing."""
    axes = sorted(job.matrix)
    columns = [[value.value for value in job.matrix[axis]] for axis in axes]
    every = [dict(zip(axes, combination, strict=True)) for combination in product(*columns)] if axes else []
    unused = dict.fromkeys(range(len(job.exclude)))
    left: list[dict[str, str]] = []
    for combination in every:
        hits = [at for at, entry in enumerate(job.exclude) if _fits(entry, combination)]
        for at in hits:
            unused.pop(at, None)
        if not hits:
            left.append(combination)
    return left, [_excludes_nothing(job, job.exclude[at]) for at in unused]


def _fits(entry: Mapping[str, Text], combination: Mapping[str, str]) -> bool:
    return all(combination.get(axis) == value.value for axis, value in entry.items())


def _included(
    job: JobDeclaration, combinations: list[dict[str, str]]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The combinations with what entries of `include` give them, and the cells that other entries make."""
    cells = [dict(combination) for combination in combinations]
    made: list[dict[str, str]] = []
    for entry in job.include:
        values = {axis: value.value for axis, value in entry.items()}
        asked = {axis: value for axis, value in entry.items() if axis in job.matrix}
        fitting = [cell for cell, original in zip(cells, combinations, strict=True) if _fits(asked, original)]
        for cell in fitting:
            cell.update(values)
        if not fitting:
            made.append(values)
    return cells, made


def _showable(cell: Mapping[str, str]) -> list[str]:
    """The names of the values that can be part of a name."""
    return sorted(axis for axis, value in cell.items() if _can_be_shown(value) and len(value) <= SHOWN_CHARACTERS_MAX)


def _can_be_shown(value: str) -> bool:
    return bool(value) and value.isprintable() and _NEVER_IN_A_NAME.isdisjoint(value)


def _check_axes(job: JobDeclaration) -> Iterator[Complaint]:
    for axis, values in job.matrix.items():
        if not values:
            yield Complaint(f"matrix {quoted(axis)} has no values", job.name.place, "list at least one, or remove it")
        seen: set[str] = set()
        for value in values:
            if value.value in seen:
                yield Complaint(f"matrix {quoted(axis)} lists {quoted(value.value)} twice", value.place)
            seen.add(value.value)
            if not _can_be_shown(value.value):
                message = f"matrix value {quoted(value.value)} cannot be part of a job's name"
                yield Complaint(message, value.place, "use printable text without `[`, `]`, `,` and `/`")


def _check_entries(job: JobDeclaration) -> Iterator[Complaint]:
    variables: dict[str, str] = {}
    for axis, values in [*((axis, values[:1]) for axis, values in job.matrix.items()), *_included_values(job)]:
        if (other := variables.setdefault(axis.upper(), axis)) != axis and values:
            message = f"matrix {quoted(axis)} and {quoted(other)} would both be MATRIX_{axis.upper()}"
            yield Complaint(message, values[0].place, "rename one of them")
        for value in values:
            if "${{" in value.value:
                yield Complaint("a matrix value is taken as it stands: nothing is filled in", value.place)
    for entry in job.exclude:
        for axis, value in entry.items():
            if axis not in job.matrix:
                hint = did_you_mean(axis, job.matrix)
                yield Complaint(f"`exclude` names {quoted(axis)}, which is no list of the matrix", value.place, hint)


def _included_values(job: JobDeclaration) -> Iterator[tuple[str, tuple[Text, ...]]]:
    for entry in job.include:
        for axis, value in entry.items():
            yield axis, (value,)


def _excludes_nothing(job: JobDeclaration, entry: Mapping[str, Text]) -> Complaint:
    """An entry that fits no combination: most likely one of its values is none of its axis."""
    for axis, value in entry.items():
        known = [text.value for text in job.matrix[axis]]
        if value.value not in known:
            message = f"`exclude` leaves out {quoted(value.value)}, which matrix {quoted(axis)} does not list"
            return Complaint(message, value.place, did_you_mean(value.value, known))
    place = next((value.place for value in entry.values()), job.name.place)
    return Complaint("this entry of `exclude` leaves out nothing", place, "remove it")


def _ambiguous(job: JobDeclaration, name: str) -> Complaint:
    places = [value.place for entry in job.include for value in entry.values()]
    hint = "let a short value without `[`, `]`, `,` and `/` tell its entries of `include` apart"
    return Complaint(f"two cells would be called {quoted(name)}", places[0] if places else job.name.place, hint)
