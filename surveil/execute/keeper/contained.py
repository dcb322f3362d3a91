"""The keeper's side of a container: orders and answers through named pipes, with no engine in between.

What belongs here: what is said to the driver, which is the container's first process, and what its answers mean. What
does not: making and removing containers (`containers`), and when a step ends (`keeper`). Imports only what a keeper may
import.

The driver is a script in `sh`. It reads orders from a pipe whose writing end the keeper alone holds. So it ends when
the keeper does, however that ended, and with the first process the kernel ends all others of the container; no engine
has to be asked, nor be there. A step's output comes through a pipe of its own, so nothing of it is lost where it begins
or ends, or while the engine is started anew.
"""

# ruff: noqa: PTH118  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shlex
import signal
import time
from collections import deque
from typing import Final

from surveil.execute.files import Order, ServiceOrder, StepOrder
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.endings import End
from surveil.execute.keeper.offspring import SIGNALLED, Exit
from surveil.execute.keeper.site import Started, ready_to_read

ORDERS: Final = "orders"
ANSWERS: Final = "answers"
DRIVER: Final = "driver"
INSIDE: Final = "/.surveil"
"""Where the container sees the folder of these; it cannot write there, so nothing in it can be replaced by a link."""
SCRIPT: Final = """\
# The first process of the container. The keeper outside says what is to be done, one line at a time, and when it is no
# more, this ends and everything in the container with it.
exec 3<"$1/orders" 4>"$1/answers"
echo ready >&4
while read -r word number <&3; do
	case $word in
	step)
		(
			exec 3<&-
			trap : TERM
			echo "open $number" >&4
			(exec 4>&-; . "$1/step.$number") >"$1/output.$number" 2>&1 </dev/null
			echo "exit $number $?" >&4
		) &
		eval "step_$number=\\$!"
		;;
	look)
		# Whoever lost its parent is our child. A shell collects those that ended when it lists its jobs.
		jobs >/dev/null 2>&1
		eval "kill -0 \\$step_$number" 2>/dev/null || echo "gone $number" >&4
		;;
	term) kill -s TERM -- -1 2>/dev/null ;;
	kill)
		kill -s KILL -- -1 2>/dev/null
		wait
		echo "gone $number" >&4
		;;
	esac
done
"""
READY_S: Final = 20.0
"""How long the driver may take to answer; it takes a millisecond on a machine that does nothing else."""
KILL_S: Final = 5.0
END_S: Final = 5.0
LOOK_MS: Final = 1_000
"""So often the driver collects the processes that lost their parents, and looks whether the step's own one lives."""
GLANCE_S: Final = 0.0005
PIPE_BYTES_MIN: Final = 4096
ANSWER_BYTES_MAX: Final = 64 * 1024
HEARD_MAX: Final = 1_000
"""Answers that wait to be taken; there are a few, unless steps write there as well."""
NUMBER_DIGITS_MAX: Final = 9
EXIT_CODE_MAX: Final = 255
ENDED: Final = "the container ended although its job had not: its engine was stopped, or somebody removed it"
KILLED: Final = Exit(code=SIGNALLED + signal.SIGKILL, signal=signal.SIGKILL)


