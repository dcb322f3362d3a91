"""Who may come in: tokens made and spent, keys let in and revoked, on disk first and then in the table that each
message is judged by.

What belongs here: keeping the store and `net.peers` of one mind. What does not: judging messages (net), and
what a peer may do (core).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from surveil.core.peers import LOCAL_CLIENT, Peer, Role
from surveil.errors import SurveilError, UsageError
from surveil.frozen import dataclass
from surveil.net.addresses import Address
from surveil.net.peers import Peers
from surveil.net.tokens import hash_secret, make_token
from surveil.protocol import Enrol, Enrolled, Refused
from surveil.store import Store, Token

ENROLLING_MAX: Final = 64
"""So many keys are let in at once; whoever comes beyond that says it again, as every newcomer does."""
_OF_ANOTHER: Final = (
    "the folder that asks to join belongs to another installation: join with a folder of its own (--data DIR); the "
    "token is as good as before"
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token just made: the string for a person to copy, the id to speak of it, and when it ends."""

    text: str
    id: str
    expires_at: int


class Gate:
    """Every change of who is known. `writer` is the one thread that writes to the store."""

    def __init__(
        self, *, store: Store, writer: Executor, known: Peers, now: Callable[[], int], server_key: str
    ) -> None:
        self._store = store
        self._writer = writer
        self._known = known
        self._now = now
        self._server_key = server_key
        self.address = Address("127.0.0.1", 0)
        """Where tokens send new machines; set when the port is known."""
        self._enrolling: set[str] = set()

    async def open(self, local_client: str) -> None:
        """Read who is known, and let in the key that lies beside the database: who can read that file may do
        anything here anyway.
        """
        local = Peer(key=local_client, role=Role.CLIENT, name=LOCAL_CLIENT, labels=(), created_at=self._now())
        await self._write(lambda: self._store.add_peer(local))
        for peer in await asyncio.to_thread(self._store.reader.peers):
            self._known.put(peer)
        await self._keep_door()

    def peer(self, key: str) -> Peer:
        """Whose key this is; of nobody else is a word heard."""
        peer = self._known.get(key)
        assert peer is not None, f"{key} is let in and not known"
        return peer

    async def enrol(self, key: str, said: Enrol) -> Enrolled | Refused | None:
        """Spend a token for the key that showed its secret.

        None while an earlier word of this key is in work, or too many others': all else that is written waits behind.
        """
        if key in self._enrolling or len(self._enrolling) >= ENROLLING_MAX:
            return None
        self._enrolling.add(key)
        try:
            return await self._enrol(key, said)
        finally:
            self._enrolling.remove(key)

    async def _enrol(self, key: str, said: Enrol) -> Enrolled | Refused:
        if said.cluster not in {"", self._store.cluster.id}:
            # Before the token is used: whoever cannot stay is not to leave a name here.
            return Refused(reason=_OF_ANOTHER, exit_code=int(UsageError.exit_code))
        digest = bytes.fromhex(hash_secret(said.secret))
        try:
            peer = await self._write(lambda: self._store.redeem(digest, key=key, name=said.name, now=self._now()))
        except SurveilError as error:
            return Refused(reason=str(error), exit_code=int(error.exit_code))
        self._known.put(peer)
        await self._keep_door()
        return Enrolled(cluster=self._store.cluster.id, name=peer.name, role=peer.role.value, labels=peer.labels)

    async def make_token(
        self, role: str, labels: tuple[str, ...], *, expires_ms: int, uses: int, address: Address | None = None
    ) -> NewToken:
        """A new join token for `address`, or for where other machines find us; the store has a hash of its
        secret only.
        """
        join = make_token(address or self.address, self._server_key)
        token = Token(
            id=secrets.token_hex(4), digest=bytes.fromhex(hash_secret(join.secret)), role=Role(role), labels=labels,
            uses_left=uses, created_at=self._now(), expires_at=self._now() + expires_ms,
        )  # fmt: skip
        await self._write(lambda: self._store.add_token(token))
        await self._keep_door()
        return NewToken(text=str(join), id=token.id, expires_at=token.expires_at)

    async def revoke_token(self, token: str) -> None:
        """Make a token worthless."""
        await self._write(lambda: self._store.revoke_token(token, now=self._now()))
        await self._keep_door()

    async def revoke_peer(self, key: str) -> None:
        """Let a key in no more; its open connection is refused from its next message on."""
        await self._write(lambda: self._store.revoke_peer(key, now=self._now()))
        peer = await asyncio.to_thread(self._store.reader.peer, key)
        if peer is not None:
            self._known.put(peer)

    async def _keep_door(self) -> None:
        """Let strangers knock only while there is a token that one of them might hold."""
        now = self._now()
        tokens = await asyncio.to_thread(self._store.reader.tokens)
        self._known.open_enrolment(max((token.expires_at for token in tokens if token.usable(now)), default=0))

    async def _write(self, change: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, change)
