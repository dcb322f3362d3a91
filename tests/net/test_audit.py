"""What enrolled peers should not have said is told with their names, soon and seldom."""

from __future__ import annotations

import logging

import pytest

from surveil.core.peers import Peer, Role
from surveil.net import audit
from surveil.net.audit import MALFORMED, MAY_NOT, SILENCE_MS, Audit

MALLORY = Peer(key="m" * 40, role=Role.RUNNER, name="mallory")
EVE = Peer(key="e" * 40, role=Role.OBSERVER, name="eve")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    found = [vars(record)["surveil_keys"] for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def test_where_all_is_well_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Audit().look(0)
    assert told(caplog) == []


def test_each_peer_is_told_of_at_the_first_look_with_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    audited = Audit()
    assert [audited.count(MALLORY, MAY_NOT), audited.count(MALLORY, MAY_NOT), audited.count(EVE, MALFORMED, 3)] == [
        True, False, True,
    ]  # fmt: skip
    audited.look(5)
    assert told(caplog) == [
        {"peer": "mallory", "role": "runner", MAY_NOT: 2},
        {"peer": "eve", "role": "observer", MALFORMED: 3},
    ]


def test_whoever_does_it_all_day_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    audited = Audit()
    for second in range(125):
        audited.count(MALLORY, MAY_NOT)
        audited.look(second * 1_000)
    assert [line[MAY_NOT] for line in told(caplog)] == [1, 60, 60]
    audited.look(None)
    assert [line[MAY_NOT] for line in told(caplog)] == [4]
    audited.look(10 * SILENCE_MS)
    assert told(caplog) == []


def test_whoever_asks_is_told_of_the_worst_since_the_start(caplog: pytest.LogCaptureFixture) -> None:
    audited = Audit()
    audited.count(MALLORY, MAY_NOT)
    audited.count(EVE, MALFORMED, 3)
    audited.look(5)
    audited.count(EVE, MAY_NOT)
    assert audited.worst(9) == [
        ("observer", "eve", {MALFORMED: 3, MAY_NOT: 1}), ("runner", "mallory", {MAY_NOT: 1}),
    ]  # fmt: skip
    assert audited.worst(1) == audited.worst(9)[:1]


def test_no_number_of_peers_fills_the_memory(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PEERS_MAX", 2)
    audited = Audit()
    for name in "abc":
        audited.count(Peer(key=name * 40, role=Role.RUNNER, name=name), MAY_NOT)
    audited.look(0)
    assert [line["peer"] for line in told(caplog)] == ["b", "c"]
    assert [name for _, name, _ in audited.worst(9)] == ["b", "c"]
