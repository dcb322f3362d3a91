"""The clock: it goes on while the machine sleeps, and does not care what people set the wall clock to."""

import time

import pytest

from surveil.clock import Clock, boot_ms


class Machine:
    """A machine whose clocks a test sets: since its start, the same without sleep, and on the wall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.since_boot_ms = 50_000
        self.awake_ms = 40_000
        self.wall_ms = 1_750_000_000_000
        monkeypatch.setattr(time, "clock_gettime_ns", self._read)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.awake_ms * 1_000_000)
        monkeypatch.setattr(time, "time_ns", lambda: self.wall_ms * 1_000_000)

    def _read(self, which: int) -> int:
        return {time.CLOCK_BOOTTIME: self.since_boot_ms, time.CLOCK_MONOTONIC: self.awake_ms}[which] * 1_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_time_asleep_counts(machine: Machine) -> None:
    clock, before = Clock(), boot_ms()
    machine.since_boot_ms += 600_000
    machine.awake_ms += 5
    assert (clock.now(), boot_ms() - before) == (1_750_000_600_000, 600_000)


@pytest.mark.parametrize("wall_ms", [0, 1_750_003_600_000, 1_749_996_400_000, 2**31 * 1000])
def test_a_wall_clock_that_jumps_moves_nothing(machine: Machine, wall_ms: int) -> None:
    clock = Clock()
    machine.wall_ms = wall_ms
    machine.since_boot_ms += 7
    assert clock.now() == 1_750_000_000_007


def test_a_machine_that_lost_its_clock_goes_on_from_what_was_written_down(machine: Machine) -> None:
    machine.wall_ms = 0
    assert Clock(not_before_at=1_700_000_000_000).now() == 1_700_000_000_000
    machine.wall_ms = 1_750_000_000_000
    assert Clock(not_before_at=1_700_000_000_000).now() == 1_750_000_000_000
