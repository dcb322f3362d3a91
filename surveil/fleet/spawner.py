"""Keeps a number of runners on this machine: what `up` and `dispatcher --spawn N` do where no other machine helps.

What belongs here: how a local runner is started, enrolled and replaced. What does not: what a runner does, and which
job it gets.

Runner number K lives in `runners/local-K` of the data folder and keeps its key there, so it needs a token only once. A
job in progress does not notice that its runner is replaced: its keeper holds on to it, and the next runner of the same
folder takes over.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from surveil.config import RUNNERS_MAX
from surveil.fleet.child import surveil_command
from surveil.fleet.enrolling import WORTH_ANOTHER_TRY, Enrolment
from surveil.fleet.supervise import News, Part, Supervisor
from surveil.places import RUNNERS

NOW: Final = (signal.SIGINT, signal.SIGINT)
"""To a runner, the second Ctrl-C means: stop at once, and the jobs with you."""
DETACH: Final = (signal.SIGTERM,)
"""To a runner: go, and let the jobs go on under their keepers."""


def _ignore(*_: object) -> None:
    return


class Spawner:
    """Keeps `wanted` runners between `run` and `stop`.

    Args:
        wanted: how many, at most `RUNNERS_MAX`.
        data: the folder below which their own folders are made.
        address: where the dispatcher listens, as a runner on this machine reaches it.
        make_token: makes a join token for one runner; what it raises counts as a failed start.
        slots: how many jobs each runs at once; None lets each decide.
        labels: what jobs can ask for, of all of them.
        settings: more of their environment.
        on_line: is given the lines that the runners say, with the runner's name.
        on_news: is told when one starts, ends, or is given up.
    """

    def __init__(
        self,
        wanted: int,
        data: Path,
        address: str,
        make_token: Callable[[], Awaitable[str]],
        slots: int | None = None,
        *,
        labels: Sequence[str] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
        on_line: Callable[[str, str], None] = _ignore,
        on_news: Callable[[News], None] = _ignore,
    ) -> None:
        assert 0 <= wanted <= RUNNERS_MAX, f"{wanted} runners on one machine"
        self._folder = data / RUNNERS
        self._address = address
        self._make_token = make_token
        self._enrolments: dict[str, Enrolment] = {}
        self._flags: tuple[str, ...] = () if slots is None else ("--slots", str(slots))
        self._flags += tuple(word for label in labels for word in ("--label", label))
        self._settings = settings
        self._on_news = on_news
        self._supervisor = Supervisor(on_line=on_line, on_news=self._tell)
        self._parts = [self._part(number) for number in range(1, wanted + 1)]
        for part in self._parts:
            self._supervisor.want(part)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the runners."""
        return tuple(part.name for part in self._parts)

    def pid_of(self, name: str) -> int | None:
        """The process of a runner, or None while it has none."""
        return self._supervisor.pid_of(name)

    async def run(self) -> None:
        """Keep them running until `stop`."""
        await self._supervisor.run()

    async def stop(self, *, end_jobs: bool = False) -> None:
        """End the runners. Their jobs go on and are taken over by the next start, unless `end_jobs` says otherwise."""
        await self._supervisor.stop(self.names, asking=NOW if end_jobs else DETACH)

    def kill(self) -> None:
        """End the runners at once; what becomes of their jobs is up to the jobs' keepers."""
        self._supervisor.kill()

    def _part(self, number: int) -> Part:
        name = f"local-{number}"
        folder = self._folder / name
        flags = ("--data", str(folder), "--name", name, *self._flags)

        enrolment = Enrolment(folder, self._address, self._make_token, self._settings)
        self._enrolments[name] = enrolment
        command = surveil_command("runner", *flags)
        return Part(name=name, command=command, prepare=enrolment.prepare, hopeless=WORTH_ANOTHER_TRY)

    def _tell(self, news: News) -> None:
        self._enrolments[news.part].consider(news)
        self._on_news(news)
