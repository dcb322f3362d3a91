"""`audit`: who did what, and whether the book is whole."""

import json
import sqlite3

import pytest

from surveil.store.acts import FILE, Act, Acts
from tests.answer.desk import NOW
from tests.cli.conftest import Type
from tests.cli.counter import Counter


def written(counter: Counter, *people: str) -> Acts:
    acts = counter.desk.acts = Acts(counter.data)
    counter.answers = counter.desk.answers()
    for number, person in enumerate(people, 1):
        acts.write(Act(at=NOW, person=person, client="local", way="page", what="cancel", subject=f"build {number}"))
    return acts


def test_acts_are_listed_over_all_pages_and_by_person(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveil.cli.auditing.PAGE", 2)
    acts = written(counter, "ada", "grace", "ada", "ada", "ada")
    listed = json.loads(type_("audit", "--json", "--limit", "4").out)
    assert [each["subject"] for each in listed] == ["build 5", "build 4", "build 3", "build 2"]
    assert [each["person"] for each in json.loads(type_("audit", "--json", "--person", "grace").out)] == ["grace"]
    assert "grace (local)" in type_("audit").out
    assert "Nobody did anything" in type_("audit", "--since", "1s").err
    misspelt = type_("audit", "--what", "canceled")
    assert (misspelt.code, "acts are `submit`, `retry`, `cancel`" in misspelt.err) == (2, True)
    acts.close()


def test_a_book_that_was_changed_is_told_of_with_the_line(type_: Type, counter: Counter) -> None:
    acts = written(counter, "ada", "grace")
    whole = type_("audit", "--check")
    assert (whole.code, whole.out.strip()) == (0, acts.check().newest)
    acts.close()
    with sqlite3.connect(counter.data / FILE) as connection:
        connection.execute("UPDATE acts SET person = 'eve' WHERE position = 2")
    connection.close()
    changed = type_("audit", "--check")
    assert changed.code == 7
    assert "Line 2 of" in changed.err


def test_there_is_no_book_where_no_dispatcher_is(type_: Type) -> None:
    assert type_("audit", "--check").code == 3
