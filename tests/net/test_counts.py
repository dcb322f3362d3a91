"""Trouble at a dispatcher's ports is told in its log, soon and seldom."""

from __future__ import annotations

import asyncio
import logging

import pytest

from surveil.net import server as server_module
from surveil.net.counts import SILENCE_MS, TROUBLES, Alarm, ServerCounts
from surveil.net.keys import make_keys
from tests.net.stage import raw_peer, serving


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, int]]:
    """The numbers of each warning since the last look."""
    found = [vars(record)["surveil_keys"] for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def test_nothing_is_told_of_what_happens_where_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    Alarm(ServerCounts(received=7, sent=7, unsent=1, connections=2, disconnections=1, handshakes=2)).look(0)
    assert told(caplog) == []


@pytest.mark.parametrize("name", TROUBLES)
def test_every_kind_of_trouble_is_told_at_the_first_look_and_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    counts = ServerCounts(received=7)
    setattr(counts, name, 3)
    alarm = Alarm(counts)
    alarm.look(0)
    assert told(caplog) == [{name: 3}]
    alarm.look(2 * SILENCE_MS)
    assert told(caplog) == []


def test_whoever_knocks_all_day_is_told_of_once_a_minute_with_how_often(caplog: pytest.LogCaptureFixture) -> None:
    counts = ServerCounts()
    alarm = Alarm(counts)
    for second in range(125):
        counts.handshakes_failed += 1
        alarm.look(second * 1_000)
    assert told(caplog) == [{"handshakes_failed": 1}, {"handshakes_failed": 60}, {"handshakes_failed": 60}]


def test_a_key_that_nobody_knows_is_in_the_dispatchers_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WATCH_MS", 50)

    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, make_keys()):
                await stage.gather(lambda _: bool(caplog.records))
        [numbers] = told(caplog)
        assert list(numbers) == ["handshakes_failed"]

    asyncio.run(scene())
