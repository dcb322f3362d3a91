"""Real processes of surveil for tests: started apart from the user's own settings, listened to, and ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from unittest import mock

from surveil.cli.failing import run_to_exit_code
from surveil.cli.grammar import root
from tests.net.stage import free_ports

PATIENCE_S = 60
"""How long a test waits for what should happen at once; generous, because processors may be shared."""


def typed(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command in this folder to its end, and in this process: tests look again and again, and a Python that
    starts for each look takes more of the processors than all that is looked at.

    For commands that ask or tell a dispatcher; what starts processes itself needs one of its own. None of them stands
    beside a browser, whose loop runs in this thread.
    """
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        tempfile.TemporaryFile("w+", encoding="utf-8") as told,
        Path(os.devnull).open(encoding="utf-8") as nothing,
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "stdin", nothing),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(told),
    ):
        code = run_to_exit_code(root, words)
        for stream in (said, told):
            stream.flush()
            stream.seek(0)
        return subprocess.CompletedProcess(words, code, said.read(), told.read())


class Place:
    """A folder for one test, and commands of surveil that know nothing outside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        # Nobody looks at the pages of most tests, and each would start a process for them.
        self.settings: dict[str, str] = {"SURVEIL_HTTP": "off"}
        """What all commands find in their environment as well."""
        folder.joinpath("home").mkdir()

    def environment(self) -> dict[str, str]:
        """What the commands see: nobody's settings, and a home of their own."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        home = str(self.folder / "home")
        return {**kept, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "NO_COLOR": "1", **self.settings}

    def run(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """A command to its end, with `more` in its environment."""
        return subprocess.run(
            [sys.executable, "-m", "surveil", *words],
            cwd=self.folder,
            env={**self.environment(), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )

    def typed(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """What `run` gives, of a command that is run by this process; see `typed`."""
        return typed(words, self.folder, {**self.environment(), **more})

    def ask(self, *words: str) -> Any:
        """What a command answers with `--json`, asked of the dispatcher in the data folder."""
        done = self.typed(*words, "--json", "--data", str(self.data))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *words: str, **more: str) -> "Running":
        """A command that goes on, with `more` in its environment."""
        return Running(
            subprocess.Popen(
                [sys.executable, "-m", "surveil", *words],
                cwd=self.folder,
                env={**self.environment(), **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )

    def up(self, *words: str) -> "Running":
        """`surveil up` on the data folder and a port that is still free when its dispatcher is started again."""
        return self.start("up", "--data", str(self.data), "--listen", f"tcp://127.0.0.1:{free_ports()}", *words)

    def wait_for_pages(self) -> None:
        """Wait for those of `up`: they are a process of their own, and a build may be quicker than its start."""
        assert eventually(lambda: "web serves" in (self.data / "up.log").read_text())

    def dispatcher_pid(self) -> int:
        """The process that serves the data folder."""
        return int(json.loads((self.data / "dispatcher.json").read_text())["pid"])

    def processes(self, mark: str = "") -> list[int]:
        """Every living process that works in this folder: its command line or current folder name it, and `mark`."""
        return [pid for pid, about in _processes() if str(self.folder) in about and mark in about]


class Running:
    """A process that is listened to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._deaf = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def text(self) -> str:
        """All that it has said."""
        return "\n".join(self.lines)

    def wait_for(self, part: str, *, times: int = 1) -> str:
        """The line with this text, when it was said so often."""
        with self._more:
            said = self._more.wait_for(lambda: len(self._with(part)) >= times or self._ended(), PATIENCE_S)
        found = self._with(part)
        assert said, f"{part!r} was not said in time, but:\n{self.text}"
        assert len(found) >= times, f"it ended without saying {part!r}:\n{self.text}"
        return found[-1]

    def forget(self) -> None:
        """Listen anew: what it has said before is of no account."""
        with self._more:
            self.lines.clear()

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        return code

    def stop_listening(self) -> None:
        """Close our end of what it writes to."""
        self._deaf.set()
        self._thread.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def _with(self, part: str) -> list[str]:
        return [line for line in self.lines if part in line]

    def _ended(self) -> bool:
        return self.process.poll() is not None and not self._thread.is_alive()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
            if self._deaf.is_set():
                return
        with self._more:
            self._more.notify_all()


def _parents() -> dict[int, int]:
    """Of every process that is there now; one that ends while they are counted is left out."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    return parents


def children(pid: int) -> list[int]:
    """What the process itself started, and is there."""
    return [child for child, parent in _parents().items() if parent == pid]


def with_descendants(pid: int) -> list[int]:
    """The process and all that it started, directly or not."""
    parents = _parents()
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def signal_process(pid: int, number: signal.Signals, mark: str) -> None:
    """Signal a process, after making sure that it is the one that is meant: its command line names `mark`."""
    pidfd = os.pidfd_open(pid)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        assert mark in command, f"process {pid} is another one: {command}"
        signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true that no event tells of."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def kill(pids: Sequence[int]) -> None:
    """End processes of this test's own at once, as if their machine lost its power: none sees another one's end."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _processes() -> Iterator[tuple[int, str]]:
    """Every process of this machine that lives, with its command line and current folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if "\nState:\tZ" in (folder / "status").read_text():
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            yield int(folder.name), f"{command} {(folder / 'cwd').readlink()}"
        except (OSError, ValueError):
            continue
