"""What comes of a condition, once everything is known that it asks for.

What belongs here: the facts that a condition is about, and its evaluation over them. What does not: whether it makes
sense, which was asked when the pipeline was read (`core.conditions`), and what becomes of the job (`core.builds`).

By `<` and its like texts are compared as people order versions, number by number: 3.9 comes before 3.11.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from itertools import zip_longest
from typing import Final, TypeAlias

from surveil.core import expressions as tree
from surveil.core.conditions import (
    NUMBER,
    STATES,
    TEXTS,
    WORDS,
    asks_for_ends,
    calls_for_ends,
    shown_name,
    texts_of,
)
from surveil.core.expressions import ExpressionError, Node, parse
from surveil.core.globs import any_match, read_globs
from surveil.core.patterns import Stars
from surveil.core.references import Room, TooLargeError, pieces_of
from surveil.core.spelling import quoted
from surveil.core.states import WRONG
from surveil.frozen import dataclass, replace

REASONS_MAX: Final = 6
"""So many of the values that decided are told."""

_Value: TypeAlias = str | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How a job that was needed ended, and what it put out. A failure that is `tolerated` is none for those that need
    it. `attempt` is the one whose verdict that is, 0 where there is none.
    """

    state: str
    tolerated: bool = False
    attempt: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a condition can ask for. `needs` are by their full names, each cell of a matrix on its own.

    `paths` are those that changed with the commit; None where nobody knows, and then everything counts as changed.
    `behind` are the jobs that the needs needed in turn, and so on: where one of them failed, this one is told as well.
    """

    event: str
    repo: str
    ref: str
    sha: str
    paths: tuple[str, ...] | None
    matrix: Mapping[str, str]
    env: Mapping[str, str]
    needs: Mapping[str, Need]
    behind: Mapping[str, Need] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a condition holds, and the values that decided, in words; `problem` says why it cannot be decided."""

    holds: bool
    because: str
    problem: str = ""


def decide(when: str, facts: Facts) -> Decision:
    """Whether a job runs, now that all that it needs has ended. Never raises, whatever the text.

    A condition that does not itself ask how the needs ended holds only where all of them passed.
    """
    evaluation = _Evaluation(facts)
    try:
        node = parse(WORDS.get(when, when))
        holds = (asks_for_ends(node) or evaluation.passed(asked=False)) and evaluation.flag(node)
    except ExpressionError as error:
        return Decision(holds=False, because=evaluation.because(), problem=str(error))
    return Decision(holds=holds, because=evaluation.because())


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """After what a step runs, as one of `WORDS`; empty where it never does, `because` of these values. `problem` as
    above.
    """

    word: str = ""
    because: str = ""
    problem: str = ""


_TURNS: Final = {(True, False): "passed", (False, True): "failed", (True, True): "always", (False, False): ""}
"""By whether a condition holds after steps that passed, and after one that failed."""


def turn_of(when: str, env: Mapping[str, str], facts: Facts) -> Turn:
    """What is left of a step's condition once all is known but how the steps before it end; `env` are the variables
    that it alone has. Never raises.

    A condition that does not itself ask for that holds only where they passed.
    """
    if when in WORDS:
        return Turn(word=when)
    facts = replace(facts, env={**facts.env, **env})
    seen: dict[str, None] = {}
    try:
        node = parse(when)
        good, bad = (_OfSteps(facts, seen, failed=failed) for failed in (False, True))
        held = good.flag(node), calls_for_ends(node) and bad.flag(node)
    except ExpressionError as error:
        return Turn(problem=str(error))
    return Turn(word=_TURNS[held], because=bad.because() or "it asks for what cannot be")


