"""The log store: the bytes of every attempt by offset, durable before they are acknowledged, readable while they are
written.

What belongs here: which logs are open, when they become durable, and finding the form that a log has. What does not:
the two forms (`log_live`, `log_packed`), and what the bytes mean.

One thread appends and flushes. `finish` may be called by another one, and everything that reads by any.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Final
from zlib import crc32

from surveil.core.model import AttemptId
from surveil.disk import sync_folder
from surveil.errors import ProtocolError
from surveil.store.failures import disk_failures
from surveil.store.log_chunks import CHUNK_BYTES_MAX
from surveil.store.log_live import DATA, INDEX, LiveLog, LiveReader, LogSlice
from surveil.store.log_packed import BLOCK_BYTES, PART, SUFFIX, PackedError, PackedReader, pack
from surveil.store.log_paths import build_of, log_files, log_name, log_stem
from surveil.store.log_reopened import unpack

OPEN_LOGS_MAX: Final = 256
"""Logs held open for appending, two descriptors each; the one that was idle longest is closed for the next."""
UNFLUSHED_BYTES_MAX: Final = 64 * 1024 * 1024
"""More bytes than this do not wait for the next flush."""
LOG_BYTES_MAX: Final = 1024 * 1024 * 1024 + 1024 * 1024
"""The most that one attempt may write: what a runner lets through, with its marker."""
READ_BYTES_MAX: Final = 1024 * 1024
TAIL_LINES_MAX: Final = 10_000
SYNC_THREADS: Final = 8
"""Files that are made durable at one time; the disk gathers them into fewer writes of its own."""
_BACKWARD_BYTES: Final = 64 * 1024


class LogRefused(ProtocolError):
    """The runner's fault: bytes that do not have their checksum, or more of them than a log may have."""


class LogClosed(ProtocolError):
    """More of a log came than it had when it was closed; `reopen` may be what is wanted."""


