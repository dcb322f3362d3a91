"""The write-ahead log is damaged or only torn, and the two are told apart."""

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from surveil.store import StoreError
from surveil.store.checking import check
from surveil.store.sqlite import FILE, open_store
from surveil.store.wal import SUFFIX, is_damaged
from tests.store.records import make_build, make_job, new

TRANSACTIONS = 12


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A data folder whose dispatcher was killed: its log holds every transaction."""
    with closing(open_store(tmp_path / "data", now=1)) as store:
        for build in range(1, TRANSACTIONS + 1):
            store.commit(new(make_build(build), make_job(build)))
        return Path(shutil.copytree(tmp_path / "data", tmp_path / "killed"))


def builds(data: Path, folder: Path) -> int:
    """How many builds SQLite finds in a copy of it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data, folder)
    with closing(sqlite3.connect(folder / FILE)) as database:
        return int(database.execute("SELECT count(*) FROM builds").fetchone()[0])


def test_a_log_that_is_whole_or_missing_is_not_damaged(killed: Path) -> None:
    assert not is_damaged(killed / FILE)
    (killed / f"{FILE}{SUFFIX}").unlink()
    assert not is_damaged(killed / FILE)


def test_a_log_that_was_cut_is_torn_at_most(killed: Path, tmp_path: Path) -> None:
    log = killed / f"{FILE}{SUFFIX}"
    content = log.read_bytes()
    for size in range(0, len(content), 3001):
        log.write_bytes(content[:size])
        assert not is_damaged(killed / FILE)
    assert builds(killed, tmp_path / "copy") < TRANSACTIONS


@pytest.mark.parametrize("seed", range(40))
def test_a_bit_that_would_take_transactions_along_is_noticed(killed: Path, tmp_path: Path, seed: int) -> None:
    log = killed / f"{FILE}{SUFFIX}"
    content = bytearray(log.read_bytes())
    bit = random.Random(seed).randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    log.write_bytes(content)
    # The last one alone might have been torn, as it was not said to anybody yet.
    assert is_damaged(killed / FILE) or builds(killed, tmp_path / "copy") >= TRANSACTIONS - 1


def test_a_dispatcher_refuses_a_damaged_log_again_and_again_and_a_check_names_it(killed: Path) -> None:
    log = killed / f"{FILE}{SUFFIX}"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"surveil\.db-wal is damaged .* put back a copy that `surveil db backup`"):
            open_store(killed, now=1)
        assert log.read_bytes() == bytes(content), "what is left of it stays for whoever can read it"
    assert [problem for problem in check(killed).problems if "-wal is damaged" in problem]
