"""Opens the parts of a dispatcher and closes them in order: the data folder, the clock, the keys, the sockets,
the threads.

What belongs here: opening and closing. What does not: what happens in between (dispatcher).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from surveil.answer.answers import Answers
from surveil.answer.kept_files import KeptFiles
from surveil.answer.live import Live
from surveil.answer.views import time_text
from surveil.clock import Clock
from surveil.config import DispatcherConfig
from surveil.core.state import Identity, State
from surveil.core.timetable import Timetable
from surveil.core.trust import Trust, read_trust
from surveil.disk import make_folder
from surveil.errors import InfrastructureError, InvalidError, UsageError
from surveil.fleet.confining import settings_of_runners
from surveil.fleet.spawner import Spawner
from surveil.frozen import dataclass
from surveil.hands.cases import CaseIntake
from surveil.hands.closing import Closing
from surveil.hands.depot import Depot
from surveil.hands.gate import Gate
from surveil.hands.intake import Intake
from surveil.hands.lending import Lending
from surveil.hands.moving import Moving
from surveil.hands.safe import Safe
from surveil.hands.safe_keys import SafeKeys
from surveil.hands.scheduling import Scheduler
from surveil.hands.sharding import ShardDesk
from surveil.hands.sweeping import Sweeping
from surveil.hands.taking import Taking
from surveil.hands.vault import Vault
from surveil.net.addresses import Address, parse_address
from surveil.net.admission import Sender
from surveil.net.audit import LOG_REFUSED, NO_BUSINESS, NOT_ITS_OWN
from surveil.net.keys import CLIENT_KEY, SERVER_KEY, load_or_make_keys
from surveil.net.known import KnownDispatcher
from surveil.net.options import raise_file_limit
from surveil.net.peers import Peers
from surveil.net.server import Server
from surveil.net.traffic import Received
from surveil.places import BLOBS, KEYS, LOGS, RUNNERS
from surveil.protocol import Assign
from surveil.say import Voice
from surveil.store import Store
from surveil.store.acts import Acts, open_book
from surveil.store.backup import Copied, backup
from surveil.store.blobs import Blobs, FolderBlobs
from surveil.store.bucket import Bucket, where_of
from surveil.store.bucketed import BucketBlobs
from surveil.store.logs import LogStore
from surveil.store.neighbours import all_aside, lacking
from surveil.store.sqlite import database_path, open_store
from surveil.store.writing import SqlStore

EMPTY_BYTES_MAX: Final = 1
"""What SQLite takes for an empty database: it writes one byte into a new file, on systems whose locks need one."""
SPAWN_TOKEN_MS: Final = 60_000

voice = Voice("dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a dispatcher's loop works with, open."""

    store: Store
    writer: Executor
    clock: Clock
    server: Server
    gate: Gate
    safe: Safe
    vault: Vault | None
    with_artifacts: Callable[[Assign], Assign]
    """Says in an order of which digests the artifacts are that it names."""
    intake: Intake
    closing: Closing
    depot: Depot
    beside: tuple[Lending | Sweeping | Moving, ...]
    """What is to run beside these for as long as the dispatcher does."""
    answers: Answers
    acts: Acts
    live: Live
    scheduler: Scheduler
    trust: Trust
    back_up: Callable[[Path], Copied]
    address: Address
    """Where processes on this machine reach it."""
    look_again: Callable[[], Answers]
    """Answers from what is on disk now, whatever the mind believes."""


