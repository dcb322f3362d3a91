"""Flags that many commands share, so that each has one name, one meaning and one help text.

What belongs here: decorators that add flags, and types that check what was typed. What does not: where a flag's value
goes (`connecting` for clients, `roles` and `pool` for the roles).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from surveil.core.spelling import parse_duration

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


def json_flag(command: Decorated) -> Decorated:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON: one document, or a line for each item of a stream."
    )(command)


def config_flag(command: Decorated) -> Decorated:
    """Add `--config`."""
    return click.option("--config", metavar="FILE", help="Read settings from FILE.  [env: SURVEIL_CONFIG]")(command)


def client_flags(command: Decorated) -> Decorated:
    """Add what every command that talks to a dispatcher takes."""
    for decorate in (
        config_flag,
        click.option("--data", metavar="DIR", help="The folder with this machine's keys.  [env: SURVEIL_DATA]"),
        click.option(
            "--dispatcher",
            metavar="ADDR",
            help="Where the dispatcher listens, tcp://HOST:PORT.  [env: SURVEIL_DISPATCHER]",
        ),
    ):
        command = decorate(command)
    return command


class _BuildNumber(click.IntRange):
    """As click's, but called what it is, and no larger than what a message and the database can hold."""

    name = "build's number"


BUILD = _BuildNumber(min=1, max=2**63 - 1)
"""A build's number."""
