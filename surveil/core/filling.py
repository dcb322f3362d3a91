"""What is filled into a job's texts: matrix values now, outputs of its needs and the commit's names when it starts.

What belongs here: `${{ ... }}` in texts, what may stand there and what is wrong with it. What does not: what such names
stand for later (`core.decisions`), and which texts a job has (`core.pipeline`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Final

from surveil.core import expressions as tree
from surveil.core.conditions import REFERENCE, TEXTS, Known, check_text
from surveil.core.declared import COMPLAINTS_MAX, Complaint, Place, Text
from surveil.core.expressions import ExpressionError, parse
from surveil.core.hashes import problem_of_hash
from surveil.core.spelling import did_you_mean, quoted

TEXT_BYTES_MAX: Final = 256 * 1024
"""UTF-8 bytes of one script or value after substitution."""

_ELSEWHERE: Final = "read other values from the environment, for example `$SURVEIL_SHA`"


class Later(Flag):
    """What stays in a text until it is known."""

    NOTHING = 0
    NEEDS = auto()
    """How the needs ended and what they put out, known when the job starts."""
    FILES = auto()
    """What the files of the commit are like, known when its work tree is there."""
    COMMIT = auto()
    """The commit's names, known when the build is made. Not in scripts: whoever names a branch would write shell."""


@dataclass(slots=True)
class Filler:
    """Fills the texts of one cell of a job. A value that only other cells of the matrix have is the empty text."""

    job: str
    values: Mapping[str, str]
    known: Known
    inputs: Mapping[str, str]
    complaints: list[Complaint] = field(default_factory=list)

    def fill(self, text: Text, later: Later = Later.NOTHING) -> str:
        """The text with its matrix values; complains about everything else that is not for `later`."""
        if "${{" not in text.value:
            return text.value
        filled = REFERENCE.sub(lambda match: self._value_of(match, text.place_of(match.start()), later), text.value)
        if len(filled.encode()) > TEXT_BYTES_MAX:
            kib = TEXT_BYTES_MAX // 1024
            self.complain(f"this text is larger than {kib} KiB once its matrix values are filled in", text.place)
        return filled

    def complain(self, message: str, place: Place, hint: str = "") -> None:
        """Say what is wrong, once."""
        complaint = Complaint(message, place, hint)
        if complaint not in self.complaints and len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(complaint)

    def _value_of(self, match: re.Match[str], place: Place, later: Later) -> str:
        try:
            node = parse(match[1].strip())
        except ExpressionError:
            node = tree.Literal(0, value="")
        match node:
            case tree.Name(path=("matrix", axis)):
                return self._matrix_value(axis, place)
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

    def _matrix_value(self, axis: str, place: Place) -> str:
        if axis not in self.known.matrix:
            message = f"job {quoted(self.job)} has no matrix value {quoted(axis)}"
            self.complain(message, place, did_you_mean(axis, self.known.matrix) or "add it under `matrix`")
        return self.values.get(axis, "")

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
        hint = _ELSEWHERE
        if isinstance(node, tree.Name) and node.path[0] == "needs":
            hint = "what a need puts out is known only to scripts and variables"
        self.complain(f"{quoted(whole)} means nothing here: only {only} {verb} filled in", place, hint)
