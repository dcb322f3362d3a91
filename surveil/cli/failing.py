"""How a command ends: the one place that turns errors into a sentence on stderr and an exit code.

What belongs here: everything between an exception and the end of the process. What does not: the sentences, which
stand where the errors are raised, and the codes, which `surveil.errors` lists.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Final

import click

from surveil import __version__
from surveil.cli.grammar import COMPLETE, PROGRAM
from surveil.cli.streams import STANDARD_ERROR, STANDARD_OUTPUT, silence
from surveil.core.spelling import printable
from surveil.errors import ExitCode, SurveilError
from surveil.screen.unread import is_read

BROKEN_PIPE: Final = 141
"""What a shell shows for a program that SIGPIPE ended: `surveil logs 7 | head` is no failure of ours."""
UNREAD_MS: Final = 2_000
"""So long an error waits for somebody to read what came before it; its exit code says it anyway."""
YEAR_MAX: Final = 2261
"""Python counts nanoseconds since 1970 in 64 bits, which last until April of the year after."""
_YEAR_S: Final = 31_556_952


def run_to_exit_code(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a click command and return what its process should end with; says on stderr what went wrong."""
    if instruction := os.environ.get(COMPLETE):
        from surveil.cli.shells import answer

        return answer(command, instruction)
    try:
        # Not `command.main`, which has its own ideas about interruptions and broken pipes.
        with command.make_context(PROGRAM, list(sys.argv[1:] if arguments is None else arguments)) as context:
            returned = command.invoke(context)
    except click.exceptions.Exit as end:
        returned = end.exit_code
    except (SurveilError, click.ClickException, click.Abort, KeyboardInterrupt, SystemExit, OSError) as error:
        return explain(error)
    except MemoryError:
        return explain(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
    except Exception as error:  # noqa: BLE001 - a defect of ours, and people should not have to read tracebacks.
        return _say_shortage(error) or _report(error)
    return _close_stdout() or (int(returned) if isinstance(returned, int) else 0)


def explain(error: BaseException) -> int:
    """Say what went wrong in one sentence, and return the exit code."""
    match error:
        case BrokenPipeError():
            silence(sys.stdout)
            return BROKEN_PIPE
        case SurveilError():
            say(str(error))
            return int(error.exit_code)
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.ctx.get_help(), err=True)
            return int(ExitCode.USAGE)
        case click.UsageError():
            _say_usage(error)
            return int(ExitCode.USAGE)
        case click.ClickException():
            say(error.format_message())
            return int(ExitCode.USAGE)
        case click.Abort() | KeyboardInterrupt():
            say("Interrupted.")
            return int(ExitCode.INTERRUPTED)
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(ExitCode.INFRASTRUCTURE)
        case OSError():
            _say_refusal(error)
            return int(ExitCode.INFRASTRUCTURE)
        case _:
            raise error


def say(sentence: str) -> None:
    """Print what surveil itself has to say: on stderr, in front of nothing that a script reads. Whatever was typed, or
    a system answered, stands there as text; only line ends and tabs are what they are.
    """
    inert = "".join(char if char in "\n\t" else printable(char) for char in _whole(sentence))
    if not is_read(sys.stderr, UNREAD_MS):
        silence(sys.stderr)
    try:
        click.echo(f"surveil: {inert}", err=True)
    except OSError:
        # Nobody reads it, or it has no room. The exit code says it still.
        silence(sys.stderr)


def _whole(sentence: str) -> str:
    """The sentence with its end; several, as complaints are, with theirs where they have them."""
    one = ("\n" not in sentence and sentence[-1:].isalnum()) or sentence[-1:] in {"'", "`", ")", '"'}
    return f"{sentence}." if one else sentence


def _say_usage(error: click.UsageError) -> None:
    hint = f" Type `{error.ctx.command_path} --help` to see how it is used." if error.ctx is not None else ""
    problem = error.format_message()
    say(problem + ("" if problem.endswith((".", "?")) else ".") + hint)


def _say_refusal(error: OSError) -> None:
    why = error.strerror or error
    if error.filename in {STANDARD_OUTPUT, STANDARD_ERROR}:
        silence(sys.stdout)
        say(
            f"What was to be printed could not be written to {error.filename}: {why}; "
            "print to another place, or make room there, and type it again."
        )
        return
    place = f" ({error.filename})" if error.filename else ""
    say(f"This machine refused: {why}{place}; `surveil doctor` looks for the cause.")


def _say_shortage(error: Exception) -> int:
    """Say what this machine lacks where Python has no kind of error for that; 0 where it lacks nothing."""
    if isinstance(error, RuntimeError) and str(error).startswith("can't start new thread"):
        say(
            "This machine refused a thread: this user has as many as it may, or their stacks find no room; look at "
            "`ulimit -u`, `ulimit -s` and `ulimit -v`, and type it again with other limits."
        )
    elif isinstance(error, OverflowError) and (year := _year()) > YEAR_MAX:
        say(
            f"This machine's clock says that it is the year {year}, and times after {YEAR_MAX} cannot be counted: set "
            "it with `timedatectl set-time`, and type it again."
        )
    else:
        return 0
    return int(ExitCode.INFRASTRUCTURE)


def _year() -> int:
    """By the machine's clock, which Python's calendar may not reach."""
    return 1970 + int(time.clock_gettime(time.CLOCK_REALTIME) / _YEAR_S)


def _report(error: Exception) -> int:
    """Keep the traceback of a defect in a file that a person can send, and say so."""
    import traceback

    lines = [
        f"surveil {__version__}, Python {sys.version}\n",
        f"arguments: {sys.argv[1:2]}\n",
        *traceback.format_exception(error),
    ]
    say(
        f"This is a defect of surveil ({type(error).__name__}: {error}), and not of what you typed; "
        f"please report it {_kept(lines)}, and look into it first for what you would not show."
    )
    return int(ExitCode.INFRASTRUCTURE)


def _kept(lines: Sequence[str]) -> str:
    """Keep these lines in a file; what to report, in words. Where no file can be made, the innermost line has to do."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="surveil-defect-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.writelines(lines)
    except OSError:
        where = next((line.strip().split("\n")[0] for line in reversed(lines) if line.startswith("  File ")), "")
        return f"with this place of it: {where}"
    return f"with the file {file.name}"


def _close_stdout() -> int:
    """Write out what is buffered: a reader that went away, or a disk without room, shows only now."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return explain(error)
    return 0
