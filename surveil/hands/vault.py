"""A HashiCorp Vault or OpenBao, from which secrets are read that are kept there: its key-value engine, version 2.

What belongs here: one question and its answer. What does not: for which jobs a secret is, which is said as for any
other (`safe`). What is kept of such a secret is its place, `PATH#FIELD`; the value is asked for anew whenever a job is
handed out.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from surveil.errors import InfrastructureError, NotFoundError
from surveil.frozen import dataclass
from surveil.openness import warn_if_open

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
TOKEN_BYTES_MAX: Final = 4096
_OK: Final = 200
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """Where it is, the file with the token that it is asked with, and where its engine is mounted."""

    address: str
    token: Path
    mount: str

    def read(self, place: str) -> bytes:
        """The value of a field, `PATH#FIELD`. Blocks for `TIMEOUT_S` and a little at the most.

        Raises:
            NotFoundError: there is no such secret, or it has no such field.
            InfrastructureError: the Vault does not answer, or does not allow it.
        """
        path, _, field = place.partition("#")
        status, answer = self._ask(f"/v1/{quote(self.mount)}/data/{quote(path)}")
        if status == _NOT_FOUND:
            raise NotFoundError(f"the Vault at {self.address} has nothing at {self.mount}/{path}")
        if status == _FORBIDDEN:
            raise InfrastructureError(
                f"the Vault at {self.address} does not let the token in {self.token} read {self.mount}/{path}: give it "
                "a policy that does, or put a token there that is still good"
            )
        if status != _OK:
            raise InfrastructureError(f"the Vault at {self.address} answers with status {status}: {_errors(answer)}")
        try:
            value = json.loads(answer)["data"]["data"][field]
        except (ValueError, KeyError, TypeError) as error:
            raise NotFoundError(f"the Vault at {self.address} has no field {field} at {self.mount}/{path}") from error
        return value.encode() if isinstance(value, str) else json.dumps(value).encode()

    def _ask(self, path: str) -> tuple[int, bytes]:
        import httpx2  # noqa: PLC0415  # Most dispatchers have no Vault.

        headers = {"X-Vault-Token": self._read_token(), "X-Vault-Request": "true"}
        try:
            with (
                httpx2.Client(timeout=TIMEOUT_S, verify=ssl.create_default_context(), trust_env=False) as client,
                client.stream("GET", self.address.rstrip("/") + path, headers=headers) as response,
            ):
                found = b""
                for piece in response.iter_bytes():
                    found += piece
                    if len(found) > ANSWER_BYTES_MAX:
                        raise InfrastructureError(f"the Vault at {self.address} answers without an end")
                return response.status_code, found
        except httpx2.HTTPError as error:
            raise InfrastructureError(
                f"the Vault at {self.address} does not answer ({str(error) or type(error).__name__}): look whether it "
                "runs and is unsealed, and whether `--vault` names it"
            ) from error

    def _read_token(self) -> str:
        warn_if_open(self.token, "the token for the Vault")
        try:
            with self.token.open("rb") as file:
                token = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InfrastructureError(f"the token for the Vault cannot be read from {self.token}: {error}") from error
        if not token.isprintable() or not token:
            raise InfrastructureError(f"the file {self.token} holds no token for the Vault")
        return token


def _errors(answer: bytes) -> str:
    """What the Vault itself says."""
    try:
        said: Any = json.loads(answer)["errors"]
    except (ValueError, KeyError, TypeError):
        return "and says nothing"
    return ", ".join(map(str, said))[:500] if isinstance(said, list) and said else "and says nothing"
