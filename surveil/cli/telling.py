"""Commands about telling others: `notify` runs the role, and its commands look at what waits.

What belongs here: this group. What does not: what is told (`surveil.notify`).
"""

from __future__ import annotations

from typing import Any, Final

import click

from surveil.cli.flags import role_flags
from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, example, json_flag
from surveil.cli.settings import load_flags, own_settings
from surveil.config import NotifyConfig
from surveil.core.states import ABOUT_BUILDS
from surveil.places import RULES
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_NOBODY: Final = "Nobody is told anything yet: write `notify.toml` in the data folder, and start `surveil notify`."
_TOLD_THERE: Final = (
    "`surveil notify` asks no server, as `notify.toml` and what it names are on the dispatcher's machine: type it "
    "there, without --server and --token."
)
_LISTED_THERE: Final = (
    "`surveil notify list` asks no server: `surveil --server URL status` says who is told, and what waits for them; "
    "or type it on the dispatcher's machine, without --server and --token."
)
_UNREAD: Final = "Nobody is told anything yet: `notify.toml` is there; start `surveil notify`, or `surveil up` again."

_COLUMNS: Final = (
    Column(name="target", least=10),
    Column(name="told"),
    Column(name="last"),
    Column(name="waits"),
    Column(name="since"),
    Column(name="behind", drop=1),
    Column(name="given up", drop=2),
    Column(name="problem", folds=True),
)


@click.group(
    cls=NearGroup,
    invoke_without_command=True,
    epilog=example("surveil notify", "surveil notify --public-url https://ci.example.org", "surveil notify list"),
)
@role_flags(NotifyConfig)
@click.pass_context
def notify(ctx: click.Context, /, **flags: Any) -> int:
    """Tell forges and people what became of builds.

    It runs on the dispatcher's machine and reads what that keeps under --data. `notify.toml` there says who is told
    what; each is told in order, and again until it is taken. It may be stopped and started at any time.
    """
    if ctx.invoked_subcommand is not None:
        typed = [name for name in flags if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if typed:
            raise click.UsageError(f"Flags of `{ctx.invoked_subcommand}` stand after it, not before.", ctx)
        return 0
    config = load_flags(NotifyConfig, flags, _TOLD_THERE).value
    from surveil.notify import main

    return int(main(config))


@notify.command("list", epilog=example("surveil notify list", "surveil notify list --json"))
@client_flags
@json_flag
def listed(*, as_json: bool, **where: str | None) -> None:
    """List who is told, what waits for them, and why."""
    from surveil.answer.outboxes import targets_in

    data = own_settings(where, _LISTED_THERE).data
    found = targets_in(data)
    if as_json:
        print_json(found)
        return
    if not found:
        tell(_UNREAD if (data / RULES).exists() else _NOBODY)
        return
    print_table(
        _COLUMNS,
        [
            [
                each["name"], str(each["delivered"]), age(each["delivered_at"]), str(each["waiting"]),
                age(each["waiting_since"]), str(each["behind"]), str(each["given_up"]), each["problem"] or "",
            ]
            for each in found
        ],
    )  # fmt: skip


@notify.command(
    "preview",
    epilog=example(
        "surveil notify preview 7", "surveil notify preview 7 --html > letter.html",
        "surveil notify preview 7 --event broken",
    ),
)  # fmt: skip
@click.argument("build", type=click.IntRange(1))
@click.option("--event", type=click.Choice(ABOUT_BUILDS), help="As if the build had meant this.")
@click.option("as_html", "--html", is_flag=True, help="Print the HTML of an e-mail instead of its text.")
@json_flag
@role_flags(NotifyConfig)
def preview(build: int, event: str | None, *, as_html: bool, as_json: bool, **flags: Any) -> None:
    """Show what people would read about a build, and tell nobody."""
    from surveil.notify.trying import message_about
    from surveil.notify.wording import plain

    message = message_about(load_flags(NotifyConfig, flags, _TOLD_THERE).value, build, event)
    if as_json:
        print_json(message.document)
        return
    if as_html:
        from surveil.notify.letter import html

        lines = html(message).splitlines()
    else:
        lines = plain(message).splitlines()
    for line in lines:
        print_line(line)


@notify.command("test", epilog=example("surveil notify test team"))
@click.argument("channel")
@role_flags(NotifyConfig)
def tried(channel: str, **flags: Any) -> None:
    """Send a message to a channel of `notify.toml` now, to see whether it arrives."""
    from surveil.notify.trying import try_channel

    try_channel(load_flags(NotifyConfig, flags, _TOLD_THERE).value, channel)
    tell(f"{channel} took a message.")
