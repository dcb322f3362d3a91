"""The outside checkers of safety: they compare what is committed and said with what really happened, and
trust no mind.

What belongs here: what must never happen, one method for each place where it could. What does not: what must
happen in the end (ending), and the rules for losses and reruns, which need a memory of their own (causes).
Each complaint begins with the invariant's name in docs/simulation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from surveil.core.consistency import check_state
from surveil.core.effects import Effect, SendBack
from surveil.core.events import CancelWanted, Event, RunnerDisconnected, RunnerSaid
from surveil.core.model import OPEN, VERDICTS, Attempt, AttemptId, AttemptState, Build, Job, Record, Runner, Status
from surveil.core.state import Changes
from surveil.protocol import Assign, Hello, Message, Release, Seen, Welcome
from tests.simulation.causes import Causes
from tests.simulation.ending import Ending
from tests.simulation.entrusting import Secrets
from tests.simulation.fairness import Fairness, Waiting
from tests.simulation.invention import NOT_THERE
from tests.simulation.relations import Relations
from tests.simulation.truth import Work
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.dispatcher import Dispatcher
    from tests.simulation.host import Host
    from tests.simulation.world import World

_SAMPLE = 25
"""Every so many commits, memory is compared with the disk as a whole."""
_WAKING_MS = 200
"""A machine that was away may be so long in learning what it has missed."""

_TOLD = {AttemptState.PASSED: "passed", AttemptState.FAILED: "failed"}


def _is_welcome(effect: Effect) -> bool:
    return isinstance(effect, SendBack) and isinstance(effect.message, Welcome)


class Checkers:
    """All eyes on one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.causes = Causes(world)
        self.waiting = Waiting()
        self.fairness = Fairness(world)
        self.relations = Relations(world)
        self.secrets = Secrets(world)
        self.ending = Ending(world)
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.runners: dict[str, Runner] = {}
        self.open_of: dict[str, dict[AttemptId, None]] = {}
        """The open attempts of each job and, under its key, of each runner."""
        self.trusted: dict[str, int] = {}
        """The facts whose reporters were told that they are on disk, with their builds."""
        self.approved: set[int | str] = set()
        """The builds that somebody approved, whether or not the word arrived, and the facts that made retries of them.
        """
        self._commits = 0

    # ---- commits -------------------------------------------------------------------------------------------

    def committed(self, dispatcher: Dispatcher, changes: Changes) -> None:
        """A transaction is on disk."""
        require(dispatcher.epoch == self.world.store.epoch, "I10", "a deposed dispatcher wrote")
        # Most transactions only answer somebody. Then all stands as it stood, and nothing was handed out.
        if changes.new or changes.changed or changes.log_ends:
            self._changed(dispatcher, changes)
        self._commits += 1
        if self._commits % _SAMPLE == 0:
            self.compare(dispatcher)

    def _changed(self, dispatcher: Dispatcher, changes: Changes) -> None:
        records = (*changes.new, *changes.changed)
        jobs: list[Job] = []
        attempts: list[Attempt] = []
        runners_before: dict[str, Runner | None] = {}
        for record in records:
            match record:
                case Job():
                    jobs.append(record)
                case Attempt():
                    attempts.append(record)
                case Runner():
                    runners_before[record.id] = self.runners.get(record.id)
                    self.runners[record.id] = record
                case Build():
                    pass
        attempts.sort(key=lambda attempt: attempt.number)
        jobs_before = {job.id: self.jobs[job.id] for job in jobs if job.id in self.jobs}
        for job in jobs:
            self._job_changed(self.jobs.get(job.id), job)
            self.jobs[job.id] = job
        new = [attempt for attempt in attempts if attempt.id not in self.attempts]
        for attempt in attempts:
            self._attempt_changed(self.attempts.get(attempt.id), attempt)
            self.causes.changed(dispatcher, self.attempts.get(attempt.id), attempt)
            self._count(attempt)
        for attempt in new:
            self._handed_out(attempt, runners_before)
        for key, before in runners_before.items():
            self._blamed(before, self.runners[key], attempts)
        for end in changes.log_ends:
            known = self.world.store.attempts.get((end.job, end.number))
            if known is not None:
                self._attempt_changed(self.attempts.get(known.id), known)
                self._count(known)
        for job in jobs:
            self._job_agrees(job)
            if job.state == Status.HELD:
                self.world.people.hears_of_hold(job.build)
        passed_over = self.waiting.passed_over(jobs)
        self.fairness.committed(new, passed_over)
        self.relations.committed(jobs_before, records, new, passed_over)

    def _job_changed(self, before: Job | None, job: Job) -> None:
        if before is None:
            return
        # Here and below, what holds is not spelled: that takes longer than to see that it holds.
        if before.state in VERDICTS and before.state != job.state:
            require(False, "I3 I11", f"{job.id} was {before.state} for good, and is {job.state} now")
        if job.attempt < before.attempt:
            require(False, "I2", f"{job.id} went back from attempt {before.attempt} to {job.attempt}")

    def _attempt_changed(self, before: Attempt | None, attempt: Attempt) -> None:
        name = f"{attempt.job}#{attempt.number}"
        if before is None:
            last = max((number for job, number in self._numbers(attempt.job)), default=0)
            require(attempt.number == last + 1, "I2", f"{name} follows attempt {last}")
        elif before.state != attempt.state:
            final = before.state not in OPEN and before.state != AttemptState.LOST
            require(not final, "I3", f"{name} was {before.state} for good, and is {attempt.state} now")
            if before.state == AttemptState.LOST:
                newest = max(number for _, number in self._numbers(attempt.job))
                require(newest == attempt.number, "I4", f"{name} came back after attempt {newest} was handed out")
            require(before.runner == attempt.runner, "I4", f"{name} changed its runner")
        if attempt.state == AttemptState.LOST and (before is None or before.state in OPEN):
            self._is_really_over(attempt)
        if before is not None and before.log_end is not None and attempt.log_end != before.log_end:
            word = f"the log of {name} ended at {before.log_end}, and ends at {attempt.log_end} now"
            require(False, "I4 I6", word)
        self.secrets.ended(attempt)
        if attempt.state in _TOLD and (before is None or before.state != attempt.state):
            self._is_true(attempt)

    def _is_really_over(self, attempt: Attempt) -> None:
        """An exclusive attempt is given up: its processes must be gone, or its machine away."""
        work, now = self.world.truth.alive.get(attempt.id), self.world.schedule.now
        if work is not None and work.exclusive:
            away = work.host.paused or now - work.host.woken_at <= _WAKING_MS
            name = f"{attempt.job}#{attempt.number}"
            require(away, "I7", f"{name} is given up ({attempt.reason}) while it runs on {work.host.name}")

    def _numbers(self, job: str) -> list[AttemptId]:
        return [(job, number) for number in range(1, self.jobs[job].attempt + 1) if (job, number) in self.attempts]

    def _is_true(self, attempt: Attempt) -> None:
        name = f"{attempt.job}#{attempt.number}"
        work = self.world.truth.works.get(attempt.id)
        told = _TOLD[attempt.state]
        if work is None:
            require(False, "I3", f"{name} is recorded as {told}, and never ran")
            return
        whole = told != "passed" or work.requires is None or work.collected
        require(whole, "I3", f"{name} is recorded as passed before what it requires was kept")
        really = (work.verdict, work.exit_code, work.written, work.host.key)
        recorded = (told, attempt.exit_code, attempt.log_bytes, attempt.runner)
        require(really == recorded, "I3", f"{name} is recorded as {recorded}, and was really {really}")

    def _count(self, attempt: Attempt) -> None:
        self.attempts[attempt.id] = attempt
        for owner in (attempt.job, attempt.runner):
            held = self.open_of.setdefault(owner, {})
            if attempt.state in OPEN:
                held[attempt.id] = None
            else:
                held.pop(attempt.id, None)

    def _handed_out(self, attempt: Attempt, runners_before: dict[str, Runner | None]) -> None:
        """A new attempt: was the job ready, and did the runner fit?"""
        name, job = f"{attempt.job}#{attempt.number}", self.jobs[attempt.job]
        runner = self.runners[attempt.runner]
        build = self.world.store.builds[job.build]
        approved = job.build in self.approved or build.mid in self.approved
        require(build.trusted or approved, "I17", f"{name} began, and nobody approved what strangers wrote")
        require(
            set(job.spec.labels) <= set(runner.labels),
            "I8",
            f"{name} needs {job.spec.labels}: {runner.name} lacks some",
        )
        taken = len(self.open_of.get(runner.id, ()))
        require(
            taken <= runner.slots, "I8", f"{name} is number {taken} on {runner.name}, which has {runner.slots} slots"
        )
        before = runners_before.get(runner.id, runner)
        if before is not None and not self.causes.ordered_lately(runner.id):
            require(not (before.draining and runner.draining), "I8", f"{name} went to {runner.name}, which drains")
            shut = before.cordoned and runner.cordoned and runner.probation_at is None and before.probation_at is None
            require(not shut, "I8", f"{name} went to {runner.name}, which is cordoned")

    def _blamed(self, before: Runner | None, runner: Runner, attempts: list[Attempt]) -> None:
        """More is held against a runner: for each time it has to have broken something itself."""
        more = runner.quick_errors - (before.quick_errors if before is not None else 0)
        own = [attempt for attempt in attempts if attempt.runner == runner.id and attempt.reason != NOT_THERE]
        require(more <= len(own), "I23", f"{runner.name} is blamed {more} times, and broke {len(own)} attempts")

    def _job_agrees(self, job: Job) -> None:
        """A job's state follows from its newest attempt."""
        holders = len(self.open_of.get(job.id, ()))
        if holders > 1:
            require(False, "I2", f"{job.id} has {holders} open attempts")
        if (job.state == Status.RUNNING) != (holders == 1):
            require(False, "I2", f"{job.id} is {job.state} with {holders} open attempts")
        if not job.attempt:
            return
        state = self.attempts[job.id, job.attempt].state
        if job.state in {Status.PASSED, Status.FAILED} and state.value != job.state.value:
            require(False, "I3", f"{job.id} is {job.state}, its newest attempt {state}")

    def compare(self, dispatcher: Dispatcher) -> None:
        """Memory agrees with itself and with the disk."""
        state, store = dispatcher.state, self.world.store
        check_state(state)
        pairs: tuple[tuple[Mapping[Any, Record], Mapping[Any, Record]], ...] = (
            (state.builds, store.builds),
            (state.jobs, store.jobs),
            (state.attempts, store.attempts),
            (state.past, store.attempts),
            (state.runners, store.runners),
        )
        for mine, stored in pairs:
            for key, record in mine.items():
                there = stored.get(key)
                if there is not record and there != record:  # To spell a record takes longer than all else here.
                    require(False, "I5", f"memory holds {record}, the disk {there}")
        for build in store.builds.values():
            require(
                build.state in VERDICTS or build.id in state.builds, "I5", f"build {build.id} is open, and forgotten"
            )

    # ---- words ---------------------------------------------------------------------------------------------

    def takes(self, dispatcher: Dispatcher, event: Event, effects: list[Effect]) -> None:
        """A dispatcher's mind was told of something, and wants this to follow."""
        if isinstance(event, RunnerSaid):
            # Whoever is not welcomed, or came late, is not the runner.
            if not isinstance(event.message, Hello) or any(_is_welcome(effect) for effect in effects):
                self.causes.heard(dispatcher, event.runner, event.message)
        elif isinstance(event, RunnerDisconnected):
            self.causes.saw_close(dispatcher, event.runner)

    def said(self, dispatcher: Dispatcher, runner: str, message: Message) -> None:
        """A dispatcher says something: is it true on disk already, and may it speak at all?"""
        store = self.world.store
        # What holds is not spelled: a word is long, and most of all that is said passes here.
        if dispatcher.epoch != store.epoch:
            require(False, "I10", f"a deposed dispatcher said {message}")
        if isinstance(message, Release):
            attempt = store.attempts.get((message.job, message.attempt))
            if attempt is not None and attempt.runner == runner and attempt.state in OPEN:
                require(False, "I5", f"{message} was said while the disk says {attempt.state}")
        elif isinstance(message, Assign):
            attempt = store.attempts.get((message.job, message.attempt))
            there = attempt is not None and attempt.runner == runner
            require(there, "I5", f"{message.job}#{message.attempt} was handed out before it was on disk")

    def acknowledged(self, dispatcher: Dispatcher, mid: str, build: int) -> None:
        there = self.world.store.mids.get(mid) == build
        require(there, "I1", f"{mid} was acknowledged as build {build}, which is not on disk")
        require(dispatcher.epoch == self.world.store.epoch, "I10", "a deposed dispatcher acknowledged a fact")

    def trusts_seen(self, seen: Seen) -> None:
        """A reporter was told that its fact is on disk, and forgets it."""
        before = self.trusted.setdefault(seen.mid, seen.build)
        require(before == seen.build, "I1", f"{seen.mid} was said to be build {before}, then {seen.build}")

    def kept(self, dispatcher: Dispatcher, attempt: AttemptId, upto: int) -> None:
        there = len(self.world.store.logs.get(attempt, b""))
        if upto > there:
            require(False, "I5", f"{upto} bytes of {attempt} are called kept, and {there} are")

    def cancel_answered(self, wanted: CancelWanted) -> None:
        """Somebody was told that jobs are cancelled."""
        build = self.world.store.builds.get(wanted.build)
        for job_id in build.jobs if build is not None else ():
            if not wanted.names or job_id.partition("/")[2] in wanted.names:
                state = self.world.store.jobs[job_id].state
                require(state in VERDICTS, "I11", f"{job_id} was said to be cancelled, and is {state}")

    # ---- the world of processes ----------------------------------------------------------------------------

    def began(self, work: Work, others: list[Work], lease_until_at: int | None) -> None:
        """An attempt's processes begin."""
        late = lease_until_at is not None and lease_until_at <= work.host.now()
        require(not late, "I7", f"{work.job}#{work.attempt} begins on {work.host.name} when its lease is over")
        name, now = f"{work.job}#{work.attempt}", self.world.schedule.now
        require(not self.world.truth.twice, "I2", f"{name} began twice")
        busy = len(work.host.keepers)
        require(busy <= work.host.slots, "I8", f"{work.host.name} runs {busy} attempts in {work.host.slots} slots")
        self.relations.began(work, _WAKING_MS)
        self.secrets.began(work)
        if not work.exclusive:
            return
        recorded = self.world.store.attempts[work.job, work.attempt].state
        if recorded == AttemptState.LOST and now - work.host.woken_at > _WAKING_MS:
            require(False, "I7", f"{name} begins on {work.host.name} after it was given up")
        for other in others:
            away = other.host.paused or now - other.host.woken_at <= _WAKING_MS
            require(
                away, "I7", f"{name} begins on {work.host.name} while attempt {other.attempt} runs on {other.host.name}"
            )

    def forgets(self, host: Host, attempt: AttemptId) -> None:
        """A runner deletes all that it has of an attempt: nobody may still need it."""
        name, store = f"{attempt[0]}#{attempt[1]}", self.world.store
        recorded, work = store.attempts[attempt], self.world.truth.works.get(attempt)
        require(work is None or not work.alive, "L3", f"{name} is forgotten on {host.name}, and still runs")
        if work is not None and work.host is host:
            there = len(store.logs.get(attempt, b""))
            require(
                there >= work.on_disk,
                "I6",
                f"{name} is deleted on {host.name}; of {work.on_disk} bytes {there} are kept",
            )
        require(
            recorded.state not in OPEN, "I5", f"{name} is deleted on {host.name} while the disk says {recorded.state}"
        )

    # ---- the end -------------------------------------------------------------------------------------------

    def settled(self) -> bool:
        return self.ending.settled()

    def at_the_end(self) -> None:
        self.ending.check(self.trusted)
        if self.world.dispatcher is not None and not self.world.dispatcher.busy:
            self.compare(self.world.dispatcher)
