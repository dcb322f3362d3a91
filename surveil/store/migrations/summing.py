"""The sums of a table's rows, made anew: whatever a revision changes in a row, its checksum has to follow.

What belongs here: going through a table in bounded pieces. What does not: which columns a sum covered at which
revision, which each revision says itself, because the code's own order is that of today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

import sqlalchemy as sa
from alembic import op

from surveil.codec import pack_row

_ROWS: Final = 10_000
"""Rows that are read, summed and written at one time."""


def sum_rows(table: str, covered: Sequence[str], keys: int = 1, before: Sequence[str] = ()) -> None:
    """Fill a table's column of sums, each taken of the columns `covered` in this order; the first `keys` of them are
    the table's key. Where the sums were taken of the columns `before` until now, a row that does not have that sum gets
    none: it was damaged, and a new one would hide it.
    """
    known = sa.table(table, *(sa.column(name) for name in (*covered, "row_sum")))
    key = [known.c[name] for name in covered[:keys]]
    write = sa.update(known).values(row_sum=sa.bindparam("sum_now"))
    write = write.where(*(column == sa.bindparam(f"key_{column.name}") for column in key))
    last: Sequence[Any] | None = None
    while True:
        wanted = sa.select(*(known.c[name] for name in (*covered, "row_sum"))).order_by(*key).limit(_ROWS)
        if last is not None:
            wanted = wanted.where(sa.tuple_(*key) > last)
        rows = [tuple(row) for row in op.get_bind().execute(wanted)]
        if not rows:
            return
        filled = [_filled(row, covered, keys, before) for row in rows]
        op.get_bind().execute(write, filled)
        last = rows[-1][:keys]


def _filled(row: Sequence[Any], covered: Sequence[str], keys: int, before: Sequence[str]) -> dict[str, Any]:
    values, known = row[:-1], row[-1]
    sound = not before or known == crc32(pack_row([values[covered.index(name)] for name in before]))
    sum_now = crc32(pack_row(values)) if sound else None
    return {"sum_now": sum_now} | {f"key_{name}": values[at] for at, name in enumerate(covered[:keys])}