class LogStore:
    """Logs below one folder. Every method raises `StoreError` where the disk does not do its part."""

    def __init__(
        self, root: Path, *, open_max: int = OPEN_LOGS_MAX, unflushed_bytes_max: int = UNFLUSHED_BYTES_MAX
    ) -> None:
        self._root = root
        self._open_max = open_max
        self._unflushed_bytes_max = unflushed_bytes_max
        self._open: OrderedDict[AttemptId, LiveLog] = OrderedDict()
        self._said: dict[AttemptId, int] = {}
        """What the next flush answers: attempts that were appended to, with the length known to be durable."""
        self._folders: dict[Path, None] = {}
        """Folders with new names in them that are not durable yet."""
        self._finishing: dict[AttemptId, int] = {}
        self._unflushed = 0
        self._failure: OSError | None = None
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="log-sync")

    # ---- writing ------------------------------------------------------------------------------------------------

    def append(self, job: str, attempt: int, at: int, data: bytes, *, crc: int, after_ms: int) -> int:
        """Take bytes `at` and on of a log; returns how long the log is now. Durable after the next `flush`.

        Bytes that are there already are skipped, bytes after a gap are not taken: in both cases the answer says where
        to go on.

        Raises:
            LogRefused: `crc` is not the CRC-32 of `data`, the log would be longer than `LOG_BYTES_MAX`, or it is
                finished and damaged.
            LogClosed: the log is finished, and these bytes would continue it.
            StoreError: the disk is full or failing; the log is as before.
        """
        if crc32(data) != crc:
            raise LogRefused(f"bytes {at} and on of the log of {job} attempt {attempt} arrived damaged")
        if at + len(data) > LOG_BYTES_MAX:
            raise LogRefused(f"the log of {job} attempt {attempt} is longer than {LOG_BYTES_MAX} bytes")
        key = (job, attempt)
        with self._lock, disk_failures(f"write the log of {job} attempt {attempt}"):
            kept = self._kept(key)
            if kept is not None:
                if at <= kept < at + len(data) and key not in self._finishing:
                    raise LogClosed(f"the log of {job} attempt {attempt} is closed at byte {kept}")
                self._said[key] = kept
                return kept
            log = self._opened(key)
            self._said.setdefault(key, log.durable)
            if at > log.end or at + len(data) <= log.end:
                return log.end
            if log.full or self._unflushed >= self._unflushed_bytes_max:
                self._sync(list(self._open))
            skip, crc_of_all = log.end - at, crc
            view = memoryview(data)[skip:]
            for start in range(0, len(view), CHUNK_BYTES_MAX):
                part = view[start : start + CHUNK_BYTES_MAX]
                log.append(part, crc=crc_of_all if len(part) == len(data) else None, after_ms=after_ms)
            self._unflushed += len(view)
            return log.end

    def flush(self) -> dict[AttemptId, int]:
        """Make everything appended durable; returns, for each attempt appended to since the last flush, up to where
        it may be acknowledged.

        Raises:
            FullError, StoreError: the disk is full or failing. What is durable of what was not acknowledged is not
                known any more, so whoever uses this must start again from what is stored.
        """
        with self._lock, disk_failures("make the logs durable"):
            if self._failure is not None:
                raise self._failure
            self._sync(list(self._open))
            said, self._said = self._said, {}
        return said

    def finish(self, job: str, attempt: int, length: int | None) -> bool:
        """Compress a log that has all its `length` bytes, or what there is of it where `length` is None.

        Returns False, and leaves the log as it is, while bytes are missing, or where some are damaged. Saying it
        again is harmless. Nothing is taken for the log afterwards, unless somebody wants to `reopen` it. A crash leaves
        the log in one form or the other.
        """
        key, stem = (job, attempt), log_stem(self._root, job, attempt)
        with self._lock, disk_failures(f"finish the log of {job} attempt {attempt}"):
            if key in self._finishing:
                return False
            present = self._let_go(key, stem)
            if present.damaged or (length is not None and present.length < length):
                return False
            self._finishing[key] = present.length
        try:
            with disk_failures(f"compress the log of {job} attempt {attempt}"):
                return self._pack(stem, empty=present.length == 0)
        finally:
            with self._lock:
                del self._finishing[key]

    def reopen(self, job: str, attempt: int) -> None:
        """Let a finished log take more: it was closed before it was whole. Harmless for one that is not finished.

        Raises:
            LogRefused: it is damaged; what is added to it could not be told from what it was.
            StoreError: the disk is full or failing; the log is as before.
        """
        key, stem = (job, attempt), log_stem(self._root, job, attempt)
        with self._lock, disk_failures(f"open the log of {job} attempt {attempt} again"):
            if key in self._open or key in self._finishing:
                return
            try:
                with closing(PackedReader(stem)) as packed:
                    unpack(packed, stem)
            except FileNotFoundError:
                return
            except PackedError as error:
                raise LogRefused(f"the finished log of {job} attempt {attempt} is damaged on disk: {error}") from error
            # The one that is not compressed is durable by now; from here on it is the log.
            stem.with_name(stem.name + SUFFIX).unlink()
            sync_folder(stem.parent)

    def builds_at_work(self) -> Iterator[int]:
        """The builds that have logs which are not finished; each once for each of these."""
        with disk_failures("look for logs that are not finished"):
            for path in log_files(self._root, (DATA,)):
                build = build_of(self._root, path)
                if build is not None:
                    yield build

    def at_work(self, job: str, attempt: int) -> bool:
        """Whether there is a log that is not finished."""
        stem = log_stem(self._root, job, attempt)
        return stem.with_name(stem.name + DATA).exists()

    def close(self) -> None:
        """Flush, and let go of all files. Closing twice is harmless."""
        if self._failure is None:
            self.flush()
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()
        self._pool.shutdown()

    # ---- reading ------------------------------------------------------------------------------------------------

    def length(self, job: str, attempt: int) -> int:
        """How many bytes of a log can be read; 0 where there is none."""
        return self.read(job, attempt, 0, 0).length

    def read(self, job: str, attempt: int, at: int, limit: int) -> LogSlice:
        """At most `limit` (and `READ_BYTES_MAX`) bytes of a log from `at`; none where it does not reach so far."""
        stem = log_name(self._root, job, attempt)
        with disk_failures(f"read the log of {job} attempt {attempt}"):
            return read_log(stem, at, min(limit, READ_BYTES_MAX))

    def tail(
        self, job: str, attempt: int, *, lines: int, upto: int | None = None, limit: int = READ_BYTES_MAX
    ) -> LogSlice:
        """The last `lines` lines before byte `upto`, or before the end; fewer where they are longer than `limit`
        bytes together.

        Only so much is read as is returned, from the end towards the beginning. A last line without its newline
        counts as a line.
        """
        length = self.length(job, attempt)
        end = length if upto is None else min(upto, length)
        wanted, limit = min(lines, TAIL_LINES_MAX), min(limit, READ_BYTES_MAX)
        found, damaged, start = b"", False, end
        while wanted > 0 and start > 0 and end - start < limit and found.count(b"\n", 0, -1) < wanted:
            step = min(_BACKWARD_BYTES, start, limit - (end - start))
            before = self.read(job, attempt, start - step, step)
            found, start, damaged = before.data + found, start - step, damaged or before.damaged
        body = found[_start_of_lines(found, wanted) :] if wanted > 0 else b""
        return LogSlice(at=end - len(body), data=body, length=length, damaged=damaged)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _kept(self, key: AttemptId) -> int | None:
        """The length of a log that takes no more, None for any other."""
        if key in self._open:
            return None
        if key in self._finishing:
            return self._finishing[key]
        try:
            with closing(PackedReader(log_stem(self._root, *key))) as packed:
                return packed.length
        except FileNotFoundError:
            return None
        except PackedError as error:
            # Not the disk's failure at work: ending the process would not mend it, and the runner would come again.
            raise LogRefused(f"the finished log of {key[0]} attempt {key[1]} is damaged on disk: {error}") from error

    def _opened(self, key: AttemptId) -> LiveLog:
        log = self._open.get(key)
        if log is not None:
            self._open.move_to_end(key)
            return log
        if len(self._open) >= self._open_max:
            oldest = next(iter(self._open))
            self._sync([oldest])
            self._open.pop(oldest).close()
        stem = log_stem(self._root, *key)
        self._make_folder(stem.parent)
        log = self._open[key] = LiveLog(stem)
        return log

    def _make_folder(self, folder: Path) -> None:
        self._folders[folder] = None
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)

    def _sync(self, keys: Iterable[AttemptId]) -> None:
        """Bytes first, then the index that vouches for them, then the names of new files.

        Where one of them fails, none is tried again: a second sync would say that all is well, and the index would
        vouch for bytes that the disk never got.
        """
        try:
            self._sync_in_order(keys)
        except OSError as error:
            self._failure = error
            raise

    def _sync_in_order(self, keys: Iterable[AttemptId]) -> None:
        dirty = [(key, log) for key in keys if (log := self._open[key]).dirty]
        freed = sum(log.dirty for _, log in dirty)
        self._each(LiveLog.sync_data, [log for _, log in dirty])
        self._each(LiveLog.sync_index, [log for _, log in dirty])
        folders, self._folders = list(self._folders), {}
        self._each(sync_folder, folders)
        self._unflushed -= freed
        for key, log in dirty:
            self._said[key] = log.durable

    def _each(self, work: Callable[..., None], targets: list[LiveLog] | list[Path]) -> None:
        if len(targets) == 1:
            work(targets[0])
        else:
            for _ in self._pool.map(work, targets):
                pass

    def _let_go(self, key: AttemptId, stem: Path) -> LogSlice:
        """Close a log for appending, durably; returns what can be said about all of it."""
        if key in self._open:
            self._sync([key])
            self._open.pop(key).close()
        return read_log(stem, 0, 0)

    def _pack(self, stem: Path, *, empty: bool) -> bool:
        try:
            with closing(PackedReader(stem)):
                pass
        except FileNotFoundError:
            # A log without a byte leaves no file, as if it had never been opened.
            if not empty and not _pack_live(stem):
                return False
        except PackedError:
            return False
        if stem.parent.is_dir():
            sync_folder(stem.parent)
        # The index first: the bytes alone are not taken for a log.
        for suffix in (INDEX, DATA):
            stem.with_name(stem.name + suffix).unlink(missing_ok=True)
        return True


