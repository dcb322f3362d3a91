"""Artifacts that jobs hand on which run here and now, one after the other: kept as they were, for as long as the run.

What belongs here: keeping what a later job takes, and giving it. What does not: putting it into a work tree (`taking`).

The work tree is the same for all jobs of a run, and a job in between may change what it finds. Who takes an artifact
gets it as it was kept, here as on a runner.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from typing import IO, TypeAlias

from surveil.core.spelling import quoted
from surveil.execute.archives.finding import TooMuch, find
from surveil.execute.archives.packing import pack
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.collect.taking import TakingError, name_of
from surveil.frozen import replace
from surveil.protocol import BLOB_BYTES_MAX, ArtifactSpec, JobSpec, TakenArtifact

_Key: TypeAlias = tuple[str, str]
"""A job, and one of its artifacts."""


class TakenHere:
    """Keeps the promise of a collector for what one of these jobs takes. Its files have no names: they go with us,
    however we end.
    """

    def __init__(self, jobs: Iterable[JobSpec]) -> None:
        self._wanted = {(take.job, take.name) for job in jobs for take in job.artifacts_from}
        self._kept: dict[_Key, IO[bytes]] = {}

    def __call__(self, work: Work, /) -> Collection:
        """Keep what is wanted of this job's work, in the place of what an earlier attempt made."""
        job, remarks = work.assign.spec.name, []
        for spec in work.assign.spec.artifacts:
            if (job, spec.name) in self._wanted:
                self._drop((job, spec.name))
                try:
                    self._keep(work, (job, spec.name), spec)
                except TooMuch as error:
                    remarks.append(f"artifact {quoted(spec.name)}: no later job gets it: {error}")
                except OSError as error:
                    why = error.strerror or error
                    remarks.append(f"artifact {quoted(spec.name)}: no later job gets it: it cannot be packed: {why}")
        return Collection(remarks=tuple(remarks))

    def _keep(self, work: Work, key: _Key, spec: ArtifactSpec) -> None:
        root = work.workspace.work
        found = find(root, spec.paths, bytes_max=BLOB_BYTES_MAX, check=work.check)
        if found.files:
            file = self._kept[key] = tempfile.TemporaryFile()  # noqa: SIM115  # open for as long as it is wanted
            pack(root, found.files, found.folders, file, work.check, links=found.links)

    def _drop(self, key: _Key) -> None:
        if (file := self._kept.pop(key, None)) is not None:
            file.close()

    def bring(self, work: Work, take: TakenArtifact, file: IO[bytes]) -> None:
        """Give one of them. Raises TakingError."""
        kept = self._kept.get((take.job, take.name))
        if kept is None:
            raise TakingError(f"{name_of(take, work.assign.build)} is not there: no file was kept under this name")
        kept.seek(0)
        shutil.copyfileobj(kept, file)

    def without_missing(self, spec: JobSpec) -> JobSpec:
        """The job without those that need not be there, and are not."""
        takes = (take for take in spec.artifacts_from if not take.optional or (take.job, take.name) in self._kept)
        return replace(spec, artifacts_from=tuple(takes))

    def close(self) -> None:
        """Let go of all of them."""
        for key in list(self._kept):
            self._drop(key)
