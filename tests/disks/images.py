"""States of a disk as ordinary folders, and back.

What belongs here: files copied in and out. What does not: which state it is (`model`).
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from tests.disks.model import ROOT, Disk, Image


def write_image(image: Image, folder: Path) -> None:
    """Make an ordinary folder with this in it, in the place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rights = []
    for path, found in image.items():
        where = os.path.join(folder, path)  # noqa: PTH118  # A hundred thousand images are written.
        if stat.S_ISDIR(found.mode):
            os.mkdir(where)  # noqa: PTH102
            rights.append((where, found.mode))
        elif stat.S_ISLNK(found.mode):
            Path(where).symlink_to(os.fsdecode(found.content))
        elif stat.S_ISREG(found.mode):
            handle = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IMODE(found.mode))
            with os.fdopen(handle, "wb", buffering=0) as file:
                file.write(found.content)
        else:
            os.mknod(where, found.mode)
    for where, mode in reversed(rights):
        Path(where).chmod(stat.S_IMODE(mode))


def load(disk: Disk, folder: Path, inode: int = ROOT) -> None:
    """Put what is in an ordinary folder on the disk, durably."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        mode = entry.stat(follow_symlinks=False).st_mode
        if entry.is_symlink():
            disk.make(inode, entry.name, mode, os.fsencode(os.readlink(entry.path)))  # noqa: PTH115
        elif entry.is_dir():
            load(disk, Path(entry.path), disk.make(inode, entry.name, mode))
        else:
            made = disk.make(inode, entry.name, mode)
            if entry.is_file():
                disk.write(made, 0, Path(entry.path).read_bytes())
    if inode == ROOT:
        disk.sync_all()
