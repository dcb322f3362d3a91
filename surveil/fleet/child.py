"""One process that was started by this one: its command, its environment, its lines and its end.

What belongs here: starting, listening, ending. What does not: whether it should be there (`supervise`, `reconcile`).

A child has a session of its own, so Ctrl-C in the terminal reaches it only by way of its parent, and a whole group can
be ended at once. Secrets travel in its environment, which only this user can read, never in its arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

import surveil
from surveil.errors import InfrastructureError
from surveil.fleet import parent

JOIN_VARIABLE: Final = "SURVEIL_JOIN"
ADDRESS_VARIABLE: Final = "SURVEIL_DISPATCHER"
LINE_BYTES_MAX: Final = 4096
"""A longer line is cut into several; nobody reads further in a sentence."""
LAST_LINES: Final = 20
KILL_WAIT_S: Final = 10.0
"""A process that SIGKILL does not end so soon hangs in the kernel, and nobody can wait for that."""
SIGNAL_GAP_S: Final = 0.3
"""Two equal signals that come too close are one to whoever gets them."""
DRAIN_S: Final = 1.0
"""How long the output of a dead child is read on; a grandchild that holds the pipe open must not keep us."""

# What a child needs of our environment: to find programs, files and names, and to reach a proxy or an agent of ssh.
# SURVEIL_ settings were read by this process already and travel as flags.
_PASSED_ON: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE"),
        *("SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_COLOR"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONWARNINGS", "VIRTUAL_ENV"),
        *("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"),
    }
)
_PASSED_ON_PREFIXES: Final = ("LC_", "XDG_", "GIT_SSL_", "SURVEIL_TEST_")


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: what it needs of ours, and `extra`."""
    kept = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    here = str(Path(surveil.__file__).parent.parent)
    if sys.path[0] == here and not sys.flags.safe_path:
        # We were found in the current folder, so nothing else may know where we are.
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH"))))
    # The current folder may be a repository under test: its files must not be taken for modules. And sentences must
    # come out at once, also where nobody looks at them through a terminal.
    return {**kept, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", **extra}


def surveil_command(*arguments: str) -> tuple[str, ...]:
    """The command line of another process of this very surveil."""
    return (sys.executable, "-m", "surveil", *arguments)


class Child:
    """A started process. `last_lines` are the newest lines that it said on stderr (and stdout)."""

    def __init__(self, process: asyncio.subprocess.Process, output: IO[bytes], on_line: Callable[[str], None]) -> None:
        self._process = process
        self._output = output
        self._on_line = on_line
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._reading = asyncio.create_task(self._read_lines(), name=f"lines of process {process.pid}")

    @classmethod
    async def start(
        cls, command: Sequence[str], *, extra: Mapping[str, str], cwd: Path | None, on_line: Callable[[str], None]
    ) -> Self:
        """Start `command`, whose first word is an absolute path. What it says is given to `on_line`, a line at a time.

        Raises:
            InfrastructureError: the system starts no more processes, or the program is not there.
        """
        wrapper = (sys.executable, "-I", "-S", str(parent.__file__), str(os.getpid()))
        # A pipe of our own: asyncio would wait for the end of its pipes, which a grandchild may hold, before it tells
        # us of the end of the process.
        reading, writing = os.pipe()
        output = open(reading, "rb", buffering=0)  # noqa: ASYNC230, PTH123, SIM115  # A descriptor.
        try:
            process = await asyncio.create_subprocess_exec(
                *wrapper,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.STDOUT,
                env=environment(extra),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            output.close()
            raise InfrastructureError(f"This machine starts no more processes: {error.strerror}.") from error
        finally:
            os.close(writing)
        return cls(process, output, on_line)

    @property
    def pid(self) -> int:
        """The process id, which is that of its group and session as well."""
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, or the negative number of the signal that ended it, once all that it said was passed on."""
        code = await self._process.wait()
        # Its own children may hold the pipe open for as long as they like; they are not waited for.
        await asyncio.wait([self._reading], timeout=DRAIN_S)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, *, asking: Sequence[signal.Signals], grace_ms: int) -> int:
        """Ask it to end with these signals, and after `grace_ms` make its whole group end; returns as `wait` does.

        Raises:
            InfrastructureError: it does not end at all.
        """
        ending = asyncio.ensure_future(self.wait())
        try:
            for left, number in zip(range(len(asking) - 1, -1, -1), asking, strict=True):
                self.send(number)
                await asyncio.wait([ending], timeout=SIGNAL_GAP_S if left > 0 else grace_ms / 1000)
            if not ending.done():
                self.kill()
            return await asyncio.wait_for(ending, KILL_WAIT_S)
        except TimeoutError:
            raise InfrastructureError(
                f"Process {self.pid} does not end, not even by SIGKILL; look for its cause with `ps`."
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End what is left of its group at once."""
        # A number whose group has ended could belong to somebody else one day; the kernel gives numbers out in turn, so
        # not in the instant after the end, in which this is called.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _read_lines(self) -> None:
        stream = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), self._output
        )
        try:
            while line := await _next_line(stream):
                self._say(line)
        finally:
            transport.close()

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self.last_lines.append(text)
            self._on_line(text)


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or the next piece of one that is too long; nothing at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(min(error.consumed, LINE_BYTES_MAX))
    except asyncio.IncompleteReadError as error:
        return error.partial
