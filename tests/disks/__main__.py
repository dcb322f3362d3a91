"""The process of one disk: mounts it, and serves it until it is taken away. See `mounted` for how tests use it.

    python -m tests.disks FOLDER [--from FOLDER] [--trace FILE]

Orders come as JSON through the attribute `user.disk` of the root: `{"mark": TEXT}`, `{"fault": {...}}` or
`{"fault": null}`, `{"cut": SEED, "into": FOLDER}` (SEED null: nothing is lost), `{"count": null}`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import pickle
import random
import stat
import sys
from pathlib import Path
from typing import Any, Final, Self

from tests.disks.faults import Fault, Faults
from tests.disks.fuse import Failed, Kernel
from tests.disks.images import load, write_image
from tests.disks.model import Disk, Step

_NOSUID_NODEV: Final = 2 | 4


def main() -> int:
    """Serve one disk."""
    words = argparse.ArgumentParser(prog="python -m tests.disks")
    words.add_argument("folder", type=Path)
    words.add_argument("--from", dest="source", type=Path)
    words.add_argument("--trace", type=Path)
    asked = words.parse_args()
    disk, faults = Disk(), Faults()
    if asked.source is not None:
        load(disk, asked.source)
    with _Trace(asked.trace) as trace:
        handle = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        _mount(asked.folder, handle)
        orders = _Orders(disk, faults, trace)
        sys.stdout.write("mounted\n")
        sys.stdout.flush()
        Kernel(handle, disk, faults, order=orders.obey, note=trace.note).serve()
    return 0


class _Trace:
    """What was done to the disk, step by step, in a file that is read when all is over."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, step: Step) -> None:
        """Write a step down."""
        if self._file is not None:
            pickle.dump(step, self._file)


class _Orders:
    """What tests ask of the disk itself."""

    def __init__(self, disk: Disk, faults: Faults, trace: _Trace) -> None:
        self._disk = disk
        self._faults = faults
        self._trace = trace

    def obey(self, text: str) -> str:
        """Do it, and return the answer as JSON."""
        order: dict[str, Any] = json.loads(text)
        match order:
            case {"mark": said}:
                self._trace.note(("mark", said))
            case {"fault": None}:
                self._faults.fault = None
            case {"fault": fault}:
                self._faults.fault = Fault(**fault | {"kinds": tuple(fault["kinds"])})
            case {"count": None}:
                return json.dumps(self._faults.fault.met if self._faults.fault else 0)
            case {"cut": seed, "into": folder}:
                self._faults.off = True
                found = self._disk.image() if seed is None else self._disk.lost(random.Random(seed))
                write_image(found, Path(folder))
            case _:
                raise Failed(22)
        return "null"


def _mount(folder: Path, handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    about = f"fd={handle},rootmode={stat.S_IFDIR | 0o755:o},user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if libc.mount(b"disk", os.fsencode(folder), b"fuse", _NOSUID_NODEV, about.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


if __name__ == "__main__":
    sys.exit(main())
