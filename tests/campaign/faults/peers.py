"""Peers that mean ill, and handshakes that go wrong.

What belongs here: what strangers and enrolled peers do to the dispatcher's ports, without going through any proxy. What
does not: networks that fail (network), and forged messages one by one (the integration tests).

None of it excuses anybody: whoever is honest must not even be suspected meanwhile.
"""

import contextlib
import os
import resource
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from surveil.net.keys import RUNNER_KEY, KeyPair, load_keys
from surveil.net.known import load_known
from surveil.places import KEYS
from surveil.protocol import Finished, Heartbeat, encode
from surveil.store.sqlite import database_path
from tests.campaign.cluster import PORT, Cluster, Role, patched, until
from tests.campaign.evidence import Evidence
from tests.campaign.faults import Struck, kind
from tests.campaign.weather import End
from tests.net.zmtp import GREETING, HandmadePeer

PORTS: Final = (PORT, PORT + 1)
SILENT: Final = 3_000
FILES_WANTED: Final = 8_192
MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024
"""By so much the dispatcher may grow while somebody sends it a message without an end, as fast as a loopback can."""
NOISES: Final = (
    b"GET / HTTP/1.1\r\nHost: dispatcher\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508),
    b"SSH-2.0-OpenSSH_9.2\r\n",
    bytes(4_096),
    b"\xff" * 4_096,
    GREETING[:40],
    GREETING + bytes(64),
    GREETING + b"\x04\xc8\x05HELLO\x01\x00" + bytes(192),
    GREETING + b"\x06\xff\xff\xff\xff\xff\xff\xff\xff",
)


def _nobody_suspected(evidence: Evidence) -> Iterable[str]:
    """Heartbeats came all the time."""
    for note in evidence.notes:
        if note.what == "runner" and note.state in {"suspect", "offline"}:
            yield f"a runner was {note.state} because of a stranger: {note.reason}"


def _keys(role: Role) -> tuple[KeyPair, str]:
    """What somebody has who broke into a runner: its key, and the dispatcher's public one."""
    return load_keys(role.data / KEYS / RUNNER_KEY), load_known(role.data).server_key


def _memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _at_once(works: Sequence[Callable[[], object]]) -> Callable[[], None]:
    """Do these in threads; what is returned waits for all of them."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()

    def wait() -> None:
        for thread in threads:
            thread.join(60)

    return wait


# ---- strangers -------------------------------------------------------------------------------------------------------


@kind("silent-flood", "F12", weight=0.3)
def silent_flood(cluster: Cluster, dice: Random) -> Struck:
    """Three thousand connections that never say a word, on both ports: they are closed, and nobody notices."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    count = min(SILENT, wanted - 1_024)
    address = cluster.dispatcher.host.address
    flood = [socket.create_connection((address, PORTS[number % 2]), 20) for number in range(count)]

    def heal() -> None:
        with contextlib.ExitStack() as stack:
            for each in flood:
                stack.enter_context(each)
            assert until(lambda: all(map(_is_closed, flood)), 20.0), "silent connections still stand"

    return Struck(f"{count} silent connections", hold_s=4.0, heal=heal, check=_nobody_suspected)


def _is_closed(each: socket.socket) -> bool:
    """Whether the other end has closed it; a dispatcher begins with a greeting."""
    try:
        while each.recv(4_096, socket.MSG_DONTWAIT):
            continue
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@kind("noise", "F12")
def noise(cluster: Cluster, dice: Random) -> Struck:
    """What does not speak ZeroMQ knocks at both ports, again and again."""
    address, seed = cluster.dispatcher.host.address, dice.getrandbits(32)
    end_at = time.monotonic() + 3.0

    def knock() -> None:
        own = Random(seed)
        while time.monotonic() < end_at:
            with contextlib.suppress(OSError), socket.create_connection((address, own.choice(PORTS)), 5) as knocking:
                knocking.sendall(own.choice((*NOISES, own.randbytes(own.randrange(1, 5_000)))))
                time.sleep(own.uniform(0.0, 0.05))

    return Struck("noise at both ports for 3 s", heal=_at_once([knock] * 4), check=_nobody_suspected)


@kind("slow-loris", "F12")
def slow_loris(cluster: Cluster, dice: Random) -> Struck:
    """Two hundred handshakes, each a byte at a time and never done: they are closed, and nobody notices."""
    address = cluster.dispatcher.host.address
    lorises = [socket.create_connection((address, PORTS[number % 2]), 20) for number in range(200)]

    def heal() -> None:
        with contextlib.ExitStack() as stack:
            for each in lorises:
                stack.enter_context(each)
            closed: set[int] = set()
            for byte in (GREETING * 2)[:100]:
                for number, each in enumerate(lorises):
                    if number not in closed and not _takes(each, bytes([byte])):
                        closed.add(number)
                if len(closed) == len(lorises):
                    return
                time.sleep(0.1)
            raise AssertionError(f"{len(lorises) - len(closed)} of {len(lorises)} endless handshakes still stand")

    return Struck("200 handshakes, a byte at a time", heal=heal, check=_nobody_suspected)


