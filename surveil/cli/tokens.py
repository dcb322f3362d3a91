"""Commands about letting machines in: token create, list, revoke; client --join.

What belongs here: what people type to enrol something. What does not: the token's form (`surveil.net.tokens`) and the
talk (`surveil.net.enrolment`).
"""

from __future__ import annotations

from typing import Final

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import Duration, Number, client_flags, config_flag, example, json_flag, offered
from surveil.core.spelling import format_duration
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_COLUMNS: Final = (
    Column(name="id", least=8),
    Column(name="role"),
    Column(name="state"),
    Column(name="uses left", drop=1),
    Column(name="age", drop=2),
    Column(name="labels", least=8),
)


@click.group(cls=NearGroup, epilog=example("surveil token create", "surveil token list"))
def token() -> None:
    """Make, list and revoke join tokens."""


@token.command(
    epilog=example(
        "surveil token create",
        "surveil token create --label gpu --expires 10m --uses 5",
        'surveil runner --join "$(ssh ci.example.org surveil token create)"',
    )
)
@click.option(
    "--role",
    type=click.Choice(["runner", "observer", "client"]),
    default="runner",
    show_default=True,
    help="What may join.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="LABEL", help="A label that whoever joins may carry; again for more."
)
@click.option(
    "--expires", type=Duration(), default="1h", show_default=True, metavar="DURATION", help="How long it is good for."
)
@click.option(
    "--uses",
    type=Number(1, 1000),
    metavar="N",
    default=1,
    show_default=True,
    help="How many machines may join with it.",
)
@client_flags
@json_flag
def create(role: str, labels: tuple[str, ...], expires: int, uses: int, *, as_json: bool, **where: str | None) -> None:
    """Make a join token, and print it alone on stdout.

    The token is a secret: it carries the dispatcher's address and key and lets its holder join. On the other machine,
    type what is said on stderr.
    """
    with connected(where) as dispatcher:
        about = {"role": role, "labels": list(labels), "expires_ms": expires, "uses": uses}
        made = dispatcher.ask("token_create", about).body
    if as_json:
        print_json(made)
        return
    print_line(made["token"])
    times = "once" if uses == 1 else f"{uses} times"
    tell(f"Good for {format_duration(expires)}, {times}. On the other machine type: surveil {role} --join TOKEN")


@token.command("list", epilog=example("surveil token list --json"))
@client_flags
@json_flag
def list_tokens(*, as_json: bool, **where: str | None) -> None:
    """List join tokens; what they hold is never shown again."""
    with connected(where) as dispatcher:
        tokens = dispatcher.listed("tokens")
    if as_json:
        print_json(tokens)
        return
    if not tokens:
        tell("There are no tokens; `surveil token create` makes one.")
        return
    rows = [
        [
            known["id"],
            known["role"],
            _state(known),
            str(known["uses_left"]),
            age(known["created_at"]),
            ", ".join(known["labels"]),
        ]
        for known in tokens
    ]
    print_table(_COLUMNS, rows)


@token.command(epilog=example("surveil token revoke 4f1c"))
@click.argument("id_", metavar="ID", shell_complete=offered("tokens"))
@client_flags
def revoke(id_: str, **where: str | None) -> None:
    """Make a token worthless; who joined with it stays."""
    with connected(where) as dispatcher:
        dispatcher.ask("token_revoke", {"id": id_})
    tell(f"Token {id_} is worthless now.")


@click.command(epilog=example("surveil client --join TOKEN"))
@click.option("--join", metavar="TOKEN", required=True, help="A token of `surveil token create --role client`.")
@click.option("--name", metavar="NAME", help="What people call this machine.  [default: its host name]")
@click.option("--data", metavar="DIR", help="The folder that keeps the key.  [env: SURVEIL_DATA]")
@config_flag
def client(join: str, name: str | None, data: str | None, config: str | None) -> None:
    """Let this machine's commands talk to a dispatcher elsewhere.

    Needed once: the key that is made stays in the data folder, and every command finds it there.
    """
    import asyncio

    from surveil.cli.settings import client_settings
    from surveil.client.access import ENROLLED_FOLDER
    from surveil.config import name_of_this_machine
    from surveil.core.peers import Role
    from surveil.net.enrolment import enrol
    from surveil.net.tokens import parse_token

    settings = client_settings({"data": data, "config": config})
    folder = settings.data / ENROLLED_FOLDER
    enrolled = asyncio.run(enrol(parse_token(join), name=name or name_of_this_machine(), role=Role.CLIENT, data=folder))
    tell(f"Joined as {enrolled.name}; `surveil status` asks that dispatcher now. The key is in {folder}.")


def _state(known: dict[str, object]) -> str:
    if known["usable"]:
        return "usable"
    if known["revoked_at"]:
        return "revoked"
    return "spent" if known["uses_left"] == 0 else "expired"