@contextlib.asynccontextmanager
async def assembled(config: DispatcherConfig) -> AsyncIterator[Parts]:
    """The parts of a dispatcher between start and end.

    Raises:
        SurveilError: the data folder, the keys or the ports cannot be used; the sentence says what to do.
    """
    warning = raise_file_limit()
    if warning is not None:
        voice.warning(warning)
    trust = read_trust(config.trusted_refs)
    clock = Clock()
    check_pair(config.data, database_path(config.data, config.database or ""))
    store = open_store(config.data, now=clock.now(), database=config.database or "")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(store.close)
        _say_restored(config.data, store.copied_at)
        clock = Clock(not_before_at=newest(store))
        writer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="store"))
        keys = load_or_make_keys(config.data / KEYS / SERVER_KEY)
        local = load_or_make_keys(config.data / KEYS / CLIENT_KEY)
        known = Peers(clock.now)
        gate = Gate(store=store, writer=writer, known=known, now=clock.now, server_key=keys.public)
        await gate.open(local.public)
        safe = Safe(store=store, writer=writer, keys=SafeKeys(config.data), now=clock.now)
        server = await stack.enter_async_context(Server(parse_address(config.listen, listening=True), keys, known))
        listen = parse_address(config.listen, listening=True).with_port(server.control_port)
        gate.address = listen.for_others()
        live = _live(config, store, clock, server, known)
        logs = LogStore(config.data / LOGS)
        stack.callback(logs.close)
        blobs, moving = _blobs(config, store.cluster.id)
        acts = open_book(config.data, now=clock.now(), expected=store.cluster.epoch > 1, pages=True)
        stack.callback(acts.close)
        answers = Answers(store.reader, logs, live, kept=KeptFiles(store.shelf, blobs), acts=acts)
        closing = Closing(logs, store.reader, policy=config.policy, now=clock.now, is_revoked=known.is_revoked)
        stack.push_async_callback(closing.close)
        intake = _intake(logs, store, closing, server, answers)
        stack.push_async_callback(intake.close)
        depot = _depot(config, blobs, store, live, writer=writer, server=server)
        stack.push_async_callback(depot.close)
        sweeping = _sweeping(config, depot, store, blobs, writer=writer)
        here = KnownDispatcher(
            address=listen.from_here(), server_key=keys.public, cluster=store.cluster.id, pid=os.getpid()
        )
        here.save(config.data)

        def back_up(destination: Path) -> Copied:
            return backup(config.data, destination, now=clock.now(), database=config.database or "")

        scheduler = _scheduler(store, writer, live)
        yield Parts(
            store=store, writer=writer, clock=clock, server=server, gate=gate, safe=safe, vault=_vault(config),
            with_artifacts=Taking(store.shelf, blobs).ordered,
            intake=intake, closing=closing, depot=depot, beside=(depot.lending, sweeping, *moving), answers=answers,
            acts=acts, live=live, scheduler=scheduler, trust=trust, back_up=back_up, address=listen.from_here(),
            look_again=lambda: Answers(
                store.reader, logs, _live(config, store, clock, server, known),
                kept=KeptFiles(store.shelf, blobs), acts=acts,
            ),
        )  # fmt: skip


def _say_restored(data: Path, copied_at: int | None) -> None:
    """What whoever started from a copy has to know, and may want to look at."""
    if copied_at is None:
        return
    voice.warning(
        "started from a backup: what was done since it was made is forgotten, and who lost a role, a token or a key "
        "since then has it again; look at `surveil user ls`, `surveil login --list` and `surveil peers`",
        made=time_text(copied_at), without=", ".join(lacking(data)) or "nothing",
    )  # fmt: skip


def _blobs(config: DispatcherConfig, owner: str) -> tuple[Blobs, tuple[Moving, ...]]:
    """Where whole files are kept, and whoever brings them there. Raises UsageError."""
    where = where_of(config)
    if where is None:
        return FolderBlobs(config.data / BLOBS), ()
    blobs = BucketBlobs(config.data / BLOBS, Bucket(where), owner)
    return blobs, (Moving(blobs),)


def _depot(
    config: DispatcherConfig, blobs: Blobs, store: SqlStore, live: Live, *, writer: Executor, server: Server
) -> Depot:
    folder = config.data / BLOBS
    try:
        make_folder(folder)
    except OSError as error:
        raise InfrastructureError(f"{folder} cannot be made: {error.strerror}") from error
    return Depot(
        folder, blobs, store.shelf, live.state, write=writer, now=live.now, reply=server.reply,
        on_refused=lambda peer: server.audit.count(peer, NO_BUSINESS),
    )  # fmt: skip


def _vault(config: DispatcherConfig) -> Vault | None:
    if config.vault is None:
        return None
    if config.vault_token is None:
        raise UsageError("A Vault is asked with a token: name the file that holds it with --vault-token.")
    return Vault(address=config.vault, token=config.vault_token, mount=config.vault_mount)


def _sweeping(config: DispatcherConfig, depot: Depot, store: SqlStore, blobs: Blobs, *, writer: Executor) -> Sweeping:
    return Sweeping(
        depot, store.shelf, blobs, bytes_max=config.artifact_space_bytes, cache_bytes_max=config.cache_space_bytes,
        write=writer, now=depot.now,
    )  # fmt: skip


