"""Wall clocks that jump, and are wrong at a start: no lease and no deadline hangs on them.

What belongs here: the clocks of single processes. What does not: machines that stand still (`pauses`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Final

from tests.campaign.cluster import Cluster, Role
from tests.campaign.evidence import Evidence
from tests.campaign.faults import Struck, kind

HOUR_S: Final = 3600.0
SETTLE_S: Final = 2.0


def _jumps_s() -> dict[str, float]:
    """Where a clock may jump to, in words, and by how many seconds."""
    now = time.time()
    return {
        "an hour ahead": HOUR_S,
        "an hour back, as when summer ends": -HOUR_S,
        "to 1970": 86_400 - now,
        "to 2038": 2**31 + 5 - now,
        "to 2106": 2**32 + 5 - now,
    }


@kind("clock-jump", "F18")
def clock_jump(cluster: Cluster, dice: Random) -> Struck:
    """The wall clock of a dispatcher, an observer or a runner jumps again and again while it works."""
    role = dice.choice([cluster.dispatcher, *cluster.observers, cluster.victim(dice)])
    file = _with_clock(cluster, role, 0.0)
    jumps = list(_jumps_s().items())
    dice.shuffle(jumps)
    for _, seconds in jumps:
        file.write_text(str(seconds))
        time.sleep(dice.uniform(0.3, 1.0))
    return _struck(cluster, role, file, f"its clock jumped {', '.join(name for name, _ in jumps)}")


@kind("clock-wrong", "F18")
def clock_wrong(cluster: Cluster, dice: Random) -> Struck:
    """A part is started with a wall clock that is far off, and is then started again with the true one."""
    role = dice.choice([cluster.dispatcher, *cluster.observers, cluster.victim(dice)])
    # What was written down in the future would have to be waited for: that a clock stood in 2038 nobody can undo.
    jumps = {name: seconds for name, seconds in _jumps_s().items() if seconds <= HOUR_S}
    name, seconds = dice.choice(list(jumps.items()))
    file = _with_clock(cluster, role, seconds)
    return _struck(cluster, role, file, f"its clock was set {name} when it started")


def _with_clock(cluster: Cluster, role: Role, seconds: float) -> Path:
    """Start a part again with a clock that can be moved."""
    file = role.host.folder / "clock"
    file.write_text(str(seconds))
    role.stop()
    launcher = role.launcher
    role.launcher = (launcher[0], "-m", "tests.campaign.jumping", str(file))
    role.more_env["PYTHONPATH"] = str(Path(__file__).parents[3])
    role.start()
    role.launcher = launcher
    del role.more_env["PYTHONPATH"]
    if role is cluster.dispatcher:
        cluster.wait_ready()
    return file


def _struck(cluster: Cluster, role: Role, file: Path, what: str) -> Struck:
    def heal() -> None:
        file.write_text("0")
        role.stop()
        role.start()
        if role is cluster.dispatcher:
            cluster.wait_ready()

    return Struck(
        f"{role.name}: {what}",
        interrupted=[role.name] if role in cluster.runners else (),
        fenced=role is cluster.dispatcher,
        hold_s=SETTLE_S,
        heal=heal,
        untimed=role is cluster.dispatcher,
        check=_in_order,
    )


def _in_order(evidence: Evidence) -> Iterable[str]:
    """What people are shown of times must make sense: nothing ends before it begins."""
    for attempt in evidence.attempts:
        times = [at for at in (attempt.assigned_at, attempt.accepted_at, attempt.started_at, attempt.finished_at) if at]
        if times != sorted(times):
            yield f"{attempt.id} has times that run backwards: {times}"
