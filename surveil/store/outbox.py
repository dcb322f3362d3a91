"""What is still to be told to whom: how far each target has followed the journal, and what waits for it.

What belongs here: keeping that in a file of its own, so that what was read from the journal and what follows from it
are one step. What does not: what is told (`surveil.notify`), and which is told next (`core.outbox`).

The journal is written with the facts themselves, so nothing is lost between the two: whatever it says after a target's
position is told to that target. One process writes here; any may read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from surveil.core.outbox import Draft, Latest, Parcel, Queue, admit
from surveil.frozen import dataclass
from surveil.say import Voice
from surveil.store.aside import or_anew
from surveil.store.beside import FileBeside

FILE: Final = "outbox.db"
KEPT_MS: Final = 14 * 24 * 3_600_000
"""So long it is known what was told, so that nobody is told the same again."""
PROBLEM_CHARACTERS_MAX: Final = 500
_VERSION: Final = 1
_SLOTS_AT_ONCE: Final = 500

_METADATA: Final = MetaData()
_TARGETS: Final = Table(
    "targets",
    _METADATA,
    Column("name", String(100), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("not_before_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("given_up", BigInteger, nullable=False),
    Column("delivered_at", BigInteger, nullable=True),
)
_PARCELS: Final = Table(
    "parcels",
    _METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("target", String(100), nullable=False),
    Column("subject", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("problem", Text, nullable=False),
    Column("ended_at", BigInteger, nullable=True),
    # Ids of parcels are an order, so none may come twice.
    sqlite_autoincrement=True,
)
Index("parcels_of_slot", _PARCELS.c.target, _PARCELS.c.slot, _PARCELS.c.id)
Index("parcels_waiting", _PARCELS.c.target, _PARCELS.c.id, sqlite_where=_PARCELS.c.ended_at.is_(None))
Index("parcels_ended", _PARCELS.c.ended_at, sqlite_where=_PARCELS.c.ended_at.is_not(None))
_FIELDS: Final = tuple(
    _PARCELS.c[name]
    for name in ("id", "subject", "slot", "body", "made_at", "rank", "refusals", "due_at", "problem")
)  # fmt: skip

_PUT_ASIDE: Final = (
    "what was still to be told is put aside: its file is damaged, and people are told of what happens from now on"
)

voice = Voice("notify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How far a target has come: the position in the journal of the last line that was read for it, when that was
    written, and what came of all before. Instants are milliseconds since 1970.
    """

    name: str
    position: int
    at: int
    not_before_at: int = 0
    failures: int = 0
    problem: str = ""
    delivered: int = 0
    given_up: int = 0
    delivered_at: int | None = None


