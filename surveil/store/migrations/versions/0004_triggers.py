"""Builds say what triggered them: whether strangers may have written their commit, who approved it, which files it
changes, and what a person typed.

What is stored was built of refs that nobody distrusted then, and keeps its trust. A row that was damaged before is left
without a sum: a new one would hide it.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from surveil.store.migrations.summing import sum_rows

revision: Final = "0004"
down_revision: Final = "0003"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BEFORE: Final = (
    "id", "mid", "repo", "ref", "sha", "event", "message", "author", "pipeline_file", "rule", "complaints", "retry_of",
    "created_at", "state", "reason", "started_at", "finished_at",
)  # fmt: skip
_BUILDS: Final = (
    "id", "mid", "repo", "ref", "sha", "event", "base", "trusted", "paths", "inputs", "message", "author",
    "pipeline_file", "rule", "complaints", "retry_of", "created_at", "state", "reason", "approved", "started_at",
    "finished_at",
)  # fmt: skip


def upgrade() -> None:
    # The table is made anew, so that it reads the same as one that never was without these columns.
    with op.batch_alter_table("builds", recreate="always") as builds:
        builds.add_column(sa.Column("base", sa.Text()), insert_after="event")
        builds.add_column(sa.Column("trusted", _NUMBER), insert_after="base")
        builds.add_column(sa.Column("paths", sa.Text()), insert_after="trusted")
        builds.add_column(sa.Column("inputs", sa.Text()), insert_after="paths")
        builds.add_column(sa.Column("approved", sa.Text()), insert_after="reason")
    op.execute("UPDATE builds SET base = '', trusted = 1, approved = ''")
    with op.batch_alter_table("builds", recreate="always") as builds:
        for name, kind in (("base", sa.Text()), ("trusted", _NUMBER), ("approved", sa.Text())):
            builds.alter_column(name, existing_type=kind, nullable=False)
    sum_rows("builds", _BUILDS, before=_BEFORE)
