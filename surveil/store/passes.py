"""What people come in with: links that work once, sessions of browsers, and tokens of programs; in a file of its own.

What belongs here: keeping them so that whoever reads the file can use none of them. What does not: what each lets its
holder do (`surveil.web`), and the keys of machines (`surveil.net`).

Beside the database and not in it: the dispatcher is the only one that writes there, and no page may make it wait.
Several processes may use the file at once.
A secret is 256 bits of chance, so its SHA-256 says nothing about it and needs no salt (docs/adr/0038).
"""

from __future__ import annotations

import re
import secrets
from binascii import crc32
from contextlib import suppress
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)

from surveil.frozen import dataclass
from surveil.store import StoreError
from surveil.store.beside import FileBeside
from surveil.store.people import METADATA, People, require_known

FILE: Final = "web.db"
SEEN_MS: Final = 60_000
"""How exactly it is known when a pass was last used: not each use is written down."""
KEPT_MS: Final = 30 * 24 * 3_600_000
"""So long after its end a pass is still listed."""
NOT_IN_A_COPY: Final = "DELETE FROM passes WHERE kind <> 'token'"
"""A session that was ended and a link that was used after a copy was made must not be good again in the copy. Tokens
of programs stay, as roles and keys of machines do: without them a restored installation would not be the same.
"""
_VERSION: Final = 3
_PEOPLE_2: Final = (
    "CREATE TABLE people (name VARCHAR(100) NOT NULL, provider VARCHAR(40), subject VARCHAR(255), "
    "created_at BIGINT NOT NULL, seen_at BIGINT, PRIMARY KEY (name), UNIQUE (provider, subject)) WITHOUT ROWID"
)
_CHANGES: Final = {
    2: ["ALTER TABLE passes ADD COLUMN user VARCHAR(100)", _PEOPLE_2],
    3: ["ALTER TABLE people ADD COLUMN issuer VARCHAR(4096)"],
}
_SECRET_BYTES: Final = 32
_ID_CHARACTERS: Final = 12
_FORM: Final = re.compile(r"(sv[lst]_[A-Za-z0-9_-]{43})_([0-9a-f]{8})")


class Kind(StrEnum):
    """What a pass is for."""

    LINK = "link"
    SESSION = "session"
    TOKEN = "token"  # noqa: S105  # a kind's name, not a secret


