"""What is said of documents holds for those that the code makes, and bites where they differ."""

from __future__ import annotations

import json
from typing import Any

import pytest

from surveil.answer.shapes import building, keeping
from surveil.answer.shapes.kinds import Shape, a, by_name, components, many, maybe, one_of, record, text, time, whole
from tests.fitting import misfits
from tools.shapes import Printed, shapes

PRINTED = shapes()
PARTS = components(
    each for module in (building, keeping) for each in vars(module).values() if isinstance(each, Shape)
)  # fmt: skip
INNER = Shape("Inner", {"at": time("when")})
OUTER = Shape(
    "Outer one",
    {
        "number": whole("a number", least=1), "word": maybe(one_of(("a", "b"), "a word")), "inner": maybe(a(INNER)),
        "texts": by_name(text("a text")), "list": many(record(x=text("x"))), "more": text("not always"),
    },
    frozenset({"more"}),
)  # fmt: skip
GOOD: dict[str, Any] = {
    "number": 1, "word": None, "inner": {"at": "2026-11-14T09:59:51.000Z"}, "texts": {"x": "y"}, "list": [{"x": ""}],
}  # fmt: skip


@pytest.mark.parametrize("printed", PRINTED, ids=[each.shape.component for each in PRINTED])
def test_what_the_code_makes_is_what_is_said_of_it(printed: Printed) -> None:
    example = json.loads(json.dumps(printed.example))
    assert misfits(example, printed.shape.schema(), PARTS) == []


def test_every_document_that_is_described_has_an_example_or_is_sent_only() -> None:
    shown = {each.shape.component for each in PRINTED}
    assert PARTS.keys() - shown == {"RowOfALog"}


def test_a_document_as_it_is_said_fits() -> None:
    assert misfits(GOOD, OUTER.schema(), components([INNER])) == []
    assert misfits({**GOOD, "more": "", "word": "b", "inner": None}, OUTER.schema(), components([INNER])) == []
    assert OUTER.component == "OuterOne"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"number": 0}, "$.number"), ({"number": None}, "$.number"), ({"word": "c"}, "$.word"),
        ({"texts": {"x": 1}}, "$.texts.x"), ({"list": [{}]}, "$.list[0]"), ({"other": 1}, "$"),
        ({"more": None}, "$.more"), ({"inner": {"at": "2026-11-14"}}, "$.inner"),
        ({"list": [{"x": "", "y": ""}]}, "$.list[0]"),
    ],
)  # fmt: skip
def test_a_document_that_is_not_as_is_said_does_not_fit(wrong: dict[str, Any], where: str) -> None:
    (found,) = misfits({**GOOD, **wrong}, OUTER.schema(), components([INNER]))
    assert found.startswith(f"{where}:")


def test_a_key_that_is_missing_does_not_fit() -> None:
    without = {key: value for key, value in GOOD.items() if key != "word"}
    assert len(misfits(without, OUTER.schema(), components([INNER]))) == 1
