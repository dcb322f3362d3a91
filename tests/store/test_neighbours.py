"""A copy of the data folder has the small files beside the database too, each whole, in an order that loses none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from surveil.core.outbox import Draft
from surveil.errors import InvalidError
from surveil.store import StoreError, acts, backup, hooks, neighbours, outbox, passes
from surveil.store.acts import Act, Acts
from surveil.store.checking import check
from surveil.store.hooks import Hook, Hooks
from surveil.store.neighbours import NEIGHBOURS, lacking
from surveil.store.outbox import Outbox
from surveil.store.passes import Kind, Passes
from surveil.store.people import Role
from surveil.store.sqlite import open_store
from surveil.store.writing import SqlStore
from tests.store.records import make_build, make_note, new

NOW = 1_750_000_000_000
HOUR = 3_600_000
HOOK = Hook(
    repo="https://git.example.org/lib", place="git.example.org/lib", key="k", current=b"locked", previous=None,
    previous_until=0, created_at=NOW, changed_at=NOW, heard_at=None,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(open_store(tmp_path / "data", now=NOW)) as made:
        made.commit(new(make_build(1), notes=(make_note(),)))
        yield made


@pytest.fixture
def data(store: SqlStore, tmp_path: Path) -> Path:
    """The folder of a dispatcher that never had any of these files."""
    assert store.cluster.epoch
    return tmp_path / "data"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def act(what: str) -> Act:
    return Act(at=NOW, person="ada", way="command", what=what, subject="build 1")


def flip_all(path: Path) -> None:
    """Damage every page but the first."""
    pages = bytearray(path.read_bytes())
    for at in range(4096, len(pages), 4096):
        pages[at : at + 64] = b"\xa5" * 64
    path.write_bytes(pages)


def test_people_their_roles_and_tokens_are_in_the_copy_and_what_was_good_once_is_not(data: Path, copy: Path) -> None:
    with closing(Passes(data)) as kept:
        kept.people.put("ada", [Role(repo="*", scope="admin")], now=NOW)
        kept.people.put("grace", [Role(repo="https://git.example.org/*", scope="run")], now=NOW)
        secrets = {
            kind: kept.issue(kind, "ada", "run", now=NOW, lasts_ms=HOUR, label="mine", user="ada") for kind in Kind
        }
        known = kept.people.listed()
        backup.backup(data, copy, now=NOW)
        assert [kind for kind in Kind if kept.admit(kind, secrets[kind], now=NOW)] == [*Kind], "the original has all"
    with closing(Passes(copy)) as restored:
        assert restored.people.listed() == known
        assert [kind for kind in Kind if restored.admit(kind, secrets[kind], now=NOW)] == [Kind.TOKEN]
        assert (restored.listed(Kind.SESSION), restored.listed(Kind.LINK)) == ([], [])


def test_webhooks_are_in_the_copy_and_a_delivery_that_came_is_not_taken_again(data: Path, copy: Path) -> None:
    with closing(Hooks(data)) as kept:
        kept.change(HOOK.repo, lambda _: HOOK)
        kept.allow(HOOK.repo, retry=True)
        assert kept.take(HOOK.repo, [b"d" * 32], now=NOW)
    backup.backup(data, copy, now=NOW)
    with closing(Hooks(copy)) as restored:
        assert [hook.current for hook in restored.listed()] == [b"locked"]
        assert restored.retrying() == {HOOK.repo}
        assert not restored.take(HOOK.repo, [b"d" * 32], now=NOW)


def test_who_did_what_is_in_the_copy_which_says_that_it_is_one(data: Path, copy: Path) -> None:
    with closing(Acts(data)) as book:
        book.write(act("cancel"))
        book.write(act("retry"))
        backup.backup(data, copy, now=NOW + 7)
        assert [each.what for each in book.listed(limit=9)] == ["retry", "cancel"], "the original is as it was"
    with closing(Acts(copy)) as restored:
        restored.write(act("approve"))
        found = restored.listed(limit=9)
        assert [each.what for each in found] == ["approve", acts.COPIED, "retry", "cancel"]
        assert (found[1].at, found[1].way, found[1].person) == (NOW + 7, "surveil", "")
        assert (restored.check().lines, restored.check().broken_at) == (4, None)


def test_what_waits_to_be_told_is_in_the_copy(data: Path, copy: Path) -> None:
    with closing(Outbox(data)) as kept:
        kept.begin("forge", position=0, at=0)
        drafts = [Draft(subject="s", slot="s/1", body="pending", made_at=NOW)]
        kept.read_on("forge", drafts, position=1, at=1, now=NOW)
        waiting = kept.queue("forge")
    backup.backup(data, copy, now=NOW)
    with closing(Outbox(copy)) as restored:
        assert restored.queue("forge") == waiting
        assert [each.position for each in restored.followings()] == [1]


def test_no_outbox_of_a_copy_has_read_more_than_its_journal_has_nor_is_anything_done_without_its_line(
    data: Path, store: SqlStore, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the copy is made, something happens after each of its steps: a person acts, and the outbox reads on."""
    with closing(Outbox(data)) as kept, closing(Acts(data)) as book:
        kept.begin("forge", position=0, at=0)
        book.write(act("submit"))

        def happen() -> None:
            number = store.reader.journal_end() + 1
            book.write(act("submit"))
            store.commit(new(make_build(number), notes=(make_note(),)))
            kept.read_on("forge", [], position=number, at=1, now=NOW)

        def then(step: str) -> None:
            before = getattr(backup, step)

            def taken(*given: object) -> object:
                found = before(*given)
                happen()
                return found

            monkeypatch.setattr(backup, step, taken)

        then("copy_neighbours")
        then("_copy_database")
        backup.backup(data, copy, now=NOW)
    with closing(Outbox(copy)) as restored, closing(open_store(copy, now=NOW)) as started, closing(Acts(copy)) as said:
        built = started.reader.journal_end()
        assert built == 2, "something happened between the steps"
        assert [each.position for each in restored.followings()] == [0], "what came after it is told again"
        assert len(said.listed(limit=9, what="submit")) >= built


