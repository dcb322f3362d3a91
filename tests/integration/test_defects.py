"""A mistake of ours in answering a question, at a whole dispatcher with real sockets: it goes on; one in doing what is
wished ends it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn, cast

import httpx2
import pytest

from surveil.answer import Reply, wishes
from surveil.answer.answers import Answers
from surveil.answer.story import Stories
from surveil.client.asking import Client
from surveil.errors import ExitCode, InfrastructureError, SurveilError
from surveil.hands.fulfil import Fulfiller
from surveil.protocol import MESSAGE_BYTES_MAX
from tests.integration.test_dispatcher import dispatching, in_a_loop, local_client, submit
from tests.web.stage import HERE, Stage


def planted(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("planted")


async def planted_later(*_: object, **__: object) -> NoReturn:
    planted()


async def defect_of(client: Client, build: int) -> str:
    """The word that leads to the log."""
    with pytest.raises(InfrastructureError, match="could not answer `story` because of a defect") as caught:
        await client.ask("story", {"build": build})
    (name,) = re.findall(r"defect=([0-9a-f]{8})", str(caught.value))
    return str(name)


@in_a_loop
async def test_a_question_that_fails_by_our_mistake_ends_no_dispatcher_however_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Stories, "story", planted_later)
    monkeypatch.setattr(wishes, "cancel", planted)
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        build = await submit(client)
        names = [await defect_of(client, build) for _ in range(3)]
        with pytest.raises(InfrastructureError, match="could not answer `cancel` because of a defect"):
            await client.ask("cancel", {"build": build})
        assert (await client.ask("build", {"build": build})).body["state"] == "queued", "nothing was changed"
        assert (await client.ask("audit")).body[0]["what"] == "submit", "and nothing was written down"
        assert (await client.ask("token_create", {"role": "runner"})).body["token"], "and wishes are fulfilled"
        ports = (await client.ask("status")).body["ports"]
    assert ports == [{"trouble": "unanswered", "count": 4, "last_from": None}]
    assert len(set(names)) == 1
    told = [each for each in caplog.records if getattr(each, "surveil_keys", {}).get("defect") in names]
    assert len(told) == 1
    assert told[0].exc_info is not None
    assert "planted" in str(told[0].exc_info[1])


@in_a_loop
async def test_an_answer_that_no_message_carries_is_refused_at_once_to_commands_and_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(*_: object) -> Reply:
        return Reply(body="x" * MESSAGE_BYTES_MAX)

    monkeypatch.setattr(Answers, "_listed", endless)
    hours_ms = 3_600_000
    stage = Stage(tmp_path)
    async with dispatching(tmp_path / "data"), local_client(tmp_path / "data") as client:
        with pytest.raises(InfrastructureError, match="an answer to `runners` that no message can carry"):
            await client.ask("runners", patience_ms=hours_ms)
        stage.dispatcher = cast("Any", client)
        transport = httpx2.ASGITransport(app=stage.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=HERE, timeout=hours_ms) as browser:
            answer = await browser.get("/api/v1/runners", headers=stage.token())
    problem = answer.json()
    assert (answer.status_code, problem["exit_code"]) == (500, ExitCode.INFRASTRUCTURE)
    assert problem["detail"].startswith("The dispatcher has an answer to `runners` that no message can carry (")


@in_a_loop
async def test_a_mistake_in_doing_what_is_wished_still_ends_the_dispatcher_before_it_says_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fulfiller, "fulfil", planted_later)

    async def wish() -> None:
        async with dispatching(tmp_path), local_client(tmp_path) as client:
            with pytest.raises(SurveilError):
                await client.ask("token_create", {"role": "runner"}, patience_ms=1_000)

    with pytest.raises(ZeroDivisionError, match="planted"):
        await wish()
