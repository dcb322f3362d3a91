"""Parts of other versions: an older one, a newer one, one of another protocol, and an upgrade of everything under load.

What belongs here: which part is replaced by which version, and when. What does not: how a real part is made to speak
otherwise (`other_version`).

The older version is the last commit of this repository before its messages changed. Where the history is not at hand,
as in a shallow clone, it is today's version that leaves out what was added.
"""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Final

from tests.campaign.cluster import PATIENCE_S, Cluster, Role, until
from tests.campaign.faults import Struck, kind

ROOT: Final = Path(__file__).parents[3]
VOCABULARY: Final = "surveil/protocol.py"
LAUNCHER: Final = (sys.executable, "-m", "tests.campaign.other_version")
REFUSED: Final = "install the same version of surveil on both machines"
"""What a part says that does not understand its peer."""


def older_code(folder: Path) -> Path | None:
    """The package as it was before its messages changed the last time; None where the history is not at hand."""
    there = folder / "older"
    if not there.exists():
        changed = _git("log", "-1", "--format=%H", "--", VOCABULARY)
        packed = _git("archive", "--format=tar", f"{changed.decode().strip()}^", "surveil") if changed else b""
        there.mkdir()
        if packed:
            subprocess.run(["tar", "-x", "-C", str(there)], input=packed, check=True)
    return there if (there / "surveil").is_dir() else None


def _git(*words: str) -> bytes:
    # Whoever owns the checkout: it is read, and nothing of it is run by git.
    argv = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else b""


def become(role: Role, cluster: Cluster, speaks: str = "") -> None:
    """Stop a part and start it as another version; as today's if none is named."""
    if role.alive:
        role.stop()
    role.launcher, role.more_env = (sys.executable, "-m", "surveil"), {}
    code = older_code(cluster.folder) if speaks == "older" else None
    if code is not None:
        role.more_env = {"PYTHONPATH": str(code)}
    elif speaks:
        role.launcher, role.more_env = LAUNCHER, {"SPEAKS": speaks, "PYTHONPATH": str(ROOT)}
    role.start()
    if role is cluster.dispatcher:
        cluster.wait_ready()


def _upgraded(cluster: Cluster, roles: list[Role], speaks: str, hold_s: float, what: str) -> Struck:
    for role in roles:
        become(role, cluster, speaks)

    def heal() -> None:
        for role in roles:
            become(role, cluster)

    return Struck(
        what,
        interrupted=[role.name for role in roles if role in cluster.runners],
        fenced=cluster.dispatcher in roles,
        hold_s=hold_s,
        heal=heal,
    )


@kind("version-newer", "F27")
def version_newer(cluster: Cluster, dice: Random) -> Struck:
    """A part says more than the others know: further fields in every message, and messages of further types."""
    role = dice.choice([cluster.victim(dice), dice.choice(cluster.observers), cluster.dispatcher])
    return _upgraded(cluster, [role], "newer", dice.uniform(1.0, 4.0), f"{role.name} said more than others know")


@kind("version-older", "F27")
def version_older(cluster: Cluster, dice: Random) -> Struck:
    """A runner or an observer is of an older version for a while."""
    role = dice.choice([cluster.victim(dice), dice.choice(cluster.observers)])
    code = "of an older commit" if older_code(cluster.folder) else "as one that knows fewer fields"
    struck = _upgraded(cluster, [role], "older", dice.uniform(1.0, 4.0), f"{role.name} was started {code}")
    # Nobody promises that an older agent finds what a newer one began.
    struck.excused = struck.interrupted
    return struck


@kind("version-strange", "F27", weight=0.5)
def version_strange(cluster: Cluster, dice: Random) -> Struck:
    """An observer speaks another version of the protocol: it says so in a sentence, and works again when mended."""
    return _strange(cluster, dice.choice(cluster.observers), dice)


@kind("version-strange-runner", "F27", weight=0.5)
def version_strange_runner(cluster: Cluster, dice: Random) -> Struck:
    """A runner with work speaks another version of the protocol, so that its attempts are lost."""
    return _strange(cluster, cluster.victim(dice), dice)


def _strange(cluster: Cluster, role: Role, dice: Random) -> Struck:
    become(role, cluster, "strange")
    assert until(lambda: REFUSED in role.said_now()), f"{role.name} does not say why: {role.said_now()[-500:]}"
    return Struck(
        f"{role.name} spoke another version of the protocol, and said so",
        excused=[role.name],
        hold_s=dice.uniform(0.5, 2.0),
        heal=lambda: become(role, cluster),
    )


def _is_idle(cluster: Cluster) -> bool:
    cluster.workload.tend()
    return cluster.workload.is_over() and not cluster.truth.alive() and not any(cluster.left().values())


@kind("version-rolling", "F27", weight=0.5)
def version_rolling(cluster: Cluster, dice: Random) -> Struck:
    """Everything is upgraded one by one while people push: the dispatcher first, then observers and runners."""
    others = [*cluster.observers, *cluster.runners]
    dice.shuffle(others)
    # Nobody promises that an older agent finds what a newer one began.
    assert until(lambda: _is_idle(cluster), 2 * PATIENCE_S), "what ran before the upgrade does not end"
    for role in others:
        become(role, cluster, "older")
    for shape in ("slow", "graph"):
        cluster.workload.push(shape)
    become(cluster.dispatcher, cluster, "newer")
    for role in others:
        cluster.workload.push("quick")
        become(role, cluster)

    return Struck(
        f"everything was upgraded one by one: the dispatcher, {', '.join(role.name for role in others)}",
        interrupted=[role.name for role in cluster.runners],
        fenced=True,
        heal=lambda: become(cluster.dispatcher, cluster),
        patience_s=20.0,
    )
