"""The way of a commit's objects from an observer that has them to a runner, or a client, that cannot get them itself.

What belongs here: who may ask for what, and whom the question and the answer go to; and since it is known here who
watches what, whom a hint goes to that something moved. What does not: packs (`mirror`), making them (`supplying`),
asking for them (`execute.transfer.supply`).

Nothing is kept of a transfer: the runner asks piece by piece, and repeats what is not answered. All that is known here
is which observer watches what, and on which connection a runner asked last; both are learnt again after a restart.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from surveil.answer import WAIT_MS_MAX
from surveil.core.spelling import quoted
from surveil.core.state import State
from surveil.errors import NotFoundError
from surveil.frozen import dataclass, replace
from surveil.mirror.place import place_of
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import LookNow, Message, Pack, Refused, Want, Watching
from surveil.say import Voice

OBSERVERS_MAX: Final = 1_000
ASKERS_MAX: Final = 10_000
"""So many are remembered; whoever was silent longest is forgotten first, and known again at its next word."""
HINTS_MAX: Final = 1_000
"""So many hints wait for an observer; each costs one look, whenever it comes, so none of them grows old."""
ABSENT_RETRY_MS: Final = 2_000
"""How long a runner should wait for an observer to come back before it asks again."""
COPIED: Final = (
    "another observer speaks with this one's key: its data folder was copied to another machine; commits of both are "
    "taken, but runners are supplied from one of them only; give each its own: make a token with "
    "'surveil token create --role observer', and type 'surveil observer --join TOKEN --data NEW_FOLDER REPO ...'"
)

FOR_CLIENTS: Final = "-" * 40
"""Stands in the place of a runner's key where a client wants a piece, whom we answer ourselves."""

Value = TypeVar("Value")
voice = Voice("relay")


@dataclass(frozen=True, slots=True)
class _Watcher:
    """An observer's connection, and the repositories that it watches. `birth` is its process's, `before` that of the
    process which spoke with the same key before it. One that `looks` can be told to; `places` are then where its
    repositories are, by their names.
    """

    route: Route
    repos: frozenset[str]
    looks: bool
    places: Mapping[str, str | None]
    birth: int
    before: int | None


