"""A dispatcher's desk and an observer's start, for tests with a real connection and real repositories."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from surveil.config import ObserverConfig
from surveil.core.peers import Role
from surveil.hands.observing import opened
from surveil.net.keys import OBSERVER_KEY, write_privately
from surveil.net.known import KnownDispatcher
from surveil.net.traffic import Route
from surveil.observer import Observer
from surveil.places import KEYS
from surveil.protocol import CommitSeen, LookNow, Pack, Seen, Want, Watching
from tests.net.stage import PATIENCE_MS, Stage, serving

PIPELINE = "version: 1\njobs: {test: {steps: [{run: 'true'}]}}\n"


@dataclass
class Desk:
    """The dispatcher's side: what it heard, and whether it acknowledges."""

    stage: Stage
    answers: bool = True
    heard: list[CommitSeen] = field(default_factory=list)
    watching: list[Watching] = field(default_factory=list)
    packs: list[Pack] = field(default_factory=list)
    route: Route | None = None

    async def serve(self) -> None:
        while True:
            for received in (await self.stage.server.receive(20)).control:
                match received.message:
                    case CommitSeen() as message:
                        self.heard.append(message)
                        if self.answers:
                            self.stage.server.reply(received.route, Seen(mid=message.mid, build=1))
                    case Watching() as message:
                        self.watching.append(message)
                        self.route = received.route
                    case Pack() as message:
                        self.packs.append(message)
                    case other:
                        raise AssertionError(f"an observer says no {other}")

    async def hears(self, *shas: str, ref: str = "refs/heads/main") -> CommitSeen:
        """Wait until each of these commits of the ref was reported; the last one's report."""
        await self.until(lambda: {(ref, sha) for sha in shas} <= {(said.ref, said.sha) for said in self.heard})
        return next(said for said in reversed(self.heard) if (said.ref, said.sha) == (ref, shas[-1]))

    async def asks(self, want: Want) -> Pack:
        """Pass a runner's question on to the observer, and wait for its answer."""
        assert self.route is not None
        self.packs.clear()
        assert self.stage.server.reply(self.route, want)
        await self.until(lambda: bool(self.packs))
        return self.packs[0]

    async def hints(self, repo: str) -> None:
        """Tell the observer that something moved."""
        await self.until(lambda: self.route is not None)
        assert self.route is not None
        assert self.stage.server.reply(self.route, LookNow(repo=repo))

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_MS / 1000):
            # Some of what is waited for is a file, which no event of this loop tells of.
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with serving() as stage:
        made = Desk(stage)
        serving_task = asyncio.create_task(made.serve())
        try:
            yield made
        finally:
            serving_task.cancel()
            await asyncio.gather(serving_task, return_exceptions=True)


def configure(
    desk: Desk, data: Path, *repos: str, interval_ms: int | None = 100, refs: tuple[str, ...] = ()
) -> ObserverConfig:
    """A configuration of an observer that is enrolled already."""
    key = data / KEYS / OBSERVER_KEY
    if not key.exists():
        keys = desk.stage.enrol(Role.OBSERVER)
        write_privately(key, keys.secret.encode(), replace=False)
        server_key = desk.stage.server_keys.public
        KnownDispatcher(address=desk.stage.address, server_key=server_key, cluster="c").save(data)
    return ObserverConfig(data=data, repos=repos, refs=refs, interval_ms=interval_ms)


@asynccontextmanager
async def observing(config: ObserverConfig) -> AsyncIterator[Observer]:
    async with opened(config) as parts:
        observer = Observer(parts)
        running = asyncio.create_task(observer.run())
        try:
            yield observer
        finally:
            observer.stop()
            async with asyncio.timeout(PATIENCE_MS / 1000):
                await running


def run(story: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 100))
