"""The first process of a host of the campaign: it starts what it is told to, and its death is the host's.

What belongs here: obeying orders, one JSON object on each line of its standard input, and telling what became of them
on its standard output. What does not: which processes there are (cluster). It is run alone, with nothing but the
standard library, as process 1 of a process namespace: when it is killed, the kernel kills everything in it at once.
"""

import json
import os
import select
import signal
import socket
import sys
from typing import Any


def main() -> None:
    """Obey until the standard input ends."""
    wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    socket.sethostname(sys.argv[1])
    known: set[int] = set()
    ahead = b""
    _say({"up": os.getpid()})
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _reap(known)
        if 0 in ready:
            more = os.read(0, 65536)
            if not more:
                return
            *lines, ahead = (ahead + more).split(b"\n")
            for line in lines:
                pid = _start(**json.loads(line))
                known.add(pid)
                _say({"started": pid})


def _reap(known: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in known:
            known.discard(pid)
            _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _start(argv: list[str], env: dict[str, str], cwd: str, log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(cwd)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for descriptor, at in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, at)
        os.closerange(3, 1024)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"{argv[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(127)


def _say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
