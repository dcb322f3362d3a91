"""Commands about coming in by the web: `login`.

What belongs here: what people type to get a link or a token. What does not: what passes are (`surveil.store.passes`),
and machines that join (`tokens`).
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from typing import Final

import click

from surveil.cli.options import Duration, client_flags, example, json_flag
from surveil.cli.register import opened_register
from surveil.cli.settings import own_settings
from surveil.core.spelling import format_duration
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_COLUMNS: Final = (
    Column(name="id", least=12),
    Column(name="kind"),
    Column(name="person", least=8),
    Column(name="scope"),
    Column(name="age", drop=1),
)
TOKEN_MS: Final = 90 * 24 * 3_600_000
_MADE_THERE: Final = (
    "`surveil login` asks no server for a link or a token: make it on the dispatcher's machine, without --server and "
    "--token before the command."
)


@click.command(
    epilog=example(
        "surveil login",
        "surveil login --scope read --person alice",
        "surveil login --token --scope run --expires 30d",
        "surveil login --list",
        "surveil login --end 4f1c09aa3b7e",
    )
)
@click.option(
    "--scope", type=click.Choice(["read", "run", "admin"]), default="admin", show_default=True,
    help="What its holder may do: look, have things run, or everything.",
)  # fmt: skip
@click.option(
    "--person",
    metavar="NAME",
    help="Whose it is; by default whoever types this. Who is known (`surveil user`) may do what their roles say.",
)
@click.option("--token", "as_token", is_flag=True, help="Make a token for a program instead of a link.")
@click.option(
    "--expires", type=Duration(), metavar="DURATION", help="How long a token is good for; by default 90 days."
)
@click.option("--list", "as_list", is_flag=True, help="List the sessions and tokens that are still good.")
@click.option("--end", metavar="ID", help="Let nobody in any more with this session or token.")
@client_flags
@json_flag
def login(  # one for each flag
    scope: str,
    person: str | None,
    expires: int | None,
    *,
    as_token: bool,
    as_list: bool,
    end: str | None,
    as_json: bool,
    **where: str | None,
) -> None:
    """Print a link that signs a browser in, or make a token for a program.

    It is typed on the dispatcher's machine, by whoever may read its folder; --list and --end work with --server as
    well, for one's own, and with scope `admin` for everybody's. A link works once, within 15 minutes; a token is shown
    here and never again.
    """
    from surveil.store.passes import Kind
    from surveil.web.links import LINK_MS, known_as, make_link, make_pass

    if as_list or end is not None:
        if as_token or expires is not None or person is not None or (as_list and end is not None):
            raise click.UsageError("--list and --end make nothing: leave the other flags out.")
        _look_after(where, end, as_json=as_json)
        return
    data = own_settings(where, _MADE_THERE).data
    name, now = person or getpass.getuser(), time.time_ns() // 1_000_000
    user = known_as(data, person)
    if as_token:
        lasts_ms = expires or TOKEN_MS
        made = make_pass(data, Kind.TOKEN, person=name, scope=scope, now=now, lasts_ms=lasts_ms, user=user)
    else:
        if expires is not None:
            raise click.UsageError("A link is good for 15 minutes; --expires goes with --token.")
        lasts_ms, made = LINK_MS, make_link(data, person=name, scope=scope, now=now, user=user)
    if as_json:
        print_json({"token" if as_token else "link": made, "scope": scope, "person": name, "expires_ms": lasts_ms})
        return
    print_line(made)
    use = "Show it as `Authorization: Bearer TOKEN`" if as_token else "Open it in a browser; it works once"
    may = f"`{scope}`" if user is None else f"do what their roles say, and `{scope}` at most"
    tell(f"{use}, within {format_duration(lasts_ms)}. It lets {name} {may}.")


def _look_after(where: Mapping[str, str | None], end: str | None, *, as_json: bool) -> None:
    """List what lets people and programs in, or end one of it."""
    with opened_register(where) as register:
        if end is not None:
            ended = register.end(end)
            tell(f"The {ended['kind']} {ended['id']} of {ended['person']} lets nobody in any more.")
            return
        found = register.passes()
    if as_json:
        print_json(found)
    elif not found:
        tell("Nobody is signed in, and there are no tokens; `surveil login` makes a link.")
    else:
        rows = [[each["id"], each["kind"], each["person"], each["scope"], age(each["created_at"])] for each in found]
        print_table(_COLUMNS, rows)