def look_up(name: tree.Name, facts: Facts) -> str:
    """The text that a name stands for; empty where there is no such thing here, as a tag of a commit without one.

    Raises:
        ExpressionError: there is no such name in the language.
    """
    match name.path:
        case ("event",):
            return facts.event
        case ("repo",):
            return facts.repo
        case ("ref",):
            return facts.ref
        case ("branch",):
            return _behind("refs/heads/", facts.ref)
        case ("tag",):
            return _behind("refs/tags/", facts.ref)
        case ("sha",):
            return facts.sha
        case ("matrix", axis):
            return facts.matrix.get(axis, "")
        case ("env", variable):
            return _variable(name, facts.env.get(variable, ""), facts)
        case ("needs", job, "state"):
            states = {need.state for need in _cells(job, facts)}
            return next((state for state in STATES if state in states), "")
        case ("needs", job, "outputs", output):
            cells = _cells(job, facts)
            return cells[0].outputs.get(output, "") if len(cells) == 1 else ""
        case _:
            raise ExpressionError(f"there is no {quoted(shown_name(name))}", name.at)


def fill_in(text: str, facts: Facts, room: Room) -> str:
    """The text with what is known only now in the place of `${{ needs.JOB.outputs.NAME }}`, `${{ branch }}` and so on.

    What was filled in is not looked at again, whatever it holds; what is no such name stays as it stands.

    Raises:
        TooLargeError: there is no room for it.
    """
    if "${{" not in text:
        return text
    return room.join(pieces_of(text, lambda found: _filled(found[0], found[1], facts)))


def _variable(name: tree.Name, text: str, facts: Facts) -> str:
    try:
        return fill_in(text, facts, Room())
    except TooLargeError as error:
        raise ExpressionError(f"{quoted(shown_name(name))} is larger than {error.kib} KiB", name.at) from error


def _filled(whole: str, inner: str, facts: Facts) -> str:
    try:
        node = parse(inner.strip())
    except ExpressionError:
        return whole
    # Not variables: they may hold such a name themselves, their own even.
    if isinstance(node, tree.Name) and (node.path[0] == "needs" or node.path in {(name,) for name in TEXTS}):
        with contextlib.suppress(ExpressionError):
            return look_up(node, facts)
    return whole


def _behind(prefix: str, ref: str) -> str:
    return ref.removeprefix(prefix) if ref.startswith(prefix) else ""


def _cells(job: str, facts: Facts) -> list[Need]:
    if job in facts.needs:
        return [facts.needs[job]]
    return [need for name, need in facts.needs.items() if name.startswith(f"{job}[")]


@lru_cache(maxsize=256)
def _first_changed(patterns: tuple[str, ...], paths: tuple[str, ...]) -> str | None:
    """Kept, because every cell of a matrix asks the same of the same commit."""
    return any_match(read_globs(patterns), paths)


