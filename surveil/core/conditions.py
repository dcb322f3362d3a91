"""What a condition may ask for, and whether it makes sense: `when` of a job, as its author wrote it.

What belongs here: the names and functions of the language, and its types. What does not: its grammar
(`core.expressions`), and what comes of a condition (`core.decisions`).

There are texts, flags and lists of texts. Nothing is turned into something else behind anybody's back: only flags can
be joined, only texts compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from typing import Final, Literal, TypeAlias, get_args

from surveil.core import expressions as tree
from surveil.core.expressions import ExpressionError, Node, inside
from surveil.core.globs import read_globs
from surveil.core.patterns import PATTERN_CHARS_MAX
from surveil.core.spelling import closest, did_you_mean, quoted
from surveil.frozen import dataclass
from surveil.protocol import Trigger

WORDS: Final[Mapping[str, str]] = {"passed": "passed()", "failed": "failed()", "always": "always()"}
"""What `when` can be in one word, and what it stands for."""
STATES: Final = ("failed", "errored", "cancelled", "skipped", "passed")
"""How a job can have ended; of a job with a matrix the first of these that one of its cells has."""
TEXTS: Final = ("event", "repo", "ref", "branch", "tag", "sha")
GROUPS: Final = ("matrix", "env", "needs")

_Type: TypeAlias = Literal["text", "flag", "list"]
_A: Final = {"text": "a text", "flag": "true or false", "list": "a list"}
_SIGNATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "passed": (),
    "failed": (),
    "always": (),
    "startswith": ("text", "beginning"),
    "contains": ("text", "part"),
    "matches": ("text", "pattern"),
}
FUNCTIONS: Final = (*_SIGNATURES, "changed")
_ABOUT_NEEDS: Final = frozenset({"passed", "failed", "always"})
_FOREIGN: Final[Mapping[str, str]] = {
    "github": "write `ref`, `branch`, `event` and so on without `github.`",
    "success": "write `passed()`",
    "failure": "write `failed()`",
    "cancelled": "write `needs.JOB.state == 'cancelled'`",
    "endswith": "write `matches(TEXT, '*END')`",
    "steps": "a condition is decided before the first step; write it inside `run`",
    "on_success": "write `passed`",
    "on_failure": "write `failed`",
    "manual": "write `event == 'manual'`",
    "never": "write `false`",
    "CI_COMMIT_BRANCH": "write `branch`",
    "CI_COMMIT_TAG": "write `tag`",
    "CI_PIPELINE_SOURCE": "write `event`",
    "SURVEIL_REF": "write `ref`",
    "SURVEIL_SHA": "write `sha`",
    "SURVEIL_REPO": "write `repo`",
}
"""Names of other systems' conditions, and what to write here."""
EVENTS: Final[tuple[str, ...]] = get_args(Trigger)
_ELSEWHERE: Final[Mapping[str, str]] = {
    "success": "passed",
    "failure": "failed",
    "canceled": "cancelled",
    "merge_request_event": "pull_request",
    "merge_request": "pull_request",
    "workflow_dispatch": "manual",
    "web": "manual",
    "cron": "schedule",
}
"""Values of other systems, and their names here."""
NUMBER: Final = re.compile(r"v?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?:[-+ ].*)?", re.DOTALL)
"""A text that `<` and its like can compare: `3`, `3.11`, `v1.2.0`, `3.13-dev`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a job's condition can name: its matrix values and variables, and by each name the cells that it needs."""

    matrix: Collection[str] = ()
    env: Collection[str] = ()
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)


def asks_for_ends(node: Node) -> bool:
    """Whether a job's condition speaks of how its needs ended: by a function, or by a `state`."""
    match node:
        case tree.Name(path=("needs", _, "state")):
            return True
        case _:
            return calls_for_ends(node) or any(asks_for_ends(part) for part in inside(node))


def calls_for_ends(node: Node) -> bool:
    """Whether a condition asks by a function how what comes before ended: needs, or of a step's condition the steps."""
    if isinstance(node, tree.Call) and node.function in _ABOUT_NEEDS:
        return True
    return any(calls_for_ends(part) for part in inside(node))


def path_patterns(node: Node) -> Iterator[tuple[str, ...]]:
    """The patterns of each `changed(...)` of a condition."""
    if isinstance(node, tree.Call) and node.function == "changed":
        yield texts_of(node)
    for part in inside(node):
        yield from path_patterns(part)


# ---- whether it makes sense ----