def _takes(each: socket.socket, data: bytes) -> bool:
    try:
        each.sendall(data)
    except OSError:
        return False
    return True


# ---- enrolled peers --------------------------------------------------------------------------------------------------


@kind("endless-message", "F12")
def endless_message(cluster: Cluster, dice: Random) -> Struck:
    """Somebody with a runner's key sends messages without an end, on both ports: each is cut off."""
    keys, server_key = _keys(dice.choice(cluster.runners))
    host, pid = cluster.dispatcher.host.address, cluster.dispatcher.pid
    before, cuts, end_at = _memory_bytes(pid), [0], time.monotonic() + 5.0
    most = [before]

    def hoard(port: int) -> None:
        while time.monotonic() < end_at:
            with contextlib.suppress(OSError, AssertionError), HandmadePeer((host, port), server_key, keys, 5) as peer:
                peer.shake_hands()
                try:
                    while time.monotonic() < end_at:
                        peer.say([bytes(60_000)], endless=True)
                except OSError:
                    cuts[0] += 1

    def measure() -> None:
        while time.monotonic() < end_at + 1.0:
            most[0] = max(most[0], _memory_bytes(pid))
            time.sleep(0.02)

    wait = _at_once([*(lambda port=port: hoard(port) for port in PORTS), measure])

    def heal() -> None:
        wait()
        assert cuts[0], "a message without an end was cut off nowhere"
        grown = most[0] - before
        assert grown < MEMORY_BYTES_MAX, f"the dispatcher grew by {grown >> 20} MiB for messages without an end"

    return Struck("messages without an end for 5 s", heal=heal, check=_nobody_suspected)


@kind("replay", "F12")
def replay(cluster: Cluster, dice: Random) -> Struck:
    """A runner's bytes are recorded and said again, and its key is used to report what is not its own."""
    role = dice.choice(cluster.runners)
    keys, server_key = _keys(role)
    beat = encode(Heartbeat(incarnation=0, seq=1, held=(), free=1, load_percent=0, disk_free_mib=1_000))
    host, others = cluster.dispatcher.host.address, [w.id for w in cluster.truth.alive() if w.runner != role.name]

    def forge() -> None:
        with contextlib.suppress(OSError), HandmadePeer((host, PORT), server_key, keys, 5) as peer:
            peer.shake_hands()
            # What was recorded of one connection means nothing on another one, nor twice on the same.
            said = peer.message(beat[0], more=True) + peer.message(beat[1])
            peer.socket.sendall(said)
            with HandmadePeer((host, PORT), server_key, keys, 5) as other:
                other.shake_hands().socket.sendall(said)
                time.sleep(0.3)
            for job, attempt in others:
                peer.say(encode(_finished(job, attempt)))
                peer.say(encode(_finished(job, attempt + 1)))
            peer.socket.sendall(said)
            time.sleep(0.5)

    # Who has a runner's key may lie about that runner, and harms nobody else.
    what = f"{role.name}: its key reported {len(others)} attempts of others, and its words were repeated"
    return Struck(what, excused=[role.name], heal=_at_once([forge]))


def _finished(job: str, attempt: int) -> Finished:
    return Finished(
        job=job, attempt=attempt, outcome="passed", reason="", exit_code=0, started_after_ms=0,
        finished_after_ms=1, log_bytes=0, steps=(),
    )  # fmt: skip


# ---- handshakes ------------------------------------------------------------------------------------------------------


@kind("handshake-fails", "F28", on="dispatcher", weight=0.5)
def handshake_fails(cluster: Cluster, dice: Random) -> Struck:
    """A dispatcher that starts anew fails to judge everybody's first handshake: the next one works."""
    role, usual = cluster.dispatcher, cluster.dispatcher.launcher
    role.kill()
    role.launcher = patched("failing_dispatcher.py")
    role.start()
    cluster.wait_ready()
    role.launcher = usual

    def heal() -> None:
        cluster.wait_online()
        role.kill()
        role.start()
        cluster.wait_ready()

    return Struck("the dispatcher failed to judge everybody once", fenced=True, hold_s=3.0, heal=heal)


@kind("database-locked", "F28", on="dispatcher")
def database_locked(cluster: Cluster, dice: Random) -> Struck:
    """Somebody locks the database while a runner shakes hands: it is let in at once, and its words wait."""
    role = cluster.victim(dice)
    with contextlib.closing(sqlite3.connect(database_path(cluster.dispatcher.data, ""), timeout=20)) as database:
        database.execute("BEGIN IMMEDIATE")
        met = role.said().count("connected")
        cluster.proxies[role.name].end_all(End.CUT)
        let_in = until(lambda: role.said().count("connected") > met, 8.0)
        database.rollback()
    assert let_in, f"{role.name} was not let in while the database was locked"
    return Struck(f"{role.name}: shook hands while the database was locked")
