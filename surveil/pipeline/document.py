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
from dataclasses import field
from enum import StrEnum
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from surveil.core.declared import START, Complaint, Place
from surveil.core.spelling import quoted
from surveil.frozen import dataclass, replace
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
    r"(?P<flag>true|True|TRUE|false|False|FALSE)"
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


_QUOTES: Final = frozenset("\"'")
_NOTHING: Final = frozenset({"", "~", "null", "Null", "NULL"})
_KINDS: Final = {"flag": Kind.FLAG, "whole": Kind.WHOLE, "real": Kind.REAL}


@dataclass(frozen=True, slots=True)
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
    def is_nothing(self) -> bool:
        """Whether no value is there."""
        return self.plain and self.text in _NOTHING

    @property
    def kind(self) -> Kind:
        """What an unquoted text means; a quoted one is always text."""
        if not self.plain:
            return Kind.TEXT
        if self.text in _NOTHING:
            return Kind.NOTHING
        found = _PLAIN.fullmatch(self.text)
        return Kind.TEXT if found is None else _KINDS[found.lastgroup or ""]


@dataclass(slots=True)
class Listing:
    """A YAML sequence."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """A YAML mapping with text keys, in the order of the file."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    key_marks: dict[str, Any] = field(default_factory=dict)

    def place_of(self, key: str) -> Place:
        """Where a key stands."""
        return _place_at(self.key_marks[key], self.place.file)


Node: TypeAlias = Scalar | Listing | Table


