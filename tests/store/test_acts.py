"""Who did what: one line behind the other, none changed or taken out without being noticed, none kept for ever."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surveil.store import StoreError
from surveil.store import acts as module
from surveil.store.acts import CHARACTERS_MAX, FILE, KEPT_MS, Act, Acts

NOW = 1_750_000_000_000


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    return Acts(tmp_path)


def act(number: int, *, at: int = NOW, person: str = "ada", what: str = "cancel") -> Act:
    return Act(at=at, person=person, client="local", way="page", what=what, subject=f"build {number}", detail="why")


def subjects(found: list[Act]) -> list[str]:
    return [each.subject.removeprefix("build ") for each in found]


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute(statement)
    connection.close()


def test_acts_are_listed_newest_first_and_found_by_person_kind_and_time(acts: Acts) -> None:
    acts.write(act(1))
    acts.write(act(2, person="grace", at=NOW + 1))
    acts.write(act(3, what="retry", at=NOW + 2))
    assert subjects(acts.listed(limit=2)) == ["3", "2"]
    assert subjects(acts.listed(limit=9, before=2)) == ["1"]
    assert subjects(acts.listed(limit=9, person="grace")) == ["2"]
    assert subjects(acts.listed(limit=9, what="retry")) == ["3"]
    assert subjects(acts.listed(limit=9, since=NOW + 1)) == ["3", "2"]


@pytest.mark.parametrize(
    ("done", "broken_at"),
    [
        ("UPDATE acts SET person = 'eve' WHERE position = 2", 2),
        ("UPDATE acts SET at = at + 1 WHERE position = 1", 1),
        ("DELETE FROM acts WHERE position = 2", 3),
        ("DELETE FROM acts WHERE position = 1", 2),
        ("UPDATE acts SET chain = zeroblob(32) WHERE position = 3", 3),
    ],
)
def test_a_line_that_was_changed_or_taken_out_is_noticed(acts: Acts, tmp_path: Path, done: str, broken_at: int) -> None:
    for number in (1, 2, 3, 4):
        acts.write(act(number))
    whole = acts.check()
    assert (whole.lines, whole.broken_at) == (4, None)
    change(tmp_path, done)
    found = acts.check()
    assert (found.lines, found.broken_at) == (broken_at - 1 if "UPDATE" in done else broken_at - 2, broken_at)


@pytest.mark.parametrize("done", ["at = 'long ago'", "person = x'07'", "subject = x'00ff'"])
def test_a_line_of_what_was_never_written_is_said_in_a_sentence(acts: Acts, tmp_path: Path, done: str) -> None:
    acts.write(act(1))
    change(tmp_path, f"UPDATE acts SET {done}")
    with pytest.raises(StoreError, match=r"line 1 of .*acts\.db is damaged \(\w+\): `surveil audit --check` says"):
        acts.listed(limit=10)
    assert acts.check().broken_at == 1


def test_a_book_that_was_written_anew_ends_in_another_digest(acts: Acts, tmp_path: Path) -> None:
    acts.write(act(1))
    kept = acts.check().newest
    change(tmp_path, "DELETE FROM acts")
    acts.write(act(1, person="eve"))
    assert acts.check().broken_at is None
    assert acts.check().newest != kept


def test_old_lines_go_and_the_chain_goes_on_from_where_they_were(acts: Acts) -> None:
    acts.write(act(1))
    acts.write(act(2, at=NOW + 10))
    acts.write(act(3, at=NOW + KEPT_MS + 1))
    assert subjects(acts.listed(limit=9)) == ["3", "2"]
    assert acts.check().broken_at is None
    acts.write(act(4, at=NOW + 3 * KEPT_MS))
    acts.write(act(5, at=NOW + 3 * KEPT_MS))
    assert (subjects(acts.listed(limit=9)), acts.check().lines) == (["5", "4"], 2)


def test_there_is_an_end_to_how_many_lines_are_kept(acts: Acts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_MAX", 3)
    for number in range(1, 8):
        acts.write(act(number))
    assert subjects(acts.listed(limit=9)) == ["7", "6", "5"]
    assert (acts.check().lines, acts.check().broken_at) == (3, None)


def test_several_processes_write_one_chain(acts: Acts, tmp_path: Path) -> None:
    other = Acts(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: (acts, other)[number % 2].write(act(number)), range(40)))
    other.close()
    assert (acts.check().lines, acts.check().broken_at) == (40, None)
    assert sorted(map(int, subjects(acts.listed(limit=99)))) == list(range(40))


def test_no_line_is_longer_than_a_line_may_be(acts: Acts) -> None:
    acts.write(Act(at=NOW, person="ada", way="api", what="cancel", subject="x" * 9999, detail="y" * 9999))
    (found,) = acts.listed(limit=1)
    assert (len(found.subject), len(found.detail)) == (CHARACTERS_MAX, CHARACTERS_MAX)
    assert acts.check().broken_at is None
