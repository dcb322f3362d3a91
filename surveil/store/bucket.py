"""A bucket of a server that speaks S3: objects under names, asked for and put by obstore.

What belongs here: the way to one bucket, its limits, and a sentence for each way in which it fails. What does not: what
the objects are and when they come and go (`bucketed`, `hands.moving`).

A server that does not answer is left alone for a while: whoever asks meanwhile is told at once why, and waits for
nothing.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from surveil.config import DispatcherConfig, WebConfig
from surveil.errors import UsageError
from surveil.frozen import dataclass
from surveil.openness import warn_if_open
from surveil.store import StoreError
from surveil.store.failures import disk_failures

if TYPE_CHECKING:
    from obstore.store import S3Store

QUICK_S: Final = 10.0
"""What is small is answered within so long, or not at all."""
SLOW_S: Final = 60.0
"""The same for a piece of a large object that is put, or a page of names."""
READ_S: Final = 3_600.0
"""The same for all of an object that is read to its end; in between it may say nothing for `QUICK_S`."""
PACE_BYTES_S: Final = 128 * 1024
"""What is read more slowly than that, `SLOW_S` after its begin, keeps others waiting for longer than it is worth."""
CONNECT_S: Final = 3.0
AWAY_S: Final = 15.0
"""So long nobody asks a server again that did not answer."""
PIECE_BYTES: Final = 8 * 1024 * 1024
"""Of these a large object is put together; S3 asks for 5 MiB at the least, and for 10 000 pieces at the most."""
PIECES_AT_ONCE: Final = 4
PART_BYTES: Final = 1024 * 1024
"""So much of an object is in memory while it is read."""
_CREDENTIALS_BYTES_MAX: Final = 64 * 1024
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")
_STATUS: Final = re.compile(r"status code: ([0-9]{3}[ A-Za-z-]{0,40})")
_NO_BUCKET: Final = "NoSuchBucket"
_CLOCK: Final = "RequestTimeTooSkewed"
_FULL: Final = re.compile(r"QuotaExceeded|InsufficientStorage|StorageFull")
_ELSEWHERE: Final = "incorrectly configured region"
"""As obstore calls it when a server sends us to another one."""
_NOT_ALLOWED: Final = ("AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "403 Forbidden", "401 ")
_PROFILE: Final = "default"

Answer = TypeVar("Answer")


class BucketError(StoreError):
    """The bucket's fault, or its network's; what is on this machine's disk is as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which bucket: its name, what the names of all objects begin with, its server (empty for Amazon's), its region and
    the file with the keys; empty and None leave it to the variables that every S3 client reads.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    credentials: Path | None = None

    def __str__(self) -> str:
        name = f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        return f"{name} at {self.endpoint}" if self.endpoint else name


