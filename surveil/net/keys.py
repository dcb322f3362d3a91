"""CURVE key pairs in files that only their owner can read.

What belongs here: making, keeping and reading keys. What does not: which keys are known to a dispatcher (peers), join
tokens (tokens).

A file holds the secret key, as 40 characters of z85; the public key follows from it, so that the two can never
disagree. A checksum stands in front, because a key that the disk changed would be another key, and nobody's.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import field
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from surveil.disk import make_folder, open_plain, write_whole
from surveil.errors import InfrastructureError
from surveil.frozen import dataclass
from surveil.sealing import sealed_line, unsealed_line

SERVER_KEY: Final = "server.key"
CLIENT_KEY: Final = "client.key"
RUNNER_KEY: Final = "runner.key"
OBSERVER_KEY: Final = "observer.key"
KEY_FILE_BYTES_MAX: Final = 128

_Z85: Final = re.compile(rb"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair in z85. The secret never shows in a log or a traceback."""

    public: str
    secret: str = field(repr=False)


def make_keys() -> KeyPair:
    """A new key pair, from libsodium's or libzmq's own source of randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def raw_key(key: str) -> bytes:
    """The 32 bytes of a key: a CURVE key is one of X25519."""
    raw: bytes = z85.decode(key.encode())
    return raw


def load_or_make_keys(path: Path) -> KeyPair:
    """The key pair in `path`; if there is no such file, a new one with owner-only access, in a folder of the same kind.

    Two processes that start at once get the same key: whoever comes second reads what the first has written.

    Raises:
        InfrastructureError: the file cannot be read or made, others have access to it, or it does not hold a key.
    """
    if not path.exists():
        keys = make_keys()
        write_privately(path, sealed_line(keys.secret).encode() + b"\n", replace=False)
    return load_keys(path)


def load_keys(path: Path) -> KeyPair:
    """The key pair in `path`.

    Raises:
        InfrastructureError: the file cannot be read, others have access to it, or it does not hold a key.
    """
    content = read_privately(path, KEY_FILE_BYTES_MAX)
    try:
        secret = unsealed_line(content.decode("ascii").removesuffix("\n")).encode()
    except ValueError:
        secret = b""
    if not _Z85.fullmatch(secret):
        raise InfrastructureError(f"{path} does not hold a key: put back your copy of it, or remove it and enrol again")
    return KeyPair(zmq.curve_public(secret).decode(), secret.decode())


def read_privately(path: Path, bytes_max: int) -> bytes:
    """What is in a file that nobody but this user may read or write.

    Raises:
        InfrastructureError: it cannot be read, is larger than `bytes_max`, or others have access to it.
    """
    try:
        with open(path, "rb", opener=open_plain) as file:  # `Path.open` takes no opener.
            status = os.fstat(file.fileno())
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise InfrastructureError(
            f"the key file {path} cannot be read ({error.strerror}): type 'ls -l {path}' to see whose it is, and start "
            "surveil as that user"
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise InfrastructureError(
            f"the key file {path} is open to other users (mode {mode:04o}): type 'chmod 600 {path}', "
            "and make a new key if somebody may have read this one"
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise InfrastructureError(f"the key file {path} belongs to another user: type 'chown {os.geteuid()} {path}'")
    if len(content) > bytes_max:
        raise InfrastructureError(f"{path} is larger than any key file: put back your copy of it")
    return content


def write_privately(path: Path, content: bytes, *, replace: bool) -> None:
    """Write a file that only this user can read, whole or not at all; without `replace`, an existing one is left as
    it is.

    Raises:
        InfrastructureError: the folder or the file cannot be written.
    """
    try:
        make_folder(path.parent)
        write_whole(path, content, replace=replace)
    except OSError as error:
        raise InfrastructureError(
            f"{path} cannot be written: {error.strerror}; check the folder's rights and free space"
        ) from error
