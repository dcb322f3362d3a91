"""What jobs leave for others to find gets a table."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "caches",
        sa.Column("repo", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("paths", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("size", _NUMBER, nullable=False),
        sa.Column("kept_at", _NUMBER, nullable=False),
        sa.Column("used_at", _NUMBER, nullable=False),
        sa.Column("row_sum", _NUMBER),
        sqlite_with_rowid=False,
    )
