"""What came of edge repositories: read from what an observer said, and from the work trees of the commits it named.

What belongs here: turning messages and work trees into fates. What does not: starting the observer (the tests), and the
fates themselves.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from surveil import pipeline
from surveil.errors import InfrastructureError
from surveil.execute.workspace import Source, Workspace, prepare, remove
from surveil.mirror.spare import Spares
from surveil.protocol import Assign, CommitSeen, JobSpec
from tests.edge.fates import Built, Fate, NoTree, Quiet, Told, Unread


def jobs_or_complaint(seen: CommitSeen) -> tuple[tuple[JobSpec, ...], str]:
    """The jobs of a commit as the dispatcher reads them, or what it tells the author instead."""
    if seen.pipeline is None:
        return (), seen.problem
    loaded = pipeline.load(seen.pipeline, seen.pipeline_file)
    if isinstance(loaded, pipeline.Invalid):
        return (), " ".join(loaded.sentences())
    return loaded.jobs, ""


def tree_or_reason(data: Path, seen: CommitSeen, jobs: Sequence[JobSpec]) -> str:
    """Make the work tree as a runner does; empty if it holds what makes the step pass, and otherwise the reason."""
    workspace = Workspace.below(data / "workspaces" / hashlib.sha256(seen.mid.encode()).hexdigest())
    assign = Assign(
        epoch=1, incarnation=1, anchor=1, job="1/test", attempt=1, build=1, repo=seen.repo, ref=seen.ref,
        sha=seen.sha, spec=jobs[0],
    )  # fmt: skip
    try:
        prepare(workspace, Source(data / "mirrors", Spares(data / "spares")), assign)
        return "" if (workspace.work / "here").is_file() else "the step fails: there is no file `here`"
    except InfrastructureError as problem:
        return str(problem)
    finally:
        remove(workspace.root)


def fate_of(said: Iterable[CommitSeen], problem: str, data: Path) -> Fate:
    """What came of one repository, with the words that were said in full."""
    built = []
    for seen in {said.mid: said for said in said}.values():
        jobs, complaint = jobs_or_complaint(seen)
        if not jobs:
            return Told(complaint)
        if reason := tree_or_reason(data, seen, jobs):
            return NoTree(reason)
        built.append(seen.ref)
    if built:
        return Built(tuple(built))
    return Unread(problem) if problem else Quiet()


def fits(found: Fate, wanted: Fate) -> bool:
    """Whether this is what had to come: the same kind, with the wanted words, in one sentence that can be shown."""
    match found, wanted:
        case Built(), Built():
            return sorted(found.refs) == sorted(wanted.refs)
        case ((Told() | NoTree() | Unread()), (Told() | NoTree() | Unread())):
            same = type(found) is type(wanted)
            return same and wanted.words in found.words and found.words.isprintable()
        case _:
            return isinstance(found, Quiet) and isinstance(wanted, Quiet)


def has_come(wanted: Fate, said: Iterable[CommitSeen], problem: str) -> bool:
    """Whether there is nothing more to wait for."""
    heard = {seen.ref for seen in said}
    match wanted:
        case Built():
            return set(wanted.refs) <= heard
        case Unread():
            return wanted.words in problem
        case Quiet():
            return True
        case _:
            return bool(heard)
