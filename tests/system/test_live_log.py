"""A log that a person follows in a real browser, while everything it comes through is killed, one after the other."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.net.stage import free_ports
from tests.system.browsing import browser, not_there, sign_in
from tests.system.processes import Place, eventually, kill, with_descendants
from tests.system.repository import make_repository, pipeline
from tests.system.test_watching import agent_pid

pytestmark = pytest.mark.timeout(300)

LAST = 40
# The first attempt goes on until it is killed, most likely in the middle of a line.
TALK = (
    "name=$SURVEIL_ATTEMPT; i=1; while [ $name = 1 -o $i -le 40 ]; do "
    'printf "attempt $name "; sleep 0.02; echo line $i; i=$((i+1)); sleep 0.03; done'
)
SHOWN = """() => [...document.querySelectorAll(".row")].map((row) =>
    [Number(row.dataset.at.split(".")[0]), Number(row.dataset.at.split(".")[1]), Number(row.firstChild.dataset.no),
     row.querySelector(".text").textContent])"""


def more_comes(page: Page) -> None:
    """Wait until a second's worth of lines came after those that are there."""
    last = page.locator(".row .text", has_text=re.compile(r"line \d+$")).last.inner_text()
    following = int(last.rpartition(" ")[2]) + 20
    try:
        page.locator(".row", has=page.get_by_text(f"attempt 1 line {following}", exact=True)).wait_for()
    except PlaywrightTimeoutError:
        state = page.locator("#log").get_attribute("data-state"), page.locator(".log-state").inner_text()
        raise AssertionError(f"line {following} did not come: {state}, {page.evaluate(SHOWN)[-3:]}") from None


def rows_of(place: Place, attempt: int) -> list[list[Any]]:
    """What the page must show of an attempt, by the command line."""
    text = place.run("logs", "1", "test", "--attempt", str(attempt), "--data", str(place.data)).stdout
    found, at = [], 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        found.append([attempt, at, number, line.removesuffix("\n")])
        at += len(line)
    return found


def test_no_line_is_missing_or_there_twice_whoever_is_killed_meanwhile(place: Place) -> None:
    place.settings["SURVEIL_HTTP"] = f"127.0.0.1:{free_ports()}"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(TALK))
    with place.up(str(repo)) as up, browser() as seen:
        up.wait_for("attempt 1 line 1")
        page = seen.page
        sign_in(page, place)
        page.wait_for_selector("#build-1")
        page.goto(f"http://{place.settings['SURVEIL_HTTP']}/builds/1/jobs/test")
        page.wait_for_selector("#log[data-state=following]")
        more_comes(page)
        kill([place.dispatcher_pid()])
        up.wait_for("dispatcher runs again")
        more_comes(page)
        kill(place.processes("-m surveil web"))
        page.wait_for_selector(".log-state >> text=not connected")
        page.wait_for_selector(".log-state >> text=not connected", state="detached")
        more_comes(page)
        kill(with_descendants(agent_pid(place)))
        up.wait_for("attempt 1 lost")
        page.wait_for_selector("#log[data-state=over]")
        assert page.locator(".mark.seam").all_inner_texts() == ["attempt 2 on local-1"]
        assert (
            page.locator(".mark.seam + .row .text, .mark.seam + .mark + .row .text").first.inner_text()
            == "attempt 2 line 1"
        )
        first, second = rows_of(place, 1), rows_of(place, 2)
        assert len(first) > 3 * 20
        assert [row[3] for row in second] == [f"attempt 2 line {number}" for number in range(1, LAST + 1)]
        # The page opened at the end of what was there, which on a busy machine is more than it begins with.
        shown, whole = page.evaluate(SHOWN), first + second
        assert len(shown) > len(second) + 3 * 20
        assert shown == whole[whole.index(shown[0]) :]
        seen.complaints = [line for line in seen.complaints if not not_there(line)]
        assert seen.complaints == []
    assert eventually(lambda: place.processes() == [])
