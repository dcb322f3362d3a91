"""Commands about people: `user` with its own.

What belongs here: what people type to say who may do what. What does not: what roles allow (`surveil.web.rights`), and
what somebody comes in with (`visiting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, example, json_flag
from surveil.cli.register import opened_register
from surveil.screen.printing import print_json, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_COLUMNS: Final = (
    Column(name="name", least=8),
    Column(name="role"),
    Column(name="repositories", folds=True),
    Column(name="signs in as", folds=True, drop=2),
    Column(name="seen", drop=1),
)
_ROLE: Final = click.Choice(["read", "run", "admin"])
_repo = click.option(
    "--repo", "repos", multiple=True, metavar="PATTERN",
    help="Only in the repositories of this address, in which `*` stands for anything; again for more.",
)  # fmt: skip


@click.group(cls=NearGroup, epilog=example("surveil user add alice --role run --repo https://example.org/lib.git"))
def user() -> None:
    """Say who may do what: people, and their roles in repositories."""


@user.command(
    "add",
    epilog=example(
        "surveil user add alice --role run --repo https://example.org/lib.git",
        "surveil user add grace --role admin",
        "surveil user add anybody --role read --repo 'https://example.org/public/*'",
    ),
)
@click.argument("name")
@click.option("--role", type=_ROLE, default="read", show_default=True, help="What they may do.")
@_repo
@client_flags
@json_flag
def add(name: str, role: str, repos: tuple[str, ...], *, as_json: bool, **where: str | None) -> None:
    """Know somebody by name, with a role.

    Type this on the dispatcher's machine, or with --server and a token of scope `admin`. The role is for all
    repositories, or those named. `anybody` stands for whoever comes with nothing: what it may read is public. `surveil
    login --person NAME` makes the link that they come in with.
    """
    from surveil.store.people import ANYBODY

    with opened_register(where) as register:
        found = register.put(name, _given(role, repos), new=True)
    _tell(found, as_json=as_json)
    if not as_json and name != ANYBODY:
        tell(f"`surveil login --person {name}` makes the link that they come in with.")


@user.command(
    "role",
    epilog=example(
        "surveil user role alice admin --repo https://example.org/lib.git",
        "surveil user role alice none --repo https://example.org/old.git",
        "surveil user role alice none",
    ),
)
@click.argument("name")
@click.argument("role", type=click.Choice(["none", "read", "run", "admin"]))
@_repo
@client_flags
@json_flag
def give(name: str, role: str, repos: tuple[str, ...], *, as_json: bool, **where: str | None) -> None:
    """Give somebody a role, or take it away with `none`.

    It is for all repositories, or those named; roles for other patterns stay as they are, and `none` without --repo
    takes all. What somebody may do is looked up each time they ask, so it holds at once.
    """
    from surveil.store.people import nobody_called

    with opened_register(where) as register:
        known = _find(register.people(), name)
        if known is None:
            raise nobody_called(name)
        changed = {each.repo for each in _given("read", repos)}
        by_hand = _roles([each for each in known["roles"] if each["source"] is None])
        others = [each for each in by_hand if each.repo not in changed]
        left = others if repos else []
        wanted = left if role == "none" else [*others, *_given(role, repos)]
        found = register.put(name, wanted, was=by_hand)
    _tell(found, as_json=as_json)


@user.command("ls", epilog=example("surveil user ls", "surveil user ls --json"))
@client_flags
@json_flag
def list_users(*, as_json: bool, **where: str | None) -> None:
    """List who is known, and what they may do where."""
    with opened_register(where) as register:
        found = register.people()
    if as_json:
        print_json(found)
    elif not found:
        tell("Nobody is known by name; `surveil user add NAME` adds somebody.")
    else:
        print_table(_COLUMNS, [row for each in found for row in _rows(each)])


@user.command("remove", epilog=example("surveil user remove alice"))
@click.argument("name")
@client_flags
@json_flag
def remove(name: str, *, as_json: bool, **where: str | None) -> None:
    """Know somebody no more, and end all that they came in with."""
    with opened_register(where) as register:
        done = register.forget(name)
    if as_json:
        print_json(done)
    else:
        tell(f"{name} may do nothing any more; {done['ended']} of their links, sessions and tokens ended.")


def _find(people: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((each for each in people if each["name"] == name), None)


def _roles(documents: list[dict[str, Any]]) -> list[Any]:
    from surveil.store.people import Role

    return [Role(repo=each["repo"], scope=each["role"]) for each in documents]


def _given(role: str, repos: Sequence[str]) -> list[Any]:
    from surveil.store.people import EVERYWHERE, Role

    return [Role(repo=repo, scope=role) for repo in repos or (EVERYWHERE,)]


def _rows(person: dict[str, Any]) -> list[list[str]]:
    """A line for each role, the name on the first. Who signs in elsewhere has chosen the name, perhaps: what they are
    there for ever stands beside it.
    """
    seen = age(person["seen_at"]) if person["seen_at"] else "never"
    there = f"{person['subject']} at {person['issuer'] or person['provider']}" if person["subject"] else ""
    roles = [[each["role"], each["repo"]] for each in person["roles"]] or [["none", ""]]
    first = [[person["name"], *roles[0], there, seen]]
    return [*first, *(["", *role, "", ""] for role in roles[1:])]


def _tell(person: dict[str, Any], *, as_json: bool) -> None:
    from surveil.store.people import roles_text

    if as_json:
        print_json(person)
        return
    tell(f"{roles_text(person['name'], _roles(person['roles']))}.")
