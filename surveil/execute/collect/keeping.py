"""The collector of artifacts: finds what the job names, packs it, and has it brought to the dispatcher.

What belongs here: what is kept of which job, and what is said where it cannot be. What does not: finding, packing and
bringing themselves.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

from surveil.core.spelling import quoted
from surveil.execute.archives.finding import Found, TooMuch, find
from surveil.execute.archives.packing import pack
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.transfer.courier import Courier, CourierError
from surveil.frozen import dataclass
from surveil.protocol import BLOB_BYTES_MAX, ArtifactSpec, Deposited, JobSpec, KeepArtifact


@dataclass(frozen=True, slots=True)
class _Said:
    """What became of one artifact: nothing to say, a remark, or a reason that it is not kept, which may be ours: this
    machine's, unless it is `blameless`.
    """

    remark: str = ""
    missing: str = ""
    ours: str = ""
    blameless: bool = False


class Artifacts:
    """Keeps the promise of a collector, through this courier."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    def __call__(self, work: Work, /) -> Collection:
        """Keep the artifacts that the job names."""
        remarks, missing, unkept, blameless = [], "", "", False
        for spec in work.assign.spec.artifacts:
            said = self._keep(work, spec)
            sentence = said.remark or said.missing or said.ours
            if sentence:
                remarks.append(f"artifact {quoted(spec.name)}: {sentence}")
            if spec.required:
                required = f"it requires the artifact {quoted(spec.name)}: "
                missing = missing or (said.missing and required + said.missing)
                if said.ours and not unkept:
                    unkept, blameless = required + said.ours, said.blameless
        return Collection(remarks=tuple(remarks), missing=missing, unkept=unkept, blameless=blameless)

    def _keep(self, work: Work, spec: ArtifactSpec) -> _Said:
        root = work.workspace.work
        try:
            found = find(root, spec.paths, bytes_max=BLOB_BYTES_MAX, check=work.check)
        except TooMuch as error:
            return _Said(missing=f"it is not kept: {error}")
        except OSError as error:
            return _Said(ours=f"the work tree cannot be read: {_where(error)}")
        if not found.files:
            return _Said(missing=_nothing(spec, found))
        try:
            self._bring(work, spec, found)
        except OSError as error:
            return _Said(ours=f"its files cannot be packed: {_where(error)}")
        except CourierError as error:
            return _Said(ours=f"it could not be brought to the dispatcher: {error}", blameless=True)
        return _Said(remark=_left_out(found).removeprefix("; "))

    def _bring(self, work: Work, spec: ArtifactSpec, found: Found) -> None:
        job, attempt = work.id
        with tempfile.TemporaryFile(dir=work.workspace.root) as file:
            packed = pack(work.workspace.work, found.files, found.folders, file, work.check, links=found.links)
            file.flush()
            if packed.size > BLOB_BYTES_MAX:
                raise CourierError(f"its archive has more than {BLOB_BYTES_MAX // 1024**2} MiB")
            note = partial(
                KeepArtifact, job=job, attempt=attempt, name=spec.name, blob=packed.digest, size=packed.size,
                files=packed.files, retention_ms=spec.retention_ms,
            )  # fmt: skip
            self._courier.bring(work.id, file, packed, work.check)
            self._courier.ask(lambda number: note(id=number), Deposited, work.check)


def required(work: Work) -> Collection:
    """A collector that keeps nothing, and sees that whoever passed has made what is required."""
    return Collection(missing=missing_of(work.assign.spec, work.workspace.work))


def missing_of(spec: JobSpec, tree: Path) -> str:
    """Why a job that passed in this tree has not, for want of an artifact; empty where it has all that it requires."""
    for artifact in spec.artifacts:
        if artifact.required:
            try:
                found = find(tree, artifact.paths, bytes_max=BLOB_BYTES_MAX)
            except (TooMuch, OSError):
                continue  # There is something, and it stays where it is.
            if not found.files:
                return f"it requires the artifact {quoted(artifact.name)}: {_nothing(artifact, found)}"
    return ""


def _nothing(spec: ArtifactSpec, found: Found) -> str:
    return f"no file matches {', '.join(map(quoted, spec.paths))}{_left_out(found)}"


def _left_out(found: Found) -> str:
    if not found.left_out:
        return ""
    return f"; left out: {found.left_out} that are no files, lie too deep, or are links that lead out of the work tree"


def _where(error: OSError) -> str:
    name = "" if error.filename is None else f" ({quoted(os.fsdecode(error.filename))})"
    return f"{error.strerror or error}{name}"