class Outbox:
    """The outbox of one installation. Every method may be called by any thread, and raises `StoreError` where the
    disk does not do its part.
    """

    def __init__(self, data: Path, *, pages: bool = False) -> None:
        """Open the file in the data folder, or make it; with `pages` it is looked at whole.

        Raises:
            InvalidError: it is of a newer version.
            StoreError: it cannot be used.
        """
        loss = "; then nobody is told what happened before"
        self._file = FileBeside(data / FILE, _METADATA, _VERSION, loss=loss, pages=pages)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def followings(self) -> list[Following]:
        """How far each target has come, by name."""
        with self._file.looking() as connection:
            found = connection.execute(select(_TARGETS).order_by(_TARGETS.c.name)).all()
        return [Following(**dict(row._mapping)) for row in found]  # noqa: SLF001  # SQLAlchemy's own way to names

    def waiting(self) -> dict[str, tuple[int, int]]:
        """For each target for which something waits, how much, and since when."""
        wanted = select(_PARCELS.c.target, func.count(), func.min(_PARCELS.c.made_at))
        with self._file.looking() as connection:
            rows = connection.execute(wanted.where(_PARCELS.c.ended_at.is_(None)).group_by(_PARCELS.c.target))
            return {row[0]: (row[1], row[2]) for row in rows}

    def keep_only(self, names: Sequence[str]) -> list[str]:
        """Forget all targets but these, with what waits for them; returns those that were forgotten."""
        with self._file.transaction() as connection:
            known = {row[0] for row in connection.execute(select(_TARGETS.c.name))}
            gone = sorted(known - set(names))
            for name in gone:
                connection.execute(delete(_PARCELS).where(_PARCELS.c.target == name))
                connection.execute(delete(_TARGETS).where(_TARGETS.c.name == name))
        return gone

    def begin(self, name: str, *, position: int, at: int) -> Following:
        """How far this target has come; one that is new begins after `position`, which was written at `at`."""
        with self._file.transaction() as connection:
            row = connection.execute(select(_TARGETS).where(_TARGETS.c.name == name)).first()
            if row is not None:
                return Following(**dict(row._mapping))  # noqa: SLF001  # as above
            made = {
                "name": name, "position": position, "at": at, "not_before_at": 0, "failures": 0, "problem": "",
                "delivered": 0, "given_up": 0, "delivered_at": None,
            }  # fmt: skip
            connection.execute(insert(_TARGETS).values(made))
        return Following(name=name, position=position, at=at)

    def queue(self, name: str) -> Queue:
        """All that waits for a target."""
        wanted = select(*_FIELDS).where(_PARCELS.c.target == name, _PARCELS.c.ended_at.is_(None))
        wanted = wanted.order_by(_PARCELS.c.id)
        own = select(_TARGETS.c.failures, _TARGETS.c.not_before_at, _TARGETS.c.problem).where(_TARGETS.c.name == name)
        with self._file.looking() as connection:
            row = connection.execute(own).one()
            parcels = [_parcel_of(each) for each in connection.execute(wanted)]
        return Queue(
            waiting={parcel.id: parcel for parcel in parcels}, failures=row[0], not_before_at=row[1], problem=row[2]
        )

    def read_on(self, name: str, drafts: Sequence[Draft], *, position: int, at: int, now: int) -> None:
        """Keep what follows from the journal up to `position`, and that this was read: both or neither."""
        with self._file.transaction() as connection:
            admitted = admit(_latest(connection, name, [draft.slot for draft in drafts]), drafts)
            for parcel in admitted.superseded:
                connection.execute(delete(_PARCELS).where(_PARCELS.c.id == parcel))
            rows = [
                {
                    "target": name, "subject": draft.subject, "slot": draft.slot, "body": draft.body,
                    "made_at": draft.made_at, "rank": draft.rank, "refusals": 0, "due_at": 0, "problem": "",
                    "ended_at": None,
                }
                for draft in admitted.drafts
            ]  # fmt: skip
            if rows:
                connection.execute(insert(_PARCELS), rows)
            connection.execute(update(_TARGETS).where(_TARGETS.c.name == name).values(position=position, at=at))
            connection.execute(delete(_PARCELS).where(_PARCELS.c.ended_at < now - KEPT_MS))

    def settle(self, name: str, parcel: Parcel, left: Parcel | None, queue: Queue, *, told: bool, now: int) -> None:
        """Keep what became of an attempt to tell `parcel`: `left` still waits; otherwise it was `told` or given up."""
        changed: dict[str, Any] = {"ended_at": now} if left is None else {
            "refusals": left.refusals, "due_at": left.due_at, "problem": left.problem[:PROBLEM_CHARACTERS_MAX],
        }  # fmt: skip
        own: dict[str, Any] = {
            "failures": queue.failures, "not_before_at": queue.not_before_at,
            "problem": queue.problem[:PROBLEM_CHARACTERS_MAX],
        }  # fmt: skip
        if left is None and told:
            own |= {"delivered": _TARGETS.c.delivered + 1, "delivered_at": now}
        elif left is None:
            own |= {"given_up": _TARGETS.c.given_up + 1}
        with self._file.transaction() as connection:
            if left is None and not told:
                # Nobody was told, so the same may be said again.
                connection.execute(delete(_PARCELS).where(_PARCELS.c.id == parcel.id))
            else:
                connection.execute(update(_PARCELS).where(_PARCELS.c.id == parcel.id).values(changed))
            connection.execute(update(_TARGETS).where(_TARGETS.c.name == name).values(own))


def open_outbox(data: Path) -> Outbox:
    """Open the file and look at it whole, or make it, for whoever has to go on: one that is damaged is put aside, and
    everybody is told of what happens from then on.

    Raises:
        InvalidError: it is of a newer version.
        StoreError: it cannot be used, or was put aside too often.
    """
    return or_anew(lambda: Outbox(data, pages=True), voice, _PUT_ASIDE)


def _latest(connection: Connection, name: str, slots: Sequence[str]) -> dict[str, Latest]:
    """What these slots were last given."""
    found: dict[str, Latest] = {}
    columns = (_PARCELS.c.slot, _PARCELS.c.id, _PARCELS.c.rank, _PARCELS.c.body, _PARCELS.c.ended_at)
    wanted = list(dict.fromkeys(slots))
    for at in range(0, len(wanted), _SLOTS_AT_ONCE):
        some = _PARCELS.c.slot.in_(wanted[at : at + _SLOTS_AT_ONCE])
        rows = select(*columns).where(_PARCELS.c.target == name, some).order_by(_PARCELS.c.id)
        for slot, number, rank, body, ended_at in connection.execute(rows):
            found[slot] = Latest(waiting=number if ended_at is None else None, rank=rank, body=body)
    return found


def _parcel_of(row: Row[Any]) -> Parcel:
    return Parcel(**dict(row._mapping))  # noqa: SLF001  # SQLAlchemy's documented way to a row by names