@dataclass(slots=True)
class _Evaluation:
    """One walk over a tree, from the left and no further than is needed; remembers what it looked at."""

    facts: Facts
    seen: dict[str, None] = field(default_factory=dict)

    def because(self) -> str:
        """The values that were looked at, in their order."""
        told = list(self.seen)[:REASONS_MAX]
        return ", ".join([*told, "..."] if len(told) < len(self.seen) else told)

    def flag(self, node: Node) -> bool:
        value = self._value(node)
        if not isinstance(value, bool):
            raise ExpressionError("what should be true or false is neither", node.at)
        return value

    def passed(self, *, asked: bool = True) -> bool:
        """Whether all needs passed; remembers one that did not, and that they all did where that was asked."""
        needs = self.facts.needs.items()
        hindrance = next((name for name, need in needs if need.state != "passed" and not need.tolerated), None)
        if asked or hindrance is not None:
            self._tell_of(hindrance, "all that it needs passed")
        return hindrance is None

    def _failed(self) -> bool:
        needs = (*self.facts.needs.items(), *self.facts.behind.items())
        failures = (name for name, need in needs if need.state in WRONG and not need.tolerated)
        culprit = next(failures, None)
        self._tell_of(culprit, "nothing that it needs failed")
        return culprit is not None

    def _tell_of(self, name: str | None, otherwise: str) -> None:
        if name is None:
            self.seen[otherwise] = None
        else:
            state = (self.facts.needs.get(name) or self.facts.behind[name]).state
            self.seen[f"{quoted(name)} {'' if state in {'passed', 'failed'} else 'was '}{state}"] = None

    def _text(self, node: Node) -> str:
        value = self._value(node)
        if not isinstance(value, str):
            raise ExpressionError("what should be a text is none", node.at)
        return value

    def _value(self, node: Node) -> _Value:
        match node:
            case tree.Literal():
                return node.value
            case tree.Name():
                return self._name(node)
            case tree.Call():
                return self._call(node)
            case tree.Listed():
                return tuple(self._text(item) for item in node.items)
            case tree.Inverse():
                return not self.flag(node.inside)
            case tree.Junction():
                enough = node.sign == "||"
                return enough if any(self.flag(part) is enough for part in node.parts) else not enough
            case tree.Comparison():
                return self._comparison(node)

    def _name(self, node: tree.Name) -> _Value:
        if node.path == ("paths",):
            return self.facts.paths or ()
        value = look_up(node, self.facts)
        self.seen[f"{shown_name(node)} is {quoted(value) if value else 'empty'}"] = None
        return value

    def _call(self, node: tree.Call) -> bool:
        match node.function, len(node.arguments):
            case "passed", 0:
                return self.passed()
            case "failed", 0:
                return self._failed()
            case "always", 0:
                return True
            case "changed", _:
                return self._changed(texts_of(node))
            case "startswith", 2:
                return self._text(node.arguments[0]).startswith(self._text(node.arguments[1]))
            case "contains", 2:
                return self._text(node.arguments[1]) in self._text(node.arguments[0])
            case "matches", 2:
                (pattern,) = texts_of(node)[-1:] or ("",)
                return Stars(tuple(pattern.split("*"))).matches(self._text(node.arguments[0]))
        raise ExpressionError(f"there is no function {quoted(node.function)} of {len(node.arguments)} values", node.at)

    def _changed(self, patterns: tuple[str, ...]) -> bool:
        if self.facts.paths is None:
            self.seen["nobody knows what changed"] = None
            return True
        try:
            path = _first_changed(patterns, self.facts.paths)
        except ValueError as error:
            raise ExpressionError(str(error), 0) from error
        shown = ", ".join(map(quoted, patterns))
        self.seen[f"nothing that changed matches {shown}" if path is None else f"{quoted(path)} changed"] = None
        return path is not None

    def _comparison(self, node: tree.Comparison) -> bool:
        if node.sign == "in":
            return self._is_in(self._text(node.left), node.right)
        left, right = self._value(node.left), self._value(node.right)
        if node.sign in {"==", "!="}:
            return (left == right) == (node.sign == "==")
        order = _order(left, right, node)
        return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[node.sign]

    def _is_in(self, member: str, within: Node) -> bool:
        if within == tree.Name(within.at, ("paths",)):
            if self.facts.paths is None:
                self.seen["nobody knows what changed"] = None
                return True
            found = member in self.facts.paths
            self.seen[f"{quoted(member)} {'changed' if found else 'did not change'}"] = None
            return found
        values = self._value(within)
        return isinstance(values, tuple) and member in values


@dataclass(slots=True)
class _OfSteps(_Evaluation):
    """The same within a job, whose steps are looked at as having passed so far, or not. That is no value that decided:
    both are tried.
    """

    failed: bool = False

    def passed(self, *, asked: bool = True) -> bool:
        del asked
        return not self.failed

    def _failed(self) -> bool:
        return self.failed


def _order(left: _Value, right: _Value, node: tree.Comparison) -> int:
    """Less than 0 where the left number comes first. 3 and 3.0 are the same."""
    ours, theirs = _number(left, node.left), _number(right, node.right)
    differing = next((one - other for one, other in zip_longest(ours, theirs, fillvalue=0) if one != other), 0)
    return (differing > 0) - (differing < 0)


def _number(value: _Value, node: Node) -> tuple[int, ...]:
    found = NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        name = f"{shown_name(node)} is " if isinstance(node, tree.Name) else ""
        raise ExpressionError(f"{name}{quoted(str(value))}, which is no number", node.at)
    return tuple(int(part) for part in found[1].split("."))
