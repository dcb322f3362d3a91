"""The way from each version of the tables to the next one, and the judgement of a database that is none of ours.

What belongs here: running Alembic over a connection that exists. What does not: the tables as they are now
(`surveil.store.tables`). The revisions are modules beside this one and travel with the package; nothing is looked up
anywhere else.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from surveil.errors import InvalidError


def bring_up_to_date(connection: Connection, *, where: str, to: str = "head") -> None:
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
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def check(connection: Connection, *, where: str) -> str | None:
    """The revision that a database has, None for an empty one.

    Raises:
        InvalidError: the database belongs to a newer version of surveil, or to another program.
    """
    present = MigrationContext.configure(connection).get_current_revision()
    if present is None and inspect(connection).get_table_names():
        raise InvalidError(f"{where} was written by another program: choose another data folder with --data")
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present is not None and present not in known:
        raise InvalidError(
            f"{where} was written by a newer version of surveil (tables {present}, this version knows up to {head()}): "
            "install that version, or choose another data folder with --data"
        )
    return present


def head() -> str:
    """The revision of the tables as this version knows them."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None, "the package holds no revisions"
    return found


def _config() -> Config:
    config = Config()
    # Alembic expands `%` in options.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    # The one folder of revisions may hold any character, also those that separate folders.
    config.set_main_option("path_separator", "newline")
    return config