def where_of(config: DispatcherConfig | WebConfig) -> Where | None:
    """The bucket that the settings name; None where they name none. Raises UsageError."""
    if config.blobs is None:
        if config.blobs_endpoint or config.blobs_region or config.blobs_credentials:
            raise UsageError("Something is said of a bucket, but not which: name it with `--blobs s3://BUCKET`.")
        return None
    name, _, prefix = config.blobs.removeprefix("s3://").partition("/")
    return Where(
        bucket=name, prefix=prefix, endpoint=config.blobs_endpoint or "", region=config.blobs_region or "",
        credentials=config.blobs_credentials,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Object:
    """An object that comes: how long the server says that it is, and its bytes."""

    size: int
    pieces: Iterator[bytes]


class Bucket:
    """One bucket. Every method but `put` blocks, and may be called by any thread; each raises BucketError where the
    bucket does not do its part.

    Raises:
        UsageError: obstore is not installed, or there is no sense in the file with the keys.
    """

    def __init__(self, where: Where) -> None:
        if importlib.util.find_spec("obstore") is None:
            raise UsageError(f"Files in a bucket need obstore: type `{sys.executable} -m pip install 'obstore>=0.8'`.")
        self._where = where
        self._quick, self._slow = _store(where, QUICK_S), _store(where, SLOW_S)
        self._reading = _store(where, READ_S, quiet_s=QUICK_S)
        self._away_until = 0.0
        self._why = ""

    def __str__(self) -> str:
        return str(self._where)

    def ask_again(self) -> None:
        """Leave it alone no longer, for whoever has to know."""
        self._away_until = 0.0

    def size(self, name: str) -> int | None:
        """How long an object is; None where there is none."""
        import obstore  # noqa: PLC0415  # most dispatchers have no bucket

        return self._ask("look for a file", lambda: obstore.head(self._quick, name)["size"])

    def read(self, name: str) -> Object | None:
        """All of an object, piece by piece; None where there is none."""
        import obstore  # noqa: PLC0415  # the same

        found = self._ask("read a file", lambda: obstore.get(self._reading, name))
        if found is None:
            return None
        size = found.meta["size"]
        return Object(size, self._pieces(found.stream(min_chunk_size=PART_BYTES), size))

    def _pieces(self, stream: Iterator[bytes], size: int) -> Iterator[bytes]:
        begun, came = time.monotonic(), 0
        while (
            came <= size and (piece := self._ask("read a file", lambda: next(stream, b""))) is not None and len(piece)
        ):
            came += len(piece)
            yield bytes(piece)
            lasted = time.monotonic() - begun
            if lasted > SLOW_S and came < lasted * PACE_BYTES_S:
                self._why = f"could not read a file: {self} gives only {came / lasted:.0f} bytes of it a second"
                self._away_until = time.monotonic() + AWAY_S
                raise BucketError(self._why)

    def remove(self, name: str) -> None:
        """Delete an object; that it is not there is fine."""
        import obstore  # noqa: PLC0415  # the same

        self._ask("delete a file", lambda: obstore.delete(self._quick, name))

    def all(self) -> Iterator[tuple[str, int]]:
        """The name of every object, and the second since 1970 at which it was put."""
        import obstore  # noqa: PLC0415  # the same

        pages = obstore.list(self._slow)
        while found := self._ask("look through the bucket", lambda: next(pages, None)):
            yield from ((each["path"], int(each["last_modified"].timestamp())) for each in found)

    def put_bytes(self, name: str, data: bytes) -> None:
        """Put a small object."""
        import obstore  # noqa: PLC0415  # the same

        if self._ask("put a file", lambda: obstore.put(self._quick, name, data, use_multipart=False)) is None:
            raise BucketError(self._no_bucket())

    async def put(self, name: str, path: Path) -> None:
        """Put a file, whole or not at all; what is cut short is begun again by whoever comes next. Does not block, and
        asks a server also that did not answer just now.
        """
        import obstore  # noqa: PLC0415  # the same

        with self._failures("put a file"), disk_failures("read a file"):
            try:
                await obstore.put_async(self._slow, name, path, chunk_size=PIECE_BYTES, max_concurrency=PIECES_AT_ONCE)
            except FileNotFoundError as error:
                if _NO_BUCKET not in str(error):
                    raise  # It is our own file that is gone.
                raise BucketError(self._no_bucket()) from error

    def _ask(self, doing: str, question: Callable[[], Answer]) -> Answer | None:
        """The answer; None where there is no such object."""
        if time.monotonic() < self._away_until:
            raise BucketError(self._why)
        with self._failures(doing):
            try:
                return question()
            except FileNotFoundError as error:
                if _NO_BUCKET in str(error):
                    raise BucketError(self._no_bucket()) from error
                return None

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415  # the same

        try:
            yield
        except BaseError as error:
            sentence = self._sentence(doing, str(error))
            if _STATUS.search(str(error)) is None:
                self._away_until, self._why = time.monotonic() + AWAY_S, sentence
            raise BucketError(sentence) from error
        self._away_until = 0.0

    def _sentence(self, doing: str, text: str) -> str:
        code = _CODE.search(text)
        status = _STATUS.search(text)
        if code is not None and code[1] == _NO_BUCKET:
            return self._no_bucket()
        if code is not None and code[1] == _CLOCK:
            return f"could not {doing}: {self} and this machine do not agree on the time ({_CLOCK}); set the clock here"
        if code is not None and _FULL.search(code[1]):
            return f"could not {doing}: {self} is full ({code[1]}); make room there, or let artifacts go earlier"
        if _ELSEWHERE in text:
            return f"could not {doing}: {self} sends us elsewhere; name the bucket's region with `--blobs-region`"
        if any(word in text for word in _NOT_ALLOWED):
            return (
                f"could not {doing}: {self} does not let us ({code[1] if code else 'forbidden'}); look at the keys in "
                "`--blobs-credentials` or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and at what they are good for"
            )
        if status is not None:
            said = f"{status[1].strip()}{f', {code[1]}' if code else ''}"
            return f"could not {doing}: {self} answers {said}"
        return f"could not {doing}: {self} does not answer; look whether its server runs and can be reached from here"

    def _no_bucket(self) -> str:
        return f"there is no bucket {self._where.bucket}: make it, or name another one with `--blobs` ({self})"


def probe(bucket: Bucket) -> None:
    """Put an object, read it and delete it. Raises BucketError where one of these is impossible."""
    name, data = f"probe-{secrets.token_hex(8)}", secrets.token_bytes(64)
    bucket.put_bytes(name, data)
    try:
        found = bucket.read(name)
        if found is None or b"".join(found.pieces) != data:
            raise BucketError(f"{bucket} gives something else than it was given")
        if name not in (found for found, _ in bucket.all()):
            raise BucketError(f"{bucket} does not list what it was given")
    finally:
        bucket.remove(name)


def _store(where: Where, timeout_s: float, *, quiet_s: float | None = None) -> S3Store:
    """The way to a bucket whose answers take so long at most, and say nothing for so long at most."""
    from obstore.store import S3Store  # noqa: PLC0415  # most dispatchers have no bucket

    found = {} if where.credentials is None else read_credentials(where.credentials)
    # The server compares what arrives with it, piece by piece.
    found["checksum_algorithm"] = "sha256"
    if where.endpoint:
        found["endpoint"] = where.endpoint
    if where.region:
        found["region"] = where.region
    return S3Store(
        where.bucket,
        prefix=where.prefix or None,
        config=found,  # type: ignore[arg-type]  # a dictionary of known keys
        client_options={
            "allow_http": where.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=timeout_s),
            **({} if quiet_s is None else {"read_timeout": timedelta(seconds=quiet_s)}),
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=quiet_s or timeout_s)},
    )


def read_credentials(path: Path) -> dict[str, str]:
    """The keys in a file of the form that S3's clients share: `aws_access_key_id`, `aws_secret_access_key` and perhaps
    `aws_session_token` under `[default]`.

    Raises:
        UsageError: there is no such file, or it does not have them.
    """
    warn_if_open(path, "the keys of the bucket")
    try:
        with path.open("rb") as file:
            text = file.read(_CREDENTIALS_BYTES_MAX).decode()
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
        keys = parser[_PROFILE]
        found = {"access_key_id": keys["aws_access_key_id"], "secret_access_key": keys["aws_secret_access_key"]}
        if "aws_session_token" in keys:
            found["session_token"] = keys["aws_session_token"]
    except OSError as error:
        raise UsageError(f"The keys of the bucket cannot be read from {path}: {error.strerror}.") from error
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # What is wrong in it would be shown by the reader's own words, with what is in the line.
        raise UsageError(
            f"{path} holds no keys: write `[default]`, `aws_access_key_id = ...` and `aws_secret_access_key = ...` "
            "on three lines"
        ) from None
    return found
