"""The truth: what the processes of each attempt really did, as they themselves said over a line that no fault touches.

What belongs here: listening and remembering. What does not: judging (invariants).

A line that closes is a process that ended, whether it could still say so or not; so a work's life is known from its
first word to the moment at which the kernel closed its line.
"""

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

ACCEPT_MAX: Final = 256


Span: TypeAlias = tuple[int, int]
"""From one instant of `boot_ms` to another."""


def boot_ms() -> int:
    """The clock on which the truth is told: the same for every host, and nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(kw_only=True)
class Work:
    """One process of one step of one attempt. Times are of `boot_ms`; `ended_at` is None while it lives."""

    build: int
    job: str
    attempt: int
    step: int
    runner: str
    nonce: str
    plan: dict[str, Any]
    began_at: int
    ended_at: int | None = None
    told_end: bool = False
    """Whether it came to its own end; whoever was killed did not."""
    exit_code: int | None = None
    wrote: int = 0
    written: list[tuple[int, int]] = field(default_factory=list)
    """When it had written how many bytes."""
    sha256: str = ""

    @property
    def id(self) -> tuple[str, int]:
        """Its job and attempt, as records name them."""
        return (f"{self.build}/{self.job}", self.attempt)


class Truth:
    """Listens at an address between `with` and its end."""

    def __init__(self, host: str) -> None:
        self._server = socket.create_server((host, 0), backlog=ACCEPT_MAX)
        self._server.setblocking(False)
        self.address = f"{host}:{self._server.getsockname()[1]}"
        self._works: list[Work] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="truth", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def works(self) -> list[Work]:
        """Everything that ever began, in that order."""
        with self._changed:
            return list(self._works)

    def alive(self, runner: str | None = None) -> list[Work]:
        """What runs now, on all runners or on one."""
        return [work for work in self.works() if work.ended_at is None and runner in {None, work.runner}]

    def wait(self, condition: Callable[[list[Work]], bool], patience_s: float) -> bool:
        """Whether the works come to meet a condition in time."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._works), patience_s)

    def _listen(self) -> None:
        lines: dict[socket.socket, _Line] = {}
        with selectors.DefaultSelector() as selector, self._server:
            selector.register(self._server, selectors.EVENT_READ)
            while not self._stopping.is_set():
                for key, _ in selector.select(0.2):
                    if key.fileobj is self._server:
                        each, _ = self._server.accept()
                        each.setblocking(False)
                        lines[each] = _Line(each)
                        selector.register(each, selectors.EVENT_READ)
                        continue
                    assert isinstance(key.fileobj, socket.socket)
                    if not self._hear(lines[key.fileobj]):
                        selector.unregister(key.fileobj)
                        lines.pop(key.fileobj).socket.close()
            for each in lines:
                each.close()

    def _hear(self, line: "_Line") -> bool:
        try:
            data = line.socket.recv(65536)
        except ConnectionError:
            data = b""
        with self._changed:
            self._changed.notify_all()
            if not data:
                if line.work is not None:
                    line.work.ended_at = boot_ms()
                return False
            *said, line.ahead = (line.ahead + data).split(b"\n")
            for each in said:
                self._note(line, json.loads(each))
        with contextlib.suppress(OSError):  # It died before it heard the answer; its line says so next.
            line.socket.sendall(b"known\n" * len(said))
        return True

    def _note(self, line: "_Line", said: dict[str, Any]) -> None:
        what, at = said.pop("what"), said.pop("at")
        if what == "begin":
            line.work = Work(step=said["plan"]["step"], began_at=at, **said)
            self._works.append(line.work)
        elif what == "wrote" and line.work is not None:
            line.work.wrote = said["wrote"]
            line.work.written.append((at, said["wrote"]))
        elif what == "end" and line.work is not None:
            line.work.told_end = True
            line.work.exit_code, line.work.wrote, line.work.sha256 = said["exit"], said["wrote"], said["sha256"]


@dataclass
class _Line:
    socket: socket.socket
    ahead: bytes = b""
    work: Work | None = field(default=None)
