"""The secrets of webhooks and what was delivered lately; in a file of its own beside the database.

What belongs here: rows and their questions. What does not: what opens a secret, which is encrypted here already, and
what a delivery means (`surveil.web.hooks`).

Several processes may use the file at once. Of deliveries only digests are kept, for `KEPT_MS` each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from surveil.errors import InfrastructureError
from surveil.frozen import dataclass
from surveil.say import Voice
from surveil.store.aside import or_anew
from surveil.store.beside import FileBeside

FILE: Final = "hooks.db"
KEPT_MS: Final = 7 * 24 * 3_600_000
"""So long a delivery is not taken a second time."""
HOOKS_MAX: Final = 10_000
_VERSION: Final = 2
_METADATA: Final = MetaData()
_HOOKS: Final = Table(
    "hooks",
    _METADATA,
    Column("repo", String(4096), primary_key=True),
    Column("place", String(4096), nullable=False, index=True),
    Column("key", String(40), nullable=False),
    Column("current", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=True),
    Column("previous_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("heard_at", BigInteger, nullable=True),
)
_RETRYING: Final = Table(
    "retrying",
    _METADATA,
    Column("repo", String(4096), primary_key=True),
    sqlite_with_rowid=False,
)
"""The repositories whose webhooks may ask for builds again."""
_DELIVERIES: Final = Table(
    "deliveries",
    _METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

_PUT_ASIDE: Final = (
    "all webhooks are put aside: their file is damaged, and what forges say is refused until `surveil hook secret` has "
    "set each secret anew; what was pushed is found by looking"
)

voice = Voice("hooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A repository whose forge may say that something moved there. `place` is where it is, whatever it is called;
    `current` and `previous` are its secrets, encrypted with the key of that id, and the second one is good until
    `previous_until`. Instants are milliseconds since 1970.
    """

    repo: str
    place: str
    key: str
    current: bytes
    previous: bytes | None
    previous_until: int
    created_at: int
    changed_at: int
    heard_at: int | None


class Hooks:
    """The webhooks of one installation. Every method may be called by any thread, and raises `StoreError` where the
    disk does not do its part.
    """

    def __init__(self, data: Path, *, pages: bool = False) -> None:
        """Open the file in the data folder, or make it; with `pages` it is looked at whole.

        Raises:
            InvalidError: it is of a newer version.
            StoreError: it cannot be used.
        """
        loss = ", and set the secrets of webhooks anew"
        self._file = FileBeside(data / FILE, _METADATA, _VERSION, loss=loss, pages=pages)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def change(self, repo: str, changed: Callable[[Hook | None], Hook]) -> Hook:
        """Put what `changed` makes of a repository's hook in its place, while nobody else changes any.

        Raises:
            InfrastructureError: there are too many.
        """
        with self._file.transaction() as connection:
            row = connection.execute(select(_HOOKS).where(_HOOKS.c.repo == repo)).first()
            if row is None and _count(connection) >= HOOKS_MAX:
                raise InfrastructureError(f"There are {HOOKS_MAX} webhooks already; `surveil hook forget` removes one.")
            hook = changed(None if row is None else _hook_of(row))
            connection.execute(delete(_HOOKS).where(_HOOKS.c.repo == repo))
            connection.execute(insert(_HOOKS).values(asdict(hook)))
        return hook

    def remove(self, repo: str) -> bool:
        """Forget a repository's hook; False where there is none."""
        with self._file.transaction() as connection:
            connection.execute(delete(_RETRYING).where(_RETRYING.c.repo == repo))
            return connection.execute(delete(_HOOKS).where(_HOOKS.c.repo == repo)).rowcount > 0

    def allow(self, repo: str, *, retry: bool) -> bool:
        """Let the webhooks of a repository ask for builds again, or not any more; False where it has no hook."""
        with self._file.transaction() as connection:
            connection.execute(delete(_RETRYING).where(_RETRYING.c.repo == repo))
            if connection.execute(select(_HOOKS.c.repo).where(_HOOKS.c.repo == repo)).first() is None:
                return False
            if retry:
                connection.execute(insert(_RETRYING).values(repo=repo))
        return True

    def retrying(self) -> frozenset[str]:
        """The repositories whose webhooks may ask for builds again."""
        with self._file.looking() as connection:
            return frozenset(row[0] for row in connection.execute(select(_RETRYING.c.repo)))

    def listed(self) -> list[Hook]:
        """All of them, by name."""
        with self._file.looking() as connection:
            return [_hook_of(row) for row in connection.execute(select(_HOOKS).order_by(_HOOKS.c.repo))]

    def at(self, places: Sequence[str]) -> list[Hook]:
        """Those of repositories that are at one of these places."""
        with self._file.looking() as connection:
            found = connection.execute(select(_HOOKS).where(_HOOKS.c.place.in_(places)).order_by(_HOOKS.c.repo))
            return [_hook_of(row) for row in found]

    def take(self, repo: str, digests: Sequence[bytes], *, now: int) -> bool:
        """Note that a delivery for this repository came, by all that tells it from others; False where one like it in
        any of these came before.
        """
        with self._file.transaction() as connection:
            connection.execute(delete(_DELIVERIES).where(_DELIVERIES.c.at < now - KEPT_MS))
            try:
                connection.execute(insert(_DELIVERIES), [{"digest": digest, "at": now} for digest in digests])
            except IntegrityError:
                connection.rollback()
                return False
            connection.execute(update(_HOOKS).where(_HOOKS.c.repo == repo).values(heard_at=now))
        return True

    def give_back(self, digests: Sequence[bytes]) -> None:
        """Nothing came of a delivery: let it come again."""
        with self._file.transaction() as connection:
            connection.execute(delete(_DELIVERIES).where(_DELIVERIES.c.digest.in_(digests)))


def open_hooks(data: Path) -> Hooks:
    """Open the file and look at it whole, or make it, for whoever has to go on: one that is damaged is put aside, and
    the webhooks in it are known no more.

    Raises:
        InvalidError: it is of a newer version.
        StoreError: it cannot be used, or was put aside too often.
    """
    return or_anew(lambda: Hooks(data, pages=True), voice, _PUT_ASIDE)


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(_HOOKS)).scalar_one()


def _hook_of(row: Row[Any]) -> Hook:
    return Hook(**row._mapping)  # noqa: SLF001  # SQLAlchemy's documented way to a row by names
