"""Trouble at a dispatcher's ports is told in its log, soon and seldom."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from surveil.net import counts as counts_module
from surveil.net import server as server_module
from surveil.net.counts import SILENCE_MS, TROUBLES, Alarm, ServerCounts
from surveil.net.keys import make_keys
from surveil.net.watchdog import handshake_succeeds
from tests.net.stage import raw_peer, serving


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, int | str]]:
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


def test_where_it_came_from_the_last_time_is_told_with_it(caplog: pytest.LogCaptureFixture) -> None:
    counts = ServerCounts()
    counts.note("handshakes_refused", "10.0.0.1")
    counts.note("handshakes_refused", "10.0.0.2")
    counts.note("handshakes_refused", "")
    Alarm(counts).look(0)
    assert told(caplog) == [{"handshakes_refused": 3, "handshakes_refused_from": "10.0.0.2"}]


def test_a_connection_counts_as_foreign_once_it_is_too_old_to_shake_hands(caplog: pytest.LogCaptureFixture) -> None:
    counts = ServerCounts(connections=5, handshakes_done=2, handshakes_broken=1)
    alarm = Alarm(counts)
    alarm.look(0)
    assert [numbers.get("foreign") for numbers in told(caplog)] == [None]
    counts.connections = 9
    alarm.look(SILENCE_MS)
    assert told(caplog) == [{"foreign": 2}]
    # The four new ones shook hands, or were refused; and so did the watchdog.
    counts.connections, counts.handshakes_own = 11, 2
    counts.handshakes_done, counts.handshakes_refused = 7, 1
    alarm.look(2 * SILENCE_MS)
    assert counts.foreign == 2


def test_what_speaks_http_to_a_port_is_in_the_dispatchers_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WATCH_MS", 50)
    monkeypatch.setattr(counts_module, "HANDSHAKE_MS_MAX", 200)

    async def scene() -> None:
        async with serving() as stage:
            with socket.create_connection(("127.0.0.1", stage.server.bulk_port)) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                await stage.gather(lambda _: bool(caplog.records))
        assert told(caplog) == [{"foreign": 1}]

    asyncio.run(scene())


def test_a_dispatcher_that_is_busy_when_it_shakes_hands_with_itself_finds_nobody_foreign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "WATCH_MS", 300)
    monkeypatch.setattr(counts_module, "HANDSHAKE_MS_MAX", 100)
    shaken = 0
    again = asyncio.Event()

    async def shakes_hands(*who: Any, **how: Any) -> bool:
        nonlocal shaken
        alive = await handshake_succeeds(*who, **how)
        shaken += 1
        again.set()
        return alive

    monkeypatch.setattr(server_module, "handshake_succeeds", shakes_hands)

    async def scene() -> None:
        async with serving() as stage:
            await stage.gather(lambda _: shaken == 2)
            again.clear()
            await again.wait()  # Nothing is read, as while much is written.
            await stage.gather(lambda _: shaken == 4)
            assert stage.server.counts.handshakes_own >= 4
            assert stage.server.counts.foreign == 0

    asyncio.run(scene())


def test_a_key_that_nobody_knows_is_in_the_dispatchers_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WATCH_MS", 50)

    async def scene() -> None:
        async with serving() as stage:
            with raw_peer(stage, make_keys()):
                await stage.gather(lambda _: bool(caplog.records))
        [numbers] = told(caplog)
        assert set(numbers) == {"handshakes_refused", "handshakes_refused_from"}
        assert numbers["handshakes_refused_from"] == "127.0.0.1"

    asyncio.run(scene())
