"""The keys that open a dispatcher's secrets: a file beside its other keys, and never in the database.

What belongs here: reading, making and replacing them. What does not: what they open (`safe`).

The file holds the key in use, and below it the one before: a backup that is under way while the key is replaced may
have copied the secrets as they were.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from surveil.encryption import KEY_BYTES, key_id, make_key
from surveil.errors import InfrastructureError
from surveil.net.keys import read_privately, write_privately
from surveil.places import KEYS
from surveil.sealing import sealed_line, unsealed_line

FILE: Final = "secrets.key"
KEPT: Final = 2
FILE_BYTES_MAX: Final = 1024


class SafeKeys:
    """The keys in a data folder, newest first; there are none before the first secret."""

    def __init__(self, data: Path, file: str = FILE) -> None:
        """Read those in this file beside the other keys.

        Raises:
            InfrastructureError: the file cannot be read, others have access to it, or it does not hold keys.
        """
        self.path = data / KEYS / file
        self._keys = self._read() if self.path.exists() else []

    def get(self, name: str) -> bytes | None:
        """The key of this id."""
        return next((key for key in self._keys if key_id(key) == name), None)

    def current(self) -> bytes:
        """The key in use; made at its first use. Raises InfrastructureError."""
        if not self._keys:
            self.add()
        return self._keys[0]

    def add(self) -> bytes:
        """Make a new key, and use it from now on; all others stay. Raises InfrastructureError."""
        key = make_key()
        self._write([key, *self._keys])
        return key

    def drop_old(self) -> None:
        """Forget all keys but the one in use and the one before. Raises InfrastructureError."""
        if len(self._keys) > KEPT:
            self._write(self._keys[:KEPT])

    def _write(self, keys: list[bytes]) -> None:
        lines = "".join(sealed_line(base64.b64encode(key).decode()) + "\n" for key in keys)
        write_privately(self.path, lines.encode(), replace=True)
        self._keys = keys

    def _read(self) -> list[bytes]:
        content = read_privately(self.path, FILE_BYTES_MAX)
        try:
            keys = [
                base64.b64decode(unsealed_line(line), validate=True) for line in content.decode("ascii").splitlines()
            ]
        except (ValueError, binascii.Error):
            keys = []
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise InfrastructureError(
                f"{self.path} does not hold the keys of secrets: put back your copy of it; without it, remove it, and "
                "set every secret anew"
            )
        return keys
