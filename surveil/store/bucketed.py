"""Blobs that are at home in a bucket: on this machine's disk until they are there, and copies for whoever reads them.

What belongs here: where a blob is, and its way from one of these places to the next. What does not: the bucket itself
(`bucket`), and when a blob is on its way (`hands.moving`).

A blob is kept as soon as it is on this disk, as its row is; the bucket has it a moment later, or when it is back. It is
read from a copy here, which is compared with its digest when it comes from the bucket: a server that gives something
else gives nothing. So it is read as fast as any, comes over the line once for many readers, and asks nothing of the
server but whole objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.disk import make_folder
from surveil.protocol import BLOB_BYTES_MAX
from surveil.store import StoreError
from surveil.store.blobs import FOLDER_DIGITS, NO_ROOM, FolderBlobs, has_room
from surveil.store.bucket import Bucket, BucketError
from surveil.store.failures import disk_failures

COPY_S: Final = 3_600
"""So long a copy stays that nobody reads."""
TOUCHED_S: Final = 2 * 86_400
"""So long it is known that a blob was asked for again; longer than one lies around that nothing is made of."""
TRIES: Final = 2
"""A line may damage what the bucket has; what it has damaged itself comes damaged again."""
DAMAGED_S: Final = 600.0
"""So long one that came damaged counts as none, so that whoever has it brings it anew."""
DAMAGED_MAX: Final = 10_000
OWNER: Final = "surveil-owner"
COPIES: Final = "copies"
TOUCHED: Final = "touched"
_DRAFT: Final = ".draft"
_OURS: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")


class BucketBlobs:
    """Keeps the promise of `Blobs` with a bucket; `root` is the folder of a `FolderBlobs`, whose blobs move there, and
    `owner` says whose the bucket is, to which nobody else brings anything and in which nobody else tidies up.
    """

    def __init__(self, root: Path, bucket: Bucket, owner: str) -> None:
        self.bucket = bucket
        self._owner = owner.encode()
        self._claimed = False
        self._here = FolderBlobs(root)
        self._copies = FolderBlobs(root / COPIES)
        self._root = root
        self._waiting: dict[str, None] = {}
        self._lock = threading.Lock()
        """Held by whoever changes which of the places has a blob; never while a server is waited for."""
        self._moving = ""
        self._borrowing = threading.Lock()
        self._damaged: OrderedDict[str, float] = OrderedDict()
        """Those that came damaged, and until when they are held for it."""

    # ---- the promise of `Blobs` ----

    def take(self, path: Path, digest: str) -> None:
        """Keep it on this disk, and have it brought to the bucket."""
        with self._lock:
            self._here.take(path, digest)
            self._waiting[digest] = None

    def size(self, digest: str) -> int | None:
        """Its size wherever it is."""
        for place in (self._here, self._copies):
            if (found := place.size(digest)) is not None:
                return found
        return None if self._is_damaged(digest) else self.bucket.size(name_of(digest))

    def read(self, digest: str, at: int, count: int) -> bytes:
        """Read a piece of what is here; what is not comes here first, all of it."""
        for _ in range(2):
            if data := self._here.read(digest, at, count):
                return data
            if self._copies.size(digest) is not None:
                self._copies.touch(digest)
                return self._copies.read(digest, at, count)
            if self._here.size(digest) is not None or not self._borrow(digest):
                return b""
        return b""

    def touch(self, digest: str) -> None:
        """An object has no time that could be set: a mark here has it."""
        if self._here.size(digest) is not None:
            self._here.touch(digest)
            return
        with disk_failures("keep a file"):
            make_folder(self._root / TOUCHED)
            (self._root / TOUCHED / digest).touch()

    def since(self, digest: str) -> int:
        """By what is here, and by marks."""
        with disk_failures("look for a file"), contextlib.suppress(FileNotFoundError):
            return max(self._here.since(digest), int((self._root / TOUCHED / digest).stat().st_mtime))
        return self._here.since(digest)

    def doubt(self, digest: str) -> bool:
        """Look at what is here: what comes from the bucket is compared in any case, and nobody waits for it now."""
        place = self._copies if self._here.size(digest) is None else self._here
        return place.size(digest) is None or place.doubt(digest)

    def remove(self, digest: str) -> None:
        """Remove it everywhere; one that is on its way to the bucket goes another time."""
        with self._lock:
            if digest == self._moving:
                return
            self._waiting.pop(digest, None)
            self._here.remove(digest)
            self._copies.remove(digest)
        self.bucket.remove(name_of(digest))

    def all(self) -> Iterator[tuple[str, int]]:
        """Those on their way, and those in the bucket, as long as it is ours."""
        yield from self._here.all()
        self._claim()
        for name, since in self.bucket.all():
            if _OURS.fullmatch(name):  # What others keep in the bucket is none of ours.
                digest = name.replace("/", "")
                yield digest, max(since, self.since(digest))

    # ---- on their way ----

    def look(self) -> None:
        """Find what an earlier process left here, and drop what it did not finish."""
        with self._lock:
            self._waiting |= dict.fromkeys(digest for digest, _ in self._here.all())
        with disk_failures("look through what is kept"):
            for draft in (self._root / COPIES).glob(f"*{_DRAFT}"):
                draft.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Drop copies that nobody reads, and old marks."""
        now = time.time()
        least_s = COPY_S if has_room(self._root, BLOB_BYTES_MAX) else 0
        for digest, since in self._copies.all():
            if now - since > least_s:
                self._copies.remove(digest)
        with disk_failures("look through what is kept"):
            for mark in (self._root / TOUCHED).glob("*"):
                if now - mark.stat().st_mtime > TOUCHED_S:
                    mark.unlink(missing_ok=True)

    @property
    def waiting(self) -> int:
        """How many are here and not in the bucket."""
        return len(self._waiting)

    async def move(self) -> str:
        """Bring the one to the bucket that has waited longest; one that could not go waits behind all others. What was
        damaged here goes, and is returned; nothing is where all is well. To be called by one task alone, where one
        waits.

        Raises:
            StoreError: it stays here.
        """
        with self._lock:
            self._moving = digest = next(iter(self._waiting))
        try:
            there = self._here.size(digest)
            if there is None or not await asyncio.to_thread(self._here.doubt, digest):
                self._waiting.pop(digest, None)
                return "" if there is None else digest
            if not self._claimed:
                self.bucket.ask_again()
                await asyncio.to_thread(self._claim)
            await self.bucket.put(name_of(digest), self._here.path(digest))
            size = await asyncio.to_thread(self.bucket.size, name_of(digest))
            if size != there:
                raise BucketError(f"{self.bucket} was given {there} bytes, and has {size} of them")
            await asyncio.to_thread(self._settle, digest)
        except BucketError:
            # The server may mind only this one, and the others need not wait for it.
            with self._lock:
                if self._waiting.pop(digest, self) is None:
                    self._waiting[digest] = None
            raise
        finally:
            self._moving = ""
        return ""

    def _settle(self, digest: str) -> None:
        """What is in the bucket becomes a copy here, so that whoever wants it next finds it."""
        with self._lock, disk_failures("keep a file"):
            copy = self._copies.path(digest)
            make_folder(copy.parent)
            self._here.path(digest).replace(copy)
            copy.touch()
            self._waiting.pop(digest, None)
            self._damaged.pop(digest, None)

    def _claim(self) -> None:
        """See to it that the bucket is ours, which whoever comes first writes there. Raises BucketError."""
        self._claimed = False
        found = self.bucket.read(OWNER)
        if found is None:
            self.bucket.put_bytes(OWNER, self._owner)
            found = self.bucket.read(OWNER)
        self._claimed = found is not None and found.size == len(self._owner) and b"".join(found.pieces) == self._owner
        if not self._claimed:
            raise BucketError(
                f"{self.bucket} is another dispatcher's by what its object `{OWNER}` says, and what one does not know "
                "it would delete: name another PREFIX with `--blobs s3://BUCKET/PREFIX`; if that one is no more, "
                "delete the object"
            )

    def _is_damaged(self, digest: str) -> bool:
        """Whether it came damaged, a short while ago. It is not deleted for that: what damaged it may stand between us
        and a bucket that is well.
        """
        with self._lock:
            return self._damaged.get(digest, 0.0) > time.monotonic()

    def _borrow(self, digest: str) -> bool:
        """Make a copy here of what the bucket has. Whether there is one now."""
        with self._borrowing:
            if self._copies.size(digest) is not None:
                return True
            for _ in range(0 if self._is_damaged(digest) else TRIES):
                found = self.bucket.read(name_of(digest))
                if found is None:
                    return False
                if found.size > BLOB_BYTES_MAX:
                    continue
                if not has_room(self._root, found.size):
                    raise StoreError(f"could not read a file from {self.bucket}: {NO_ROOM}")
                if self._copy(digest, found.pieces):
                    return True
            with self._lock:
                self._damaged[digest] = time.monotonic() + DAMAGED_S
                while len(self._damaged) > DAMAGED_MAX:
                    self._damaged.popitem(last=False)
        return False

    def _copy(self, digest: str, pieces: Iterator[bytes]) -> bool:
        draft = self._root / COPIES / (digest + _DRAFT)
        found = hashlib.sha256()
        with disk_failures("keep a copy of a file"):
            make_folder(draft.parent)
            try:
                with draft.open("wb", buffering=0) as file:
                    for piece in pieces:
                        found.update(piece)
                        rest = memoryview(piece)
                        while rest:
                            rest = rest[file.write(rest) :]
                if found.hexdigest() != digest:
                    return False
                copy = self._copies.path(digest)
                make_folder(copy.parent)
                draft.replace(copy)
            finally:
                draft.unlink(missing_ok=True)
        return True


def name_of(digest: str) -> str:
    """What a blob is called in the bucket: as it is in a folder, so that whole folders can be copied there and back."""
    return f"{digest[:FOLDER_DIGITS]}/{digest[FOLDER_DIGITS:]}"
