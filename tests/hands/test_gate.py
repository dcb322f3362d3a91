"""The gate on a real store: who is let in is on disk first, and at the door at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest

from surveil.core.peers import Peer, Role
from surveil.hands.gate import ENROLLING_MAX, Gate
from surveil.net.addresses import Address
from surveil.net.peers import Peers
from surveil.net.tokens import parse_token
from surveil.protocol import Enrol, Enrolled, Refused
from surveil.store import Store
from surveil.store.sqlite import open_store

KEY, OTHER, LOCAL, SERVER = ("k" * 40, "o" * 40, "l" * 40, "s" * 40)
HOUR_MS = 3_600_000


class Door:
    """A gate with its table and its store, under a clock that the test moves."""

    def __init__(self, store: Store, writer: Executor) -> None:
        self.store = store
        self.writer = writer
        self.now = 1_000_000
        self.new()

    def new(self) -> None:
        """What a restart makes anew."""
        self.peers = Peers(lambda: self.now)
        self.gate = Gate(
            store=self.store, writer=self.writer, known=self.peers, now=lambda: self.now, server_key=SERVER
        )
        self.gate.address = Address("192.0.2.7", 7300)

    async def token(self, role: str = "runner", *labels: str, uses: int = 1) -> tuple[str, bytes]:
        """A new token's id and secret."""
        made = await self.gate.make_token(role, labels, expires_ms=HOUR_MS, uses=uses)
        return made.id, parse_token(made.text).secret

    async def enrol(self, secret: bytes, key: str = KEY, name: str = "spare") -> Enrolled | Refused:
        answer = await self.gate.enrol(key, Enrol(secret=secret, name=name))
        assert answer is not None
        return answer


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    store = open_store(tmp_path / "data", now=1)
    with ThreadPoolExecutor(1) as writer:
        yield Door(store, writer)
    store.close()


def test_a_flood_of_newcomers_leaves_room_for_all_else_that_is_written(door: Door) -> None:
    async def story() -> None:
        _, secret = await door.token(uses=100)
        written: list[bytes] = []

        def redeem(digest: bytes, *, key: str, name: str, now: int) -> Peer:
            written.append(digest)
            return Peer(key=key, role=Role.RUNNER, name=name, created_at=now)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(door.store, "redeem", redeem)
            said = Enrol(secret=secret, name="spare")
            same = await asyncio.gather(*(door.gate.enrol(KEY, said) for _ in range(10)))
            assert [answer is not None for answer in same] == [True] + [False] * 9
            keys = [f"{number:040}" for number in range(ENROLLING_MAX + 5)]
            others = await asyncio.gather(*(door.gate.enrol(key, said) for key in keys))
            assert [answer is not None for answer in others] == [True] * ENROLLING_MAX + [False] * 5
            assert len(written) == 1 + ENROLLING_MAX
            assert await door.gate.enrol(keys[-1], said) is not None

    asyncio.run(story())


def test_strangers_may_knock_only_while_a_token_is_good(door: Door) -> None:
    async def story() -> None:
        await door.gate.open(LOCAL)
        assert [door.peers.enrolling] == [False]
        token, _ = await door.token()
        assert [door.peers.enrolling] == [True]
        await door.gate.revoke_token(token)
        assert [door.peers.enrolling] == [False]

        _, secret = await door.token()
        assert isinstance(await door.enrol(secret), Enrolled)
        assert [door.peers.enrolling] == [False], "it was used up"

        await door.token()
        door.now += HOUR_MS
        assert [door.peers.enrolling] == [False], "it expired"

    asyncio.run(story())


def test_a_token_says_where_to_go_and_whom_to_trust_and_the_store_never_sees_its_secret(
    door: Door, tmp_path: Path
) -> None:
    async def story() -> None:
        made = await door.gate.make_token("observer", (), expires_ms=HOUR_MS, uses=1)
        token = parse_token(made.text)
        assert (str(token.address), token.server_key) == ("tcp://192.0.2.7:7300", SERVER)
        assert made.expires_at == door.now + HOUR_MS
        (known,) = door.store.reader.tokens()
        assert (known.id, known.role, known.uses_left) == (made.id, "observer", 1)
        held = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
        assert made.id.encode() in held
        assert token.secret not in held

    asyncio.run(story())


def test_who_shows_a_token_is_let_in_as_what_it_grants_and_stays_so_after_a_restart(door: Door) -> None:
    async def story() -> None:
        _, secret = await door.token("runner", "gpu")
        enrolled = await door.enrol(secret)
        assert enrolled == Enrolled(cluster=door.store.cluster.id, name="spare", role="runner", labels=("gpu",))
        door.new()
        await door.gate.open(LOCAL)
        known = door.peers.admitted(KEY)
        assert known is not None
        assert (known.role, known.name, known.labels) == (Role.RUNNER, "spare", ("gpu",))
        local = door.peers.admitted(LOCAL)
        assert local is not None
        assert local.role is Role.CLIENT

    asyncio.run(story())


def test_a_refused_stranger_hears_why_and_is_not_let_in(door: Door) -> None:
    async def story() -> None:
        _, secret = await door.token()
        await door.enrol(secret)
        refused = await door.enrol(secret, OTHER, "second")
        assert isinstance(refused, Refused)
        assert (refused.exit_code, "was used up" in refused.reason) == (5, True)
        assert door.peers.get(OTHER) is None

    asyncio.run(story())


def test_a_revoked_key_is_out_at_once_and_after_a_restart(door: Door) -> None:
    async def story() -> None:
        _, secret = await door.token()
        await door.enrol(secret)
        await door.gate.revoke_peer(KEY)
        assert door.peers.admitted(KEY) is None
        assert door.peers.get(KEY) is not None, "it is told why"
        door.new()
        await door.gate.open(LOCAL)
        assert door.peers.admitted(KEY) is None

    asyncio.run(story())
