"""The store as dictionaries: what every real store is compared with, and what simulations may use where a disk is too
slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from surveil.core.model import (
    GIVEN_UP,
    NEXT_ATTEMPT,
    VERDICTS,
    Attempt,
    AttemptId,
    AttemptState,
    Build,
    Job,
    Record,
    Runner,
    Status,
)
from surveil.core.peers import Peer
from surveil.core.scopes import Scope, Secret
from surveil.core.shards import Asked
from surveil.core.state import Changes
from surveil.core.timetable import Timetable
from surveil.errors import NotAllowedError
from surveil.protocol import PRINTED_MAX, Case, Tally
from surveil.store import (
    HISTORY_BUILDS,
    PAST_BUILDS_MAX,
    ROWS_MAX,
    AttemptTally,
    BuildDetail,
    Cluster,
    Counts,
    DefectError,
    JournalLine,
    Outline,
    Sharing,
    StoredCase,
    Token,
)
from surveil.store.codec import split_job
from surveil.store.happening import Happened
from surveil.store.looks import Look

_FINAL_ATTEMPTS = {state for state in AttemptState if not NEXT_ATTEMPT[state]}
_BUILD_CHANGES = ("state", "reason", "approved", "started_at", "finished_at")
_JOB_CHANGES = (
    "state",
    "reason",
    "started_at",
    "finished_at",
    "attempt",
    "failed",
    "errored",
    "lost",
    "lost_early",
    "not_before_at",
)
_ATTEMPT_STAYS = ("job", "number", "runner", "runner_name", "assigned_at")


class MemoryStore:
    """The writer's half. It forgets everything when the process ends, and is never fenced."""

    def __init__(self) -> None:
        self._cluster = Cluster(id="memory", epoch=1)
        self.builds: dict[int, Build] = {}
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.runners: dict[str, Runner] = {}
        self.lines: list[JournalLine] = []
        self.peers: dict[str, Peer] = {}
        self.tokens: dict[str, Token] = {}
        self.timetables: dict[str, Timetable] = {}
        self.secrets: dict[tuple[str, str, str, str], Secret] = {}
        self.found_cases: dict[tuple[AttemptId, int], Case] = {}
        self.found_tallies: dict[AttemptId, Tally] = {}
        self.shard_lists: dict[tuple[int, str], tuple[str, bytes]] = {}
        self.shard_asks: dict[tuple[int, str, str, int, int], Asked] = {}

    # ---- writing ----------------------------------------------------------------------------------------------------

    @property
    def cluster(self) -> Cluster:
        return self._cluster

    @property
    def reader(self) -> MemoryReader:
        return MemoryReader(self)

    def load(self) -> tuple[list[Record], int]:
        opened = sorted(build.id for build in self.builds.values() if build.state not in VERDICTS)
        details = self.reader.details(opened)
        found: list[Record] = [detail.build for detail in details]
        found += [job for detail in details for job in detail.jobs]
        found += [attempt for detail in details for attempt in detail.attempts]
        least = max(self.builds, default=0) - PAST_BUILDS_MAX
        past = [attempt for attempt in self.attempts.values() if attempt.state in GIVEN_UP and not attempt.released]
        past = [attempt for attempt in past if least < split_job(attempt.job)[0] not in opened]
        past.sort(key=lambda attempt: (split_job(attempt.job), attempt.number))
        found += past
        return [*found, *self.reader.runners()], max(self.builds, default=0) + 1

    def commit(self, changes: Changes) -> None:
        before = (dict(self.builds), dict(self.jobs), dict(self.attempts))
        try:
            for record in changes.new:
                self._insert(record)
            for record in changes.changed:
                self._update(record)
        except DefectError:
            self.builds, self.jobs, self.attempts = before
            raise
        for end in changes.log_ends:
            attempt = self.attempts.get((end.job, end.number))
            mine = attempt is not None and attempt.runner == end.runner
            if attempt is not None and mine and attempt.state in GIVEN_UP and not attempt.released:
                self.attempts[attempt.id] = replace(attempt, released=True, log_bytes=end.log_bytes)
        for note in changes.notes:
            self.lines.append(JournalLine(position=len(self.lines) + 1, note=note))
        for record in (*changes.new, *changes.changed):
            if isinstance(record, Runner):
                self.runners[record.id] = record

    def _insert(self, record: Record) -> None:
        match record:
            case Build() if record.id in self.builds or self.reader.build_of_mid(record.mid) is not None:
                _refuse(record)
            case Build():
                self.builds[record.id] = record
            case Job() if record.id in self.jobs:
                _refuse(record)
            case Job():
                self.jobs[record.id] = record
            case Attempt() if record.id in self.attempts:
                _refuse(record)
            case Attempt():
                self.attempts[record.id] = record
            case Runner():
                pass

    def _update(self, record: Record) -> None:
        match record:
            case Build():
                build = self.builds.get(record.id)
                if build is None or (build.state in VERDICTS and build.state != record.state):
                    _refuse(record)
                may = {name: getattr(record, name) for name in _BUILD_CHANGES}
                _refuse_others(replace(build, **may, jobs=record.jobs), record)
                self.builds[record.id] = replace(build, **may)
            case Job():
                job = self.jobs.get(record.id)
                settled = job is not None and job.state in VERDICTS and job.state != record.state
                if job is None or settled or record.attempt < job.attempt:
                    _refuse(record)
                self.jobs[record.id] = replace(job, **{name: getattr(record, name) for name in _JOB_CHANGES})
                _refuse_others(replace(self.jobs[record.id], repo=record.repo), record)
            case Attempt():
                attempt = self.attempts.get(record.id)
                if attempt is None or (attempt.state in _FINAL_ATTEMPTS and attempt.state != record.state):
                    _refuse(record)
                kept = {name: getattr(attempt, name) for name in _ATTEMPT_STAYS}
                self.attempts[record.id] = replace(record, **kept)
                _refuse_others(self.attempts[record.id], record)
            case Runner():
                pass

    def add_cases(self, attempt: AttemptId, at: int, found: Sequence[Case], tally: Tally | None) -> bool:
        merged = {(attempt, position): case for position, case in enumerate(found, at)} | self.found_cases
        if sum(len(case.output) for (of, _), case in merged.items() if of == attempt) > PRINTED_MAX:
            return False
        self.found_cases = merged
        if tally is not None:
            self.found_tallies.setdefault(attempt, tally)
        return True

    def add_shard_list(self, build: int, suite: str, digest: str, items: bytes) -> None:
        self.shard_lists.setdefault((build, suite), (digest, items))

    def add_shard_ask(self, asked: Asked, suite: str) -> None:
        build, name = split_job(asked.job)
        self.shard_asks.setdefault((build, suite, name, asked.attempt, asked.seq), asked)

    def add_peer(self, peer: Peer) -> Peer:
        known = self.peers.get(peer.key)
        if known is not None:
            if known.revoked_at is not None or known.role != peer.role:
                raise NotAllowedError("revoked, or of another role")
            return known
        live = [other for other in self.peers.values() if other.revoked_at is None]
        if any((other.role, other.name) == (peer.role, peer.name) for other in live):
            raise NotAllowedError("the name is taken")
        self.peers[peer.key] = peer
        return peer

    def revoke_peer(self, key: str, *, now: int) -> bool:
        known = self.peers.get(key)
        if known is None or known.revoked_at is not None:
            return False
        self.peers[key] = replace(known, revoked_at=now)
        return True

    def add_token(self, token: Token) -> None:
        if token.id in self.tokens:
            raise DefectError("the token exists")
        self.tokens[token.id] = token

    def revoke_token(self, token: str, *, now: int) -> bool:
        known = self.tokens.get(token)
        if known is None or known.revoked_at is not None:
            return False
        self.tokens[token] = replace(known, revoked_at=now)
        return True

    def put_timetable(self, repo: str, table: Timetable | None) -> None:
        self.timetables.pop(repo, None)
        if table is not None:
            self.timetables[repo] = table

    def put_secrets(self, secrets: Sequence[Secret]) -> None:
        self.secrets |= {_secret_key(secret.name, secret.scope): secret for secret in secrets}

    def remove_secret(self, name: str, scope: Scope) -> bool:
        return self.secrets.pop(_secret_key(name, scope), None) is not None

    def redeem(self, digest: bytes, *, key: str, name: str, now: int) -> Peer:
        token = next((token for token in self.tokens.values() if token.digest == digest), None)
        if token is None:
            raise NotAllowedError("unknown")
        peer = Peer(key=key, role=token.role, name=name, labels=token.labels, created_at=now)
        if key in self.peers:
            return self.add_peer(peer)
        if not token.usable(now):
            raise NotAllowedError("unusable")
        self.add_peer(peer)
        self.tokens[token.id] = replace(token, uses_left=token.uses_left - 1)
        return peer

    def close(self) -> None:
        pass