def test_a_copy_of_before_has_none_of_them_and_says_which(data: Path, copy: Path) -> None:
    backup.backup(data, copy, now=NOW)
    assert lacking(copy) == [outbox.FILE, hooks.FILE, passes.FILE], "it has the acts, which say what it is"
    (copy / acts.FILE).unlink()
    with closing(open_store(copy, now=NOW + 5)) as restored:
        assert restored.copied_at == NOW
    assert lacking(copy) == [outbox.FILE, hooks.FILE, passes.FILE, acts.FILE]
    with closing(open_store(copy, now=NOW + 5)) as again:
        assert again.copied_at is None, "it is the installation from its first start on"
    with closing(Passes(copy)) as kept:
        assert kept.people.listed() == []


def test_a_file_that_was_never_filled_is_copied_as_it_is(data: Path, copy: Path) -> None:
    (data / passes.FILE).touch(0o600)
    backup.backup(data, copy, now=NOW)
    with closing(Passes(copy)) as kept:
        assert kept.people.listed() == []


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_damaged_file_is_named_by_a_check_and_makes_no_copy_that_lacks_it(data: Path, copy: Path, name: str) -> None:
    for made in (Passes(data), Hooks(data), Outbox(data), Acts(data)):
        made.close()
    assert check(data).sound
    flip_all(data / name)
    [problem] = check(data).problems
    assert problem.startswith(f"{name} is damaged: ")
    with pytest.raises(StoreError, match=rf"data/{name} could not be copied to .*: `surveil db check` says whether"):
        backup.backup(data, copy, now=NOW)
    assert not copy.exists()


def test_whoever_makes_a_copy_is_told_what_is_not_in_it(data: Path, tmp_path: Path) -> None:
    (data / "blobs").mkdir()
    assert backup.backup(data, tmp_path / "first", now=NOW).left_out == ()
    (data / "blobs" / "one").write_text("kept")
    (data / "notify.toml").write_text("# mine")
    copied = backup.backup(data, tmp_path / "second", now=NOW)
    assert copied.left_out == ("blobs", "notify.toml")
    assert not any((tmp_path / "second" / name).exists() for name in copied.left_out)


def test_a_copy_that_is_made_meanwhile_to_the_same_place_is_refused_and_the_first_is_whole(
    data: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []
    note_copy = neighbours.note_copy

    def meanwhile(part: Path, *, now: int) -> None:
        with pytest.raises(InvalidError, match="another backup") as caught:
            backup.backup(data, copy, now=now)
        refused.append(caught.value)
        note_copy(part, now=now)

    with closing(Hooks(data)) as kept:
        kept.change(HOOK.repo, lambda _: HOOK)
    monkeypatch.setattr(backup, "note_copy", meanwhile)
    backup.backup(data, copy, now=NOW)
    assert len(refused) == 1
    assert sorted(path.name for path in copy.iterdir()) == ["acts.db", "hooks.db", "surveil.db"]
    assert not copy.with_name("copy.part").exists()


def test_what_a_killed_backup_left_is_not_in_the_next_copy(data: Path, copy: Path) -> None:
    left = copy.with_name("copy.part")
    (left / "keys").mkdir(parents=True)
    left.chmod(0o755)
    (left / "keys" / "old").write_text("of another installation")
    (left / "web.db").symlink_to(data / "surveil.db")
    backup.backup(data, copy, now=NOW)
    assert sorted(path.name for path in copy.iterdir()) == ["acts.db", "surveil.db"]
    assert copy.stat().st_mode & 0o777 == 0o700
    assert (data / "surveil.db").exists()


def test_a_backup_goes_through_no_link_that_somebody_laid(data: Path, copy: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy.with_name("copy.part").symlink_to(elsewhere)
    with pytest.raises(StoreError, match="could not write the backup"):
        backup.backup(data, copy, now=NOW)
    assert list(elsewhere.iterdir()) == []


def test_a_backup_goes_into_no_folder_of_somebody_else(data: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.with_name("copy.part").mkdir(mode=0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 65_533)
    with pytest.raises(InvalidError, match="belongs to somebody else"):
        backup.backup(data, copy, now=NOW)
    assert list(copy.with_name("copy.part").iterdir()) == []


def test_a_destination_that_cannot_even_be_looked_at_is_a_failure_with_a_sentence(data: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not write the backup"):
        backup.backup(data, tmp_path / ("n" * 300), now=NOW)
