"""Checksums of rows: a value that the disk made another of its kind is noticed when its row is read.

What belongs here: of what a sum is taken, and comparing a row with its own. What does not: which columns come in which
order (`codec`), and the pages around the rows, which SQLite knows better (`sqlite`).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias
from zlib import crc32

from sqlalchemy import Table

from surveil.codec import pack_row
from surveil.store import StoreError

Row: TypeAlias = tuple[Any, ...]

SUM: Final = "row_sum"
"""The column that every table has for it."""
_CURE: Final = "`surveil db check` names all that is damaged; put back a copy that `surveil db backup` made"


class DamagedError(StoreError):
    """A row does not have its checksum, or is missing; `what` says which, and what of it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: {_CURE}")


def row_sum(values: Sequence[Any]) -> int:
    """The checksum of values that the database returns as they were given: integers, texts, bytes and None."""
    return crc32(pack_row(values))


def summed(values: Row) -> Row:
    """The same values with their checksum behind them."""
    return values + (crc32(pack_row(values)),)  # noqa: RUF005  # it is quicker, and each row passes here


class Guard:
    """The checksums of one table's rows."""

    def __init__(self, table: Table, name: str, columns: Sequence[str]) -> None:
        """`name` says to a person which row it is, with its key; `columns` are those that the sum is taken of, in
        order.
        """
        present = list(table.c.keys())
        assert sorted((*columns, SUM)) == sorted(present), f"the sum of {table} does not vouch for all of it"
        self.table = table
        self._name = name
        self._pick = itemgetter(*map(present.index, columns))
        self._at = present.index(SUM)

    def sum(self, row: Sequence[Any]) -> int:
        """The checksum that a whole row of the table is to have, its columns in the table's order."""
        return row_sum(self._pick(row))

    def fits(self, row: Sequence[Any]) -> bool:
        """Whether such a row has it."""
        return bool(row_sum(self._pick(row)) == row[self._at])

    def check(self, row: Sequence[Any]) -> None:
        """Compare such a row with its checksum.

        Raises:
            DamagedError: it is not what was written.
        """
        if not self.fits(row):
            raise DamagedError(f"{self.name(row)} was damaged on disk, its checksum does not fit")

    def name(self, row: Sequence[Any]) -> str:
        """Which row it is, as far as the row itself knows."""
        return self._name.format(**dict(zip(self.table.c.keys(), row, strict=True)))
