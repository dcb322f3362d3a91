"""What a shell is offered for a name that only a dispatcher knows: builds, jobs, runners, peers, tokens; and a path.

What belongs here: the candidates. What does not: commands and flags, which click offers by itself.

Nobody waits for a completion: where no dispatcher answers at once there are no candidates, and never a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from surveil.core.spelling import printable
from surveil.errors import SurveilError
from surveil.screen.words import age, commit_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from surveil.cli.blocking import Dispatcher

PATIENCE_MS: Final = 700
OFFERED_MAX: Final = 30

Offer = Callable[[click.Context, click.Parameter, str], list["CompletionItem"]]


def builds(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest builds, each with its commit."""

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        found = dispatcher.ask("builds", {"limit": OFFERED_MAX}, patience_ms=PATIENCE_MS).body
        return ((str(each["id"]), f"{each['state']}, {age(each['created_at'])}: {commit_line(each)}") for each in found)

    return _offer(ctx, ask, incomplete)


def jobs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The jobs of the build that was typed before, but for those that were typed already."""
    build = ctx.params.get("build")
    typed = ctx.params.get("jobs") or ()
    if not isinstance(build, int):
        return []

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        document = dispatcher.ask("build", {"build": build}, patience_ms=PATIENCE_MS).body
        return ((each["name"], each["state"]) for each in document["jobs"] if each["name"] not in typed)

    return _offer(ctx, ask, incomplete)


def jobs_of(ctx: click.Context, build: int, incomplete: str) -> list[CompletionItem]:
    """The jobs of a build as `12/test`."""

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        document = dispatcher.ask("build", {"build": build}, patience_ms=PATIENCE_MS).body
        return ((each["id"], each["state"]) for each in document["jobs"])

    return _offer(ctx, ask, incomplete)


def runners(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runners of the pool by their names."""

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        found = dispatcher.ask("runners", {"limit": OFFERED_MAX}, patience_ms=PATIENCE_MS).body
        return ((each["name"], each["state"]) for each in found)

    return _offer(ctx, ask, incomplete)


def peers(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Everybody who is let in, by their names."""

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        found = dispatcher.ask("peers", {"limit": OFFERED_MAX}, patience_ms=PATIENCE_MS).body
        return ((each["name"], each["role"]) for each in found if each["revoked_at"] is None)

    return _offer(ctx, ask, incomplete)


def tokens(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The join tokens that still let somebody in, by their ids."""

    def ask(dispatcher: Dispatcher) -> Iterable[tuple[str, str]]:
        found = dispatcher.ask("tokens", {"limit": OFFERED_MAX}, patience_ms=PATIENCE_MS).body
        return ((each["id"], f"for a {each['role']}") for each in found if each["usable"])

    return _offer(ctx, ask, incomplete)


def files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, which the shell itself finds."""
    return _paths("file", incomplete)


def folders(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders, which the shell itself finds."""
    return _paths("dir", incomplete)


def _paths(kind: str, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=kind)]


def _offer(
    ctx: click.Context, ask: Callable[[Dispatcher], Iterable[tuple[str, str]]], incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from surveil.cli.connecting import connected

    where: dict[str, Any] = {key: ctx.params.get(key) for key in ("dispatcher", "data", "config")}
    try:
        with ctx.scope(cleanup=False), connected(where) as dispatcher:
            found = [(name, about) for name, about in ask(dispatcher) if name.startswith(incomplete)]
    except (SurveilError, OSError):
        return []
    # Whoever named it chose the text; none of it may end a line of the shell's or move its cursor.
    return [CompletionItem(name, help=printable(about)) for name, about in found if name.isprintable()]
