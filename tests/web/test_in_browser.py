"""The pages in a real browser, over a store in memory: nobody is shut out, and no text becomes a part of a page."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Response

from surveil.client import Answered
from surveil.core.model import Status
from surveil.store.passes import Kind, Pass
from surveil.web.pages.looking import REPOSITORIES
from surveil.web.visitors import SESSION_MS
from tests.answer.desk import NOW
from tests.store.records import make_build, make_job, new
from tests.system.browsing import Seen, chromium
from tests.web import world
from tests.web.axed import LOG, PAGES, PHONE, looked, settle, shown
from tests.web.stage import Stage

pytestmark = pytest.mark.timeout(300)

WEIGHT_MAX = 100_000
"""Bytes of a page with all that it loads, the first time."""
BROKEN = """() => {
  const found = [], words = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node; (node = words.nextNode());) {
    if (node.parentElement.closest("bdi, pre, svg, .row, .why")) continue;
    for (const word of node.data.matchAll(/[A-Za-z]{3,}/g)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map((each) => each.top)).size > 1) found.push(word[0]);
    }
  }
  return found;
}"""
"""Words of ours that stand on several lines."""


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    """One browser for all."""
    with chromium() as found:
        yield found


def test_every_page_can_be_used_by_everybody_on_any_screen_and_is_light(tmp_path: Path, started: Browser) -> None:
    stage = Stage(tmp_path)
    world.furnish(stage)
    loaded: list[Response] = []
    with shown(stage, started) as (seen, address):
        seen.page.on("response", lambda answer: loaded.append(answer))  # noqa: PLW0108  # it sets attributes of what it is given
        for path in PAGES:
            loaded.clear()
            seen.page.emulate_media(color_scheme="light")
            seen.page.set_viewport_size(PHONE)
            settle(seen, address + path)
            if path != LOG:  # Of a log comes what there is; `test_log_view` weighs its page by what the wire carries.
                assert sum(len(each.body()) for each in loaded if "/events" not in each.url) <= WEIGHT_MAX, path
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            assert seen.page.evaluate(BROKEN) == [], path
            assert looked(seen).troubles == [], path
            seen.page.emulate_media(color_scheme="dark")
            assert looked(seen, "color-contrast").troubles == [], f"{path} in the dark"
        assert seen.complaints == []


def test_a_few_keys_lead_through_the_pages(tmp_path: Path, started: Browser) -> None:
    stage = Stage(tmp_path)
    world.sample(stage.desk)
    with shown(stage, started) as (seen, address):
        page = seen.page
        page.goto(address)
        page.keyboard.press("?")
        page.wait_for_selector("#keys[open]")
        assert looked(seen).troubles == []
        page.keyboard.press("b")
        assert page.url == f"{address}/"
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        page.wait_for_url("**/builds")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/builds/14")
        page.keyboard.press("b")
        page.wait_for_url("**/builds")
        page.keyboard.press("/")
        page.keyboard.type("brj?")
        assert page.input_value("[data-search]") == "brj?"
        assert seen.complaints == []


PRESSED = """(button) => {
    const passed = [];
    addEventListener("submit", (event) => { passed.push(!event.defaultPrevented); event.preventDefault(); });
    button.click();
    dispatchEvent(new PageTransitionEvent("pageshow"));
    button.click();
    dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}));
    button.click();
    return passed;
}"""
PRESS_TWICE = "(button) => { button.click(); setTimeout(() => button.click(), 200); }"
SLOW_S = 0.6


def test_a_button_that_is_pressed_twice_does_one_thing(
    tmp_path: Path, started: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path)
    world.sample(stage.desk)
    link = stage.passes.issue(Kind.LINK, "ada", "admin", now=NOW, lasts_ms=60_000)
    ask, exchange = stage.dispatcher.ask, stage.passes.exchange

    async def slow_ask(what: str, *about: Any, **more: Any) -> Answered:
        if what == "retry":
            await asyncio.sleep(SLOW_S)
        return await ask(what, *about, **more)

    def slow_exchange(link: str, **more: Any) -> tuple[str, Pass] | None:
        found = exchange(link, **more)
        time.sleep(SLOW_S)
        return found

    monkeypatch.setattr(stage.dispatcher, "ask", slow_ask)
    monkeypatch.setattr(stage.passes, "exchange", slow_exchange)
    with shown(stage, started) as (seen, address):
        page = seen.page
        page.goto(f"{address}/builds/14", wait_until="load")
        page.get_by_role("button", name="Build again").evaluate(PRESS_TWICE)
        page.wait_for_url("**/builds/99")
        assert [what for what, _ in stage.dispatcher.wishes] == ["retry"]
        page.context.clear_cookies()
        page.goto(f"{address}/login?key={link}", wait_until="load")
        page.get_by_role("button", name="Sign in").evaluate(PRESS_TWICE)
        page.wait_for_selector("text=Sign out")
        assert [each for each in seen.complaints if "404" not in each] == []


def test_who_comes_back_to_a_page_may_press_again(stage: Stage, started: Browser) -> None:
    with shown(stage, started) as (seen, address):
        seen.page.goto(f"{address}/builds/1", wait_until="load")
        button = seen.page.get_by_role("button", name="Build again")
        assert button.evaluate(PRESSED) == [True, False, True], "and not where it only now has all that it shows"


def news(seen: Seen) -> None:
    """Have the page ask for itself as it does when something happens."""
    seen.page.evaluate("document.querySelector('[data-live]').dispatchEvent(new CustomEvent('surveil:news'))")


def test_news_take_nothing_from_whoever_reads(tmp_path: Path, started: Browser) -> None:
    stage = Stage(tmp_path)
    world.sample(stage.desk)
    with shown(stage, started) as (seen, address):
        page = seen.page
        page.set_viewport_size(PHONE)
        page.goto(f"{address}/builds")
        page.fill("[name=ref]", "half a wo")
        page.select_option("[name=state]", "failed")
        page.focus("#build-13 a")
        page.evaluate("scrollTo(0, 200)")
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#build-12 .subject'))")
        stage.desk.store.commit(new(world.build(16, Status.PASSED, 1)))
        news(seen)
        page.wait_for_selector("#build-16")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/builds/13"
        assert (page.input_value("[name=ref]"), page.input_value("[name=state]")) == ("half a wo", "failed")
        assert page.evaluate("scrollY > 100")
        assert page.evaluate("getSelection().toString()") == world.SUBJECTS[12 % len(world.SUBJECTS)]
        page.keyboard.press("?")
        news(seen)
        page.wait_for_timeout(500)
        assert page.is_visible("#keys[open]")
        page.goto(f"{address}/builds/14")
        page.evaluate("document.querySelector('.wide').scrollLeft = 40")
        news(seen)
        page.wait_for_timeout(500)
        assert page.evaluate("document.querySelector('.wide').scrollLeft") == 40
        assert seen.complaints == []


CUT_OFF = """() => [...document.querySelectorAll(".flows td")].filter((each) => {
  const place = each.getBoundingClientRect();
  return place.width && (place.left < 0 || place.right > innerWidth);
}).map((each) => each.textContent.trim().slice(0, 80))"""


def test_on_a_telephone_nothing_of_a_table_is_out_of_sight_however_long_names_are(
    tmp_path: Path, started: Browser
) -> None:
    stage = Stage(tmp_path)
    world.furnish(stage)
    long = "a_name_without_a_place_to_break_it_" * 4
    made = make_build(90, state=Status.FAILED, repo=f"/srv/{long}", ref=f"refs/heads/{long}", author=long, message=long)
    stage.desk.store.commit(new(made, make_job(90, f"{long}[{long}]", state=Status.FAILED, reason=long)))
    paths = [*PAGES, "/builds/90", "/builds/90/story", f"/builds/90/jobs/{quote(f'{long}[{long}]', safe='')}"]
    with shown(stage, started) as (seen, address):
        seen.page.set_viewport_size(PHONE)
        for path in paths:
            settle(seen, address + path)
            assert seen.page.evaluate(CUT_OFF) == [], path
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        assert seen.complaints == []


def test_a_page_about_a_build_hears_of_that_build_alone(tmp_path: Path, started: Browser) -> None:
    stage = Stage(tmp_path)
    world.sample(stage.desk)
    with shown(stage, started) as (seen, address):
        heard: list[str] = []
        seen.page.on("request", lambda request: heard.append(request.url))
        # A job of build 15 waits for a slot, which another build may give back.
        for path, query in {
            "/builds/14": "&build=14",
            "/builds/14/story": "&build=14",
            "/builds/15": "",
            "/": "",
        }.items():
            heard.clear()
            # A script asks for it, which a busy machine runs a while after the page was loaded.
            with seen.page.expect_request(re.compile("/events")):
                seen.page.goto(address + path, wait_until="load")
            seen.page.wait_for_timeout(100)
            (listened,) = [url for url in heard if "/events" in url]
            assert re.fullmatch(rf"{re.escape(address)}/api/v1/events\?after=\d+{query}", listened)


WORDS = """() => [...document.querySelectorAll("main bdi, main pre")].map((each) => each.textContent)"""
FOREIGN = """() => [...document.querySelectorAll("*")].filter((each) =>
    ["IFRAME", "BASE", "STYLE", "OBJECT", "EMBED", "PLAINTEXT", "XMP"].includes(each.tagName)
    || (each.tagName === "SCRIPT" && !each.src.startsWith(location.origin + "/static/"))
    || (each.tagName === "IMG" && !each.src.startsWith(location.origin + "/static/"))
    || (each.tagName === "META" && each.httpEquiv)
    || (each.tagName === "FORM" && !each.action.startsWith(location.origin))
    || (each.protocol && !["http:", "https:"].includes(each.protocol))
    || [...each.attributes].some((one) => /^(on|hx-on|style$)/.test(one.name))
    || (each.hasAttribute("hx-get") && each.getAttribute("hx-get") !== location.pathname + location.search)
).map((each) => each.outerHTML.slice(0, 200))"""


def as_read(text: str) -> str:
    """A text as a browser reads it: line ends are one character, and a page has no NUL."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def test_no_text_becomes_a_part_of_a_page_wherever_it_stands(tmp_path: Path, started: Browser) -> None:
    stage = Stage(tmp_path)
    world.attacked(stage.desk)
    count, chunk = len(world.TEXTS), world.CHUNK
    packed = [*range(chunk, count, chunk), count]
    lists = ["/", "/schedules", *(f"/repositories?at={at}" for at in range(0, count, REPOSITORIES))]
    lists += [f"/runners?at={at}" for at in range(0, count, 50)]
    lists += [f"/builds?before={at + 1}" for at in range(40, count + 40, 40)]
    inside = [
        f"/builds/{number}{below}" for number in packed for below in ("?at=0", "?at=40", "", "/tests", "/artifacts")
    ]
    inside += [f"/builds/{chunk}/jobs/{quote(text, safe='')}" for text in world.ATTACKS]
    inside += [f"/builds/{chunk}/tests/history?suite={each}&name={each}" for each in map(quote, world.ATTACKS)]
    for text in world.TEXTS:
        stage.passes.issue(Kind.TOKEN, text[:100], "read", now=stage.desk.now, lasts_ms=SESSION_MS, label=text[:200])
    everywhere: dict[str, set[str]] = {}
    with shown(stage, started) as (seen, address):
        seen.page.on("dialog", lambda dialog: pytest.fail(f"a page said {dialog.message}"))
        for path in (*lists, *inside, f"/builds/{chunk}/story", "/settings", "/artifacts"):
            answer = seen.page.goto(address + path, wait_until="load")
            assert answer is not None
            assert answer.status == 200, path
            assert seen.page.evaluate("window.__xss") is None, path
            assert seen.page.evaluate(FOREIGN) == [], path
            assert seen.page.locator("footer").is_visible(), path
            everywhere.setdefault(path.partition("?")[0].rpartition("/")[2], set()).update(seen.page.evaluate(WORDS))
        assert seen.complaints == []
    texts = {as_read(text) for text in world.TEXTS}
    assert texts <= everywhere["runners"]
    assert texts <= everywhere["schedules"]
    assert texts <= set().union(*(found for name, found in everywhere.items() if name.isdigit()))
    assert {text for text in texts if len(text) <= 100} <= everywhere["settings"]
    assert {as_read(text) for text in world.TEXTS[:chunk]} <= everywhere["artifacts"]
    assert {*world.ATTACKS} <= everywhere["history"]
    assert {text for text in texts if not text.startswith("\n")} <= everywhere["tests"]
