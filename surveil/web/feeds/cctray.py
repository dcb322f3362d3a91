"""How branches stand in the words of CCTray (`cc.xml`), which lamps, menus and walls of screens understand.

What belongs here: what those words mean here. What does not: how branches stand (`surveil.answer.outlook`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from surveil.client import VERDICTS
from surveil.frozen import dataclass

_STATUS: Final = {"passed": "Success", "failed": "Failure", "errored": "Exception"}
UNKNOWN: Final = "Unknown"
BUILDING: Final = "Building"
SLEEPING: Final = "Sleeping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One branch of a repository. `build` is its newest one, which a link leads to."""

    name: str
    activity: str
    status: str
    label: str
    at: str
    build: int


def projects_of(repositories: Iterable[Mapping[str, Any]], ref: str | None) -> Iterator[Project]:
    """Each branch of these repositories, or the one that `ref` names."""
    for repository in repositories:
        for each in repository["refs"]:
            short = each["ref"].removeprefix("refs/heads/")
            if ref is None or ref in {each["ref"], short}:
                verdict = each["verdict"]
                yield Project(
                    name=f"{repository['repo']} {short}",
                    activity=SLEEPING if each["state"] in VERDICTS else BUILDING,
                    status=UNKNOWN if verdict is None else _STATUS.get(verdict["state"], UNKNOWN),
                    label="" if verdict is None else str(verdict["build"]),
                    at=each["created_at"] if verdict is None else verdict["at"],
                    build=each["build"],
                )
