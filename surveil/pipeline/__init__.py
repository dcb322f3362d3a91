"""Pipelines: a commit's text to a checked graph of jobs, or to complaints that say where and what to do.

What belongs here: the contract of the package: `load`, what it returns, and how complaints are shown. What does not:
how it is done. `document` reads YAML, `including` further files; `schema`, `containing`, `triggering` and `dialects`
know the keys, `values` and `servicing` what each may hold, `checking` words the errors; `surveil.core.pipeline` expands
the graph; `detect` guesses for repositories without a file; `explain` shows the result.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from surveil.core.declared import COMPLAINTS_MAX, Complaint, Place, ShardsDeclaration
from surveil.core.pipeline import expand
from surveil.core.spelling import printable
from surveil.core.triggers import ANY, Triggers, fill_inputs
from surveil.frozen import dataclass
from surveil.protocol import PIPELINE_BYTES_MAX, IncludedFile, JobSpec

FILENAMES: Final = (".surveil.yml", ".runnerci.yml", "narwhal.yml")
"""Where a commit's pipeline stands, at its root: the first of these that exists."""
SCHEMA_FILE: Final = Path(__file__).parent / "pipeline.schema.json"
"""The JSON Schema of `.surveil.yml`, for editors; made by `make docs` from the models."""
SNIPPET_CHARACTERS_MAX: Final = 120

__all__ = ["FILENAMES", "Complaint", "Invalid", "Loaded", "Pipeline", "Place", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline that can run: at least one job, no circles, matrices expanded, in the file's order."""

    filename: str
    jobs: tuple[JobSpec, ...]
    triggers: Triggers = ANY
    undecided: Mapping[str, ShardsDeclaration] = field(default_factory=dict)
    """By their names in the file, the jobs of which it leaves open how many shards they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A text that is no pipeline: at least one complaint, in the order of the file."""

    filename: str
    complaints: tuple[Complaint, ...]
    text: str
    """The file's text as far as it could be read, for the lines around the complaints."""
    included: Mapping[str, str] = field(default_factory=dict)
    """The texts of the files that it includes, by their paths."""

    def sentences(self) -> tuple[str, ...]:
        """Each complaint as one line, `FILE:LINE:COLUMN: message (hint)`."""
        hints = [f" ({complaint.hint})" if complaint.hint else "" for complaint in self.complaints]
        return tuple(
            _head(self.filename, complaint) + hint for complaint, hint in zip(self.complaints, hints, strict=True)
        )

    def render(self) -> str:
        """Each complaint as `FILE:LINE:COLUMN: message`, the line, a caret below the column, and the hint."""
        from surveil.pipeline.document import lines  # noqa: PLC0415  # only mistakes pay for this import

        shown: list[str] = []
        for complaint in self.complaints:
            shown.append(_head(self.filename, complaint))
            file = complaint.place.file
            all_lines = lines(self.included.get(file, "") if file else self.text)
            if complaint.place.line <= len(all_lines):
                shown += _snippet(all_lines[complaint.place.line - 1], complaint.place.column)
            if complaint.hint:
                shown.append(f"    hint: {complaint.hint}")
        return "\n".join(shown)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: `file`, and `complaints` with `file`, `line`, `column`, `message` and `hint`."""
        complaints = [
            {
                "file": complaint.place.file or self.filename,
                "line": complaint.place.line,
                "column": complaint.place.column,
                "message": complaint.message,
                "hint": complaint.hint or None,
            }
            for complaint in self.complaints
        ]
        return {"file": self.filename, "complaints": complaints}


Loaded: TypeAlias = Pipeline | Invalid


def load(
    text: bytes | str,
    filename: str,
    includes: Sequence[IncludedFile] = (),
    typed: Mapping[str, str] | None = None,
    shards: Mapping[str, int] = MappingProxyType({}),
) -> Loaded:
    """Read a pipeline file's text, with the files that it includes. The last part of `filename` chooses the format,
    else `.surveil.yml`'s. `typed` are the inputs that a person gave, None where there was no person. `shards` says how
    many there are to be of jobs that leave it open; one where it does not.

    Never raises, whatever the text; takes bounded time and memory, so that it may run on texts of strangers.
    The first call imports the validator, which would be too dear for those who only import this package.
    """
    from surveil.pipeline import document, including  # noqa: PLC0415
    from surveil.pipeline.checking import place_at  # noqa: PLC0415

    shown_name = printable(filename)
    root = document.read(text)
    if isinstance(root, Complaint):
        return Invalid(filename=shown_name, complaints=(root,), text=_as_text(text))
    files = {file.path: file for file in includes}
    included = {path: file.text or "" for path, file in files.items()}

    def invalid(complaints: Sequence[Complaint]) -> Invalid:
        return Invalid(filename=shown_name, complaints=tuple(complaints), text=_as_text(text), included=included)

    own_name = PurePath(filename).name
    if own_name in FILENAMES[1:]:
        from surveil.pipeline import dialects  # noqa: PLC0415  # few repositories have one of these

        declared = dialects.DECLARE[own_name](root)
    else:
        declared = including.declare(root, filename, files)
    if isinstance(declared, list):
        return invalid(declared)
    inputs, wrong = fill_inputs(declared.triggers.inputs, typed)
    if wrong:
        place = place_at(root, ("on", "manual", "inputs"))
        return invalid([Complaint(sentence, place) for sentence in wrong[:COMPLAINTS_MAX]])
    expansion = expand(declared.env, declared.jobs, inputs, shards)
    if expansion.complaints:
        return invalid(expansion.complaints)
    undecided = {job.name.value: job.shards for job in declared.jobs if job.shards and not job.shards.count}
    return Pipeline(filename=shown_name, jobs=expansion.jobs, triggers=declared.triggers, undecided=undecided)


def _as_text(data: bytes | str) -> str:
    """The text as far as it can be shown beside a complaint."""
    start = data[:PIPELINE_BYTES_MAX]
    text = start if isinstance(start, str) else start.decode("utf-8", errors="replace")
    return text.removeprefix("\ufeff")


def _head(filename: str, complaint: Complaint) -> str:
    return f"{complaint.place.file or filename}:{complaint.place.line}:{complaint.place.column}: {complaint.message}"


def _snippet(line: str, column: int) -> list[str]:
    """The line, cut to a window around the column, and a caret; tabs stay tabs, for the caret's sake."""
    start = max(0, column - 1 - SNIPPET_CHARACTERS_MAX // 2)
    window = line[start : start + SNIPPET_CHARACTERS_MAX]
    inert = "".join(char if char == "\t" else printable(char) for char in window)
    before = inert[: column - 1 - start]
    padding = "".join(
        char if char == "\t" else " " * (2 if unicodedata.east_asian_width(char) in "WF" else 1) for char in before
    )
    return [f"    {inert}".rstrip(), f"    {padding}^"] if inert.strip() else []
