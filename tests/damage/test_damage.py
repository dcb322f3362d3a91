"""A disk that changed what it holds is noticed: nothing is read as it never was, and nobody sees a traceback."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from surveil.errors import ExitCode
from tests.damage.folders import Marked, Refused, damages, make_folders, view

pytestmark = pytest.mark.timeout(300)
DAMAGES = 25
"""For each block of files."""
UNGUARDED = {"surveil.db-shm", "lock", "fetch"}
"""Made anew at each start."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "original"
    make_folders(folder)
    return folder


def copied(original: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(original, to)


@pytest.mark.parametrize(
    "pattern", ["dispatcher/surveil.db-wal", "dispatcher/logs/**/*.*", "**/*.json", "runner/**/*", "**/*.key"]
)
def test_what_the_disk_changed_is_refused_or_marked_and_never_believed(
    original: Path, tmp_path: Path, pattern: str
) -> None:
    dice = random.Random(pattern)
    as_it_was = view(copied(original, tmp_path / "copy"))
    files = [
        path.relative_to(original)
        for path in sorted(original.glob(pattern))
        if path.is_file() and path.name not in UNGUARDED
    ]
    assert files
    told = 0
    for _ in range(DAMAGES):
        file = dice.choice(files)
        where = copied(original, tmp_path / "copy")
        how, content = damages(dice, (where / file).read_bytes())
        (where / file).write_bytes(content)
        found, cut = view(where), how.startswith(("cut", "empty"))
        assert found.keys() == as_it_was.keys()
        for name, value in found.items():
            assert is_honest(value, as_it_was[name], file.name, cut=cut), f"{file}, {how}: {name} is {value}"
            told += value != as_it_was[name]
    assert told, "no damage did any harm, so that nothing was tested"


def is_honest(found: Any, was: Any, file: str, *, cut: bool) -> bool:
    """Whether a value is as it was, or said not to be."""
    if found == was:
        return True
    match found:
        case Refused(sentence=sentence, exit_code=code):
            return code in {ExitCode.INFRASTRUCTURE, ExitCode.INVALID} and "\n" not in sentence
        case Marked():
            return True
        case (None, log):
            # A verdict that is not believed is a lost attempt; what there is of its log is its own.
            return log == was[1] or isinstance(log, Marked)
        case (status, Marked()):
            return bool(status == was[0])
        case bytes():
            # The last slots of an index that is cut might never have been there: a runner says again what is missing.
            return was.startswith(found) and (found == was or file.endswith(".idx"))
        case dict() if file == "tombstones":
            # Dropped with a warning, and an older one of the same job may be left; never a higher number.
            return all(number <= was.get(job, 0) for job, number in found.items())
        case {"journal": journal, "cluster": cluster} if file.endswith("-wal"):
            # The last transaction might have been torn, and a file that is cut might have been younger: SQLite takes
            # what is before it, whole transactions all.
            short = len(was["journal"]) - len(journal)
            return bool(cluster == was["cluster"] and journal == was["journal"][: len(journal)]) and (cut or short <= 1)
        case None:
            return file.endswith(".json") and file not in {"identity.json", "dispatcher.json"}
    return False
