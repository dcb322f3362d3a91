"""Invented repositories whose refs move, and the hands of the observer that watches them, modelled.

What belongs here: the contract of `surveil.observer` in as few lines as possible, and what repositories do.
What does not: decisions.

The contract: a poll is answered exactly once; `Remember` is written down soon, not at once, and a crash
before that loses it; a commit that can no longer be read is said to be so; what the dispatcher acknowledges
is told to the mind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from surveil.core import observe
from surveil.core.observe_model import (
    Acknowledged,
    Connected,
    Disconnected,
    Event,
    Observed,
    Poll,
    PollFailed,
    Record,
    Remember,
    Report,
    ReportFailed,
    State,
    Tick,
)
from surveil.core.patterns import read_patterns
from surveil.protocol import CommitSeen, Message, Seen
from tests.simulation.clock import Timer
from tests.simulation.network import Line, Way

if TYPE_CHECKING:
    from tests.simulation.world import World

HEAD = "refs/heads/main"
_BRANCHES = (HEAD, "refs/heads/dev", "refs/heads/topic", "refs/tags/v1")
_INTERVAL_MS = 4_000


class Repository:
    """A repository that people push to."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.name = f"repo-{number}"
        self.refs: dict[str, str] = {}
        self.pipelines: dict[str, str] = {}
        self.push(HEAD)

    def push(self, ref: str) -> None:
        commit = self.world.invent_commit(self.number)
        self.refs[ref] = commit.sha
        self.pipelines[commit.sha] = commit.pipeline

    def move(self) -> None:
        """Do what people do: push, push by force, go back, delete."""
        world = self.world
        ref = world.dice.choice(_BRANCHES)
        if ref != HEAD and ref in self.refs and world.chance(world.options.delete_ref_pm):
            del self.refs[ref]
        elif world.chance(world.options.push_force_pm):
            self.refs[ref] = world.dice.choice(list(self.pipelines))
        else:
            self.push(ref)


class Observer:
    """One process of the observer."""

    def __init__(self, world: World, way: Way, disk: dict[str, Record]) -> None:
        self.world = world
        self.alive = True
        self.way = way
        self.disk = disk
        self.line: Line | None = None
        self._timer: Timer | None = None
        self.state = State()
        for repository in world.repositories:
            name = repository.name
            self.state.watch(name, read_patterns(("refs/heads/*",)), _INTERVAL_MS, disk.get(name), world.schedule.now)
        self._arm()
        way.dial(self)

    def _handle(self, event: Event) -> None:
        if not self.alive:
            return
        world = self.world
        for effect in observe.handle(self.state, event, world.schedule.now):
            match effect:
                case Poll(repo=repo):
                    world.schedule.after(world.dice.randint(1, 300), self._polled, repo)
                case Report():
                    self._report(effect)
                case Remember(repo=repo):
                    world.schedule.after(world.dice.randint(0, 300), self._write, repo)
                case _:
                    pass  # The others are for people to read.
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        at = observe.next_deadline(self.state)
        if at is not None and self.alive:
            self._timer = self.world.schedule.at(max(at, self.world.schedule.now + 1), self._handle, Tick())

    def _polled(self, repo: str) -> None:
        if self.world.faulty and self.world.chance(self.world.options.loss_pm):
            self._handle(PollFailed(repo=repo, reason="the remote end hung up unexpectedly"))
        else:
            self._handle(Observed(repo=repo, head=HEAD, refs=dict(self._repository(repo).refs)))

    def _repository(self, repo: str) -> Repository:
        return next(each for each in self.world.repositories if each.name == repo)

    def _report(self, report: Report) -> None:
        repository = self._repository(report.repo)
        gone = report.sha not in repository.refs.values()
        if gone and self.world.chance(500):
            self.world.schedule.after(1, self._handle, ReportFailed(mid=report.mid))
            return
        self.world.asked.add(report.mid)
        if self.line is not None and self.line.open:
            self.way.say_up(
                self.line,
                CommitSeen(
                    mid=report.mid,
                    repo=report.repo,
                    ref=report.ref,
                    sha=report.sha,
                    event="push",
                    message="",
                    author="",
                    pipeline=repository.pipelines[report.sha],
                    pipeline_file=".surveil.yml",
                ),
            )

    def _write(self, repo: str) -> None:
        if not self.alive:
            return
        written = observe.record(self.state, repo)
        if written is not None:
            self.disk[repo] = written
            self.world.baselines.setdefault(repo, written.refs)

    def connected(self, line: Line) -> None:
        self.line = line
        self._handle(Connected())

    def disconnected(self, line: Line) -> None:
        if self.line is line:
            self.line = None
            self._handle(Disconnected())

    def hear(self, line: Line, message: Message) -> None:
        assert isinstance(message, Seen), f"an observer was told {message}"
        if not self.alive:
            return
        self.world.checkers.trusts_seen(message)
        self._handle(Acknowledged(mid=message.mid))

    def die(self) -> None:
        self.alive = False
        if self.line is not None:
            self.way.close(self.line, by_caller=True)


def owed(repositories: list[Repository], baselines: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The facts that must have been reported by now: where the branches stand, unless they stood there before
    anybody watched.
    """
    mids = []
    for repository in repositories:
        before = baselines.get(repository.name, {})
        for ref, sha in repository.refs.items():
            if ref.startswith("refs/heads/") and (ref == HEAD or before.get(ref) != sha):
                mids.append(f"push:{repository.name}:{ref}:{sha}")
    return mids
