"""The answers: one method for each question that only reads, and the table that leads to all of them.

What belongs here: which documents a question gets, in pages that fit a message. What does not: their shapes
(`views`), logs (`logbook`), and questions that act (`wishes`).

The store is read in threads, a bounded number at a time; the dispatcher's memory is read on its own thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, Literal, TypeVar, assert_never

from surveil import __version__
from surveil.answer import WAIT_MS_MAX, Question, Reply, Wish, wishes
from surveil.answer.arguments import Arguments, no_build
from surveil.answer.auditing import ActsRead, audit
from surveil.answer.cases import CaseAnswers
from surveil.answer.in_work import ASKED_MAX, InWork
from surveil.answer.kept_files import KeptFiles
from surveil.answer.live import Live
from surveil.answer.logbook import Logbook
from surveil.answer.outlook import Outlook
from surveil.answer.parking import Parking
from surveil.answer.portions import PAGE_COST_MAX, shares
from surveil.answer.replays import Replays
from surveil.answer.secrets import rekey, remove_secret, secret_view, set_secret
from surveil.answer.story import Stories
from surveil.answer.views import brief_view, note_view, runner_view, status_view
from surveil.answer.waiting import Waiting
from surveil.answer.whole import Whole
from surveil.core.model import Attempt, Build, Note, Record, Runner, Status
from surveil.core.spelling import did_you_mean
from surveil.errors import SurveilError, UsageError
from surveil.protocol import Answer, Ask
from surveil.store import BuildDetail, JournalLine, Reader
from surveil.store.logs import LogStore

BUILDS_MAX: Final = 200
"""Builds in one answer; the asker turns pages with `before`."""
NOTES_MAX: Final = 1000
LISTED_MAX: Final = 1000
"""Runners, tokens or peers in one answer; the asker turns pages with `at`."""
OFFENDERS_SHOWN: Final = 20
READS_MAX: Final = 4

_JOURNAL: Final = "journal"
_Read = TypeVar("_Read")


class Answers:
    """Answers questions. The dispatcher's hands call `answer` for each, and the `on_...` methods when there is news."""

    def __init__(self, reader: Reader, logs: LogStore, live: Live, *, kept: KeptFiles, acts: ActsRead) -> None:
        self._kept = kept
        self._acts = acts
        self._reader = reader
        self._live = live
        self._parking = Parking(waiters_max=ASKED_MAX)
        self._reads = asyncio.Semaphore(READS_MAX)
        self.logbook = Logbook(reader, logs, live, self._parking, self._read)
        self._stories = Stories(reader, logs.length, self._read)
        self._cases = CaseAnswers(reader, self._read, self._detail)
        self.whole = Whole(reader, self._read, self.logbook.facts, self._cases)
        self.outlook = Outlook(reader, self._read)
        self._replays = Replays(reader, self._read, self._detail)
        self._in_work = InWork()

    # ---- what the hands call ---------------------------------------------------------------------

    async def answer(self, ask: Ask, client: str = "") -> Reply | Wish:
        """Answer one question of the client of that name, who may ask.

        Raises:
            SurveilError: a sentence for the asker; `refusal` makes the message of it.
        """
        with self._in_work.counted(client, ask):
            try:
                question = Question(ask.what)
            except ValueError:
                raise UsageError(
                    f"This dispatcher knows no question `{ask.what[:60]}`; {did_you_mean(ask.what, Question)}"
                ) from None
            return await self._answer(question, Arguments(ask.what, ask.about), wishes.person(client, ask.person))

    def on_commit(self, notes: Iterable[Note], changed: Iterable[Record] = ()) -> None:
        """These lines of the journal and changed records are on disk now: wake who waits for them."""
        if not len(self._parking):
            return
        topics: dict[Hashable, None] = {}
        for note in notes:
            topics[_JOURNAL, None] = None
            topics[_JOURNAL, note.build] = None
            if note.what in {"attempt", "job"}:
                topics[note.id.rpartition("#")[0] if note.what == "attempt" else note.id] = None
        for record in changed:
            if isinstance(record, Attempt):
                # No line of the journal says how its steps stand, nor that its log ends where it is.
                topics[record.job] = None
        for topic in topics:
            self._parking.wake(topic)

    def on_log(self, job: str, _attempt: int) -> None:
        """More of an attempt's log can be read now: wake who waits for news of its job."""
        self._parking.wake(job)

    def on_stop(self) -> None:
        """The dispatcher stops: everybody who waits gets what there is."""
        self._parking.close()

    # ---- questions -------------------------------------------------------------------------------

    async def _answer(self, question: Question, about: Arguments, who: str) -> Reply | Wish:
        match question:
            case Question.STATUS:
                return self._status(about)
            case Question.BUILDS:
                return await self._builds(about)
            case Question.BUILD:
                return await self._build(about)
            case Question.LOG:
                return await self.logbook.log(about)
            case Question.JOURNAL:
                return await self._journal(about)
            case Question.STORY:
                return await self._stories.story(about)
            case Question.TESTS:
                return await self._cases.tests(about)
            case Question.HISTORY | Question.REPOSITORIES | Question.INCIDENTS:
                return await self.outlook.answer(question, about)
            case Question.REPLAY | Question.REPLAY_SHARD | Question.REPLAY_PACK:
                return await self._replays.answer(question, about)
            case Question.ARTIFACTS | Question.ARTIFACT:
                return await self._kept.answer(question, about, self._read)
            case Question.RUNNERS:
                return await self._listed(about, self._let_in, lambda runner: runner_view(*self._live.runner(runner)))
            case Question.TOKENS | Question.PEERS | Question.SECRETS | Question.AUDIT:
                return await self._entrusted(question, about)
            case _:
                return await self._wish(question, about, who)

    async def _wish(
        self,
        question: Literal[
            Question.SUBMIT,
            Question.RETRY,
            Question.CANCEL,
            Question.UNHOLD,
            Question.APPROVE,
            Question.RUNNER,
            Question.LOOK,
            Question.TOKEN_CREATE,
            Question.TOKEN_REVOKE,
            Question.PEER_REVOKE,
            Question.DB_BACKUP,
            Question.SECRET_SET,
            Question.SECRET_REMOVE,
            Question.SECRET_REKEY,
        ],
        about: Arguments,
        who: str,
    ) -> Reply | Wish:
        match question:
            case Question.SUBMIT:
                return wishes.submit(about, who)
            case Question.RETRY:
                detail = await self._detail(about.number("build"))
                return wishes.retry(about, detail, who)
            case Question.CANCEL:
                detail = await self._detail(about.number("build"))
                return wishes.cancel(about, detail, who)
            case Question.UNHOLD:
                detail = await self._detail(about.number("build"))
                return wishes.unhold(about, detail, who)
            case Question.APPROVE:
                detail = await self._detail(about.number("build"))
                return wishes.approve(about, detail, who)
            case Question.RUNNER:
                return wishes.order_runner(about, await self._read(self._let_in), who)
            case Question.LOOK:
                return wishes.look(about)
            case Question.TOKEN_CREATE:
                return wishes.create_token(about)
            case Question.TOKEN_REVOKE:
                return wishes.revoke_token(about, await self._read(self._reader.tokens))
            case Question.PEER_REVOKE:
                return wishes.revoke_peer(about, await self._read(self._reader.peers), who)
            case Question.DB_BACKUP:
                return wishes.back_up(about)
            case Question.SECRET_SET:
                return set_secret(about, who)
            case Question.SECRET_REMOVE:
                return remove_secret(about, who)
            case Question.SECRET_REKEY:
                return rekey(about, who)
            case _:
                assert_never(question)

    def _status(self, about: Arguments) -> Reply:
        about.finish()
        live = self._live
        return Reply(
            body=status_view(
                state=live.state,
                now=live.now(),
                cluster=live.cluster,
                epoch=live.epoch,
                version=__version__,
                started_at=live.started_at,
                watching=live.watching,
                waiting=self._waiting().reasons(),
                schedules=live.schedules(),
                troubles=live.troubles(),
                offenders=live.offenders(OFFENDERS_SHOWN),
                put_aside=live.put_aside(),
            )
        )

    async def _listed(
        self, about: Arguments, read: Callable[[], Sequence[_Read]], view: Callable[[_Read], dict[str, Any]]
    ) -> Reply:
        """A page of a list from number `at` on; a page that is not full is the last."""
        at = about.number("at", 0)
        limit = about.number("limit", LISTED_MAX, least=1, most=LISTED_MAX)
        about.finish()
        return Reply(body=[view(item) for item in (await self._read(read))[at : at + limit]])

    async def _entrusted(
        self, question: Literal[Question.TOKENS, Question.PEERS, Question.SECRETS, Question.AUDIT], about: Arguments
    ) -> Reply:
        """What administrators look after."""
        match question:
            case Question.TOKENS:
                now = self._live.now()
                return await self._listed(about, self._reader.tokens, lambda token: wishes.token_view(token, now))
            case Question.PEERS:
                return await self._listed(about, self._reader.peers, wishes.peer_view)
            case Question.SECRETS:
                return await self._listed(about, self._reader.secrets, secret_view)
            case Question.AUDIT:
                return await audit(about, self._acts)

    def _let_in(self) -> list[Runner]:
        """The runners but those that were revoked: another one may have the name by now."""
        revoked = {peer.key for peer in self._reader.peers() if peer.revoked}
        return [runner for runner in self._reader.runners() if runner.id not in revoked]

    def wanted(self, about: Arguments) -> Callable[[], list[Build]]:
        """What finds the builds that somebody asks for, without their jobs; to be called in a thread."""
        repo = about.text("repo") if about.has("repo") else None
        ref = about.text("ref") if about.has("ref") else None
        state = about.choice("state", Status) if about.has("state") else None
        event = about.text("event") if about.has("event") else None
        author = about.text("author") if about.has("author") else None
        limit = about.number("limit", 20, least=1, most=BUILDS_MAX)
        before = about.number("before", least=1) if about.has("before") else None
        among = about.repos("among")
        about.finish()
        return lambda: self.outlook.matching(
            repo, ref, state=state, event=event, author=author, limit=limit, before=before, among=among
        )

    async def _builds(self, about: Arguments) -> Reply:
        brief = about.flag("brief")
        find = self.wanted(about)

        def read() -> list[dict[str, Any]]:
            wanted = find()
            if brief:
                alone = [BuildDetail(build=build, jobs=(), attempts=()) for build in wanted]
                return [brief_view(detail.build) for detail, _ in shares(alone)]
            found = self._reader.details([build.id for build in wanted])
            return [self.whole.document(detail, cost_max=cost, tests=False) for detail, cost in shares(found)]

        found = await self._read(read)
        if brief:
            return Reply(body=found)
        waiting = self._waiting()
        return Reply(body=[waiting.annotate(build) for build in found])

    async def _build(self, about: Arguments) -> Reply:
        number = about.number("build", least=0)
        jobs_at = about.number("jobs_at", 0)
        about.finish()
        return Reply(body=await self.one_build(number, jobs_at, PAGE_COST_MAX))

    async def one_build(self, number: int, jobs_at: int, cost_max: int, *, logs: bool = True) -> dict[str, Any]:
        """A build with its jobs from number `jobs_at` on, as many as `cost_max` has room for; without a look at their
        `logs`, each of which is files on the disk, where nobody wants to know of them. Raises NotFoundError.
        """

        def read() -> dict[str, Any]:
            return self.whole.document(self._found(number), jobs_at=jobs_at, cost_max=cost_max, logs=logs, tests=True)

        return self._waiting().annotate(await self._read(read))

    async def position(self) -> int:
        """The last position of the journal."""
        return await self._read(self._reader.journal_end)

    async def usual_ms(self, repos: Sequence[str]) -> dict[str, int | None]:
        """How long a build of each of these repositories usually takes."""
        return await self._read(lambda: self.outlook.usual_ms(repos))

    async def _journal(self, about: Arguments) -> Reply:
        build = about.number("build") if about.has("build") else None
        limit = about.number("limit", 200, least=1, most=NOTES_MAX)
        wait_ms = about.number("wait_ms", 0, most=WAIT_MS_MAX)
        after = about.number("after", -1, least=-1)
        about.finish()
        if build is not None:
            await self._detail(build)
        if after < 0:
            after = await self._read(self._reader.journal_end)
        until = asyncio.get_running_loop().time() + wait_ms / 1000
        while True:
            with self._parking.enter((_JOURNAL, build)) as place:
                lines = await self._read(lambda: self._reader.journal(after=after, limit=limit, build=build))
                left_ms = int((until - asyncio.get_running_loop().time()) * 1000)
                if lines or left_ms <= 0 or not await place.wait(left_ms):
                    return self._notes(lines, after)

    def _notes(self, lines: Sequence[JournalLine], after: int) -> Reply:
        notes: list[dict[str, Any]] = []
        cost = 0
        for line in lines:
            # The guess of a line's bytes: its texts and about as much for the keys.
            cost += len(line.note.reason) * 2 + 300
            if notes and cost > PAGE_COST_MAX:
                break
            notes.append(note_view(line.position, line.note, self._live.name_of(line.note)))
        return Reply(body={"notes": notes, "position": notes[-1]["position"] if notes else after})

    def _waiting(self) -> Waiting:
        return Waiting(self._live.state, self._live.now())

    # ---- reading ---------------------------------------------------------------------------------

    async def _detail(self, number: int) -> BuildDetail:
        return await self._read(lambda: self._found(number))

    def _found(self, number: int) -> BuildDetail:
        detail = self._reader.build(number)
        if detail is None:
            raise no_build(number)
        return detail

    async def _read(self, read: Callable[[], _Read]) -> _Read:
        async with self._reads:
            return await asyncio.to_thread(read)


def refusal(ask: Ask, error: SurveilError) -> Answer:
    """The message that tells the asker why not."""
    return Answer(id=ask.id, error=str(error)[:4096] or type(error).__name__, exit_code=int(error.exit_code))


def answered(ask: Ask, reply: Reply) -> Answer:
    """The message that carries a reply."""
    return Answer(id=ask.id, body=reply.body, data=reply.data)
