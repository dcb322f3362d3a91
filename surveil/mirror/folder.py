"""The folder of one mirror: an empty bare repository made whole, the locks that keep its users apart, its removal.

What belongs here: files, names and locks. What does not: git, and what is in the mirror (`mirror`).

Observer, runners and commands may share a folder of mirrors. Lock files beside each mirror keep them apart: fetching
excludes fetching, and replacing or packing excludes every use. Locks are the kernel's (flock) and so end with their
holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.mirror.address import Address
from surveil.mirror.command import FETCH_TIMEOUT_S, Halt
from surveil.mirror.inventory import ADDRESS_FILE
from surveil.mirror.trouble import MirrorError, Trouble

LOCK_TIMEOUT_S: Final = FETCH_TIMEOUT_S + 60.0
"""Nobody holds a lock longer than the longest fetch, unless it was stopped."""
_LOCK_WAIT_MIN_S: Final = 0.002
_LOCK_WAIT_MAX_S: Final = 0.2
_ALTERNATES: Final = "objects/info/alternates"


class Folder:
    """Where the mirror of a repository is, below `root`. Holds no descriptor but while it is locked."""

    def __init__(self, root: str | Path, address: Address, halt: Halt | None = None) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", address.name).strip("-.")[:40] or "repository"
        digest = hashlib.sha256(address.key.encode()).hexdigest()[:12]
        self.path = Path(root).absolute() / f"{slug}-{digest}.git"
        self._key = address.key
        self._halt = halt

    @property
    def borrows(self) -> bool:
        """Whether its objects are those of a repository on this machine."""
        return bool(_content(self.path / _ALTERNATES))

    # ---- making and removing ----

    def ensure(self, object_format: str, borrowed: Path | None) -> None:
        """Write an empty bare repository unless it is there; it appears whole or not at all."""
        config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tlogAllRefUpdates = false\n"
        config += f"[extensions]\n\tobjectFormat = {object_format}\n" if object_format != "sha1" else ""
        if borrowed is not None and "\n" in str(borrowed):
            raise MirrorError(f"{self._key} keeps its objects in a folder with a line break in its name; rename it.")
        wanted = {
            "HEAD": b"ref: refs/heads/none\n",
            "config": config.encode(),
            ADDRESS_FILE: self._key.encode("utf-8", "replace"),
            _ALTERNATES: b"" if borrowed is None else os.fsencode(borrowed) + b"\n",
        }
        if self._holds(wanted):
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.alone():
            if not self._holds(wanted):
                # Another format, or borrowed from a place that moved: it is another repository now.
                self._remove()
                self._write(wanted)

    def discard(self) -> None:
        """Throw the mirror away; the next fetch makes a new one."""
        with self.disk(), self.lock_fetch(), self.alone():
            self._remove()

    def remove_stale_locks(self) -> None:
        """Remove lock files of a git that was killed; to be called under the fetch lock, where no living git of ours
        can own one.
        """
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def _holds(self, wanted: dict[str, bytes]) -> bool:
        return all(_content(self.path / name) == text for name, text in wanted.items())

    def _remove(self) -> None:
        if self.path.is_dir():
            gone = tempfile.mkdtemp(dir=self.path.parent, prefix="gone-")
            self.path.rename(Path(gone, "mirror"))
            shutil.rmtree(gone, ignore_errors=True)

    def _write(self, wanted: dict[str, bytes]) -> None:
        new = tempfile.mkdtemp(dir=self.path.parent, prefix="new-")
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            Path(new, folder).mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            Path(new, name).write_bytes(text)
        Path(new).rename(self.path)

    # ---- keeping its users apart ----

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """Whatever this machine's disk refuses is a sentence about the mirror's folder."""
        try:
            yield
        except OSError as problem:
            if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
                sentence = f"The mirror {self.path} cannot be used: the disk is full; make room (`df -h {self.path}`)."
                raise MirrorError(sentence, Trouble.NO_SPACE) from problem
            raise MirrorError(f"The mirror {self.path} cannot be used: {problem.strerror}.") from problem

    def using(self) -> contextlib.AbstractContextManager[None]:
        """Hold the mirror as it is: nobody replaces or packs it meanwhile."""
        return self._lock("life", fcntl.LOCK_SH)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else use the mirror meanwhile."""
        return self._lock("life", fcntl.LOCK_EX)

    def lock_fetch(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else bring anything into the mirror meanwhile."""
        return self._lock("fetch", fcntl.LOCK_EX)

    def lock_supply(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else ask for a supply meanwhile: jobs of one commit start together, and one transfer is enough."""
        return self._lock("supply", fcntl.LOCK_EX)

    @contextlib.contextmanager
    def _lock(self, name: str, how: int) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{self.path}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            wait_s = _LOCK_WAIT_MIN_S
            while True:
                try:
                    fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if self._halt is not None and self._halt.rung:
                        raise MirrorError(f"Nobody waits for {self.path} any more.", Trouble.HALTED) from problem
                    if time.monotonic() > deadline:
                        sentence = f"Another process has locked the mirror {self.path} for {LOCK_TIMEOUT_S:g} s."
                        raise MirrorError(sentence, Trouble.TIMEOUT) from problem
                # The kernel can wait for a lock, but not for a limited time.
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, _LOCK_WAIT_MAX_S)
            yield
        finally:
            os.close(descriptor)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