def answering_tests(
    parts: Parts, start: Callable[[Coroutine[Any, Any, None]], object]
) -> Callable[[list[Received]], list[Received]]:
    """What takes what runners say of tests from what came on bulk; tasks are started by `start`."""

    def refused(peer: Sender) -> None:
        parts.server.audit.count(peer, NOT_ITS_OWN)

    cases = CaseIntake(parts.store, parts.writer, reply=parts.server.reply, start=start, on_refused=refused)
    shards = ShardDesk(parts.store, parts.writer, reply=parts.server.reply, start=start, on_refused=refused)
    return lambda received: shards.take(cases.take(received))


def check_pair(data: Path, database: Path) -> None:
    """A new key beside an old database would lock out everybody who was ever enrolled, without a word; a new database
    beside an old key would forget all builds, and everybody as well.

    Raises:
        InvalidError: one of them is missing.
    """
    key = data / KEYS / SERVER_KEY
    begun = database.exists() and database.stat().st_size > EMPTY_BYTES_MAX
    if begun and not key.exists():
        raise InvalidError(
            f"{data} has a database but not its key {key}: every runner and observer knows this dispatcher by "
            "that key, so put it back, from a backup for example"
        )
    if key.exists() and not begun:
        # What `up` started joined by that key as well, and its first build is another one than the next.
        gone = " and ".join(str(each) for each in (key, data / "observer", data / RUNNERS) if each.exists())
        raise InvalidError(
            f"{data} has the key of a dispatcher, but its database {database} is missing or empty: put back a copy "
            f"that `surveil db backup` made; to begin anew, remove {gone} as well, and let all machines join again"
        )


def newest(store: Store) -> int:
    """The newest instant in the journal: a machine whose clock was lost goes on from there."""
    lines = store.reader.journal(after=max(0, store.reader.journal_end() - 1), limit=1)
    return lines[-1].note.at if lines else 0


def _live(config: DispatcherConfig, store: Store, clock: Clock, server: Server, known: Peers) -> Live:
    records, next_build = store.load()
    identity = Identity(cluster=store.cluster.id, epoch=store.cluster.epoch, bulk_port=server.bulk_port)
    state = State.load(records, identity=identity, next_build=next_build)
    return Live(
        cluster=identity.cluster, epoch=identity.epoch, started_at=clock.now(), state=state, now=clock.now,
        log_wait_ms=config.policy.log_wait_ms, is_revoked=known.is_revoked, troubles=server.counts.troubles,
        offenders=server.audit.worst, put_aside=lambda: all_aside(config.data),
    )  # fmt: skip


def _scheduler(store: Store, writer: Executor, live: Live) -> Scheduler:
    def write(repo: str, table: Timetable | None) -> Awaitable[None]:
        return asyncio.get_running_loop().run_in_executor(writer, store.put_timetable, repo, table)

    made = Scheduler(store.reader.timetables(), write=write, is_watched=live.is_watched, now=live.now)
    live.schedules = made.upcoming
    return made


def _intake(logs: LogStore, store: Store, closing: Closing, server: Server, answers: Answers) -> Intake:
    def pause(*, paused: bool) -> None:
        if server.bulk_paused != paused:
            server.bulk_paused = paused

    return Intake(
        logs, store.reader, closing, reply=server.reply, pause=pause, on_log=answers.on_log,
        on_refused=lambda peer: server.audit.count(peer, LOG_REFUSED),
    )  # fmt: skip


def spawner_of(config: DispatcherConfig, parts: Parts) -> Spawner:
    """The runners that this dispatcher starts itself."""

    async def make_token() -> str:
        token = await parts.gate.make_token("runner", (), expires_ms=SPAWN_TOKEN_MS, uses=1, address=parts.address)
        return token.text

    return Spawner(
        config.spawn,
        config.data,
        str(parts.address),
        make_token,
        settings=settings_of_runners(config),
        on_line=lambda name, line: voice.info("local runner says", runner=name, line=line),
        on_news=lambda news: voice.info(
            f"local runner {news.change}", runner=news.part, said=news.sentence or "nothing"
        ),
    )
