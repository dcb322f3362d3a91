"""The way from each version of the tables to the next one, and the judgement of a database that is none of ours.

What belongs here: which version a database has, and running Alembic over a connection that exists. What does not: the
tables as they are now (`surveil.store.tables`), which an empty database gets at once. The revisions are modules beside
this one and travel with the package; nothing is looked up anywhere else.

Alembic is imported only where there is an older version to bring up to date: it takes a third of the time in which a
dispatcher starts.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from surveil.errors import InvalidError
from surveil.store.tables import metadata

HEAD: Final = "head"
_FOLLOWS: Final = re.compile(r'^down_revision: Final = "([^"]+)"', re.MULTILINE)
_FOLDER: Final = Path(__file__).parent
_VERSION: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table, exactly as it makes it."""


def bring_up_to_date(connection: Connection, *, where: str, to: str = HEAD) -> None:
    """Make the tables of an empty database, or change those of an older version, within the transaction of the caller.

    Args:
        connection: within a transaction that the caller commits.
        where: how to name the database to a person.
        to: the revision to stop at; tests begin with an old one.

    Raises:
        InvalidError: the database belongs to a newer version of surveil, or to another program.
    """
    present = check(connection, where=where)
    if present == head():
        return
    if present is None and to == HEAD:
        metadata.create_all(connection, checkfirst=False)
        _VERSION.create(connection, checkfirst=False)
        connection.execute(insert(_VERSION).values(version_num=head()))
        return
    _upgrade(connection, to)


def check(connection: Connection, *, where: str) -> str | None:
    """The revision that a database has, None for an empty one.

    Raises:
        InvalidError: the database belongs to a newer version of surveil, or to another program.
    """
    names = inspect(connection).get_table_names()
    present = connection.execute(select(_VERSION.c.version_num)).scalar() if _VERSION.name in names else None
    if present is None and names:
        raise InvalidError(f"{where} was written by another program: choose another data folder with --data")
    if present is not None and present not in _revisions():
        raise InvalidError(
            f"{where} was written by a newer version of surveil (tables {present}, this version knows up to {head()}): "
            "install that version, or choose another data folder with --data"
        )
    return present


def head() -> str:
    """The revision of the tables as this version knows them: the one that no other follows."""
    revisions = _revisions()
    (last,) = revisions.keys() - set(revisions.values())
    return last


@functools.cache
def _revisions() -> dict[str, str]:
    """All that there are, each with the one that it follows; a file's name begins with its own."""
    files = (_FOLDER / "versions").glob("[0-9]*.py")
    found = {path.name.partition("_")[0]: _FOLLOWS.search(path.read_text(encoding="utf-8")) for path in files}
    return {revision: "" if follows is None else follows[1] for revision, follows in found.items()}


def _upgrade(connection: Connection, to: str) -> None:
    from alembic import command  # noqa: PLC0415  # See above.
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # Alembic expands `%` in options.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    # The one folder of revisions may hold any character, also those that separate folders.
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, to)
