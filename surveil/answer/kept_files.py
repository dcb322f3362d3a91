"""Answers about what was kept of the work of attempts: which artifacts there are, and their bytes.

What belongs here: two questions. What does not: rows and bytes (`store`), and how long they are kept (`core.kept`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal

from surveil.answer import Question, ReadInThread, Reply
from surveil.answer.arguments import NUMBER_MAX, Arguments, not_found
from surveil.answer.views import time_text
from surveil.core.kept import Artifact
from surveil.errors import NotFoundError
from surveil.protocol import CHUNK_BYTES_MAX
from surveil.store.blobs import Blobs
from surveil.store.shelf import Shelf

LISTED_MAX: Final = 1000
"""Artifacts in one answer; the asker turns pages with `at`."""
LATELY_MAX: Final = 100
FETCHES_MAX: Final = 2
"""So many look for bytes at once. They may be far away, and their server may hang: whoever asks for something else does
not wait for that, so these take no part in how many may read.
"""


class KeptFiles:
    """What there is, by rows and by bytes."""

    def __init__(self, shelf: Shelf, blobs: Blobs) -> None:
        self.shelf = shelf
        self.blobs = blobs
        self._fetches = asyncio.Semaphore(FETCHES_MAX)

    async def answer(
        self, question: Literal[Question.ARTIFACTS, Question.ARTIFACT], about: Arguments, read: ReadInThread
    ) -> Reply:
        """Answer one of the two."""
        return await (self._artifacts if question is Question.ARTIFACTS else self._artifact)(about, read)

    async def _artifacts(self, about: Arguments, read: ReadInThread) -> Reply:
        """A page of a build's artifacts from number `at` on, in the order of jobs' names; a page that is not full is
        the last. Without a build, those of all builds, the newest first.
        """
        if not about.has("build"):
            return await self._lately(about, read)
        build = about.number("build")
        at = about.number("at", 0)
        limit = about.number("limit", LISTED_MAX, least=1, most=LISTED_MAX)
        about.finish()
        found = await read(lambda: self.shelf.artifacts(build))
        return Reply(body=[artifact_view(artifact) for artifact in found[at : at + limit]])

    async def _lately(self, about: Arguments, read: ReadInThread) -> Reply:
        """Artifacts of several builds, each build's whole or at least as many as an answer has; `next` is what to give
        as `before` for more of them, or None.
        """
        repo = about.text("repo") if about.has("repo") else None
        before = about.number("before", NUMBER_MAX, least=1)
        limit = about.number("limit", LATELY_MAX, least=1, most=LISTED_MAX)
        among = about.repos("among")
        about.finish()
        found = await read(lambda: self.shelf.lately(repo=repo, before=before, limit=limit + 1, among=among))
        documents = [{"repo": repo, "ref": ref, **artifact_view(each)} for each, repo, ref in found]
        if len(documents) <= limit:
            return Reply(body={"artifacts": documents, "next": None})
        last, cut = (_build_of(documents[at]) for at in (limit - 1, limit))
        whole = [each for each in documents[:limit] if last != cut or _build_of(each) != last]
        shown = whole or documents[:limit]
        return Reply(body={"artifacts": shown, "next": _build_of(shown[-1])})

    async def _artifact(self, about: Arguments, read: ReadInThread) -> Reply:
        """Bytes `at` and on of an artifact's archive."""
        job, attempt, name = about.text("job"), about.number("attempt", least=1), about.text("name")
        at = about.number("at")
        about.finish()

        artifact = await read(lambda: self.shelf.artifact(job, attempt, name)) if _of_a_build(job) else None
        if artifact is None:
            hint = "it may have been dropped by its age; `surveil artifacts ls BUILD` lists those that there are"
            raise not_found("artifact", name, hint)
        data = b""
        if at < artifact.size:
            async with self._fetches:
                data = await asyncio.to_thread(self.blobs.read, artifact.blob, at, CHUNK_BYTES_MAX)
            if not data:
                raise NotFoundError(
                    f"The files of the artifact `{name}` are not where the dispatcher keeps them: they were damaged or "
                    "deleted there, or it was started from a backup, which holds no artifacts; build the commit again "
                    "with `surveil retry`."
                )
        return Reply(body=artifact_view(artifact), data=data)


def _of_a_build(job: str) -> bool:
    return job.partition("/")[0].isdecimal()


def _build_of(document: dict[str, Any]) -> int:
    return int(document["job"].partition("/")[0])


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
