"""What is entrusted to a keeper: the secrets of its attempt, which go from memory to memory and to no disk.

What belongs here: the shape in which the agent hands them over, and the files in memory that steps read them from. What
does not: where the agent has them from (`hands.envelope`), and covering them in logs (`masking`). Imports only what a
keeper may import.

They travel in a nameless file in memory, whose descriptor is passed to the keeper as it is forked. A step finds them in
its environment, or in files below a folder in `/dev/shm`, which is memory as well; what is there is only its user's.
"""

# ruff: noqa: PTH102, PTH106, PTH108, PTH118, PTH120, PTH123, PTH208  # A keeper does without pathlib.

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import stat
from typing import Final, NamedTuple

from surveil.execute.keeper.endings import End, secret_words

MEMORY: Final = "/dev/shm"  # noqa: S108  # the very folder is wanted
"""Where files lie in memory."""
PREFIX: Final = "surveil-"
ENTRUSTED_BYTES_MAX: Final = 4 * 1024 * 1024
_MOUNTS: Final = "/proc/self/mounts"
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


class Entrusted(NamedTuple):
    """The secrets of one attempt: by the variables that hold them, by the variables that name files with them, and
    whatever else must not be shown. What is for the `registry` of its image, `user:password`, no keeper gets.
    """

    variables: dict[str, str] = {}  # noqa: RUF012  # nobody changes it
    files: dict[str, bytes] = {}  # noqa: RUF012  # the same
    others: list[bytes] = []  # noqa: RUF012  # the same
    registry: bytes = b""

    def secrets(self) -> list[bytes]:
        """All that must not be shown."""
        values = [value.encode(errors="surrogateescape") for value in self.variables.values()]
        return [*values, *self.files.values(), *self.others]


NOTHING: Final = Entrusted()


def is_login(value: bytes) -> bool:
    """Whether it is the name of a user and a password."""
    user, colon, password = value.partition(b":")
    return bool(user and colon and password) and b"\n" not in value.strip()


def no_login(name: str) -> str:
    """What is to be said of a secret that is none."""
    return f"the secret {name} is for the registry of the job's image, so it has to be `user:password`"


def folder_for(group: str) -> str:
    """Where the files of an attempt lie, by the name of its control groups."""
    return os.path.join(MEMORY, PREFIX + group)


def pack(entrusted: Entrusted) -> bytes:
    """Bytes from which `unpack` makes this again."""
    fields = {
        "variables": entrusted.variables,
        "files": {name: base64.b64encode(content).decode() for name, content in entrusted.files.items()},
        "others": [base64.b64encode(content).decode() for content in entrusted.others],
        "registry": base64.b64encode(entrusted.registry).decode(),
    }
    return json.dumps(fields).encode()


def unpack(content: bytes) -> Entrusted:
    """What was packed. Raises ValueError: it is something else, as an envelope may hold from whoever knows our key."""
    try:
        fields = json.loads(content)
        found = Entrusted(
            variables={**fields["variables"]},
            files={name: base64.b64decode(packed, validate=True) for name, packed in fields["files"].items()},
            others=[base64.b64decode(packed, validate=True) for packed in fields["others"]],
            registry=base64.b64decode(fields.get("registry", "")),  # An older dispatcher knows none.
        )
        found.secrets()  # Those that are no texts are not to be had.
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("they are packed as no dispatcher does it") from error
    # Names are names of files as well, which must lie where they belong.
    if not all(name.isascii() and name.isidentifier() for name in (*found.variables, *found.files)):
        raise ValueError("they have names that no variable has")
    return found


def hand_over(entrusted: Entrusted) -> int:
    """A descriptor from which `take` reads this, but for what no keeper gets, in another process. Raises OSError."""
    descriptor = os.memfd_create("entrusted", os.MFD_CLOEXEC)
    try:
        rest = memoryview(pack(entrusted._replace(registry=b"")))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def take(descriptor: int) -> Entrusted:
    """What was handed over; closes the descriptor. Raises OSError and ValueError."""
    try:
        return unpack(os.pread(descriptor, ENTRUSTED_BYTES_MAX, 0))
    finally:
        os.close(descriptor)


def write_files(folder: str, entrusted: Entrusted) -> dict[str, str]:
    """Write the files, and return the variables that name them. Raises OSError, also where they would reach a disk."""
    if not entrusted.files:
        return {}
    make_folder(folder)
    paths = {}
    for name, content in entrusted.files.items():
        paths[name] = path = os.path.join(folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
    return paths


def unpacked(folder: str, trusted_with: Entrusted) -> dict[str, str]:
    """The variables by which steps find the secrets, with the files written that some name. Raises End."""
    try:
        return trusted_with.variables | write_files(folder, trusted_with)
    except OSError as error:
        raise End("errored", secret_words(error)) from error


def make_folder(folder: str) -> None:
    """Make the folder for files, or empty it; whoever shows it to a container does so ahead. Raises OSError."""
    if not is_in_memory(os.path.dirname(folder)):
        raise OSError(errno.ENOTSUP, "it is no memory, and secrets are written to no disk", os.path.dirname(folder))
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))


def remove_files(folder: str) -> None:
    """Remove what `write_files` made; that nothing is there is fine. Never fails: whoever is left behind is swept."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def is_in_memory(folder: str) -> bool:
    """Whether files in this folder lie in memory."""
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as mounts:
        mounted = [line.split(" ") for line in mounts]
    return any(kind in _IN_MEMORY for _, place, kind, *_ in mounted if place == folder)
