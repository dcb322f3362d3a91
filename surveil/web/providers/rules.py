"""The file that says where people sign in: TOML, a table for each provider, and in it one for each role that it gives.

What belongs here: reading and checking it, and which roles somebody's groups come to. What does not: how tables and
values are read (`surveil.config`), and asking providers (`speaking`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from surveil.config import values
from surveil.config.tables import Read, fields_of, file_beside, tables_of, toml_of, unknown
from surveil.core.spelling import printable, quoted
from surveil.errors import InvalidError
from surveil.frozen import dataclass
from surveil.store.people import EVERYWHERE, PATTERN_CHARACTERS_MAX, ROLES_MAX, SCOPES, Role

FILE: Final = "sign-in.toml"
TABLE: Final = "oidc"
LASTS_MS: Final = 12 * 3_600_000
LASTS_MS_LEAST: Final = 5 * 60_000
LASTS_MS_MOST: Final = 30 * 24 * 3_600_000
PROVIDERS_MAX: Final = 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
_NEEDED: Final = ("name", "issuer", "client_id", "role")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role for whoever is in this group at the provider, or for everybody who signs in there."""

    group: str | None
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRule:
    """A provider: who it is, who we are there, which of its claims are believed, and the roles that they give.

    A session is good for `lasts_ms`. With `trust_names`, whoever comes with a name that an administrator wrote down
    before is that person; without, nobody is somebody by a name. With `private` it may be in a network of one's own.
    """

    name: str
    title: str
    issuer: str
    client_id: str
    grants: tuple[Grant, ...]
    client_secret_file: Path | None = None
    scopes: tuple[str, ...] = ()
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    lasts_ms: int = LASTS_MS
    trust_names: bool = False
    private: bool = False

    @property
    def needs_groups(self) -> bool:
        """Whether anything follows from the groups of people."""
        return any(each.group is not None for each in self.grants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Who came from a provider: how it tells them from all others, what they are called there, and their groups."""

    rule: ProviderRule
    subject: str
    called: str
    groups: frozenset[str]

    @property
    def roles(self) -> tuple[Role, ...]:
        """Their roles, as the provider's rule has it."""
        return tuple(each.role for each in self.rule.grants if each.group is None or each.group in self.groups)


def load_providers(data: Path) -> tuple[ProviderRule, ...]:
    """The providers that the data folder's file names; none where there is no file.

    Raises:
        InvalidError: it says what cannot be; a line for each complaint.
    """
    path = data / FILE
    if not path.exists():
        return ()
    found = toml_of(path, "let whoever runs `surveil web` read it, or remove it")
    complaints = [unknown(name, [TABLE]) for name in found if name != TABLE]
    tables = tables_of(found, TABLE, complaints)
    rules = [_provider(table, f"{TABLE} {number}", path.parent, complaints) for number, table in enumerate(tables, 1)]
    names = [rule.name for rule in rules if rule is not None]
    complaints += [f"{quoted(name)} is there twice: give each a `name` of its own" for name in _twice(names)]
    if len(tables) > PROVIDERS_MAX:
        complaints.append(f"there are {len(tables)} providers, and {PROVIDERS_MAX} are the most")
    if complaints:
        raise InvalidError("\n".join(f"{path}: {printable(complaint)}" for complaint in complaints))
    return tuple(rule for rule in rules if rule is not None)


def _provider(table: Mapping[str, object], where: str, here: Path, complaints: list[str]) -> ProviderRule | None:
    known: Mapping[str, Read] = {
        "name": _name, "title": values.text, "issuer": values.issuer, "client_id": values.text,
        "client_secret_file": file_beside(here), "scopes": values.listed(_scope), "name_claim": values.text,
        "groups_claim": values.text, "session": values.duration(LASTS_MS_LEAST, LASTS_MS_MOST),
        "trust_names": values.flag, "private": values.flag, "role": lambda value: value,
    }  # fmt: skip
    read = fields_of(table, known, where, complaints)
    complaints += [f"{where}: `{name}` is missing" for name in _NEEDED if name not in table]
    grants = _grants(table, read.get("name", ""), where, complaints)
    if not set(_NEEDED) <= set(read):
        return None
    del read["role"]
    if "session" in read:
        read["lasts_ms"] = read.pop("session")
    return ProviderRule(**{"title": read["name"], **read}, grants=grants)


def _grants(table: Mapping[str, object], source: str, where: str, complaints: list[str]) -> tuple[Grant, ...]:
    known: Mapping[str, Read] = {
        "group": values.text, "role": values.one_of(*SCOPES), "repos": values.listed(_pattern),
    }  # fmt: skip
    found: list[Grant] = []
    for number, each in enumerate(tables_of({"role": table.get("role", [])}, "role", complaints), 1):
        place = f"{where}, role {number}"
        read: dict[str, Any] = fields_of(each, known, place, complaints)
        if "role" not in each:
            complaints.append(f"{place}: `role` is missing: write one of {', '.join(SCOPES)}")
        if "repos" in each and not each["repos"]:
            complaints.append(f"{place}: `repos` names none: leave it out for all repositories")
        scope = read.get("role", SCOPES[0])
        found += [
            Grant(group=read.get("group"), role=Role(repo=repo, scope=scope, source=source))
            for repo in read.get("repos", (EVERYWHERE,))
        ]
    if len(found) > ROLES_MAX:
        complaints.append(f"{where}: it gives {len(found)} roles, and {ROLES_MAX} are the most: use `*` in patterns")
    return tuple(found)


def _twice(names: list[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def _name(value: object) -> str:
    found = values.text(value)
    if _NAME.fullmatch(found) is None:
        raise ValueError(f"{quoted(found)} cannot stand behind the `@` of names: use a-z, 0-9 and `-`, at most 30")
    return found


def _scope(value: object) -> str:
    found = values.text(value)
    if _SCOPE.fullmatch(found) is None:
        raise ValueError(f"{quoted(found)} is no scope: write one word, like `groups`")
    return found


def _pattern(value: object) -> str:
    found = values.text(value)
    if len(found) > PATTERN_CHARACTERS_MAX:
        raise ValueError(f"{quoted(found)} names no repositories")
    return found
