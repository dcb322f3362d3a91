"""`watch`: what happens, as it happens; and following one build to its verdict, which `submit --wait` does as well.

What belongs here: the journal on a screen, and a verdict's exit code. What does not: waiting for news
(`surveil.client`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from surveil.cli.connecting import connected
from surveil.cli.options import BUILD, Number, client_flags, example, json_flag
from surveil.client import exit_code_of
from surveil.errors import ExitCode, SurveilError
from surveil.screen.printing import print_json_line, print_line, tell
from surveil.screen.words import Waits

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher


class Detached(SurveilError):
    """Somebody who followed a build pressed Ctrl-C, which ends the following and not the build."""

    exit_code = ExitCode.INTERRUPTED


@click.command(epilog=example("surveil watch", "surveil watch 12 --json"))
@click.argument("build", type=BUILD, required=False)
@click.option("--since", type=Number(0), metavar="POSITION", help="Start after this position of the journal.")
@client_flags
@json_flag
def watch(build: int | None, since: int | None, *, as_json: bool, **where: str | None) -> int:
    """Print what happens, as it happens.

    Without BUILD: everything from now on, until Ctrl-C. With BUILD: its whole story, ending with its verdict and
    the verdict's exit code.
    """
    with connected(where) as dispatcher:
        if build is not None:
            return int(follow(dispatcher, build, as_json=as_json, after=since or 0))
        for note in dispatcher.follow_journal(after=-1 if since is None else since):
            print_json_line(note) if as_json else print_line(note_line(note))
    return int(ExitCode.OK)


def follow(
    dispatcher: Dispatcher,
    build: int,
    *,
    as_json: bool = False,
    after: int = 0,
    quiet: bool = False,
    timeout_ms: int | None = None,
) -> ExitCode:
    """Print a build's journal until its verdict; returns the verdict's code. `quiet` prints to stderr instead of
    stdout. Why jobs wait is told on stderr.
    """
    waits = Waits()

    def tell_waiting(document: Mapping[str, Any]) -> None:
        for news in waits.news(document):
            tell(f"--- {news} ---", "weak")

    try:
        for note in dispatcher.follow_build(build, after=after, timeout_ms=timeout_ms, when_quiet=tell_waiting):
            if as_json:
                print_json_line(note)
            elif quiet:
                tell(note_line(note), note["state"])
            else:
                print_line(note_line(note))
        return exit_code_of(dispatcher.build(build))
    except KeyboardInterrupt:
        raise Detached(
            f"Build {build} goes on without you: `surveil watch {build}` follows it again, "
            f"`surveil cancel {build}` ends it."
        ) from None


def note_line(note: Mapping[str, Any]) -> str:
    """One line of the journal for people: when, what, which state, why."""
    who = note["name"] or note["id"]
    return f"{note['at']}  {note['what']} {who}  {note['state']}" + (f"  {note['reason']}" if note["reason"] else "")
