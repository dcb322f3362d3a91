"""Test results: a row for each test of an attempt, and one for all of them together."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0007"
down_revision: Final = "0005"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cases",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("test", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("duration_ms", _NUMBER, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("row_sum", _NUMBER),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("passed", _NUMBER, nullable=False),
        sa.Column("failed", _NUMBER, nullable=False),
        sa.Column("errored", _NUMBER, nullable=False),
        sa.Column("skipped", _NUMBER, nullable=False),
        sa.Column("duration_ms", _NUMBER, nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("row_sum", _NUMBER),
        sqlite_with_rowid=False,
    )
