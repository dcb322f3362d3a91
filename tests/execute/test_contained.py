"""What a keeper makes of the answers of a container, into which its steps can write as well as its driver."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.execute.containers.pipes import make_pipes
from surveil.execute.files import ServiceOrder
from surveil.execute.keeper.contained import ANSWERS, Contained
from surveil.execute.keeper.offspring import Exit


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[Contained]:
    """One whose first step runs, with nobody at the other end."""
    order = ServiceOrder(
        name="x", argv=[], env={}, secrets=[], cwd="/", health=[], ports=[], interval_ms=1, ready_ms=1,
        container=str(make_pipes(tmp_path / "pipes")), first_process=0, cgroups=[], memory_bytes=0, processes=0,
        image="",
    )  # fmt: skip
    with contextlib.closing(Contained(order)) as found:
        found._running.add(1)  # noqa: SLF001  # as if the driver had begun it
        yield found


def answer(tmp_path: Path, said: bytes) -> None:
    pipe = os.open(tmp_path / "pipes" / ANSWERS, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert os.write(pipe, said) == len(said)
    finally:
        os.close(pipe)


@pytest.mark.parametrize(
    "said",
    [
        b"exit 1 " + b"9" * 5000,
        b"exit " + b"9" * 5000 + b" 0",
        b"exit 1 99999999999999999999999",
        b"exit 1 256",
        b"exit 1 -1",
        "exit 1 \u0661".encode(),
        b"exit \xff 0",
        b"exit 1",
        b"exit 1 0 0",
        b"gone " + b"9" * 5000,
        b"exit 2 0",
        b"\0\n\n",
    ],
)
def test_what_no_driver_says_is_not_heard(contained: Contained, tmp_path: Path, said: bytes) -> None:
    answer(tmp_path, said + b"\n")
    assert contained.reap(0) == {}
    answer(tmp_path, b"exit 1 7\n")
    assert contained.reap(0) == {1: Exit(code=7, signal=0)}
