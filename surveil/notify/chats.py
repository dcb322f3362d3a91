"""The forms that messages have for Slack, Discord and programs.

What belongs here: pure functions from messages to documents. What does not: who is asked with them (`hooks`).

Both chats read marks in texts, with which a stranger could call everybody, or lead people elsewhere by a link that
shows another address. So whatever is not ours is escaped, and nobody is ever called by a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from surveil.core.turns import News
from surveil.notify.wording import Message, Section

_BLOCKS_MAX: Final = 45
_SLACK_TEXT_MAX: Final = 2_900
_SLACK_TITLE_MAX: Final = 150
_FIELDS_MAX: Final = 12
_FIELD_NAME_MAX: Final = 250
_FIELD_TEXT_MAX: Final = 1_000
_EMBED_MAX: Final = 5_500
"""Of Discord's 6000 for all of it."""
_COLOURS: Final = {
    News.BROKEN.value: 0xC62828, News.STILL_FAILING.value: 0xC62828, News.FIXED.value: 0x2E7D32,
    News.PASSED.value: 0x2E7D32, News.RUNNER_LOST.value: 0xB26A00,
}  # fmt: skip
_MARKS: Final = re.compile(r"([\\*_~`|>\[\]()#<@-])")


def slack(message: Message) -> dict[str, Any]:
    """For an incoming webhook of Slack; `text` is what notifications show."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": message.title[:_SLACK_TITLE_MAX], "emoji": False}}
    ]
    lead = [_slack(sentence) for sentence in message.sentences]
    if message.link:
        lead.append(f"<{message.link}|Show it>")
    blocks += [_slack_block("\n".join(lead))] if lead else []
    blocks += [_slack_block(_slack_section(section)) for section in message.sections]
    return {"text": _slack(message.title), "blocks": blocks[:_BLOCKS_MAX], "link_names": False, "parse": "none"}


def discord(message: Message) -> dict[str, Any]:
    """For a webhook of Discord."""
    embed: dict[str, Any] = {
        "title": _cut(_discord(message.title), _FIELD_NAME_MAX),
        "description": _cut("\n".join(map(_discord, message.sentences)), _FIELD_TEXT_MAX),
        "color": _COLOURS.get(message.event, 0x607D8B),
        "fields": list(_within(message.sections)),
    }
    if message.link:
        embed["url"] = message.link
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def program(message: Message, at: str) -> dict[str, Any]:
    """For programs: what happened, when, and all about it."""
    return {"type": message.event, "timestamp": at, "data": {"title": message.title, **message.document}}


def _slack_block(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SLACK_TEXT_MAX)}}


def _slack_section(section: Section) -> str:
    title = f"<{section.link}|{_slack(section.title)}>" if section.link else _slack(section.title)
    points = [f"• {_slack(point)}" for point in section.points]
    return "\n".join([title, *points, *_fenced([_slack(line) for line in section.lines], _SLACK_TEXT_MAX // 2)])


def _slack(text: str) -> str:
    """Text for Slack, whose marks of any effect beyond letters begin with `<`."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _within(sections: tuple[Section, ...]) -> Iterator[dict[str, Any]]:
    room = _EMBED_MAX - _FIELD_NAME_MAX - _FIELD_TEXT_MAX
    for section in sections[:_FIELDS_MAX]:
        points = [f"• {_discord(point)}" for point in section.points]
        fenced = _fenced(list(section.lines), _FIELD_TEXT_MAX // 2)
        link = [f"[Show the log]({section.link})"] if section.link else []
        field = {
            "name": _cut(_discord(section.title), _FIELD_NAME_MAX),
            "value": "\n".join([_cut("\n".join([*link, *points]), _FIELD_TEXT_MAX // 2 - 20), *fenced]).strip() or "-",
        }  # fmt: skip
        room -= len(field["name"]) + len(field["value"])
        if room < 0:
            return
        yield field


def _discord(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)


def _fenced(lines: list[str], most: int) -> list[str]:
    """Lines as a program printed them, as many as fit; nothing in them ends the fence."""
    shown: list[str] = []
    for line in lines:
        shown.append(line.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}"))
        most -= len(shown[-1]) + 1
        if most < 0:
            shown.pop()
            break
    return ["```", *shown, "```"] if shown else []


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
