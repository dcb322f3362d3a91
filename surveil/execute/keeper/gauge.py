"""How much the job in a container has written: measured beside the steps, the more often the nearer its limit is.

What belongs here: one measurement, when the next is due, and what is said of the limit. What does not: ending the
attempt (`keeper`), and which folders and container there are (`containers`). Imports only what a keeper may import.

Neither counting files nor asking an engine may hold a keeper up, so a process of its own does both, with the lowest
priority that there is, and ends with the keeper.
"""

# ruff: noqa: PLC0415  # A keeper does without what only its measuring child needs.

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from typing import Final, NamedTuple

from surveil.execute.files import DiskOrder
from surveil.execute.keeper import offspring
from surveil.execute.keeper.confines import size_words
from surveil.execute.keeper.endings import End

SOONEST_MS: Final = 200
LATEST_MS: Final = 10_000
FASTEST_BYTES_PER_MS: Final = 1 << 20
"""A GiB in a second: what writes no faster is seen before it is twice over what was left."""
IDLE_PER_BUSY: Final = 9
"""Counting a hundred thousand files takes half a second, so it rests nine times as long as it took."""
ANSWER_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 4 << 20
LINKS_MAX: Final = 1_000_000
"""So many files with several names are counted once each; of more than these, each name counts."""
LOWEST: Final = 19
_BLOCK_BYTES: Final = 512
"""What `stat` counts in, whatever the file system."""
_UNKEPT: Final = "the job's limit of disk cannot be kept"
_REPORT: Final = 3
_DESCRIPTORS_MAX: Final = 1 << 20
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


class Measured(NamedTuple):
    """What was found: bytes in the folders, bytes in the container's own layer, and how many folders are shut to us. A
    layer that nobody could measure has `trouble` that says why, in a clause.
    """

    folders: int
    layer: int
    shut: int
    trouble: str


