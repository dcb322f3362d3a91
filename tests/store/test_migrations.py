"""The revisions make exactly the tables that the code uses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from surveil.core.model import Status
from surveil.store import codec, migrations
from surveil.store.finding import Filters, Finder
from surveil.store.statements import Statements
from surveil.store.tables import metadata


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return create_engine(f"sqlite:///{tmp_path / 'some %s file.db'}")


def shape(engine: Engine) -> list[tuple[str, str]]:
    """Everything that the database was told to hold, spelled the same."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    engine.dispose()
    return sorted((row[0], re.sub(r"[\s\"]+", " ", row[1])) for row in found)


def test_the_revisions_lead_to_the_very_tables_that_an_empty_database_gets(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0001")
        migrations.bring_up_to_date(connection, where="here")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    for each in (engine, other):
        with each.begin() as connection:
            migrations.bring_up_to_date(connection, where="here")
            assert MigrationContext.configure(connection).get_current_revision() == migrations.head()
            assert migrations.check(connection, where="here") == migrations.head()
    assert shape(engine) == shape(other)


def test_the_files_of_the_revisions_are_named_after_them() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    found = list(scripts.walk_revisions())
    assert [Path(script.path).name.partition("_")[0] for script in found] == [script.revision for script in found]
    assert scripts.get_current_head() == migrations.head()


def test_where_nothing_is_to_be_changed_nobody_waits_for_alembic(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import surveil.dispatcher; from surveil.store.sqlite import open_store\n"
        "for _ in range(2): open_store(Path(sys.argv[1]), now=1).close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0


def test_bringing_up_to_date_twice_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here")
    before = shape(engine)
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here")
    assert shape(engine) == before


def test_tables_and_statements_are_good_postgresql_as_well() -> None:
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert "CREATE" in str(CreateIndex(index).compile(dialect=dialect))
    statements = Statements.compiled(dialect)
    assert statements.change_job.names[-2:] == ("same_state", "fence")
    assert not statements.change_job.positional
    assert "%(body)s" in statements.new_spec.sql
    assert set(codec.JOB_CHANGES) < set(statements.change_job.names)


def test_a_runner_of_the_first_tables_is_kept_with_a_birth_that_nobody_knows(engine: Engine) -> None:
    values = "'k', 'spare', 'box', '1', '[]', 2, 7, 1, 0, '', NULL, 0, 5"
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0001")
        connection.exec_driver_sql(f"INSERT INTO runners VALUES ({values})")
        migrations.bring_up_to_date(connection, where="here")
        (row,) = connection.exec_driver_sql("SELECT * FROM runners").all()
    runner = codec.runner_of(row)
    assert (runner.id, runner.name, runner.slots, runner.incarnation, runner.birth) == ("k", "spare", 2, 7, None)
    assert (runner.online, runner.seen_at) == (True, 5)


def test_every_row_of_the_second_tables_gets_its_sum(engine: Engine) -> None:
    runner = "'k', 'spare', 'box', '1', '[]', 2, 7, 9, 1, 0, '', NULL, 0, 5"
    build = "1, 'mid', 'repo', 'ref', 'sha', 'push', '', 'me', '', '', '[]', NULL, 'passed', '', 1, 2, 3"
    job = "'test', 0, x'00', 'passed', '', 1, 0, 0, 0, '[]', 0, 1, 2, 3"
    attempt = "'k', 'spare', 7, 'passed', '', 1, NULL, 2, 3, 0, 9, '[]', 'process', 1"
    rows = {
        "cluster": ["1, 'c', 3, 1, NULL"], "builds": [build], "jobs": [f"1, {job}", f"2, {job}"],
        "attempts": [f"1, 'test', 1, {attempt}", f"1, 'test', 2, {attempt}", f"2, 'test', 1, {attempt}"],
        "runners": [runner], "notes": ["1, 2, 'job', '1/test', 1, 'passed', ''", "7, 2, 'runner', '', NULL, '', ''"],
        "peers": ["'k', 'runner', 'spare', '[]', 1, NULL"], "tokens": ["'t', x'01', 'runner', '[]', 1, 2, 3, NULL"],
    }  # fmt: skip
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0002")
        for table, values in rows.items():
            for each in values:
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({each})")
        migrations.bring_up_to_date(connection, where="here")
        for guard in (each for each in codec.GUARDS if each.table.name in rows):
            found = connection.exec_driver_sql(f"SELECT * FROM {guard.table.name}").all()
            assert len(found) == len(rows.get(guard.table.name, ()))
            assert all(map(guard.fits, found)), guard.table.name


def test_builds_of_older_tables_are_found_by_their_author(engine: Engine) -> None:
    build = "'sha', 'push', '', 1, NULL, NULL, '', 'Ada', '', '', '[]', NULL, 'failed', '', '', 1, 2, 3, NULL"
    columns = (
        "id, mid, repo, ref, sha, event, base, trusted, paths, inputs, message, author, pipeline_file, rule,"
        " complaints, retry_of, state, reason, approved, created_at, started_at, finished_at, row_sum"
    )
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0012")
        for number in (1, 2):
            connection.exec_driver_sql(
                f"INSERT INTO builds ({columns}) VALUES ({number}, 'm{number}', 'r', 'f', {build})"
            )
        migrations.bring_up_to_date(connection, where="here")
        wanted = Filters(repos=None, ref=None, state=Status.FAILED, event="push", authors=["Ada"], before=None)
        assert Finder(engine.dialect).find(connection.connection.cursor(), wanted, 9) == [2, 1]
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_job_that_was_damaged_before_its_table_grew_does_not_look_sound_after_it(engine: Engine) -> None:
    job = "'test', 0, x'00', 'passed', '', 1, 0, 0, 0, '[]', 0, 1, 2, 3"
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0002")
        for build in (1, 2):
            connection.exec_driver_sql(f"INSERT INTO jobs VALUES ({build}, {job})")
        migrations.bring_up_to_date(connection, where="here", to="0004")
        connection.exec_driver_sql("UPDATE jobs SET reason = 'changed by the disk' WHERE build = 2")
        migrations.bring_up_to_date(connection, where="here")
        rows = connection.exec_driver_sql("SELECT * FROM jobs ORDER BY build").all()
    assert [codec.JOBS.fits(row) for row in rows] == [True, False]


def test_a_build_that_was_damaged_before_its_table_grew_does_not_look_sound_after_it(engine: Engine) -> None:
    build = "'repo', 'ref', 'sha', 'push', '', 'me', '', '', '[]', NULL, 'passed', '', 1, 2, 3"
    with engine.begin() as connection:
        migrations.bring_up_to_date(connection, where="here", to="0002")
        for number in (1, 2):
            connection.exec_driver_sql(f"INSERT INTO builds VALUES ({number}, 'mid{number}', {build})")
        migrations.bring_up_to_date(connection, where="here", to="0003")
        connection.exec_driver_sql("UPDATE builds SET reason = 'changed by the disk' WHERE id = 2")
        migrations.bring_up_to_date(connection, where="here")
        rows = connection.exec_driver_sql("SELECT * FROM builds ORDER BY id").all()
    assert [codec.BUILDS.fits(row) for row in rows] == [True, False]
