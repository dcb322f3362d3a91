"""YAML text to a tree of nodes that know their places, or one complaint; within limits that no text can pass.

What belongs here: bytes, encodings, YAML's grammar, and the subset of YAML that a pipeline file may use.
What does not: what keys mean.

The tree is built from the parser's *events*, which come one by one and without recursion, so that every limit
bites before memory, time or the C stack does. Loading a document with the library's own constructors is not
safe at any size: nested brackets crash the interpreter, merge keys take exponential time, and `NO`, `12:30` or
a key written twice silently become something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from surveil.core.declared import START, Complaint, Place
from surveil.core.spelling import quoted
from surveil.frozen import dataclass as quick
from surveil.protocol import PIPELINE_BYTES_MAX

DEPTH_MAX: Final = 50
NODES_MAX: Final = 20_000
"""Nodes of the document, counting what stands behind an alias each time that it is used."""
ALIASES_MAX: Final = 100
CHARACTERS_MAX: Final = 1024 * 1024
"""Characters of all scalars together, aliases counted in full; four times the largest file."""

# The C parser where the library was built with it. The other one is slow, but says the same.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNREADABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN: Final = re.compile(
    r"(?P<nothing>~|null|Null|NULL|)|(?P<flag>true|True|TRUE|false|False|FALSE)"
    r"|(?P<whole>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)"
    r"|(?P<real>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)


class Kind(StrEnum):
    """What a scalar is by YAML 1.2's core schema."""

    TEXT = "text"
    WHOLE = "a whole number"
    REAL = "a number"
    FLAG = "true or false"
    NOTHING = "nothing"


_KINDS: Final = {"nothing": Kind.NOTHING, "flag": Kind.FLAG, "whole": Kind.WHOLE, "real": Kind.REAL}


@quick(frozen=True, slots=True)
class Scalar:
    """A value as it was typed. The text is kept even where it looks like a number: `3.10` is no 3.1."""

    text: str
    plain: bool
    place: Place
    quote: int | None = None
    """The characters of its opening quote (none or one), if its text stands behind that in one line as it is."""

    @property
    def inside(self) -> Place | None:
        """Where its first character stands, if the others follow it as they are."""
        if self.quote is None:
            return None
        return Place(self.place.line, self.place.column + self.quote, self.place.file)

    @property
    def kind(self) -> Kind:
        """What an unquoted text means; a quoted one is always text."""
        if not self.plain:
            return Kind.TEXT
        found = _PLAIN.fullmatch(self.text)
        return Kind.TEXT if found is None else _KINDS[found.lastgroup or ""]


