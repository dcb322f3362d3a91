"""What a build needs to know of a commit: who, what, and its pipeline's text.

What belongs here: choosing the pipeline file of a commit, or detecting what it would say. What does not: whether that
text is a pipeline (`surveil.pipeline.load`, for which this is input), and which commits to look at.

One process of git answers everything: the commit, its root folder, and every file that could matter; another one for
the files that the pipeline file includes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from surveil.frozen import dataclass, replace
from surveil.mirror.address import show
from surveil.mirror.changes import Base
from surveil.mirror.mirror import Mirror
from surveil.mirror.objects import Commit, CommittedFile
from surveil.mirror.trouble import MirrorError
from surveil.pipeline import FILENAMES
from surveil.pipeline.detect import READ_FILES, Detected, Files, detect
from surveil.protocol import PIPELINE_BYTES_MAX, IncludedFile

_ASKED: Final = (*FILENAMES, *sorted(READ_FILES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A commit and its pipeline.

    `pipeline` is the text of `pipeline_file`, or what detection `rule` wrote in its stead; None with a `problem`, a
    sentence for the author, and without a file where there is neither.
    """

    sha: str
    message: str
    author: str
    pipeline: str | None
    pipeline_file: str
    rule: str = ""
    problem: str = ""
    includes: tuple[IncludedFile, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that the pipeline is made of."""
        return tuple(text for text in (self.pipeline, *(file.text for file in self.includes)) if text is not None)


def look(mirror: Mirror, sha: str, ref: str | None = None) -> Sighting:
    """Fetch the commit that `sha` is or tags, and read its pipeline. Blocks. Raises MirrorError."""
    mirror.fetch(sha, ref)
    try:
        commit = mirror.read(sha, _ASKED, PIPELINE_BYTES_MAX)
    except MirrorError as problem:
        if not mirror.replace_if_damaged(problem):
            raise
        mirror.fetch(sha, ref)
        commit = mirror.read(sha, _ASKED, PIPELINE_BYTES_MAX)
    return _with_includes(mirror, sight(commit))


def _with_includes(mirror: Mirror, sighting: Sighting) -> Sighting:
    """The same with the files that its pipeline includes; most include none, and need no further process of git."""
    if sighting.pipeline is None or sighting.pipeline_file != FILENAMES[0] or "include" not in sighting.pipeline:
        return sighting
    from surveil.pipeline.including import gather  # noqa: PLC0415  # an observer pays for YAML only where it is needed

    def read(paths: Sequence[str]) -> list[IncludedFile]:
        return [_included(file) for file in mirror.read_files(sighting.sha, paths, PIPELINE_BYTES_MAX)]

    return replace(sighting, includes=gather(sighting.pipeline, read))


def _included(file: CommittedFile) -> IncludedFile:
    try:
        text = None if file.body is None else file.body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        sentence = f"is not UTF-8 (byte {problem.start}); save it as UTF-8"
        return IncludedFile(path=file.path, problem=sentence)
    return IncludedFile(path=file.path, text=text, problem=file.problem)


def look_at_stranger(mirror: Mirror, sha: str, ref: str, base: Base) -> Sighting:
    """Fetch a commit that strangers may have written, and give it the pipeline of the base branch. Blocks. Raises
    MirrorError.
    """
    mirror.fetch(sha, ref)
    strange = mirror.read(sha)
    if not base.sha:
        sentence = (
            f"{show(ref)} is not trusted, and HEAD of the repository names no branch whose pipeline file could be taken"
        )
        return _problem(strange, "", sentence)
    own = look(mirror, base.sha, base.ref or None)
    return replace(own, sha=strange.sha, message=strange.message, author=strange.author)


def sight(commit: Commit) -> Sighting:
    """The pipeline of a commit that was read with all files that could matter."""
    for name in FILENAMES:
        if name not in commit.root:
            continue
        if name in commit.odd:
            return _problem(commit, name, f"{name} is a link or a folder; make it a regular file.")
        if name in commit.oversized:
            size = commit.oversized[name]
            return _problem(commit, name, f"{name} has {size} bytes; at most {PIPELINE_BYTES_MAX} are allowed.")
        try:
            return _sighting(commit, name, commit.files[name].decode("utf-8-sig"))
        except UnicodeDecodeError as problem:
            return _problem(commit, name, f"{name} is not UTF-8 (byte {problem.start}); save it as UTF-8.")
        except KeyError:
            return _problem(commit, name, f"{name} could not be read: is the clone partial, or damaged?")
    found = detect(_files(commit))
    if isinstance(found, Detected):
        return _sighting(commit, FILENAMES[0], found.text, rule=found.rule)
    return _problem(commit, "", found.sentence)


def _files(commit: Commit) -> Files:
    texts: dict[str, str | None] = dict.fromkeys(commit.root)
    for name, body in commit.files.items():
        try:
            texts[name] = body.decode()
        except UnicodeDecodeError:
            continue  # No text: detection knows that it is there, and no more.
    return texts


def _sighting(commit: Commit, filename: str, text: str, rule: str = "") -> Sighting:
    return Sighting(
        sha=commit.sha,
        message=commit.message,
        author=commit.author,
        pipeline=text,
        pipeline_file=filename,
        rule=rule,
    )


def _problem(commit: Commit, filename: str, sentence: str) -> Sighting:
    return Sighting(
        sha=commit.sha,
        message=commit.message,
        author=commit.author,
        pipeline=None,
        pipeline_file=filename,
        problem=sentence,
    )
