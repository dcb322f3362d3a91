"""Who is known by name, and which roles each has; in the file that holds what they come in with.

What belongs here: keeping people and roles. What does not: what a role lets somebody do (`surveil.web.rights`), and
what they come in with (`passes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from surveil.core.spelling import quoted
from surveil.errors import InvalidError, NotAllowedError, NotFoundError, UsageError
from surveil.frozen import dataclass
from surveil.store.beside import FileBeside

EVERYWHERE: Final = "*"
"""The pattern of all repositories."""
SCOPES: Final = ("read", "run", "admin")
ANYBODY: Final = "anybody"
"""Stands for everybody who comes with nothing: what it may read is public."""
PEOPLE_MAX: Final = 10_000
ROLES_MAX: Final = 200
"""Roles of one person."""
PATTERN_CHARACTERS_MAX: Final = 4096
BY_HAND: Final = ""
"""Where a role comes from that an administrator gave; other roles are from the provider of this name."""
_CALLED_CHARACTERS_MAX: Final = 50
_MARK_CHARACTERS: Final = 8
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._+-]+")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}(@[a-z0-9][a-z0-9-]{0,29})?")
METADATA: Final = MetaData()
"""Of the whole file."""
PEOPLE: Final = Table(
    "people",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("provider", String(40), nullable=True),
    Column("subject", String(255), nullable=True),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=True),
    Column("issuer", String(PATTERN_CHARACTERS_MAX), nullable=True),
    UniqueConstraint("provider", "subject"),
    sqlite_with_rowid=False,
)
ROLES: Final = Table(
    "roles",
    METADATA,
    Column("name", String(100), primary_key=True),
    Column("source", String(40), primary_key=True),
    Column("repo", String(PATTERN_CHARACTERS_MAX), primary_key=True),
    Column("scope", String(10), nullable=False),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What somebody may do (`read`, `run` or `admin`) with the repositories that a pattern names; `source` says who
    gave it.
    """

    repo: str
    scope: str
    source: str = BY_HAND


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is known. With a `provider` they sign in there; `subject` is how it tells them from all others,
    unknown until they come for the first time, as is its `issuer`: a name of ours may later mean another provider.
    Instants are milliseconds since 1970.
    """

    name: str
    provider: str | None
    subject: str | None
    created_at: int
    seen_at: int | None
    issuer: str | None
    roles: tuple[Role, ...]


class People:
    """The people of one installation. Every method may be called by any thread, and raises `StoreError` where the
    disk does not do its part.
    """

    def __init__(self, file: FileBeside) -> None:
        self._file = file

    def listed(self) -> list[Person]:
        """All of them, by name."""
        with self._file.looking() as connection:
            roles = _roles(connection)
            return [_person(row, roles) for row in connection.execute(select(PEOPLE).order_by(PEOPLE.c.name))]

    def find(self, name: str) -> Person | None:
        """The person of this name."""
        with self._file.looking() as connection:
            row = connection.execute(select(PEOPLE).where(PEOPLE.c.name == name)).first()
            return None if row is None else _person(row, _roles(connection, name))

    def put(
        self, name: str, roles: Sequence[Role], *, now: int, new: bool = False, was: Sequence[Role] | None = None
    ) -> Person:
        """Know a person of this name with these roles, in place of those that were given by hand before; with `new`,
        only if nobody is known so, and with `was`, only if somebody is and those before are these.

        Raises:
            InvalidError: nobody can be called so, or have such roles.
            UsageError: somebody is known so, and should be new; or what was before is something else.
        """
        checked(name, roles)
        with self._file.transaction() as connection:
            if new:
                _see_new(connection, name)
            if was is not None:
                _see_was(connection, name, was, roles)
            if connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.name == name)).first() is None:
                _room(connection)
                provider = name.partition("@")[2] or None
                connection.execute(insert(PEOPLE).values(name=name, provider=provider, created_at=now))
            _replace(connection, name, BY_HAND, roles)
        found = self.find(name)
        assert found is not None, "it was just written"
        return found

    def see(self, name: str, roles: Sequence[Role], *, new: bool, was: Sequence[Role] | None) -> None:
        """Raise UsageError where `put` would."""
        with self._file.looking() as connection:
            if new:
                _see_new(connection, name)
            if was is not None:
                _see_was(connection, name, was, roles)

    def arrive(
        self, provider: str, subject: str, called: str, roles: Sequence[Role], *, issuer: str, now: int,
        trusts_name: bool = False,
    ) -> Person | None:  # fmt: skip
        """Whoever signed in at this provider, with these roles in place of those that it gave before; None where they
        have none, and then nothing is written about whoever was unknown.

        With `trusts_name` they are the person of that name whom somebody wrote down before they ever came.

        Raises:
            NotAllowedError: somebody else is known so, who came when the provider's name meant another issuer.
        """
        with self._file.transaction() as connection:
            mine = (PEOPLE.c.provider == provider) & (PEOPLE.c.subject == subject)
            known = connection.execute(select(PEOPLE.c.name, PEOPLE.c.issuer).where(mine)).first()
            name: str | None = None if known is None else known.name
            if known is not None and known.issuer not in {None, issuer}:
                # A forge counts its people from one: who had this number at the other one may be anybody.
                raise NotAllowedError(
                    f"{quoted(known.name)} came from {known.issuer}, and {provider} is {issuer} now: give it another "
                    "`name` in sign-in.toml, or forget them with `surveil user remove`."
                )
            if name is None:
                wanted = name_at(provider, called)
                awaited = (PEOPLE.c.name == wanted) & PEOPLE.c.subject.is_(None)
                taken = connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.name == wanted)).scalar() is not None
                if (
                    trusts_name
                    and wanted == f"{called}@{provider}"
                    and connection.execute(
                        update(PEOPLE).where(awaited).values(provider=provider, subject=subject)
                    ).rowcount
                ):
                    name = wanted
                elif not roles:
                    return None
                else:
                    name = _free_name(connection, provider, called, subject) if taken else wanted
                    _room(connection)
                    made = {"name": name, "provider": provider, "subject": subject, "created_at": now}
                    connection.execute(insert(PEOPLE).values(made))
            _replace(connection, name, provider, roles)
            connection.execute(update(PEOPLE).where(PEOPLE.c.name == name).values(seen_at=now, issuer=issuer))
        found = self.find(name)
        return found if found is not None and found.roles else None

    def forget(self, connection: Connection, name: str) -> None:
        """Know somebody no more, as a part of a change of the whole file. Raises NotFoundError."""
        if not connection.execute(delete(PEOPLE).where(PEOPLE.c.name == name)).rowcount:
            raise nobody_called(name)
        connection.execute(delete(ROLES).where(ROLES.c.name == name))

    def seen(self, connection: Connection, name: str, *, now: int) -> None:
        """They were here; as a part of a change of the whole file."""
        connection.execute(update(PEOPLE).where(PEOPLE.c.name == name).values(seen_at=now))


def name_at(provider: str, called: str, mark: str = "") -> str:
    """By what somebody is known who is called so at a provider; with a mark that tells them from others."""
    plain = _NOT_IN_NAMES.sub("-", called).lstrip("._+-")[:_CALLED_CHARACTERS_MAX] or "somebody"
    return f"{plain}{mark and f'-{mark}'}@{provider}"


def nobody_called(name: str) -> NotFoundError:
    """What is said of somebody who is not known."""
    return NotFoundError(f"Nobody of the name {quoted(name)} is known: `surveil user ls` lists who is.")


def require_known(connection: Connection, name: str) -> None:
    """See that somebody is known by this name, as a part of a change of the whole file. Raises NotFoundError."""
    if connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.name == name)).first() is None:
        raise nobody_called(name)


def checked(name: str, roles: Sequence[Role]) -> None:
    """See that somebody can be called so, and have these roles. Raises InvalidError."""
    if _NAME.fullmatch(name) is None:
        raise InvalidError(
            f"{quoted(name)} cannot be somebody's name: use letters, digits and `._+-`, at most 60, and for who signs "
            "in elsewhere `@` and the provider's name behind it."
        )
    if len(roles) > ROLES_MAX:
        raise InvalidError(f"{name} would have {len(roles)} roles, and {ROLES_MAX} are the most: use `*` in patterns.")
    for role in roles:
        if role.scope not in SCOPES:
            raise InvalidError(f"{quoted(role.scope)} is no role: write one of {', '.join(SCOPES)}.")
        if not role.repo or not role.repo.isprintable() or len(role.repo) > PATTERN_CHARACTERS_MAX:
            raise InvalidError(
                f"{quoted(role.repo)} names no repositories: write an address as `surveil status` shows it, with `*` "
                "for anything."
            )
        if name == ANYBODY and role.scope != "read":
            raise InvalidError(f"`{ANYBODY}` stands for everybody who comes with nothing, and may `read` at most.")


def roles_text(name: str, roles: Iterable[Role]) -> str:
    """What somebody may do, as a clause."""
    places = (f"`{each.scope}` in {'all repositories' if each.repo == EVERYWHERE else each.repo}" for each in roles)
    return f"{name} may {', '.join(places) or 'do nothing'}"


def _see_new(connection: Connection, name: str) -> None:
    if connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.name == name)).first() is not None:
        raise UsageError(f"{name} is known already: `surveil user role {name} ROLE` gives another role.")


def _see_was(connection: Connection, name: str, was: Sequence[Role], roles: Sequence[Role]) -> None:
    """See that nobody else changed somebody's roles since they were these. Whoever says it twice finds what they
    wanted, which is as well.
    """
    require_known(connection, name)
    present = [each for each in _roles(connection, name).get(name, ()) if each.source == BY_HAND]
    if _spelt(present) not in (_spelt(was), _spelt(roles)):
        raise UsageError(
            f"Somebody else changed what {name} may do at this moment: look with `surveil user ls`, and type it again."
        )


def _spelt(roles: Iterable[Role]) -> set[tuple[str, str]]:
    return {(each.repo, each.scope) for each in roles}


def _replace(connection: Connection, name: str, source: str, roles: Iterable[Role]) -> None:
    """Have these be the roles of this source."""
    connection.execute(delete(ROLES).where((ROLES.c.name == name) & (ROLES.c.source == source)))
    best: dict[str, str] = {}
    for role in roles:
        best[role.repo] = max(role.scope, best.get(role.repo, role.scope), key=SCOPES.index)
    rows = [{"name": name, "source": source, "repo": repo, "scope": scope} for repo, scope in best.items()]
    if rows:
        connection.execute(insert(ROLES), rows)


def _free_name(connection: Connection, provider: str, called: str, subject: str) -> str:
    """A name that nobody has, though others are called the same. Marks follow from what is no secret, so somebody may
    have called themselves so beforehand: then it is the next one.
    """
    digest = sha256(subject.encode()).hexdigest()
    marks = (digest[at : at + _MARK_CHARACTERS] for at in range(0, len(digest), _MARK_CHARACTERS))
    names = [name_at(provider, called, mark) for mark in marks]
    taken = set(connection.execute(select(PEOPLE.c.name).where(PEOPLE.c.name.in_(names))).scalars())
    name = next((each for each in names if each not in taken), None)
    if name is None:
        raise InvalidError(f"All names are taken that {quoted(called)} could have here: ask an administrator for one.")
    return name


def _room(connection: Connection) -> None:
    if len(connection.execute(select(PEOPLE.c.name)).all()) >= PEOPLE_MAX:
        raise InvalidError(f"{PEOPLE_MAX} people are known, which are the most: `surveil user remove` forgets one.")


def _roles(connection: Connection, name: str | None = None) -> dict[str, list[Role]]:
    wanted = select(ROLES).order_by(ROLES.c.source, ROLES.c.repo)
    found: dict[str, list[Role]] = {}
    for row in connection.execute(wanted if name is None else wanted.where(ROLES.c.name == name)):
        found.setdefault(row.name, []).append(Role(repo=row.repo, scope=row.scope, source=row.source))
    return found


def _person(row: Row[Any], roles: dict[str, list[Role]]) -> Person:
    return Person(
        name=row.name, provider=row.provider, subject=row.subject, created_at=row.created_at, seen_at=row.seen_at,
        issuer=row.issuer, roles=tuple(roles.get(row.name, ())),
    )  # fmt: skip
