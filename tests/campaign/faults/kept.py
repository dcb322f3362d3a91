"""Files that jobs keep: the dispatcher dies or has no room while they come, and the disk changes them afterwards.

What belongs here: faults of artifacts and caches. What does not: the disk that has them (`tests.disks`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final

from surveil.core.model import Attempt, AttemptState
from surveil.errors import ExitCode
from surveil.places import BLOBS
from tests.campaign.cluster import PATIENCE_S, Cluster, until
from tests.campaign.evidence import Evidence, Push
from tests.campaign.faults import Struck, kind
from tests.campaign.faults.storage import full
from tests.campaign.repositories import Repository
from tests.campaign.shapes import Pipeline

BYTES: Final = 30_000_000
NAME: Final = "big"
KEEP: Final = "keep"


@kind("upload-killed", "F3", on="dispatcher")
def upload_killed(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher is killed while files come: it gets all of them, and they are as they were."""
    push = _push(cluster)
    coming = until(lambda: bool(_blobs(cluster, "incoming/*.part")) or bool(_blobs(cluster, "??/*")), PATIENCE_S)
    cluster.dispatcher.kill()

    def check(evidence: Evidence) -> Iterable[str]:
        if not coming:
            yield "no files came before the dispatcher was killed, so that this is no test"
        yield from _is_kept(cluster, push)

    return Struck(
        "dispatcher: killed while files came",
        fenced=True,
        hold_s=dice.uniform(0.2, 2.0),
        heal=lambda: _start(cluster),
        check=check,
        patience_s=30.0,
    )


@kind("upload-full", "F13", weight=0.5)
def upload_full(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher's disk is full while files come: they wait with their runner, and are as they were."""
    push = _push(cluster)
    struck = full(cluster, cluster.dispatcher, dice, "write", "make")
    struck.what += " while files came"
    struck.check = _both(struck.check, lambda _: _is_kept(cluster, push))
    return struck


@kind("blob-flipped", "F17", weight=0.5)
def blob_flipped(cluster: Cluster, dice: Random) -> Struck:
    """A bit of a kept file flips: an artifact is said to be damaged, a cache is a miss, and no job fails for it."""
    repository = dice.choice(cluster.repositories)
    key = f"key-{dice.randrange(10**9)}"
    push = _push(cluster, _pipeline(key), repository)
    assert until(lambda: _attempt(cluster, push, AttemptState.PASSED) is not None, PATIENCE_S), "nothing was kept"
    kept = list(_is_kept(cluster, push))
    for blob in _blobs(cluster, "??/*"):
        content = bytearray(blob.read_bytes())
        bit = dice.randrange(len(content) * 8)
        content[bit // 8] ^= 1 << bit % 8
        blob.write_bytes(content)
    code, said, _ = _fetched(cluster, push)
    again = _push(cluster, _pipeline(key), repository)

    def check(_: Evidence) -> Iterable[str]:
        yield from kept
        if (code, "damaged" in said) != (ExitCode.INFRASTRUCTURE, True):
            yield f"of a damaged artifact it was said {said!r}, with code {code}"
        attempt = _attempt(cluster, again, AttemptState.PASSED)
        if attempt is None:
            yield "a job failed for its damaged cache"
        elif "is damaged" not in cluster.ask("show", str(_build(cluster, again)), "--json").stdout:
            yield "that a cache is damaged was not said"

    return Struck("dispatcher: a bit of each kept file was another one", check=check)


def _pipeline(key: str = "") -> Pipeline:
    job: Pipeline = {
        "timeout": "2m",
        "artifacts": [{"name": NAME, "paths": [NAME], "required": True}],
        "steps": [{"run": f"head -c {BYTES} /dev/urandom > {NAME}; sha256sum {NAME}"}],
    }
    if key:
        job |= {"cache": [{"key": key, "paths": ["lib"]}]}
        job["steps"].append({"run": "mkdir -p lib; echo made > lib/made"})
    return {"version": 1, "jobs": {KEEP: job}}


def _push(cluster: Cluster, pipeline: Pipeline | None = None, repository: Repository | None = None) -> Push:
    return cluster.workload.push_pipeline(pipeline or _pipeline(), KEEP, repository)


def _blobs(cluster: Cluster, pattern: str) -> list[Path]:
    return sorted((cluster.dispatcher.data / BLOBS).glob(pattern))


def _start(cluster: Cluster) -> None:
    cluster.dispatcher.start()
    cluster.wait_ready()


def _build(cluster: Cluster, push: Push) -> int | None:
    return cluster.reader.build_of_mid(f"push:{push.repo}:{push.ref}:{push.sha}")


def _attempt(cluster: Cluster, push: Push, state: AttemptState) -> Attempt | None:
    build = _build(cluster, push)
    detail = None if build is None else cluster.reader.build(build)
    return None if detail is None else next((each for each in detail.attempts if each.state == state), None)


def _fetched(cluster: Cluster, push: Push) -> tuple[int, str, str]:
    """What fetching it came to: its code, its words, and the digest of what is there now."""
    with tempfile.TemporaryDirectory() as folder:
        done = cluster.ask("artifacts", "get", str(_build(cluster, push)), "--to", f"{folder}/to")
        path = Path(folder, "to", KEEP, NAME, NAME)
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        return done.returncode, done.stderr, found


def _is_kept(cluster: Cluster, push: Push) -> Iterable[str]:
    """Complaints unless the job passed, and what is fetched has the digest that it printed."""
    if _attempt(cluster, push, AttemptState.PASSED) is None:
        yield f"a job that keeps files did not pass (build {_build(cluster, push)})"
        return
    code, said, found = _fetched(cluster, push)
    printed = cluster.ask("logs", str(_build(cluster, push))).stdout.split()
    if code or found not in printed:
        yield f"what a job kept is not what is fetched: code {code}, {said!r}"


def _both(
    one: Callable[[Evidence], Iterable[str]], other: Callable[[Evidence], Iterable[str]]
) -> Callable[[Evidence], Iterable[str]]:
    def check(evidence: Evidence) -> Iterable[str]:
        yield from one(evidence)
        yield from other(evidence)

    return check