class Gauge:
    """Knows what the job has written since `begin`, and looks again while `take` is called, waking `poll` at news. What
    it cannot look into is said once, to `remark`.
    """

    def __init__(
        self,
        order: DiskOrder,
        poll: select.poll,
        remark: Callable[[str], None],
        start: Callable[[DiskOrder], tuple[int, int]] | None = None,
    ) -> None:
        self._order = order
        self._poll = poll
        self._remark = remark
        self._start = start or start_measuring
        self._first: Measured | None = None
        self._last: Measured | None = None
        self._child: tuple[int, int] | None = None
        """The process that measures, and where its word is read."""
        self._began_at = 0
        self._due_at: int | None = None

    @property
    def busy(self) -> bool:
        """Whether it measures just now."""
        return self._child is not None

    def begin(self, now: int) -> None:
        """Measure now; what is measured first was there before. Raises End where that cannot be."""
        if self._child is not None:
            return
        self._began_at, self._due_at = now, None
        try:
            self._child = self._start(self._order)
        except OSError as error:
            if self._first is None:
                raise End("errored", f"{_UNKEPT}: {error.strerror}") from error
            self._due_at = now + LATEST_MS
        else:
            self._poll.register(self._child[1], select.POLLIN)

    def take(self, now: int) -> None:
        """Take in what was measured, and measure again when it is time. Raises End where the limit cannot be kept or is
        gone over.
        """
        if self._child is not None and select.select([self._child[1]], [], [], 0)[0]:
            found = _read(self._child[1])
            self._let_go()
            self._due_at = now + pause_ms(self._order.bytes_max - self._heed(found), now - self._began_at)
            if self.written > self._order.bytes_max:
                raise End("failed", over_words(self.written, self._order.bytes_max), final=True)
        if self._due_at is not None and now >= self._due_at:
            self.begin(now)

    def _heed(self, found: Measured | None) -> int:
        """How much is written by now, by what was found."""
        trouble = "nobody could count its files" if found is None else found.trouble
        if self._first is None and (found is None or trouble):
            raise End("errored", f"{_UNKEPT}: {trouble}")
        if found is not None:
            # An engine that is started anew is asked again; meanwhile its last word holds.
            before = self._last or found
            self._last = found._replace(layer=before.layer) if found.trouble else found
            self._first = self._first or self._last
            if self._last.shut > before.shut == self._first.shut:
                self._remark("what is in folders that are shut to the runner's user does not count for `disk`")
        return self.written

    @property
    def written(self) -> int:
        """How much more there is than in the beginning, as far as is known."""
        if self._first is None or self._last is None:
            return 0
        return self._last.folders - self._first.folders + self._last.layer - self._first.layer

    def due_at(self) -> int | None:
        """When `take` is to be called at the latest."""
        return self._due_at

    def close(self) -> None:
        """Measure no more."""
        self._due_at = None
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child[0], signal.SIGKILL)
            self._let_go()

    def _let_go(self) -> None:
        assert self._child is not None, "it measures"
        pid, told = self._child
        self._child = None
        self._poll.unregister(told)
        os.close(told)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def pause_ms(left_bytes: int, took_ms: int) -> int:
    """How long until the next look, when so much is left and the last look took so long."""
    soon = min(max(left_bytes // FASTEST_BYTES_PER_MS, SOONEST_MS), LATEST_MS)
    return max(soon, took_ms * IDLE_PER_BUSY)


def over_words(written: int, limit: int) -> str:
    """That a job wrote more than it may, and what to do about it."""
    unit, name = (_GIB, "GiB") if limit >= _GIB else (_MIB, "MiB")
    about = -(-written * 100 // unit) / 100  # Rounded up: what is over the limit never looks as if it were not.
    return (
        f"the job went over its disk limit of {size_words(limit)}: it wrote {about:.2f} {name}; write less, or raise "
        "`disk` of its `image`"
    )


# ---- the process that measures ----


def start_measuring(order: DiskOrder) -> tuple[int, int]:
    """Start it; its process id, and where its word is read. Raises OSError."""
    told, report = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _alone(parent, report)
            os.write(_REPORT, "{} {} {} {}".format(*measure(order)).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(report)
    return pid, told


def _alone(parent: int, report: int) -> None:
    """Hold nothing of the keeper's, whose end others notice by what it lets go, and end with it."""
    offspring.end_with(parent)
    offspring.reset_signals()
    os.dup2(report, _REPORT)
    os.closerange(_REPORT + 1, _DESCRIPTORS_MAX)
    os.nice(LOWEST)


def _read(told: int) -> Measured | None:
    """What was told; None where the process ended without a word."""
    words = os.read(told, select.PIPE_BUF).decode(errors="replace").split(" ", 3)
    return (
        Measured(int(words[0]), int(words[1]), int(words[2]), words[3]) if len(words) == len(Measured._fields) else None
    )


def measure(order: DiskOrder) -> Measured:
    """Count the files, and ask the engine. Blocks."""
    found, shut = count(order.folders)
    try:
        return Measured(found, layer_bytes(order.engine, order.container), shut, "")
    except (OSError, ValueError) as error:
        return Measured(found, 0, shut, f"the container engine does not say what its container wrote: {error}")


def count(folders: list[str]) -> tuple[int, int]:
    """How many bytes of their disk the files below these folders take, and how many folders cannot be looked into."""
    total = shut = 0
    several: set[tuple[int, int]] = set()
    waiting = [*folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif found.st_nlink > 1 and len(several) < LINKS_MAX:
                            if (found.st_dev, found.st_ino) in several:
                                continue
                            several.add((found.st_dev, found.st_ino))
                        total += found.st_blocks * _BLOCK_BYTES
        except FileNotFoundError:
            continue
        except OSError:
            shut += 1
    return total, shut


def layer_bytes(engine: str, container: str) -> int:
    """What a container wrote into its own layer, by its engine at this socket. Raises OSError and ValueError."""
    import json
    import socket

    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(ANSWER_S)
        asked.connect(engine)
        # By the first version of HTTP: its answers come in one piece, and end with the connection.
        asked.sendall(f"GET /containers/{container}/json?size=true HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        answer = b""
        while len(answer) <= ANSWER_BYTES_MAX and (data := asked.recv(1 << 16)):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if " 200 " not in status:
        raise ValueError(f"it answers {status!r}")
    told = json.loads(body)
    size = told.get("SizeRw", 0) if isinstance(told, dict) else None  # Podman leaves out what is nothing.
    if not isinstance(size, int):
        raise ValueError(f"it answers {size!r}")
    return size
