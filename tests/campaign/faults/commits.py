"""The dispatcher dies at its commits: just before one, or just after it and before a word of it is said.

What belongs here: choosing the moment. What does not: how a real dispatcher is made to die there (dying_dispatcher).
"""

import signal
from random import Random

from tests.campaign.cluster import Cluster, patched, until
from tests.campaign.faults import Struck, kind

DEATHS = 3
PUSHES_MAX = 20
PUSH_S = 3.0
COMMITS = (1, 2, 3, 5, 8, 13, 21)
"""At which commit after its start it dies; a fresh dispatcher has its first ones when runners come back."""


@kind("commit-before", "F4", on="dispatcher")
def commit_before(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher dies just before it commits, a few times in a row: for all others it never happened."""
    return _dying(cluster, dice, "before")


@kind("commit-after", "F4", on="dispatcher")
def commit_after(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher dies after it committed and before it said so, a few times in a row."""
    return _dying(cluster, dice, "after")


def _dying(cluster: Cluster, dice: Random, when: str) -> Struck:
    role, usual, numbers = cluster.dispatcher, cluster.dispatcher.launcher, []
    role.launcher = patched("dying_dispatcher.py")
    try:
        for _ in range(DEATHS):
            numbers.append(dice.choice(COMMITS))
            role.more_env = {"DIES_AT_COMMIT": str(numbers[-1]), "DIES": when}
            if role.alive:
                role.kill()
            role.start()
            for _ in range(PUSHES_MAX):
                # Each push brings it a few commits further.
                cluster.workload.push("quick")
                if until(lambda: role.ended.code is not None, PUSH_S):
                    break
            assert role.ended.code is not None, f"the dispatcher did not come to its commit {numbers[-1]}"
            assert role.ended.code == -signal.SIGKILL, f"the dispatcher ended by itself:\n{role.said()[-2000:]}"
    finally:
        role.launcher, role.more_env = usual, {}

    def heal() -> None:
        role.start()
        cluster.wait_ready()

    at = ", ".join(map(str, numbers))
    return Struck(f"the dispatcher died {when} its commits {at}", fenced=True, heal=heal, patience_s=20.0)
