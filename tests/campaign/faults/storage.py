"""Disks: power that fails, room that ends, calls that fail, bits that flip, and yesterday's backup.

What belongs here: faults of what is stored. What does not: the disk that has them (`tests.disks`).
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Final

from surveil.core.model import AttemptState
from surveil.errors import ExitCode
from surveil.execute.attempts import folder_name
from surveil.places import KEYS
from tests.campaign.cluster import Cluster, Role, until
from tests.campaign.disks import Platter
from tests.campaign.evidence import Evidence, is_truthful
from tests.campaign.faults import Struck, kind
from tests.campaign.invariants import read_bytes
from tests.campaign.truth import boot_ms

UNTOLD: Final = 2
"""So many transactions at the end of a write-ahead log are spared: damage to the last one looks like a torn end, and so
does damage to the mark by which the one before belongs to the log."""
SECRETS: Final = {
    "runner": f"{KEYS}/runner.key",
    "observer": f"{KEYS}/observer.key",
    "dispatcher": f"{KEYS}/server.key",
}


def _busy_again(cluster: Cluster, role: Role, dice: Random) -> None:
    """Give everybody more to do, and wait a while for it to be under way, on this role if it is a runner."""
    cluster.workload.push("slow")
    if role in cluster.runners:
        until(lambda: role.name in cluster.online() and bool(cluster.truth.alive(role.name)), patience_s=10.0)
    else:
        until(lambda: bool(cluster.truth.alive()), patience_s=10.0)
    end_s = dice.uniform(0.2, 2.0)
    until(lambda: False, patience_s=end_s)


def _torn(cluster: Cluster, role: Role, dice: Random) -> Struck:
    """The power of a host fails while it writes, on a disk that remembers only what was synced."""
    platter = Platter(cluster, role)
    platter.insert()
    _busy_again(cluster, role, dice)
    platter.lose_power(dice)
    return Struck(
        f"{role.name}: its power failed, and with it went what was not on the platter",
        excused=[role.name] if role in cluster.runners else (),
        interrupted=[role.name] if role in cluster.runners else (),
        cut=[role.name] if role in cluster.runners else (),
        fenced=role is cluster.dispatcher,
        hold_s=dice.uniform(0.0, 2.0),
        heal=platter.start,
        patience_s=30.0,
    )


@kind("runner-torn", "F16", on="runner")
def runner_torn(cluster: Cluster, dice: Random) -> Struck:
    """A runner's power fails, and its disk has lost and torn whatever was not synced."""
    return _torn(cluster, cluster.victim(dice), dice)


