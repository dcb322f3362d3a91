"""Names and measures as people use them.

What belongs here: short words for long things: repositories, refs, commits, times. What does not: where they are
printed, and notations that people also type (`surveil.core.spelling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

SHA_DIGITS: Final = 7


def age(at: str | None, now: datetime | None = None) -> str:
    """How long ago, in one unit: `8 s`, `3 min`, `5 h`, `12 d`. A time of another machine's clock that lies ahead is
    `0 s`.
    """
    if at is None:
        return ""
    ago_ms = int(((now or datetime.now(UTC)) - datetime.fromisoformat(at)).total_seconds() * 1000)
    return span(max(0, ago_ms), coarse=True)


def took(started_at: str | None, finished_at: str | None) -> str:
    """How long something took, or has been going on."""
    if started_at is None:
        return ""
    end = datetime.fromisoformat(finished_at) if finished_at else datetime.now(UTC)
    return span(max(0, int((end - datetime.fromisoformat(started_at)).total_seconds() * 1000)))


def span(duration_ms: int, *, coarse: bool = False) -> str:
    """A duration for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`; `coarse` shows one whole unit."""
    seconds = duration_ms // 1000
    if seconds < 10 and not coarse:  # noqa: PLR2004  # tenths matter only where few seconds do
        return f"{duration_ms // 100 / 10:.1f} s"
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest and not coarse else "")
    return f"{seconds} s"


def at_time(at: str | None) -> str:
    """The time of an instant on this machine's clock, `12:30:45`, with the day where that is not today."""
    if at is None:
        return ""
    here = datetime.fromisoformat(at).astimezone()
    today = here.date() == datetime.now(UTC).astimezone().date()
    return here.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def counted(number: int, one: str, many: str = "") -> str:
    """`1 runner`, `3 runners`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first `most` of them: `a, b and 3 others`."""
    all_names = list(names)
    shown, more = all_names[:most], len(all_names) - most
    return ", ".join(shown) + (f" and {counted(more, 'other')}" if more > 0 else "")


def short_repo(repo: str) -> str:
    """The last part of an address, which is how people call a repository."""
    return repo.rstrip("/").rpartition("/")[2].removesuffix(".git") or repo


def short_ref(ref: str) -> str:
    """A branch's or tag's own name."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


def person(author: str) -> str:
    """The name of a commit's author without the address, where there is one."""
    return author.partition(" <")[0] or author


def first_line(message: str) -> str:
    """The subject of a commit's message."""
    return next(iter(message.splitlines()), "")


def commit_line(build: Mapping[str, Any]) -> str:
    """A build by its repository, ref and commit: `project main 1a2b3c4 Fix the thing`."""
    words = short_repo(build["repo"]), short_ref(build["ref"]), build["sha"][:SHA_DIGITS], first_line(build["message"])
    return " ".join(words).rstrip()


class Waits:
    """What jobs of a build wait for, as news: each reason once for each job."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def news(self, build: Mapping[str, Any]) -> list[str]:
        """What was not said yet: `lint, test: waits for a free slot: 2 of 2 busy`."""
        by_reason: dict[str, list[str]] = {}
        for job in build["jobs"]:
            reason = job["waiting"] if job["state"] in {"queued", "held"} else None
            # Numbers in it may change all the time; what it is about is before the colon.
            key = (job["id"], (reason or "").partition(":")[0])
            if reason and key not in self._said:
                self._said.add(key)
                by_reason.setdefault(reason, []).append(job["name"])
        return [f"{listed(names)}: {reason}" for reason, names in by_reason.items()]


def why(record: Mapping[str, Any]) -> str:
    """The reason of the state of a build, job or attempt: what went wrong, or what it waits for; empty where all is
    well.
    """
    # While it runs, nothing is wrong yet: its reason is then why it was made, or by which rule.
    reason = "" if record["state"] in {"passed", "running"} else record["reason"]
    # What it waits for now says more than why it does not run any more; its attempts tell that.
    return str(record.get("waiting") or reason or "")