def _place_at(mark: Any, file: str) -> Place:
    return Place(mark.line + 1, mark.column + 1, file)


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
        return replace(bad.complaint, place=bad.complaint.place._replace(file=file))


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
    """A collection whose end has not come yet; what had been counted before it began measures what is inside."""

    node: Listing | Table
    anchor: str | None
    nodes_before: int
    characters_before: int
    wants_key: bool
    key: str = ""
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
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    root: Listing = field(default_factory=lambda: Listing(START))
    """Holds the document, so that every node stands in a collection."""
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0
    nodes: int = 0
    characters: int = 0
    aliases: int = 0

    def build(self) -> Node:
        self.stack.append(_Open(self.root, None, 0, 0, wants_key=False))
        self._take_all()
        root = self.root.items[0] if self.root.items else None
        if root is None or (isinstance(root, Scalar) and root.is_nothing):
            raise _BadTextError(
                "the file is empty", START, "write at least `jobs`, or remove the file to let surveil choose"
            )
        return root

    def _take_all(self) -> None:
        try:
            parser = _LOADER(self.text)
            next_event, take = parser.get_event, self._take
            try:
                while (event := next_event()) is not None:
                    take(event)
            finally:
                parser.dispose()
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
        # By its very class, the most frequent first: there are thousands of them in a file.
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._take_scalar(event)
        elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
            self._open(event, Listing if kind is yaml.SequenceStartEvent else Table)
        elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
            self._close()
        elif kind is yaml.AliasEvent:
            self._take_alias(event.anchor, event)
        elif kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                hint = "a pipeline is one document: remove `---`"
                raise _BadTextError("a second document starts here", self._place(event), hint)
        # Else it is the stream's start or end, or the document's end.

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(mark.line + 1, mark.column + 1, self.file)

    def _take_scalar(self, event: Any) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        self._count(1, len(event.value), event)
        top = self.stack[-1]
        if top.wants_key:
            self._take_key(event, top)
        elif isinstance(top.node, Table):
            top.node.entries[top.key] = self._scalar(event)
            top.wants_key = True
        else:
            top.node.items.append(self._scalar(event))
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(self._scalar(event), 1, len(event.value), 0)

    def _scalar(self, event: Any) -> Scalar:
        start, end, value = event.start_mark, event.end_mark, event.value
        line, column = start.line, start.column
        quote = 1 if event.style in _QUOTES else 0
        # Its text stands there as it is: in one line, without escapes.
        straight = line == end.line and end.column - column == len(value) + 2 * quote
        place = Place(line + 1, column + 1, self.file)
        return Scalar(value, bool(event.implicit[0]), place, quote if straight else None)

    def _take_key(self, event: Any, top: _Open) -> None:
        table, key, plain = top.node, event.value, event.implicit[0]
        assert isinstance(table, Table), "nothing else wants a key"
        if plain and key == "<<":
            hint = "write the keys out, or use an alias for one value"
            raise _BadTextError("the merge key `<<` is not allowed", self._place(event), hint)
        if plain and key in _NOTHING:
            raise _BadTextError("a key is missing here", self._place(event))
        if key in table.key_marks:
            message = f"the key {quoted(key)} is written twice, first in line {table.place_of(key).line}"
            raise _BadTextError(message, self._place(event), "remove one of them")
        table.key_marks[key] = event.start_mark
        top.key, top.wants_key = key, False

    def _refuse_tag(self, event: Any) -> NoReturn:
        hint = "remove it; put quotes around a text"
        raise _BadTextError(f"the tag {quoted(event.tag)} is not allowed", self._place(event), hint)

    def _open(self, event: Any, kind: type[Listing | Table]) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        place = self._place(event)
        if self.stack[-1].wants_key:
            self._refuse_key(place)
        opened = _Open(kind(place), event.anchor, self.nodes, self.characters, wants_key=kind is Table)
        self._count(1, 0, event)
        self.stack.append(opened)
        self._check_depth(0, place)

    def _close(self) -> None:
        top = self.stack.pop()
        if top.anchor is not None:
            nodes, characters = self.nodes - top.nodes_before, self.characters - top.characters_before
            self.anchors[top.anchor] = _Anchored(top.node, nodes, characters, top.height)
        self._put(top.node, top.height)

    def _take_alias(self, name: str | None, event: Any) -> None:
        assert name is not None, "an alias has a name, or the parser would have complained"
        place = self._place(event)
        self.aliases += 1
        if self.aliases > ALIASES_MAX:
            raise _BadTextError(f"more than {ALIASES_MAX} aliases are used", place, "write the values out")
        if any(frame.anchor == name for frame in self.stack):
            raise _BadTextError(f"the alias {quoted('*' + name)} holds itself", place, "write the values out")
        target = self.anchors.get(name)
        if target is None:
            message = f"the alias {quoted('*' + name)} has no anchor before it"
            raise _BadTextError(message, place, f"put quotes around `*{name}`")
        if self.stack[-1].wants_key:
            self._refuse_key(place)
        self._check_depth(target.height, place)
        self._count(target.nodes, target.characters, event)
        self._put(target.node, target.height)

    def _refuse_key(self, place: Place) -> NoReturn:
        raise _BadTextError(
            "a key must be a plain text", place, "put quotes around a key that starts with `[`, `{` or `*`"
        )

    def _check_depth(self, height: int, place: Place) -> None:
        if len(self.stack) - 1 + height > DEPTH_MAX:
            raise _BadTextError(f"lists and keys are nested more than {DEPTH_MAX} deep", place)

    def _count(self, nodes: int, characters: int, event: Any) -> None:
        self.nodes += nodes
        self.characters += characters
        if self.nodes > NODES_MAX:
            message = f"the file has more than {NODES_MAX} values, aliases counted in full"
            raise _BadTextError(message, self._place(event))
        if self.characters > CHARACTERS_MAX:
            message = f"the file's values have more than {CHARACTERS_MAX} characters, aliases counted in full"
            raise _BadTextError(message, self._place(event))

    def _put(self, node: Node, height: int) -> None:
        """Put a finished node where it belongs."""
        top = self.stack[-1]
        if height >= top.height:
            top.height = height + 1
        if isinstance(top.node, Listing):
            top.node.items.append(node)
        else:
            top.node.entries[top.key] = node
            top.wants_key = True
