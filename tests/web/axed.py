"""The pages in a real browser, and what axe-core has to say of them, on each screen and in each light.

`python -m tests.web.axed` looks at all of them in every way, and prints the report that the documents show.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ViewportSize

from surveil.web.visitors import COOKIE
from tests.system.browsing import Seen, chromium, window
from tests.web import world
from tests.web.served import served
from tests.web.stage import Stage

LOG: Final = "/builds/14/jobs/unit%5Bpython%3D3.12%5D"
PAGES: Final = (
    "/", "/builds", "/builds/14", "/builds/15", "/builds/14?group=unit", "/builds/14?state=passed", LOG,
    "/builds/14/tests", "/builds/14/tests/history?suite=tests.test_prices&name=test_price_3", "/builds/14/story",
    "/builds/14/artifacts", "/repositories", "/artifacts", "/runners", "/schedules", "/audit", "/settings", "/login",
    "/login?key=x",
)  # fmt: skip
PHONE: Final[ViewportSize] = {"width": 360, "height": 740}
DESK: Final[ViewportSize] = {"width": 1280, "height": 800}
SERIOUS: Final = {"serious", "critical"}
TOLD: Final = {"resultTypes": ["violations", "incomplete"], "selectors": False}
"""What is told of each element: where a rule is kept it is enough that it is. Words for where elements stand would take
axe longer than looking at them.
"""
AXE: Final = Axe()
LIGHTS: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


class Looked(NamedTuple):
    """What axe says of a page: how many rules it keeps, those that it breaks with the places, each with its impact, and
    those that only a person can judge.
    """

    kept: int
    broken: list[tuple[str, str, str]]
    unsure: list[str]

    @property
    def troubles(self) -> list[str]:
        """What shuts somebody out."""
        return [f"{rule}: {place}" for impact, rule, place in self.broken if impact in SERIOUS]


def looked(seen: Seen, *rules: str) -> Looked:
    """The page as it stands, by all rules or these."""
    if not seen.page.evaluate("'axe' in window"):  # It stays as long as the page does.
        seen.page.evaluate(AXE.axe_script)
    options = {**TOLD, "runOnly": list(rules)} if rules else TOLD
    said: dict[str, list[dict[str, Any]]] = seen.page.evaluate("(options) => axe.run(document, options)", options)
    broken = [
        (str(each["impact"]), str(each["id"]), str(node["html"])[:200])
        for each in said["violations"]
        for node in each["nodes"]
    ]
    return Looked(len(said["passes"]), broken, [str(each["id"]) for each in said["incomplete"]])


@contextmanager
def shown(stage: Stage, started: Browser) -> Iterator[tuple[Seen, str]]:
    """A page that is signed in, and where the pages are."""
    stage.now = stage.desk.now
    with served(stage) as server, window(started) as seen:
        session = stage.session("admin")
        seen.page.context.add_cookies([{"name": COOKIE, "value": session, "url": server.address}])
        yield seen, server.address


def settle(seen: Seen, address: str) -> None:
    """Open a page and wait until it stands."""
    answer = seen.page.goto(address, wait_until="load")
    assert answer is not None
    assert answer.status == 200, address  # HTTP's own number
    if "/jobs/" in address:
        seen.page.wait_for_selector("#log[data-state=over]")


def main() -> int:
    """Look at all; 1 where somebody is shut out."""
    unsure: Counter[str] = Counter()
    troubles: list[str] = []
    ways = list(itertools.product((PHONE, DESK), LIGHTS))
    sys.stdout.write("| page | " + " | ".join(f"{size['width']} px, {light}" for size, light in ways) + " |\n")
    sys.stdout.write("|---" * (len(ways) + 1) + "|\n")
    with tempfile.TemporaryDirectory() as folder, chromium() as started:
        stage = Stage(Path(folder))
        world.furnish(stage)
        with shown(stage, started) as (seen, address):
            for path in PAGES:
                cells: list[str] = []
                for size, light in ways:
                    seen.page.set_viewport_size(size)
                    seen.page.emulate_media(color_scheme=light)
                    settle(seen, address + path)
                    found = looked(seen)
                    troubles += [f"{path}, {size['width']} px, {light}: {each}" for each in found.troubles]
                    unsure.update(found.unsure)
                    lesser = len(found.broken) - len(found.troubles)
                    cells.append(f"{found.kept} kept, {len(found.troubles)} serious, {lesser} lesser")
                sys.stdout.write(f"| `{path}` | " + " | ".join(cells) + " |\n")
                sys.stdout.flush()
    sys.stdout.write("".join(f"{each}\n" for each in troubles))
    sys.stdout.write(f"for a person to judge: {dict(unsure)}\n")
    return bool(troubles)


if __name__ == "__main__":
    sys.exit(main())