def read_log(stem: Path | str, at: int, limit: int) -> LogSlice:
    """Read a log in whichever form it has; see `LogStore.read`.

    Raises:
        OSError: the disk does not do its part.
    """
    # A log may be compressed between two looks, but only once.
    for reader in (PackedReader, LiveReader, PackedReader):
        try:
            with closing(reader(stem)) as log:
                return log.read(at, limit)
        except FileNotFoundError:
            continue
        except PackedError:
            return LogSlice(at=at, data=b"", length=0, damaged=True)
    return LogSlice(at=at, data=b"", length=0)


class _DamagedError(Exception):
    """What is damaged is not compressed: its new checksums would say that all is well."""


def _pack_live(stem: Path) -> bool:
    try:
        with closing(LiveReader(stem)) as live:
            times = ((chunk.at, chunk.after_ms) for chunk in live.slots.from_slot(0) if chunk is not None)
            pack(stem, _blocks(live), times)
    except _DamagedError:
        stem.with_name(stem.name + SUFFIX + PART).unlink(missing_ok=True)
        return False
    except FileNotFoundError:
        # Nothing was ever said, so there is nothing to keep.
        pass
    return True


def _blocks(live: LiveReader) -> Iterator[bytes]:
    for at in range(0, live.length, BLOCK_BYTES):
        piece = live.read(at, BLOCK_BYTES)
        if piece.damaged:
            raise _DamagedError
        yield piece.data


def _start_of_lines(body: bytes, lines: int) -> int:
    """Where the last `lines` lines of `body` begin."""
    at = len(body) - body.endswith(b"\n")
    for _ in range(lines):
        at = body.rfind(b"\n", 0, at)
        if at < 0:
            break
    return at + 1
