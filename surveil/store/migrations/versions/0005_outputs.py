"""Jobs keep what they put out for those that need them.

No job of before put anything out. A row that was damaged before is left without a sum: a new one would hide it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from surveil.store.migrations.summing import sum_rows

revision: Final = "0005"
down_revision: Final = "0006"

_BEFORE: Final = (
    "build", "name", "position", "spec", "created_at", "state", "reason", "attempt", "failed", "errored", "lost",
    "lost_early", "not_before_at", "started_at", "finished_at",
)  # fmt: skip


def upgrade() -> None:
    # The table is made anew, so that it reads the same as one that never was without the column.
    with op.batch_alter_table("jobs", recreate="always") as jobs:
        jobs.add_column(sa.Column("outputs", sa.Text()), insert_after="finished_at")
    sum_rows("jobs", (*_BEFORE, "outputs"), keys=2, before=_BEFORE)
