"""Who this runner is and what it was ever ordered to do, on its own disk.

What belongs here: `identity.json` (the incarnation above all) and the file of tombstones. What
does not: keys and the dispatcher's address (`net`), the attempts' own folders (`attempts`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from surveil.core.model import AttemptId
from surveil.core.run_model import TOMBSTONES_MAX
from surveil.disk import open_plain, write_whole
from surveil.errors import InfrastructureError
from surveil.execute.files import read_fields, write_fields
from surveil.frozen import dataclass, replace
from surveil.say import Voice
from surveil.sealing import sealed_line, unsealed_line

voice = Voice("execute")

IDENTITY: Final = "identity.json"
TOMBSTONES: Final = "tombstones"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a runner knows about itself. `incarnation` counts its starts; empty texts are not known yet."""

    incarnation: int = 0
    cluster: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()


def read_identity(data: Path) -> Identity:
    """What is on disk; a new identity if there is nothing. Raises InfrastructureError."""
    path = data / IDENTITY
    try:
        fields = read_fields(str(path))
        return Identity(
            incarnation=int(fields["incarnation"]),
            cluster=str(fields["cluster"]),
            name=str(fields["name"]),
            labels=tuple(str(label) for label in fields["labels"]),
        )
    except FileNotFoundError:
        return Identity()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error.__cause__ or error
        raise InfrastructureError(
            f"{path} cannot be read: {why}; remove the folder {data} and join again with a new token"
        ) from error


def write_identity(data: Path, identity: Identity) -> None:
    """Put an identity on the platter. Raises InfrastructureError."""
    try:
        write_fields(str(data / IDENTITY), asdict(identity), sync=True)
    except OSError as error:
        raise InfrastructureError(f"{data / IDENTITY} cannot be written: {error}") from error


def begin_incarnation(data: Path) -> Identity:
    """Count one more start, on the platter before anything is said. Raises InfrastructureError."""
    old = read_identity(data)
    new = replace(old, incarnation=old.incarnation + 1)
    write_identity(data, new)
    return new


class Tombstones:
    """The highest attempt ever ordered, of each job: a file to which lines `@CHECKSUM ATTEMPT JOB` are appended."""

    def __init__(self, data: Path) -> None:
        self._path = data / TOMBSTONES
        self.known = self._read()
        self._rewrite()
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, attempts: Iterable[AttemptId]) -> None:
        """Append these, and wait until they are on the platter. Blocks. Raises OSError; then none of them counts."""
        lines = "".join(_line(job, number) for job, number in attempts)
        before = os.fstat(self._file).st_size
        try:
            rest = memoryview(lines.encode(errors="surrogateescape"))
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read(self) -> dict[str, int]:
        known: dict[str, int] = {}
        try:
            with open(  # `Path.open` takes no opener.
                self._path, encoding="utf-8", errors="surrogateescape", newline="", opener=open_plain
            ) as file:
                text = file.read()
        except FileNotFoundError:
            return known
        except OSError as error:
            raise InfrastructureError(f"{self._path} cannot be read: {error.strerror}") from error
        *lines, rest = text.split("\n")
        # What is behind the last line's end was being written when the power went, and was never answered.
        damaged = int(rest != "")
        for line in lines:
            try:
                number, _, job = unsealed_line(line).partition(" ")
                known[job] = max(int(number), known.pop(job, 0))
            except ValueError:
                damaged += 1
        if damaged:
            # Each start is another incarnation, and an order names the one that it is meant for: no old one is obeyed.
            voice.warning("tombstones were damaged on disk and are dropped", path=self._path, count=damaged)
        return dict(list(known.items())[-TOMBSTONES_MAX:])

    def _rewrite(self) -> None:
        """Start with a short file; it is put in place whole."""
        lines = "".join(_line(job, number) for job, number in self.known.items())
        try:
            write_whole(self._path, lines.encode(errors="surrogateescape"))
        except OSError as error:
            raise InfrastructureError(f"{self._path} cannot be written: {error.strerror}") from error


def _line(job: str, number: int) -> str:
    return sealed_line(f"{number} {job}") + "\n"
