"""An installation whose files beside the database are damaged starts, builds, and says so to whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from surveil.answer.auditing import What
from surveil.client.asking import Client
from surveil.config import NotifyConfig, WebConfig
from surveil.net.keys import write_privately
from surveil.net.known import FILE_NAME
from surveil.notify.serving import opened as notifying
from surveil.store import StoreError, hooks, outbox, passes
from surveil.store.acts import FILE, Acts
from surveil.store.sqlite import open_store
from surveil.web.links import note_here
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


@in_a_loop
async def test_pages_and_notifying_go_on_without_what_was_damaged_and_the_dispatcher_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notify.toml").write_text(
        '[[webhook]]\nname = "chat"\nurl = "https://chat.example.org/in"\nsecret_file = "secret"\n'
    )
    write_privately(tmp_path / "secret", b"sixteen characters and more", replace=False)
    for name in (hooks.FILE, outbox.FILE):
        (tmp_path / name).write_bytes(b"no database" * 999)
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        async with opened(WebConfig(data=tmp_path)) as parts, notifying(NotifyConfig(data=tmp_path)) as deliveries:
            assert parts.receiver.secrets.views(0) == []
            assert len(deliveries) == 1
        aside = ["outbox.db.damaged-1", "hooks.db.damaged-1"]
        assert (await client.ask("status")).body["put_aside"] == aside
        copied = (await client.ask("db_backup", {"destination": str(tmp_path / "copy")})).body
        assert {*aside} < {*copied["left_out"]}
    assert "all webhooks are put aside" in caplog.text
    assert "what was still to be told is put aside" in caplog.text


@in_a_loop
async def test_pages_do_not_begin_anew_with_nobody_let_in(tmp_path: Path) -> None:
    rubbish = b"no database" * 999
    async with dispatching(tmp_path), local_client(tmp_path):
        (tmp_path / passes.FILE).write_bytes(rubbish)
        with pytest.raises(StoreError, match=r"web\.db is damaged \(.+\): end what runs on this folder, remove"):
            await opened(WebConfig(data=tmp_path)).__aenter__()
    assert (tmp_path / passes.FILE).read_bytes() == rubbish


@in_a_loop
async def test_a_command_that_begins_a_new_book_says_that_the_one_before_is_missing(tmp_path: Path) -> None:
    async with dispatching(tmp_path), local_client(tmp_path) as client:
        await client.ask("token_create", {"role": "runner"})
        (tmp_path / FILE).unlink()
        note_here(tmp_path, What.HOOK, "lib", now=9)
        assert [act["what"] for act in (await client.ask("audit")).body] == ["hook", "begun"]


@in_a_loop
async def test_so_does_one_in_a_copy_that_has_no_book(tmp_path: Path) -> None:
    for _ in range(2):
        async with dispatching(tmp_path):
            pass
    (tmp_path / FILE).unlink()
    (tmp_path / FILE_NAME).unlink()
    note_here(tmp_path, What.HOOK, "lib", now=9)
    assert [act.what for act in Acts(tmp_path).listed(limit=9)] == ["hook", "begun"]


@in_a_loop
async def test_a_command_beside_a_dispatcher_that_is_only_coming_up_misses_nothing(tmp_path: Path) -> None:
    open_store(tmp_path, now=9).close()
    note_here(tmp_path, What.HOOK, "lib", now=9)
    assert [act.what for act in Acts(tmp_path).listed(limit=9)] == ["hook"]
