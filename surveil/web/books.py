"""What pages and programs ask: read from the store here, or wished of the dispatcher.

What belongs here: which question goes where. What does not: the answers (`surveil.answer`), which are the same that a
dispatcher gives.

Whoever only looks costs the dispatcher nothing: builds, logs, results and stories are read from its store and its log
files, which any process of its machine can read while it writes. It alone knows who is connected, why a job waits, and
when there is something new; these it is asked once for all who want to know the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, TypeAlias

from surveil.answer import Question, Reply
from surveil.answer.answers import Answers
from surveil.client import Answered
from surveil.client.asking import OUTAGE_MS, Client
from surveil.client.documents import Documents
from surveil.errors import InfrastructureError, SurveilError, UnreachableError
from surveil.protocol import Ask
from surveil.web import behalf
from surveil.web.lines import LogLines
from surveil.web.ready import WAITING_STATES, Ready, Written
from surveil.web.remembered import Remembered
from surveil.web.sparing import Sparing
from surveil.web.tidings import Tidings
from surveil.web.waits import Waits

FRESH_S: Final = 0.2
"""How old an answer may be that many share; less than a page waits before it looks for news."""
READ_HERE: Final = frozenset(
    {
        Question.BUILDS, Question.BUILD, Question.LOG, Question.JOURNAL, Question.STORY, Question.TESTS,
        Question.ARTIFACTS, Question.ARTIFACT, Question.HISTORY, Question.REPOSITORIES, Question.INCIDENTS,
        Question.AUDIT,
    }
)  # fmt: skip
SHARED: Final = frozenset({Question.REPOSITORIES, Question.INCIDENTS})
"""Read here as well, but of all builds: once for all who want to know the same."""
_WITH_JOBS: Final = frozenset({Question.BUILDS, Question.BUILD})
SHARED_S: Final = 2.0
"""How old the outbox and the names of repositories may be."""
USUAL_S: Final = 60.0
"""What builds usually take changes slowly."""
USUAL_MAX: Final = 10
"""Of so many repositories a list says it."""
USUAL_KEPT_MAX: Final = 1000
"""Of so many it is remembered; then it is begun anew."""
_NEVER: Final = (-inf, None)
READS_MAX: Final = 64
"""So many read at one time, of whom some wait for a thread; others wait for their turn and are not refused."""
KNOWN_MAX: Final = 10_000
"""Of so many builds it is remembered which repository they are of."""
REMEMBERED: Final = frozenset({Question.STATUS, Question.RUNNERS})
Outbox: TypeAlias = Callable[[], list[dict[str, Any]] | None]


class Books(Documents):
    """Answers to questions, and wishes fulfilled. `lines` are logs by rows, and `tidings` what comes in them, of builds
    that somebody was let see before.
    """

    outage_ms = OUTAGE_MS
    lines: LogLines
    tidings: Tidings

    @abstractmethod
    async def build(self, build: int, *, logs: bool = True) -> dict[str, Any]:
        """One build with all its jobs; without `logs`, nothing is said of what is kept of them. Raises SurveilError."""

    @abstractmethod
    async def written_build(self, build: int, cluster: str) -> Written:
        """One build with its jobs as it is sent, for the installation `cluster`. Raises SurveilError."""

    @abstractmethod
    async def written_builds(self, about: Mapping[str, Any], cluster: str, *, brief: bool) -> Written:
        """A list of builds as it is sent; `about` are arguments of the question, `brief` is without jobs. Raises
        SurveilError.
        """

    @abstractmethod
    async def with_waiting(self, build: dict[str, Any]) -> dict[str, Any]:
        """The document of a build, with what its jobs wait for, as far as the dispatcher can be asked."""

    @abstractmethod
    async def explained(self, what: str, about: Mapping[str, Any], found: Answered) -> Answered:
        """What was found; builds with what their jobs wait for, as far as the dispatcher can be asked."""

    @abstractmethod
    async def usual_ms(self, repos: Iterable[str]) -> dict[str, int | None]:
        """How long a build of each of these repositories usually takes."""

    @abstractmethod
    async def repo_of(self, build: int) -> str | None:
        """The repository that a build is of; None where there is no such build."""

    @abstractmethod
    async def repos(self) -> list[str]:
        """The repositories that were ever built, by name."""


class AllBooks(Books):
    """All that there is, for whoever sees to it that nobody gets too much of it (`own`)."""

    def __init__(self, answers: Answers, client: Client, outbox: Outbox = lambda: None) -> None:
        """`outbox` reads who is told of builds, and what waits for them; None is for nobody knows."""
        self._answers = answers
        self._client = client
        self._outbox = outbox
        self._remembered = Remembered()
        self._ready = Ready(answers)
        self._reads = asyncio.Semaphore(READS_MAX)
        self._waits = Waits()
        self._sparing = Sparing()
        self._repo_of: OrderedDict[int, str] = OrderedDict()
        self._usual: dict[str, tuple[float, int | None]] = {}
        self.lines = LogLines(answers.logbook.bytes_of)
        self.tidings = Tidings(self, self.lines)

    async def ask(
        self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None
    ) -> Answered:
        """Answer from the store, or ask the dispatcher; with `wait_ms` once there is something new.

        Raises:
            UnreachableError: only the dispatcher knows, and it is away.
            SurveilError: a sentence for whoever asked.
        """
        asked = {name: value for name, value in (about or {}).items() if value is not None}
        # An argument may be a list, or whatever else somebody sends.
        key = _key(what, asked)
        if what in SHARED:
            shared: Answered = await self._remembered.get(key, lambda: self._read(what, asked), fresh_s=FRESH_S)
            return shared
        if what in REMEMBERED:
            answered: Answered = await self._remembered.get(key, lambda: self._client.ask(what, asked), fresh_s=FRESH_S)
            return await self._with_outbox(answered) if what == Question.STATUS else answered
        if what not in READ_HERE:
            done = await self._client.ask(what, asked, patience_ms=patience_ms, behalf=behalf.present())
            self._remembered.forget()
            return done
        return await self._soon(what, asked)

    async def log(self, about: Mapping[str, Any], *, steps: str) -> Answered:
        """A piece of a log; with `wait_ms` once there is more of it, or its steps (as JSON) stand otherwise."""
        return await self._soon(Question.LOG, about, steps)

    async def _soon(self, what: str, asked: Mapping[str, Any], steps: str | None = None) -> Answered:
        """What is read here, at once or with `wait_ms` when there is something new."""
        if not asked.get("wait_ms"):
            return await self._read(what, asked)
        found = await self._now(what, asked)
        if _is_news(found) or (found.body.get("exists") and steps not in {None, json.dumps(found.body["steps"])}):
            return found
        key = _key(what, asked)
        # The dispatcher says when there is more of a log; what it is, is read here.
        waiting = {**asked, "limit": 1} if what == Question.LOG else asked
        try:
            answered = await self._remembered.get(key, lambda: self._waits.ask(self._client, what, waiting))
        except (UnreachableError, InfrastructureError):
            # It is away, or has no room for so many who wait: they look now and then.
            await self._waits.pause()
            return found
        return await self._now(what, asked) if what == Question.LOG else answered

    async def _now(self, what: str, about: Mapping[str, Any]) -> Answered:
        """What there is at once: many are woken by the same news, and look at the same place."""
        asked = {**about, "wait_ms": 0}
        found: Answered = await self._remembered.get(_key(what, asked), lambda: self._read(what, asked))
        return found

    async def build(self, build: int, *, logs: bool = True) -> dict[str, Any]:
        """One build with all its jobs, read at once: here no message has to carry it. Without `logs`, nothing is said
        of what is kept of theirs.
        """
        async with self._reads:
            return await self._answers.one_build(build, 0, sys.maxsize, logs=logs)

    async def written_build(self, build: int, cluster: str) -> Written:
        """One build with its jobs, with what they wait for, as far as the dispatcher can be asked."""
        async with self._reads:
            return await self._ready.build(build, cluster, self.with_waiting)

    async def written_builds(self, about: Mapping[str, Any], cluster: str, *, brief: bool) -> Written:
        """A list of builds."""
        asked = {name: value for name, value in about.items() if value is not None}
        async with self._reads:
            return await self._ready.builds(asked, cluster, brief=brief)

    async def with_waiting(self, build: dict[str, Any]) -> dict[str, Any]:
        """The document of a build, with what its jobs wait for, as far as the dispatcher can be asked."""
        if not any(job["state"] in WAITING_STATES for job in build["jobs"]):
            return build
        number = build["id"]
        try:
            told = await self._remembered.get(
                ("waiting", number), lambda: self._sparing.ask(lambda: self._client.build(number)), fresh_s=FRESH_S
            )
        except SurveilError:
            return build
        reasons = {job["id"]: job["waiting"] for job in told["jobs"]}
        for job in build["jobs"]:
            job["waiting"] = reasons.get(job["id"]) if job["state"] in WAITING_STATES else None
        build["waiting"] = told["waiting"] if build["state"] == told["state"] else None
        return build

    async def explained(self, what: str, about: Mapping[str, Any], found: Answered) -> Answered:
        """What was found, or the same as the dispatcher tells it where a job of these builds waits."""
        if what not in _WITH_JOBS:
            return found
        builds = found.body if what == Question.BUILDS else [found.body]
        if not any(job["state"] in WAITING_STATES for build in builds for job in build.get("jobs") or ()):
            return found
        key = ("explained", *_key(what, about))
        try:
            told: Answered = await self._remembered.get(
                key, lambda: self._sparing.ask(lambda: self._client.ask(what, about)), fresh_s=FRESH_S
            )
        except SurveilError:
            return found
        return told

    async def _with_outbox(self, status: Answered) -> Answered:
        """With who is told of builds, which is read here, as notifying is no part of dispatching."""
        told: list[dict[str, Any]] | None
        try:
            told = await self._remembered.get(("outbox",), lambda: asyncio.to_thread(self._outbox), fresh_s=SHARED_S)
        except SurveilError:
            told = None
        return Answered(body={**status.body, "outbox": told}, data=b"")

    async def usual_ms(self, repos: Iterable[str]) -> dict[str, int | None]:
        """How long a build of each of these repositories usually takes."""
        wanted, now = sorted({*repos})[:USUAL_MAX], asyncio.get_running_loop().time()
        if any(now - self._usual.get(repo, _NEVER)[0] > USUAL_S for repo in wanted):
            if len(self._usual) > USUAL_KEPT_MAX:
                self._usual.clear()
            self._usual |= {repo: (now, took) for repo, took in (await self._answers.usual_ms(wanted)).items()}
        return {repo: self._usual[repo][1] for repo in wanted}

    async def repo_of(self, build: int) -> str | None:
        """The repository that a build is of, which never changes."""
        known = self._repo_of.get(build) or await self._answers.outlook.repo_of(build)
        if known is not None:
            self._repo_of[build] = known
            self._repo_of.move_to_end(build)
            if len(self._repo_of) > KNOWN_MAX:
                self._repo_of.popitem(last=False)
        return known

    async def repos(self) -> list[str]:
        """The repositories that were built until a moment ago."""
        found: list[str] = await self._remembered.get(("repos",), self._answers.outlook.repos, fresh_s=SHARED_S)
        return found

    async def position(self) -> int:
        """The last position of the journal: who looks at anything now, and hears of all that comes after this, misses
        nothing.
        """
        async with self._reads:
            return await self._answers.position()

    async def _read(self, what: str, about: Mapping[str, Any]) -> Answered:
        async with self._reads:
            reply = await self._answers.answer(Ask(id=0, what=what, about=about))
        assert isinstance(reply, Reply), f"{what} only reads"
        return Answered(body=reply.body, data=reply.data)


def _key(what: str, about: Mapping[str, Any]) -> tuple[str, str]:
    """What tells a question from others; its arguments are whatever somebody sent, and need not be what they must."""
    return what, repr(sorted(about.items()))


def _is_news(found: Answered) -> bool:
    """Whether whoever waits for more of a log, or of the journal, has something to look at."""
    return bool(found.data or found.body.get("notes") or found.body.get("complete"))
