"""Artifacts that a job takes from the jobs that it needs: from what was written to what its runner is told.

What belongs here: which artifacts are meant, and of which attempts. What does not: what a job keeps (`core.keeping`),
and the files themselves (`hands.taking`, `execute.collect.taking`).

The attempt is the one whose verdict the needed job has. It is over, so what it kept is noted and changes no more:
whoever takes it later, and wherever, gets the very same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from surveil.core.declared import Complaint, JobDeclaration
from surveil.core.spelling import did_you_mean, quoted
from surveil.frozen import replace
from surveil.protocol import TAKEN_MAX, JobSpec, TakenArtifact

if TYPE_CHECKING:
    from surveil.core.decisions import Need
    from surveil.core.events import Carried

_DIGEST_BYTES: Final = 64

KeptByJob: TypeAlias = Mapping[str, Sequence[str]]
"""Declared job to the names of its artifacts."""


def kept_by_job(jobs: Sequence[JobDeclaration]) -> KeptByJob:
    """The artifacts that there are to be taken."""
    return {job.name.value: [artifact.name.value for artifact in job.artifacts] for job in jobs}


def taken_by(
    job: JobDeclaration, kept: KeptByJob, needs: Mapping[str, Collection[str]]
) -> tuple[tuple[TakenArtifact, ...], list[Complaint]]:
    """The artifacts that a job takes, each once, in the order of the file; `needs` has by each name that it may use the
    full names of the jobs that are meant (`core.graph.cells_of_needs`).
    """
    found: dict[TakenArtifact, None] = {}
    complaints: list[Complaint] = []
    for text in job.artifacts_from:
        owner, name = _apart(text.value)
        problem, hint = _problem(owner, name, kept, needs)
        if problem:
            complaints.append(Complaint(f"job {quoted(job.name.value)} {problem}", text.place, hint))
            continue
        names = [name] if name else kept[_declared(owner)]
        found.update(dict.fromkeys(TakenArtifact(job=cell, name=each) for cell in needs[owner] for each in names))
    if len(found) > TAKEN_MAX:
        message = f"job {quoted(job.name.value)} takes {len(found)} artifacts; at most {TAKEN_MAX} are allowed"
        complaints.append(Complaint(message, job.artifacts_from[0].place, "name those that it uses, as `JOB/NAME`"))
    return tuple(found), complaints


def _apart(text: str) -> tuple[str, str]:
    """A job, and the name of one of its artifacts where that is said; in neither is a slash."""
    owner, _, name = text.partition("/")
    return (owner, name) if name else (text, "")


def _declared(job: str) -> str:
    """The job as it is declared, also of a cell."""
    return job.partition("[")[0]


def _problem(owner: str, name: str, kept: KeptByJob, needs: Mapping[str, Collection[str]]) -> tuple[str, str]:
    """What is wrong with one entry, and what to write instead; two empty texts where nothing is."""
    declared = _declared(owner)
    takes = f"takes artifacts from {quoted(owner)}"
    if declared not in kept:
        return f"{takes}, which does not exist", did_you_mean(owner, list(needs))
    if owner not in needs:
        return f"{takes}, which it does not need", "add it to `needs` as well"
    if not kept[declared]:
        return f"{takes}, which keeps none", "write `artifacts: [PATTERN]` there, or remove it here"
    if name and name not in kept[declared]:
        return (
            f"takes the artifact {quoted(name)} from {quoted(owner)}, which keeps none of this name",
            did_you_mean(name, kept[declared]),
        )
    return "", ""


def decided(takes: Sequence[TakenArtifact], needs: Mapping[str, Need]) -> tuple[TakenArtifact, ...]:
    """Those that there may be, now that all needs have ended, each with the attempt whose verdict counts. A job that
    neither passed nor failed has none, and nothing is taken from it.
    """
    found = []
    for take in takes:
        need = needs[take.job]
        if take.attempt:
            found.append(take)
        elif need.attempt:
            found.append(replace(take, attempt=need.attempt, optional=need.state != "passed"))
    return tuple(found)


def carried_over(spec: JobSpec, carried: Mapping[str, Carried], earlier: int) -> JobSpec:
    """The same job in a retry of the build `earlier`: what its needs are carried over from is taken from there, or from
    where they were carried over before.
    """
    if not spec.artifacts_from:
        return spec
    return replace(spec, artifacts_from=tuple(_carried(take, carried, earlier) for take in spec.artifacts_from))


def _carried(take: TakenArtifact, carried: Mapping[str, Carried], earlier: int) -> TakenArtifact:
    known = carried.get(take.job)
    if known is None:
        return TakenArtifact(job=take.job, name=take.name)
    if take.attempt or not known.attempt:
        return take
    return replace(take, build=earlier, attempt=known.attempt, optional=not known.passed)


def whence(takes: Sequence[TakenArtifact], build: int) -> Iterator[str]:
    """The attempts that artifacts are taken from, in words: `3/build attempt 2`."""
    found = dict.fromkeys((take.build or build, take.job, take.attempt) for take in takes)
    return (f"{number}/{job} attempt {attempt}" for number, job, attempt in found)


def entries_of(takes: Sequence[TakenArtifact]) -> list[str]:
    """As they would be written down: `JOB/NAME`."""
    return [f"{take.job}/{take.name}" for take in takes]


def weight(takes: Sequence[TakenArtifact]) -> int:
    """UTF-8 bytes that they add to an order, with the digests that are filled in last."""
    return sum(len(take.job.encode()) + len(take.name.encode()) + _DIGEST_BYTES for take in takes)
