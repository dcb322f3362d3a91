"""The tables, their keys and indexes, for SQLite and PostgreSQL alike.

What belongs here: the shape of what is stored. What does not: statements (`writing`, `reading`) and how a shape
becomes the next one (`migrations`; a test compares the two).

Jobs and attempts are keyed by their build first, so that everything of a build lies together, new rows go to the end
of the trees, and no further index is needed to find it. Specs are kept by digest: the jobs of a repository hardly
differ from build to build, and an update of a job's state never touches its scripts. Lists are JSON texts.

Every row has its checksum, specs in their digest. That it may be NULL is for the database only, which could not add it
to a table otherwise: NULL is no checksum of anything.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from surveil.core.model import VERDICTS, Status

Number: Final = BigInteger().with_variant(Integer(), "sqlite")
"""53 bits. SQLite's INTEGER has 64, and only under that name is a primary key the row's own number."""

OPEN_BUILD: Final = " AND ".join(f"state <> '{verdict}'" for verdict in sorted(VERDICTS))
"""Literal, because an index over a part of a table serves only queries that repeat its condition word for word."""
NOT_PASSED: Final = VERDICTS - {Status.PASSED}
NOT_PASSED_BUILD: Final = "state IN ({})".format(", ".join(f"'{verdict}'" for verdict in sorted(NOT_PASSED)))
LIVE_PEER: Final = "revoked_at IS NULL"

metadata: Final = MetaData()

cluster: Final = Table(
    "cluster",
    metadata,
    Column("one", Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("epoch", Number, nullable=False),
    Column("first_build", Number, nullable=False),
    # When a backup wrote this copy; the next start learns from it that the world has moved on, and clears it.
    Column("copied_at", Number),
    Column("row_sum", Number),
)

builds: Final = Table(
    "builds",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("mid", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("sha", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("trusted", Number, nullable=False),
    Column("paths", Text),
    Column("inputs", Text),
    Column("message", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("pipeline_file", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("complaints", Text, nullable=False),
    Column("retry_of", Number),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approved", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("started_at", Number),
    Column("finished_at", Number),
    Column("row_sum", Number),
    UniqueConstraint("mid", name="builds_mid"),
    # Columns behind the number are there to be compared without a look at the build itself.
    Index("builds_repo", "repo", "id", "event"),
    Index("builds_ref", "repo", "ref", "id"),
    # An argument of another dialect would load all of that with each start.
    Index("builds_open", "id", sqlite_where=text(OPEN_BUILD)),
    # Written once, with the verdict, and not for what passed, which is most and found without.
    Index("builds_not_passed", "state", "id", "repo", "ref", "author", sqlite_where=text(NOT_PASSED_BUILD)),
    Index("builds_repo_not_passed", "repo", "state", "id", "ref", sqlite_where=text(NOT_PASSED_BUILD)),
    Index("builds_event", "event", "id"),
    Index("builds_author", "author", "id", "repo", "event"),
)

specs: Final = Table(
    "specs",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("body", Text, nullable=False),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("position", Number, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("attempt", Number, nullable=False),
    Column("failed", Number, nullable=False),
    Column("errored", Number, nullable=False),
    Column("lost", Number, nullable=False),
    Column("lost_early", Text, nullable=False),
    Column("not_before_at", Number, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("started_at", Number),
    Column("finished_at", Number),
    # Pairs of names and values; NULL where there are none, which most jobs have.
    Column("outputs", Text),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

attempts: Final = Table(
    "attempts",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("runner", Text, nullable=False),
    Column("runner_name", Text, nullable=False),
    Column("incarnation", Number, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("assigned_at", Number, nullable=False),
    Column("accepted_at", Number),
    Column("started_at", Number),
    Column("finished_at", Number),
    Column("exit_code", Number),
    Column("log_bytes", Number, nullable=False),
    Column("steps", Text, nullable=False),
    Column("isolation", Text, nullable=False),
    Column("released", Number, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

cases: Final = Table(
    "cases",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("position", Number, primary_key=True, autoincrement=False),
    Column("suite", Text, nullable=False),
    Column("test", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("duration_ms", Number, nullable=False),
    Column("message", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

tallies: Final = Table(
    "tallies",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("passed", Number, nullable=False),
    Column("failed", Number, nullable=False),
    Column("errored", Number, nullable=False),
    Column("skipped", Number, nullable=False),
    Column("duration_ms", Number, nullable=False),
    Column("problems", Text, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

artifacts: Final = Table(
    "artifacts",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("artifact", Text, primary_key=True),
    Column("blob", Text, nullable=False),
    Column("size", Number, nullable=False),
    Column("files", Number, nullable=False),
    Column("kept_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

caches: Final = Table(
    "caches",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("paths", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("blob", Text, nullable=False),
    Column("size", Number, nullable=False),
    Column("kept_at", Number, nullable=False),
    Column("used_at", Number, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

shard_lists: Final = Table(
    "shard_lists",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("suite", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("items", LargeBinary, nullable=False),
    Column("row_sum", Number),
)

shard_asks: Final = Table(
    "shard_asks",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    Column("suite", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", Number, primary_key=True, autoincrement=False),
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("done", Text, nullable=False),
    Column("given", Text, nullable=False),
    Column("row_sum", Number),
    sqlite_with_rowid=False,
)

runners: Final = Table(
    "runners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("software", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("slots", Number, nullable=False),
    Column("incarnation", Number, nullable=False),
    Column("birth", Number),
    Column("online", Number, nullable=False),
    Column("draining", Number, nullable=False),
    Column("cordoned", Text, nullable=False),
    Column("probation_at", Number),
    Column("quick_errors", Number, nullable=False),
    Column("seen_at", Number, nullable=False),
    Column("row_sum", Number),
)

notes: Final = Table(
    "notes",
    metadata,
    Column("position", Number, primary_key=True),
    Column("at", Number, nullable=False),
    Column("what", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("build", Number),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("row_sum", Number),
    Index("notes_build", "build", "position"),
)

peers: Final = Table(
    "peers",
    metadata,
    Column("key", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("revoked_at", Number),
    Column("row_sum", Number),
    # Two live machines of one name could not be told apart by people.
    Index("peers_name", "role", "name", unique=True, sqlite_where=text(LIVE_PEER)),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("uses_left", Number, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("expires_at", Number, nullable=False),
    Column("revoked_at", Number),
    Column("row_sum", Number),
    UniqueConstraint("digest", name="tokens_digest"),
)

secrets: Final = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("repo", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("job", Text, primary_key=True),
    Column("source", Text, nullable=False),
    # Which key opens it, by its id; the key itself lies elsewhere.
    Column("key", Text, nullable=False),
    Column("encrypted", LargeBinary, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("changed_at", Number, nullable=False),
    Column("row_sum", Number),
)

timetables: Final = Table(
    "timetables",
    metadata,
    Column("repo", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("row_sum", Number),
)
