"""One invented world, from a seed to its verdict.

What belongs here: what everybody in the world shares, births and deaths of processes, and the two phases:
first everything may go wrong and nothing wrong may be done (safety), then everything is healed and all must
come to its end (liveness).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from zlib import crc32

from surveil.core.events import BuildWanted
from surveil.core.model import VERDICTS
from surveil.core.observe_model import Record
from surveil.protocol import Assign, CommitSeen, Output
from tests.simulation import graphs, invention
from tests.simulation.agent import Agent
from tests.simulation.checkers import Checkers
from tests.simulation.clock import Schedule
from tests.simulation.dispatcher import Dispatcher
from tests.simulation.entrusting import with_secrets
from tests.simulation.faults import Misfortune, restart_after
from tests.simulation.host import Host
from tests.simulation.network import Way
from tests.simulation.options import Options
from tests.simulation.people import People, Submitter
from tests.simulation.storage import ModelStore
from tests.simulation.truth import Truth, Work
from tests.simulation.watching import Observer, Repository

_TRACE_MAX = 300
_STEP_MS = 500
_MEET_MS = 150_000
"""Longest of all is a runner that detached before the end: for a minute it is waited for."""
_BETWEEN_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a world that went well amounts to."""

    seed: int
    simulated_ms: int
    happenings: int
    builds: int
    attempts: int
    overlaps: int
    causes: dict[str, int]
    digest: int


