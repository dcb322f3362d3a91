"""A folder of files for fuzzing readers: in memory where the system has such a place, and gone with the process."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

FOLDER: Final = "SURVEIL_TEST_FUZZ_FOLDER"
"""The variable by which whoever runs the engine names the folder: a process that the engine ends tidies nothing up."""
_SHARED_MEMORY: Final = "/dev/shm"


def in_memory() -> str | None:
    """A folder whose files are in memory, if there is one."""
    return _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None


@functools.cache
def folder() -> Path:
    """This process's own folder."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    made = Path(tempfile.mkdtemp(prefix="surveil-fuzz-", dir=in_memory()))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def emptied() -> Path:
    """The folder without what the last input left in it."""
    for entry in os.scandir(folder()):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108  # called for each input
    return folder()
