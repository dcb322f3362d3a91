"""The cells of a matrix: what is left out, what is added, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from surveil.core.declared import JobDeclaration, Place, Text
from surveil.core.matrix import find_cells

Entry = Mapping[str, str]


def job(
    axes: Mapping[str, Sequence[str]], include: Sequence[Entry] = (), exclude: Sequence[Entry] = ()
) -> JobDeclaration:
    def text(value: str, line: int, column: int = 1) -> Text:
        return Text(value, Place(line, column))

    def entries(found: Sequence[Entry], line: int) -> tuple[Mapping[str, Text], ...]:
        return tuple({axis: text(value, line + at) for axis, value in entry.items()} for at, entry in enumerate(found))

    return JobDeclaration(
        name=text("t", 1),
        timeout_ms=1,
        steps=(),
        matrix={axis: tuple(text(value, 2, at) for at, value in enumerate(values)) for axis, values in axes.items()},
        include=entries(include, 10),
        exclude=entries(exclude, 20),
    )


def cells(declared: JobDeclaration) -> dict[str, Mapping[str, str]]:
    found, complaints = find_cells(declared)
    assert complaints == []
    return dict(found)


def said(declared: JobDeclaration) -> list[str]:
    return [f"{c.place.line} {c.message}" + (f" ({c.hint})" if c.hint else "") for c in find_cells(declared)[1]]


def test_what_is_excluded_is_left_out_by_all_or_some_of_its_values() -> None:
    axes = {"os": ["linux", "bsd"], "v": ["1", "2"]}
    assert list(cells(job(axes, exclude=[{"os": "bsd", "v": "1"}]))) == [
        "t[os=linux,v=1]",
        "t[os=linux,v=2]",
        "t[os=bsd,v=2]",
    ]
    assert list(cells(job(axes, exclude=[{"os": "bsd"}]))) == ["t[os=linux,v=1]", "t[os=linux,v=2]"]


def test_what_is_included_is_given_to_the_cells_that_it_would_not_change_and_renames_none() -> None:
    axes = {"os": ["linux", "bsd"], "v": ["1", "2"]}
    found = cells(job(axes, include=[{"db": "sqlite"}, {"os": "bsd", "flags": "-a,-b"}, {"os": "bsd", "db": "pg"}]))
    assert found == {
        "t[os=linux,v=1]": {"os": "linux", "v": "1", "db": "sqlite"},
        "t[os=linux,v=2]": {"os": "linux", "v": "2", "db": "sqlite"},
        "t[os=bsd,v=1]": {"os": "bsd", "v": "1", "db": "pg", "flags": "-a,-b"},
        "t[os=bsd,v=2]": {"os": "bsd", "v": "2", "db": "pg", "flags": "-a,-b"},
    }


def test_what_fits_no_cell_becomes_a_cell_of_its_own_which_later_entries_leave_alone() -> None:
    found = cells(job({"v": ["1"]}, include=[{"v": "2", "new": "yes"}, {"v": "2", "x": "y"}, {"z": "all"}]))
    assert found == {
        "t[v=1]": {"v": "1", "z": "all"},
        "t[new=yes,v=2]": {"v": "2", "new": "yes"},
        "t[v=2,x=y]": {"v": "2", "x": "y"},
    }


def test_an_excluded_combination_can_come_back_as_a_cell_of_its_own() -> None:
    found = cells(job({"v": ["1", "2"]}, include=[{"v": "2", "slow": "true"}], exclude=[{"v": "2"}]))
    assert found == {"t[v=1]": {"v": "1"}, "t[slow=true,v=2]": {"v": "2", "slow": "true"}}


def test_without_axes_each_entry_is_a_cell_called_by_what_can_be_part_of_a_name() -> None:
    entries = [{"name": "gcc", "flags": "-Wall,-O2", "url": "x" * 41}, {"name": "clang", "flags": ""}]
    assert cells(job({}, include=entries)) == {"t[name=gcc]": entries[0], "t[name=clang]": entries[1]}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            job({"v": ["1", "2"]}, exclude=[{"v": "3"}]),
            ["20 `exclude` leaves out `3`, which matrix `v` does not list (known are `1`, `2`)"],
        ),
        (
            job({"python": ["1"]}, exclude=[{"pyton": "1"}]),
            ["20 `exclude` names `pyton`, which is no list of the matrix (did you mean `python`?)"],
        ),
        (
            job({"a": ["1", "2"], "b": ["1"]}, exclude=[{"a": "1"}, {"a": "2", "b": "1"}, {"b": "1"}]),
            ["1 nothing is left of the matrix of `t` once all is excluded (remove entries of `exclude`)"],
        ),
        (
            job({"v": ["1"]}, include=[{"v": "2", "x": "/"}, {"v": "2", "x": "//"}]),
            [
                (
                    "10 two cells would be called `t[v=2]` (let a short value without `[`, `]`, `,` and `/` tell its "
                    "entries of `include` apart)"
                )
            ],
        ),
        (
            job({"v": ["1"]}, include=[{"V": "2"}]),
            ["10 matrix `V` and `v` would both be MATRIX_V (rename one of them)"],
        ),
        (
            job({"v": ["1"]}, include=[{"x": "${{ matrix.v }}"}]),
            ["10 a matrix value is taken as it stands: nothing is filled in"],
        ),
        (job({"v": []}), ["1 matrix `v` has no values (list at least one, or remove it)"]),
    ],
)
def test_a_matrix_that_says_what_nobody_means_is_refused(declared: JobDeclaration, expected: list[str]) -> None:
    assert said(declared) == expected


def test_an_entry_of_exclude_that_another_one_makes_useless_is_no_mistake() -> None:
    declared = job({"a": ["1", "2"], "b": ["1"]}, exclude=[{"a": "1"}, {"a": "1", "b": "1"}])
    assert list(cells(declared)) == ["t[a=2,b=1]"]
