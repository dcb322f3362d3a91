"""Opens the parts of a runner and closes them in order: the data folder, the key, who we are, the connection.

What belongs here: opening and closing, and enrolment. What does not: what happens in between (`runner`).
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from surveil import __version__
from surveil.clock import Clock
from surveil.codec import INT_MAX
from surveil.config import RunnerConfig
from surveil.core.declared import CONTAINERS
from surveil.core.peers import Role
from surveil.core.run_model import RunnerPolicy, RunState
from surveil.errors import NotAllowedError
from surveil.execute.collect.caching import Caches
from surveil.execute.collect.cases import CaseCollector
from surveil.execute.collect.keeping import Artifacts
from surveil.execute.collect.sharding import Shards
from surveil.execute.collect.taking import from_dispatcher, in_turn, taking
from surveil.execute.containers.container import Containers, chosen
from surveil.execute.contract import Executor
from surveil.execute.identity import Identity, Tombstones, begin_incarnation, read_identity, write_identity
from surveil.execute.isolation import isolating
from surveil.execute.process import ProcessExecutor
from surveil.execute.transfer.courier import Courier, Say
from surveil.execute.transfer.supply import Supplies
from surveil.frozen import dataclass, replace
from surveil.hands import envelope
from surveil.mirror.access import Access
from surveil.mirror.inventory import mirrored
from surveil.net.addresses import Address, parse_address
from surveil.net.connection import Connection
from surveil.net.enrolment import enrol, is_enrolled, is_spent
from surveil.net.keys import RUNNER_KEY, load_keys
from surveil.net.known import KnownDispatcher, load_known
from surveil.net.tokens import parse_token
from surveil.places import KEYS, MIRRORS, Hold
from surveil.protocol import MIRRORS_MAX, OnBulk
from surveil.say import Voice

FULL_S: Final = 0.02
"""How long to wait when the connection takes no more."""

voice = Voice("runner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a runner's loop works with. All is open but the executor, which tells only when the loop runs."""

    state: RunState
    policy: RunnerPolicy
    executor: Executor
    connection: Connection
    address: Address
    supplies: Supplies
    cases: CaseCollector
    shards: Shards
    courier: Courier
    tombstones: Tombstones
    identity: Identity
    data: Path
    clock: Clock


@contextlib.asynccontextmanager
async def opened(config: RunnerConfig, executor: Executor | None = None) -> AsyncIterator[Parts]:
    """The parts of a runner between start and end; attempts are processes of this machine unless `executor` is given.

    Raises:
        SurveilError: the data folder, the token or the key cannot be used, or steps cannot be kept apart as they have
            to be; the sentence says what to do.
    """
    access = Access(ssh_config=config.ssh_config, credentials=config.credentials)
    access.check()
    data = config.data.absolute()
    with Hold(data, "a runner"):
        isolation, containers = isolating.UNKEPT, None
        if executor is None:
            isolation, containers = await asyncio.gather(
                asyncio.to_thread(_isolation, config), asyncio.to_thread(_containers, config)
            )
        known = await _dispatcher(config)
        keys = load_keys(data / KEYS / RUNNER_KEY)
        identity = begin_incarnation(data)
        name = identity.name or config.name
        with contextlib.closing(Tombstones(data)) as tombstones:
            async with Connection(known.address, known.server_key, keys) as connection:
                ask = _asking(connection)
                supplies, cases, shards = Supplies(ask), CaseCollector(ask), Shards(ask)
                courier = Courier(_saying(connection))
                caches = Caches(courier)
                yield Parts(
                    state=_state(config, identity, name, tombstones, containers),
                    policy=RunnerPolicy(),
                    executor=executor
                    or ProcessExecutor(
                        data,
                        name,
                        supply=supplies.bring,
                        access=access,
                        isolation=isolation,
                        collectors=(cases, shards, Artifacts(courier), caches),
                        restore=in_turn(caches.restore, taking(from_dispatcher(courier))),
                        open_envelope=lambda order: envelope.opened(order, keys),
                        containers=containers,
                    ),
                    connection=connection,
                    address=known.address,
                    supplies=supplies,
                    cases=cases,
                    shards=shards,
                    courier=courier,
                    tombstones=tombstones,
                    identity=identity,
                    data=data,
                    clock=Clock(),
                )


def _asking(connection: Connection) -> Callable[[OnBulk], None]:
    """A way for threads to say something; what cannot be said now is said again by whoever waits for its answer."""
    loop = asyncio.get_running_loop()

    def ask(message: OnBulk) -> None:
        loop.call_soon_threadsafe(connection.send, message)

    return ask


def _saying(connection: Connection) -> Say:
    """A way for threads to say something on the bulk connection, and to hear where it could not be said."""
    loop = asyncio.get_running_loop()

    def say(message: OnBulk, when_not: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(say_now, message, when_not)

    def say_now(message: OnBulk, when_not: Callable[[], None]) -> None:
        if not connection.send(message):
            loop.call_later(FULL_S, when_not)

    return say


def _isolation(config: RunnerConfig) -> isolating.Isolation:
    """What keeps this runner's attempts apart; that nothing does is said once. Raises InfrastructureError."""
    secrets = [path for path in (config.ssh_config, config.credentials) if path is not None]
    found = isolating.choose(
        config.sandbox,
        memory_bytes=config.memory_bytes,
        processes=config.processes,
        data=config.data,
        expose=config.expose,
        secrets=secrets,
    )
    if found.complaint:
        voice.warning(found.complaint)
    return found


def _containers(config: RunnerConfig) -> Containers | None:
    """What jobs with an image run in; none where there is no engine. Raises InfrastructureError."""
    found, why = chosen(config.engine, memory_bytes=config.memory_bytes, processes=config.processes)
    if found is None:
        voice.debug("containers are not offered", reason=why)
    return found


def _state(
    config: RunnerConfig, identity: Identity, name: str, tombstones: Tombstones, containers: Containers | None
) -> RunState:
    own = (platform.system().lower(), platform.machine().lower(), CONTAINERS if containers is not None else "")
    return RunState(
        name=name,
        host=socket.gethostname(),
        software=__version__,
        labels=tuple(dict.fromkeys((*config.labels, *identity.labels, *filter(None, own)))),
        slots=config.slots,
        incarnation=identity.incarnation,
        birth=secrets.randbelow(INT_MAX),
        cluster=identity.cluster,
        tombstones=tombstones.known,
        mirrors=tuple(mirrored(config.data / MIRRORS))[-MIRRORS_MAX:],
    )


async def _dispatcher(config: RunnerConfig) -> KnownDispatcher:
    """Where the dispatcher is; with a token, become known to it first."""
    if config.join is not None:
        await _join(config)
    known = load_known(config.data)
    return known if config.dispatcher is None else replace(known, address=parse_address(config.dispatcher))


async def _join(config: RunnerConfig) -> None:
    token = parse_token(config.join or "", reached_at=config.dispatcher)
    if is_spent(token, role=Role.RUNNER, data=config.data):
        return
    try:
        answer = await enrol(token, name=config.name, role=Role.RUNNER, data=config.data)
    except NotAllowedError:
        # Whoever starts it the second time with the same command shows a token that is used up; the key is what counts.
        if not is_enrolled(token, role=Role.RUNNER, data=config.data):
            raise
        voice.warning("the token is not taken again; going on with the key that it once brought")
        return
    old = read_identity(config.data)
    write_identity(config.data, replace(old, cluster=answer.cluster, name=answer.name, labels=tuple(answer.labels)))
