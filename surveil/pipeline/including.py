"""Files of the same commit that a pipeline file includes: which they are, and one pipeline made of all.

What belongs here: finding them, from wherever somebody can read them, and joining what they say. What does not: reading
a commit (`surveil.mirror`) or a folder (`surveil.cli`), and what one file may say (`schema`).

Whoever has the commit reads the files, all that are needed and no more, and sends them along with the pipeline file;
whoever reads the pipeline never looks anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, TypeAlias

from surveil.core.declared import Complaint, JobDeclaration, Place, Text
from surveil.core.spelling import quoted
from surveil.pipeline import document, schema
from surveil.pipeline.checking import Declared
from surveil.pipeline.document import Listing, Node, Scalar, Table
from surveil.pipeline.values import include_path
from surveil.protocol import INCLUDES_MAX, PIPELINE_BYTES_MAX, IncludedFile

INCLUDED_BYTES_MAX: Final = PIPELINE_BYTES_MAX
"""Of all included files together; they travel in one message with the pipeline file."""

ReadFiles: TypeAlias = Callable[[Sequence[str]], Sequence[IncludedFile]]


def gather(text: bytes | str, read: ReadFiles) -> tuple[IncludedFile, ...]:
    """Read all files that a pipeline file includes, and those that they include; each once, within the limits."""
    found: dict[str, IncludedFile] = {}
    size = 0
    ahead = included_paths(text)
    while ahead and len(found) < INCLUDES_MAX:
        further: list[str] = []
        for file in read(ahead[: INCLUDES_MAX - len(found)]):
            size += len((file.text or "").encode())
            if size > INCLUDED_BYTES_MAX:
                kib = INCLUDED_BYTES_MAX // 1024
                found[file.path] = IncludedFile(
                    path=file.path, problem=f"is too much: all included files have more than {kib} KiB"
                )
                continue
            found[file.path] = file
            further += included_paths(file.text or "")
        ahead = [path for path in dict.fromkeys(further) if path not in found]
    return tuple(found.values())


def included_paths(text: bytes | str) -> list[str]:
    """The files that a text includes, as far as it says so in a way that can be read; the rest is complained about
    when the pipeline is.
    """
    if ("include" if isinstance(text, str) else b"include") not in text:  # type: ignore[operator]  # of one kind each
        return []
    root = document.read(text)
    listed = root.entries.get("include") if isinstance(root, Table) else None
    entries = listed.items if isinstance(listed, Listing) else [listed]
    paths: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, Scalar):
            try:
                paths[include_path(entry.text)] = None
            except ValueError:
                continue
    return list(paths)


def declare(root: Node, filename: str, files: Mapping[str, IncludedFile]) -> Declared | list[Complaint]:
    """Read the tree of a `.surveil.yml`, together with all that it includes."""
    part = schema.declare(root)
    if isinstance(part, list):
        return part
    joined = _Joined(files)
    joined.add(part, (PurePosixPath(filename).name,))
    return joined.complaints or Declared(env=joined.env, jobs=joined.jobs, triggers=part.triggers)


@dataclass(slots=True)
class _Joined:
    """What the files that were read so far say together."""

    files: Mapping[str, IncludedFile]
    env: dict[str, Text] = field(default_factory=dict)
    jobs: list[JobDeclaration] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    _names: dict[str, Place] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def add(self, part: schema.Part, chain: tuple[str, ...]) -> None:
        """Take what a file says and, behind it, what it includes: so its own variables win. No deeper than there can
        be files, so recursion is safe.
        """
        for name, value in part.env.items():
            self.env.setdefault(name, value)
        for job in part.jobs:
            first = self._names.setdefault(job.name.value, job.name.place)
            if first == job.name.place:
                self.jobs.append(job)
            else:
                where = f"line {first.line}" + (f" of {first.file}" if first.file else " of the pipeline file")
                message = f"the job {quoted(job.name.value)} exists twice, first in {where}"
                self.complaints.append(Complaint(message, job.name.place, "give each job its own name"))
        for entry in part.include:
            self._include(entry, chain)

    def _include(self, entry: Text, chain: tuple[str, ...]) -> None:
        path = entry.value
        if path in chain:
            circle = " includes ".join(quoted(name) for name in (*chain[chain.index(path) :], path))
            message = f"files include each other in a circle: {circle}"
            self.complaints.append(Complaint(message, entry.place, "remove one of these"))
            return
        if path in self._seen:
            return
        if len(self._seen) == INCLUDES_MAX:
            message = f"a pipeline includes at most {INCLUDES_MAX} files, and {quoted(path)} is one more"
            self.complaints.append(Complaint(message, entry.place, "put some of them together"))
            return
        self._seen.add(path)
        part = self._read(path, entry.place)
        if isinstance(part, list):
            self.complaints += part
        else:
            self.add(part, (*chain, path))

    def _read(self, path: str, place: Place) -> schema.Part | list[Complaint]:
        file = self.files.get(path)
        if file is None:
            message = f"the file {quoted(path)} did not come with the pipeline"
            return [Complaint(message, place, "does its observer know `include`? upgrade it")]
        if file.text is None:
            return [Complaint(f"{quoted(path)} {file.problem}", place)]
        root = document.read(file.text, file=path)
        return [root] if isinstance(root, Complaint) else schema.declare(root, included=True)