def check(node: Node, known: Known) -> list[ExpressionError]:
    """What is wrong with a condition as a whole, in its order."""
    checker = _Checker(known)
    kind = checker.type_of(node)
    if not checker.found and kind != "flag":
        hint = "compare it, for example `tag != ''`" if kind == "text" else "ask for a member: `'docs/a.md' in paths`"
        checker.object(node, f"a condition is true or false, and this is {_A[kind]}", hint)
    return checker.found


def check_text(node: Node, known: Known) -> list[ExpressionError]:
    """What is wrong with what is to be filled in somewhere, where it must be a text."""
    checker = _Checker(known)
    kind = checker.type_of(node)
    if not checker.found and kind != "text":
        checker.object(node, f"a text is filled in here, and this is {_A[kind]}")
    return checker.found


@dataclass(slots=True)
class _Checker:
    known: Known
    found: list[ExpressionError] = field(default_factory=list)

    def object(self, node: Node, message: str, hint: str = "") -> None:
        self.found.append(ExpressionError(message, node.at, hint))

    def type_of(self, node: Node) -> _Type:
        """What a node comes to; objects to whatever is wrong with it and inside of it."""
        match node:
            case tree.Literal():
                return "flag" if isinstance(node.value, bool) else "text"
            case tree.Name():
                return self._name(node)
            case tree.Call():
                return self._call(node)
            case tree.Listed():
                for item in node.items:
                    self._want("text", item, "a list holds texts")
                return "list"
            case tree.Inverse():
                self._want("flag", node.inside, "`!` turns a condition around")
                return "flag"
            case tree.Junction():
                for part in node.parts:
                    self._want("flag", part, f"`{node.sign}` joins conditions")
                return "flag"
            case tree.Comparison():
                self._comparison(node)
                return "flag"

    def _want(self, wanted: _Type, node: Node, why: str) -> None:
        before = len(self.found)
        kind = self.type_of(node)
        if kind != wanted and len(self.found) == before:
            hint = "compare it, for example `tag != ''`" if (kind, wanted) == ("text", "flag") else ""
            self.object(node, f"{why}, and this is {_A[kind]}", hint)

    def _name(self, node: tree.Name) -> _Type:
        first, *rest = node.path
        match first, len(rest):
            case (("matrix" | "env"), 1):
                known = self.known.matrix if first == "matrix" else self.known.env
                if rest[0] not in known:
                    hint = _FOREIGN.get(rest[0]) or did_you_mean(rest[0], known) or f"add it under `{first}`"
                    self.object(node, f"there is no {quoted(shown_name(node))}", hint)
            case "needs", 2 | 3:
                self._need(node)
            case (("matrix" | "env" | "needs"), _):
                usual = {"needs": "needs.JOB.state` or `needs.JOB.outputs.NAME"}.get(first, f"{first}.NAME")
                self.object(node, f"{quoted(shown_name(node))} is no value: write `{usual}`")
            case (("paths" | "event" | "repo" | "ref" | "branch" | "tag" | "sha"), 0):
                return "list" if first == "paths" else "text"
            case (("paths" | "event" | "repo" | "ref" | "branch" | "tag" | "sha"), _):
                self.object(node, f"{quoted(first)} has no {quoted(rest[0])}")
            case _:
                hint = _FOREIGN.get(first) or _between(first)
                self.object(node, f"there is no {quoted(first)}", hint)
        return "text"

    def _need(self, node: tree.Name) -> None:
        job, *rest = node.path[1:]
        cells = self.known.needs.get(job)
        if cells is None:
            needs = self.known.needs
            hint = did_you_mean(job, needs) if needs else ""
            self.object(node, f"the job {quoted(job)} is not among its `needs`", hint or "add it under `needs`")
        elif rest[0] == "outputs" and len(rest) > 1:
            if len(cells) > 1:
                cell = min(cells)
                message = f"{quoted(job)} is {len(cells)} jobs, each with outputs of its own"
                self.object(node, message, f"name one of them: `needs[{_between_quotes(cell)}].outputs.{rest[1]}`")
        elif rest != ["state"]:
            self.object(node, f"{quoted(shown_name(node))} is no value", "write `.state` or `.outputs.NAME`")

    def _call(self, node: tree.Call) -> _Type:
        if node.function == "changed":
            self._changed(node)
            return "flag"
        signature = _SIGNATURES.get(node.function)
        if signature is None:
            known = {f"{name}()" for name in FUNCTIONS}
            near = closest(node.function, FUNCTIONS)
            hint = _FOREIGN.get(node.function.lower()) or (
                f"did you mean `{near}()`?" if near else f"known are {', '.join(f'`{name}`' for name in sorted(known))}"
            )
            self.object(node, f"there is no function {quoted(node.function)}", hint)
        elif len(node.arguments) != len(signature):
            usual = f"{node.function}({', '.join(name.upper() for name in signature)})"
            self.object(node, f"{quoted(node.function)} is written `{usual}`")
        else:
            for argument in node.arguments:
                self._want("text", argument, f"{quoted(node.function)} looks at texts")
            if node.function == "matches" and not isinstance(node.arguments[1], tree.Literal):
                self.object(node.arguments[1], "the pattern of `matches` is a text between quotes")
            elif node.function == "matches" and len(str(texts_of(node)[-1])) > PATTERN_CHARS_MAX:
                self.object(node.arguments[1], f"a pattern has at most {PATTERN_CHARS_MAX} characters")
        return "flag"

    def _changed(self, node: tree.Call) -> None:
        texts = texts_of(node)
        if not node.arguments or len(texts) < len(node.arguments):
            self.object(node, "`changed` takes patterns of paths between quotes", "for example `changed('docs/**')`")
            return
        try:
            read_globs(texts)
        except ValueError as error:
            self.object(node.arguments[0], str(error))

    def _comparison(self, node: tree.Comparison) -> None:
        if node.sign == "in":
            self._want("text", node.left, "a member of a list is a text")
            self._want("list", node.right, "`in` looks into a list like `['push', 'manual']`")
            for item in node.right.items if isinstance(node.right, tree.Listed) else ():
                if isinstance(item, tree.Literal) and isinstance(item.value, str):
                    self._against("==", node.left, item, item.value)
            return
        before = len(self.found)
        left, right = self.type_of(node.left), self.type_of(node.right)
        if len(self.found) > before:
            return
        if (left, right) != ("text", "text") and (left != right or left == "list" or node.sign not in {"==", "!="}):
            self.object(node, f"`{node.sign}` compares texts, not {_A[left]} with {_A[right]}")
            return
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(other, tree.Literal) and isinstance(other.value, str):
                self._against(node.sign, one, other, other.value)

    def _against(self, sign: str, asked: Node, literal: tree.Literal, text: str) -> None:
        """Object to a comparison that is always the same, which nobody means."""
        if sign not in {"==", "!="}:
            if NUMBER.fullmatch(text) is None:
                self.object(literal, f"`{sign}` compares numbers like 3.11, and {quoted(text)} is none")
        elif not isinstance(asked, tree.Name):
            return
        elif asked.path == ("ref",) and not text.startswith("refs/") and text not in {"", "HEAD"}:
            hint = f"write `branch {sign} '{text}'`" if _plain(text) else "compare `branch`"
            self.object(literal, f"`ref` is a full name like `refs/heads/main`, never {quoted(text)}", hint)
        elif asked.path == ("event",) and text not in EVENTS:
            hint = "write `tag != ''`" if text == "tag" else _meant(text, EVENTS)
            self.object(literal, f"no build is made for the event {quoted(text)}", hint)
        elif asked.path[::2] == ("needs", "state") and text not in STATES:
            self.object(literal, f"no job ends as {quoted(text)}", _meant(text, STATES))


def _meant(text: str, known: Collection[str]) -> str:
    meant = _ELSEWHERE.get(text)
    return f"did you mean `{meant}`?" if meant in known else did_you_mean(text, known)


def _plain(text: str) -> bool:
    return text.isprintable() and "'" not in text and "`" not in text


def _between(word: str) -> str:
    """What an unknown name may have been meant to be: another name, or a text without its quotes."""
    near = closest(word, (*TEXTS, "paths", *GROUPS), likeness=0.8)
    return f"did you mean `{near}`?" if near else f"a text stands between quotes: '{word}'"


def texts_of(node: tree.Call) -> tuple[str, ...]:
    """Those arguments of a function that stand between quotes."""
    found = (part.value for part in node.arguments if isinstance(part, tree.Literal))
    return tuple(value for value in found if isinstance(value, str))


_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def shown_name(node: tree.Name) -> str:
    """The name as people write it."""
    first, *rest = node.path
    return first + "".join(f".{part}" if _PLAIN.fullmatch(part) else f"[{_between_quotes(part)}]" for part in rest)


def _between_quotes(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
