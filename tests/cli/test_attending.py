"""What asks a command to end that runs jobs here: Ctrl-C, a terminal that closes, a machine that stops."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from surveil.cli.attending import CANCEL_GRACE_MS, Interrupts, putting_away
from surveil.execute.local import LocalRun


class Running(LocalRun):
    """Notes how it is asked to end."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def cancel(self, grace_ms: int) -> None:
        self.asked.append(grace_ms)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A test that fails must not let a signal end the tests."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_a_command_lets_it_put_away_what_it_made(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), putting_away():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_what_is_started_to_outlive_its_terminal_does() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    running = Running()
    with putting_away(), Interrupts(running).heard():
        os.kill(os.getpid(), signal.SIGHUP)
    assert (running.asked, signal.getsignal(signal.SIGHUP)) == ([], signal.SIG_IGN)


def test_a_job_is_asked_to_end_and_at_once_where_nobody_watches_any_more() -> None:
    running = Running()
    interrupts = Interrupts(running)
    with interrupts.heard():
        os.kill(os.getpid(), signal.SIGINT)
        assert (running.asked, interrupts.words) == ([CANCEL_GRACE_MS], "interrupted")
        os.kill(os.getpid(), signal.SIGTERM)
    gone = Interrupts(running)
    with gone.heard():
        os.kill(os.getpid(), signal.SIGHUP)
    assert (running.asked, gone.words) == ([CANCEL_GRACE_MS, 0, 0], "interrupted, at once")
