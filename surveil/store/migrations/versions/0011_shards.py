"""The lists that shards share, and what was handed out of them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "shard_lists",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("suite", sa.Text(), primary_key=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("items", sa.LargeBinary(), nullable=False),
        sa.Column("row_sum", _NUMBER),
    )
    op.create_table(
        "shard_asks",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("suite", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("seq", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("done", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("row_sum", _NUMBER),
        sqlite_with_rowid=False,
    )
