"""Acts: what people and programs did to an installation, one line for each, in a file of its own.

What belongs here: lines and their chain, and finding them. What does not: which wishes are acts and what is said of
each (`surveil.answer.auditing`), and what happened by itself, which is the journal's.

The dispatcher, the web role and commands of its machine all write here, each its own acts. A line is written once: each
holds a digest over itself and the line before it, so that a change in between is noticed. Whoever may write the file
could make the whole chain anew: who fears that keeps the newest digest elsewhere (docs/adr/0048).

Builds must go on whatever becomes of the book. One that is damaged is put aside, and the first line of the next one
says so.
"""

from __future__ import annotations

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    String,
    Table,
    delete,
    insert,
    select,
)

from surveil.codec import pack_row
from surveil.frozen import dataclass, replace
from surveil.say import Voice
from surveil.store import StoreError
from surveil.store.aside import aside_of, or_anew
from surveil.store.beside import FileBeside

FILE: Final = "acts.db"
KEPT_MS: Final = 400 * 24 * 3_600_000
"""A line is there for so long: a year, and time to look at it."""
LINES_MAX: Final = 1_000_000
"""And no more lines than these, 300 MB or so; the oldest go."""
CHARACTERS_MAX: Final = 1000
"""Of a subject or a detail; what is longer is cut."""
ITSELF: Final = "surveil"
"""The `way` of a line that nobody's wish made: it says what became of the book."""
COPIED: Final = "copied"
"""What such a line tells: the lines from here on are of a copy."""
BEGUN: Final = "begun"
"""What such a line tells: the book was begun anew, as the one before is damaged or gone."""
_BEGINNING: Final = bytes(32)
_NUMBERS: Final = frozenset({"position", "at"})
_VERSION: Final = 1
_METADATA: Final = MetaData()
_ACTS: Final = Table(
    "acts",
    _METADATA,
    Column("position", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("person", String(200), nullable=False),
    Column("client", String(200), nullable=False),
    Column("way", String(20), nullable=False),
    Column("what", String(40), nullable=False),
    Column("subject", String(CHARACTERS_MAX), nullable=False),
    Column("detail", String(CHARACTERS_MAX), nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
)
_DROPPED: Final = Table(
    "dropped",
    _METADATA,
    Column("position", Integer, primary_key=True),
    Column("chain", LargeBinary(32), nullable=False),
)
"""The last line that grew too old: the chain of those that are kept begins after it."""

_PUT_ASIDE: Final = "who did what before is put aside: the book is damaged, and a new one is begun"

voice = Voice("acts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One line. `person` is who did it, as whoever asked for them says; `client` is the key that asked, by its name,
    and empty where nobody was asked; `way` is `page`, `api`, `command` or `ITSELF`. `at` is in milliseconds since 1970.
    """

    position: int = 0
    at: int
    person: str
    client: str = ""
    way: str
    what: str
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How many lines follow from one another, the digest of the newest, and the first that does not, if any."""

    lines: int
    newest: str
    broken_at: int | None


class Acts:
    """The acts of one installation. Every method may be called by any thread, and raises `StoreError` where the disk
    does not do its part.
    """

    def __init__(self, data: Path) -> None:
        """Open the file in the data folder, or make it.

        Raises:
            InvalidError: it is of a newer version.
            StoreError: it cannot be used.
        """
        self._path = data / FILE
        self._file = FileBeside(self._path, _METADATA, _VERSION, loss="; then nobody knows who did what before")
        # Whether this process ever saw a line: a book that is empty after that was taken away.
        self._had_lines = False

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def check_pages(self) -> None:
        """See whether the pages of the file are whole. Raises DamagedFileError."""
        self._file.check_pages()

    def write(self, act: Act) -> None:
        """Put a line behind the others; it is on disk when this returns. A file that turns out to be damaged is put
        aside, and the line stands in the next one.
        """
        or_anew(lambda: self._write(act), voice, _PUT_ASIDE)

    def begin(self, *, at: int, missing: bool) -> None:
        """Have the first line of a new book say why it was begun: the one before was put aside, or is `missing`."""
        with self._file.transaction() as connection:
            if _is_empty(connection):
                self._say_begun(connection, at, missing=missing)
            self._had_lines = not _is_empty(connection)

    def _say_begun(self, connection: Connection, at: int, *, missing: bool) -> None:
        aside = aside_of(self._path)
        if aside or missing:
            detail = "is damaged and was put aside" if aside else "is missing; nobody knows who did what before"
            subject = aside[-1] if aside else FILE
            _append(connection, Act(at=at, person="", way=ITSELF, what=BEGUN, subject=subject, detail=detail))

    def _write(self, act: Act) -> None:
        act = replace(act, subject=act.subject[:CHARACTERS_MAX], detail=act.detail[:CHARACTERS_MAX])
        with self._file.transaction() as connection:
            if _is_empty(connection):
                self._say_begun(connection, act.at, missing=self._had_lines)
            position = _append(connection, act)
            _drop(connection, older_than=act.at - KEPT_MS, upto=position - LINES_MAX)
        self._had_lines = True

    def listed(
        self, *, person: str = "", what: str = "", since: int = 0, before: int | None = None, limit: int
    ) -> list[Act]:
        """The newest first, at most `limit`: of one person, of one kind, not before an instant, before a position."""
        wanted = select(_ACTS).order_by(_ACTS.c.position.desc()).limit(limit)
        with self._file.looking() as connection:
            found = connection.execute(_filtered(wanted, person, what, since, before)).all()
        return [self._sound(_act_of(row)) for row in found]

    def check(self) -> Checked:
        """Go through the whole chain."""
        with self._file.looking() as connection:
            position, chain = _dropped(connection)
            lines = 0
            for row in connection.execute(select(_ACTS).order_by(_ACTS.c.position)):
                made = _chained(chain, _act_of(row))
                if row.position != position + 1 or row.chain != made:
                    return Checked(lines=lines, newest=chain.hex(), broken_at=row.position)
                position, chain, lines = row.position, made, lines + 1
        return Checked(lines=lines, newest=chain.hex(), broken_at=None)

    def _sound(self, act: Act) -> Act:
        """The act, if each of its values is of the kind that was written; SQLite keeps any kind in any column."""
        odd = [name for name, value in asdict(act).items() if type(value) is not (int if name in _NUMBERS else str)]
        if odd:
            raise StoreError(
                f"line {act.position} of {self._path} is damaged ({', '.join(odd)}): `surveil audit --check` says from "
                "which line on; put back a copy of the file, or remove it; then nobody knows who did what before"
            )
        return act


def _filtered(wanted: Select[Any], person: str, what: str, since: int, before: int | None) -> Select[Any]:
    if person:
        wanted = wanted.where(_ACTS.c.person == person)
    if what:
        wanted = wanted.where(_ACTS.c.what == what)
    if since:
        wanted = wanted.where(_ACTS.c.at >= since)
    return wanted if before is None else wanted.where(_ACTS.c.position < before)


def open_book(data: Path, *, now: int, expected: bool = False, pages: bool = False) -> Acts:
    """Open the book, or make it, for whoever has to go on: one that is damaged is put aside, and a new one says so. So
    does one that is made although one is `expected` to be there. With `pages` it is looked at whole first.

    Raises:
        InvalidError: it is of a newer version.
        StoreError: it cannot be used, or was put aside too often.
    """
    missing = expected and not (data / FILE).exists()
    return or_anew(lambda: _begun(data, now, missing=missing, pages=pages), voice, _PUT_ASIDE)


def _begun(data: Path, now: int, *, missing: bool, pages: bool) -> Acts:
    acts = Acts(data)
    try:
        if pages:
            acts.check_pages()
        acts.begin(at=now, missing=missing)
    except BaseException:  # Whatever it is: nobody else could close it.
        acts.close()
        raise
    return acts


def _append(connection: Connection, act: Act) -> int:
    """Put a line behind the others; returns its position."""
    newest, before = _newest(connection)
    # Numbers without a gap: a line that is missing is noticed by its number as well.
    act = replace(act, position=newest + 1)
    connection.execute(insert(_ACTS).values(**asdict(act), chain=_chained(before, act)))
    return act.position


def _newest(connection: Connection) -> tuple[int, bytes]:
    row = connection.execute(select(_ACTS.c.position, _ACTS.c.chain).order_by(_ACTS.c.position.desc()).limit(1)).first()
    return _dropped(connection) if row is None else (row.position, row.chain)


def _is_empty(connection: Connection) -> bool:
    """Whether there is no line, and never was one."""
    return _newest(connection)[0] == 0


def _dropped(connection: Connection) -> tuple[int, bytes]:
    row = connection.execute(select(_DROPPED)).first()
    return (0, _BEGINNING) if row is None else (row.position, row.chain)


def _drop(connection: Connection, *, older_than: int, upto: int) -> None:
    """Forget lines from the oldest on, and remember how the chain goes on after them."""
    expired = select(_ACTS.c.position).where(_ACTS.c.at < older_than).order_by(_ACTS.c.at.desc()).limit(1)
    last = max(upto, connection.execute(expired).scalar() or 0)
    row = connection.execute(select(_ACTS.c.position, _ACTS.c.chain).where(_ACTS.c.position == last)).first()
    if row is None:
        return
    connection.execute(delete(_ACTS).where(_ACTS.c.position <= last))
    connection.execute(delete(_DROPPED))
    connection.execute(insert(_DROPPED).values(position=row.position, chain=row.chain))


def _chained(before: bytes, act: Act) -> bytes:
    return sha256(before + pack_row(tuple(asdict(act).values()))).digest()


def _act_of(row: Row[Any]) -> Act:
    fields = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's documented way to a row by names
    del fields["chain"]
    return Act(**fields)