class MemoryReader:
    """The reader's half, over the writer's dictionaries."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def cluster(self) -> Cluster:
        return self._store.cluster

    def builds(
        self,
        *,
        repo: str | None = None,
        ref: str | None = None,
        state: Status | None = None,
        event: str | None = None,
        limit: int = 20,
        before: int | None = None,
        jobs: bool = True,
        among: Sequence[str] | None = None,
        authors: Sequence[str] | None = None,
    ) -> list[Build]:
        found = [
            self._build(build.id) if jobs else replace(build, jobs=())
            for build in sorted(self._store.builds.values(), key=lambda build: -build.id)
            if repo in {None, build.repo} and ref in {None, build.ref} and (before is None or build.id < before)
            if state in {None, build.state} and event in {None, build.event}
            if (repo is not None or among is None or build.repo in among)
            and (authors is None or build.author in authors)
        ]
        return found[: min(limit, ROWS_MAX)]

    def repositories(self) -> list[str]:
        return sorted({build.repo for build in self._store.builds.values()})[:ROWS_MAX]

    def authors(self, *, limit: int = ROWS_MAX) -> list[str]:
        return sorted({build.author for build in self._store.builds.values()})[:limit]

    def outlines(self, repo: str, *, ref: str | None = None, limit: int = 200) -> list[Outline]:
        return [_outline(build) for build in self.builds(repo=repo, ref=ref, limit=limit)]

    def outlines_after(self, after: int, among: Sequence[int]) -> tuple[list[tuple[str, Outline]], dict[int, Outline]]:
        known = self._store.builds
        new = [(known[each].repo, _outline(known[each])) for each in sorted(known) if each > after]
        return new[:ROWS_MAX], {each: _outline(known[each]) for each in among if each in known}

    def build(self, build: int) -> BuildDetail | None:
        return next(iter(self.details([build])), None)

    def details(self, builds: Sequence[int]) -> list[BuildDetail]:
        return [
            BuildDetail(build=self._build(build), jobs=self._jobs(build), attempts=self._attempts(build))
            for build in dict.fromkeys(builds)
            if build in self._store.builds
        ]

    def mark(self) -> object:
        return object()  # Nothing tells when the dictionaries were changed.

    def looks(self, builds: Sequence[int], *, tests: bool = False) -> list[Look]:
        return [MemoryLook(detail, self._tested(detail.build.id) if tests else []) for detail in self.details(builds)]

    def _tested(self, build: int) -> list[object]:
        own = self.tallies([build])
        before = self.tested_before(build) if own else None
        if before is None:
            return [*own]
        told = [one for key, one in sorted(self._store.shard_asks.items()) if key[0] == before]
        return [*own, *self.details([before]), *self.tallies([before]), told]

    def _build(self, build: int) -> Build:
        """A build names the jobs that are stored under it."""
        return replace(self._store.builds[build], jobs=tuple(job.id for job in self._jobs(build)))

    def _jobs(self, build: int) -> tuple[Job, ...]:
        found = [job for job in self._store.jobs.values() if job.build == build]
        return tuple(sorted(found, key=lambda job: job.position))

    def _attempts(self, build: int) -> tuple[Attempt, ...]:
        prefix = f"{build}/"
        found = [attempt for attempt in self._store.attempts.values() if attempt.job.startswith(prefix)]
        return tuple(sorted(found, key=lambda attempt: (attempt.job.encode(), attempt.number)))

    def build_of_mid(self, mid: str) -> int | None:
        return next((build.id for build in self._store.builds.values() if build.mid == mid), None)

    def journal(self, *, after: int = 0, limit: int = 200, build: int | None = None) -> list[JournalLine]:
        found = [
            line for line in self._store.lines if line.position > after and (build is None or line.note.build == build)
        ]
        return found[: min(limit, ROWS_MAX)]

    def journal_beside(
        self, runners: Sequence[str], *, after: int, before: int | None = None, limit: int = 200
    ) -> list[JournalLine]:
        found = [
            line
            for line in self._store.lines
            if after < line.position < (before or len(self._store.lines) + 1)
            and line.note.build is None
            and (line.note.what == "dispatcher" or line.note.id in runners)
        ]
        return found[: min(limit, ROWS_MAX)]

    def incidents(self, *, limit: int = 200) -> list[JournalLine]:
        return [line for line in reversed(self._store.lines) if line.note.build is None][: min(limit, ROWS_MAX)]

    def journal_end(self) -> int:
        return len(self._store.lines)

    def happened(self, after: int) -> Happened:
        found = [line for line in self._store.lines if line.position > after]
        told = [(line.note.what, line.note.state) for line in found]
        verdicts = [line.note for line in found if line.note.what == "build" and line.note.state in VERDICTS]
        took = [(note.state, note.at - self._store.builds[note.build or 0].created_at) for note in verdicts]
        position = found[-1].position if found else after
        return Happened(position=position, lines=dict(Counter(told)), took=tuple(took))

    def queued_since(self) -> int | None:
        opened = {build.id for build in self._store.builds.values() if build.state not in VERDICTS}
        waits = {
            job.id: job.created_at
            for job in self._store.jobs.values()
            if job.build in opened and job.state is Status.QUEUED
        }
        for line in self._store.lines:
            if (line.note.what, line.note.state) == ("job", "queued") and line.note.id in waits:
                waits[line.note.id] = line.note.at
        return min(waits.values(), default=None)

    def counts(self) -> Counts:
        opened = {build.id for build in self._store.builds.values() if build.state not in VERDICTS}
        states = [job.state for job in self._store.jobs.values() if job.build in opened]
        pool = list(self._store.runners.values())
        return Counts(
            blocked=states.count(Status.BLOCKED),
            held=states.count(Status.HELD),
            queued=states.count(Status.QUEUED),
            running=states.count(Status.RUNNING),
            online=sum(runner.online for runner in pool),
            offline=sum(not runner.online for runner in pool),
            slots=sum(runner.slots for runner in pool if runner.online),
            busy=states.count(Status.RUNNING),
        )

    def runners(self) -> list[Runner]:
        return sorted(self._store.runners.values(), key=lambda runner: (runner.name, runner.id))

    def owner(self, job: str, attempt: int) -> str | None:
        found = self._store.attempts.get((job, attempt))
        return None if found is None else found.runner

    def attempt(self, job: str, number: int) -> Attempt | None:
        return self._store.attempts.get((job, number))

    def tallies(self, wanted: Sequence[int]) -> list[AttemptTally]:
        found = sorted((*split_job(job), number) for job, number in self._store.found_tallies)
        return [
            AttemptTally(
                job=f"{build}/{name}", attempt=number, tally=self._store.found_tallies[f"{build}/{name}", number]
            )
            for build, name, number in found
            if build in wanted
        ]

    def cases(
        self,
        of: Sequence[AttemptId],
        *,
        sound_of: Sequence[AttemptId] = (),
        wrong: bool = False,
        named: Sequence[str] | None = None,
        at: int = 0,
        limit: int = ROWS_MAX,
    ) -> list[StoredCase]:
        def order(item: tuple[tuple[AttemptId, int], Case]) -> tuple[object, ...]:
            ((job, number), position), case = item
            bad = case.state in {"failed", "errored"}
            return (not bad, 0 if bad else -case.duration_ms, *split_job(job), number, position)

        def counts(attempt: AttemptId, case: Case) -> bool:
            return attempt in of or (attempt in sound_of and case.state not in {"failed", "errored"})

        chosen = [
            item
            for item in self._store.found_cases.items()
            if counts(item[0][0], item[1]) and (named is None or item[1].name in named)
        ]
        found = [
            StoredCase(job=key[0][0], attempt=key[0][1], case=case)
            for key, case in sorted(chosen, key=order)
            if not wrong or case.state in {"failed", "errored"}
        ]
        return found[at : at + limit]

    def tested_before(self, build: int) -> int | None:
        own = self._store.builds.get(build)
        tested = {split_job(job)[0] for job, _ in self._store.found_tallies}
        before = [
            other.id
            for other in self._store.builds.values()
            if own is not None
            and (other.repo, other.ref) == (own.repo, own.ref)
            and other.id < build
            and other.sha != own.sha
            and other.id in tested
        ]
        return max(before, default=None)

    def history(self, build: int, suite: str, test: str) -> list[StoredCase]:
        tested = {split_job(job)[0] for job, _ in self._store.found_tallies}
        own = self._store.builds.get(build)
        lately = [] if own is None else self.builds(repo=own.repo, ref=own.ref, limit=ROWS_MAX, before=build + 1)
        among = [each.id for each in lately if each.id in tested][:HISTORY_BUILDS]
        found = [
            (-split_job(job)[0], split_job(job)[1], -number, position, case)
            for ((job, number), position), case in self._store.found_cases.items()
            if (job, number) in self._store.found_tallies and split_job(job)[0] in among
            if (case.suite, case.name) == (suite, test)
        ]
        found.sort(key=lambda each: each[:4])
        return [
            StoredCase(job=f"{-before}/{name}", attempt=-number, case=case) for before, name, number, _, case in found
        ]

    def sharing(self, build: int, suite: str) -> Sharing | None:
        if (build, suite) not in self._store.shard_lists:
            return None
        digest, items = self._store.shard_lists[build, suite]
        asked = [one for key, one in sorted(self._store.shard_asks.items()) if key[:2] == (build, suite)]
        return Sharing(digest=digest, items=items, asked=tuple(asked))

    def shared_before(
        self, repo: str, suite: str, *, ref: str | None = None, before: int | None = None, limit: int = 1
    ) -> list[Sharing]:
        numbers = [
            number
            for number, name in self._store.shard_lists
            if name == suite
            and (before is None or number < before)
            and self._store.builds[number].repo == repo
            and ref in {None, self._store.builds[number].ref}
        ]
        found = [self.sharing(number, suite) for number in sorted(numbers, reverse=True)[:limit]]
        return [one for one in found if one is not None]

    def peers(self) -> list[Peer]:
        return sorted(self._store.peers.values(), key=lambda peer: (peer.created_at, peer.key))

    def peer(self, key: str) -> Peer | None:
        return self._store.peers.get(key)

    def tokens(self) -> list[Token]:
        return sorted(self._store.tokens.values(), key=lambda token: (token.created_at, token.id))

    def timetables(self) -> list[Timetable]:
        return [self._store.timetables[repo] for repo in sorted(self._store.timetables)]

    def secrets(self) -> list[Secret]:
        return [self._store.secrets[key] for key in sorted(self._store.secrets)]

    def close(self) -> None:
        pass


class MemoryLook:
    """One build, with what its tests came to and are compared with."""

    def __init__(self, detail: BuildDetail, tested: list[object]) -> None:
        self.build = detail.build.id
        self.tested = bool(tested)
        self.version: object = (detail, tested)
        self._detail = detail

    def detail(self) -> BuildDetail:
        return self._detail


def _secret_key(name: str, scope: Scope) -> tuple[str, str, str, str]:
    return (name, scope.repo, scope.ref, scope.job)


def _refuse_others(stored: Record, record: Record) -> None:
    """What never changes is as it was given."""
    if stored != record:
        _refuse(record)


def _refuse(record: Record) -> NoReturn:
    raise DefectError(f"{type(record).__name__.lower()} {record.id} may not be stored so")


def _outline(build: Build) -> Outline:
    names = ("id", "ref", "state", "created_at", "started_at", "finished_at")
    return Outline(**{name: getattr(build, name) for name in names})
