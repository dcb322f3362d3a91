"""What came of builds, as an Atom feed (RFC 4287): an entry for each verdict, the newest first.

What belongs here: the entries. What does not: XML (the template).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from surveil.client import VERDICTS
from surveil.frozen import dataclass
from surveil.web.ids import uuid_of

ENTRIES: Final = 50
NOTHING_YET: Final = "1970-01-01T00:00:00Z"
"""When a feed without entries changed last: a feed has to say so, and it is the same each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One build with its verdict. `id` is its for ever, wherever the pages are served."""

    id: str
    build: int
    title: str
    author: str
    updated: str
    text: str


def entries_of(builds: Iterable[Mapping[str, Any]], cluster: str) -> list[Entry]:
    """An entry for each build that is over."""
    return [_entry(build, cluster) for build in builds if build["state"] in VERDICTS][:ENTRIES]


def id_of(cluster: str, chosen: Mapping[str, str | None]) -> str:
    """The id of the feed that shows what was `chosen`."""
    of_all = UUID(uuid_of(0, cluster))
    return uuid5(of_all, "&".join(f"{name}={value}" for name, value in sorted(chosen.items()) if value)).urn


def _entry(build: Mapping[str, Any], cluster: str) -> Entry:
    short = build["ref"].removeprefix("refs/heads/")
    subject = (build["message"] or "").strip().partition("\n")[0]
    reason = f" {build['reason']}." if build["reason"] else ""
    return Entry(
        id=f"urn:uuid:{uuid_of(build['id'], cluster)}",
        build=build["id"],
        title=f"{build['state']}: {_name_of(build['repo'])} {short}" + (f", {subject}" if subject else ""),
        author=build["author"].partition(" <")[0] or "nobody",
        updated=build["finished_at"] or build["created_at"],
        text=f"Build {build['id']} of {build['repo']}, {short}, {build['sha'][:12]}: {build['state']}.{reason}",
    )


def _name_of(repo: str) -> str:
    return str(repo).rstrip("/").rpartition("/")[2].removesuffix(".git") or str(repo)