_PREFIXES: Final = {Kind.LINK: "svl_", Kind.SESSION: "svs_", Kind.TOKEN: "svt_"}
_PASSES: Final = Table(
    "passes",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("id", String(_ID_CHARACTERS), nullable=False, unique=True),
    Column("kind", String(10), nullable=False),
    Column("person", String(100), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("label", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=True),
    Column("ended_at", BigInteger, nullable=True),
    Column("user", String(100), nullable=True),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A pass without its secret, which nobody keeps. `scope` is `read`, `run` or `admin`; instants are milliseconds
    since 1970; `ended_at` is when it was revoked, or used if it works once. With a `user` it lets its holder do what
    that person's roles allow, and at most its scope; without, what its scope says, everywhere.
    """

    id: str
    kind: Kind
    person: str
    scope: str
    label: str
    created_at: int
    expires_at: int
    seen_at: int | None
    ended_at: int | None
    user: str | None


class Passes:
    """The passes of one installation. Every method may be called by any thread, and raises `StoreError` where the
    disk does not do its part.
    """

    def __init__(self, data: Path) -> None:
        """Open the file in the data folder, or make it.

        Raises:
            InvalidError: it is of a newer version.
            StoreError: it cannot be used.
        """
        loss = ", which ends all sessions and tokens, and takes all people their roles"
        self._file = FileBeside(data / FILE, METADATA, _VERSION, loss=loss, changes=_CHANGES)
        self.people = People(self._file)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def mark(self) -> object:
        """Equal to an earlier one only if no pass, person or role was changed in between, by any process; None where
        that cannot be known at once. Never waits for anybody.
        """
        return self._file.mark()

    def issue(
        self, kind: Kind, person: str, scope: str, *, now: int, lasts_ms: int, label: str = "", user: str | None = None
    ) -> str:
        """Make a pass that is good for `lasts_ms` from now; returns its secret, once. Raises NotFoundError where nobody
        is known by the name `user`.
        """
        with self._file.transaction() as connection:
            return _issued(connection, kind, person, scope, now=now, lasts_ms=lasts_ms, label=label, user=user)

    def admit(self, kind: Kind, secret: str, *, now: int) -> Pass | None:
        """The pass of this kind with this secret, if it is still good."""
        if not is_whole(kind, secret):
            return None
        wanted = select(_PASSES).where(_PASSES.c.digest == _digest(secret))
        with self._file.looking() as connection:
            row = connection.execute(wanted).first()
        found = None if row is None else _pass_of(row)
        if found is None or found.kind is not kind or found.ended_at is not None or found.expires_at <= now:
            return None
        if found.seen_at is None or now - found.seen_at > SEEN_MS:
            # On a full disk there is the more to look at, and nobody is shut out for want of a note.
            with suppress(StoreError):
                self._change(found.id, {"seen_at": now})
        return found

    def exchange(self, link: str, *, now: int, lasts_ms: int) -> tuple[str, Pass] | None:
        """The secret of a new session, and the link that it was made from; None where that is not good. From then on
        it is not: both happen, or neither.
        """
        found = self.admit(Kind.LINK, link, now=now)
        if found is None:
            return None
        with self._file.transaction() as connection:
            # Two may come at the same moment, and only one of them ends it.
            if not _changed(connection, found.id, {"ended_at": now}):
                return None
            if found.user is not None:
                self.people.seen(connection, found.user, now=now)
            person, scope, user = found.person, found.scope, found.user
            return _issued(connection, Kind.SESSION, person, scope, now=now, lasts_ms=lasts_ms, user=user), found

    def end(self, pass_id: str, *, now: int) -> bool:
        """Let the pass with this id in no more; False where there is none that is still good."""
        return self._change(pass_id, {"ended_at": now})

    def forget(self, name: str, *, now: int) -> int:
        """Know somebody no more, and let nobody in with their passes; how many of these were good. Raises
        NotFoundError.
        """
        good = (_PASSES.c.user == name) & _PASSES.c.ended_at.is_(None)
        with self._file.transaction() as connection:
            self.people.forget(connection, name)
            live = connection.execute(select(_PASSES.c.id).where(good & (_PASSES.c.expires_at > now))).all()
            connection.execute(update(_PASSES).where(good).values(ended_at=now))
        return len(live)

    def listed(self, kind: Kind) -> list[Pass]:
        """All of a kind, the newest first."""
        wanted = select(_PASSES).where(_PASSES.c.kind == kind.value).order_by(_PASSES.c.created_at.desc())
        with self._file.looking() as connection:
            return [_pass_of(row) for row in connection.execute(wanted)]

    def _change(self, pass_id: str, values: dict[str, int]) -> bool:
        with self._file.transaction() as connection:
            return _changed(connection, pass_id, values)


def is_whole(kind: Kind, secret: str) -> bool:
    """Whether a text has the form of a secret of this kind and its checksum; a guess or a slip of the mouse is told
    without asking the disk.
    """
    found = _FORM.fullmatch(secret)
    return found is not None and secret.startswith(_PREFIXES[kind]) and f"{crc32(found[1].encode()):08x}" == found[2]


def _issued(
    connection: Connection, kind: Kind, person: str, scope: str, *, now: int, lasts_ms: int, label: str = "",
    user: str | None = None,
) -> str:  # fmt: skip
    """The secret of a new pass, as a part of a change of the whole file. Raises NotFoundError."""
    if user is not None:
        # They may have been removed since they were looked up, and another may be given their name tomorrow.
        require_known(connection, user)
    body = _PREFIXES[kind] + secrets.token_urlsafe(_SECRET_BYTES)
    secret = f"{body}_{crc32(body.encode()):08x}"
    digest = _digest(secret)
    made = {
        "digest": digest, "id": digest.hex()[:_ID_CHARACTERS], "kind": kind.value, "person": person,
        "scope": scope, "label": label, "created_at": now, "expires_at": now + lasts_ms,
        "user": user,
    }  # fmt: skip
    connection.execute(delete(_PASSES).where(_PASSES.c.expires_at < now - KEPT_MS))
    connection.execute(insert(_PASSES).values(made))
    return secret


def _changed(connection: Connection, pass_id: str, values: dict[str, int]) -> bool:
    good = (_PASSES.c.id == pass_id) & _PASSES.c.ended_at.is_(None)
    return connection.execute(update(_PASSES).where(good).values(values)).rowcount > 0


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _pass_of(row: Row[Any]) -> Pass:
    fields = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented way to a row by names
    del fields["digest"]
    return Pass(**{**fields, "kind": Kind(fields["kind"])})
