"""Runners get a birth, which tells two processes with copies of one data folder apart."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    # The table is made anew, so that it reads the same as one that never was without the column.
    with op.batch_alter_table("runners", recreate="always") as runners:
        runners.add_column(
            sa.Column("birth", sa.BigInteger().with_variant(sa.Integer(), "sqlite")), insert_after="incarnation"
        )
