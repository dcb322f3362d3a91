"""The first tables."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _attempts()
    _builds()
    _cluster()
    _jobs()
    _notes()
    _peers()
    _runners()
    _specs()
    _tokens()


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("runner", sa.Text(), nullable=False),
        sa.Column("runner_name", sa.Text(), nullable=False),
        sa.Column("incarnation", _NUMBER, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("assigned_at", _NUMBER, nullable=False),
        sa.Column("accepted_at", _NUMBER),
        sa.Column("started_at", _NUMBER),
        sa.Column("finished_at", _NUMBER),
        sa.Column("exit_code", _NUMBER),
        sa.Column("log_bytes", _NUMBER, nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("isolation", sa.Text(), nullable=False),
        sa.Column("released", _NUMBER, nullable=False),
        sqlite_with_rowid=False,
    )


def _builds() -> None:
    op.create_table(
        "builds",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("mid", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("pipeline_file", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("complaints", sa.Text(), nullable=False),
        sa.Column("retry_of", _NUMBER),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", _NUMBER, nullable=False),
        sa.Column("started_at", _NUMBER),
        sa.Column("finished_at", _NUMBER),
        sa.UniqueConstraint("mid", name="builds_mid"),
    )
    where = sa.text(
        "state <> 'cancelled' AND state <> 'errored' AND state <> 'failed' AND state <> 'passed' AND state <> 'skipped'"
    )
    op.create_index("builds_open", "builds", ["id"], sqlite_where=where)
    op.create_index("builds_ref", "builds", ["repo", "ref", "id"])
    op.create_index("builds_repo", "builds", ["repo", "id"])


def _cluster() -> None:
    op.create_table(
        "cluster",
        sa.Column("one", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("epoch", _NUMBER, nullable=False),
        sa.Column("first_build", _NUMBER, nullable=False),
        sa.Column("copied_at", _NUMBER),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("build", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("position", _NUMBER, nullable=False),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempt", _NUMBER, nullable=False),
        sa.Column("failed", _NUMBER, nullable=False),
        sa.Column("errored", _NUMBER, nullable=False),
        sa.Column("lost", _NUMBER, nullable=False),
        sa.Column("lost_early", sa.Text(), nullable=False),
        sa.Column("not_before_at", _NUMBER, nullable=False),
        sa.Column("created_at", _NUMBER, nullable=False),
        sa.Column("started_at", _NUMBER),
        sa.Column("finished_at", _NUMBER),
        sqlite_with_rowid=False,
    )


def _notes() -> None:
    op.create_table(
        "notes",
        sa.Column("position", _NUMBER, primary_key=True),
        sa.Column("at", _NUMBER, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("build", _NUMBER),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_index("notes_build", "notes", ["build", "position"])


def _peers() -> None:
    op.create_table(
        "peers",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("created_at", _NUMBER, nullable=False),
        sa.Column("revoked_at", _NUMBER),
    )
    where = sa.text("revoked_at IS NULL")
    op.create_index("peers_name", "peers", ["role", "name"], unique=True, sqlite_where=where)


def _runners() -> None:
    op.create_table(
        "runners",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("slots", _NUMBER, nullable=False),
        sa.Column("incarnation", _NUMBER, nullable=False),
        sa.Column("online", _NUMBER, nullable=False),
        sa.Column("draining", _NUMBER, nullable=False),
        sa.Column("cordoned", sa.Text(), nullable=False),
        sa.Column("probation_at", _NUMBER),
        sa.Column("quick_errors", _NUMBER, nullable=False),
        sa.Column("seen_at", _NUMBER, nullable=False),
    )


def _specs() -> None:
    op.create_table(
        "specs",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("body", sa.Text(), nullable=False),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("uses_left", _NUMBER, nullable=False),
        sa.Column("created_at", _NUMBER, nullable=False),
        sa.Column("expires_at", _NUMBER, nullable=False),
        sa.Column("revoked_at", _NUMBER),
        sa.UniqueConstraint("digest", name="tokens_digest"),
    )