class World:
    """Everything that exists."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dice = Random(options.seed * 2)
        self.power_dice = Random(options.seed * 2 + 5)
        self.collect_dice = Random(options.seed * 2 + 9)
        self.trust_dice = Random(options.seed * 2 + 13)
        """Of its own, so that the worlds in which nobody is a stranger stay as they were."""
        self.graph_dice = Random(options.seed * 2 + 17)
        self.secret_dice = Random(options.seed * 2 + 19)
        self.image_dice = Random(options.seed * 2 + 23)
        self.policy = options.policy()
        self.schedule = Schedule()
        self.store = ModelStore()
        self.truth = Truth()
        self.checkers = Checkers(self)
        self.faulty = True
        self._counted: list[str] = []
        """What the digest is of."""
        self.traced: deque[tuple[int, str, Any]] = deque(maxlen=_TRACE_MAX)
        self._number = 0
        self._births = 0
        self.asked: set[str] = set()
        """The names of all facts that anybody ever reported."""
        self._pipelines: dict[str, invention.Commit] = {}
        self.hosts: list[Host] = []
        self.dispatchers: list[Dispatcher] = []
        self.dispatcher: Dispatcher | None = None
        self.start_dispatcher()
        self.submitter = Submitter(self)
        self.people = People(self)
        self.repositories = [Repository(self, number) for number in range(options.repos)]
        self.baselines: dict[str, Mapping[str, str]] = {}
        """Where the refs of each repository stood when an observer first wrote it down."""
        self._observer_disk: dict[str, Record] = {}
        self._observer_way = Way(self, "o" * 40)
        self.observer = Observer(self, self._observer_way, self._observer_disk)
        for _ in range(options.runners):
            labels = tuple(label for label in invention.LABELS if self.chance(500))
            self.join(self.dice.randint(1, options.slots_max), labels)
        self.misfortune = Misfortune(self)

    # ---- chance and time -----------------------------------------------------------------------------------

    def chance(self, per_mille: int) -> bool:
        return per_mille > 0 and self.dice.random() * 1000 < per_mille

    def skew(self) -> int:
        most = self.options.clock_ppm
        return self.dice.randint(-most, most) if most else 0

    def wall_clock(self) -> int:
        """What a starting dispatcher takes for the time; now and then somebody has set the clock."""
        wrong_ms = self.dice.randint(-3_600_000, 3_600_000) if self.chance(100) else 0
        return 1_700_000_000_000 + wrong_ms

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def next_birth(self) -> int:
        """Real ones are random; what counts is that no two are the same."""
        self._births += 1
        return self._births

    def trace(self, who: str, what: Any) -> None:
        """Remember what happened for the report of a violation, and let it count in the digest that a replay
        must repeat.
        """
        now = self.schedule.now
        self.traced.append((now, who, what))
        self._counted.append(f"{now}{who}{type(what).__name__}")

    # ---- the dispatcher's births and deaths ----------------------------------------------------------------

    def start_dispatcher(self) -> None:
        if self.dispatcher is None or not self.dispatcher.alive:
            self.dispatcher = Dispatcher(self)
            self.dispatchers.append(self.dispatcher)
            self.trace("fate", "a dispatcher starts")

    def kill_dispatcher(self, process: Dispatcher) -> None:
        if not process.alive:
            return
        process.alive = False
        self.trace("fate", "the dispatcher is gone")
        for way in self.ways():
            if way.line is not None and way.line.listener is process:
                way.close(way.line)
        if self.dispatcher is process:
            down_ms = self.dice.randint(50, 2 * self.options.down_ms) if self.faulty else 100
            self.schedule.after(down_ms, self.start_dispatcher)

    def take_over(self, old: Dispatcher) -> None:
        """Let a second dispatcher claim the store while the first is paused and does not know."""
        if not self.faulty or not old.paused or self.dispatcher is not old:
            return
        self.dispatcher = Dispatcher(self)
        self.dispatchers.append(self.dispatcher)
        self.trace("fate", "a second dispatcher takes over")
        for way in self.ways():
            if way.line is not None and way.line.listener is old:
                self.schedule.after(self.dice.randint(0, 15_000), way.close, way.line)

    def deposed(self, process: Dispatcher) -> None:
        self.kill_dispatcher(process)

    # ---- the observer's births and deaths ------------------------------------------------------------------

    def kill_observer(self) -> None:
        if self.observer.alive:
            self.trace("fate", "the observer is killed")
            self.observer.die()
            self.schedule.after(restart_after(self), self.start_observer)

    def start_observer(self) -> None:
        self.observer = Observer(self, self._observer_way, self._observer_disk)

    # ---- runners' births and deaths ------------------------------------------------------------------------

    def join(self, slots: int, labels: tuple[str, ...]) -> None:
        number = len(self.hosts) + 1
        broken = self.chance(self.options.broken_runner_pm)
        host = Host(self, f"{number:0>40}", f"runner-{number}", slots=slots, labels=labels, broken=broken)
        self.hosts.append(host)
        self.start_agent(host)

    def clone(self, original: Host) -> None:
        """Somebody copies a runner's data folder to another machine, or clones the image of its machine."""
        copy = Host(self, original.key, original.name, slots=original.slots, labels=original.labels, broken=False)
        copy.disk.incarnation, copy.disk.cluster = original.disk.incarnation, original.disk.cluster
        copy.disk.tombstones = dict(original.disk.tombstones)
        copy.copied = True
        self.hosts.append(copy)
        self.start_agent(copy)

    def start_agent(self, host: Host) -> None:
        if host.dead or host.agent is not None:
            return
        host.agent = Agent(self, host)
        host.agent.begin()

    def kill_agent(self, host: Host) -> None:
        if host.agent is not None:
            self.trace("fate", f"the agent of {host.name} is killed")
            host.agent.die()
            host.after(restart_after(self), self.start_agent, host)

    def agent_exits(self, host: Host) -> None:
        if host.agent is not None:
            host.agent.die()
            host.after(restart_after(self), self.start_agent, host)

    def poisoned(self, host: Host) -> None:
        """A job took its machine down."""
        if not host.dead:
            self.trace("fate", f"{host.name} is poisoned")
            if self.faulty:
                self.misfortune.crash(host)
            else:
                host.crash(disk_survives=True)
                self.schedule.after(2_000, self.start_agent, host)

    def everybody_back(self) -> None:
        """Make sure that somebody can do what is asked for."""
        for label in (None, *invention.LABELS):
            fitting = [host for host in self.hosts if not host.dead and (label is None or label in host.labels)]
            if not fitting:
                self.join(self.options.slots_max, invention.LABELS)
        for host in self.hosts:
            if not host.dead and host.agent is None:
                self.schedule.after(self.dice.randint(100, 3_000), self.start_agent, host)

    def ways(self) -> Iterator[Way]:
        yield self.submitter.way
        yield self._observer_way
        for host in self.hosts:
            if not host.dead:
                yield host.way

    # ---- work ----------------------------------------------------------------------------------------------

    def invent_commit(self, repo: int) -> invention.Commit:
        number = self.next_number()
        broken = self.chance(self.options.bad_pipeline_pm)
        jobs = () if broken else invention.invent_jobs(self.options, self.dice, self.collect_dice)
        jobs = invention.with_images(self.options, self.image_dice, jobs)
        jobs = with_secrets(self.options, self.secret_dice, graphs.relate(self.options, self.graph_dice, jobs))
        commit = invention.Commit(f"repo-{repo}", f"{number:040x}", f"pipeline {number}", jobs)
        self._pipelines[commit.pipeline] = commit
        return commit

    def build_wanted(self, said: CommitSeen) -> BuildWanted:
        """Read a pipeline, as the dispatcher's hands do in a thread beside the loop."""
        jobs = () if said.pipeline is None else self._pipelines[said.pipeline].jobs
        return BuildWanted(
            mid=said.mid,
            repo=said.repo,
            ref=said.ref,
            sha=said.sha,
            event=said.event,
            trusted=said.trusted,
            message=said.message,
            author=said.author,
            pipeline_file=said.pipeline_file,
            jobs=jobs,
            complaints=() if jobs else (".surveil.yml:1:1: it is broken",),
            carried={},
        )

    def plan_of(self, assign: Assign) -> invention.Plan:
        return invention.plan(self.options, self.dice, assign)

    def began(self, work: Work, lease_until_at: int | None) -> None:
        self.trace(work.host.name, f"{work.job}#{work.attempt} begins")
        self.checkers.began(work, self.truth.begin(work), lease_until_at)

    def ended(self, work: Work, outcome: str | None, exit_code: int | None) -> None:
        self.trace(work.host.name, f"{work.job}#{work.attempt} ends: {outcome}")
        self.truth.end(work, self.schedule.now, outcome, exit_code)

    def output(self, attempt: tuple[str, int], at: int, data: bytes) -> Output:
        return Output(job=attempt[0], attempt=attempt[1], at=at, crc=crc32(data), after_ms=0, data=data)

    def _enough_ms(self) -> int:
        """How long everything may take to settle: a fixed time for everybody to meet again, and the work
        itself, one job at a time.
        """
        jobs = [job.spec for job in self.store.jobs.values() if job.state not in VERDICTS]
        texts = [seen.pipeline for seen in self.submitter.unseen.values()]
        texts += [repository.pipelines[sha] for repository in self.repositories for sha in repository.refs.values()]
        jobs += [spec for text in texts if text is not None for spec in self._pipelines[text].jobs]
        tries = sum(len(spec.steps) * (spec.retry + 2) for spec in jobs)
        return _MEET_MS + tries * (self.options.job_ms + _BETWEEN_MS)

    # ---- the two phases ------------------------------------------------------------------------------------

    def run(self) -> Figures:
        """Let the world run its course.

        Raises:
            ViolationError: something happened that must not, or something did not happen that must.
        """
        happened = self.schedule.run(self.options.faults_ms)
        self.misfortune.heal()
        limit = self.schedule.now + self._enough_ms()
        while self.schedule.now < limit and not self.checkers.settled():
            happened += self.schedule.run(self.schedule.now + _STEP_MS)
            self.people.decide()
            self.people.uncordon_all()
        self.checkers.at_the_end()
        return Figures(
            seed=self.options.seed,
            simulated_ms=self.schedule.now,
            happenings=happened,
            builds=len(self.store.builds),
            attempts=len(self.store.attempts),
            overlaps=self.truth.overlaps,
            causes=dict(self.checkers.causes.items()),
            digest=crc32("".join(self._counted).encode()),
        )
