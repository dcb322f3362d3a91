"""Messages to services by the Apprise library, which is asked in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from surveil.core.outbox import Fate, Outcome
from surveil.errors import InvalidError
from surveil.notify import apprising
from surveil.notify.apprise_once import REMARK_CHARACTERS_MAX, Remarks
from surveil.notify.apprising import Apprised, body_of, covered, inert
from surveil.notify.carriers import opened_carrier
from surveil.notify.channel_rules import AppriseRule, ChannelRule
from surveil.notify.channels import Envelope
from surveil.notify.rules import load_rules
from surveil.notify.wanting import Wanted
from surveil.notify.wording import Message, trial
from tests.forge.played import Mood, PlayedForge
from tests.notify.test_letter import about

NOW = 1_750_000_000_000


def carry(folder: Path, url: str, message: Message | None = None, patience_s: float = 60) -> Outcome:
    (folder / "url").write_text(url + "\n")
    carrier = Apprised(folder / "url", patience_s=patience_s)
    return asyncio.run(carrier.carry(message or trial("team"), Envelope(id="build-7", made_at=NOW)))


def address(forge: PlayedForge, path: str = "/hush-hush") -> str:
    return forge.url.replace("http://", "json://") + path


def those_that_ask() -> list[int]:
    return [
        each.pid for each in psutil.Process().children(recursive=True) if "apprise_once" in " ".join(each.cmdline())
    ]


def test_a_service_gets_the_message_as_text_that_calls_nobody(tmp_path: Path, forge: PlayedForge) -> None:
    message = about("@everyone <!channel> [ci](https://evil.example)")
    assert carry(tmp_path, address(forge), message) == Outcome(fate=Fate.DELIVERED)
    [told] = forge.told
    assert told.path == "/hush-hush"
    assert told.document["type"] == {"broken": "failure"}.get(message.event)
    assert told.document["title"] == inert(message.title)
    assert told.document["message"] == body_of(message)
    assert message.link in told.document["message"]
    shown = told.document["title"] + told.document["message"]
    assert "everyone" in shown
    assert not [each for each in ("@everyone", "<!channel", "](https") if each in shown]


def test_an_event_has_the_kind_that_services_colour(tmp_path: Path, forge: PlayedForge) -> None:
    assert carry(tmp_path, address(forge)).fate is Fate.DELIVERED
    assert forge.told[0].document["type"] == "info"
    assert forge.told[0].document["title"] == "Test: surveil can tell team"


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (503, Fate.UNAVAILABLE),
        (401, Fate.UNAVAILABLE),
        (404, Fate.UNAVAILABLE),
        (400, Fate.REFUSED),
        (413, Fate.REFUSED),
    ],
)
def test_what_a_service_answers_decides_whether_others_wait(
    tmp_path: Path, forge: PlayedForge, status: int, fate: Fate
) -> None:
    forge.moods = [Mood(status=status)] * 5
    outcome = carry(tmp_path, address(forge))
    assert outcome.fate is fate
    assert f"error={status}" in outcome.reason
    assert "hush" not in outcome.reason


def test_an_address_that_is_none_is_said_without_being_shown(tmp_path: Path) -> None:
    outcome = carry(tmp_path, "nonsense://hush-hush")
    assert outcome.fate is Fate.UNAVAILABLE
    assert outcome.reason == "Apprise knows no service by this address: `apprise --details` lists all"
    (tmp_path / "url").unlink()
    missing = asyncio.run(Apprised(tmp_path / "url").carry(trial("team"), Envelope(id="b", made_at=NOW)))
    assert missing.fate is Fate.UNAVAILABLE
    assert "an address of Apprise cannot be read" in missing.reason


def test_a_service_that_hangs_is_left_after_a_while_with_nothing_of_it_going_on(
    tmp_path: Path, forge: PlayedForge
) -> None:
    forge.moods = [Mood(hang_s=60)]
    # The library itself would wait for longer.
    outcome = carry(tmp_path, address(forge) + "?rto=600", patience_s=4)
    assert outcome == Outcome(fate=Fate.UNAVAILABLE, reason="Apprise was not done within 4 s")
    assert those_that_ask() == []


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit(3)", "Apprise ended without a word"),
        ("print('no answer at all')", "Apprise ended without a word"),
        ("print('x' * 1_000_000)", "Apprise ended without a word"),
        ("print('[]')", "Apprise ended without a word"),
        ('print(\'{"took": false, "remarks": []}\')', "the service did not take it"),
        ("import os, time; print('{}', flush=True); os.close(1); time.sleep(60)", "Apprise ended without a word"),
    ],
)
def test_whatever_becomes_of_the_process_is_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.setattr(apprising, "_COMMAND", (sys.executable, "-c", program))
    outcome = carry(tmp_path, "json://127.0.0.1:1/hush-hush")
    assert outcome.fate is Fate.UNAVAILABLE
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("does", "answer", "said"),
    [
        ("import time; time.sleep(40)", "none at all", "ended without a word"),
        ("import time; time.sleep(40)", "", "was not done within"),
        ("while True: print('x' * 1_000_000)", "", "ended without a word"),
    ],
)
def test_nobody_waits_for_what_a_service_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, answer: str, said: str
) -> None:
    """It has a session of its own, so that it lives on, with the pipes of whoever started it."""
    note = tmp_path / "started"
    program = (
        "import pathlib, subprocess, sys, time\n"
        f"started = subprocess.Popen([sys.executable, '-c', {does!r}], start_new_session=True)\n"
        f"pathlib.Path({str(note)!r}).write_text(str(started.pid))\n"
        f"print({answer!r}, end={answer and chr(10)!r}, flush=True)\n"
        "time.sleep(60)"
    )
    monkeypatch.setattr(apprising, "_COMMAND", (sys.executable, "-c", program))
    patience_s = 2.0 if "not done" in said else 60.0
    outcome = carry(tmp_path, "json://127.0.0.1:1/hush-hush", patience_s=patience_s)
    while not (note.exists() and note.read_text()):  # This machine is slow.
        patience_s *= 2
        outcome = carry(tmp_path, "json://127.0.0.1:1/hush-hush", patience_s=patience_s)
    started = int(note.read_text())
    try:
        assert said in outcome.reason
        assert psutil.pid_exists(started) or "sleep" not in does
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(started, signal.SIGKILL)


def test_what_the_library_prints_is_no_answer(tmp_path: Path, forge: PlayedForge) -> None:
    """Here a service prints what an answer looks like, and raises with its name in the sentence."""
    plugin = tmp_path / "sitecustomize.py"
    plugin.write_text(
        "import logging\n"
        "from apprise.plugins.custom_json import NotifyJSON\n"
        "def send(self, **_):\n"
        "    print('{\"took\": true}')\n"
        "    raise RuntimeError('hush-hush is my name')\n"
        "NotifyJSON.send = send\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        outcome = carry(tmp_path, address(forge))
    assert outcome.fate is Fate.UNAVAILABLE
    assert "hush" not in outcome.reason
    assert forge.told == []


def test_pieces_of_an_address_are_covered_wherever_they_stand() -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdn%20lazkc?to=%23general"
    said = covered("slack: t1jj3t3l2 and TIiajkdn lazkc (TIiajkdn%20lazkc) did not take it for general", url)
    assert said == "slack: *** and *** (***) did not take it for ***"


def test_a_remark_that_is_cut_ends_before_a_word_that_may_be_a_secret() -> None:
    remarks = Remarks()
    for text in (f"{'x' * (REMARK_CHARACTERS_MAX - 8)} hush-hush is not let in", "short"):
        remarks.emit(logging.makeLogRecord({"msg": text, "levelno": logging.WARNING}))
    assert remarks.said == ["x" * (REMARK_CHARACTERS_MAX - 8), "short"]


def test_a_table_names_the_file_with_the_address(tmp_path: Path) -> None:
    (tmp_path / "notify.toml").write_text('[[apprise]]\nurl_file = "u"\nevents = ["fixed"]\n')
    [rule] = load_rules(tmp_path / "notify.toml").channels
    assert rule.name == "apprise"
    assert rule.way == AppriseRule(url_file=tmp_path / "u")
    (tmp_path / "notify.toml").write_text('[[apprise]]\nurl = "json://h/"\n')
    with pytest.raises(InvalidError, match="`url_file` is missing"):
        load_rules(tmp_path / "notify.toml")


def test_without_the_library_a_sentence_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    rule = ChannelRule(name="phones", wanted=Wanted(), way=AppriseRule(url_file=tmp_path / "u"))

    async def opened() -> None:
        async with AsyncExitStack() as stack:
            await opened_carrier(rule, "c1", lambda: NOW, stack)

    with pytest.raises(InvalidError) as raised:
        asyncio.run(opened())
    assert str(raised.value) == (
        "phones cannot be told: apprise is not installed; type `pip install 'surveil[apprise]'`."
    )


def test_a_wish_is_no_argument_of_any_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody on the machine reads arguments and, of the same user, environments."""
    program = "import json, os, sys; print(json.dumps({'took': False, 'remarks': [str(sys.argv) + str(os.environ)]}))"
    monkeypatch.setattr(apprising, "_COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(apprising, "covered", lambda text, _: text)
    monkeypatch.setattr(apprising, "SAID_CHARACTERS_MAX", 100_000)
    monkeypatch.setenv("SURVEIL_JOIN", "svl1.hush")
    outcome = carry(tmp_path, "json://127.0.0.1:1/hush-hush")
    assert "PATH" in outcome.reason
    assert "hush" not in outcome.reason
    assert json.dumps("hush") not in outcome.reason
