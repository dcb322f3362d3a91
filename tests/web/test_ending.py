"""Answers that had begun when what they tell was taken away."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from http.client import HTTPConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import pytest

from surveil.client import Answered
from surveil.protocol import CHUNK_BYTES_MAX
from surveil.web import ending
from surveil.web.books import AllBooks
from tests.web.served import served
from tests.web.stage import PATIENCE_S, Stage

LOG = "/api/v1/builds/1/jobs/test/attempts/1/log"


class Said(logging.Handler):
    """What a server says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_whoever_reads_what_is_taken_away_sees_that_it_is_not_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood in the log as a defect, with a hundred lines for each who read it."""
    stage.desk.log("1/test", 1, b"x" * (3 * CHUNK_BYTES_MAX))
    ask, said, server_says = AllBooks.ask, list[dict[str, Any]](), Said()

    async def taken_away(self: AllBooks, what: str, about: Any = None, **more: Any) -> Answered:
        found: Answered = await ask(self, what, about, **more)
        return Answered(body=found.body, data=b"") if (about or {}).get("at", 0) > CHUNK_BYTES_MAX else found

    monkeypatch.setattr(AllBooks, "ask", taken_away)
    monkeypatch.setattr(ending.voice, "warning", lambda _, **more: said.append(more))
    token = stage.token()
    with served(stage) as server, ExitStack() as stack:
        monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [server_says])
        peer = HTTPConnection(urlsplit(server.address).netloc, timeout=PATIENCE_S)
        stack.callback(peer.close)
        peer.request("GET", LOG, headers=token)
        answer = peer.getresponse()
        assert answer.status == 200
        with pytest.raises(IncompleteRead) as told:
            answer.read()
    assert len(told.value.partial) == 2 * CHUNK_BYTES_MAX
    assert [each["path"] for each in said] == [LOG]
    assert "The log is shorter by now" in said[0]["why"]
    assert [each.exc_info for each in server_says.records if each.exc_info] == []


def test_a_defect_stays_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrong(*_: object, **__: object) -> Answered:
        raise RuntimeError("this is ours")

    monkeypatch.setattr(AllBooks, "ask", wrong)
    assert stage.get(LOG, stage.token()).status_code == 500
