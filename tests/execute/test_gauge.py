"""How much a job wrote: what is counted, how often it is looked, and what is said when it was too much."""

from __future__ import annotations

import os
import select
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from surveil.execute.files import DiskOrder
from surveil.execute.keeper.endings import End
from surveil.execute.keeper.gauge import (
    IDLE_PER_BUSY,
    LATEST_MS,
    SOONEST_MS,
    Gauge,
    Measured,
    count,
    measure,
    over_words,
    pause_ms,
    start_measuring,
)

MIB = 1 << 20
GIB = 1 << 30
LIMIT = 100 * MIB
TRUE = str(shutil.which("true"))


class Bench:
    """A gauge by a clock of ours, of which each measurement finds what stands next in a list."""

    def __init__(self, *finds: Measured | None) -> None:
        self.finds = list(finds)
        self.now = 1_000
        self.began: list[int] = []
        self.said: list[str] = []
        self._told = self._tell = -1
        order = DiskOrder(LIMIT, [], "", "")
        self.gauge = Gauge(order, select.poll(), self.said.append, self._start)

    def _start(self, _: DiskOrder) -> tuple[int, int]:
        self._told, self._tell = os.pipe2(os.O_CLOEXEC)
        self.began.append(self.now)
        return os.posix_spawn(TRUE, [TRUE], {}), self._told

    def finish(self, took_ms: int) -> None:
        """A measurement ends after so long."""
        found = self.finds.pop(0)
        os.write(self._tell, b"" if found is None else "{} {} {} {}".format(*found).encode())
        os.close(self._tell)
        # A program that was just started lets go of its copy a moment later.
        assert select.select([self._told], [], [], 30.0)[0]
        self.now += took_ms
        self.gauge.take(self.now)

    def measured(self, took_ms: int = 10) -> int | None:
        """Look when it is due; how long until the next look."""
        self.now = max(self.now, self.gauge.due_at() or 0)
        self.gauge.begin(self.now)
        self.finish(took_ms)
        due = self.gauge.due_at()
        return None if due is None else due - self.now


def found(folders: int = 0, layer: int = 0, shut: int = 0, trouble: str = "") -> Measured:
    return Measured(folders, layer, shut, trouble)


def test_what_was_there_before_does_not_count_and_both_places_do() -> None:
    bench = Bench(found(5 * GIB, 3 * MIB), found(5 * GIB + 60 * MIB, 3 * MIB), found(5 * GIB + 60 * MIB, 44 * MIB))
    bench.measured()
    assert bench.gauge.written == 0
    bench.measured()
    assert bench.gauge.written == 60 * MIB
    with pytest.raises(End) as raised:
        bench.measured()
    assert (raised.value.outcome, raised.value.reason) == (
        "failed",
        "the job went over its disk limit of 100 MiB: it wrote 101.00 MiB; write less, or raise `disk` of its `image`",
    )


def test_exactly_the_limit_is_no_more_than_it() -> None:
    bench = Bench(found(), found(LIMIT), found(LIMIT + 1))
    bench.measured()
    assert bench.measured() == SOONEST_MS
    with pytest.raises(End, match=r"it wrote 100\.01 MiB"):
        bench.measured()


def test_it_looks_again_by_itself_when_it_is_due_and_not_before() -> None:
    bench = Bench(found(), found())
    pause = bench.measured()
    assert pause == SOONEST_MS
    bench.gauge.take(bench.now + pause - 1)
    assert len(bench.began) == 1
    bench.now += pause
    bench.gauge.take(bench.now)
    assert len(bench.began) == 2
    bench.finish(0)


@pytest.mark.parametrize(
    ("left", "took", "pause"),
    [
        (2 * GIB, 1, 2_048),
        (1 * GIB, 1, 1_024),
        (1 * MIB, 1, SOONEST_MS),
        (-5, 1, SOONEST_MS),
        (1 << 50, 1, LATEST_MS),
        (1 * MIB, 500, 500 * IDLE_PER_BUSY),
        (1 << 50, 5_000, 5_000 * IDLE_PER_BUSY),
    ],
)
def test_the_nearer_the_limit_the_sooner_it_looks_and_never_for_more_than_a_tenth_of_the_time(
    left: int, took: int, pause: int
) -> None:
    assert pause_ms(left, took) == pause


def test_an_engine_that_is_away_for_a_while_leaves_its_last_word() -> None:
    away = found(10 * MIB, 0, 0, "nobody answers")
    bench = Bench(found(), found(0, 90 * MIB), away, found(11 * MIB, 90 * MIB))
    bench.measured()
    bench.measured()
    bench.measured()
    assert bench.gauge.written == LIMIT
    with pytest.raises(End):
        bench.measured()


def test_a_look_that_comes_to_nothing_is_taken_again() -> None:
    bench = Bench(found(), None, found(2 * LIMIT))
    bench.measured()
    assert bench.measured() is not None
    with pytest.raises(End):
        bench.measured()


@pytest.mark.parametrize(
    ("first", "why"), [(found(trouble="it is gone"), "it is gone"), (None, "nobody could count its files")]
)
def test_a_limit_that_cannot_be_kept_is_an_error_before_the_first_step(first: Measured | None, why: str) -> None:
    bench = Bench(first)
    with pytest.raises(End) as raised:
        bench.measured()
    assert (raised.value.outcome, raised.value.reason) == ("errored", f"the job's limit of disk cannot be kept: {why}")