class Contained:
    """A container of one attempt, whose first process waits for orders in the folder `order.container`."""

    def __init__(self, order: Order | ServiceOrder) -> None:
        self._folder = order.container
        self._cwd = order.cwd
        self._confines = Confines([*order.cgroups], order.memory_bytes, order.processes)
        # The answers first: the driver opens them after the orders, and must find somebody who reads.
        self._answers = os.open(os.path.join(self._folder, ANSWERS), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._orders: int | None = os.open(os.path.join(self._folder, ORDERS), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._first: int | None = None
        with contextlib.suppress(OSError):
            self._first = os.pidfd_open(order.first_process) if order.first_process else None
        self._said = b""
        self._heard: deque[list[str]] = deque(maxlen=HEARD_MAX)
        self._ready = False
        self._running: set[int] = set()
        """The numbers of the steps that run. A job has one at a time; a service is looked at while it runs."""
        self._last = 0
        self._look_at: int | None = None
        self._over = False

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The driver's answers, and the end of the container's first process."""
        return (self._answers,) if self._first is None else (self._answers, self._first)

    def open(self) -> None:
        """Wait for the driver."""
        self._await("ready", "the container does not begin")
        self._ready = True

    def start(self, number: int, step: StepOrder) -> Started:
        """Let the driver begin a step, and give it what to run through a pipe, so that it is on no disk."""
        paths = {name: os.path.join(self._folder, f"{name}.{number}") for name in ("step", "output")}
        output = -1
        try:
            for path in paths.values():
                os.mkfifo(path)
                os.chmod(path, 0o666)  # noqa: PTH101, S103  # whoever the steps are; the folder above is ours alone
            output = os.open(paths["output"], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            ready_to_read(output)
            self._order(f"step {number}")
            self._await(f"open {number}", f"step '{step.name}' could not be started: its container does not answer")
            self._feed(paths["step"], _text(step, self._cwd))
        except (OSError, End) as error:
            if output >= 0:
                os.close(output)
            if isinstance(error, End):
                raise
            raise End("errored", f"step '{step.name}' could not be started: {error.strerror}") from error
        self._running.add(number)
        self._last = number
        self._look_at = None
        return Started(number, output)

    def awaiting(self, step: StepOrder) -> list[str]:
        """What runs a program beside the driver, on whatever it is started on, once it is given."""
        path = os.path.join(self._folder, step.name)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path)
        os.chmod(path, 0o666)  # noqa: PTH101, S103  # as of those of the steps
        return ["/bin/sh", "-c", f". {INSIDE}/{step.name}"]

    def give(self, step: StepOrder) -> None:
        """Give it. Raises OSError and End."""
        self._feed(os.path.join(self._folder, step.name), _text(step, self._cwd))

    def _feed(self, path: str, text: bytes) -> None:
        """Give the driver's shell its script, which is opening the pipe by now. Raises OSError and End."""
        until = time.monotonic() + READY_S
        while (pipe := _open_for_writing(path)) is None:
            self._listen()
            if self._over or time.monotonic() > until:
                raise End("errored", ENDED)
            time.sleep(GLANCE_S)
        try:
            if len(text) > PIPE_BYTES_MIN:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, len(text))
            if os.write(pipe, text) < len(text):
                raise OSError(errno.E2BIG, "its environment is larger than a pipe of this machine")
        finally:
            os.close(pipe)

    def reap(self, now: int) -> dict[int, Exit]:
        """How the running step ended, if it did."""
        self._listen()
        found = self._take_end()
        if self._running and (self._look_at is None or now >= self._look_at):
            if self._look_at is not None:
                for number in self._running:
                    self._order(f"look {number}")
            self._look_at = now + LOOK_MS
        return found

    def _take_end(self) -> dict[int, Exit]:
        """The ends of running steps among what was heard; the rest is of no use any more."""
        ended: dict[int, Exit] = {}
        for words in self._heard:
            match words:
                case ["exit", number, code] if int(code) <= EXIT_CODE_MAX:
                    ended.setdefault(int(number), _exit(int(code)))
                case ["gone", number]:
                    ended.setdefault(int(number), KILLED)
        self._heard.clear()
        if self._over:
            ended = dict.fromkeys(self._running, KILLED) | ended
        found = {number: ended[number] for number in self._running & ended.keys()}
        self._running -= found.keys()
        return found

    def forget(self, number: int) -> None:
        """Ask no more after a step, which goes on for as long as it likes."""
        self._running.discard(number)

    def due_at(self) -> int | None:
        """When the driver is to look again."""
        return (self._look_at or 0) if self._running else None

    def trouble(self) -> str:
        """That the container has ended, and not by our doing."""
        return ENDED if self._over else ""

    def ask(self, process: int) -> None:
        """Ask every process of the container to end."""
        self._order(f"term {process}")

    def lives(self, process: int) -> bool:  # noqa: ARG002  # only the driver could tell
        """Not asked: what is left is killed with the container."""
        return False

    def kill(self) -> dict[int, Exit]:
        """Kill all but the driver, and it as well if it does not do its part."""
        self._order(f"kill {self._last}")
        until = time.monotonic() + KILL_S
        while ["gone", str(self._last)] not in self._heard and not self._over:
            if time.monotonic() >= until:
                self._end()
                self._over = True
                break
            self._wait(until)
            self._listen()
        return self._take_end()

    def news(self) -> str:
        """What the container's control groups tell."""
        return self._confines.news()

    def close(self) -> None:
        """End the container."""
        self._end()
        for descriptor in self.descriptors:
            os.close(descriptor)

    # ---- how ----

    def _order(self, line: str) -> None:
        if self._orders is not None:
            with contextlib.suppress(BlockingIOError):  # A driver that does not read is noticed by its silence.
                os.write(self._orders, f"{line}\n".encode())

    def _await(self, answer: str, complaint: str) -> None:
        until = time.monotonic() + READY_S
        while [*answer.split()] not in self._heard:
            if self._over:
                raise End("errored", ENDED)
            if time.monotonic() >= until:
                raise End("errored", f"{complaint} within {READY_S:.0f} s")
            self._wait(until)
            self._listen()
        self._heard.remove(answer.split())

    def _wait(self, until: float) -> None:
        select.select(self.descriptors, [], [], max(0.0, until - time.monotonic()))

    def _listen(self) -> None:
        """Take in what the driver says, and whether it has ended."""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._answers, ANSWER_BYTES_MAX)
            self._said += said
            self._over = self._over or (self._ready and not said)
        *lines, self._said = self._said.split(b"\n")
        self._said = self._said[:ANSWER_BYTES_MAX]
        for line in lines:
            words = line.decode(errors="replace").split()
            if words and all(map(_is_number, words[1:])):
                self._heard.append(words)
        if self._first is not None and not self._over:
            self._over = bool(select.select([self._first], [], [], 0)[0])

    def _end(self) -> None:
        """Let go of the orders, on which the driver ends; make it, should it not."""
        if self._orders is None:
            return
        os.close(self._orders)
        self._orders = None
        if self._first is None:
            return
        for force in (False, True):
            if force:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(self._first, signal.SIGKILL)
            if select.select([self._first], [], [], END_S)[0]:
                return


def _open_for_writing(path: str) -> int | None:
    """A pipe that somebody has opened to read from it; None while nobody has. Raises OSError."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return None
        raise


def _is_number(word: str) -> bool:
    """Whether it is one of ours: a step sees the pipe of the answers, and can write there what it likes."""
    return len(word) <= NUMBER_DIGITS_MAX and word.isascii() and word.isdecimal()


def _exit(code: int) -> Exit:
    return Exit(code=code, signal=code - SIGNALLED if code > SIGNALLED else 0)


def _text(step: StepOrder, cwd: str) -> bytes:
    """What the driver's shell runs for a step: its variables, its folder and its program."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in step.env.items()]
    lines += [f"cd {shlex.quote(cwd)} || exit 126", f"exec {shlex.join(step.argv)}", ""]
    return "\n".join(lines).encode(errors="surrogateescape")
