"""The JSON Schema that editors read: it takes what is documented, refuses what is not, and explains every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from surveil.pipeline import SCHEMA_FILE
from surveil.pipeline.document import Kind, Listing, Node, Scalar, Table, read
from tests.pipeline.test_reference import EXAMPLES, INCLUDED, KEYS

SCHEMA = json.loads(SCHEMA_FILE.read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
OURS = [text for kind, text in EXAMPLES if kind in {"", *INCLUDED}]
GOOD = "jobs: {t: {steps: [{run: make}]}}"


def as_editors_read(text: str) -> Any:
    """A file's values by YAML 1.2, with lists of steps inside of each other where an alias put them."""
    root = read(text)
    assert isinstance(root, Scalar | Listing | Table)
    return _plain(root)


def _plain(node: Node) -> Any:
    match node:
        case Table():
            return {key: _plain(value) for key, value in node.entries.items()}
        case Listing():
            return [_plain(item) for item in node.items]
        case Scalar():
            return _value(node)


def _value(scalar: Scalar) -> Any:
    match scalar.kind:
        case Kind.NOTHING:
            return None
        case Kind.WHOLE:
            return int(scalar.text)
        case Kind.REAL:
            return float(scalar.text)
        case Kind.FLAG:
            return scalar.text.lower() == "true"
        case Kind.TEXT:
            return scalar.text


def objections(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(as_editors_read(text))]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", OURS)
def test_every_documented_example_is_taken(text: str) -> None:
    assert objections(text) == []


def test_lists_of_steps_may_nest_as_aliases_make_them() -> None:
    assert objections("jobs: {t: {steps: [&a [{run: x}, [{run: y}]], *a]}}") == []
    assert objections("jobs: {t: {steps: [[{rum: x}]]}}") != []


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "version: 1",
        "version: 2\n" + GOOD,
        "job: 1\n" + GOOD,
        "jobs: {t: {}}",
        "jobs: {t: {stepz: []}}",
        "jobs: {t: {steps: make}}",
        "jobs: {t: {steps: [make]}}",
        "jobs: {t: {steps: [{name: x}]}}",
        "jobs: {t: {retry: 11, steps: [{run: x}]}}",
        "jobs: {t: {retry: '1', steps: [{run: x}]}}",
        "jobs: {t: {timeout: 10, steps: [{run: x}]}}",
        "jobs: {t: {fail_fast: 'yes', steps: [{run: x}]}}",
        "jobs: {t: {priority: 101, steps: [{run: x}]}}",
        "jobs: {t: {on_runner_loss: wait, steps: [{run: x}]}}",
        "jobs: {t: {labels: {a: b}, steps: [{run: x}]}}",
        "jobs: {t: {matrix: {v: {a: b}}, steps: [{run: x}]}}",
        "jobs: {t: {matrix: {include: [1]}, steps: [{run: x}]}}",
        "jobs: {t: {concurrency: {grp: a}, steps: [{run: x}]}}",
        "jobs: {t: {env: {1A: x}, steps: [{run: x}]}}",
        "jobs: {t: {env: {A: }, steps: [{run: x}]}}",
        "jobs: {t: {needs: , steps: [{run: x}]}}",
    ],
)
def test_what_a_look_can_tell_is_refused(text: str) -> None:
    assert objections(GOOD) == []
    assert objections(text) != []


def properties(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of every table, wherever it is."""
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            yield key, value
        for value in node.values():
            yield from properties(value)
    elif isinstance(node, list):
        for item in node:
            yield from properties(item)


def test_every_key_is_explained_and_says_what_it_may_hold() -> None:
    found = list(properties(SCHEMA))
    assert {key for key, _ in found} == {key.rpartition(".")[2] for key in KEYS}
    assert [key for key, shape in found if "description" not in shape] == []
    shapes = {"type", "anyOf", "enum", "$ref", "additionalProperties", "const"}
    assert [key for key, shape in found if not shapes & shape.keys()] == []
    assert not any(word in json.dumps(SCHEMA) for word in ('"title": "S', "Table`"))
