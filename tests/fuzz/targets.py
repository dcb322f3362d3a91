"""The list of all targets, and how they are put together for a short run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.fuzz import (
    commits,
    conditions,
    logs,
    messages,
    minds,
    notes,
    pipelines,
    records,
    screens,
    settings,
    shown,
    words,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be fuzzed. `parts` are the targets among which the first byte chooses, if it is several in one."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    parts: tuple[str, ...] = ()


_SINGLE: Final[Mapping[str, Target]] = {
    "messages": Target(messages.check, messages.seeds),
    "minds": Target(minds.check, minds.seeds),
    "pipelines": Target(pipelines.check, pipelines.seeds),
    "logs": Target(logs.check, logs.seeds),
    "notes": Target(notes.check, notes.seeds),
    "commits": Target(commits.check, commits.seeds),
    "conditions": Target(conditions.check, conditions.seeds),
    "records": Target(records.check, records.seeds),
    "screens": Target(screens.check, screens.seeds),
    "settings": Target(settings.check, settings.seeds),
    "shown": Target(shown.check, shown.seeds),
    "words": Target(words.check, words.seeds),
}


def together(*names: str) -> Target:
    """Several targets in one, for a time that is too short for each of them."""

    def check(data: bytes) -> None:
        _SINGLE[names[data[0] % len(names)] if data else names[0]].check(data[1:])

    def seeds() -> Iterator[bytes]:
        for number, name in enumerate(names):
            yield from (bytes([number]) + seed for seed in _SINGLE[name].seeds())

    return Target(check, seeds, names)


TARGETS: Final[Mapping[str, Target]] = {
    **_SINGLE,
    "disks": together("logs", "notes"),
    "rest": together("commits", "conditions", "minds", "records", "screens", "settings", "shown", "words"),
}
ALONE: Final = tuple(_SINGLE)
SHORT: Final = ("messages", "pipelines", "disks", "rest")
"""What `make test` runs; everything is in one of them."""
