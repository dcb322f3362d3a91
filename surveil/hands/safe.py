"""The safe: where a dispatcher keeps secrets, encrypted on its disk, and from which it entrusts them to runners.

What belongs here: setting, listing, forgetting and opening them. What does not: the keys (`safe_keys`), for which jobs
a secret is (`core.scopes`), and the way to a runner (`entrusting`).

A secret is bound to its name, its scope and its source: moved to another row of the database it does not open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final, TypeVar

from surveil.codec import pack_row
from surveil.core.scopes import Scope, Secret, Source, choose
from surveil.encryption import DecryptionError, decrypt, encrypt, key_id
from surveil.errors import InfrastructureError, NotFoundError
from surveil.hands.safe_keys import SafeKeys
from surveil.say import Voice
from surveil.store import Store

SECRETS_MAX: Final = 10_000
"""They are all in memory, encrypted."""

Result = TypeVar("Result")
voice = Voice("dispatcher")


class Safe:
    """All secrets of a dispatcher. `writer` is the one thread that writes to the store."""

    def __init__(self, *, store: Store, writer: Executor, keys: SafeKeys, now: Callable[[], int]) -> None:
        self._store = store
        self._writer = writer
        self._keys = keys
        self._now = now
        self._secrets: Sequence[Secret] = store.reader.secrets()
        self._changing = asyncio.Lock()

    def find(self, name: str, *, repo: str, ref: str, job: str) -> Secret | None:
        """The secret of this name that a job may have, still encrypted."""
        return choose(self._secrets, name, repo=repo, ref=ref, job=job)

    def knows(self, name: str) -> bool:
        """Whether there is a secret of this name for anybody."""
        return any(secret.name == name for secret in self._secrets)

    def names(self) -> list[str]:
        """The names of all secrets."""
        return sorted({secret.name for secret in self._secrets})

    def open(self, secret: Secret) -> bytes:
        """What is in it: the value, or where in a Vault that is.

        Raises:
            InfrastructureError: its key is not there, or it was not encrypted as what it is said to be.
        """
        key = self._keys.get(secret.key)
        if key is None:
            raise InfrastructureError(
                f"the secret {secret.name} ({secret.scope}) cannot be opened, as its key {secret.key} is not in "
                f"{self._keys.path}: put back your copy of that file and start the dispatcher again, or set it anew "
                f"with `surveil secret set {secret.name}`"
            )
        try:
            return decrypt(key, secret.encrypted, _bound_to(secret))
        except DecryptionError:
            raise InfrastructureError(
                f"the secret {secret.name} ({secret.scope}) does not open: somebody changed or exchanged its row; "
                f"find out who, and set it anew with `surveil secret set {secret.name}`"
            ) from None

    async def set(self, name: str, scope: Scope, value: bytes, source: Source, by: str) -> None:
        """Keep a secret, in the place of one of the same name and scope. It is on disk when this returns."""
        async with self._changing:
            known = next((one for one in self._secrets if (one.name, one.scope) == (name, scope)), None)
            if known is None and len(self._secrets) >= SECRETS_MAX:
                raise InfrastructureError(f"There are {SECRETS_MAX} secrets already; remove some first.")
            now = self._now()
            made = Secret(
                name=name, scope=scope, source=source, key="", encrypted=b"",
                created_at=now if known is None else known.created_at, changed_at=now,
            )  # fmt: skip
            # The key is on disk before anything that it opens.
            key = await asyncio.to_thread(self._keys.current)
            secret = _encrypted(made, key, value)
            await self._write(lambda: self._store.put_secrets([secret]))
            await self._read()
        voice.info("secret set", name=name, scope=scope, by=by)

    async def remove(self, name: str, scope: Scope, by: str) -> None:
        """Forget a secret. Raises NotFoundError."""
        async with self._changing:
            if not await self._write(lambda: self._store.remove_secret(name, scope)):
                raise NotFoundError(f"There is no secret {name} for {scope}; see `surveil secret ls`.")
            await self._read()
        voice.info("secret removed", name=name, scope=scope, by=by)

    async def rekey(self, by: str) -> int:
        """Make a new key, and encrypt all secrets with it; return how many there are.

        Wherever this ends, each secret opens with a key that is in the file.

        Raises:
            InfrastructureError: one of them does not open; then nothing was changed.
        """
        async with self._changing:
            opened = [(secret, self.open(secret)) for secret in self._secrets]
            key = await asyncio.to_thread(self._keys.add)
            anew = [_encrypted(secret, key, value) for secret, value in opened]
            if anew:
                await self._write(lambda: self._store.put_secrets(anew))
                await self._read()
            await asyncio.to_thread(self._keys.drop_old)
        voice.info("secrets have a new key", count=len(anew), by=by)
        return len(anew)

    async def _read(self) -> None:
        self._secrets = await asyncio.to_thread(self._store.reader.secrets)

    async def _write(self, change: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, change)


def _encrypted(secret: Secret, key: bytes, value: bytes) -> Secret:
    return replace(secret, key=key_id(key), encrypted=encrypt(key, value, _bound_to(secret)))


def _bound_to(secret: Secret) -> bytes:
    scope = secret.scope
    return b"surveil secret\0" + pack_row((secret.name, scope.repo, scope.ref, scope.job, secret.source.value))
