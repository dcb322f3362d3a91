"""Looks at whether a service is ready, with a site of our own: no engine is needed."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from surveil.clock import boot_ms
from surveil.execute.containers.pipes import make_pipes
from surveil.execute.files import ServiceOrder, StepOrder
from surveil.execute.keeper.contained import Contained
from surveil.execute.keeper.endings import End
from surveil.execute.keeper.masking import Forms
from surveil.execute.keeper.offspring import Exit
from surveil.execute.keeper.services import SERVER, Service

PATIENCE_S = 60.0
LOUD = b"x" * (3 * 1024 * 1024) + b"\nthe end\n"


class Site:
    """Runs every step by saying LOUD in a thread, which then ends with `code`."""

    descriptors = ()

    def __init__(self, code: int) -> None:
        self._code = code
        self._ended: dict[int, Exit] = {}
        self._threads: list[threading.Thread] = []

    def open(self) -> None: ...

    def start(self, number: int, _step: StepOrder) -> tuple[int, int]:
        output, inside = os.pipe()
        os.set_blocking(output, False)
        self._threads.append(threading.Thread(target=self._say, args=(number, inside)))
        self._threads[-1].start()
        return number, output

    def _say(self, number: int, inside: int) -> None:
        with open(inside, "wb") as file, contextlib.suppress(BrokenPipeError):
            if number != SERVER:
                file.write(LOUD)
                file.flush()
                self._ended[number] = Exit(code=self._code, signal=0)

    def reap(self, _now: int) -> dict[int, Exit]:
        ended, self._ended = self._ended, {}
        return ended

    def forget(self, number: int) -> None: ...

    def due_at(self) -> None: ...

    def trouble(self) -> str:
        return ""

    def news(self) -> str:
        return ""

    def close(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    order = ServiceOrder(
        name="db", argv=["serve"], env={}, secrets=[], cwd="/", health=["ask"], ports=[], interval_ms=1,
        ready_ms=1_000 if request.param else 60_000, container=str(make_pipes(tmp_path / "pipes")), first_process=0,
        cgroups=[], memory_bytes=0,
        processes=0, image="",
    )  # fmt: skip
    made = Service(order, str(tmp_path / "log"), Forms([]), 0)
    made.site.close()
    made.site = cast("Contained", Site(request.param))
    made.open({})
    yield made
    made.close()


def follow(service: Service) -> None:
    """As its keeper does, which sleeps until there is something to be read."""
    until = time.monotonic() + PATIENCE_S
    while not service.ready and time.monotonic() < until:
        service.take(boot_ms())
        service.look(boot_ms())
        select.select(service.descriptors, [], [], 0.01)


@pytest.mark.parametrize("service", [0], indirect=True)
def test_a_check_may_say_more_than_a_pipe_holds(service: Service) -> None:
    follow(service)
    assert service.ready


@pytest.mark.parametrize("service", [1], indirect=True)
def test_the_last_that_a_check_said_is_told(service: Service) -> None:
    with pytest.raises(End, match="was not ready within 1 s; its check: the end"):
        follow(service)
