"""Changes of a database behind the store's back that no checksum gives away.

What belongs here: making rows fit again. What does not: damage (tests.damage).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from surveil.store import codec
from surveil.store.sums import SUM


def rewrite(database: Path, statement: str, values: Sequence[Any] = ()) -> None:
    """Run a statement, and give every row the checksums of what it then is."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(statement, values)
        for guard in codec.GUARDS:
            columns = guard.table.c.keys()
            key = [column.name for column in guard.table.primary_key]
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {guard.table.name}").fetchall():
                named = dict(zip(columns, row, strict=True)) | {SUM: guard.sum(row)}
                where = " AND ".join(f"{name} = :{name}" for name in key)
                connection.execute(f"UPDATE {guard.table.name} SET {SUM} = :{SUM} WHERE {where}", named)
