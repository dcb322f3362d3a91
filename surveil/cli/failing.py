"""How a command ends: the one place that turns errors into a sentence on stderr and an exit code.

What belongs here: everything between an exception and the end of the process. What does not: the sentences, which
stand where the errors are raised, and the codes, which `surveil.errors` lists.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

import click

from surveil import __version__
from surveil.cli.grammar import COMPLETE, PROGRAM
from surveil.core.spelling import printable
from surveil.errors import ExitCode, SurveilError

BROKEN_PIPE: Final = 141
"""What a shell shows for a program that SIGPIPE ended: `surveil logs 7 | head` is no failure of ours."""


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
    except Exception as error:  # noqa: BLE001 - a defect of ours, and people should not have to read tracebacks.
        return _report(error)
    return _close_stdout() or (int(returned) if isinstance(returned, int) else 0)


def explain(error: BaseException) -> int:
    """Say what went wrong in one sentence, and return the exit code."""
    match error:
        case BrokenPipeError():
            _silence_stdout()
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
            place = f" ({error.filename})" if error.filename else ""
            say(f"This machine refused: {error.strerror or error}{place}; `surveil doctor` looks for the cause.")
            return int(ExitCode.INFRASTRUCTURE)
        case _:
            raise error


def say(sentence: str) -> None:
    """Print what surveil itself has to say: on stderr, in front of nothing that a script reads. Whatever was typed, or
    a system answered, stands there as text; only line ends and tabs are what they are.
    """
    inert = "".join(char if char in "\n\t" else printable(char) for char in _whole(sentence))
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"surveil: {inert}", err=True)


def _whole(sentence: str) -> str:
    """The sentence with its end; several, as complaints are, with theirs where they have them."""
    one = ("\n" not in sentence and sentence[-1:].isalnum()) or sentence[-1:] in {"'", "`", ")", '"'}
    return f"{sentence}." if one else sentence


def _say_usage(error: click.UsageError) -> None:
    hint = f" Type `{error.ctx.command_path} --help` to see how it is used." if error.ctx is not None else ""
    problem = error.format_message()
    say(problem + ("" if problem.endswith((".", "?")) else ".") + hint)


def _report(error: Exception) -> int:
    """Keep the traceback of a defect in a file that a person can send, and say so."""
    import traceback

    lines = [
        f"surveil {__version__}, Python {sys.version}\n",
        f"arguments: {sys.argv[1:2]}\n",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="surveil-defect-", suffix=".txt", encoding="utf-8", delete=False
    ) as file:
        file.writelines(lines)
    say(
        f"This is a defect of surveil ({type(error).__name__}: {error}), and not of what you typed; "
        f"please report it with the file {file.name}, and look into it first for what you would not show."
    )
    return int(ExitCode.INFRASTRUCTURE)


def _close_stdout() -> int:
    """Write out what is buffered: a reader that went away shows only now."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        return explain(error)
    return 0


def _silence_stdout() -> None:
    """Keep the interpreter from complaining about the same broken pipe once more while it ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
