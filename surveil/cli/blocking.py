"""A dispatcher that can be asked without an event loop.

What belongs here: the bridge between plain functions and `surveil.client`. What does not: questions and answers, and
which dispatcher it is (`connecting`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from surveil.client import Answered, Behalf, LogPiece, following
from surveil.client.access import Access, Site, person_here
from surveil.client.asking import BUSY_MS, Client

if TYPE_CHECKING:
    from surveil.client.over_http import OverHttp

_Result = TypeVar("_Result")


class Dispatcher:
    """`Client`, or `OverHttp`, for code without a loop: the same methods, each of which waits; following yields as
    things come.
    """

    def __init__(self, way: Access | Site) -> None:
        self._way = way
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._client = self._runner.run(_opened(self._way))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._client.__aexit__())
        finally:
            self._runner.close()

    def ask(self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None) -> Answered:
        """See `Client.ask`."""
        return self._wait(self._client.ask(what, about, patience_ms=patience_ms))

    def build(self, build: int) -> dict[str, Any]:
        """See `Client.build`."""
        return self._wait(self._client.build(build))

    def builds(
        self, *, repo: str | None = None, ref: str | None = None, author: str | None = None, limit: int = 20
    ) -> list[dict[str, Any]]:
        """See `Client.builds`."""
        return self._wait(self._client.builds(repo=repo, ref=ref, author=author, limit=limit))

    def story(self, build: int, job: str = "") -> list[dict[str, Any]]:
        """See `Client.story`."""
        return self._wait(self._client.story(build, job))

    def tests(self, build: int, job: str = "") -> dict[str, Any]:
        """See `Client.tests`."""
        return self._wait(self._client.tests(build, job))

    def listed(self, what: str, about: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """See `Client.listed`."""
        return self._wait(self._client.listed(what, about))

    def follow_artifact(self, about: Mapping[str, Any], at: int, size: int) -> Iterator[bytes]:
        """See `following.follow_artifact`."""
        return self._each(following.follow_artifact(self._client, about, at, size))

    def follow_pack(self, job: str, have: Sequence[str]) -> Iterator[bytes]:
        """See `packs.follow_pack`."""
        from surveil.client.packs import follow_pack  # It brings in git.

        return self._each(follow_pack(self._client, job, have))

    def follow_log(
        self, job: str, *, attempt: int | None = None, tail_lines: int | None = None, follow: bool = True
    ) -> Iterator[LogPiece]:
        """See `following.follow_log`."""
        return self._each(
            following.follow_log(self._client, job, attempt=attempt, tail_lines=tail_lines, follow=follow)
        )

    def follow_journal(self, *, after: int = -1, build: int | None = None) -> Iterator[dict[str, Any]]:
        """See `following.follow_journal`."""
        return self._each(following.follow_journal(self._client, after=after, build=build))

    def follow_build(
        self,
        build: int,
        *,
        after: int = 0,
        timeout_ms: int | None = None,
        when_quiet: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """See `following.follow_build`."""
        return self._each(
            following.follow_build(self._client, build, after=after, timeout_ms=timeout_ms, when_quiet=when_quiet)
        )

    def _wait(self, asked: Coroutine[Any, Any, _Result]) -> _Result:
        return self._runner.run(asked)

    def _each(self, items: AsyncIterator[_Result]) -> Iterator[_Result]:
        async def following() -> _Result:
            return await anext(items)

        while True:
            try:
                item = self._runner.run(following())
            except StopAsyncIteration:
                return
            yield item


class Pages:
    """Asks the routes of what the pages at a site keep themselves, between `with` and its end."""

    def __init__(self, site: Site) -> None:
        from surveil.client.over_http import OverHttp

        self._http = OverHttp(site)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._http.__aexit__())
        finally:
            self._runner.close()

    def request(self, method: str, path: str, about: Any = None, *, once: str | None = None) -> Any:
        """See `OverHttp.request`."""
        return self._runner.run(self._http.request(method, path, about, once=once))


async def _opened(way: Access | Site) -> Client | OverHttp:
    client: Client | OverHttp
    if isinstance(way, Site):
        from surveil.client.over_http import OverHttp  # Its library takes a quarter of a second.

        client = OverHttp(way)
    else:
        client = Client(way, busy_ms=BUSY_MS, behalf=Behalf(person=person_here(), way="command"))
    await client.__aenter__()
    return client
