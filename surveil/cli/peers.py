"""Commands about who is let in, whatever the role: `peers` lists them, and both groups take one out.

What belongs here: these two groups. What does not: how somebody gets in (`tokens`), and orders for runners (`pool`).
"""

from __future__ import annotations

import shlex
from typing import Final

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, example, json_flag, offered
from surveil.screen.printing import print_json, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_COLUMNS: Final = (
    Column(name="name", least=10),
    Column(name="role"),
    Column(name="state"),
    Column(name="joined", drop=2),
    Column(name="labels", least=8, drop=1),
    Column(name="key", drop=3),
)
_AGAIN: Final = {
    "runner": "surveil runner --join TOKEN",
    "observer": "surveil observer --join TOKEN REPO ...",
    "client": "surveil client --join TOKEN",
}


@click.group(cls=NearGroup, epilog=example("surveil peer revoke old-laptop", "surveil peer revoke eye --role observer"))
def peer() -> None:
    """Take out a runner, an observer or a client."""


@click.group(
    cls=NearGroup,
    invoke_without_command=True,
    epilog=example("surveil peers", "surveil peers --json", "surveil peers revoke old-laptop"),
)
@client_flags
@json_flag
@click.pass_context
def peers(ctx: click.Context, /, *, as_json: bool, **where: str | None) -> None:
    """List who is let in: runners, observers and clients."""
    if ctx.invoked_subcommand is not None:
        return
    with connected(where) as dispatcher:
        found = dispatcher.listed("peers")
    if as_json:
        print_json(found)
        return
    print_table(
        _COLUMNS,
        [
            [
                known["name"],
                known["role"],
                "live" if known["revoked_at"] is None else "revoked",
                age(known["created_at"]),
                ", ".join(known["labels"]),
                known["key"],
            ]
            for known in found
        ],
    )


@click.command("revoke", epilog=example("surveil peer revoke spare-2", "surveil peer revoke eye --role observer"))
@click.argument("name", shell_complete=offered("peers"))
@click.option(
    "--role",
    type=click.Choice(["runner", "observer", "client"]),
    help="What it is, where several have that name.",
)
@click.option("--reason", default="", metavar="TEXT", help="A sentence for whoever wonders later.")
@client_flags
def revoke(name: str, *, role: str | None, reason: str, **where: str | None) -> None:
    """Let a runner, an observer or a client in no more.

    NAME may also be its key. Its key becomes worthless, on connections that are open as well; its name is free again,
    so that another machine can take its place.
    """
    with connected(where) as dispatcher:
        gone = dispatcher.ask("peer_revoke", {"name": name, "role": role or "", "reason": reason}).body
    kind = gone["role"]
    tell(
        f"The {kind} {gone['name']} is no longer let in; its key is worthless. To put another in its place: "
        f"`surveil token create --role {kind}`, and there `{_AGAIN[kind]} --name {shlex.quote(gone['name'])}`."
    )


peer.add_command(revoke)
peers.add_command(revoke)
