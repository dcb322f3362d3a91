"""Where the pages of a data folder are served, by all who serve them, for whoever makes links on that machine.

What belongs here: writing down one address for as long as it is served, and choosing one of several. What does not:
links (`links`), and serving (`serving`). Imports nothing of the web framework.

Each process has a file of its own, and holds its lock as long as it serves: so one that was killed is known to be gone,
and none takes another's place. People are sent to the address that somebody said they reach (`--public-url`), and among
equals to the one that serves for longest, so a second process that comes or goes moves nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.config import HTTP_DEFAULT
from surveil.disk import make_folder
from surveil.errors import InfrastructureError
from surveil.frozen import dataclass

FOLDER: Final = "pages"
_BYTES_MAX: Final = 8192
_FROM_HERE: Final = {"http://0.0.0.0:": "http://127.0.0.1:", "http://[::]:": "http://[::1]:"}
"""Pages that are served at all addresses of the machine are reached from there at this one: nobody is at the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """An address, and since when (milliseconds since 1970); `is_live` says whether somebody serves it now."""

    address: str
    is_public: bool
    since: int
    is_live: bool


@contextlib.contextmanager
def serving_at(data: Path, address: str, *, is_public: bool, now: int) -> Iterator[None]:
    """Have it be known until the end of the block that the pages are here. Raises InfrastructureError."""
    folder = data / FOLDER
    said = json.dumps({"address": near(address), "public": is_public, "since": now}).encode() + b"\n"
    try:
        make_folder(folder)
        _clean(folder)
        path = folder / f"{secrets.token_hex(8)}.json"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        try:
            # First the lock, then the words: what is empty is about to be held, and nobody cleans it away.
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, said)
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield
    finally:
        # The file stays until somebody else serves: where the pages were is better than nothing.
        os.close(handle)


def address_of(data: Path) -> str:
    """Where the pages of this data folder are or were last served; where they usually are if nobody knows."""
    last = max(_all(data), key=lambda each: each.since, default=None)
    return served_at(data) or (f"http://{HTTP_DEFAULT}" if last is None else last.address)


def served_at(data: Path) -> str | None:
    """Where the pages are served at this moment, if they are."""
    live = [each for each in _all(data) if each.is_live]
    best = min(live, key=lambda each: (not each.is_public, each.since, each.address), default=None)
    return None if best is None else best.address


def near(address: str) -> str:
    """An address at which somebody is, as seen from this machine."""
    for everywhere, here in _FROM_HERE.items():
        address = address.replace(everywhere, here, 1)
    return address


def _all(data: Path) -> list[_Served]:
    found = map(_read, sorted((data / FOLDER).glob("*.json")))
    return [each for each in found if each is not None]


def _read(path: Path) -> _Served | None:
    try:
        with path.open("rb") as file:
            is_live = not _is_free(file.fileno(), fcntl.LOCK_SH)
            found = json.loads(file.read(_BYTES_MAX))
            address, is_public, since = found["address"], found["public"], found["since"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    if not isinstance(address, str) or not address.startswith("http") or not isinstance(since, int):
        return None
    return _Served(address=address, is_public=is_public is True, since=since, is_live=is_live)


def _clean(folder: Path) -> None:
    """Take away what nobody holds any more."""
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if os.fstat(file.fileno()).st_size and _is_free(file.fileno(), fcntl.LOCK_EX):
                path.unlink()


def _is_free(handle: int, how: int) -> bool:
    """Whether nobody holds this file; takes its lock, if so, until it is closed."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unwritable(folder: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(f"{folder} cannot be written: {error.strerror}; make it writable, or make room.")
