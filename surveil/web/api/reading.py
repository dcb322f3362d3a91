"""Routes that look: builds, jobs, results, stories, artifacts, runners, and the installation at a glance.

What belongs here: one route for each document. What does not: logs (`logs`), and what happens as it happens
(`following`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response, StreamingResponse

from surveil.answer.answers import BUILDS_MAX
from surveil.answer.kept_files import LATELY_MAX
from surveil.client.following import follow_artifact
from surveil.core.model import Status
from surveil.errors import NotFoundError
from surveil.web.api.asking import Asked, BuildNumber, Document, JobName, Reads
from surveil.web.api.lengthy import while_allowed
from surveil.web.books import Books
from surveil.web.headers import SANDBOXED
from surveil.web.routes import api_router
from surveil.web.tags import sent

router = api_router("reading")


@router.get("/status")
async def status(books: Asked, _visitor: Reads) -> Document:
    """The dispatcher, its queue and its runners at a glance."""
    found: Document = (await books.ask("status")).body
    return found


@router.get("/builds")
async def builds(
    request: Request,
    books: Asked,
    _visitor: Reads,
    *,
    repo: Annotated[
        str | None, Query(max_length=4096, description="only this repository, or the end of its name")
    ] = None,
    ref: Annotated[str | None, Query(max_length=1024, description="only this ref, or a branch's short name")] = None,
    state: Annotated[Status | None, Query(description="only builds that stand so")] = None,
    event: Annotated[str | None, Query(max_length=100, description="only what was built for this: `push`")] = None,
    author: Annotated[
        str | None, Query(max_length=1024, description="only commits of this person, by name or address")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=BUILDS_MAX)] = 20,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="only builds with smaller numbers")] = None,
    jobs: Annotated[bool, Query(description="`false`: without their jobs, which is quicker")] = True,
) -> Response:
    """Builds, newest first; `next` is what to give as `before` for more of them, or null."""
    about = {
        "repo": repo, "ref": ref, "state": state and state.value, "event": event, "author": author,
        "limit": limit, "before": before,
    }  # fmt: skip
    return sent(await books.written_builds(about, request.app.state.cluster, brief=not jobs))


@router.get("/builds/{build}")
async def one_build(request: Request, books: Asked, build: BuildNumber, _visitor: Reads) -> Response:
    """One build with its jobs and attempts."""
    return sent(await books.written_build(build, request.app.state.cluster))


@router.get("/builds/{build}/jobs/{job:path}/attempts/{attempt}")
async def one_attempt(books: Asked, build: BuildNumber, job: JobName, attempt: int, _visitor: Reads) -> Document:
    """One attempt at a job."""
    found = await _job(books, build, job)
    for each in found["attempts"]:
        if each["number"] == attempt:
            return dict(each)
    raise NotFoundError(f"Job {job} of build {build} has no attempt {attempt}: its newest is {found['attempt']}.")


@router.get("/builds/{build}/jobs/{job:path}")
async def one_job(books: Asked, build: BuildNumber, job: JobName, _visitor: Reads) -> Document:
    """One job with its attempts."""
    return await _job(books, build, job)


@router.get("/builds/{build}/story")
async def story(
    books: Asked,
    build: BuildNumber,
    _visitor: Reads,
    job: Annotated[str, Query(max_length=300, description="only this job's")] = "",
) -> list[Document]:
    """The history of a build, or of one of its jobs, in plain words with times."""
    return await books.story(build, job)


@router.get("/builds/{build}/tests")
async def results(
    books: Asked,
    build: BuildNumber,
    _visitor: Reads,
    job: Annotated[str, Query(max_length=300, description="only this job's")] = "",
) -> Document:
    """Test results: failures first, then the slowest."""
    return await books.tests(build, job)


@router.get("/builds/{build}/artifacts")
async def artifacts(books: Asked, build: BuildNumber, _visitor: Reads) -> list[Document]:
    """What the jobs of a build kept."""
    return await books.listed("artifacts", {"build": build})


@router.get("/artifacts")
async def all_artifacts(
    books: Asked,
    _visitor: Reads,
    repo: Annotated[
        str | None, Query(max_length=4096, description="only this repository's, or the end of its name")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LATELY_MAX)] = LATELY_MAX,
    before: Annotated[
        int | None, Query(ge=1, le=2**53, description="only those of builds with smaller numbers")
    ] = None,
) -> Document:
    """What is kept of all builds, the newest first; `next` is what to give as `before` for more of it, or null."""
    found: Document = (await books.ask("artifacts", {"repo": repo, "limit": limit, "before": before})).body
    return found


@router.get("/builds/{build}/artifacts/{name}", response_class=StreamingResponse)
async def one_artifact(
    request: Request,
    books: Asked,
    build: BuildNumber,
    name: str,
    _visitor: Reads,
    job: Annotated[str, Query(max_length=300)],
    attempt: Annotated[int, Query(ge=1, le=2**31)],
) -> StreamingResponse:
    """An artifact's archive, a compressed tar file, as an attempt kept it."""
    about = {"job": f"{build}/{job}", "attempt": attempt, "name": name}
    found = (await books.ask("artifact", {**about, "at": 0})).body
    headers = {
        "content-length": str(found["size"]),
        "content-disposition": "attachment",
        "content-security-policy": SANDBOXED,
        "etag": f'"{found["sha256"]}"',
    }
    pieces = while_allowed(_bytes(books, about, found["size"]), request, build)
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)


@router.get("/runners")
async def runners(books: Asked, _visitor: Reads) -> list[Document]:
    """The pool of runners."""
    return await books.listed("runners")


async def _job(books: Books, build: int, name: str) -> Document:
    document = await books.with_waiting(await books.build(build))
    for each in document["jobs"]:
        if each["name"] == name:
            return dict(each)
    raise NotFoundError(f"Build {build} has no job {name!r}.")


async def _bytes(books: Books, about: dict[str, Any], size: int) -> AsyncGenerator[bytes]:
    async for piece in follow_artifact(books, about, 0, size):
        yield piece
