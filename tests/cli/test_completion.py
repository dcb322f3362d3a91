"""Completion in the shells themselves: a person at a terminal types a word's beginning and the tab key."""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from surveil.cli import completing
from surveil.core.model import Status
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_build, make_job, make_runner, make_token, new

PATIENCE_S = 60
PROMPT = "ready-to-type"
CELL = "cell[os=linux,python=3.12]"
HOSTILE = "evil $(touch ~+owned)'`touch owned`\"; touch owned & ! it"
"""What a pipeline may call a job."""
JOBS = ("quartz", "quarry", CELL, HOSTILE)
TAB = b"\t"
NEXT_LINE = b"\x15:\r"
"""Takes back what was typed and does nothing instead; Ctrl-C would end a completion in its middle."""
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


def fill(counter: Counter) -> None:
    """Builds 41 and 42, jobs, runners and a token whose names no command has."""
    jobs = [make_job(42, name, state=Status.PASSED) for name in JOBS]
    counter.desk.store.commit(
        new(
            make_build(41, state=Status.PASSED, message="Older"),
            make_build(42, JOBS, state=Status.PASSED, message="Newer \x1b[2J"),
            *jobs,
            make_runner("zebra-1"),
            make_runner("zebra-2", online=False),
        )
    )
    counter.desk.store.add_token(
        make_token("feed1234", expires_at=counter.desk.now + 1000, revoked_at=None, uses_left=1)
    )


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._shown = ""

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def wait_for(self, *words: str) -> str:
        """What was shown since the last time, as soon as all these words are in it."""
        until = time.monotonic() + PATIENCE_S
        while not all(word in self._shown for word in words):
            assert time.monotonic() < until, f"no {words} in {self._shown!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                self._shown += os.read(self._master, 65536).decode("utf-8", "replace")
        shown, self._shown = self._shown, ""
        return shown

    def close(self) -> None:
        """End the shell, and what it started at this terminal: zsh completes in a process that may outlive it, and then
        tries for ever to read from a terminal that is gone.
        """
        for each in psutil.pids():
            with suppress(ProcessLookupError):
                if os.getsid(each) == self._process.pid:
                    os.kill(each, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)


def _bash(home: Path, script: str) -> list[str]:
    folder = home / ".local/share/bash-completion/completions"
    folder.mkdir(parents=True)
    (folder / "surveil").write_text(script)
    lines = [
        "bind 'set show-all-if-ambiguous on'",
        "bind 'set bell-style none'",
        "bind 'set enable-bracketed-paste off'",
    ]
    rc = home / "bashrc"
    rc.write_text("\n".join([f". {BASH_COMPLETION}", *lines, f"PS1='{PROMPT[:5]}''{PROMPT[5:]} '"]) + "\n")
    return ["bash", "--rcfile", str(rc), "-i"]


def _zsh(home: Path, script: str) -> list[str]:
    (home / ".zfunc").mkdir()
    (home / ".zfunc" / "_surveil").write_text(script)
    lines = [
        "fpath+=~/.zfunc",
        "autoload -Uz compinit && compinit -u",
        "unsetopt beep zle_bracketed_paste",
        "LISTMAX=1000",
    ]
    (home / ".zshrc").write_text("\n".join([*lines, f"PS1='{PROMPT[:5]}''{PROMPT[5:]} '"]) + "\n")
    return ["zsh", "-i"]


SHELLS: dict[str, Callable[[Path, str], list[str]]] = {"bash": _bash, "zsh": _zsh}


