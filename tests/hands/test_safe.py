"""The safe on a real store: what is kept opens as what it was kept as, and the key lies elsewhere."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.core.scopes import Scope, Secret, Source
from surveil.errors import InfrastructureError, NotFoundError
from surveil.hands.safe import Safe
from surveil.hands.safe_keys import FILE as KEY_FILE
from surveil.hands.safe_keys import SafeKeys
from surveil.places import KEYS
from surveil.store import Store
from surveil.store.backup import backup
from surveil.store.sqlite import FILE, open_store

VALUE = b"hush-hush \x00\xff"
MAIN = Scope(ref="refs/heads/main")
WHERE = {"repo": "r", "ref": "refs/heads/main", "job": "deploy"}


class Room:
    """A safe with its store and its key's file."""

    def __init__(self, data: Path, store: Store, writer: Executor) -> None:
        self.data, self.store, self.writer = data, store, writer
        self.now = 1_000
        self.new()

    def new(self) -> None:
        """What a restart makes anew."""
        self.safe = Safe(store=self.store, writer=self.writer, keys=SafeKeys(self.data), now=lambda: self.now)

    def set(self, name: str, value: bytes = VALUE, scope: Scope = MAIN) -> None:
        asyncio.run(self.safe.set(name, scope, value, Source.HERE, "ann"))

    def get(self, name: str) -> bytes:
        found = self.safe.find(name, **WHERE)
        assert found is not None
        return self.safe.open(found)

    @property
    def key_file(self) -> Path:
        return self.data / KEYS / KEY_FILE

    def row(self, name: str) -> Secret:
        return next(secret for secret in self.store.reader.secrets() if secret.name == name)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    store = open_store(tmp_path / "data", now=1)
    with ThreadPoolExecutor(1) as writer:
        yield Room(tmp_path / "data", store, writer)
    store.close()


def test_what_was_kept_opens_also_after_a_restart(room: Room) -> None:
    room.set("A")
    assert room.get("A") == VALUE
    room.new()
    assert room.get("A") == VALUE
    assert room.safe.find("A", **(WHERE | {"ref": "refs/heads/x"})) is None
    assert (room.safe.knows("A"), room.safe.knows("B"), room.safe.names()) == (True, False, ["A"])


def test_there_is_no_key_before_the_first_secret_and_then_only_its_owner_reads_it(room: Room) -> None:
    assert not room.key_file.exists()
    room.set("A")
    assert room.key_file.stat().st_mode & 0o777 == 0o600


def test_what_is_set_again_keeps_when_it_was_made(room: Room) -> None:
    room.set("A", b"first")
    room.now = 2_000
    room.set("A", b"second")
    assert room.get("A") == b"second"
    assert [(each.created_at, each.changed_at) for each in room.store.reader.secrets()] == [(1_000, 2_000)]


def test_nothing_in_the_data_folder_holds_the_value(room: Room) -> None:
    room.set("A", b"hush-hush-hush")
    room.store.close()
    content = b"".join(path.read_bytes() for path in room.data.rglob("*") if path.is_file())
    assert b"A" in content
    assert b"hush" not in content


@pytest.mark.parametrize("wrong", ["name", "scope", "source"])
def test_a_ciphertext_that_was_moved_to_another_row_does_not_open(room: Room, wrong: str) -> None:
    room.set("MINE", b"of an attacker", Scope(repo="evil"))
    room.set("THEIRS")
    moved = {"name": "MINE", "scope": Scope(repo="evil"), "source": Source.VAULT}
    stolen = replace(room.row("THEIRS"), **{wrong: moved[wrong]})  # type: ignore[arg-type]  # one of the three
    with pytest.raises(InfrastructureError, match="does not open: somebody changed or exchanged its row"):
        room.safe.open(stolen)


def test_rows_that_were_swapped_in_the_database_are_refused(room: Room) -> None:
    room.set("A", b"first")
    room.set("B", b"second")
    a, b = room.row("A"), room.row("B")
    room.store.put_secrets([replace(a, encrypted=b.encrypted), replace(b, encrypted=a.encrypted)])
    room.new()
    for name in "AB":
        with pytest.raises(InfrastructureError, match=f"the secret {name} .*`surveil secret set {name}`"):
            room.get(name)


def test_without_the_key_nothing_opens_and_the_sentence_says_where_it_belongs(room: Room) -> None:
    room.set("A")
    room.key_file.unlink()
    room.new()
    with pytest.raises(InfrastructureError, match="put back your copy of that file"):
        room.get("A")
    room.set("A", b"anew")
    assert room.get("A") == b"anew"


def test_a_file_that_holds_no_key_is_refused(room: Room) -> None:
    room.set("A")
    room.key_file.write_text("nonsense\n")
    with pytest.raises(InfrastructureError, match="does not hold the keys of secrets"):
        room.new()


def test_a_new_key_opens_all_and_the_one_before_opens_what_a_backup_may_hold(room: Room) -> None:
    room.set("A", b"first")
    room.set("B", b"second")
    before = room.row("A")
    assert asyncio.run(room.safe.rekey("ann")) == 2
    assert room.row("A").key != before.key
    room.new()
    assert (room.get("A"), room.get("B")) == (b"first", b"second")
    assert room.safe.open(before) == b"first"
    asyncio.run(room.safe.rekey("ann"))
    room.new()
    assert (room.get("A"), room.get("B")) == (b"first", b"second")
    with pytest.raises(InfrastructureError, match="put back"):
        room.safe.open(before)


def test_a_new_key_that_cannot_be_had_for_all_changes_nothing(room: Room) -> None:
    room.set("A")
    room.set("B")
    room.store.put_secrets([replace(room.row("A"), encrypted=b"nonsense")])
    room.new()
    kept, key = room.store.reader.secrets(), room.key_file.read_bytes()
    with pytest.raises(InfrastructureError, match="the secret A"):
        asyncio.run(room.safe.rekey("ann"))
    assert (room.store.reader.secrets(), room.key_file.read_bytes()) == (kept, key)


def test_a_change_of_keys_that_died_between_its_steps_left_everything_open(room: Room) -> None:
    room.set("A")
    for _ in range(5):
        SafeKeys(room.data).add()  # And then it died, before the rows were written.
    room.new()
    assert room.get("A") == VALUE
    asyncio.run(room.safe.rekey("ann"))
    room.new()
    assert room.get("A") == VALUE
    assert len(room.key_file.read_text().splitlines()) == 2


def test_what_was_removed_is_found_no_more(room: Room) -> None:
    room.set("A")
    with pytest.raises(NotFoundError, match="no secret A for all jobs"):
        asyncio.run(room.safe.remove("A", Scope(), "ann"))
    asyncio.run(room.safe.remove("A", MAIN, "ann"))
    assert room.safe.find("A", **WHERE) is None
    assert room.store.reader.secrets() == []


def test_a_backup_opens_with_the_key_that_is_part_of_it_and_shows_nothing_without(room: Room, tmp_path: Path) -> None:
    room.set("A", b"hush-hush-hush")
    copy = tmp_path / "copy"
    backup(room.data, copy, now=5)
    with closing(sqlite3.connect(copy / FILE)) as database:
        assert b"hush" not in b"".join(bytes(str(row), "utf-8") for row in database.execute("SELECT * FROM secrets"))
    store = open_store(copy, now=9)
    safe = Safe(store=store, writer=room.writer, keys=SafeKeys(copy), now=lambda: 9)
    found = safe.find("A", **WHERE)
    assert found is not None
    assert safe.open(found) == b"hush-hush-hush"
    store.close()
