"""The books as one visitor may see them: every question is held against their rights before it is answered.

What belongs here: what each question takes of its asker, and what is left out of the answer. What does not: which roles
somebody has (`visitors`), and the answers (`books`).

All routes ask through this, so that none can forget. What somebody may not see does not exist for them: it is answered
as what there is none of. A question that no rule names is asked by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from surveil.answer import Question
from surveil.answer.answers import LISTED_MAX
from surveil.answer.arguments import REPOS_MAX, Arguments, ends_with, no_build
from surveil.client import Answered
from surveil.errors import UsageError
from surveil.web.books import Books
from surveil.web.ready import Written
from surveil.web.rights import Scope
from surveil.web.visitors import Visitor


class Rule(NamedTuple):
    """What a question takes: a scope, for the repository that is named by this argument (`build`, `job`, `repo`), for
    all that the answer shows (`seen`), or everywhere (empty).
    """

    scope: Scope
    by: str


_READ: Final = {
    "build": (Question.BUILD, Question.STORY, Question.TESTS, Question.HISTORY),
    "job": (Question.LOG, Question.ARTIFACT),
    "seen": (Question.STATUS, Question.BUILDS, Question.JOURNAL, Question.REPOSITORIES, Question.ARTIFACTS),
    "": (Question.RUNNERS, Question.INCIDENTS),
}
_RUN: Final = {
    "build": (Question.RETRY, Question.CANCEL, Question.UNHOLD, Question.APPROVE),
    "job": (Question.REPLAY, Question.REPLAY_SHARD, Question.REPLAY_PACK),
    "repo": (Question.LOOK, Question.SUBMIT),
    "": (Question.RUNNER,),
}
_ADMIN: Final = {
    # A secret whose pattern is the address of one repository is that one's own.
    "repo": (Question.SECRET_SET, Question.SECRET_REMOVE),
    "seen": (Question.SECRETS,),
    "": (
        Question.TOKEN_CREATE, Question.TOKENS, Question.TOKEN_REVOKE, Question.PEERS, Question.PEER_REVOKE,
        Question.DB_BACKUP, Question.SECRET_REKEY, Question.AUDIT,
    ),
}  # fmt: skip
RULES: Final[Mapping[Question, Rule]] = {
    question: Rule(scope, by)
    for scope, kinds in ((Scope.READ, _READ), (Scope.RUN, _RUN), (Scope.ADMIN, _ADMIN))
    for by, questions in kinds.items()
    for question in questions
}


class OwnBooks(Books):
    """What `books` answer, for one visitor."""

    outage_ms = Books.outage_ms

    def __init__(self, books: Books, visitor: Visitor) -> None:
        self._books = books
        self._visitor = visitor
        self._rights = visitor.rights
        self.lines, self.tidings = books.lines, books.tidings

    async def ask(
        self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None
    ) -> Answered:
        """Ask, if this visitor may.

        Raises:
            NotFoundError: there is nothing of the kind for this visitor.
            NotAllowedError: they may see it, and no more.
            SurveilError: as the books do.
        """
        rule = RULES[Question(what)]
        asked = dict(about or {})
        if self._rights.everywhere >= rule.scope:
            return await self._books.ask(what, asked, patience_ms=patience_ms)
        self._visitor.require_some(rule.scope)
        match rule.by:
            case "build" | "job":
                await self._require(rule.scope, _build_in(asked.get(rule.by)))
            case "repo":
                self._visitor.require(rule.scope, str(asked.get("repo") or ""))
            case "seen":
                return await self._seen(Question(what), asked)
            case _:
                self._visitor.require(rule.scope)
        return await self._books.ask(what, asked, patience_ms=patience_ms)

    async def require_build(self, build: int) -> None:
        """See that there is such a build for this visitor. Raises NotFoundError."""
        if not self._rights.sees_all:
            await self._require(Scope.READ, build)

    async def build(self, build: int, *, logs: bool = True) -> dict[str, Any]:
        """As the books do, if this visitor may see it, as `ask` has it. Raises NotFoundError."""
        await self._require_seen(build)
        return await self._books.build(build, logs=logs)

    async def written_build(self, build: int, cluster: str) -> Written:
        """As `build` does."""
        await self._require_seen(build)
        return await self._books.written_build(build, cluster)

    async def written_builds(self, about: Mapping[str, Any], cluster: str, *, brief: bool) -> Written:
        """As the books do, of repositories that this visitor may see."""
        if not self._rights.sees_all:
            self._visitor.require_some(Scope.READ)
            about = await self._own(about)
        return await self._books.written_builds(about, cluster, brief=brief)

    async def with_waiting(self, build: dict[str, Any]) -> dict[str, Any]:
        """As the books do; whoever has the document may see what it waits for."""
        return await self._books.with_waiting(build)

    async def explained(self, what: str, about: Mapping[str, Any], found: Answered) -> Answered:
        """As the books do, for what this visitor was given."""
        if what == Question.BUILDS and not self._rights.sees_all:
            about = await self._own(about)
        return await self._books.explained(what, about, found)

    async def usual_ms(self, repos: Iterable[str]) -> dict[str, int | None]:
        """As the books do, of repositories that may be seen."""
        return await self._books.usual_ms(self._rights.among(repos))

    async def repo_of(self, build: int) -> str | None:
        """As the books do."""
        return await self._books.repo_of(build)

    async def repos(self) -> list[str]:
        """The repositories that were built and may be seen."""
        return list(self._rights.among(await self._books.repos()))

    async def _own(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What a list is asked for, of the repositories that this visitor may see; where those are too many, of the
        ones that `repo` may mean. Raises UsageError.
        """
        seen, repo = await self.repos(), about.get("repo")
        if len(seen) > REPOS_MAX and isinstance(repo, str):
            seen = [each for each in seen if each == repo or ends_with(each, repo)]
        if len(seen) > REPOS_MAX:
            raise UsageError(
                f"Your roles let you see {len(seen)} repositories, and a list is made of at most {REPOS_MAX}: name one "
                "with `repo`, or ask an administrator for the role `read` in all repositories."
            )
        return {**about, "among": tuple(seen)}

    async def _require_seen(self, build: int) -> None:
        if not self._rights.sees_all:
            self._visitor.require_some(Scope.READ)
            await self._require(Scope.READ, build)

    async def _require(self, scope: Scope, build: int | None) -> None:
        repo = None if build is None else await self.repo_of(build)
        if repo is None or self._rights.at(repo) < Scope.READ:
            raise no_build(build)
        self._visitor.require(scope, repo)

    async def _seen(self, question: Question, asked: dict[str, Any]) -> Answered:
        """An answer without what this visitor may not see."""
        match question:
            case Question.ARTIFACTS if asked.get("build") is not None:
                await self._require(Scope.READ, _build_in(asked["build"]))
                return await self._books.ask(question, asked)
            case Question.BUILDS | Question.REPOSITORIES | Question.ARTIFACTS:
                return await self._books.ask(question, await self._own(asked))
            case Question.STATUS:
                found = await self._books.ask(question, asked)
                return Answered(body=self._own_status(found.body), data=b"")
            case Question.SECRETS:
                return await self._own_secrets(asked)
            case _:
                assert question is Question.JOURNAL, f"{question} shows things of several repositories"
                return await self._own_journal(asked)

    def _own_status(self, status: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers say nothing of others; names, and reasons in which names stand, do."""
        lists = ("approvals", "schedules", "watching")
        own = {name: [each for each in status[name] if self._sees(each["repo"])] for name in lists}
        return {**status, **own, "waiting": [], "ports": [], "offenders": [], "put_aside": [], "outbox": None}

    async def _own_secrets(self, asked: Mapping[str, Any]) -> Answered:
        about = Arguments(Question.SECRETS, asked)
        at, limit = about.number("at", 0), about.number("limit", LISTED_MAX, least=1, most=LISTED_MAX)
        about.finish()
        own = [
            each
            for each in await self._books.listed(Question.SECRETS)
            if each["repo"] and self._rights.at(each["repo"]) >= Scope.ADMIN
        ]
        return Answered(body=own[at : at + limit], data=b"")

    async def _own_journal(self, asked: dict[str, Any]) -> Answered:
        """Lines about builds that may be seen; where there are none, there is still a place to go on from."""
        if asked.get("build") is not None:
            await self._require(Scope.READ, _build_in(asked["build"]))
        found = await self._books.ask(Question.JOURNAL, asked)
        notes = [note for note in found.body["notes"] if note["build"] is not None and await self._sees_build(note)]
        return Answered(body={**found.body, "notes": notes}, data=b"")

    async def _sees_build(self, note: Mapping[str, Any]) -> bool:
        repo = await self.repo_of(note["build"])
        return repo is not None and self._sees(repo)

    def _sees(self, repo: str) -> bool:
        return self._rights.at(repo) >= Scope.READ


def _build_in(value: object) -> int | None:
    """The build that an argument names: its number, or that before a job's name."""
    if type(value) is int:
        return value if value < 2**53 else None
    number = value.partition("/")[0] if isinstance(value, str) else ""
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= 16 else None  # noqa: PLR2004
