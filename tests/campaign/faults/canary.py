"""Canaries: what no fault may do to a product that keeps its promises, done by hand: the judges have to see it.

What belongs here: breaking a rule behind the product's back. What does not: real faults. They are drawn never, and
struck only where they are named.
"""

from pathlib import Path
from random import Random

from surveil.core.model import VERDICTS
from surveil.store.log_live import DATA
from surveil.store.log_packed import SUFFIX
from surveil.store.log_paths import log_files
from tests.campaign.cluster import Cluster, until
from tests.campaign.faults import Struck, kind
from tests.store.rewriting import rewrite


@kind("canary-verdict", "I3", weight=0)
def canary_verdict(cluster: Cluster, dice: Random) -> Struck:
    """Somebody writes another verdict into the database."""
    build = _built(cluster)
    rewrite(cluster.dispatcher.data / "surveil.db", "UPDATE jobs SET state = 'failed' WHERE build = ?", (build,))
    return Struck(f"the verdict of build {build} was turned over")


@kind("canary-log", "I6", weight=0)
def canary_log(cluster: Cluster, dice: Random) -> Struck:
    """Somebody changes a byte of a stored log."""
    build = _built(cluster)
    folder = cluster.dispatcher.data / "logs" / "0" / "000" / f"{build:03}"
    assert until(lambda: any(log_files(folder, (SUFFIX, DATA))))
    path = next(log_files(folder, (SUFFIX, DATA)))
    _flip(path, path.stat().st_size // 2)
    return Struck(f"a bit of {path.name} of build {build} was flipped")


def _built(cluster: Cluster) -> int:
    """A build that was just made, and is over."""
    push = cluster.workload.push("quick")
    mid = f"push:{push.repo}:{push.ref}:{push.sha}"
    assert until(lambda: cluster.reader.build_of_mid(mid) is not None)
    build = cluster.reader.build_of_mid(mid)
    assert build is not None

    def is_over() -> bool:
        detail = cluster.reader.build(build)
        return detail is not None and detail.build.state in VERDICTS

    assert until(is_over)
    assert until(lambda: not any(cluster.left().values()))
    return build


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
