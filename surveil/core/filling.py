"""What is filled into a job's texts: matrix values now, outputs of its needs and the commit's names when it starts.

What belongs here: `${{ ... }}` in texts, what may stand there and what is wrong with it. What does not: what such names
stand for later (`core.decisions`), and which texts a job has (`core.pipeline`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import IntFlag, auto
from typing import Final, TypeAlias

from surveil.core import expressions as tree
from surveil.core.conditions import TEXTS, Known, check_text
from surveil.core.declared import COMPLAINTS_MAX, Complaint, Place, Text
from surveil.core.expressions import ExpressionError, parse
from surveil.core.hashes import problem_of_hash
from surveil.core.references import Room, TooLargeError, pieces_of
from surveil.core.spelling import did_you_mean, quoted
from surveil.frozen import dataclass

_ELSEWHERE: Final = "read other values from the environment, for example `$SURVEIL_SHA`"
_VARIABLES: Final[Mapping[str, str]] = {
    "event_name": "SURVEIL_EVENT",
    "job": "SURVEIL_JOB",
    "ref": "SURVEIL_REF",
    "ref_name": "{SURVEIL_REF#refs/*/}",
    "repository": "SURVEIL_REPO",
    "run_attempt": "SURVEIL_ATTEMPT",
    "run_id": "SURVEIL_BUILD",
    "run_number": "SURVEIL_BUILD",
    "sha": "SURVEIL_SHA",
    "workspace": "SURVEIL_WORKSPACE",
}
"""What GitHub has as `github.NAME`, and the variables of steps that say the same."""


class Later(IntFlag):
    """What stays in a text until it is known."""

    NOTHING = 0
    NEEDS = auto()
    """How the needs ended and what they put out, known when the job starts."""
    FILES = auto()
    """What the files of the commit are like, known when its work tree is there."""
    COMMIT = auto()
    """The commit's names, known when the build is made. Not in scripts: whoever names a branch would write shell."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where a value of the matrix goes."""

    name: str


_Template: TypeAlias = list[str | _Axis]


@dataclass(slots=True)
class Filler:
    """Fills the texts of a job's cells, one cell after the other; each text is read once for all of them. A value that
    only other cells of the matrix have is the empty text.
    """

    job: str
    known: Known
    inputs: Mapping[str, str]
    values: Mapping[str, str] = field(default_factory=dict)
    """Those of the cell that is being filled."""
    asked: int = 0
    """How often a value of the matrix was asked for: what asks for none is the same in all cells."""
    complaints: list[Complaint] = field(default_factory=list)
    _templates: dict[tuple[str, int], _Template] = field(default_factory=dict)
    """By the texts and what is for later, as a number: a flag is slow to look up."""
    _room: Room = field(default_factory=Room)

    def begin(self, values: Mapping[str, str]) -> None:
        """Go on to the cell with these values."""
        self.values, self._room = values, Room()

    def value_of(self, axis: str) -> str:
        """A value of the matrix."""
        self.asked += 1
        return self.values.get(axis, "")

    def fill(self, text: Text, later: Later = Later.NOTHING) -> str:
        """The text with its matrix values; complains about everything else that is not for `later`."""
        if "${{" not in text.value:
            return text.value
        template = self._templates.get((text.value, int(later))) or self._read(text, later)
        try:
            return self._room.join([part if isinstance(part, str) else self.value_of(part.name) for part in template])
        except TooLargeError as error:
            what = f"with this text job {quoted(self.job)}" if error.whole else "this text"
            self.complain(f"{what} is larger than {error.kib} KiB once its matrix values are filled in", text.place)
            return ""

    def _read(self, text: Text, later: Later) -> _Template:
        """The text in parts. One that was complained about is read again wherever else it stands."""
        before = len(self.complaints)
        template = pieces_of(text.value, lambda match: self._part(match, text.place_of(match.start()), later))
        if len(self.complaints) == before:
            self._templates[text.value, int(later)] = template
        return template

    def complain(self, message: str, place: Place, hint: str = "") -> None:
        """Say what is wrong, once."""
        complaint = Complaint(message, place, hint)
        if complaint not in self.complaints and len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(complaint)

    def _part(self, match: re.Match[str], place: Place, later: Later) -> str | _Axis:
        try:
            node = parse(match[1].strip())
        except ExpressionError:
            node = tree.Literal(0, value="")
        match node:
            case tree.Name(path=("matrix", axis)):
                return self._axis(axis, place)
            case tree.Name(path=("inputs", name)):
                return self._input(name, place)
            case tree.Name(path=("needs", *_)) if Later.NEEDS in later:
                for error in check_text(node, self.known):
                    self.complain(str(error), place, error.hint)
            case tree.Call(function="hash") if Later.FILES in later:
                if problem := problem_of_hash(node):
                    self.complain(f"{quoted(match[0])}: {problem}", place)
            case tree.Name(path=(name,)) if Later.COMMIT in later and name in TEXTS:
                pass
            case _:
                self._means_nothing(match[0], node, place, later)
        return match[0]

    def _axis(self, axis: str, place: Place) -> _Axis:
        if axis not in self.known.matrix:
            message = f"job {quoted(self.job)} has no matrix value {quoted(axis)}"
            self.complain(message, place, did_you_mean(axis, self.known.matrix) or "add it under `matrix`")
        return _Axis(axis)

    def _input(self, name: str, place: Place) -> str:
        if name not in self.inputs:
            hint = did_you_mean(name, self.inputs) or "declare it under `on.manual.inputs`"
            self.complain(f"the pipeline has no input {quoted(name)}", place, hint)
        return self.inputs.get(name, "")

    def _means_nothing(self, whole: str, node: tree.Node, place: Place, later: Later) -> None:
        filled = ["`${{ matrix.NAME }}`"] + (["`${{ inputs.NAME }}`"] if self.inputs else [])
        if Later.NEEDS in later:
            filled.append("`${{ needs.JOB.outputs.NAME }}`")
        if Later.FILES in later:
            filled.append("`${{ hash('GLOB') }}`")
        if Later.COMMIT in later:
            filled.append("`${{ branch }}` and the like")
        *most, last = filled
        verb = "are" if most else "is"
        only = f"{', '.join(most)} and {last}" if most else last
        self.complain(f"{quoted(whole)} means nothing here: only {only} {verb} filled in", place, _instead(node))


def _instead(node: tree.Node) -> str:
    """What to write instead of something that is filled in elsewhere."""
    match node:
        case tree.Name(path=("needs", *_)):
            return "what a need puts out is known only to scripts and variables"
        case tree.Name(path=("secrets", name)):
            return f"write `secrets: [{name}]` at the job, and read `${name}`"
        case tree.Name(path=("env" | "vars", name)):
            return f"read `${name}` in a script, or write the value itself"
        case tree.Name(path=("github", name)) if name in _VARIABLES:
            return f"read `${_VARIABLES[name]}` in a script"
        case tree.Name(path=("steps", *_)):
            return "let the step leave it in a file of the work tree, where later steps find it"
    return _ELSEWHERE
