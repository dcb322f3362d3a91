"""The words in which documents are described, each of which comes to a JSON Schema.

What belongs here: kinds of values, and documents as maps of these. What does not: any document.

A value's kind is followed by what it means. Times are RFC 3339 in UTC with milliseconds, durations integers of
milliseconds, and what is not known is null where `maybe` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from surveil.frozen import dataclass

Schema: TypeAlias = dict[str, Any]

REFERENCE: Final = "#/components/schemas/"
"""Where the schemas of documents stand, as the description of the API has it."""
TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
_MEANING: Final = "description"


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of document. Each of its keys is there, unless it is `optional`; more keys may come with time."""

    name: str
    keys: Mapping[str, Schema]
    optional: frozenset[str] = frozenset()

    @property
    def component(self) -> str:
        """Its name where names are one word."""
        return "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z]+", self.name))

    @property
    def meanings(self) -> Mapping[str, str]:
        """What each key means."""
        return {key: str(schema[_MEANING]) for key, schema in self.keys.items()}

    def schema(self) -> Schema:
        """The JSON Schema, without those of the documents in it."""
        return {"title": self.name, **_record(self.keys, self.optional)}

    def refined(self, name: str, *, optional: Iterable[str] = (), **keys: Schema) -> Shape:
        """The same document with more keys before its own, and some of them not always there."""
        return Shape(name, {**keys, **self.keys}, self.optional | frozenset(optional))


def text(meaning: str) -> Schema:
    """Text."""
    return {"type": "string", _MEANING: meaning}


def whole(meaning: str, *, least: int | None = 0) -> Schema:
    """An integer; differences of what clocks say, and what strangers count, have no `least`."""
    return {"type": "integer", **({} if least is None else {"minimum": least}), _MEANING: meaning}


def flag(meaning: str) -> Schema:
    """True or false."""
    return {"type": "boolean", _MEANING: meaning}


def time(meaning: str) -> Schema:
    """An instant."""
    return {"type": "string", "format": "date-time", "pattern": TIME, _MEANING: meaning}


def one_of(words: Iterable[str], meaning: str) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": [str(word) for word in words], _MEANING: meaning}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    inner = {key: value for key, value in schema.items() if key != _MEANING}
    said = {_MEANING: schema[_MEANING]} if _MEANING in schema else {}
    if "enum" in inner:
        return {"type": [inner["type"], "null"], "enum": [*inner["enum"], None], **said}
    if isinstance(inner.get("type"), str) and inner["type"] not in {"array", "object"}:
        return {**inner, "type": [inner["type"], "null"], **said}
    return {"anyOf": [inner, {"type": "null"}], **said}


def many(item: Schema | Shape, meaning: str = "") -> Schema:
    """A list."""
    return {"type": "array", "items": a(item), **_said(meaning)}


def by_name(item: Schema | Shape, meaning: str = "") -> Schema:
    """A map whose keys are names of somebody's choice."""
    return {"type": "object", "additionalProperties": a(item), **_said(meaning)}


def record(meaning: str = "", *, optional: Iterable[str] = (), **keys: Schema) -> Schema:
    """A document in a document that is nowhere else."""
    return {**_record(keys, frozenset(optional)), **_said(meaning)}


def a(kind: Schema | Shape, meaning: str = "") -> Schema:
    """One of these documents or values."""
    if isinstance(kind, Shape):
        return {"$ref": REFERENCE + kind.component, **_said(meaning)}
    return {**kind, **_said(meaning)}


def components(shapes: Iterable[Shape]) -> dict[str, Schema]:
    """The schemas of these documents by name."""
    return {shape.component: shape.schema() for shape in shapes}


def _record(keys: Mapping[str, Schema], optional: frozenset[str]) -> Schema:
    assert optional <= keys.keys(), f"{optional - keys.keys()} are no keys"
    return {"type": "object", "required": [key for key in keys if key not in optional], "properties": dict(keys)}


def _said(meaning: str) -> Schema:
    return {_MEANING: meaning} if meaning else {}
