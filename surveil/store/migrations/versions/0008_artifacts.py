"""Artifacts of attempts get a table."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("artifact", sa.Text, primary_key=True),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("size", _NUMBER, nullable=False),
        sa.Column("files", _NUMBER, nullable=False),
        sa.Column("kept_at", _NUMBER, nullable=False),
        sa.Column("expires_at", _NUMBER, nullable=False),
        sa.Column("row_sum", _NUMBER),
        sqlite_with_rowid=False,
    )
