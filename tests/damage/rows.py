"""Bits that flip in a dispatcher's database, and what is then read of it.

What belongs here: drawing flips, and comparing all that the product reads with what it read before. What does not: how
much of it a test run does (`test_rows`).

`python -m tests.damage.rows --flips 5000 --seed 7`
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from surveil.errors import ExitCode, SurveilError
from surveil.store.sqlite import FILE
from tests.damage.folders import make_folders, read_database
from tests.power.promises import DISPATCHER

SENTENCE_MAX = 500


def make_database(folder: Path) -> Path:
    """A data folder whose database holds all of its rows in its file, and nothing in a log."""
    make_folders(folder / "made")
    data = Path(shutil.copytree(folder / "made" / DISPATCHER, folder / "data"))
    with closing(sqlite3.connect(data / FILE)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # Without the room that is left in pages, where a bit does no harm.
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM")
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (data / name).unlink(missing_ok=True)
    return data


def flip(data: Path, bit: int) -> str:
    """Flip a bit of the database; says where."""
    path = data / FILE
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return f"bit {bit % 8} of byte {bit // 8}"


def read(data: Path) -> dict[str, Any] | SurveilError:
    """All that a dispatcher reads of a database, or the sentence that it ends with."""
    try:
        return dict(read_database(data))
    except SurveilError as error:
        return error


class Flips:
    """Flips of drawn bits of one database, each on a copy."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._copy = folder / "copy"
        self._data = make_database(folder)
        # Bytes that hold something: in the rest, which is most of so small a database, a bit does no harm.
        self._used = [at for at, byte in enumerate((self._data / FILE).read_bytes()) if byte]
        self._dice = random.Random(seed)
        self.was = self._read_copy(None)[1]
        self.seen: Counter[str] = Counter()

    def strike(self) -> str | None:
        """Flip one bit; a sentence where that was believed, or told in a way that helps nobody."""
        where, found = self._read_copy(8 * self._dice.choice(self._used) + self._dice.randrange(8))
        if isinstance(found, SurveilError):
            self.seen["refused"] += 1
            sentence = str(found)
            told = found.exit_code in {ExitCode.INFRASTRUCTURE, ExitCode.INVALID} and "\n" not in sentence
            return None if told and len(sentence) < SENTENCE_MAX else f"{where}: {sentence}"
        self.seen["harmless"] += 1
        differs = [name for name, value in found.items() if value != self.was[name]]
        return f"{where}: {', '.join(differs)} are not what they were" if differs else None

    def _read_copy(self, bit: int | None) -> tuple[str, Any]:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._data, self._copy, ignore=shutil.ignore_patterns("logs"))
        where = "" if bit is None else flip(self._copy, bit)
        return where, read(self._copy)


def main() -> None:
    """Flip as many bits as asked for, and print what was believed."""
    parser = argparse.ArgumentParser(prog="tests.damage.rows", description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        flips = Flips(Path(folder), options.seed)
        believed = [wrong for _ in range(options.flips) if (wrong := flips.strike()) is not None]
    said = f"{options.flips} flips from seed {options.seed}: {dict(flips.seen)}, {len(believed)} believed"
    sys.stdout.write("\n".join((*believed, said, "")))
    raise SystemExit(bool(believed))


if __name__ == "__main__":
    main()
