"""The workload: people who push, submit, cancel and decide, and what they were told.

What belongs here: who asks for what, and when. What does not: pipelines (shapes), and what becomes of them
(invariants).
"""

from random import Random
from typing import Final

from surveil.core.model import Status
from tests.campaign.cluster import Cluster
from tests.campaign.evidence import Push, Wish
from tests.campaign.repositories import Repository
from tests.campaign.shapes import SHAPES, Pipeline, Shaper
from tests.campaign.truth import boot_ms

BRANCHES: Final = 12
"""So many branches of a repository take turns; a push may replace one that nobody has looked at yet."""


class Workload:
    """What people do to one cluster."""

    def __init__(self, cluster: Cluster, dice: Random) -> None:
        self.cluster = cluster
        self.shaper = Shaper(cluster.settings.step_python, cluster.truth.address, cluster.settings.lasting_s)
        self.pushes: list[Push] = []
        self.wishes: list[Wish] = []
        self._dice = dice
        self.marked = 0
        """The pushes before this one have been judged."""

    def begin(self, count: int) -> None:
        """Push so many commits, the last of which runs for some seconds; sometimes submit another one as well."""
        names, weights = list(SHAPES), [weight for _, weight in SHAPES.values()]
        for shape in self._dice.choices(names, weights, k=count - 1):
            self.push(shape)
        if self._dice.random() < 0.2:
            self.submit(self._dice.choice(self.pushes[-count + 1 :]))
        # At the end, because on a busy machine all of this may take longer than anything runs.
        self.push("slow")

    def push(self, shape: str) -> Push:
        """Push a commit of this shape to one of the repositories."""
        make, _ = SHAPES[shape]
        return self.push_pipeline(make(self.shaper, self._dice), shape)

    def push_pipeline(self, pipeline: Pipeline, shape: str, repository: Repository | None = None) -> Push:
        """Push a commit with this pipeline; `shape` names it in reports."""
        repository = repository or self._dice.choice(self.cluster.repositories)
        branch = f"work-{self._dice.randrange(BRANCHES)}"
        sha = repository.push(branch, pipeline)
        push = Push(repo=str(repository.path), ref=f"refs/heads/{branch}", sha=sha, shape=shape, at=boot_ms())
        self.pushes.append(push)
        return push

    def submit(self, push: Push) -> None:
        """Ask for a build of a pushed commit by hand; whether it was answered is remembered."""
        done = self.cluster.ask("submit", "--repo", push.repo, "--ref", push.ref.removeprefix("refs/heads/"), push.sha)
        if done.returncode == 0:
            self.wishes.append(Wish(what="submit", build=int(done.stdout), sha=push.sha, at=boot_ms()))

    def tend(self) -> None:
        """Do what people do while things run: cancel what is unwanted, decide about what is held."""
        if not self.cluster.answers():
            return
        for work in self.cluster.truth.alive():
            if work.job == "unwanted" and not self._cancelled(work.build):
                self.cancel(work.build)
        for build in self.held():
            self.cluster.ask("unhold", str(build), "--reason", "the campaign goes on")

    def cancel(self, build: int) -> None:
        """End a build; whether that was answered is remembered."""
        if self.cluster.ask("cancel", str(build)).returncode == 0:
            self.wishes.append(Wish(what="cancel", build=build, at=boot_ms()))

    def held(self) -> list[int]:
        """The builds that wait for a person."""
        if not self.cluster.reader.counts().held:
            return []
        newest = [build.id for build in self.cluster.reader.builds(limit=200)]
        held = [
            job for detail in self.cluster.reader.details(newest) for job in detail.jobs if job.state == Status.HELD
        ]
        return sorted({job.build for job in held})

    def is_over(self) -> bool:
        """Whether everything that was pushed has been built to its end."""
        newest = {(push.repo, push.ref): push for push in self.pushes[self.marked :]}
        mids = (f"push:{push.repo}:{push.ref}:{push.sha}" for push in newest.values())
        if any(self.cluster.reader.build_of_mid(mid) is None for mid in mids):
            return False
        # Only then: a build that begins between two looks would have been in neither.
        counts = self.cluster.reader.counts()
        return not (counts.blocked or counts.held or counts.queued or counts.running)

    def mark(self) -> None:
        """All that was asked so far has been judged."""
        self.marked = len(self.pushes)

    def _cancelled(self, build: int) -> bool:
        return any(wish.what == "cancel" and wish.build == build for wish in self.wishes)
