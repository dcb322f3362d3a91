"""The answers about how things have been going: which builds somebody means, how repositories and their branches stand,
how a test has been doing, and what happened to the machines.

What belongs here: these documents, and how far back each of them looks. What does not: one build (`views`), its tests
(`cases`) and its history (`story`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Any, Final, Literal

from surveil.answer import Question, ReadInThread, Reply
from surveil.answer.arguments import Arguments, ends_with, whole_refs
from surveil.answer.lately import Lately
from surveil.answer.views import note_view, time_text
from surveil.core.model import VERDICTS, Build, Status
from surveil.store import Outline, Reader

AUTHORS_MAX: Final = 20_000
"""Among so many a name or an address is looked for; the whole text that commits have is found among any number."""
AUTHORS_MEANT_MAX: Final = 20
"""So many of one name, or with one address, are taken for the same."""
LATELY_SHOWN: Final = 20
USUAL_OF_LEAST: Final = 3
"""Of so many builds that passed one can say what is usual."""
REFS_SHOWN: Final = 20
REPOSITORIES_PAGE: Final = 50
"""Repositories in one answer; the asker turns pages with `at`."""
INCIDENTS_MAX: Final = 500
_BROKEN: Final = frozenset({Status.FAILED, Status.ERRORED})


class Outlook:
    """Answers from the store."""

    def __init__(self, reader: Reader, read: ReadInThread) -> None:
        self._reader = reader
        self._read = read
        self._lately = Lately(reader, repository_view)

    async def answer(
        self, question: Literal[Question.HISTORY, Question.REPOSITORIES, Question.INCIDENTS], about: Arguments
    ) -> Reply:
        """The document that a question wants."""
        match question:
            case Question.HISTORY:
                build, suite, name = about.number("build"), about.text("suite", ""), about.text("name")
                about.finish()
                return Reply(body=await self._read(lambda: self._history(build, suite, name)))
            case Question.REPOSITORIES:
                repo = about.text("repo") if about.has("repo") else None
                at = about.number("at", 0)
                limit = about.number("limit", REPOSITORIES_PAGE, least=1, most=REPOSITORIES_PAGE)
                among = about.repos("among")
                about.finish()
                return Reply(body=await self._read(lambda: self._repositories(repo, at, limit, among)))
            case Question.INCIDENTS:
                limit = about.number("limit", 100, least=1, most=INCIDENTS_MAX)
                about.finish()
                return Reply(body=await self._read(lambda: self._incidents(limit)))

    async def repo_of(self, build: int) -> str | None:
        """The repository that a build is of; None where there is no such build."""
        found = await self._read(lambda: self._reader.builds(before=build + 1, limit=1, jobs=False))
        return found[0].repo if found and found[0].id == build else None

    async def repos(self) -> list[str]:
        """The repositories that were ever built, by name."""
        return await self._read(self._reader.repositories)

    def matching(
        self,
        repo: str | None,
        ref: str | None,
        *,
        state: Status | None = None,
        event: str | None = None,
        author: str | None = None,
        limit: int,
        before: int | None,
        among: Sequence[str] | None = None,
    ) -> list[Build]:
        """The builds asked for, without their jobs, of all repositories or only `among` these. A repository that has
        none by this whole name is looked for by its name's end, an author by name or address.
        """
        repos = among if repo is None else self._repos_meant(repo, among)
        authors = None if author is None else self._authors_meant(author, repos)
        read = partial(self._reader.builds, among=repos, authors=authors, state=state, event=event, jobs=False)
        for name in whole_refs(ref):
            found = read(ref=name, limit=limit, before=before)
            # A page that is empty is the end of what was meant, and not the beginning of another ref of that name.
            if found or (before is not None and read(ref=name, limit=1)):
                return found
        return []

    def _repos_meant(self, repo: str, among: Sequence[str] | None) -> list[str]:
        if repo in among if among is not None else self._reader.builds(repo=repo, limit=1, jobs=False):
            return [repo]
        return [name for name in (self._reader.repositories() if among is None else among) if ends_with(name, repo)]

    def _authors_meant(self, author: str, among: Sequence[str] | None) -> list[str]:
        # Elsewhere somebody may be called just so, and whoever may not see that must not notice it.
        if self._reader.builds(authors=[author], among=among, limit=1, jobs=False):
            return [author]
        return [each for each in self._reader.authors(limit=AUTHORS_MAX) if is_by(each, author)][:AUTHORS_MEANT_MAX]

    def usual_ms(self, repos: Sequence[str]) -> dict[str, int | None]:
        """How long a build of each of these repositories usually takes."""
        return {view["repo"]: view["median_ms"] for view in self._lately.views(repos)}

    def _repositories(self, repo: str | None, at: int, limit: int, among: Sequence[str] | None) -> list[dict[str, Any]]:
        if repo is not None:
            is_seen = among is None or repo in among
            return self._lately.views([repo]) if is_seen else [repository_view(repo, ())]
        known = self._reader.repositories() if among is None else sorted(among)
        return self._lately.views(known[at : at + limit])

    def _history(self, build: int, suite: str, name: str) -> dict[str, Any]:
        results = [
            {
                "build": int(one.job.partition("/")[0]),
                "job": one.job,
                "attempt": one.attempt,
                "state": one.case.state,
                "duration_ms": one.case.duration_ms,
                "message": one.case.message[:1000],
            }
            for one in self._reader.history(build, suite, name)
        ]
        return {"build": build, "suite": suite, "name": name, "results": results[:INCIDENTS_MAX]}

    def _incidents(self, limit: int) -> list[dict[str, Any]]:
        names = {runner.id: runner.name for runner in self._reader.runners()}
        return [
            note_view(line.position, line.note, names.get(line.note.id)) for line in self._reader.incidents(limit=limit)
        ]


def is_by(author: str, wanted: str) -> bool:
    """Whether an author, as a commit has them, is whom somebody means by a name or an address, in small letters or
    large ones.
    """
    name, _, address = author.rstrip(">").rpartition(" <")
    return wanted.casefold() in {author.casefold(), name.casefold(), address.casefold()} and bool(wanted)


def repository_view(repo: str, lately: Sequence[Outline]) -> dict[str, Any]:
    """How a repository stands, from its newest builds, newest first."""
    refs: dict[str, list[Outline]] = {}
    for build in lately:
        refs.setdefault(build.ref, []).append(build)
    return {
        "repo": repo,
        "median_ms": median_ms(lately),
        "lately": [{"id": build.id, "ref": build.ref, "state": build.state.value} for build in lately[:LATELY_SHOWN]],
        "refs": [_ref_view(ref, builds) for ref, builds in list(refs.items())[:REFS_SHOWN]],
    }


def median_ms(builds: Sequence[Outline]) -> int | None:
    """How long a build usually takes that passes; None where too few of them did for anything to be usual."""
    took = [
        build.finished_at - build.started_at
        for build in builds
        if build.state is Status.PASSED and build.started_at is not None and build.finished_at is not None
    ]
    return int(median(took)) if len(took) >= USUAL_OF_LEAST else None


def _ref_view(ref: str, builds: Sequence[Outline]) -> dict[str, Any]:
    """How a branch or tag stands: by the newest build with a verdict; and since which one it has been broken."""
    newest = builds[0]
    settled = [build for build in builds if build.state in VERDICTS and build.state is not Status.CANCELLED]
    broken: Outline | None = None
    for build in settled:
        if build.state not in _BROKEN:
            break
        broken = build
    told = settled[0] if settled else None
    return {
        "ref": ref,
        "build": newest.id,
        "state": newest.state.value,
        "created_at": time_text(newest.created_at),
        "started_at": time_text(newest.started_at),
        "finished_at": time_text(newest.finished_at),
        "verdict": None
        if told is None
        else {"build": told.id, "state": told.state.value, "at": time_text(told.finished_at or told.created_at)},
        "broken_since": None if broken is None else {"build": broken.id, "at": time_text(broken.created_at)},
    }
