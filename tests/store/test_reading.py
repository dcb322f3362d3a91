"""Answers stay quick as the past grows: no question looks at rows that are not in its answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from surveil.core.model import Status
from surveil.store import BuildDetail, whole
from surveil.store.reading import SqlReader
from surveil.store.shelf import Shelf
from surveil.store.sqlite import FILE, open_reader, open_store
from tests.store.records import make_attempt, make_build, make_job, make_spec, new


def plans(reader: SqlReader, data: Path, ask: str) -> list[str]:
    """How SQLite finds the rows for each statement of a question."""
    said: list[str] = []

    def listen(driver: sqlite3.Connection, *_: object) -> None:
        driver.set_trace_callback(said.append)

    event.listen(reader.engine, "checkout", listen)
    eval(ask, {"reader": reader, "Status": Status, "Shelf": Shelf})
    event.remove(reader.engine, "checkout", listen)
    database = sqlite3.connect(data / FILE)
    steps = [
        step[3]
        for sql in said
        if sql.startswith(("SELECT", "WITH"))
        for step in database.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]
    database.close()
    assert steps
    return steps


@pytest.mark.parametrize(
    "ask",
    [
        "reader.counts()",
        "reader.happened(7)",
        "reader.queued_since()",
        "reader.build(1)",
        "reader.details([1, 2, 3])",
        "reader.builds(repo='/srv/repo', limit=3)",
        "reader.builds(repo='/srv/repo', ref='refs/heads/main', before=9)",
        "reader.builds(state=Status.FAILED)",
        "reader.builds(repo='/srv/repo', jobs=False)",
        "reader.builds(state=Status.RUNNING)",
        "reader.builds(state=Status.FAILED, repo='/srv/repo')",
        "reader.builds(event='schedule', before=9)",
        "reader.builds(ref='refs/heads/main')",
        "reader.builds(among=['/srv/repo', '/srv/b'], event='push')",
        "reader.builds(state=Status.PASSED, repo='/srv/repo', ref='refs/heads/main')",
        "reader.builds(authors=['Ada <ada@example.org>'], state=Status.FAILED)",
        "reader.builds(authors=['Ada <ada@example.org>'], state=Status.PASSED)",
        "reader.builds(authors=['Ada <ada@example.org>'], repo='/srv/repo', event='push', before=9)",
        "reader.authors()",
        "reader.outlines_after(7, [1, 2])",
        "reader.repositories()",
        "reader.outlines('/srv/repo')",
        "reader.history(1, 's', 't')",
        "reader.incidents()",
        "reader.build_of_mid('m')",
        "reader.owner('1/test', 1)",
        "reader.journal(after=7)",
        "reader.journal(build=1)",
        "reader.peer('k')",
        "Shelf(reader.engine).lately(repo=None, before=9, limit=3)",
        "Shelf(reader.engine).lately(repo='repo', before=9, limit=3)",
        "Shelf(reader.engine).lately(repo=None, before=9, limit=3, among=['/srv/repo', '/srv/b'])",
    ],
)
def test_no_question_scans_the_past(tmp_path: Path, ask: str) -> None:
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build(), make_job(), make_attempt()))
    reader = open_reader(tmp_path)
    steps = plans(reader, tmp_path, ask)
    reader.close()
    store.close()
    scans = [step for step in steps if step.startswith("SCAN")]
    # Runners are as few as machines, the index of open builds is as long as the answer, and a chain of names is one.
    short = {"SCAN runners", "SCAN chain", "SCAN builds USING INDEX builds_open"}
    assert [step for step in scans if step not in short] == []


def test_of_what_jobs_were_asked_for_so_much_is_remembered_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "SPECS_MAX", 2)
    with closing(open_store(tmp_path, now=1)) as store:
        for number in range(1, 6):
            store.commit(new(make_build(number, jobs=(f"job{number}",)), make_job(number, f"job{number}")))
        reader = store.reader
        assert isinstance(reader, SqlReader)
        first = reader.details([1, 2, 3, 4, 5])
        assert [detail.jobs[0].spec.name for detail in first] == ["job1", "job2", "job3", "job4", "job5"]
        known = reader._whole._known  # noqa: SLF001  # that it is bounded shows nowhere else
        assert len(known) == 2
        assert reader.details([1, 2, 3, 4, 5]) == first, "what is forgotten is read again"
        assert len(known) == 2


def specs_asked(reader: SqlReader, builds: Sequence[int]) -> tuple[list[BuildDetail], list[str]]:
    """These builds, and the statements that asked for specs."""
    said: list[str] = []

    def listen(driver: sqlite3.Connection, *_: object) -> None:
        driver.set_trace_callback(said.append)

    event.listen(reader.engine, "checkout", listen)
    found = reader.details(builds)
    event.remove(reader.engine, "checkout", listen)
    assert said
    return found, [sql for sql in said if "FROM specs" in sql]


def test_what_the_jobs_of_a_large_build_were_asked_for_is_read_once(tmp_path: Path) -> None:
    names = [f"test-{number}" for number in range(1000)]
    jobs = [make_job(1, name, position=position) for position, name in enumerate(names)]
    store = open_store(tmp_path, now=1)
    store.commit(new(make_build(1, tuple(names)), *jobs))
    reader = open_reader(tmp_path)
    (first,), asked = specs_asked(reader, [1])
    (second,), asked_again = specs_asked(reader, [1])
    reader.close()
    store.close()
    assert asked
    assert asked_again == []
    assert first == second
    assert list(first.jobs) == jobs


def test_the_longest_specs_are_not_all_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.store.whole.SPECS_CHARACTERS_MAX", 20_000)
    store = open_store(tmp_path, now=1)
    for build in range(1, 11):
        spec = make_spec(script="x" * 4000 + str(build))
        store.commit(new(make_build(build), make_job(build, spec=spec)))
    reader = open_reader(tmp_path)
    found, _ = specs_asked(reader, range(1, 11))
    last, asked_for_last = specs_asked(reader, [10])
    first, asked_for_first = specs_asked(reader, [1])
    reader.close()
    store.close()
    assert [len(detail.jobs[0].spec.steps[0].run) for detail in found] == [4001] * 9 + [4002]
    assert (first, last) == (found[:1], found[-1:])
    assert asked_for_last == []
    assert asked_for_first
