"""Opens the parts of an observer and closes them in order: repositories, records, the key, the connection.

What belongs here: opening and closing, and what can be wrong with a configuration before anything runs. What does not:
what happens in between (`observer`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from surveil.clock import Clock
from surveil.config import ObserverConfig
from surveil.core.observe_model import Record, State
from surveil.core.patterns import read_patterns
from surveil.core.peers import Role
from surveil.core.trust import read_trust
from surveil.errors import InfrastructureError, NotAllowedError, UsageError
from surveil.frozen import dataclass, replace
from surveil.hands.records import Records
from surveil.mirror.access import Access
from surveil.mirror.command import Halt
from surveil.mirror.typed import resolve_all
from surveil.mirror.watched import Watched
from surveil.net.addresses import Address, parse_address
from surveil.net.connection import Connection
from surveil.net.enrolment import enrol, is_enrolled, is_spent
from surveil.net.keys import OBSERVER_KEY, load_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.net.tokens import JoinToken, parse_token
from surveil.places import KEYS, MIRRORS, REFS, Hold
from surveil.say import Voice

LOCAL_INTERVAL_MS: Final = 2_000
REMOTE_INTERVAL_MS: Final = 10_000

voice = Voice("observer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that an observer's loop works with, open. `watched` is keyed by the repositories' addresses."""

    state: State
    watched: Mapping[str, Watched]
    records: Records
    connection: Connection
    halt: Halt
    clock: Clock
    address: Address
    data: Path


@contextlib.asynccontextmanager
async def opened(config: ObserverConfig) -> AsyncIterator[Parts]:
    """The parts of an observer between start and end.

    Raises:
        SurveilError: a repository, the data folder, the token or the key cannot be used; the sentence says what to do.
    """
    if not config.repos:
        raise UsageError("An observer needs at least one repository to watch: a path or a URL.")
    addresses = resolve_all(config.repos, str(Path.cwd()))
    patterns, trust = read_patterns(config.refs), read_trust(config.trusted_refs)
    access = Access(ssh_config=config.ssh_config, credentials=config.credentials)
    access.check()
    with Hold(config.data, "an observer"), contextlib.closing(Halt()) as halt:
        known = await _dispatcher(config)
        keys = load_keys(config.data / KEYS / OBSERVER_KEY)
        records, clock, state = Records(config.data / REFS), Clock(), State(trust)
        watched: dict[str, Watched] = {}
        for address in addresses:
            watched[address.key] = Watched(address, config.data / MIRRORS, patterns.prefixes(), halt, access)
            interval_ms = config.interval_ms or (LOCAL_INTERVAL_MS if address.is_local else REMOTE_INTERVAL_MS)
            state.watch(address.key, patterns, interval_ms, _remembered(records, address.key), clock.now())
        _warn_of_plain([address.key for address in addresses if address.is_plain])
        async with Connection(known.address, known.server_key, keys) as connection:
            yield Parts(
                state=state,
                watched=watched,
                records=records,
                connection=connection,
                halt=halt,
                clock=clock,
                address=known.address,
                data=config.data,
            )


async def _dispatcher(config: ObserverConfig) -> KnownDispatcher:
    if config.join is not None:
        await _join(config, parse_token(config.join, reached_at=config.dispatcher))
    known = load_known(config.data)
    return known if config.dispatcher is None else replace(known, address=parse_address(config.dispatcher))


async def _join(config: ObserverConfig, token: JoinToken) -> None:
    if is_spent(token, role=Role.OBSERVER, data=config.data):
        return
    try:
        await enrol(token, name=config.name, role=Role.OBSERVER, data=config.data)
    except NotAllowedError:
        # Whoever starts it the second time with the same command shows a token that is used up; the key is what counts.
        if not is_enrolled(token, role=Role.OBSERVER, data=config.data):
            raise
        voice.warning("the token is not taken again; going on with the key that it once brought")


def _warn_of_plain(repos: list[str]) -> None:
    if repos:
        more = f" and {len(repos) - 1} more" if len(repos) > 1 else ""
        voice.warning("whoever is on the way can read and change what is fetched", repo=f"{repos[0]}{more}")


def _remembered(records: Records, repo: str) -> Record | None:
    try:
        return records.read(repo)
    except InfrastructureError as problem:
        voice.warning(str(problem))
        return None
