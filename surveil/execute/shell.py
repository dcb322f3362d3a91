"""A shell for a person in the surroundings of an attempt whose steps have ended: its tree, its environment, its sandbox
or its container, on the person's own terminal.

What belongs here: opening it where the steps ran, and passing on what is typed and printed. What does not: when it is
opened (`surveil.cli.replay`), and the sandbox and the container themselves.

What runs in there gets a terminal of its own, between which and the person's bytes are passed on; so nothing in there
can type into the terminal that surveil was started on.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute import processes
from surveil.execute.containers.container import Containers
from surveil.execute.files import StepOrder
from surveil.execute.isolation.sandbox import for_person
from surveil.execute.keeper.contained import Contained
from surveil.execute.keeper.endings import End, secret_words
from surveil.execute.keeper.entrusted import remove_files, write_files
from surveil.execute.scene import Scene
from surveil.execute.serving import served_again

BEST_SHELL: Final = "command -v bash >/dev/null 2>&1 && exec bash -i; exec sh -i"
"""What people know where it is there, and else what is there in any case."""
_ON_TERMINAL: Final = 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1'
"""The first of a session that opens a terminal has it from then on."""
END_S: Final = 5.0
READ_BYTES: Final = 64 * 1024
MEANWHILE_S: Final = 0.1
_FAILED: Final = frozenset({"failed", "errored", "cancelled"})

Resize = Callable[[int, int], None]


def stood_at(scene: Scene) -> int:
    """The number of the step at which it ended, from 0 on: the one that went wrong, or else the last."""
    steps = scene.finished.steps[: len(scene.order.steps)]  # Behind them stand its services.
    wrong = (number for number, step in enumerate(steps) if step.state in _FAILED)
    return next(wrong, len(scene.order.steps) - 1)


def again_words(scene: Scene) -> str:
    """What to type in the shell to run that step once more."""
    return shlex.join(scene.order.steps[stood_at(scene)].argv)


def open_shell(scene: Scene, containers: Containers | None, prompt: str) -> None:
    """Open the shell, and return when it has ended; nothing of it runs any more then.

    Raises:
        InfrastructureError: there can be none.
    """
    step = scene.order.steps[stood_at(scene)]
    with contextlib.ExitStack() as opened:
        if scene.order.secrets:
            opened.enter_context(gone_with_us(scene.order.secrets))
        _open(scene, step, containers, prompt)


@contextlib.contextmanager
def gone_with_us(folder: str) -> Iterator[None]:
    """See that a folder for secrets does not outlive this process: no keeper is there any more to remove it."""
    try:
        guard = subprocess.Popen(
            ["sh", "-c", 'read -r _; rm -rf -- "$1"', "sh", folder], stdin=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise InfrastructureError(f"no shell could be opened: {error.strerror}") from error
    with guard:  # It reads until we let go of the other end, however that comes.
        try:
            yield
        finally:
            remove_files(folder)


def _open(scene: Scene, step: StepOrder, containers: Containers | None, prompt: str) -> None:
    try:
        files = write_files(scene.order.secrets, scene.secrets)
        own = {"TERM": os.environ.get("TERM", "dumb"), "PS1": f"{prompt} \\w \\$ "}
        wanted = StepOrder(
            name="shell", argv=["sh", "-c", BEST_SHELL], env=own | step.env | scene.secrets.variables | files,
            timeout_ms=0, continue_on_error=False,
        )  # fmt: skip
        if scene.container and containers is not None:
            _in_container(scene, containers, wanted)
        else:
            _in_sandbox(scene, wanted)
    except OSError as error:
        raise InfrastructureError(f"no shell could be opened: {secret_words(error)}") from error
    except End as end:
        raise InfrastructureError(f"no shell could be opened: {end.reason}") from end


def _in_sandbox(scene: Scene, wanted: StepOrder) -> None:
    with contextlib.ExitStack() as opened:
        near, far = os.openpty()
        # Whatever still has this terminal is told that it is gone. Ours stays open until then: as long as nobody has
        # the far end, reading the near one is an error.
        for end in (near, far):
            opened.callback(os.close, end)
        _fit(resize := lambda rows, columns: termios.tcsetwinsize(near, (rows, columns)))
        argv = [*for_person(scene.order.sandbox), *wanted.argv]
        shell = subprocess.Popen(
            ["sh", "-c", _ON_TERMINAL, "sh", os.ttyname(far), *argv], cwd=scene.order.cwd, env=wanted.env,
            start_new_session=True,
        )  # fmt: skip
        opened.callback(processes.kill_left_behind, scene.workspace.root)
        opened.callback(_see_it_end, shell)
        over = os.pidfd_open(shell.pid)
        opened.callback(os.close, over)
        _pass_on(near, resize, over)


def _see_it_end(shell: subprocess.Popen[bytes]) -> None:
    """Where the person's terminal is gone, the shell is ended."""
    if shell.poll() is None:
        shell.send_signal(signal.SIGHUP)
    try:
        shell.wait(END_S)
    except subprocess.TimeoutExpired:
        shell.kill()
        shell.wait(END_S)


def _in_container(scene: Scene, containers: Containers, wanted: StepOrder) -> None:
    """In the very container: it is started once more, with all that the steps did to its files."""
    containers.restart(scene.container)
    with contextlib.ExitStack() as opened:
        contained = opened.enter_context(
            contextlib.closing(Contained(scene.order._replace(first_process=0, cgroups=())))
        )
        contained.open()
        hear = opened.enter_context(served_again(scene, containers))
        with contextlib.closing(containers.shell(scene.container, contained.awaiting(wanted))) as session:
            _fit(session.resize)  # before it prompts, which it would do again for another size
            contained.give(wanted)
            _pass_on(session.fileno(), session.resize, meanwhile=hear)


def _pass_on(
    far: int, resize: Resize, over: int | None = None, *, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Pass on what is typed to `far`, and what comes from there to the terminal, until one of them ends, or `over` can
    be read and nothing more comes; and call `meanwhile` now and then.
    """
    near, out = sys.stdin.fileno(), sys.stdout.fileno()
    sys.stdout.flush()
    sources = [near, far] if over is None else [near, far, over]

    with _as_it_is(near), _signals(lambda *_: _fit(resize)):
        _fit(resize)  # It may be another one since it was looked at.
        while True:
            ready = select.select(sources, [], [], MEANWHILE_S)[0]
            meanwhile()
            if far in ready:
                printed = _read(far)
                if not printed:
                    return
                _write(out, printed)
            elif over in ready:
                return
            if near in ready:
                typed = _read(near)
                if not typed:
                    return
                _write(far, typed)


def _fit(resize: Resize) -> None:
    """Give another terminal the size that ours has now; that it cannot be known is fine."""
    with contextlib.suppress(OSError, termios.error, InfrastructureError):
        resize(*termios.tcgetwinsize(sys.stdin.fileno()))


@contextlib.contextmanager
def _as_it_is(terminal: int) -> Iterator[None]:
    """Let all that is typed come as it is, be it Ctrl-C: it is meant for the shell."""
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # It may be gone.
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals(resized: Callable[..., None]) -> Iterator[None]:
    """Hear of another size of the terminal; that it is gone is read from it."""
    before = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, resized),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _read(descriptor: int) -> bytes:
    """What there is; nothing at the end, which terminals tell by an error."""
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(descriptor, data) :]