@dataclass(slots=True)
class Listing:
    """A YAML sequence."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A YAML mapping with text keys; `key_places` says where each key stands."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)


Node: TypeAlias = Scalar | Listing | Table


def _quote(event: Any) -> int | None:
    """How many characters of a quote stand before a scalar's text, if that stands there as it is: in one line, without
    escapes.
    """
    quote = 1 if event.style in {"'", '"'} else 0
    start, end = event.start_mark, event.end_mark
    straight = start.line == end.line and end.column - start.column == len(event.value) + 2 * quote
    return quote if straight else None


class _BadTextError(Exception):
    """Leaves the depths of this module for `read`, which makes it a value; it never gets out."""

    def __init__(self, message: str, place: Place, hint: str = "") -> None:
        super().__init__(message)
        self.complaint = Complaint(message, place, hint)


def read(data: bytes | str, file: str = "") -> Node | Complaint:
    """Read one document of at most `PIPELINE_BYTES_MAX` bytes; else a complaint, never an exception. All places are in
    `file`.
    """
    try:
        text = decode(data)
        return _Builder(text, file).build()
    except _BadTextError as bad:
        return replace(bad.complaint, place=replace(bad.complaint.place, file=file))


def lines(text: str) -> list[str]:
    """Split a text into lines exactly as YAML counts them."""
    return _LINE_END.split(text)


def decode(data: bytes | str) -> str:
    """Bytes to text without a byte order mark, in characters that YAML allows."""
    if isinstance(data, str):
        try:
            size = len(data.encode())
        except UnicodeEncodeError as error:
            raise _BadTextError("the text holds half of a surrogate pair", _place_of(data, error.start)) from error
        text = data
    else:
        size = len(data)
        text = _decode_utf8(data)
    if size > PIPELINE_BYTES_MAX:
        message = f"the file has {size} bytes, and at most {PIPELINE_BYTES_MAX} are read"
        raise _BadTextError(message, START, "move long scripts into files of the repository and call them")
    text = text.removeprefix("\ufeff")
    if (bad := _UNREADABLE.search(text)) is not None:
        name = "a NUL byte" if bad[0] == "\0" else f"the control character U+{ord(bad[0]):04X}"
        hint = (
            "save the file as UTF-8" if bad[0] == "\0" else "remove it, or write it as an escape between double quotes"
        )
        raise _BadTextError(f"the file holds {name}", _place_of(text, bad.start()), hint)
    return text


def _decode_utf8(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _BadTextError("the file is UTF-16, not UTF-8", START, "save it as UTF-8")
    if len(data) > PIPELINE_BYTES_MAX:
        return ""  # Its size is complained about next; there is no need to look inside.
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        message = f"the byte 0x{data[error.start]:02X} here is not UTF-8"
        raise _BadTextError(message, _place_of(before, len(before)), "save the file as UTF-8") from error


def _place_of(text: str, index: int) -> Place:
    before = lines(text[:index])
    return Place(len(before), len(before[-1]) + 1)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet; its numbers measure what is inside, aliases in full."""

    node: Listing | Table
    anchor: str | None
    key: Scalar | None = None
    nodes: int = 1
    characters: int = 0
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    node: Node
    nodes: int
    characters: int
    height: int


