"""What is built by the clock."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"


def upgrade() -> None:
    op.create_table(
        "timetables",
        sa.Column("repo", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("row_sum", sa.BigInteger().with_variant(sa.Integer(), "sqlite")),
    )