class Relay:
    """Passes on `Want` and `Pack`. `state` says which attempts a runner holds; `reply` says something on a route;
    `on_refused` hears of a runner that asks for what is none of its business.
    """

    def __init__(
        self, state: State, reply: Callable[[Route, Message], bool], on_refused: Callable[[Sender], object]
    ) -> None:
        self._state = state
        self._on_refused = on_refused
        self._reply = reply
        self._watchers: OrderedDict[str, _Watcher] = OrderedDict()
        self._askers: OrderedDict[str, Route] = OrderedDict()
        self._hints: OrderedDict[str, bool] = OrderedDict()
        """Places that nobody could be told to look at."""
        self._clients: dict[tuple[int, int], list[asyncio.Future[Pack]]] = {}
        """Who waits for the piece of this transfer, from this byte on."""

    def watching(self, received: Received, said: Watching) -> None:
        """Learn what an observer watches, and on which connection.

        A process that speaks again after another one with its key did is no earlier start: there are two of them.
        Their facts do no harm, because they are the same by name, but both are told.
        """
        key, before = received.peer.key, None
        known = self._watchers.get(key)
        if known is not None:
            before = known.before if known.birth == said.birth else known.birth
            if known.birth != said.birth and known.before == said.birth:
                voice.warning("two observers have one key: a data folder was copied", observer=received.peer.name)
                for route in (known.route, received.route):
                    self._reply(route, Refused(reason=COPIED))
        repos = frozenset(watched.repo for watched in said.repos)
        # It is said every minute, and hardly ever differs.
        same = known if known is not None and known.repos == repos else None
        places = {repo: place_of(repo) for repo in repos} if same is None else same.places
        watcher = _Watcher(received.route, repos, said.looks, places, said.birth, before)
        _remember(self._watchers, key, watcher, OBSERVERS_MAX)
        if watcher.looks and self._hints:
            hinted = [(name, where) for name, where in places.items() if where is not None and where in self._hints]
            # One that could not be told after all goes on waiting.
            for where in [where for name, where in hinted if self._reply(watcher.route, LookNow(repo=name))]:
                self._hints.pop(where, None)

    def look(self, repo: str) -> int:
        """Have all who watch this repository, by whatever address, look at it now; how many there are.

        Raises:
            NotFoundError: nobody who could be told does; the first who comes and does is told then.
        """
        place = place_of(repo)
        told = 0
        for watcher in self._watchers.values():
            theirs = [] if place is None else [name for name, where in watcher.places.items() if where == place]
            words = [self._reply(watcher.route, LookNow(repo=name)) for name in theirs if watcher.looks]
            told += any(words)
        if not told:
            if place is not None:
                _remember(self._hints, place, True, HINTS_MAX)
            raise NotFoundError(
                f"No observer that is connected watches {quoted(repo)}; one that comes and does looks at once. "
                "`surveil status` lists what is watched; start `surveil up` or `surveil observer` with more."
            )
        return told

    def take_wants(self, received: list[Received]) -> list[Received]:
        """Pass on what runners ask for, and return what is left: their output."""
        left = []
        for item in received:
            if isinstance(item.message, Want):
                self._ask(item, item.message)
            else:
                left.append(item)
        return left

    def answer(self, pack: Pack) -> None:
        """Pass an observer's answer on to whoever asked; what nobody asked for is dropped."""
        if pack.runner == FOR_CLIENTS:
            for waiting in self._clients.get((pack.id, pack.at), ()):
                if not waiting.done():
                    waiting.set_result(pack)
            return
        route = self._askers.get(pack.runner)
        if route is not None:
            self._reply(route, pack)

    async def bring(self, want: Want, wait_ms: int) -> Pack | None:
        """A piece for a client, who may have any commit that was built; None where none came in time."""
        asked = replace(want, runner=FOR_CLIENTS)
        if not any(self._reply(watcher.route, asked) for watcher in self._watchers_of(want)):
            return Pack(id=want.id, runner=FOR_CLIENTS, at=want.at, problem=_absent(want), retry_ms=ABSENT_RETRY_MS)
        place = (want.id, want.at)
        waiting: asyncio.Future[Pack] = asyncio.get_running_loop().create_future()
        self._clients.setdefault(place, []).append(waiting)
        try:
            async with asyncio.timeout(min(wait_ms, WAIT_MS_MAX) / 1000):
                return await waiting
        except TimeoutError:
            return None
        finally:
            self._clients[place].remove(waiting)
            if not self._clients[place]:
                del self._clients[place]

    def _ask(self, received: Received, want: Want) -> None:
        runner = received.peer.key
        if not self._may_have(runner, want):
            known = self._state.runners.get(runner)
            if known is not None and not known.online:
                # Its two connections come back in any order: what it holds is known when it has said so on the other.
                self._deny(received, want, "the dispatcher does not know yet what this runner holds", ABSENT_RETRY_MS)
                return
            self._on_refused(received.peer)
            problem = "the dispatcher gives a commit only to a runner that holds an attempt of it now"
            self._deny(received, want, problem, retry_ms=0)
            return
        _remember(self._askers, runner, received.route, ASKERS_MAX)
        asked = replace(want, runner=runner)
        if not any(self._reply(watcher.route, asked) for watcher in self._watchers_of(want)):
            self._deny(received, want, _absent(want), retry_ms=ABSENT_RETRY_MS)

    def _may_have(self, runner: str, want: Want) -> bool:
        """Whether the runner holds an attempt of this commit now."""
        for attempt in self._state.attempts_of(runner):
            job = self._state.jobs.get(attempt.job)
            build = self._state.builds.get(job.build) if job else None
            if build is not None and (build.repo, build.sha) == (want.repo, want.sha):
                return True
        return False

    def _watchers_of(self, want: Want) -> list[_Watcher]:
        """The observers to try, in an order that stays while the transfer does and that another transfer changes."""
        found = [self._watchers[key] for key in sorted(self._watchers) if want.repo in self._watchers[key].repos]
        first = want.id % len(found) if found else 0
        return found[first:] + found[:first]

    def _deny(self, received: Received, want: Want, problem: str, retry_ms: int) -> None:
        """Not by `Refused`, which names no transfer: the runner could not tell what is refused."""
        pack = Pack(id=want.id, runner=received.peer.key, at=want.at, problem=problem[:4096], retry_ms=retry_ms)
        self._reply(received.route, pack)


def _absent(want: Want) -> str:
    return f"no observer of {want.repo} is connected to the dispatcher"


def _remember(table: OrderedDict[str, Value], key: str, value: Value, most: int) -> None:
    table[key] = value
    table.move_to_end(key)
    if len(table) > most:
        table.popitem(last=False)
