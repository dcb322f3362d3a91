"""The statements that write, made from the tables once for each kind of database.

What belongs here: what may be written over what, said in the statement itself, so that no reader of the past can be
lied to by a writer that is late. What does not: running them (`writing`), questions (`reading`).

All of it is SQL that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Dialect, Table, bindparam, delete, select, text, update
from sqlalchemy.sql import ClauseElement

from surveil.core.model import GIVEN_UP, NEXT_ATTEMPT, VERDICTS, AttemptState
from surveil.frozen import dataclass
from surveil.store import codec
from surveil.store.cases import CASE_COLUMNS, PRINTED, PRINTED_KEY, TALLY_COLUMNS
from surveil.store.shards import ASK_COLUMNS, LIST_COLUMNS
from surveil.store.sums import SUM, Row
from surveil.store.tables import (
    attempts,
    builds,
    cases,
    jobs,
    notes,
    peers,
    runners,
    secrets,
    shard_asks,
    shard_lists,
    specs,
    tallies,
    timetables,
    tokens,
)
from surveil.store.timetabling import TIMETABLE_COLUMNS

_FINAL_ATTEMPTS: Final = frozenset(state for state in AttemptState if not NEXT_ATTEMPT[state])


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement compiled for one kind of database, which takes rows as tuples in the order of `names`."""

    sql: str
    names: tuple[str, ...]
    positional: bool

    @classmethod
    def compiled(cls, statement: ClauseElement, names: Sequence[str], dialect: Dialect) -> Statement:
        """Compile once what runs often: building it anew for each batch costs more than the database does."""
        made = statement.compile(dialect=dialect)
        order = getattr(made, "positiontup", None)
        assert order is None or list(order) == list(names), f"{made} takes {order}, not {names}"
        return cls(sql=str(made), names=tuple(names), positional=order is not None)

    def run(self, driver: Any, rows: Sequence[Row]) -> int:
        """Run it for each row, at least one, on the driver's own connection; returns how many rows of the table it
        touched, all in all.

        Raises:
            Exception: the driver's own errors, which SQLAlchemy has not wrapped.
        """
        given: Any = rows if self.positional else [dict(zip(self.names, row, strict=True)) for row in rows]
        # Straight to the driver: what SQLAlchemy does around each statement takes as long as storing five rows.
        cursor = driver.cursor()
        try:
            cursor.executemany(self.sql, given)
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def first(self, driver: Any, row: Row) -> Row | None:
        """Ask it, and take the first row of the answer; as `run` otherwise."""
        cursor = driver.cursor()
        try:
            found: Row | None = cursor.execute(
                self.sql, row if self.positional else dict(zip(self.names, row, strict=True))
            ).fetchone()
            return found
        finally:
            cursor.close()


@dataclass(frozen=True, slots=True)
class Statements:
    """All that is ever written, and what is read for it."""

    new_build: Statement
    new_spec: Statement
    new_job: Statement
    new_attempt: Statement
    new_note: Statement
    new_peer: Statement
    new_token: Statement
    new_case: Statement
    printed: Statement
    new_tally: Statement
    new_shard_list: Statement
    new_shard_ask: Statement
    put_runner: Statement
    put_peer: Statement
    put_token: Statement
    put_secret: Statement
    remove_secret: Statement
    put_timetable: Statement
    remove_timetable: Statement
    change_build: Statement
    change_job: Statement
    change_attempt: Statement
    one_attempt: Statement
    end_log: Statement

    @classmethod
    def compiled(cls, dialect: Dialect) -> Statements:
        """All statements for one kind of database, which are compiled when the first of that kind is opened."""
        kind = (type(dialect), dialect.paramstyle)
        if kind not in _COMPILED:
            _COMPILED[kind] = cls._made(dialect)
        return _COMPILED[kind]

    @classmethod
    def _made(cls, dialect: Dialect) -> Statements:
        def made(statement: ClauseElement, *names: str) -> Statement:
            return Statement.compiled(statement, names, dialect)

        return cls(
            new_build=made(_insert(builds, codec.BUILD_COLUMNS), *codec.BUILD_COLUMNS),
            new_spec=made(_insert(specs, codec.SPEC_COLUMNS, " ON CONFLICT (digest) DO NOTHING"), *codec.SPEC_COLUMNS),
            new_job=made(_insert(jobs, codec.JOB_COLUMNS), *codec.JOB_COLUMNS),
            new_attempt=made(_insert(attempts, codec.ATTEMPT_COLUMNS), *codec.ATTEMPT_COLUMNS),
            new_note=made(_insert(notes, codec.NOTE_COLUMNS), *codec.NOTE_COLUMNS),
            new_peer=made(_insert(peers, codec.PEER_COLUMNS), *codec.PEER_COLUMNS),
            new_token=made(_insert(tokens, codec.TOKEN_COLUMNS), *codec.TOKEN_COLUMNS),
            new_case=made(_insert(cases, CASE_COLUMNS, _ONCE), *CASE_COLUMNS),
            printed=made(PRINTED, *PRINTED_KEY),
            new_tally=made(_insert(tallies, TALLY_COLUMNS, _ONCE), *TALLY_COLUMNS),
            new_shard_list=made(_insert(shard_lists, LIST_COLUMNS, _ONCE), *LIST_COLUMNS),
            new_shard_ask=made(_insert(shard_asks, ASK_COLUMNS, _ONCE), *ASK_COLUMNS),
            put_runner=made(_put(runners, codec.RUNNER_COLUMNS, "id"), *codec.RUNNER_COLUMNS),
            put_peer=made(_put(peers, codec.PEER_COLUMNS, "key"), *codec.PEER_COLUMNS),
            put_token=made(_put(tokens, codec.TOKEN_COLUMNS, "id"), *codec.TOKEN_COLUMNS),
            put_secret=made(_put(secrets, codec.SECRET_COLUMNS, *codec.SECRET_KEY), *codec.SECRET_COLUMNS),
            remove_secret=made(_REMOVE_SECRET, *codec.SECRET_KEY),
            put_timetable=made(_put(timetables, TIMETABLE_COLUMNS, "repo"), *TIMETABLE_COLUMNS),
            remove_timetable=made(_REMOVE_TIMETABLE, "repo"),
            change_build=made(*_change(builds, codec.BUILD_CHANGES, codec.BUILD_GIVEN, VERDICTS)),
            change_job=made(*_change(jobs, codec.JOB_CHANGES, codec.JOB_GIVEN, VERDICTS, rising="attempt")),
            change_attempt=made(*_change(attempts, codec.ATTEMPT_CHANGES, codec.ATTEMPT_GIVEN, _FINAL_ATTEMPTS)),
            one_attempt=made(_ONE_ATTEMPT, *codec.ATTEMPT_KEY),
            end_log=made(_END_LOG, *codec.LOG_END_COLUMNS),
        )


