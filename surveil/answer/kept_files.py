"""Answers about what was kept of the work of attempts: which artifacts there are, and their bytes.

What belongs here: two questions. What does not: rows and bytes (`store`), and how long they are kept (`core.kept`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from surveil.answer import Question, Reply
from surveil.answer.arguments import Arguments, not_found
from surveil.answer.views import time_text
from surveil.core.kept import Artifact
from surveil.errors import NotFoundError
from surveil.protocol import CHUNK_BYTES_MAX
from surveil.store.blobs import Blobs
from surveil.store.shelf import Shelf

LISTED_MAX: Final = 1000
"""Artifacts in one answer; the asker turns pages with `at`."""

Read = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does in a thread what blocks, a bounded number at a time."""


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """What there is, by rows and by bytes."""

    shelf: Shelf
    blobs: Blobs

    async def answer(
        self, question: Literal[Question.ARTIFACTS, Question.ARTIFACT], about: Arguments, read: Read
    ) -> Reply:
        """Answer one of the two."""
        return await (self._artifacts if question is Question.ARTIFACTS else self._artifact)(about, read)

    async def _artifacts(self, about: Arguments, read: Read) -> Reply:
        """A page of a build's artifacts from number `at` on, in the order of jobs' names; a page that is not full is
        the last.
        """
        build = about.number("build")
        at = about.number("at", 0)
        limit = about.number("limit", LISTED_MAX, least=1, most=LISTED_MAX)
        about.finish()
        found = await read(lambda: self.shelf.artifacts(build))
        return Reply(body=[artifact_view(artifact) for artifact in found[at : at + limit]])

    async def _artifact(self, about: Arguments, read: Read) -> Reply:
        """Bytes `at` and on of an artifact's archive."""
        job, attempt, name = about.text("job"), about.number("attempt", least=1), about.text("name")
        at = about.number("at")
        about.finish()

        def look() -> tuple[Artifact, bytes]:
            artifact = self.shelf.artifact(job, attempt, name) if job.partition("/")[0].isdecimal() else None
            if artifact is None:
                hint = "it may have been dropped by its age; `surveil artifacts ls BUILD` lists those that there are"
                raise not_found("artifact", name, hint)
            data = self.blobs.read(artifact.blob, at, CHUNK_BYTES_MAX) if at < artifact.size else b""
            if not data and at < artifact.size:
                raise NotFoundError(
                    f"The files of the artifact `{name}` are not on the dispatcher's disk: it was started from a "
                    "backup, which holds no artifacts, or somebody deleted them; build the commit again with "
                    "`surveil retry`."
                )
            return artifact, data

        artifact, data = await read(look)
        return Reply(body=artifact_view(artifact), data=data)


def artifact_view(artifact: Artifact) -> dict[str, Any]:
    """An artifact for `--json`; `size` and `sha256` are those of its archive."""
    return {
        "job": artifact.job,
        "attempt": artifact.attempt,
        "name": artifact.name,
        "files": artifact.files,
        "size": artifact.size,
        "sha256": artifact.blob,
        "kept_at": time_text(artifact.kept_at),
        "expires_at": time_text(artifact.expires_at),
    }