@dataclass(slots=True)
class _Builder:
    """Takes events one by one; nesting of the text becomes a longer `stack`, never nesting of calls."""

    text: str
    file: str = ""
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    root: Node | None = None
    documents: int = 0
    nodes: int = 0
    characters: int = 0
    aliases: int = 0

    def build(self) -> Node:
        for event in self._events():
            self._take(event)
        if self.root is None or (isinstance(self.root, Scalar) and self.root.kind is Kind.NOTHING):
            raise _BadTextError(
                "the file is empty", START, "write at least `jobs`, or remove the file to let surveil choose"
            )
        return self.root

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self.text, Loader=_LOADER)
        except (yaml.YAMLError, ValueError) as error:
            # The parser written in Python lets `chr` say ValueError about an escape beyond Unicode.
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> _BadTextError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or "this is not YAML"
        if mark is None:
            return _BadTextError(f"{problem}: {error}", START)
        place = self._inside(Place(mark.line + 1, mark.column + 1))
        return _BadTextError(f"this is not YAML: {problem}", place, self._hint_for(problem, place))

    def _inside(self, place: Place) -> Place:
        """The C parser places what is missing at the end on a line that does not exist."""
        all_lines = lines(self.text)
        if place.line <= len(all_lines):
            return place
        return Place(len(all_lines), len(all_lines[-1]) + 1)

    def _hint_for(self, problem: str, place: Place) -> str:
        all_lines = lines(self.text)
        rest = all_lines[place.line - 1][place.column - 1 :] if place.line <= len(all_lines) else ""
        if rest.startswith("\t"):
            return "indent with spaces; YAML does not allow tabs here"
        if rest.startswith(("@", "`", "%")):
            return f"put quotes around a value that starts with {rest[0]}"
        if "mapping values are not allowed" in problem:
            return "put quotes around a value that holds `: `, and check the indentation"
        return "check the indentation, the brackets and the quotes just before this place"

    def _take(self, event: Any) -> None:
        mark = event.start_mark
        place = Place(mark.line + 1, mark.column + 1, self.file)
        # By its very class, the most frequent first: there are thousands of them in a file.
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._refuse_tag(event, place)
            scalar = Scalar(event.value, bool(event.implicit[0]), place, _quote(event))
            self._add(scalar, event.anchor, 1, len(event.value), 0)
        elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
            self._refuse_tag(event, place)
            self._open(Listing(place) if kind is yaml.SequenceStartEvent else Table(place), event.anchor)
        elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
            top = self.stack.pop()
            # The start was counted when it came; what is inside was counted since.
            self._add(top.node, top.anchor, top.nodes, top.characters, top.height, counted=True)
        elif kind is yaml.AliasEvent:
            self._take_alias(event.anchor, place)
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                hint = "a pipeline is one document: remove `---`"
                raise _BadTextError("a second document starts here", place, hint)
        # Else it is the stream's start or end, or the document's end.

    def _refuse_tag(self, event: Any, place: Place) -> None:
        if event.tag is not None:
            raise _BadTextError(
                f"the tag {quoted(event.tag)} is not allowed", place, "remove it; put quotes around a text"
            )

    def _open(self, node: Listing | Table, anchor: str | None) -> None:
        if self.stack and isinstance(self.stack[-1].node, Table) and self.stack[-1].key is None:
            self._refuse_key(node.place)
        self._count(1, 0, node.place)
        self.stack.append(_Open(node, anchor))
        self._check_depth(0, node.place)

    def _take_alias(self, name: str | None, place: Place) -> None:
        assert name is not None, "an alias has a name, or the parser would have complained"
        self.aliases += 1
        if self.aliases > ALIASES_MAX:
            raise _BadTextError(f"more than {ALIASES_MAX} aliases are used", place, "write the values out")
        if any(frame.anchor == name for frame in self.stack):
            raise _BadTextError(f"the alias {quoted('*' + name)} holds itself", place, "write the values out")
        target = self.anchors.get(name)
        if target is None:
            raise _BadTextError(
                f"the alias {quoted('*' + name)} has no anchor before it",
                place,
                f"put quotes around `*{name}`",
            )
        if self.stack and isinstance(self.stack[-1].node, Table) and self.stack[-1].key is None:
            self._refuse_key(place)
        self._check_depth(target.height, place)
        self._add(target.node, None, target.nodes, target.characters, target.height)

    def _refuse_key(self, place: Place) -> NoReturn:
        raise _BadTextError(
            "a key must be a plain text", place, "put quotes around a key that starts with `[`, `{` or `*`"
        )

    def _check_depth(self, height: int, place: Place) -> None:
        if len(self.stack) + height > DEPTH_MAX:
            raise _BadTextError(f"lists and keys are nested more than {DEPTH_MAX} deep", place)

    def _count(self, nodes: int, characters: int, place: Place) -> None:
        self.nodes += nodes
        self.characters += characters
        if self.nodes > NODES_MAX:
            raise _BadTextError(f"the file has more than {NODES_MAX} values, aliases counted in full", place)
        if self.characters > CHARACTERS_MAX:
            raise _BadTextError(
                f"the file's values have more than {CHARACTERS_MAX} characters, aliases counted in full",
                place,
            )

    def _add(
        self,
        node: Node,
        anchor: str | None,
        nodes: int,
        characters: int,
        height: int,
        *,
        counted: bool = False,
    ) -> None:
        """Put a finished node where it belongs, and remember it when it is anchored."""
        if not counted:
            self._count(nodes, characters, node.place)
        if anchor is not None:
            self.anchors[anchor] = _Anchored(node, nodes, characters, height)
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.nodes += nodes
        top.characters += characters
        top.height = max(top.height, height + 1)
        if isinstance(top.node, Listing):
            top.node.items.append(node)
        elif top.key is None:
            assert isinstance(node, Scalar), "other keys are refused before they are read"
            top.key = self._checked_key(top.node, node)
        else:
            top.node.entries[top.key.text] = node
            top.key = None

    def _checked_key(self, table: Table, key: Scalar) -> Scalar:
        if key.plain and key.text == "<<":
            raise _BadTextError(
                "the merge key `<<` is not allowed",
                key.place,
                "write the keys out, or use an alias for one value",
            )
        if key.kind is Kind.NOTHING:
            raise _BadTextError("a key is missing here", key.place)
        if key.text in table.key_places:
            first = table.key_places[key.text].line
            raise _BadTextError(
                f"the key {quoted(key.text)} is written twice, first in line {first}",
                key.place,
                "remove one of them",
            )
        table.key_places[key.text] = key.place
        return key
