"""Commands about services: `systemd install` and `systemd remove`.

What belongs here: from what was typed to a unit. What does not: what is in units, and their files (`units`).
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any, Final

import click

from surveil.cli.grammar import NearGroup, root
from surveil.cli.options import example
from surveil.cli.units import ROLES, SYSTEM, Unit, data_of, install, name_of, remove, require_absolute, text_of
from surveil.errors import InvalidError
from surveil.screen.printing import print_line, tell

USER: Final = "surveil"
_PATHS: Final = ("data", "rules", "ssh_config", "credentials", "config", "blobs_credentials", "vault_token")
_HIDDEN: Final = ("join",)


@click.group(
    cls=NearGroup, epilog=example("surveil systemd install web --dry-run", "surveil systemd install dispatcher")
)
def systemd() -> None:
    """Have systemd run a role as a service."""


def _where(command: Any) -> Any:
    return click.option(
        "--user/--system", "own", default=None,
        help="For your own systemd, or for the machine's.  [default: the machine's for root]",
    )(command)  # fmt: skip


@systemd.command(
    "install",
    context_settings={"ignore_unknown_options": True},
    epilog=example(
        "surveil systemd install dispatcher -- --listen tcp://0.0.0.0:7300",
        "surveil systemd install web -- --public-url https://ci.example.org --trusted-proxy 127.0.0.1",
        "surveil systemd install observer -- https://example.org/project.git",
        "surveil systemd install runner --dry-run",
    ),
)
@_where
@click.option(
    "--as", "as_user", default=USER, metavar="USER", show_default=True, help="Whose the machine's service is."
)
@click.option("--dry-run", is_flag=True, help="Print the unit, and change nothing.")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="[-- FLAGS OF THE ROLE ...]")
def install_unit(*, own: bool | None, as_user: str, dry_run: bool, role: str, flags: tuple[str, ...]) -> None:
    """Write the unit of a role, as closed as the role allows.

    What stands behind `--` are the role's own flags. Repeating it changes nothing, and what you changed by hand is
    never written over: `systemctl edit` is for that.
    """
    is_own = _is_own(own)
    unit = _unit(role, flags, None if is_own else as_user)
    if dry_run:
        for line in text_of(unit).splitlines():
            print_line(line)
        return
    if unit.user is not None:
        _require_user(unit.user)
    folder = _folder(is_own=is_own)
    done = install(folder, unit)
    tell(f"{folder / unit.name} is {done}. Start it with")
    word = "systemctl --user" if is_own else "systemctl"
    tell(f"{word} daemon-reload && {word} enable --now {unit.name.removesuffix('.service')}")


@systemd.command("remove", epilog=example("surveil systemd remove web"))
@_where
@click.argument("role", type=click.Choice(ROLES))
def remove_unit(*, own: bool | None, role: str) -> None:
    """Take the unit of a role out again; what you wrote beside it stays."""
    folder = _folder(is_own=_is_own(own))
    tell(f"{folder / name_of(role)} is {remove(folder, role)}.")


def _unit(role: str, flags: tuple[str, ...], user: str | None) -> Unit:
    """The unit for these flags, which the role's own command understands."""
    command = root.get_command(click.Context(root), role)
    assert command is not None, f"{role} is a command"
    if flags and not flags[0].startswith("-") and isinstance(command, click.Group):
        raise click.UsageError(f"`surveil {role} {flags[0]}` is no service.")
    typed = command.make_context(f"surveil {role}", list(flags)).params
    for key in _HIDDEN:
        if typed.get(key):
            raise InvalidError(
                f"Everybody can read a unit, so --{key} does not belong there: join once by hand, as {user or 'you'}, "
                "with the same --data; after that no token is needed."
            )
    if "@" in str(typed.get("database") or "").partition("://")[2]:
        raise InvalidError("Everybody can read a unit: name a file with the database's URL in SURVEIL_DATABASE_FILE.")
    require_absolute([str(typed[key]) for key in _PATHS if typed.get(key)])
    require_absolute([each for each in typed.get("repos") or () if ":" not in each])
    data = Path(typed["data"]) if typed.get("data") else data_of(role) if user is not None else None
    where = () if typed.get("data") or data is None else ("--data", str(data))
    words = (sys.executable, "-P", "-m", "surveil", role, *where, *flags)
    return Unit(role=role, command=words, user=user, data=data, spawns=str(typed.get("spawn") or 0) != "0")


def _is_own(typed: bool | None) -> bool:  # noqa: FBT001  # what was typed, if it was
    return os.geteuid() != 0 if typed is None else typed


def _folder(*, is_own: bool) -> Path:
    if not is_own:
        return SYSTEM
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "systemd" / "user"


def _require_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise InvalidError(
            f"There is no user {name}: type `useradd --system --create-home --home-dir /var/lib/surveil {name}`, or "
            "name another one with --as."
        ) from None
