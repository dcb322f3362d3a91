"""Git servers that misbehave: they hang, lie, refuse, are rewritten, replaced, gone and back.

What belongs here: one repository behind a server of its own, an observer that watches it, and the server's moods. What
does not: the moods themselves (`tests.mirror.moody`), and repositories on this machine's disk.

Around each of them people push to the server's repository and to another one: the latter is built while the fault
lasts, and the former once it is healed.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final
from weakref import WeakKeyDictionary

from tests.campaign.cluster import Cluster, until
from tests.campaign.evidence import Push
from tests.campaign.faults import Struck, kind
from tests.campaign.hosts import DRIVER_ON_WAYS
from tests.campaign.repositories import Repository, git
from tests.campaign.truth import boot_ms
from tests.mirror.moody import Moody
from tests.mirror.servers import serving

NAME: Final = "far"
PATIENCE_S: Final = 45.0
"""A remote that fails is asked ever more seldom; so long after it is well it may take until it is seen."""
REFUSALS: Final = ("401", "403", "404", "429", "500", "503", "loop", "page", "wrong type")
HANGS: Final = ("silent", "hangs in the list", "hangs in a pack", "endless")
LIES: Final = ("lies", "dies in a pack")


@dataclass
class Far:
    """The repository behind a server, known to the cluster by `address`."""

    cluster: Cluster
    repository: Repository
    moody: Moody
    address: str
    times: int = 0
    """How often another repository was put in its place."""

    @property
    def place(self) -> Path:
        """Where the server looks for it."""
        return self.cluster.folder / NAME / f"{NAME}.git"

    def push(self, branch: str, shape: str = "quick") -> Push:
        """Push a commit to the repository, whatever its server's mood."""
        workload = self.cluster.workload
        pipeline = workload.shaper.quick(self.cluster.dice)
        sha = self.repository.push(branch, pipeline)
        push = Push(repo=self.address, ref=f"refs/heads/{branch}", sha=sha, shape=shape, at=boot_ms())
        workload.pushes.append(push)
        return push

    def is_built(self, push: Push) -> bool:
        """Whether there is a build of it."""
        return self.cluster.reader.build_of_mid(f"push:{push.repo}:{push.ref}:{push.sha}") is not None

    def neighbours_are_built(self) -> None:
        """Push to a repository that has nothing to do with it, and see that it is built meanwhile."""
        push = self.cluster.workload.push("quick")
        assert until(lambda: self.is_built(push)), f"{push.repo} waits for {self.address}, which is {self.moody.mood}"


_FAR: Final[WeakKeyDictionary[Cluster, Far]] = WeakKeyDictionary()


def far(cluster: Cluster) -> Far:
    """The cluster's far repository, with an observer of its own; made at the first call."""
    if cluster not in _FAR:
        repository = Repository(cluster.folder / NAME, NAME)
        moody = Moody(cluster.folder / NAME)
        server = cluster.opened(serving(moody.handler, host=DRIVER_ON_WAYS))
        made = Far(cluster, repository, moody, f"{server}/{NAME}.git")
        first = made.push("main")
        cluster.further_observer(f"observer-{NAME}", made.address)
        assert until(lambda: made.is_built(first)), f"{made.address} is well, and not seen"
        _FAR[cluster] = made
    return _FAR[cluster]


def _moody(cluster: Cluster, mood: str, hold_s: float) -> Struck:
    """The server is of this mood for a while, in which somebody pushes there."""
    there = far(cluster)
    there.moody.mood = mood
    there.push(f"mood-{cluster.dice.randrange(4)}")

    def heal() -> None:
        try:
            there.neighbours_are_built()
        finally:
            there.moody.mend()

    return Struck(
        f"the server of {NAME} was of the mood `{mood}` for {hold_s:.1f} s",
        hold_s=hold_s,
        heal=heal,
        patience_s=PATIENCE_S,
    )


@kind("remote-refuses", "F26")
def remote_refuses(cluster: Cluster, dice: Random) -> Struck:
    """A git server refuses, redirects in circles, or shows a page for people."""
    return _moody(cluster, dice.choice(REFUSALS), dice.uniform(1.0, 4.0))


@kind("remote-hangs", "F26")
def remote_hangs(cluster: Cluster, dice: Random) -> Struck:
    """A git server hangs, before a word, in the middle of its list or of a pack; or it talks without end."""
    return _moody(cluster, dice.choice(HANGS), dice.uniform(1.0, 6.0))


@kind("remote-lies", "F26")
def remote_lies(cluster: Cluster, dice: Random) -> Struck:
    """A git server names commits that it has not, or cuts its packs short."""
    return _moody(cluster, dice.choice(LIES), dice.uniform(1.0, 4.0))


@kind("remote-slow", "F26")
def remote_slow(cluster: Cluster, dice: Random) -> Struck:
    """A git server answers in drops."""
    return _moody(cluster, "slow", dice.uniform(1.0, 4.0))


@kind("remote-rewritten", "F26")
def remote_rewritten(cluster: Cluster, dice: Random) -> Struck:
    """A repository's history is rewritten, and nothing of the old one is kept."""
    there = far(cluster)
    there.push("main")
    git(there.repository.clone, "checkout", "-q", "--orphan", f"anew-{dice.getrandbits(32)}")
    there.push("main", "rewritten")
    git(there.repository.path, "gc", "-q", "--prune=now")
    return Struck(f"the history of {NAME} was rewritten", patience_s=PATIENCE_S)


@kind("remote-away", "F26")
def remote_away(cluster: Cluster, dice: Random) -> Struck:
    """A repository disappears from its server, and comes back with a commit more."""
    there = far(cluster)
    away = there.place.rename(cluster.folder / NAME / "away")

    def heal() -> None:
        try:
            there.neighbours_are_built()
        finally:
            away.rename(there.place)
        there.push("main")

    hold_s = dice.uniform(1.0, 4.0)
    return Struck(f"{NAME} was away for {hold_s:.1f} s", hold_s=hold_s, heal=heal, patience_s=PATIENCE_S)


@kind("remote-replaced", "F26")
def remote_replaced(cluster: Cluster, dice: Random) -> Struck:
    """Another repository stands in the place of one, with no commit in common."""
    there = far(cluster)
    there.times += 1
    other = Repository(cluster.folder / f"{NAME}-{there.times}" / "new", NAME)
    there.place.rename(cluster.folder / f"{NAME}-{there.times}" / "old")
    there.repository = other
    # Those who push know it by its new place alone, and the server by its old one.
    there.place.symlink_to(other.path)
    there.push("main", "replaced")
    return Struck(f"another repository stands in the place of {NAME}", patience_s=PATIENCE_S)
