"""Pages about builds: lists of them, one with its jobs, its tests, and its story.

What belongs here: which documents a page shows. What does not: how they are read (`surveil.web.books`), pictures of
them (`pictures`), and how they look (the templates).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from surveil.client import VERDICTS
from surveil.core.conditions import EVENTS
from surveil.core.model import Status
from surveil.web.api.asking import Asked, BuildNumber
from surveil.web.books import Books
from surveil.web.pages import choosing, pictures
from surveil.web.pages.asking import Looks
from surveil.web.pages.drawing import page
from surveil.web.routes import page_router

router = page_router()

PAGE: Final = 40
FAILURES_SHOWN: Final = 10
ARTIFACTS_SHOWN: Final = 10
WRONG_SHOWN: Final = 50
SLOWEST_SHOWN: Final = 20
OUTPUT_SHOWN: Final = 4000
STORY_SHOWN: Final = 200
_WRONG: Final = frozenset({"failed", "errored"})
_JobName = Annotated[str, Query(max_length=300)]
_Long = Annotated[str, Query(max_length=4096)]
_State = Annotated[str, Query(pattern=f"^({'|'.join(Status)})?$")]


@router.get("/builds")
async def builds(
    request: Request,
    books: Asked,
    visitor: Looks,
    repo: _Long = "",
    ref: Annotated[str, Query(max_length=1024)] = "",
    state: _State = "",
    event: Annotated[str, Query(max_length=100)] = "",
    author: Annotated[str, Query(max_length=1024)] = "",
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> Response:
    """Builds, newest first."""
    filters = {"repo": repo, "ref": ref, "state": state, "event": event, "author": author}
    asked = {name: value or None for name, value in filters.items()}
    found = (await books.ask("builds", {**asked, "limit": PAGE, "before": before, "brief": True})).body
    # A page may be shorter than wished for where its builds are large; whether there are more, the next one tells.
    older = found[-1]["id"] if found and found[-1]["id"] > 1 else None
    return page(
        request, "builds.html", visitor, title="Builds", builds=found, filters=filters, states=list(Status),
        events=EVENTS, is_filtered=any(filters.values()), older=older,
        usual=await books.usual_ms(build["repo"] for build in found),
    )  # fmt: skip


@router.get("/builds/{build}")
async def one_build(
    request: Request,
    books: Asked,
    build: BuildNumber,
    visitor: Looks,
    *,
    group: _JobName = "",
    state: _State = "",
    at: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
) -> Response:
    """One build: its jobs, with every attempt and its reason, those first that somebody wants to see; or page by page
    all of them, all of one group, or all that stand so.
    """
    document = await books.with_waiting(await books.build(build, logs=False))
    every = document["jobs"]
    wanted = [job for job in every if group in {"", pictures.group_of(job["name"])} and state in {"", job["state"]}]
    is_part = bool(group or state) or at is not None
    found = pictures.groups(wanted)
    choice = choosing.page(wanted, at or 0) if is_part else choosing.first(found, len(every))
    artifacts = [] if is_part else await books.listed("artifacts", {"build": build})
    usual = await books.usual_ms([document["repo"]])
    return page(
        request, "build.html", visitor, title=f"Build {build} {document['state']}", build=document,
        is_over=document["state"] in VERDICTS, usual_ms=usual.get(document["repo"]),
        is_part=is_part, group=group, state_wanted=state, choice=choice, counts=choosing.counts(every), node=pictures,
        graph=None if is_part else pictures.graph(found), waterfall=pictures.waterfall(choice.jobs),
        artifacts=artifacts[:ARTIFACTS_SHOWN], artifacts_count=len(artifacts),
        **({"tested": None} if is_part else await _tested(books, document)),
    )  # fmt: skip


@router.get("/builds/{build}/tests")
async def results(request: Request, books: Asked, build: BuildNumber, visitor: Looks, job: _JobName = "") -> Response:
    """The tests of a build: what went wrong, the new ones first, then the slowest."""
    document = (await books.ask("tests", {"build": build, "job": job})).body
    cases = [{**case, "output": case["output"][-OUTPUT_SHOWN:]} for case in document["cases"]]
    wrong = sorted((case for case in cases if case["state"] in _WRONG), key=lambda case: case["new"] is not True)
    sound = [case for case in cases if case["state"] not in _WRONG]
    return page(
        request, "tests.html", visitor, title=f"Tests of build {build}", build=build, job=job, tests=document,
        wrong=wrong[:WRONG_SHOWN], wrong_count=sum(each["failed"] + each["errored"] for each in document["jobs"]),
        slowest=sorted(sound, key=lambda case: -case["duration_ms"])[:SLOWEST_SHOWN],
    )  # fmt: skip


@router.get("/builds/{build}/tests/history")
async def history(
    request: Request, books: Asked, build: BuildNumber, visitor: Looks, name: _Long, suite: _Long = ""
) -> Response:
    """How a test ended in this build and in those before it."""
    document = (await books.ask("history", {"build": build, "suite": suite, "name": name})).body
    return page(request, "history.html", visitor, title="History of a test", build=build, history=document)


@router.get("/builds/{build}/story")
async def story(
    request: Request,
    books: Asked,
    build: BuildNumber,
    visitor: Looks,
    job: _JobName = "",
    at: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """The history of a build, or of one of its jobs, in plain words."""
    document = (await books.ask("story", {"build": build, "job": job, "at": at})).body
    lines = document["lines"]
    following = at + STORY_SHOWN if len(lines) > STORY_SHOWN else document["next"]
    return page(
        request, "story.html", visitor, title=f"Story of build {build}", build=build, job=job,
        lines=lines[:STORY_SHOWN], following=following,
    )  # fmt: skip


async def _tested(books: Books, build: dict[str, Any]) -> dict[str, Any]:
    """What the tests of a build came to, and its first failures, the new ones before others."""
    told = [job["tests"] for job in build["jobs"] if job["tests"]]
    words = ("passed", "failed", "errored", "skipped", "new", "flaky")
    sums = {word: sum(each[word] or 0 for each in told) for word in words}
    cases: list[dict[str, Any]] = []
    if sums["failed"] or sums["errored"]:
        found = (await books.ask("tests", {"build": build["id"]})).body["cases"]
        cases = sorted((case for case in found if case["state"] in _WRONG), key=lambda case: case["new"] is not True)
    return {"tested": sums if told else None, "failures": cases[:FAILURES_SHOWN]}
