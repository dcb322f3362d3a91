"""How things are written on pages.

What belongs here: pure functions from values to short texts. What does not: templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from surveil.screen.words import SHA_DIGITS, age, first_line, person, short_ref, short_repo, span, took, why
from surveil.web.pages.pictures import group_of

NOTABLE_PERCENT: Final = 20
"""A smaller difference from the usual duration is chance."""
SYMBOLS: Final = {
    "passed": "✓",
    "failed": "✗",
    "errored": "!",
    "cancelled": "⊘",
    "skipped": "-",
    "running": "●",
    "assigned": "●",
    "lost": "!",
    "queued": "○",
    "blocked": "○",
    "held": "‖",
}
"""A state is told by a sign and a word as well as by its colour."""
_CODE: Final = re.compile(r"`([^`\n]+)`")


def short_sha(sha: str) -> str:
    """The beginning of a commit's name, as people write it."""
    return sha[:SHA_DIGITS]


def symbol(state: str) -> str:
    """The sign of a state."""
    return SYMBOLS.get(state, "?")


def part(text: str) -> str:
    """A text as one part of an address."""
    return quote(text, safe="")


def lasted(record: Mapping[str, Any]) -> str:
    """How long a build, job or attempt took, or has been going on."""
    return took(record["started_at"], record["finished_at"])


def against(record: Mapping[str, Any], usual_ms: int | None) -> str:
    """How much longer or shorter something took than it usually does; empty where that is nothing to speak of."""
    if record["state"] != "passed" or not usual_ms or not record["started_at"] or not record["finished_at"]:
        return ""
    took_s = datetime.fromisoformat(record["finished_at"]) - datetime.fromisoformat(record["started_at"])
    percent = round((took_s.total_seconds() * 1000 / usual_ms - 1) * 100)
    if abs(percent) < NOTABLE_PERCENT:
        return ""
    if percent > 100:  # noqa: PLR2004  # twice as long
        return f"{percent / 100 + 1:.1f} times as long as usual"
    return f"{abs(percent)} % {'longer' if percent > 0 else 'shorter'} than usual"


def size(size_bytes: int) -> str:
    """A size for people: `512 B`, `3.4 MiB`."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004  # the next unit
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def in_time(at: str | None) -> str:
    """How long until an instant, in one unit."""
    if at is None:
        return ""
    return span(max(0, int((datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds() * 1000)), coarse=True)


def pieces(text: str) -> list[tuple[str, bool]]:
    """A sentence of ours in pieces, each with whether it is code, which stands between two `` ` `` of one line."""
    if "`" not in text:
        return [(text, False)]
    return [(piece, number % 2 == 1) for number, piece in enumerate(_CODE.split(text)) if piece]


FILTERS: Final = {
    "against": against,
    "age": age,
    "duration": span,
    "group": group_of,
    "in_time": in_time,
    "lasted": lasted,
    "first_line": first_line,
    "part": part,
    "pieces": pieces,
    "short_ref": short_ref,
    "short_repo": short_repo,
    "short_sha": short_sha,
    "size": size,
    "symbol": symbol,
    "who": person,
    "why": why,
}
