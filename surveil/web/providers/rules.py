"""The file that says where people sign in: TOML, a table for each provider, and in it one for each role that it gives.

What belongs here: reading and checking it, and which roles somebody's groups come to. What does not: how tables and
values are read (`surveil.config`), and asking providers (`openid`, `forges`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, assert_never

from surveil.config import values
from surveil.config.tables import Read, fields_of, file_beside, tables_of, toml_of, unknown
from surveil.core.spelling import printable, quoted
from surveil.errors import InvalidError
from surveil.frozen import dataclass
from surveil.places import SIGN_IN
from surveil.store.people import EVERYWHERE, PATTERN_CHARACTERS_MAX, ROLES_MAX, SCOPES, Role

FILE: Final = SIGN_IN
LASTS_MS: Final = 12 * 3_600_000
LASTS_MS_LEAST: Final = 5 * 60_000
LASTS_MS_MOST: Final = 30 * 24 * 3_600_000
PROVIDERS_MAX: Final = 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
_GROUP_OF_FORGE: Final = re.compile(r"(#[1-9][0-9]{0,18}|[A-Za-z0-9._-]{1,100})(/[A-Za-z0-9._-]{1,255})?")
_PERSON_OF_FORGE: Final = re.compile(r"[1-9][0-9]{0,18}")
_OPEN_FORGES: Final = frozenset({"https://github.com", "https://codeberg.org", "https://gitea.com"})
"""Where everybody in the world may have an account."""


class Kind(StrEnum):
    """What a provider speaks, and the table that names it."""

    OIDC = "oidc"
    GITHUB = "github"
    GITEA = "gitea"
    FORGEJO = "forgejo"


_URLS: Final = {Kind.GITHUB: "https://github.com", Kind.FORGEJO: "https://codeberg.org"}
"""Where those forges are that most people mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role for whoever is in this group at the provider, for the one person whom it knows by `subject`, or for
    everybody who signs in there.
    """

    group: str | None = None
    subject: str | None = None
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRule:
    """A provider: who it is, who we are there, which of its claims are believed, and the roles that they give.

    `issuer` is how it calls itself, and of a forge its address; people are told apart by it and by what they are there.
    A session is good for `lasts_ms`. With `trust_names`, whoever comes with a name that an administrator wrote down
    before is that person; without, nobody is somebody by a name. With `private` it may be in a network of one's own.
    """

    kind: Kind
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
        return tuple(
            each.role
            for each in self.rule.grants
            if (each.group is None or each.group in self.groups) and each.subject in {None, self.subject}
        )


def load_providers(data: Path) -> tuple[ProviderRule, ...]:
    """The providers that the data folder's file names; none where there is no file.

    Raises:
        InvalidError: it says what cannot be; a line for each complaint.
    """
    path = data / FILE
    if not path.exists():
        return ()
    found = toml_of(path, "let whoever runs `surveil web` read it, or remove it")
    complaints = [unknown(name, list(Kind)) for name in found if name not in set(Kind)]
    rules: list[ProviderRule | None] = []
    for kind in Kind:
        tables = tables_of(found, kind, complaints)
        rules += [_provider(kind, table, f"{kind} {number}", path.parent, complaints)
                  for number, table in enumerate(tables, 1)]  # fmt: skip
    names = [rule.name for rule in rules if rule is not None]
    complaints += [f"{quoted(name)} is there twice: give each a `name` of its own" for name in _twice(names)]
    if len(rules) > PROVIDERS_MAX:
        complaints.append(f"there are {len(rules)} providers, and {PROVIDERS_MAX} are the most")
    if complaints:
        raise InvalidError("\n".join(f"{path}: {printable(complaint)}" for complaint in complaints))
    return tuple(rule for rule in rules if rule is not None)


def _provider(
    kind: Kind, table: Mapping[str, object], where: str, here: Path, complaints: list[str]
) -> ProviderRule | None:
    known: dict[str, Read] = {
        "name": _name, "title": values.text, "client_id": values.text, "client_secret_file": file_beside(here),
        "session": values.duration(LASTS_MS_LEAST, LASTS_MS_MOST), "private": values.flag,
        "role": lambda value: value,
    }  # fmt: skip
    if kind is Kind.OIDC:
        known |= {
            "issuer": values.issuer, "scopes": values.listed(_scope), "name_claim": values.text,
            "groups_claim": values.text, "trust_names": values.flag,
        }  # fmt: skip
    else:
        known |= {"url": _forge}
    read = fields_of(table, known, where, complaints)
    given = set(table)
    if kind is not Kind.OIDC:
        if kind in _URLS:
            read.setdefault("url", _URLS[kind])
            given.add("url")
        read = {("issuer" if name == "url" else name): value for name, value in read.items()}
    needed = _needed(kind)
    complaints += [f"{where}: `{name}` is missing" for name in needed if name not in given]
    grants = _grants(kind, table, read, where, complaints)
    if not {"issuer" if name == "url" else name for name in needed} <= set(read):
        return None
    del read["role"]
    if "session" in read:
        read["lasts_ms"] = read.pop("session")
    return ProviderRule(**{"title": read["name"], **read}, kind=kind, grants=grants)


def _needed(kind: Kind) -> tuple[str, ...]:
    """The keys that its table cannot do without."""
    match kind:
        case Kind.OIDC:
            return ("name", "issuer", "client_id", "role")
        case Kind.GITHUB:
            # It gives no token to who does not prove to be the client, with PKCE or without.
            return ("name", "url", "client_id", "client_secret_file", "role")
        case Kind.GITEA | Kind.FORGEJO:
            return ("name", "url", "client_id", "role")
        case _:
            assert_never(kind)


def _grants(
    kind: Kind, table: Mapping[str, object], provider: Mapping[str, Any], where: str, complaints: list[str]
) -> tuple[Grant, ...]:
    is_forge = kind is not Kind.OIDC
    known: Mapping[str, Read] = {
        "group": _group_of_forge if is_forge else values.text,
        "subject": _person_of_forge if is_forge else values.text,
        "role": values.one_of(*SCOPES), "repos": values.listed(_pattern),
    }  # fmt: skip
    found: list[Grant] = []
    for number, each in enumerate(tables_of({"role": table.get("role", [])}, "role", complaints), 1):
        place = f"{where}, role {number}"
        read: dict[str, Any] = fields_of(each, known, place, complaints)
        if "role" not in each:
            complaints.append(f"{place}: `role` is missing: write one of {', '.join(SCOPES)}")
        if "repos" in each and not each["repos"]:
            complaints.append(f"{place}: `repos` names none: leave it out for all repositories")
        if "group" in each and "subject" in each:
            complaints.append(f"{place}: it is for a `group` or for one person (`subject`): write a table for each")
        scope = read.get("role", SCOPES[0])
        if not {"group", "subject"} & set(each) and scope != SCOPES[0] and provider.get("issuer") in _OPEN_FORGES:
            complaints.append(
                f"{place}: it would let everybody in the world {scope} who has an account at {provider['issuer']}: "
                "say for which `group` or `subject` it is"
            )
        found += [
            Grant(
                group=read.get("group"), subject=read.get("subject"),
                role=Role(repo=repo, scope=scope, source=provider.get("name", "")),
            )
            for repo in read.get("repos", (EVERYWHERE,))
        ]  # fmt: skip
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


def _forge(value: object) -> str:
    """The address of a forge, with its host as everybody compares it."""
    scheme, _, rest = values.forge_url(value).rstrip("/").partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.lower()}{slash}{path}"


def _group_of_forge(value: object) -> str:
    """An organisation, or a team of one. Forges know no difference between small and large letters in names."""
    found = values.text(value)
    if _GROUP_OF_FORGE.fullmatch(found) is None:
        raise ValueError(
            f"{quoted(found)} is no organisation and no team: write it like `shop` or `shop/platform`, or with the "
            "organisation's number like `#9919` or `#9919/platform`"
        )
    return found.lower()


def _person_of_forge(value: object) -> str:
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else values.text(value)
    if _PERSON_OF_FORGE.fullmatch(found) is None:
        raise ValueError(
            f"{quoted(found)} is nobody's number, by which the forge knows people whatever they are called: whoever is "
            "refused is shown theirs"
        )
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
