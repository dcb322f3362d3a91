"""A collector that puts the artifacts of jobs that run here and now into a folder of the person's.

What belongs here: the way into that folder. What does not: what an artifact is (`keeping`).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from surveil.core.spelling import quoted
from surveil.execute.archives.finding import TooMuch, find
from surveil.execute.archives.packing import pack
from surveil.execute.archives.unpacking import ArchiveRefused, unpack
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.collect.keeping import required
from surveil.frozen import dataclass
from surveil.protocol import BLOB_BYTES_MAX, ArtifactSpec


@dataclass(frozen=True, slots=True)
class ArtifactsHere:
    """Puts them into `folder`, as JOB/NAME/... below it; what an earlier run put there gives way."""

    folder: Path

    def __call__(self, work: Work, /) -> Collection:
        """Do it, and see that whoever passed has made what is required."""
        remarks = [
            f"artifact {quoted(spec.name)}: {said}"
            for spec in work.assign.spec.artifacts
            if (said := self._put(work, spec))
        ]
        return Collection(remarks=tuple(remarks), missing=required(work).missing)

    def _put(self, work: Work, spec: ArtifactSpec) -> str:
        """Why it is not there; empty where it is, or where there is nothing of it."""
        root, target = work.workspace.work, self.folder / work.assign.spec.name / spec.name
        try:
            found = find(root, spec.paths, bytes_max=BLOB_BYTES_MAX, check=work.check)
            if not found.files:
                return ""
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
            try:
                with tempfile.TemporaryFile(dir=work.workspace.root) as file:
                    pack(root, found.files, found.folders, file, work.check, links=found.links)
                    file.seek(0)
                    unpack(file, draft, bytes_max=BLOB_BYTES_MAX, check=work.check)
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(target)
                draft.chmod(0o755)
                draft.rename(target)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        except (TooMuch, ArchiveRefused) as error:
            return f"it is not put into {target}: {error}"
        except OSError as error:
            return f"it is not put into {target}: {error.strerror or error}"
        return ""
