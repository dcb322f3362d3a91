"""The list of all targets, and how they are put together for a short run.

A target is a module of its own name, imported at its first use: the engine then watches what that target reads, and
does not have to make everything else ready for it first.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """Something to be fuzzed. `parts` are the modules among which the first byte chooses, if they are several."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    parts: tuple[str, ...]

    def load(self) -> None:
        """Import what it needs."""
        for part in self.parts:
            _module(part)


@functools.cache
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.{name}")


def _alone(name: str) -> Target:
    def check(data: bytes) -> None:
        _module(name).check(data)

    def seeds() -> Iterator[bytes]:
        yield from _module(name).seeds()

    return Target(check, seeds, (name,))


def together(*names: str) -> Target:
    """Several targets in one, for a time that is too short for each of them."""

    def check(data: bytes) -> None:
        _module(names[data[0] % len(names)] if data else names[0]).check(data[1:])

    def seeds() -> Iterator[bytes]:
        for number, name in enumerate(names):
            yield from (bytes([number]) + seed for seed in _module(name).seeds())

    return Target(check, seeds, names)


ALONE: Final = (
    "messages", "minds", "pipelines", "logs", "notes", "archives", "deposits", "commits", "conditions", "records",
    "reports", "screens", "settings", "shown", "words",
)  # fmt: skip
TARGETS: Final[Mapping[str, Target]] = {
    **{name: _alone(name) for name in ALONE},
    "disks": together("archives", "deposits", "logs", "notes"),
    "rest": together(
        "commits", "conditions", "minds", "records", "reports", "screens", "settings", "shown", "words",
    ),
}  # fmt: skip
SHORT: Final = ("messages", "pipelines", "disks", "rest")
"""What `make test` runs; everything is in one of them."""
