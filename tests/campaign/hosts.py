"""Hosts: machines of the campaign, each of its own process, network and mount namespace.

What belongs here: booting them, pulling their plugs, freezing them, their links. What does not: what runs on them
(cluster), and the network between them and the dispatcher (proxy).

A host has two links. One leads to the others and may be cut; the other one leads to the truth, and no fault touches
it. Its disk is a folder that outlives it, and each boot has a boot id of its own, as each start of a machine has.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from surveil.execute.logs.spool import SpoolReader

WAYS: Final = "ways"
TRUTHS: Final = "truths"
DRIVER_ON_WAYS: Final = "10.77.0.254"
DRIVER_ON_TRUTHS: Final = "10.78.0.254"
ORDER_S: Final = 60.0
INIT: Final = Path(__file__).with_name("init.py")


def open_networks() -> None:
    """The two networks that hosts are linked to; the campaign itself has an address on both."""
    lines = ["link set lo up"]
    for name, address in ((WAYS, f"{DRIVER_ON_WAYS}/16"), (TRUTHS, f"{DRIVER_ON_TRUTHS}/16")):
        # A bridge without an address of its own takes another one whenever a link comes or goes, and until its
        # neighbours have noticed nothing reaches it.
        lines += [
            f"link add {name} address 02:00:00:00:00:{address.split('.')[1]} type bridge",
            f"addr add {address} dev {name}",
            f"link set {name} up",
        ]
    ip(lines)


def ip(lines: Sequence[str], within: int | None = None) -> None:
    """Change the network, of the host whose first process is `within` if that is given."""
    where = [] if within is None else ["nsenter", "--target", str(within), "--net", "--"]
    subprocess.run(
        [*where, "ip", "-batch", "-"],
        input="\n".join(lines),
        text=True,
        check=True,
        capture_output=True,
        timeout=ORDER_S,
    )


@dataclass
class Ended:
    """A process that a host started, once it has ended."""

    code: int | None = None


class Host:
    """One machine. `number` makes its addresses; `folder` holds its disk."""

    def __init__(self, name: str, number: int, folder: Path, hidden: Sequence[Path] = ()) -> None:
        self.name = name
        self.number = number
        self.folder = folder
        self.address = f"10.77.0.{number}"
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True)
        self.hidden = tuple(hidden)
        """Folders that it does not see, as they are another machine's."""
        self.spooled: dict[str, int] = {}
        """How much of the log of each attempt its disk held when its plug was pulled, by the attempt's folder."""
        self.init_pid: int | None = None
        self._machine: subprocess.Popen[bytes] | None = None
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._ended: dict[int, Ended] = {}

    # ---- power -----------------------------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether it has power."""
        return self.init_pid is not None

    def boot(self) -> None:
        """Give it power."""
        assert not self.is_up, f"{self.name} is up"
        apart = ["unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child", "--mount-proc", "--"]
        self._machine = subprocess.Popen(
            [*apart, sys.executable, "-ISs", str(INIT), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # `unshare` complains there of its signals when its child was killed, which is what hosts are for.
            stderr=subprocess.DEVNULL,
        )
        self._started, self._ended = queue.SimpleQueue(), {}
        listener = threading.Thread(target=self._listen, args=(self._machine, self._started, self._ended), daemon=True)
        listener.start()
        self._started.get(timeout=ORDER_S)
        self.init_pid = int(Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text())
        self._link()
        self._furnish()

    def pull_plug(self, *, silent: bool = True) -> None:
        """Everything on it is gone at once. Silent, as when the power fails: nobody is told that connections ended;
        otherwise the kernel still closes them.
        """
        assert self.init_pid is not None, f"{self.name} is down"
        assert self._machine is not None
        if silent:
            ip([f"link set w{self.number} down"])
        os.kill(self.init_pid, signal.SIGKILL)
        self._machine.wait(ORDER_S)
        self._close()
        for path in self.disk.glob("*/attempts/*/spool"):
            with contextlib.closing(SpoolReader(str(path))) as spool:
                self.spooled[path.parent.name] = spool.look()

    def close(self) -> None:
        """Take its power away at the campaign's end, whatever state it is in."""
        if self.is_up:
            self.thaw()
            self.pull_plug()

    def _close(self) -> None:
        assert self._machine is not None
        for pipe in (self._machine.stdin, self._machine.stdout):
            if pipe is not None:
                pipe.close()
        # The kernel takes the links of a namespace away some time after its last process.
        for link in (f"w{self.number}", f"t{self.number}"):
            subprocess.run(["ip", "link", "del", link], capture_output=True, check=False, timeout=ORDER_S)
        self._machine = self.init_pid = None

    # ---- processes -------------------------------------------------------------------------------------------------

    def run(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> tuple[int, Ended]:
        """Start a process; its pid as the campaign sees it, and what will hold its exit code."""
        assert self._machine is not None, f"{self.name} is down"
        assert self._machine.stdin is not None
        order = {"argv": list(argv), "env": dict(env), "cwd": str(self.disk), "log": str(log)}
        self._machine.stdin.write(json.dumps(order).encode() + b"\n")
        self._machine.stdin.flush()
        inner = self._started.get(timeout=ORDER_S)
        return self._outer(inner), self._ended[inner]

    def processes(self) -> list[int]:
        """Every process on it but the first, as the campaign numbers them; zombies are none."""
        return [] if self.init_pid is None else [pid for pid in descendants(self.init_pid) if not is_zombie(pid)]

    def freeze(self) -> None:
        """Stop all of it at once, as a suspended machine stops."""
        assert self.init_pid is not None, f"{self.name} is down"
        stopped: set[int] = set()
        while fresh := [pid for pid in (self.init_pid, *self.processes()) if pid not in stopped]:
            for pid in fresh:
                send(pid, signal.SIGSTOP)
            stopped.update(fresh)

    def thaw(self) -> None:
        """Let all of it go on, after `freeze` or what stopped parts of it."""
        if self.init_pid is not None:
            for pid in (*self.processes(), self.init_pid):
                send(pid, signal.SIGCONT)

    # ---- inside ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _listen(machine: "subprocess.Popen[bytes]", started: "queue.SimpleQueue[int]", ended: dict[int, Ended]) -> None:
        assert machine.stdout is not None
        for line in machine.stdout:
            said: dict[str, Any] = json.loads(line)
            if "up" in said:
                started.put(said["up"])
            elif "started" in said:
                ended[said["started"]] = Ended()
                started.put(said["started"])
            else:
                ended[said["ended"]].code = said["code"]

    def _outer(self, inner: int) -> int:
        assert self.init_pid is not None
        for pid in descendants(self.init_pid):
            if _inner_pid(pid) == inner:
                return pid
        return 0  # It has ended already.

    def _link(self) -> None:
        assert self.init_pid is not None
        outside, inside = [], ["link set lo up"]
        for mark, bridge, net in (("w", WAYS, "10.77"), ("t", TRUTHS, "10.78")):
            link, mac = f"{mark}{self.number}", f"02:00:00:{net.split('.')[1]}:00:{self.number:02x}"
            outside += [
                # The same address at each boot, as a machine has: its neighbours remember it for a while.
                f"link add {link} type veth peer name {bridge} address {mac} netns {self.init_pid}",
                f"link set {link} master {bridge} up",
            ]
            inside += [f"addr add {net}.0.{self.number}/16 dev {bridge}", f"link set {bridge} up"]
        ip(outside)
        ip(inside, self.init_pid)

    def _furnish(self) -> None:
        assert self.init_pid is not None
        boot_id = self.folder / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        self.mount("--bind", str(boot_id), "/proc/sys/kernel/random/boot_id")
        for folder in self.hidden:
            self.mount("-t", "tmpfs", "none", str(folder))

    def mount(self, *words: str) -> None:
        """Mount something as this host alone sees it, until it dies."""
        self._within("mount", *words)

    def unmount(self, at: str) -> None:
        """Undo that, even while it is used."""
        self._within("umount", "--lazy", at)

    def _within(self, *words: str) -> None:
        where = ["nsenter", "--target", str(self.init_pid), "--mount", "--pid", "--"]
        subprocess.run([*where, *words], check=True, capture_output=True, timeout=ORDER_S)


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill(pid: int) -> None:
    """End a process at once, and wait until it has ended."""
    send(pid, signal.SIGKILL)
    while not is_zombie(pid):
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    """All that a process started, directly or not."""
    children: dict[int, list[int]] = {}
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(each.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found[1:]


def is_zombie(pid: int) -> bool:
    """Whether a process has ended, or is about to."""
    return _state(pid) in {"Z", "X", ""}


def is_stopped(pid: int) -> bool:
    """Whether a process stands still."""
    return _state(pid) in {"T", "t"}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _inner_pid(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), None)
