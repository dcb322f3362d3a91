"""A damaged file beside the database: builds go on, nothing of it is lost to whoever looks, and it is said. The next
book of acts says why it begins; who is let in is never begun anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from surveil.core.outbox import Draft
from surveil.store import StoreError, hooks, outbox, passes
from surveil.store.acts import FILE, Act, Acts, open_book
from surveil.store.aside import ASIDE_MAX, aside_of
from surveil.store.beside import DamagedFileError
from surveil.store.hooks import Hook, Hooks, open_hooks
from surveil.store.outbox import Outbox, open_outbox
from surveil.store.passes import Kind, Passes

NOW = 1_750_000_000_000
FIRST = f"{FILE}.damaged-1"


def act(number: int) -> Act:
    return Act(at=NOW + number, person="ada", way="page", what="cancel", subject=f"build {number}", detail="x" * 900)


def filled(data: Path, lines: int = 50) -> Path:
    with closing(Acts(data)) as acts:
        for number in range(1, lines + 1):
            acts.write(act(number))
    return data / FILE


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribble(path: Path) -> None:
    path.write_bytes(b"no database" * 999)


def lose_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if not table.startswith("sqlite_"):
                connection.execute(f"DROP TABLE {table}")


def hurt_deep(path: Path) -> None:
    """What a first look does not meet: the pages of some lines."""
    pages = bytearray(path.read_bytes())
    for at in range(4096 * 5, 4096 * 9, 4096):
        pages[at : at + 200] = b"\xa5" * 200
    path.write_bytes(pages)


@pytest.mark.parametrize("damage", [cut, scribble, lose_tables, hurt_deep])
def test_whoever_has_to_go_on_begins_anew_and_the_first_line_says_so(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path)
    damage(path)
    before = path.read_bytes()
    with closing(open_book(tmp_path, now=NOW + 99, expected=True, pages=True)) as book:
        (line,) = book.listed(limit=9)
        assert (line.at, line.way, line.what, line.subject) == (NOW + 99, "surveil", "begun", FIRST)
        assert (line.person, line.detail) == ("", "is damaged and was put aside")
        book.write(act(100))
        assert (book.check().lines, book.check().broken_at) == (2, None)
    assert (tmp_path / FIRST).read_bytes()[4096:] == before[4096:], "it is kept as it was found"
    assert aside_of(path) == [FIRST]
    (record,) = [each for each in caplog.records if each.name == "surveil.acts"]
    assert (record.levelname, vars(record)["surveil_keys"]["kept"]) == ("ERROR", tmp_path / FIRST)
    with closing(open_book(tmp_path, now=NOW, expected=True, pages=True)) as book:
        assert len(book.listed(limit=9)) == 2, "the next start finds a sound book"


def test_damage_that_comes_while_somebody_acts_costs_neither_the_act_nor_its_line(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(Acts(tmp_path)) as mine, closing(Acts(tmp_path)) as others:
        assert len(others.listed(limit=99)) == 50
        scribble(path)
        for name in (f"{path}-wal", f"{path}-shm"):
            Path(name).unlink(missing_ok=True)
        mine.close()
        mine.write(act(51))
        others.write(act(52))
        assert [(each.what, each.subject) for each in mine.listed(limit=9)] == [
            ("cancel", "build 52"), ("cancel", "build 51"), ("begun", FIRST),
        ]  # fmt: skip
        assert mine.check().broken_at is None
    assert aside_of(path) == [FIRST]


def test_of_many_who_meet_the_same_damage_one_puts_it_aside(tmp_path: Path) -> None:
    path = filled(tmp_path)
    scribble(path)

    def begin(number: int) -> None:
        with closing(open_book(tmp_path, now=NOW)) as book:
            book.write(act(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    assert aside_of(path) == [FIRST]
    with closing(Acts(tmp_path)) as book:
        found = book.listed(limit=99)
    assert (len(found), [each.what for each in found].count("begun"), found[-1].what) == (9, 1, "begun")


def test_whoever_only_looks_is_told_and_puts_nothing_aside(tmp_path: Path) -> None:
    path = filled(tmp_path)
    scribble(path)
    with pytest.raises(DamagedFileError, match=r"acts\.db is damaged \(.+\): .* remove the file; then nobody knows"):
        Acts(tmp_path)
    assert aside_of(path) == []


def test_a_book_that_is_gone_although_it_should_be_there_is_told_of(tmp_path: Path) -> None:
    with closing(open_book(tmp_path, now=NOW, expected=False)) as book:
        assert book.listed(limit=9) == [], "a new installation has nothing to tell"
    (tmp_path / FILE).unlink()
    with closing(open_book(tmp_path, now=NOW, expected=True)) as book:
        (line,) = book.listed(limit=9)
    said = (line.what, line.subject, line.detail)
    assert said == ("begun", FILE, "is missing; nobody knows who did what before")
    with closing(open_book(tmp_path, now=NOW, expected=True)) as book:
        assert len(book.listed(limit=9)) == 1


def test_a_book_that_is_taken_away_while_somebody_has_it_open_is_missed(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with closing(open_book(tmp_path, now=NOW)) as mine, closing(Acts(tmp_path)) as new:
        path.unlink()
        mine.write(act(51))
        new.write(act(52))
        assert [(each.what, each.subject) for each in mine.listed(limit=9)] == [
            ("cancel", "build 52"), ("cancel", "build 51"), ("begun", FILE),
        ]  # fmt: skip
        path.unlink()
        new.write(act(53))
        assert [each.what for each in new.listed(limit=9)] == ["cancel", "begun"]


def test_a_book_that_never_had_a_line_is_not_missed(tmp_path: Path) -> None:
    with closing(open_book(tmp_path, now=NOW)) as book:
        (tmp_path / FILE).unlink()
        book.write(act(1))
        assert [each.subject for each in book.listed(limit=9)] == ["build 1"]


def test_what_belongs_to_a_file_goes_aside_with_it_and_numbers_go_on(tmp_path: Path) -> None:
    path = filled(tmp_path)
    (tmp_path / f"{FILE}.damaged-3").touch()
    (tmp_path / f"{FILE}.damaged-x").touch()
    scribble(path)
    Path(f"{path}-wal").write_bytes(b"words that were not moved into it yet")
    open_book(tmp_path, now=NOW).close()
    assert aside_of(path) == [f"{FILE}.damaged-3", f"{FILE}.damaged-4"]
    assert (tmp_path / f"{FILE}.damaged-4-wal").read_bytes() == b"words that were not moved into it yet"


def test_a_disk_that_damages_again_and_again_is_not_written_full_of_what_it_damaged(tmp_path: Path) -> None:
    for number in range(1, ASIDE_MAX + 1):
        scribble(filled(tmp_path, lines=1))
        open_book(tmp_path, now=NOW).close()
        assert len(aside_of(tmp_path / FILE)) == number
    scribble(tmp_path / FILE)
    with pytest.raises(StoreError, match=r"acts\.db is damaged, as were acts\.db\.damaged-1, .*: look at the health"):
        open_book(tmp_path, now=NOW)
    (tmp_path / FIRST).rename(tmp_path / "elsewhere")
    open_book(tmp_path, now=NOW).close()


def hook(number: int) -> Hook:
    return Hook(
        repo=f"https://git.example.org/{number}", place=f"git.example.org/{number}", key="k", current=b"x" * 900,
        previous=None, previous_until=0, created_at=NOW, changed_at=NOW, heard_at=None,
    )  # fmt: skip


def _hooked(number: int, _before: Hook | None) -> Hook:
    return hook(number)


def filled_hooks(data: Path) -> Path:
    with closing(Hooks(data)) as filled:
        for number in range(50):
            filled.change(hook(number).repo, partial(_hooked, number))
    return data / hooks.FILE


def filled_outbox(data: Path) -> Path:
    with closing(Outbox(data)) as filled:
        filled.begin("forge", position=5, at=NOW)
        drafts = [Draft(subject=str(each), slot=str(each), body="x" * 900, made_at=NOW, rank=1) for each in range(50)]
        filled.read_on("forge", drafts, position=6, at=NOW, now=NOW)
    return data / outbox.FILE


@pytest.mark.parametrize("damage", [cut, scribble, hurt_deep])
def test_webhooks_that_are_damaged_are_put_aside_and_can_be_set_anew(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = filled_hooks(tmp_path)
    damage(path)
    before = path.read_bytes()
    with closing(open_hooks(tmp_path)) as found:
        assert found.listed() == []
        found.change("https://git.example.org/1", partial(_hooked, 1))
    kept = tmp_path / "hooks.db.damaged-1"
    assert kept.read_bytes()[4096:] == before[4096:], "it is kept as it was found"
    (record,) = [each for each in caplog.records if each.name == "surveil.hooks"]
    assert (record.levelname, vars(record)["surveil_keys"]["kept"]) == ("ERROR", kept)
    with closing(open_hooks(tmp_path)) as found:
        assert found.listed() == [hook(1)], "the next start finds a sound file"
    assert aside_of(path) == [kept.name]


@pytest.mark.parametrize("damage", [cut, scribble, hurt_deep])
def test_an_outbox_that_is_damaged_is_put_aside_and_begins_with_what_happens_next(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = filled_outbox(tmp_path)
    damage(path)
    with closing(open_outbox(tmp_path)) as found:
        assert (found.followings(), found.waiting()) == ([], {})
        assert found.begin("forge", position=9, at=NOW).position == 9
    kept = tmp_path / "outbox.db.damaged-1"
    (record,) = [each for each in caplog.records if each.name == "surveil.notify"]
    assert (record.levelname, vars(record)["surveil_keys"]["kept"]) == ("ERROR", kept)
    with closing(open_outbox(tmp_path)) as found:
        assert [each.position for each in found.followings()] == [9], "the next start finds a sound file"
    assert aside_of(path) == [kept.name]


@pytest.mark.parametrize(("fill", "look"), [(filled_hooks, Hooks), (filled_outbox, Outbox)])
def test_whoever_only_looks_at_the_others_puts_nothing_aside_either(
    tmp_path: Path, fill: Callable[[Path], Path], look: Callable[[Path], object]
) -> None:
    path = fill(tmp_path)
    scribble(path)
    with pytest.raises(DamagedFileError, match=r"\.db is damaged \(.+\): .* put its copy from a backup there"):
        look(tmp_path)
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []


@pytest.mark.parametrize("damage", [cut, scribble])
def test_who_is_let_in_is_never_begun_anew_and_the_sentence_says_what_brings_it_back(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with closing(Passes(tmp_path)) as filled:
        for number in range(100):
            filled.issue(Kind.TOKEN, f"ada{number}", "run", now=NOW, lasts_ms=1_000, label="x" * 150)
    path = tmp_path / passes.FILE
    sound = path.read_bytes()
    damage(path)
    before = path.read_bytes()
    costs = (
        r"web\.db is damaged \(.+\): end what runs on this folder, remove `web\.db` and `web\.db-wal`, and put its "
        r"copy from a backup there; without a copy, only remove the file, which ends all sessions and tokens, and "
        r"takes all people their roles"
    )

    def look() -> int:
        with closing(Passes(tmp_path)) as found:
            return len(found.listed(Kind.TOKEN))

    with pytest.raises(StoreError, match=costs):
        look()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if "damaged" in each.name] == []
    for name in (path.name, f"{path.name}-wal"):
        (tmp_path / name).unlink(missing_ok=True)
    path.write_bytes(sound)
    assert look() == 100, "what the sentence says brings it back"
