"""A store that fails when it is told to, around any other store: for tests of those who must survive it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from surveil.core.model import Record
from surveil.core.peers import Peer
from surveil.core.state import Changes
from surveil.store import Cluster, Reader, Store, StoreError, Token

Result = TypeVar("Result")


class Fault(StrEnum):
    """How a call fails."""

    BEFORE = "nothing was written"
    AFTER = "it was written, and the caller is told that it was not"


class FaultyStore:
    """Passes every call on, but for the `at`-th one that writes (from 1), which fails; those after it do not."""

    def __init__(self, store: Store, *, at: int, fault: Fault) -> None:
        self._store = store
        self._at = at
        self._fault = fault
        self.calls = 0

    def _call(self, write: Callable[[], Result]) -> Result:
        self.calls += 1
        if self.calls != self._at:
            return write()
        if self._fault is Fault.AFTER:
            write()
        raise StoreError(f"call {self.calls} was told to fail: {self._fault}")

    @property
    def cluster(self) -> Cluster:
        return self._store.cluster

    @property
    def reader(self) -> Reader:
        return self._store.reader

    def load(self) -> tuple[list[Record], int]:
        return self._store.load()

    def commit(self, changes: Changes) -> None:
        self._call(lambda: self._store.commit(changes))

    def add_peer(self, peer: Peer) -> Peer:
        return self._call(lambda: self._store.add_peer(peer))

    def revoke_peer(self, key: str, *, now: int) -> bool:
        return self._call(lambda: self._store.revoke_peer(key, now=now))

    def add_token(self, token: Token) -> None:
        self._call(lambda: self._store.add_token(token))

    def revoke_token(self, token: str, *, now: int) -> bool:
        return self._call(lambda: self._store.revoke_token(token, now=now))

    def redeem(self, digest: bytes, *, key: str, name: str, now: int) -> Peer:
        return self._call(lambda: self._store.redeem(digest, key=key, name=name, now=now))

    def close(self) -> None:
        self._store.close()
