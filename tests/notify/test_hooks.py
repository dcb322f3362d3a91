"""Messages to webhooks on loopback, in each of their moods."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from surveil.calling import ANSWER_BYTES_MAX, Caller
from surveil.core.outbox import Fate, Outcome
from surveil.notify.channel_rules import HookRule
from surveil.notify.channels import Envelope
from surveil.notify.chats import discord, slack
from surveil.notify.hooks import Hook, signed
from surveil.notify.rules import load_rules
from surveil.notify.wording import trial
from tests.corpora.naughty import NAUGHTY
from tests.forge.played import Mood, PlayedForge
from tests.notify.test_letter import EVIL, about

NOW = 1_750_000_000_000
ROOT = Path(__file__).parent.parent.parent
SECRET = "c3VydmVpbC1pcy1oZXJlLWZvci15b3U="
KINDS = ("slack", "discord", "webhook")


def carry(folder: Path, url: str, kind: Any = "webhook", secret: str = SECRET) -> Outcome:
    (folder / "url").write_text(url + "\n")
    (folder / "secret").write_text(secret + "\n")
    rule = HookRule(kind=kind, url="", url_file=folder / "url", secret_file=folder / "secret", private=False)

    async def ask() -> Outcome:
        async with Caller() as caller:
            hook = Hook(rule, caller=caller, cluster="c1", channel="team", now=lambda: NOW)
            return await hook.carry(trial("team"), Envelope(id="build-7", made_at=NOW - 1000))

    return asyncio.run(ask())


def test_a_program_gets_what_happened_and_can_tell_that_it_was_us(
    tmp_path: Path, forge: PlayedForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert carry(tmp_path, forge.url + "/hook").fate is Fate.DELIVERED
    first, second = forge.told
    assert first.document == {
        "type": "test",
        "timestamp": "2025-06-15T15:06:39.000Z",
        "data": {"title": "Test: surveil can tell team", "event": "test", "channel": "team"},
    }
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    [recipe] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/how-to/notifications.md").read_text(), re.DOTALL)
    known: dict[str, Any] = {}
    exec(recipe, known)
    monkeypatch.setattr(known["time"], "time", lambda: NOW / 1000)
    body = json.dumps(first.document).encode()
    good = known["is_from_surveil"]
    assert good(SECRET, first.headers, body)
    assert not good(SECRET, first.headers, body + b" ")
    assert not good(SECRET, first.headers | {"webhook-id": "msg_other"}, body)
    assert not good(SECRET, first.headers | {"webhook-timestamp": str(NOW // 1000 + 1)}, body)
    assert not good(SECRET.replace("c3", "d3"), first.headers, body)
    monkeypatch.setattr(known["time"], "time", lambda: NOW / 1000 + 301)
    assert not good(SECRET, first.headers, body), "it is too old"


def test_what_is_signed_is_as_the_standard_has_it() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks, in its specification.
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )  # fmt: skip
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        (Mood(status=204, body=b""), (Fate.DELIVERED, 0)),
        (Mood(status=429, headers=(("Retry-After", "7"),)), (Fate.UNAVAILABLE, 7000)),
        (Mood(status=429), (Fate.UNAVAILABLE, 60_000)),
        (Mood(status=503), (Fate.UNAVAILABLE, 0)),
        (Mood(status=404, body=b"no_service"), (Fate.UNAVAILABLE, 0)),
        (Mood(status=302, headers=(("Location", "http://127.0.0.1:1/"),)), (Fate.UNAVAILABLE, 0)),
        (Mood(status=400, body=b"invalid_payload"), (Fate.REFUSED, 0)),
        (Mood(cut=True, body=b""), (Fate.UNAVAILABLE, 0)),
        (Mood(status=500, body=b"x" * 2 * ANSWER_BYTES_MAX), (Fate.UNAVAILABLE, 0)),
    ],
)
def test_what_a_server_says_decides_when_it_is_asked_again(
    tmp_path: Path, forge: PlayedForge, kind: str, mood: Mood, expected: tuple[Fate, int]
) -> None:
    forge.moods = [mood]
    outcome = carry(tmp_path, forge.url + "/services/T0/B0/hush-hush", kind)
    assert (outcome.fate, outcome.again_ms) == expected
    assert "hush-hush" not in outcome.reason
    assert len(outcome.reason) < 300
    assert len(forge.told) == 1, "nobody is led elsewhere"


@pytest.mark.parametrize(
    ("url", "secret", "said"),
    [
        ("http://hooks.example.org/x", SECRET, "use https"),
        ("https://169.254.169.254/latest", SECRET, "where no server of others is"),
        ("https://10.0.0.1/x", SECRET, "in a network of your own"),
        ("", SECRET, "does not hold the webhook's address"),
        ("http://127.0.0.1:1/x", "hush!", "is no base64"),
        ("http://127.0.0.1:1/x", "aHVzaA==", "too short"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path: Path, url: str, secret: str, said: str) -> None:
    outcome = carry(tmp_path, url, secret=secret)
    assert outcome.fate is Fate.UNAVAILABLE
    assert said in outcome.reason


def test_chats_show_no_marks_and_no_links_but_ours() -> None:
    for text in (
        *EVIL,
        *NAUGHTY,
        "<!channel> <@U1> <https://evil.example|ci>",
        "@everyone [ci](https://evil.example) ```",
    ):
        message = about(text)
        form = slack(message)
        found = [block["text"]["text"] for block in form["blocks"] if block["text"]["type"] == "mrkdwn"] + [
            form["text"]
        ]
        for marked in re.findall(r"<[^>]*>?", "".join(found)):
            assert marked.startswith("<https://ci.example.org/")
        assert all(len(each) <= 3000 for each in found)
        assert len(form["blocks"][0]["text"]["text"]) <= 150
        [embed] = discord(message)["embeds"]
        assert discord(message)["allowed_mentions"] == {"parse": []}
        assert len(embed["title"]) <= 256
        assert embed["fields"]
        shown = [embed["title"], embed["description"], *(field["name"] for field in embed["fields"])]
        shown += [re.sub(r"```.*?```", "", field["value"], flags=re.DOTALL) for field in embed["fields"]]
        for link in re.findall(r"(?<!\\)\]\((.*?)\)", "".join(shown)):
            assert link.startswith("https://ci.example.org/")
        assert all(0 < len(field["value"]) <= 1024 and 0 < len(field["name"]) <= 256 for field in embed["fields"])
        assert all(field["value"].count("```") in {0, 2} for field in embed["fields"])


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_are_read_from_the_rules(tmp_path: Path, kind: str) -> None:
    text = f'[[{kind}]]\nurl_file = "u"\nprivate = true\n' + ('secret_file = "s"\n' if kind == "webhook" else "")
    (tmp_path / "notify.toml").write_text(text)
    [rule] = load_rules(tmp_path / "notify.toml").channels
    secret = tmp_path / "s" if kind == "webhook" else Path()
    assert rule.name == kind
    assert isinstance(rule.way, HookRule)
    assert rule.way.kind == kind
    assert rule.way == HookRule(kind=rule.way.kind, url="", url_file=tmp_path / "u", secret_file=secret, private=True)
