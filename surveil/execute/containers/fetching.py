"""Fetching an image: what it may need, and how far it has come, in a sentence now and then.

What belongs here: reading what engines tell while they fetch. What does not: asking them for it (`engine`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from surveil.core.spelling import format_duration
from surveil.frozen import dataclass, replace

FIRST_S: Final = 5.0
"""What is here by then needs no word."""
EVERY_S: Final = 15.0
LAYERS_MAX: Final = 1_000
_MIB: Final = 1 << 20
_WHOLE: Final = frozenset({"Already exists", "Download complete", "Pull complete"})


@dataclass(frozen=True, slots=True)
class Fetch:
    """How an image is fetched: with which `login`, `user:password`; until somebody has `stopped` it; and who is told.

    Calls are made from the thread that fetches.
    """

    login: bytes = b""
    stopped: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda _: None

    @property
    def credentials(self) -> dict[str, str] | None:
        """The login as engines want it; None where whoever runs this has one of their own."""
        user, _, password = self.login.decode(errors="surrogateescape").strip().partition(":")
        return {"username": user, "password": password} if password else None

    def of(self, image: str, home: str) -> Fetch:
        """The same for an image of a job whose own one is `home`: no other registry than its gets the login."""
        return self if registry_of(image) == registry_of(home) else replace(self, login=b"")


def registry_of(image: str) -> str:
    """The host of the registry of an image's name; empty for the usual one."""
    host, slash, _ = image.partition("/")
    return host if slash and (set(host) & set(".:") or host == "localhost") else ""


class Progress:
    """What has come of an image, by what the engine tells of its layers; one says so to `say` now and then."""

    def __init__(self, name: str, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._say = say
        self._now = now
        self._began = now()
        self._due = self._began + FIRST_S
        self._layers: dict[str, tuple[int, int]] = {}
        self.step = ""
        """What it did last, as the engine calls it."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Something was told."""
        self.step = str(event.get("status") or event.get("stream") or self.step)
        layer, detail = str(event.get("id", "")), event.get("progressDetail") or {}
        current, total = detail.get("current"), detail.get("total")
        if self.step == "Downloading" and isinstance(current, int) and isinstance(total, int):
            if layer in self._layers or len(self._layers) < LAYERS_MAX:
                self._layers[layer] = (current, total)
        elif self.step in _WHOLE and layer in self._layers:
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        now = self._now()
        if now >= self._due:
            self._due = now + EVERY_S
            self._say(self.sentence(now))

    def sentence(self, now: float) -> str:
        """How it stands."""
        lasted = format_duration(round(now - self._began) * 1000)
        total = sum(size for _, size in self._layers.values())
        if not total:
            return f"image {self._name} has been fetched for {lasted}, and is not here yet"
        here = sum(came for came, _ in self._layers.values())
        return f"image {self._name}: {here / _MIB:.0f} of {total / _MIB:.0f} MiB are here after {lasted}"
