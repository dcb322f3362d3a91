"""Opens the parts of the web role and closes them in order.

What belongs here: opening and closing. What does not: what happens in between (`app`), listening (`serving`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from surveil.answer.answers import Answers
from surveil.answer.kept_files import KeptFiles
from surveil.answer.live import Live
from surveil.answer.outboxes import targets_of
from surveil.client.access import find_access
from surveil.client.asking import Client
from surveil.clock import Clock
from surveil.config import WebConfig
from surveil.core.state import Identity, State
from surveil.frozen import dataclass
from surveil.places import BLOBS, LOGS
from surveil.store import Cluster
from surveil.store.acts import open_book
from surveil.store.blobs import Blobs, FolderBlobs
from surveil.store.bucket import Bucket, where_of
from surveil.store.bucketed import BucketBlobs
from surveil.store.logs import LogStore
from surveil.store.passes import Passes
from surveil.store.shelf import Shelf
from surveil.store.sqlite import open_reader
from surveil.web.books import AllBooks, Books
from surveil.web.hooks.receiving import Receiver
from surveil.web.hooks.secrets import HookSecrets
from surveil.web.metrics.gathering import Gatherer
from surveil.web.providers import Provider
from surveil.web.providers.opening import opened_providers
from surveil.web.submitting import Submitter, submitter_of
from surveil.web.visitors import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the application works with, open."""

    books: Books
    door: Door
    submitter: Submitter
    passes: Passes
    receiver: Receiver
    gatherer: Gatherer
    cluster: str
    providers: Mapping[str, Provider]


@contextlib.asynccontextmanager
async def opened(config: WebConfig) -> AsyncIterator[Parts]:
    """The parts between start and end.

    Raises:
        SurveilError: the dispatcher's data folder cannot be read; the sentence says what to do.
    """
    clock = Clock()
    async with contextlib.AsyncExitStack() as stack:
        reader = open_reader(config.data, database=config.database or "")
        stack.callback(reader.close)
        cluster = await asyncio.to_thread(reader.cluster)
        passes = Passes(config.data)
        stack.callback(passes.close)
        acts = open_book(config.data, now=clock.now(), expected=cluster.epoch > 1)
        stack.callback(acts.close)
        hooks = HookSecrets(config.data, going_on=True)
        stack.callback(hooks.close)
        logs = LogStore(config.data / LOGS)
        stack.callback(logs.close)
        client = await stack.enter_async_context(Client(find_access(config.data, config.dispatcher)))
        answers = Answers(
            reader, logs, _no_memory(cluster, clock), kept=KeptFiles(Shelf(reader.engine), _blobs(config, cluster.id)),
            acts=acts,
        )  # fmt: skip
        books = AllBooks(answers, client, lambda: targets_of(reader, config.data))
        gatherer = Gatherer(books, reader, config.data, clock.now)
        stack.callback(gatherer.close)
        await gatherer.journal.begin()
        providers = await stack.enter_async_context(opened_providers(config.data, config.public_url, clock.now))
        receiver = Receiver(books, hooks, clock.now, cluster=cluster.id)
        stack.callback(receiver.close)
        yield Parts(
            books=books, door=Door(passes, acts, clock.now), submitter=submitter_of(config), passes=passes,
            receiver=receiver, cluster=cluster.id, gatherer=gatherer,
            providers=providers,
        )  # fmt: skip


def _no_memory(cluster: Cluster, clock: Clock) -> Live:
    """There is no memory of a dispatcher here: whatever takes one is asked of it."""
    identity = Identity(cluster=cluster.id, epoch=cluster.epoch, bulk_port=0)
    state = State.load([], identity=identity, next_build=1)
    return Live(cluster=cluster.id, epoch=cluster.epoch, started_at=clock.now(), state=state, now=clock.now)


def _blobs(config: WebConfig, owner: str) -> Blobs:
    where = where_of(config)
    folder = config.data / BLOBS
    return FolderBlobs(folder) if where is None else BucketBlobs(folder, Bucket(where), owner)
