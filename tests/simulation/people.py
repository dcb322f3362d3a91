"""Everybody who wants something: people who submit, cancel, retry, decide, drain and cordon.

What belongs here: wishes and the patience to repeat them. What does not: what becomes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from surveil.core.events import (
    ApprovalWanted,
    BuildWanted,
    CancelWanted,
    Carried,
    RunnerOrder,
    RunnerWanted,
    UnholdWanted,
)
from surveil.core.model import VERDICTS, Build, Status
from surveil.protocol import CommitSeen, Message, Seen
from tests.simulation.network import Line, Way

if TYPE_CHECKING:
    from tests.simulation.world import World

_REPEAT_MS = 2_000
_PATIENCE = 6
"""A held job that was tried so often is given up."""


class Submitter:
    """A client on another machine that submits commits, and says so again until it is told that they are seen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alive = True
        self.way = Way(world, "c" * 40)
        self.line: Line | None = None
        self.unseen: dict[str, CommitSeen] = {}
        self.way.dial(self)

    def submit(self) -> None:
        world = self.world
        commit = world.invent_commit(world.dice.randrange(world.options.repos))
        stranger = world.trust_dice.randrange(1000) < world.options.stranger_pm
        ref = f"refs/pull/{world.trust_dice.randint(1, 3)}/head" if stranger else "refs/heads/main"
        seen = CommitSeen(
            mid=f"manual:{world.next_number()}",
            repo=commit.repo,
            ref=ref,
            sha=commit.sha,
            event="pull_request" if stranger else "manual",
            trusted=not stranger,
            message="",
            author="",
            pipeline=commit.pipeline,
            pipeline_file=".surveil.yml",
        )
        self.unseen[seen.mid] = seen
        world.asked.add(seen.mid)
        self._say(seen.mid)

    def _say(self, mid: str) -> None:
        if mid not in self.unseen:
            return
        if self.line is not None and self.line.open:
            self.way.say_up(self.line, self.unseen[mid])
        self.world.schedule.after(_REPEAT_MS, self._say, mid)

    def connected(self, line: Line) -> None:
        self.line = line

    def disconnected(self, line: Line) -> None:
        if self.line is line:
            self.line = None

    def hear(self, line: Line, message: Message) -> None:
        assert isinstance(message, Seen), f"a client was told {message}"
        if self.unseen.pop(message.mid, None) is not None:
            self.world.checkers.trusts_seen(message)


class People:
    """People beside the dispatcher. Their wishes go straight to its hands; an answer that does not come makes
    them ask again.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def _ask(self, event: CancelWanted | UnholdWanted | ApprovalWanted | RunnerWanted | BuildWanted) -> None:
        dispatcher = self.world.dispatcher
        if dispatcher is None or not dispatcher.alive or dispatcher.paused:
            return
        self.world.trace("people", event)
        match event:
            case BuildWanted(mid=mid):
                self.world.asked.add(mid)
                if event.approved:
                    self.world.checkers.approved.add(mid)
            case UnholdWanted(build=build):
                self.world.checkers.causes.unheld.add(build)
            case ApprovalWanted(build=build):
                self.world.checkers.approved.add(build)
            case RunnerWanted(runner=runner):
                self.world.checkers.causes.ordered(runner)
            case CancelWanted():
                pass
        answered = (lambda: self.world.checkers.cancel_answered(event)) if isinstance(event, CancelWanted) else None
        dispatcher.take(event, answered)

    def _some_build(self, *, settled: bool | None = None) -> Build | None:
        builds = self.world.store.builds.values()
        fitting = [build for build in builds if settled is None or (build.state in VERDICTS) == settled]
        return self.world.dice.choice(fitting) if fitting else None

    def cancel(self) -> None:
        build = self._some_build(settled=False) or self._some_build()
        if build is None:
            return
        names = tuple(job.partition("/")[2] for job in build.jobs)
        some = (self.world.dice.choice(names),) if names and self.world.chance(500) else ()
        self._ask(CancelWanted(build=build.id, names=some, reason="somebody cancelled it"))

    def retry(self) -> None:
        """Want a settled build again, carrying over what passed, as `retry --failed` does."""
        build = self._some_build(settled=True)
        if build is None or not build.jobs:
            return
        store = self.world.store
        jobs = [store.jobs[job_id] for job_id in build.jobs]
        carried = {
            job.spec.name: Carried(reason="it passed before", outputs=job.outputs, attempt=job.decided_by)
            for job in jobs
            if job.state == Status.PASSED
        }
        self._ask(
            BuildWanted(
                mid=f"manual:{self.world.next_number()}",
                repo=build.repo,
                ref=build.ref,
                sha=build.sha,
                event=build.event,
                trusted=build.trusted,
                approved=build.approved,
                message="",
                author="",
                pipeline_file=build.pipeline_file,
                jobs=tuple(job.spec for job in jobs),
                retry_of=build.id,
                carried=carried,
            )
        )

    def decide(self) -> None:
        """Decide what becomes of held jobs: approve what strangers wrote, try again what was lost, mostly."""
        for build in list(self.world.store.builds.values()):
            if build.state in VERDICTS:
                continue  # Nothing of it is held any more.
            if build.awaits_approval:
                self._judge(build)
                continue
            held = [job for job in map(self.world.store.jobs.get, build.jobs) if job and job.state == Status.HELD]
            if not held:
                continue
            names = [job.spec.name for job in held]
            if self.world.chance(700) and all(job.attempt < _PATIENCE for job in held):
                self._ask(UnholdWanted(build=build.id, names=(), reason="somebody released it"))
            else:
                self._ask(CancelWanted(build=build.id, names=tuple(names), reason="somebody gave it up"))

    def _judge(self, build: Build) -> None:
        """Approve a build, mostly; or cancel some of it, try to let it go by the wrong door, or leave it for later."""
        dice = self.world.trust_dice.random()
        if dice < 0.35:  # chances
            self._ask(ApprovalWanted(build=build.id, by="somebody approved it"))
        elif dice < 0.75:
            names = tuple(job.partition("/")[2] for job in build.jobs)
            self._ask(CancelWanted(build=build.id, names=names[:1], reason="somebody did not like it"))
        elif dice < 0.85:
            self._ask(UnholdWanted(build=build.id, reason="somebody took it for a lost job"))

    def hears_of_hold(self, build: int) -> None:
        """A job is held: an eager person lets it go at once."""
        if self.world.faulty and self.world.chance(self.world.options.eager_pm):
            event = UnholdWanted(build=build, names=(), reason="somebody released it at once")
            self.world.schedule.after(1, self._ask, event)

    def order(self, orders: tuple[RunnerOrder, ...]) -> None:
        runners = list(self.world.store.runners.values())
        if runners:
            runner = self.world.dice.choice(runners)
            self._ask(RunnerWanted(runner=runner.id, order=self.world.dice.choice(orders), reason="somebody said so"))

    def uncordon_all(self) -> None:
        for runner in self.world.store.runners.values():
            if runner.cordoned or runner.draining:
                self._ask(RunnerWanted(runner=runner.id, order=RunnerOrder.UNCORDON, reason=""))
