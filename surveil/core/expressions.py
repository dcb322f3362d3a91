"""The small language of conditions: `branch == 'main' && changed('src/**')`. Text to a tree, or an objection to it.

What belongs here: its words and its grammar. What does not: which names there are and what comes of a condition
(`core.conditions`).

    either     = both { "||" both }
    both       = inverse { "&&" inverse }
    inverse    = "!" inverse | comparison
    comparison = value [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" ) value ]
    value      = TEXT | NUMBER | "true" | "false" | "(" either ")" | "[" value { "," value } "]"
               | NAME { "." NAME | "[" TEXT "]" } | NAME "(" [ value { "," value } ] ")"

A text stands between single or double quotes and knows no escapes. A number is a text as well, the one that was typed,
as everywhere in a pipeline file: `3.10` is no 3.1. There is nothing that repeats, and nothing that is carried out but
what this grammar says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

from surveil.core.spelling import quoted
from surveil.frozen import dataclass

CHARACTERS_MAX: Final = 1000
TOKENS_MAX: Final = 250
DEPTH_MAX: Final = 20

_TOKEN: Final = re.compile(
    r"(?P<space>[ \t\r\n]+)|(?P<text>'[^']*'|\"[^\"]*\")|(?P<number>[0-9]+(?:\.[0-9]+)*)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_-]*)|(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],.])"
)
COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_HINTS: Final = {
    "and": "write `&&`",
    "or": "write `||`",
    "not": "write `!`",
    "=": "write `==`",
    "&": "write `&&`",
    "|": "write `||`",
    "$": "write the name alone, like `branch` or `env.NAME`",
    "'": "the text's other quote is missing",
    '"': "the text's other quote is missing",
}
"""What people write who know another language, and what to write here."""


class ExpressionError(ValueError):
    """The author's fault: a clause for people, the character at which it is wrong (from 0), and what to do."""

    def __init__(self, message: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, or `true` or `false`; `number` where no quotes are around it."""

    at: int
    value: str | bool
    number: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """What the condition asks for: `branch`, `matrix.python`, `needs.build.outputs.version`."""

    at: int
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of values."""

    at: int
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A list, of which something may be a member."""

    at: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Inverse:
    """True where what is inside is not."""

    at: int
    inside: Node


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values and a sign between them, or `in`; `at` is the sign's place."""

    at: int
    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined by `&&` or `||`; read from the left, and no further than is needed."""

    at: int
    sign: str
    parts: tuple[Node, ...]


Node: TypeAlias = Literal | Name | Call | Listed | Inverse | Comparison | Junction


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """Read a condition; the same text is read once. Takes time in proportion to its length.

    Raises:
        ExpressionError: it is none.
    """
    if len(text) > CHARACTERS_MAX:
        raise ExpressionError(f"a condition has at most {CHARACTERS_MAX} characters, not {len(text)}", 0)
    if (wrapped := text.find("${{")) >= 0:
        hint = "everything in a condition is an expression already"
        raise ExpressionError("a condition is written without `${{ }}`", wrapped, hint)
    return _Reader(_tokens(text)).whole()


def inside(node: Node) -> tuple[Node, ...]:
    """What stands directly inside a node."""
    match node:
        case Call():
            return node.arguments
        case Listed():
            return node.items
        case Inverse():
            return (node.inside,)
        case Comparison():
            return (node.left, node.right)
        case Junction():
            return node.parts
        case _:
            return ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ExpressionError(f"{quoted(text[at])} means nothing here", at, _HINTS.get(text[at], ""))
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0], at))
        at = found.end()
    if len(tokens) > TOKENS_MAX:
        raise ExpressionError(f"a condition has at most {TOKENS_MAX} words and signs", tokens[TOKENS_MAX].at)
    tokens.append(_Token("end", "", len(text.rstrip())))
    return tokens


class _Reader:
    """Reads one rule of the grammar in each method; how deep they call each other is bounded by `DEPTH_MAX`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._either()
        if self._peek().kind != "end":
            raise self._unexpected("expected `&&`, `||` or the end")
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def _sees(self, *signs: str) -> bool:
        token = self._peek()
        return token.kind in {"sign", "word"} and token.text in signs

    def _expect(self, sign: str) -> _Token:
        if not self._sees(sign):
            raise self._unexpected(f"expected `{sign}`")
        return self._take()

    def _unexpected(self, expected: str) -> ExpressionError:
        token = self._peek()
        found = "the end" if token.kind == "end" else quoted(token.text)
        return ExpressionError(f"{expected}, not {found}", token.at, _HINTS.get(token.text, ""))

    def _either(self) -> Node:
        return self._joined("||", self._both)

    def _both(self) -> Node:
        return self._joined("&&", self._inverse)

    def _joined(self, sign: str, part: Callable[[], Node]) -> Node:
        at = self._peek().at
        parts = [part()]
        while self._sees(sign):
            self._take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(at, sign, tuple(parts))

    def _inverse(self) -> Node:
        if not self._sees("!"):
            return self._comparison()
        at = self._take().at
        self._enter(at)
        node = Inverse(at, self._inverse())
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        left = self._value()
        if not self._sees(*COMPARISONS, "in"):
            return left
        sign = self._take()
        right = self._value()
        if self._sees(*COMPARISONS, "in"):
            raise ExpressionError("comparisons cannot be chained", self._peek().at, "join two of them by `&&`")
        return Comparison(sign.at, sign.text, left, right)

    def _value(self) -> Node:
        token = self._peek()
        match token.kind, token.text:
            case "text", text:
                self._take()
                return Literal(token.at, text[1:-1])
            case "number", text:
                self._take()
                return Literal(token.at, text, number=True)
            case "word", "true" | "false":
                return Literal(self._take().at, token.text == "true")
            case "word", text if text not in {"in", "and", "or", "not"}:
                return self._name()
            case "sign", "(":
                self._enter(self._take().at)
                node = self._either()
                self._expect(")")
                self._depth -= 1
                return node
            case "sign", "[":
                return Listed(token.at, self._several("[", "]"))
        raise self._unexpected("expected a value")

    def _name(self) -> Node:
        first = self._take()
        if self._sees("("):
            return Call(first.at, first.text, self._several("(", ")"))
        path = [first.text]
        while self._sees(".", "["):
            if self._take().text == ".":
                if self._peek().kind != "word":
                    raise self._unexpected("expected a name behind the `.`")
                path.append(self._take().text)
            else:
                if self._peek().kind != "text":
                    raise self._unexpected("expected a name between quotes")
                path.append(self._take().text[1:-1])
                self._expect("]")
        return Name(first.at, tuple(path))

    def _several(self, start: str, end: str) -> tuple[Node, ...]:
        self._enter(self._expect(start).at)
        items: list[Node] = []
        while not self._sees(end):
            if items:
                self._expect(",")
            items.append(self._either())
        self._take()
        self._depth -= 1
        return tuple(items)

    def _enter(self, at: int) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ExpressionError(f"a condition is nested at most {DEPTH_MAX} deep", at)
