"""How commands end: one sentence, the right code, and never a traceback."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest

from surveil.cli.failing import BROKEN_PIPE, run_to_exit_code
from surveil.errors import (
    InfrastructureError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
    SurveilError,
    UnreachableError,
    UsageError,
)
from tests.cli.conftest import Type


def ending(error: BaseException) -> int:
    @click.command()
    def command() -> None:
        raise error

    return run_to_exit_code(command, [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("a"), 2),
        (InvalidError("a"), 3),
        (UnreachableError("a"), 4),
        (NotAllowedError("a"), 5),
        (NotFoundError("a"), 6),
        (InfrastructureError("a"), 7),
        (SurveilError("a"), 7),
        (click.UsageError("a"), 2),
        (click.Abort(), 130),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "/srv/x"), 7),
        (BrokenPipeError(), BROKEN_PIPE),
    ],
)
def test_each_kind_of_error_has_its_code_and_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == (0 if isinstance(error, BrokenPipeError) else 1)


def test_a_sentence_has_its_end_and_a_complaint_with_a_place_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for said, printed in (
        ("no file", "no file."),
        ("type `surveil up`", "type `surveil up`."),
        ("Done.", "Done."),
        ("did you mean `a`?", "did you mean `a`?"),
        ("a.yml:1:1: one\na.yml:2:1: two", "a.yml:1:1: one\na.yml:2:1: two"),
    ):
        ending(UsageError(said))
        assert capsys.readouterr().err == f"surveil: {printed}\n"


def test_a_defect_is_a_sentence_and_a_file_to_report(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ending(ZeroDivisionError("oops")) == 7
    err = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert len(err.splitlines()) == 1
    assert "This is a defect of surveil (ZeroDivisionError: oops)" in err
    assert str(file) in err
    assert "ZeroDivisionError: oops" in file.read_text()


def test_a_machine_without_room_for_a_thread_is_named_with_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        before = threading.stack_size(2**46)
        try:
            threading.Thread(target=print).start()
        finally:
            threading.stack_size(before)

    assert run_to_exit_code(command, []) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("surveil: This machine refused a thread: ")
    assert "`ulimit -u`, `ulimit -s` and `ulimit -v`" in line


@pytest.mark.parametrize(("year", "said"), [(9998, "the year 9998"), (2026, "a defect of surveil")])
def test_a_clock_that_nobody_can_count_with_is_blamed_for_what_it_breaks(
    year: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: (year - 1970 + 0.5) * 365.2425 * 86_400)
    assert ending(OverflowError("far")) == 7
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert ("`timedatectl set-time`" in line) == (year > 2261)


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant(type_: Type) -> None:
    ended = type_("stauts")
    assert ended.code == 2
    assert ended.err.splitlines()[0] == (
        "surveil: There is no command `stauts`. Did you mean `surveil status`? "
        "Type `surveil --help` to see how it is used."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("config", "show", "x"), "Got unexpected extra argument (x). Type `surveil config show --help`"),
        (("logs",), "Missing argument 'BUILD'. Type `surveil logs --help`"),
        (("token", "create", "--expires", "x"), "`10m` or `2h`. Type `surveil token create --help`"),
    ],
)
def test_what_cannot_be_meant_is_a_whole_sentence_and_where_to_look(
    type_: Type, words: tuple[str, ...], said: str
) -> None:
    ended = type_(*words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert f"{said} to see how it is used." in ended.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`surveil ... | head -1`: the pipe breaks while the help is written, or at the end."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "surveil", "--help"], stdout=pipe, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


def test_ctrl_c_ends_a_command_with_130_and_one_line(tmp_path: Path) -> None:
    """`validate -` waits for its input until the signal comes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "surveil", "validate", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    try:
        wait_until_reading(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (130, b"surveil: Interrupted.\n")


def wait_until_reading(pid: int) -> None:
    """Wait until the process has done its imports and sleeps in the read of a pipe."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if b"pipe" in Path(f"/proc/{pid}/wchan").read_bytes() or read_syscall(pid) == "0":
            return
        time.sleep(0.02)
    pytest.fail("the process never came to read its input")


def read_syscall(pid: int) -> str:
    """The number of the system call that the process is in, and `0` (read) with descriptor 0."""
    words = Path(f"/proc/{pid}/syscall").read_text().split()
    return words[0] if words[0] == "running" or words[1:2] != ["0x0"] else "0"


def typed_in_a_shell(words: str, folder: Path) -> tuple[int, str, str]:
    """The exit code of this line of a shell, in which `surveil` is a command, and what came out of it."""
    begin = f'surveil() {{ "{sys.executable}" -m surveil "$@"; }}\n'
    done = subprocess.run(
        ["sh", "-c", begin + words], capture_output=True, cwd=folder, timeout=60, check=False,
        env={**os.environ, "SURVEIL_DATA": str(folder / "data")},
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_verdict(closed: str, tmp_path: Path) -> None:
    (tmp_path / ".surveil.yml").write_text("jobs: {a: {steps: [{run: 'echo said'}]}}\n")
    assert typed_in_a_shell(f"surveil run {closed}", tmp_path)[0] == 0
    (tmp_path / ".surveil.yml").write_text("jobs: {a: {steps: [{run: 'exit 3'}]}}\n")
    code, _, err = typed_in_a_shell(f"surveil run {closed}", tmp_path)
    assert code == 1
    assert "defect" not in err


def test_nothing_is_opened_in_the_place_of_a_closed_stream() -> None:
    """What a library prints would go into a database otherwise."""
    program = (
        "import os; from surveil.cli.streams import stand_in; stand_in();"
        "raise SystemExit(os.open('/etc/passwd', os.O_RDONLY) < 3 or os.readlink('/proc/self/fd/1') != os.devnull)"
    )
    assert typed_in_a_shell(f'{sys.executable} -c "{program}" <&- >&- 2>&-', Path("/"))[0] == 0


def test_output_without_room_is_one_sentence_that_says_which_stream(tmp_path: Path) -> None:
    (tmp_path / ".surveil.yml").write_text("jobs: {a: {steps: [{run: 'echo said'}]}}\n")
    code, _, err = typed_in_a_shell("surveil validate > /dev/full", tmp_path)
    assert (code, len(err.splitlines())) == (7, 1)
    assert "could not be written to standard output: No space left on device" in err
    # Nobody can be told more, but no verdict is made up: 1 would say that the build failed.
    assert typed_in_a_shell("surveil run 2> /dev/full", tmp_path) == (7, "", "")
    assert typed_in_a_shell("surveil validate nowhere 2> /dev/full", tmp_path)[0] == 6


def test_an_error_that_nobody_reads_ends_the_command_all_the_same(tmp_path: Path) -> None:
    """The pipe is full, and whoever holds its other end reads nothing."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", 0) as pipe:
        while pipe.write(b"x" * 65536):
            pass
        os.set_blocking(writing, True)
        done = subprocess.run(
            [sys.executable, "-m", "surveil", "validate", "nowhere"], stderr=pipe, cwd=tmp_path, timeout=30, check=False
        )
    assert done.returncode == 6


def test_a_machine_without_memory_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(MemoryError()) == 7
    assert capsys.readouterr().err == (
        "surveil: This machine refused: Cannot allocate memory; `surveil doctor` looks for the cause.\n"
    )


def test_a_defect_is_told_also_where_no_file_can_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert ending(ZeroDivisionError("oops")) == 7
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "test_failing.py" in err


def test_ctrl_c_while_the_command_is_still_being_imported_is_one_line_too() -> None:
    program = (
        "import sys, surveil.cli\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'surveil.cli.grammar': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "surveil.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "surveil: Interrupted.\n")
