"""The agent's lookout: what keepers do is noticed here, by their bell, their folders and their ends.

What belongs here: the bell, the keepers' pidfds, and telling what is new. What does not: what is done about it
(`process`), and what the folders hold (`attempts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from surveil.core.run_events import Ended, LogGrew, StepsChanged
from surveil.core.run_verdict import collects
from surveil.execute import files
from surveil.execute.attempts import Folder, ended, steps
from surveil.execute.collect.collecting import Work, covering
from surveil.execute.contract import Happening, Tell
from surveil.execute.keeper.entrusted import Entrusted
from surveil.mirror.command import Halt
from surveil.protocol import Assign, Outcome

BELL_BYTES: Final = 64 * 1024
OpenEnvelope: TypeAlias = Callable[[Assign], Entrusted]


class Watched:
    """What an agent knows of one attempt beyond its folder."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.control: int | None = None
        self.pidfd: int | None = None
        self.gone = asyncio.Event()
        """Nothing of the attempt runs: no preparation, no keeper, no process, no collecting."""
        self.collecting = self.collected = False
        self.unwanted = threading.Event()
        """Nobody wants any more what is collected of it."""
        self.log_bytes = 0
        self.ended = False
        self.final: Ended | None = None
        """The keeper's last word, once it has said it."""
        self.doomed = False
        self.status_seen: tuple[int, int] | None = None

    def open_control(self) -> None:
        """Open the pipe to the keeper. Raises OSError."""
        self.control = os.open(self.folder.path / files.CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def waits_to_be_collected(self) -> bool:
        """Whether it has ended and its files are still to be kept."""
        final = self.final
        return final is not None and not self.collected and collects(self.folder.assign.spec, final.outcome)

    def work(self, outcome: Outcome, closing: threading.Event, open_envelope: OpenEnvelope) -> Work:
        """Its work, wanted until somebody says otherwise or all are `closing`."""
        assign = self.folder.assign
        return Work(
            assign=assign,
            outcome=outcome,
            workspace=self.folder.workspace,
            since_ns=self.folder.began_ns(),
            unwanted=lambda: self.unwanted.is_set() or closing.is_set(),
            cover=covering(lambda: open_envelope(assign)) if assign.envelope else str,
        )

    def stopped(self, halt: Halt) -> Callable[[], bool]:
        """Whether there is no need to prepare it any more."""
        return lambda: halt.rung or self.unwanted.is_set()

    def kill_keeper(self) -> None:
        """Kill the keeper, if there is one; its end is then noticed as any other."""
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def say(self, line: str) -> None:
        """Say something to the keeper.

        One that left a thousand lines unread does not hear this one either; the mind kills it when it is late.
        """
        if self.control is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self.control, f"{line}\n".encode())


class Lookout:
    """Watches over the keepers of attempts, in the loop's thread. The bell is a named pipe at `bell`."""

    def __init__(self, bell: Path, tell: Tell, when_keeper_ended: Callable[[Watched], None]) -> None:
        self._path = bell
        self._tell = tell
        self._when_keeper_ended = when_keeper_ended
        self._watched: dict[bytes, Watched] = {}
        """By the names of their folders, which is what keepers call when they ring."""
        self._bell: int | None = None
        self._rest = b""

    @property
    def empty(self) -> bool:
        """Whether no attempt is left, not even one that was forgotten and is being deleted."""
        return not self._watched

    def names(self) -> set[str]:
        """What the folders of all attempts are called; may be asked by any thread."""
        return {os.fsdecode(name) for name in [*self._watched]}

    def open(self) -> None:
        """Hang up the bell. Raises OSError."""
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        # Opened for writing as well: otherwise it would be at its end whenever no keeper is alive.
        self._bell = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._bell, self._rung)

    def close(self) -> None:
        """Let go of all keepers, who go on."""
        for watched in self._watched.values():
            self._let_go(watched)
        self._watched.clear()
        if self._bell is not None:
            asyncio.get_running_loop().remove_reader(self._bell)
            os.close(self._bell)
            self._bell = None

    def add(self, folder: Folder) -> Watched:
        """Know of an attempt of which nothing runs yet."""
        watched = Watched(folder)
        watched.gone.set()
        self._watched[os.fsencode(folder.path.name)] = watched
        return watched

    def drop(self, watched: Watched) -> None:
        """Know of it no more."""
        self._let_go(watched)
        self._watched.pop(os.fsencode(watched.folder.path.name), None)

    def watch(self, watched: Watched, pidfd: int) -> None:
        """An attempt has a keeper."""
        watched.pidfd = pidfd
        watched.gone.clear()
        asyncio.get_running_loop().add_reader(pidfd, self._keeper_ended, watched)

    def look(self, watched: Watched) -> None:
        """Tell what is new in an attempt's folder."""
        if watched.ended:
            return
        folder = watched.folder
        status = _changed_status(watched)
        log_bytes = folder.log_bytes()
        if log_bytes > watched.log_bytes:
            watched.log_bytes = log_bytes
            self._tell(LogGrew(id=folder.id, log_bytes=log_bytes))
        if status is None:
            return
        final = ended(folder.id, status)
        if final is not None:
            watched.ended, watched.final = True, final
            self._tell(final)
        else:
            self._tell(StepsChanged(id=folder.id, steps=steps(status)))

    def tell_steps(self, watched: Watched) -> None:
        """Tell how the steps stand of an attempt whose keeper is no more."""
        if status := watched.folder.status():
            self._tell(StepsChanged(id=watched.folder.id, steps=steps(status)))

    def _rung(self) -> None:
        """Some keepers have news."""
        assert self._bell is not None, "only an open bell rings"
        with contextlib.suppress(BlockingIOError):
            *names, self._rest = (self._rest + os.read(self._bell, BELL_BYTES)).split(b"\n")
            for name in dict.fromkeys(names):
                if watched := self._watched.get(name):
                    self.look(watched)

    def _keeper_ended(self, watched: Watched) -> None:
        self._unwatch(watched)
        watched.status_seen = None
        self.look(watched)
        self._when_keeper_ended(watched)

    def _unwatch(self, watched: Watched) -> None:
        if watched.pidfd is not None:
            asyncio.get_running_loop().remove_reader(watched.pidfd)
            os.close(watched.pidfd)
            watched.pidfd = None

    def _let_go(self, watched: Watched) -> None:
        self._unwatch(watched)
        if watched.control is not None:
            os.close(watched.control)
            watched.control = None
        watched.folder.close()


def _changed_status(watched: Watched) -> files.Status | None:
    try:
        found = (watched.folder.path / files.STATUS).stat()
    except FileNotFoundError:
        return None
    seen = (found.st_ino, found.st_mtime_ns)
    if seen == watched.status_seen:
        return None
    watched.status_seen = seen
    return watched.folder.status()


def from_threads(tell: Tell) -> Tell:
    """A way for threads to tell something in the present loop."""
    loop = asyncio.get_running_loop()

    def tell_soon(happening: Happening) -> None:
        loop.call_soon_threadsafe(tell, happening)

    return tell_soon
