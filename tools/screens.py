"""Takes the pictures of the pages that the documents show: `python -m tools.screens`.

What belongs here: which pages are shown, and how large. What does not: what is on them (`tests.web.world`).

They are taken by hand after a page has changed: a picture differs with each browser and each font, so nothing is
compared with them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import ViewportSize

from surveil.web.visitors import COOKIE
from tests.system.browsing import Seen, browser
from tests.web import world
from tests.web.served import served
from tests.web.stage import Stage

FOLDER: Final = Path(__file__).parent.parent / "docs" / "images"
PAGES: Final = {
    "overview": "/",
    "builds": "/builds",
    "build": "/builds/14",
    "log": "/builds/14/jobs/unit%5Bpython%3D3.12%5D",
    "tests": "/builds/14/tests",
    "history": "/builds/14/tests/history?suite=tests.test_prices&name=test_price_3",
    "story": "/builds/14/story",
    "repositories": "/repositories",
    "artifacts": "/artifacts",
    "runners": "/runners",
    "schedules": "/schedules",
    "audit": "/audit",
    "settings": "/settings",
    "sign-in": "/login?key=a-key-that-works-once",
}
DARK: Final = frozenset({"build", "log"})
"""Shown in the dark as well."""
ON_A_PHONE: Final = frozenset({"overview", "log", "settings"})
SCREEN: Final[ViewportSize] = {"width": 1000, "height": 640}
PHONE: Final[ViewportSize] = {"width": 360, "height": 640}


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="surveil-screens-") as folder:
        stage = Stage(Path(folder))
        world.furnish(stage)
        stage.now = stage.desk.now = time.time_ns() // 1_000_000
        with served(stage) as server, browser() as seen:
            cookie = {"name": COOKIE, "value": stage.session("admin"), "url": server.address}
            seen.page.context.add_cookies([cookie])  # type: ignore[list-item]  # a map of its very keys
            for name, path in PAGES.items():
                _take(seen, name, server.address + path)


def _take(seen: Seen, name: str, address: str) -> None:
    seen.page.set_viewport_size(SCREEN)
    seen.page.emulate_media(color_scheme="light")
    seen.page.goto(address, wait_until="load")
    if name == "log":
        seen.page.wait_for_selector("#log[data-state=over]")
    seen.page.screenshot(path=FOLDER / f"{name}.png", full_page=name in {"build", "log", "settings"})
    if name in DARK:
        seen.page.emulate_media(color_scheme="dark")
        seen.page.screenshot(path=FOLDER / f"{name}-dark.png")
    if name in ON_A_PHONE:
        seen.page.set_viewport_size(PHONE)
        seen.page.screenshot(path=FOLDER / f"{name}-phone.png")


if __name__ == "__main__":
    main()
