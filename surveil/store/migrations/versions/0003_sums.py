"""Every row gets its checksum, so that a value that the disk changes is noticed.

What is stored is taken as it is: nobody can know what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

from surveil.store.migrations.summing import sum_rows

revision: Final = "0003"
down_revision: Final = "0002"

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# The columns of each sum, in its order.
_CLUSTER: Final = ("one", "id", "epoch", "first_build", "copied_at")
_BUILDS: Final = (
    "id", "mid", "repo", "ref", "sha", "event", "message", "author", "pipeline_file", "rule", "complaints", "retry_of",
    "created_at", "state", "reason", "started_at", "finished_at",
)  # fmt: skip
_JOBS: Final = (
    "build", "name", "position", "spec", "created_at", "state", "reason", "attempt", "failed", "errored", "lost",
    "lost_early", "not_before_at", "started_at", "finished_at",
)  # fmt: skip
_ATTEMPTS: Final = (
    "build", "name", "number", "runner", "runner_name", "assigned_at", "incarnation", "state", "reason", "accepted_at",
    "started_at", "finished_at", "exit_code", "log_bytes", "steps", "isolation", "released",
)  # fmt: skip
_RUNNERS: Final = (
    "id", "name", "host", "software", "labels", "slots", "incarnation", "birth", "online", "draining", "cordoned",
    "probation_at", "quick_errors", "seen_at",
)  # fmt: skip
_NOTES: Final = ("position", "at", "what", "id", "build", "state", "reason")
_PEERS: Final = ("key", "role", "name", "labels", "created_at", "revoked_at")
_TOKENS: Final = ("id", "digest", "role", "labels", "uses_left", "created_at", "expires_at", "revoked_at")


def upgrade() -> None:
    _sum("cluster", _CLUSTER)
    _sum("builds", _BUILDS)
    _sum("jobs", _JOBS, keys=2)
    _sum("attempts", _ATTEMPTS, keys=3)
    _sum("runners", _RUNNERS)
    _sum("notes", _NOTES)
    _sum("peers", _PEERS)
    _sum("tokens", _TOKENS)


def _sum(table: str, covered: Sequence[str], keys: int = 1) -> None:
    """Add a table's column of sums, and fill it; the first columns are the key."""
    op.add_column(table, sa.Column("row_sum", _NUMBER))
    sum_rows(table, covered, keys)