def test_folders_that_are_shut_are_said_once() -> None:
    bench = Bench(found(shut=1), found(shut=1), found(shut=2), found(shut=3))
    for _ in range(2):
        bench.measured()
    assert bench.said == []
    for _ in range(2):
        bench.measured()
    assert bench.said == ["what is in folders that are shut to the runner's user does not count for `disk`"]


def test_a_measurement_that_is_under_way_ends_with_the_gauge() -> None:
    bench = Bench()
    bench.gauge.begin(bench.now)
    bench.gauge.close()
    assert (bench.gauge.busy, bench.gauge.due_at()) == (False, None)


def test_a_system_that_starts_no_process_is_asked_again() -> None:
    answers: list[Callable[[], tuple[int, int]]] = []

    def start(_: DiskOrder) -> tuple[int, int]:
        return answers.pop(0)()

    def refuse() -> tuple[int, int]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    bench = Bench(found())
    gauge = Gauge(DiskOrder(LIMIT, [], "", ""), select.poll(), bench.said.append, start)
    answers += [refuse]
    with pytest.raises(End, match="limit of disk cannot be kept: Resource temporarily unavailable"):
        gauge.begin(0)
    bench.measured()
    bench.gauge._start = start  # noqa: SLF001
    answers += [refuse]
    bench.gauge.begin(bench.now)
    assert bench.gauge.due_at() == bench.now + LATEST_MS


def test_files_are_counted_by_what_they_take_once_each_and_links_are_not_followed(tmp_path: Path) -> None:
    counted, elsewhere = tmp_path / "counted", tmp_path / "elsewhere"
    for folder in (counted / "a" / "b", elsewhere):
        folder.mkdir(parents=True)
    (elsewhere / "large").write_bytes(bytes(64 * MIB))
    before, shut = count([str(counted)])
    (counted / "a" / "b" / "file").write_bytes(os.urandom(8 * MIB))
    (counted / "a" / "again").hardlink_to(counted / "a" / "b" / "file")
    (counted / "a" / "away").symlink_to(elsewhere)
    with (counted / "holes").open("wb") as file:
        file.truncate(1 << 40)
    after, _ = count([str(counted), str(tmp_path / "none")])
    assert shut == 0
    assert 8 * MIB <= after - before < 9 * MIB


def test_what_cannot_be_looked_into_is_counted_as_such(tmp_path: Path) -> None:
    assert count([str(tmp_path / ("n" * 300))]) == (0, 1)


def answering(path: Path, answer: bytes) -> threading.Thread:
    """An engine that answers one question."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        with server, server.accept()[0] as asked:
            assert asked.recv(1 << 16).startswith(b"GET /containers/one/json?size=true HTTP/1.0\r\n")
            asked.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "layer", "why"),
    [
        (b'HTTP/1.0 200 OK\r\nA: b\r\n\r\n{"SizeRw": 77, "SizeRootFs": 1000}', 77, ""),
        (b'HTTP/1.0 200 OK\r\n\r\n{"Id": "x"}', 0, ""),
        (b"HTTP/1.0 404 Not Found\r\n\r\n{}", 0, "it answers 'HTTP/1.0 404 Not Found'"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"SizeRw": "much"}', 0, "it answers 'much'"),
        (b"HTTP/1.0 200 OK\r\n\r\n{", 0, "Expecting property name"),
        (b"HTTP/1.0 200 OK\r\n\r\n3", 0, "it answers None"),
        (b"", 0, "it answers ''"),
    ],
)
def test_the_engine_says_how_large_a_layer_is_or_why_not(tmp_path: Path, answer: bytes, layer: int, why: str) -> None:
    thread = answering(tmp_path / "socket", answer)
    measured = measure(DiskOrder(LIMIT, [], str(tmp_path / "socket"), "one"))
    thread.join()
    assert measured.layer == layer
    assert why in measured.trouble
    assert bool(measured.trouble) == bool(why)


def test_an_engine_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    trouble = measure(DiskOrder(LIMIT, [], str(tmp_path / "socket"), "one")).trouble
    assert trouble.startswith("the container engine does not say what its container wrote: ")


def test_a_process_of_its_own_measures_and_holds_nothing_of_the_keeper(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(MIB))
    waiting = socket.socket(socket.AF_UNIX)
    waiting.bind(str(tmp_path / "socket"))
    waiting.listen()
    ours, theirs = os.pipe()
    try:
        pid, told = start_measuring(DiskOrder(LIMIT, [str(tmp_path)], str(tmp_path / "socket"), "one"))
        with waiting, waiting.accept()[0] as asked:
            os.close(theirs)
            assert os.read(ours, 1) == b"", "it let go of what it had by being a copy of us"
            assert os.getpriority(os.PRIO_PROCESS, pid) == 19
            asked.recv(1 << 16)
            asked.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"SizeRw": 5}')
        words = os.read(told, 1 << 12).split()
        os.close(told)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(ours)
    assert MIB <= int(words[0]) < 2 * MIB
    assert words[1:] == [b"5", b"0"]


def test_words_for_large_limits_are_in_large_units() -> None:
    assert over_words(2 * GIB + 1, 2 * GIB).startswith("the job went over its disk limit of 2 GiB: it wrote 2.01 GiB;")