def install_hint(shell: str) -> str:
    return f"{shell} is not here; type `apt install {shell}{' bash-completion' if shell == 'bash' else ''}`"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses the tab key waits for less than a second, in which a machine full of tests may not answer."""
    monkeypatch.setattr(completing, "PATIENCE_MS", 1_000 * PATIENCE_S)


@pytest.fixture
def machine(type_: Type, counter: Counter, home: Path) -> dict[str, str]:
    """The environment of somebody who has surveil on the path and a dispatcher that answers."""
    fill(counter)
    (home / "home").mkdir(exist_ok=True)
    # The same for what the shells start.
    (home / "patient").mkdir()
    (home / "patient" / "sitecustomize.py").write_text(
        f"from surveil.cli import completing\ncompleting.PATIENCE_MS = {1_000 * PATIENCE_S}\n"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: os.environ[name] for name in ("SURVEIL_DATA", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
    assert type_("show", "42").code == 0, "the dispatcher answers"
    more = {"HOME": str(home / "home"), "PATH": path, "PYTHONPATH": str(home / "patient")}
    return {**kept, **more, "TERM": "vt100", "COLUMNS": "200", "LINES": "60"}


@contextmanager
def at_terminal(shell: str, type_: Type, machine: dict[str, str]) -> Iterator[Terminal]:
    """The shell with surveil's completion installed as the how-to says."""
    ended = type_("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    terminal = Terminal(SHELLS[shell](Path(machine["HOME"]), ended.out), machine)
    try:
        terminal.wait_for(PROMPT)
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", list(SHELLS))
def test_the_tab_key_completes_commands_flags_and_what_the_dispatcher_knows(
    shell: str, type_: Type, machine: dict[str, str]
) -> None:
    if shutil.which(shell) is None or (shell == "bash" and not BASH_COMPLETION.exists()):
        pytest.skip(install_hint(shell))
    with at_terminal(shell, type_, machine) as terminal:
        # A word's only end is written out; of several, the list is shown.
        for typed, shown in (
            (b"surveil dispa", ["surveil dispatcher"]),
            (b"surveil up --inte", ["surveil up --interval"]),
            (b"surveil token create --role ob", ["--role observer"]),
            (b"surveil show 4", ["41", "42"]),
            (b"surveil logs 42 quart", ["logs 42 quartz"]),
            (b"surveil retry 42 quartz quarr", ["42 quartz quarry"]),
            (b"surveil logs 42 'cell[os=", ["linux,python=3.12]"]),
            (b"surveil runner drain zebra-", ["zebra-1", "zebra-2"]),
            (b"surveil token revoke feed", ["revoke feed1234"]),
        ):
            terminal.type(typed + TAB)
            terminal.wait_for(*shown)
            terminal.type(NEXT_LINE)
            terminal.wait_for(PROMPT)


@pytest.mark.parametrize("typed", ["ev", r"evil\ ", "'evil ", '"evil '])
@pytest.mark.parametrize("shell", list(SHELLS))
def test_the_tab_key_writes_a_name_that_is_one_word_and_runs_nothing(
    shell: str, typed: str, type_: Type, machine: dict[str, str], tmp_path: Path
) -> None:
    if shutil.which(shell) is None or (shell == "bash" and not BASH_COMPLETION.exists()):
        pytest.skip(install_hint(shell))
    said = tmp_path / "said"
    with at_terminal(shell, type_, machine) as terminal:
        terminal.type(f"cd {tmp_path}; set +H; surveil-again() {{ printf '%s\\n' \"$@\" > said; }}\r".encode())
        terminal.wait_for(PROMPT)
        terminal.type(f"surveil logs 42 {typed}".encode() + TAB)
        terminal.wait_for("it")
        # The same words, for a command that writes down what it was given.
        terminal.type(b"\x01\x1bdsurveil-again\r")
        terminal.wait_for(PROMPT)
    assert said.read_text().splitlines() == ["logs", "42", HOSTILE]
    assert not [path.name for path in tmp_path.rglob("*owned")]


def test_bash_is_given_the_rest_of_a_word_in_the_quotes_that_it_has(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(counter)
    monkeypatch.setenv("_SURVEIL_COMPLETE", "bash_complete")
    for typed, value in (
        ("cell[os=li", r"linux,python=3.12\]"),
        ("cell", r"cell\[os=linux,python=3.12\]"),
        ("'cell[os=", "cell[os=linux,python=3.12]"),
        ("cell'[os=", "[os=linux,python=3.12]"),
        ("'cell'", r"\[os=linux,python=3.12\]"),
    ):
        monkeypatch.setenv("_SURVEIL_LINE", f"surveil logs 42 {typed}")
        assert type_().out.split("\t")[:2] == ["plain", value]


def test_fish_completes_commands_flags_and_what_the_dispatcher_knows(
    type_: Type, machine: dict[str, str], tmp_path: Path
) -> None:
    """Fish answers for its own tab key: `complete --do-complete` is what the key does."""
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip(install_hint("fish"))
    folder = Path(machine["HOME"]) / ".config/fish/completions"
    folder.mkdir(parents=True)
    (folder / "surveil.fish").write_text(type_("completion", "fish").out)

    def offered(typed: str) -> list[str]:
        command = [fish, "-c", f"complete --do-complete {typed!r}"]
        done = subprocess.run(command, env=machine, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout.splitlines()

    assert [line.partition("\t")[0] for line in offered("surveil dispa")] == ["dispatcher"]
    assert [line.partition("\t")[0] for line in offered("surveil up --inte")] == ["--interval"]
    assert sorted(line.partition("\t")[0] for line in offered("surveil show 4")) == ["41", "42"]
    assert any("Newer" in line for line in offered("surveil show 4"))
    assert [line.partition("\t")[0] for line in offered("surveil logs 42 quart")] == ["quartz"]
    assert [line.partition("\t")[0] for line in offered("surveil logs 42 cell")] == [CELL]
    assert sorted(line.partition("\t")[0] for line in offered("surveil runner drain zebra-")) == ["zebra-1", "zebra-2"]


def test_nobody_who_completes_hears_that_there_is_no_dispatcher(
    type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (home / "data").exists()
    monkeypatch.setenv("_SURVEIL_COMPLETE", "fish_complete")
    monkeypatch.setenv("_SURVEIL_LINE", "surveil show ")
    ended = type_()
    assert (ended.code, ended.out.strip(), ended.err) == (0, "", "")


def test_what_a_stranger_wrote_cannot_do_anything_to_the_shell(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(counter)
    monkeypatch.setenv("_SURVEIL_COMPLETE", "fish_complete")
    monkeypatch.setenv("_SURVEIL_LINE", "surveil show 4")
    out = type_().out
    assert "Newer" in out
    assert "\x1b" not in out