_COMPILED: Final[dict[tuple[type[Dialect], str], Statements]] = {}
"""By what a dialect's SQL and its places for values depend on."""
_ONCE: Final = " ON CONFLICT DO NOTHING"
_ONE_ATTEMPT: Final = select(attempts).where(*(attempts.c[name] == bindparam(name) for name in codec.ATTEMPT_KEY))
_REMOVE_TIMETABLE: Final = delete(timetables).where(timetables.c.repo == bindparam("repo"))
_REMOVE_SECRET: Final = delete(secrets).where(*(secrets.c[name] == bindparam(name) for name in codec.SECRET_KEY))
_GIVEN_UP: Final = " OR ".join(f"state = '{state}'" for state in sorted(GIVEN_UP))
_END_LOG: Final = text(
    "UPDATE attempts SET log_bytes = :log_bytes, released = 1, row_sum = :row_sum "  # noqa: S608  # words of our own
    "WHERE build = :key_build AND name = :key_name AND number = :key_number AND runner = :key_runner "
    f"AND released = 0 AND ({_GIVEN_UP})"
)
"""The first word counts, of the attempt's own runner, and nothing but the log's length changes by it."""


def _insert(table: Table, columns: Sequence[str], conflict: str = "") -> ClauseElement:
    # Not the library's own insert, which has the columns in the table's order and not in that of the rows.
    values = ", ".join(f":{name}" for name in columns)
    named = ", ".join(columns)
    return text(f"INSERT INTO {table.name} ({named}) VALUES ({values}){conflict}")  # noqa: S608  # our own names


def _put(table: Table, columns: Sequence[str], *key: str) -> ClauseElement:
    """Insert a row, or write it over the one that has its key."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return _insert(table, columns, f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}")


def _change(
    table: Table, changes: Sequence[str], given: Sequence[str], finals: frozenset[Any], *, rising: str = ""
) -> tuple[Any, ...]:
    """Update `changes` of a row, unless what it was `given` with its key is something else, or that would leave one of
    `finals` or lower the column `rising`.

    The row's sum vouches for what it was given as well, and must not do so for what it was not.

    A row that may not change is not touched, so that the count of touched rows tells.
    """
    written = (*changes, SUM)
    names = [*written, *(f"given_{name}" for name in given), "same_state"]
    # Not `NOT IN`: SQLite would build a table of the list anew for each row.
    unsettled = " AND ".join(f"{table.name}.state <> '{state}'" for state in sorted(finals))
    statement = update(table).values({name: bindparam(name) for name in written})
    for name in given:
        value: Any = bindparam(f"given_{name}")
        # Only by an ordinary comparison is the row found; but a NULL is the same as NULL.
        column = table.c[name]
        statement = statement.where(column == value if column.primary_key else column.is_not_distinct_from(value))
    statement = statement.where(text(f"({unsettled} OR {table.name}.state = :same_state)"))
    if rising:
        statement = statement.where(table.c[rising] <= bindparam("fence"))
        names.append("fence")
    return (statement, *names)