@kind("dispatcher-torn", "F16")
def dispatcher_torn(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher's power fails, and its disk has lost and torn whatever was not synced."""
    return _torn(cluster, cluster.dispatcher, dice)


@kind("observer-torn", "F16", on="observer")
def observer_torn(cluster: Cluster, dice: Random) -> Struck:
    """An observer's power fails, and its disk has lost and torn whatever was not synced."""
    return _torn(cluster, dice.choice(cluster.observers), dice)


# ---- no room ----------------------------------------------------------------------------------------------------


def full(cluster: Cluster, role: Role, dice: Random, *kinds: str) -> Struck:
    """No room on a disk for some seconds. The role lives on, and goes on by itself when there is room."""
    platter = Platter(cluster, role)
    platter.insert()
    _busy_again(cluster, role, dice)
    platter.disk.fail(*kinds, number=errno.ENOSPC)
    cluster.workload.push("quick")
    what = "no byte more" if "write" in kinds else "no file more"

    def heal() -> None:
        platter.disk.work()
        cluster.workload.push("quick")
        assert until(lambda: role.alive, patience_s=1.0), f"{role.name} ended on a full disk: {role.said()[-500:]}"
        if role is cluster.dispatcher:
            assert until(cluster.online), "after there was room again nobody is let in"
        elif role in cluster.runners:
            assert until(lambda: role.name in cluster.online()), f"{role.name} did not come back"
        platter.take_off()
        platter.start()

    runners = [role.name] if role in cluster.runners else ()
    return Struck(
        f"{role.name}: its disk took {what}",
        # Whoever cannot reach a repository has its commits from an observer, which has no room to pack them.
        excused=None if role in cluster.observers else runners,
        interrupted=runners,
        cut=runners,
        fenced=role is cluster.dispatcher,
        hold_s=dice.uniform(3.0, 6.0),
        heal=heal,
        check=_broken_with_a_reason(role.name),
        patience_s=30.0,
    )


def _broken_with_a_reason(name: str) -> Callable[[Evidence], Iterable[str]]:
    def check(evidence: Evidence) -> Iterable[str]:
        for attempt in evidence.attempts:
            if attempt.runner_name == name and attempt.state is AttemptState.ERRORED and not attempt.reason:
                yield f"{attempt.id} broke on {name} without a reason"

    return check


@kind("dispatcher-full", "F13")
def dispatcher_full(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher's disk is full for some seconds: it refuses, waits, and goes on by itself."""
    return full(cluster, cluster.dispatcher, dice, "write", "make")


@kind("runner-full", "F14", on="runner")
def runner_full(cluster: Cluster, dice: Random) -> Struck:
    """A runner's disk is full for some seconds: what runs there breaks with a reason, and nothing new comes."""
    return full(cluster, cluster.victim(dice), dice, "write", "make")


@kind("runner-inodes", "F14", weight=0.5, on="runner")
def runner_inodes(cluster: Cluster, dice: Random) -> Struck:
    """A runner's disk takes no new file for some seconds."""
    return full(cluster, cluster.victim(dice), dice, "make")


@kind("observer-full", "F13", weight=0.5, on="observer")
def observer_full(cluster: Cluster, dice: Random) -> Struck:
    """An observer's disk is full for some seconds: what it cannot remember it says again."""
    return full(cluster, dice.choice(cluster.observers), dice, "write", "make")


# ---- calls that fail --------------------------------------------------------------------------------------------


@kind("dispatcher-io-error", "F15")
def dispatcher_io_error(cluster: Cluster, dice: Random) -> Struck:
    """One write or sync of the dispatcher fails: it ends with a sentence, and the next one has all that was said."""
    role = cluster.dispatcher
    platter = Platter(cluster, role)
    platter.insert()
    call = dice.choice(["write", "sync"])
    platter.disk.fail(call, number=errno.EIO, at=dice.randint(1, 40), count=1, done=dice.random() < 0.3)
    for _ in range(3):
        cluster.workload.push("quick")
    ended = until(lambda: not role.alive, patience_s=15.0)
    if ended:
        assert until(lambda: role.ended.code is not None, patience_s=5.0)
        assert role.ended.code == ExitCode.INFRASTRUCTURE, f"it ended with {role.ended.code}: {role.said()[-500:]}"
        assert "Traceback" not in role.said_now(), role.said_now()[-2000:]

    def heal() -> None:
        platter.take_off()
        platter.start()

    return Struck(
        f"the dispatcher: one {call} of its disk failed{', and it ended' if ended else ''}",
        fenced=True,
        heal=heal,
        patience_s=30.0,
    )


# ---- what the disk changed --------------------------------------------------------------------------------------


@kind("key-flipped", "F17", weight=0.5, on="")
def key_flipped(cluster: Cluster, dice: Random) -> Struck:
    """A bit of a key flips: the role says so and ends, and goes on when its copy is put back."""
    role = dice.choice([cluster.dispatcher, *cluster.observers, cluster.victim(dice)])
    file = role.data / SECRETS[role.words[0]]
    return _flipped(cluster, role, dice, file, "a bit of its key was another one")


@kind("log-flipped", "F17", weight=0.5, on="")
def log_flipped(cluster: Cluster, dice: Random) -> Struck:
    """A bit of the database's write-ahead log flips while the dispatcher is dead: it is not passed over."""
    file = cluster.dispatcher.data / "surveil.db-wal"
    while len(_commits(file)) <= UNTOLD:
        cluster.surveil("token", "create")
    return _flipped(cluster, cluster.dispatcher, dice, file, "a bit of its database's log was another one")


def _commits(file: Path) -> list[int]:
    """Where each transaction of a write-ahead log ends; behind them there may be those of an earlier turn of it."""
    content, ends = file.read_bytes(), []
    page_bytes, salts = int.from_bytes(content[8:12]), content[16:24]
    for at in range(32, len(content), 24 + page_bytes):
        if content[at + 8 : at + 16] != salts:
            break
        if any(content[at + 4 : at + 8]):
            ends.append(at + 24 + page_bytes)
    return ends


def _flipped(cluster: Cluster, role: Role, dice: Random, file: Path, what: str) -> Struck:
    role.kill()
    if role is cluster.dispatcher:
        cluster.reader.close()
    before = file.read_bytes()
    content = bytearray(before)
    size = _commits(file)[-UNTOLD - 1] if file.name.endswith("-wal") else len(content) // 2
    bit = dice.randrange(size * 8)
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    role.start()
    refused = until(lambda: role.ended.code is not None)
    said, code = role.said_now(), role.ended.code

    def heal() -> None:
        if role.alive:
            role.kill()
        file.write_bytes(before)
        role.start()
        if role is cluster.dispatcher:
            cluster.wait_ready()

    if not refused or code not in {ExitCode.INFRASTRUCTURE, ExitCode.INVALID} or "Traceback" in said:
        heal()
        went = f"ended with code {code}" if refused else "went on"
        raise AssertionError(f"{role.name} {went} when {what} ({file.name}, bit {bit}), and said {said[-800:]!r}")
    return Struck(
        f"{role.name}: {what}",
        interrupted=[role.name] if role in cluster.runners else (),
        excused=[role.name] if role in cluster.runners else (),
        fenced=role is cluster.dispatcher,
        heal=heal,
        patience_s=20.0,
    )


@kind("backup-restored", "F30", weight=0.5)
def backup_restored(cluster: Cluster, dice: Random) -> Struck:
    """The dispatcher starts from a backup while its runners go on: what was done since is done again, and told."""
    role = cluster.dispatcher
    yesterday = role.host.folder / "yesterday"
    # More than there are slots for, so that some of it is handed out after the backup and is known to nobody then.
    for _ in range(dice.randint(0, 2)):
        cluster.workload.push("matrix")
        cluster.workload.push("careful")
    # What was pushed since the backup is forgotten with it, so nothing may be on its way.
    assert until(lambda: _all_built(cluster)), "what was pushed is not built"
    since = boot_ms()
    cluster.surveil("db", "backup", str(yesterday))
    until(lambda: False, patience_s=dice.uniform(0.5, 3.0))
    epoch = cluster.reader.cluster().epoch
    role.kill()
    forgotten = (since, boot_ms())
    held = {attempt for left in cluster.left().values() for attempt in left}
    cluster.reader.close()
    shutil.rmtree(role.data)
    yesterday.rename(role.data)

    def heal() -> None:
        role.start()
        cluster.wait_ready()

    def check(evidence: Evidence) -> Iterable[str]:
        if cluster.reader.cluster().epoch <= epoch:
            yield f"epoch {cluster.reader.cluster().epoch} was heard of before: {epoch} was"
        yield from _logs_came_again(evidence, held)

    return Struck(
        "the dispatcher started from a backup",
        excused=None,
        # Of what its runner had forgotten when it was killed, the log is as old as the backup.
        cut=[role.name for role in cluster.runners],
        fenced=True,
        forgotten=[forgotten],
        hold_s=dice.uniform(0.0, 1.0),
        heal=heal,
        patience_s=30.0,
        check=check,
    )


def _logs_came_again(evidence: Evidence, held: set[str]) -> Iterable[str]:
    """Whatever a runner still had of an attempt that is recorded must be here."""
    truthful = {job.id for job in evidence.jobs if is_truthful(job)}
    for attempt in evidence.attempts:
        if attempt.job in truthful and f"attempt {folder_name(attempt.id)}" in held:
            there, owed = len(evidence.logs[attempt.id].data), read_bytes(evidence, attempt)
            if there < owed:
                yield f"of the log of {attempt.job}#{attempt.number} there are {there} bytes: its runner had {owed}"


def _all_built(cluster: Cluster) -> bool:
    """Whether everything that was pushed last to each ref is a build."""
    known = {build.sha for build in cluster.reader.builds(limit=1000)}
    newest = {(push.repo, push.ref): push.sha for push in cluster.workload.pushes}
    return set(newest.values()) <= known
