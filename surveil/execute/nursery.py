"""The agent's side of the zygote: asks it for keepers, and starts a new one should it die.

What belongs here: one child process and the socket to it. What does not: what becomes of a keeper afterwards
(`process`).
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute import files
from surveil.execute.attempts import keeper_of
from surveil.execute.keeper.entrusted import NOTHING, Entrusted, hand_over
from surveil.say import Voice

ANSWER_S: Final = 5.0
"""A fork takes a millisecond; a zygote that takes this long is replaced."""
START_S: Final = 30.0
"""A fresh one starts a Python first; on a machine with too much to do that takes a while, and nothing is wrong."""
TRIES: Final = 2
END_S: Final = 5.0
ZYGOTE: Final = "surveil.execute.keeper.zygote"

voice = Voice("execute")


class Nursery:
    """Starts keepers. Its calls block for about a millisecond; one thread at a time may make them."""

    def __init__(self) -> None:
        self._zygote: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start_keeper(self, folder: Path, handed_over: int | None = None) -> int:
        """Start the keeper of the attempt in `folder`, whose order is written; return its pidfd. It reads its secrets
        from `handed_over`, which stays the caller's to close.

        The lock file is locked here and travels with the request: from now on it is locked for as long as a keeper
        lives or may still come to life, and holds the process id of one that ever did. So a zygote that does not answer
        may be killed and another one asked, without that the attempt could begin twice.

        Raises:
            InfrastructureError: no keeper can be started, or the attempt has one already.
        """
        failure = ""
        for _ in range(TRIES):
            try:
                return self._ask(folder, handed_over)
            except OSError as error:
                failure = str(error)
            voice.warning("keepers are started by another process from now on", reason=failure)
            try:
                keeper = self._adopt(folder)
            except OSError as error:
                failure = str(error)
                break
            if keeper is not None:
                return keeper
        raise InfrastructureError(f"no process could be started to run the attempt: {failure}")

    def _adopt(self, folder: Path) -> int | None:
        """Kill the zygote. Return the pidfd of a keeper that it started before, or that of an ended process if the
        keeper has ended since; None if there was none, nor can be any more.

        Raises OSError if there is one that does not come to life; should it ever, it finds no order.
        """
        if self._zygote is None:
            return None
        gone = os.pidfd_open(self._zygote.pid)
        self.close(patience_s=0)
        keeper = keeper_of(folder)
        if keeper is None and (folder / files.LOCK).stat().st_size:
            return gone
        os.close(gone)
        return keeper

    def _ask(self, folder: Path, handed_over: int | None) -> int:
        lock = os.open(folder / files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asked = self._open()
            socket.send_fds(asked, [os.fsencode(folder)], [lock] if handed_over is None else [lock, handed_over])
        except BlockingIOError as error:
            raise InfrastructureError(f"the attempt in {folder} is being run already") from error
        finally:
            os.close(lock)
        answer, descriptors, _, _ = socket.recv_fds(asked, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        asked.settimeout(ANSWER_S)
        if descriptors:
            return descriptors[0]
        raise OSError(answer.decode(errors="replace") or "the process that starts keepers ended")

    def _open(self) -> socket.socket:
        if self._socket is not None and self._zygote is not None and self._zygote.poll() is None:
            return self._socket
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._zygote = subprocess.Popen(
                [sys.executable, "-P", "-m", ZYGOTE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(START_S)
        self._socket = ours
        return ours

    def warm(self) -> None:
        """Start the zygote before it is needed. Raises InfrastructureError."""
        try:
            self._open()
        except OSError as error:
            raise InfrastructureError(f"no process can be started to run attempts: {error}") from error

    def close(self, patience_s: float = END_S) -> None:
        """End the zygote, at last by force; keepers go on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._zygote is not None:
            try:
                self._zygote.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._zygote.kill()
                self._zygote.wait()
            self._zygote = None


def launch(
    nursery: Nursery, folder: Path, order: files.Order, open_secrets: Callable[[], Entrusted] = lambda: NOTHING
) -> int:
    """Write the order and start the keeper, which gets the secrets past the disk; return its pidfd.

    Raises InfrastructureError.
    """
    try:
        with (folder / files.RESERVE).open("wb") as reserve:
            os.posix_fallocate(reserve.fileno(), 0, files.RESERVE_BYTES)
        files.write_order(str(folder), order)
    except OSError as error:
        raise InfrastructureError(f"the runner's disk does not take the order: {error}") from error
    handed_over: int | None = None
    try:
        secrets = open_secrets()
        if secrets._replace(registry=b"") != NOTHING:
            handed_over = _hand_over(secrets)
        return nursery.start_keeper(folder, handed_over)
    except InfrastructureError:
        # Who was asked in vain, by us or by an agent before us, must not find it should he ever go on.
        (folder / files.ORDER).unlink(missing_ok=True)
        raise
    finally:
        if handed_over is not None:
            os.close(handed_over)


def _hand_over(secrets: Entrusted) -> int:
    try:
        return hand_over(secrets)
    except OSError as error:
        raise InfrastructureError(f"the attempt's secrets cannot be handed over: {error}") from error
