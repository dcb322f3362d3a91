"""The zygote: one small process that forks a keeper whenever the agent asks, as an agent with threads and sockets
cannot.

What belongs here: taking requests, forking, and what a keeper takes over from its agent. What does not: what a keeper
does (`keeper`), and the asking side (`nursery`). Imports only what a keeper may import. It ends when its agent does;
its keepers go on.

A request is the path of an attempt's folder, with the locked lock file as ancillary data, and a file in memory beside
it where the attempt has secrets; the answer is empty, with a pidfd of the keeper, or a sentence.
"""

# ruff: noqa: PTH118, PTH123  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import Final

from surveil.execute import files
from surveil.execute.keeper import entrusted, offspring
from surveil.execute.keeper.keeper import Keeper

REQUEST_BYTES_MAX: Final = 8192
GIVEN_MAX: Final = 2
"""The lock, and what holds the attempt's secrets."""


def serve(asked: socket.socket) -> None:
    """Fork a keeper for each request, until the agent is gone."""
    gc.freeze()  # What is shared with keepers stays shared, as no collection ever touches it.
    while True:
        request, given, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, GIVEN_MAX, socket.MSG_CMSG_CLOEXEC)
        if not request:
            return
        offspring.reap()  # Only now: a keeper that has ended keeps its process id until its pidfd was taken.
        try:
            pid = os.fork()
        except OSError as error:
            asked.send(f"the system starts no more processes: {error.strerror}".encode())
            _close(given)
            continue
        if pid == 0:
            _child(asked, request.decode(errors="surrogateescape"), *given)
        _answer(asked, pid)
        _close(given)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _answer(asked: socket.socket, pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    socket.send_fds(asked, [b"\0"], [pidfd])
    os.close(pidfd)


def _child(asked: socket.socket, folder: str, lock: int, handed_over: int | None = None) -> None:
    """Be a keeper, and never come back into the zygote's loop."""
    status = 1
    try:
        asked.close()
        _keep(folder, lock, handed_over)
        status = 0
    except BaseException:  # noqa: BLE001  # The last frame of a process: it is written down, then all is over.
        with open(os.path.join(folder, files.TROUBLE), "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(status)


def _keep(folder: str, lock: int, handed_over: int | None) -> None:
    """Be the keeper of the attempt in `folder`. The lock file is locked already, and stays so while we live.
    `handed_over` is where secrets are read from, if there are any.
    """
    offspring.become_keeper()
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    trusted_with = entrusted.NOTHING if handed_over is None else entrusted.take(handed_over)
    Keeper(folder, files.read_order(folder), trusted_with).run()


def main() -> None:
    """Serve the agent whose end of a socket pair was given by number."""
    offspring.be_private()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the agent to judge.
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        asked.set_inheritable(False)
        serve(asked)


if __name__ == "__main__":
    main()
