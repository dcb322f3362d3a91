"""Flags that many commands share, so that each has one name, one meaning and one help text.

What belongs here: decorators that add flags, and types that check what was typed. What does not: where a flag's value
goes (`connecting` for clients, `roles` and `pool` for the roles).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from surveil.core.spelling import parse_duration, quoted

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_NUMBER_MAX: Final = 2**53
"""The largest number that a message carries."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def example(*lines: str) -> str:
    """The end of a command's help: lines that could be typed as they stand."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


class Duration(click.ParamType[int]):
    """`90s`, `10m`, `2h`; the value is an integer of milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed; a default that is milliseconds already stays as it is."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def offered(kind: str) -> Callable[..., list[CompletionItem]]:
    """What a shell is offered for a parameter: what the function `kind` of `completing` finds."""

    def offer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from surveil.cli import completing

        found: list[CompletionItem] = getattr(completing, kind)(ctx, param, incomplete)
        return found

    return offer


def json_flag(command: Decorated) -> Decorated:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON: one document, or a line for each item of a stream."
    )(command)


def config_flag(command: Decorated) -> Decorated:
    """Add `--config`."""
    return click.option(
        "--config",
        metavar="FILE",
        shell_complete=offered("files"),
        help="Read settings from FILE.  [env: SURVEIL_CONFIG]",
    )(command)


def client_flags(command: Decorated) -> Decorated:
    """Add what every command that talks to a dispatcher takes."""
    for decorate in (
        config_flag,
        click.option(
            "--data",
            metavar="DIR",
            shell_complete=offered("folders"),
            help="The folder with this machine's keys.  [env: SURVEIL_DATA]",
        ),
        click.option(
            "--dispatcher",
            metavar="ADDR",
            help="Where the dispatcher listens, tcp://HOST:PORT.  [env: SURVEIL_DISPATCHER]",
        ),
    ):
        command = decorate(command)
    return command


def input_flag(command: Decorated) -> Decorated:
    """Add `--input`."""
    return click.option(
        "--input",
        "inputs",
        metavar="NAME=VALUE",
        multiple=True,
        type=Assignment(),
        help="A value for an input that the pipeline declares under `on.manual.inputs`; may be repeated.",
    )(command)


class Number(click.ParamType[int]):
    """A whole number from `least` to `most`."""

    name = "number"

    def __init__(self, least: int, most: int = _NUMBER_MAX) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed, in digits of ASCII."""
        number = _whole(str(value))
        if number is None or not self._least <= number <= self._most:
            self.fail(f"{quoted(str(value))} is not a whole number from {self._least} to {self._most}.", param, ctx)
        return number


class Assignment(click.ParamType["tuple[str, str]"]):
    """`NAME=VALUE`."""

    name = "assignment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read what was typed; the value may be empty, and may hold further `=`."""
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{quoted(str(value))} is not of the form NAME=VALUE.", param, ctx)
        return name, text


class _Build(click.ParamType[int]):
    """The number of a build; of a job that was typed as surveil writes it, `12/test`, the sentence says how."""

    name = "build"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed; `#12` is fine as well."""
        text = str(value).removeprefix("#")
        number = _whole(text)
        if number is None or not 0 < number <= _NUMBER_MAX:
            build, _, name = text.partition("/")
            if name and _whole(build):
                self.fail(f"{quoted(text)} is a job: type its build and its name apart, `{build} {name}`.", param, ctx)
            self.fail(f"{quoted(text)} is no build's number; `surveil builds` lists them.", param, ctx)
        return number

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The newest builds, where a dispatcher answers at once."""
        from surveil.cli.completing import builds

        return builds(ctx, param, incomplete)


BUILD = _Build()
"""A build's number."""


class _Job(click.ParamType["tuple[int, str]"]):
    """`12/test`: a build's number and the name of a job of it; or `12`, the number alone, with an empty name."""

    name = "job"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, str]:
        """Read what was typed."""
        build, _, name = str(value).partition("/")
        return BUILD.convert(build, param, ctx), name

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The newest builds, and after a slash the jobs of one, where a dispatcher answers at once."""
        from surveil.cli.completing import builds, jobs_of

        build = _whole(incomplete.partition("/")[0]) if "/" in incomplete else None
        return builds(ctx, param, incomplete) if build is None else jobs_of(ctx, build, incomplete)


JOB = _Job()
"""A job by its build and name, or a whole build."""


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_NUMBER_MAX)) else None


def wait_flags(command: Decorated) -> Decorated:
    """Add `--wait` and `--timeout`, which commands have that begin a build."""
    for decorate in (
        click.option(
            "--timeout",
            type=Duration(),
            metavar="DURATION",
            help="With --wait: wait no longer than this; exit code 124.",
        ),
        click.option("--wait", is_flag=True, help="Follow the build on stderr, and end with its exit code."),
    ):
        command = decorate(command)
    return command


def check_wait(*, wait: bool, timeout: int | None) -> None:
    """Raise click's UsageError for a `--timeout` that nothing would wait for."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long to wait, so it needs --wait.")
