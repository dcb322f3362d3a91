"""A dispatcher whose book of acts is damaged starts, builds, and says so to whoever asks how it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from surveil.client.asking import Client
from surveil.config import WebConfig
from surveil.store.acts import FILE
from surveil.web.opening import opened
from tests.integration.test_dispatcher import dispatching, in_a_loop, local_client, submit


@in_a_loop
async def test_a_dispatcher_whose_book_is_damaged_goes_on_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        await submit(client)
        assert (await client.ask("status")).body["put_aside"] == []
    (tmp_path / FILE).write_bytes(b"no database" * 999)
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        build = (await client.ask("retry", {"build": await cancelled(client), "mid": "manual:00000002"})).body["build"]
        assert (await client.ask("build", {"build": build})).body["state"] == "queued"
        acts = (await client.ask("audit")).body
        assert [act["what"] for act in acts] == ["retry", "cancel", "begun"]
        assert (acts[-1]["way"], acts[-1]["subject"]) == ("surveil", f"{FILE}.damaged-1")
        assert (await client.ask("status")).body["put_aside"] == [f"{FILE}.damaged-1"]
        copied = (await client.ask("db_backup", {"destination": str(tmp_path / "copy")})).body
        assert copied["left_out"] == [f"{FILE}.damaged-1"]
    assert "who did what before is put aside" in caplog.text


async def cancelled(client: Client) -> int:
    """The one build that there is, over."""
    await client.ask("cancel", {"build": 1})
    return 1


@in_a_loop
async def test_a_book_that_was_taken_away_is_missed(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        assert (await client.ask("audit")).body == []
    (tmp_path / FILE).unlink()
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        (line,) = (await client.ask("audit")).body
    assert (line["what"], line["subject"]) == ("begun", FILE)


@in_a_loop
async def test_a_book_that_was_taken_away_is_missed_by_the_web_role_as_well(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client, opened(WebConfig(data=tmp_path)):
        assert (await client.ask("audit")).body == [], "a new installation has nothing to tell"
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        (tmp_path / FILE).unlink()
        async with opened(WebConfig(data=tmp_path)):
            (line,) = (await client.ask("audit")).body
    assert (line["what"], line["subject"]) == ("begun", FILE)
