"""The log view in a real browser: whatever a step printed is inert, and any place of it is a moment away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, Response, expect

from surveil.core.model import AttemptState, Status
from surveil.frozen import replace
from surveil.protocol import Remark, StepReport
from surveil.web.pages import assets
from surveil.web.visitors import COOKIE
from tests.corpora.naughty import BYTES, NAUGHTY
from tests.store.records import changed, make_attempt, make_build, make_job, new
from tests.system.browsing import Seen, browser, not_there
from tests.web import world
from tests.web.axed import PHONE, looked
from tests.web.served import Served, served
from tests.web.stage import Stage
from tests.web.test_in_browser import FOREIGN, WEIGHT_MAX

LINES = 200_000
JOB = "/builds/3/jobs/test"
DRAW = """async ([address, texts]) => {
  const { draw, FRESH } = await import(address);
  return texts.map((text) => {
    const node = document.createElement("div");
    draw(node, text, FRESH);
    const all = [...node.querySelectorAll("*")];
    return {
      text: node.textContent,
      tags: [...new Set(all.map((each) => each.localName))],
      attributes: [...new Set(all.flatMap((each) => each.getAttributeNames()))],
      links: all.filter((each) => each.hasAttribute("href")).map((each) => each.protocol),
      html: node.innerHTML,
    };
  });
}"""
HARMFUL = set(map(chr, (*range(9), *range(11, 32), *range(0x7F, 0xA0)))) | set("\u061c\u200e\u200f\u2028\u2029\ufeff")
HARMFUL |= set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@pytest.fixture(scope="module")
def big() -> bytes:
    """Lines by their numbers, with an error in the middle."""
    return b"".join(
        b"src/a.c:7: error: broken\n" if number == LINES // 2 else b"line %d of a long log\n" % number
        for number in range(1, LINES + 1)
    )


@pytest.fixture(scope="module")
def opened() -> Iterator[Seen]:
    """One browser for all."""
    with browser() as seen:
        yield seen


@pytest.fixture
def place(tmp_path: Path, opened: Seen) -> Iterator[tuple[Stage, Served, Seen]]:
    """A server of a stage, and a browser that is signed in there."""
    stage, seen = Stage(tmp_path), opened
    seen.complaints.clear()
    with served(stage) as server:
        seen.page.context.add_cookies([{"name": COOKIE, "value": stage.session(), "url": server.address}])
        yield stage, server, seen
        assert seen.complaints == []
        seen.page.goto("about:blank")


def job_of(
    stage: Stage, log: bytes, *, steps: tuple[StepReport, ...] = (), running: bool = False, log_bytes: int = 0
) -> None:
    """Build 3 with one job that printed this."""
    state = (Status.RUNNING, AttemptState.RUNNING) if running else (Status.FAILED, AttemptState.FAILED)
    attempt = make_attempt(
        3, state=state[1], steps=steps, log_bytes=log_bytes or len(log), finished_at=None if running else stage.now,
        released=not running, accepted_at=stage.now,
    )  # fmt: skip
    stage.desk.store.commit(new(make_build(3, state=state[0]), make_job(3, state=state[0], attempt=1), attempt))
    for at in range(0, len(log), 1_000_000):
        stage.desk.log("3/test", 1, log[at : at + 1_000_000])


def step(name: str, log_at: int, state: Literal["passed", "failed"] = "passed") -> StepReport:
    return StepReport(name=name, state=state, exit_code=0, log_at=log_at)


def row(page: Page, text: str) -> Any:
    return page.locator(".row", has=page.get_by_text(text, exact=True))


def test_whatever_a_step_prints_becomes_text_and_nothing_else(place: tuple[Stage, Served, Seen]) -> None:
    _, server, seen = place
    seen.page.goto(server.address + "/login")
    texts = [*NAUGHTY, *(data.decode("utf-8", "replace") for data in BYTES.values())]
    lines = [line for text in texts for line in text.split("\n")]
    drawn = seen.page.evaluate(DRAW, [assets.address_of("log/ansi.js"), lines])
    for line, found in zip(lines, drawn, strict=True):
        assert set(found["tags"]) <= {"span", "a"}, line
        assert set(found["attributes"]) <= {"class", "style", "href", "rel", "target"}, line
        assert set(found["links"]) <= {"http:", "https:"}, line
        assert HARMFUL.isdisjoint(found["text"]), line
    assert any(found["links"] for found in drawn)


DRAWN = (
    ("\x1b[31mred\x1b[0m", '<span class="sgr-fore-1">red</span>'),
    ("\x1b[1;38;5;196mx", '<span class="sgr-bold" style="color: rgb(255, 0, 0);">x</span>'),
    ("\x1b[48;2;1;2;3mx", '<span style="background-color: rgb(1, 2, 3);">x</span>'),
    ("\x1b[38;2;1;2;999mx", "x"),
    ("10%\r100%", "100%"),
    ("abcdef\rxy\x1b[K", "xy"),
    ("\x1b[2J", '<span class="hidden-mark">␛[2J</span>'),
    ("a\u202eb", 'a<span class="hidden-mark">⟨U+202E⟩</span>b'),
    ("\x1b]8;;javascript:alert(1)\x07x\x1b]8;;\x07", '<span class="hidden-mark">␛]8;;javascript:alert(1)</span>x'),
    (
        "\x1b]8;;https://example.org/a\x1b\\x\x1b]8;;\x1b\\y",
        '<a href="https://example.org/a" rel="noopener noreferrer nofollow" target="_blank">x</a>y',
    ),
    ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
)


def test_colours_stay_and_all_else_is_shown(place: tuple[Stage, Served, Seen]) -> None:
    _, server, seen = place
    seen.page.goto(server.address + "/login")
    drawn = seen.page.evaluate(DRAW, [assets.address_of("log/ansi.js"), [text for text, _ in DRAWN]])
    assert [found["html"] for found in drawn] == [shown for _, shown in DRAWN]


def test_a_long_log_opens_at_its_tail_and_any_place_is_a_moment_away(
    place: tuple[Stage, Served, Seen], big: bytes
) -> None:
    stage, server, seen = place
    second = big.index(b"line 150000 ")
    job_of(stage, big, steps=(step("compile", 0), step("test", second, "failed")))
    page = seen.page
    page.goto(f"{server.address}{JOB}")
    row(page, f"line {LINES} of a long log").wait_for()
    page.wait_for_selector(f".no[data-no='{LINES}']")
    assert page.locator(".row").count() <= 3000
    # Towards the beginning, as far as one likes: there are never more rows than fit.
    for _ in range(8):
        first = page.get_attribute(".row", "data-at")
        page.evaluate("document.querySelector('.log-rows').scrollTop = 0")
        expect(page.locator(".row").first).not_to_have_attribute("data-at", str(first))
    assert 0 < page.locator(".row").count() <= 3000
    # A link to lines.
    page.goto(f"{server.address}{JOB}/attempts/1#L120-L140")
    row(page, "line 130 of a long log").wait_for()
    expect(page.locator(".row.chosen")).to_have_count(21)
    page.keyboard.press("g")
    page.wait_for_selector(".mark.step >> text=compile")
    # A search over all of it, and the first error of the step that failed: there is none in that.
    page.fill(".log-search input", "LINE 77777 ")
    page.press(".log-search input", "Enter")
    page.wait_for_selector(".row.hit >> text=line 77777 of a long log")
    page.press(".log-search input", "Escape")
    page.keyboard.press("e")
    page.wait_for_selector(".log-state >> text=no line tells of an error")
    page.keyboard.press("G")
    row(page, f"line {LINES} of a long log").wait_for()
    page.wait_for_selector("#log[data-state=over]")


def test_the_first_error_is_jumped_to(place: tuple[Stage, Served, Seen], big: bytes) -> None:
    stage, server, seen = place
    job_of(stage, big, steps=(step("compile", 0, "failed"),))
    seen.page.goto(f"{server.address}{JOB}")
    row(seen.page, f"line {LINES} of a long log").wait_for()
    seen.page.keyboard.press("e")
    seen.page.wait_for_selector(f".row.hit .no[data-no='{LINES // 2}']")


def test_groups_and_steps_fold(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    log = b"::group::Install <b>\nfetching\n::endgroup::\nbuilding\nchecking\n"
    job_of(stage, log, steps=(step("Build", 0), step("Check", log.index(b"checking"))))
    page = seen.page
    page.goto(f"{server.address}{JOB}/attempts/1")
    row(page, "checking").wait_for()
    page.wait_for_selector(".mark.step")
    assert page.locator(".mark.step").all_inner_texts() == ["Build passed", "Check passed"]
    page.click("text=Install <b>")
    row(page, "fetching").wait_for(state="hidden")
    assert row(page, "building").is_visible()
    page.click(".mark.step >> text=Build")
    row(page, "building").wait_for(state="hidden")
    assert row(page, "checking").is_visible()
    page.click(".mark.step >> text=Build")
    row(page, "building").wait_for()
    assert not row(page, "fetching").is_visible()


def test_what_is_damaged_or_missing_and_what_surveil_remarks_is_marked(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    remarks = (Remark(at=6, after_ms=5, text="surveil: <b>this</b> was cut"),)
    job_of(stage, b"first\nsecond\n", steps=(replace(step("Build", 0), remarks=remarks),), log_bytes=20)
    (file,) = stage.folder.rglob("*.log")
    file.write_bytes(b"first\nsecXnd\n")
    address = f"{server.address}{JOB}/attempts/1"
    page = seen.page
    page.goto(address)
    missing = "the last 7 bytes of this log have not come from runner spare-2 yet"
    page.wait_for_selector(f".mark.damage >> text={missing}")
    page.wait_for_selector(".no[data-no='2']")
    marks = [text.strip() for text in page.locator(".log-rows > *").all_inner_texts()]
    damage = "between bytes 0 and 13 not all is what was written: the log is damaged"
    told = ["Build passed", damage, "first", "surveil: <b>this</b> was cut", "secXnd", missing]
    assert sorted(marks) == sorted(told)
    assert [text for text in marks if text != damage] == [text for text in told if text != damage]
    plain = page.request.get(address).text()
    assert "the log is damaged" in plain
    assert missing in plain


def test_a_log_can_be_read_by_everybody_on_any_screen_and_is_light(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    colours = "".join(
        f"\x1b[{first + colour}mcolour\x1b[0m \x1b[1;{first + colour}mbold\x1b[0m "
        for first in (30, 40, 90, 100)
        for colour in range(8)
    )
    log = f"::group::Colours\n{colours}\n::endgroup::\n\x1b[7mturned\x1b[0m \x1b[2mfaint\x1b[0m a\u202eb\nerror: no\n"
    job_of(stage, log.encode() * 5, steps=(step("Build", 0, "failed"),))
    page, loaded = seen.page, list[Response]()
    page.on("response", lambda answer: loaded.append(answer))  # noqa: PLW0108  # it sets attributes of what it is given
    page.set_viewport_size(PHONE)
    page.goto(f"{server.address}{JOB}/attempts/1#L2-L3")
    page.wait_for_selector(".chosen")
    weight = sum(each.request.sizes()["responseBodySize"] for each in loaded if "/events" not in each.url)
    assert 0 < weight <= WEIGHT_MAX
    page.keyboard.press("e")
    page.wait_for_selector(".row.hit")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert looked(seen).troubles == [], scheme


def test_a_log_full_of_attacks_is_text_on_its_page(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    texts = [*world.TEXTS, *(data.decode("utf-8", "replace") for data in BYTES.values())]
    job_of(stage, b"\n".join(text.encode("utf-8", "replace") for text in texts) + b"\nthe end\n")
    page = seen.page
    page.on("dialog", lambda dialog: pytest.fail(f"a page said {dialog.message}"))
    page.goto(f"{server.address}{JOB}/attempts/1")
    row(page, "the end").wait_for()
    page.keyboard.press("g")
    row(page, texts[0]).wait_for()
    assert page.locator(".row").count() > len(texts)
    # What goes on with a line has no number, and so no address.
    foreign = [html for html in page.evaluate(FOREIGN) if html != '<a class="no"></a>' and 'id="about"' not in html]
    assert foreign == []
    assert page.evaluate("window.__xss") is None


def test_what_a_runner_brings_late_appears_before_the_seam(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    job_of(stage, b"first\nha", running=True)
    page = seen.page
    page.goto(f"{server.address}{JOB}")
    row(page, "ha").wait_for()
    lost = make_attempt(3, state=AttemptState.LOST, accepted_at=stage.now, finished_at=stage.now, log_bytes=8)
    second = make_attempt(3, number=2, state=AttemptState.RUNNING, accepted_at=stage.now)
    stage.desk.store.commit(changed(make_job(3, state=Status.RUNNING, attempt=2), lost))
    stage.desk.store.commit(new(second))
    stage.desk.log("3/test", 2, b"second\n")
    server.call(stage.dispatcher._answers.on_log, "3/test", 1)  # noqa: SLF001  # as its hands do
    row(page, "second").wait_for()
    page.wait_for_selector(".mark.damage >> text=may still be with runner")
    # The page comes again as well, and asks for what is missing.
    server.cut()
    page.wait_for_selector(".log-state >> text=not connected")
    stage.desk.log("3/test", 1, b"lf\nlast\n")
    stage.desk.store.commit(changed(replace(lost, log_bytes=16, released=True)))
    row(page, "last").wait_for()
    shown = [text.strip() for text in page.locator(".log-rows > *").all_inner_texts()]
    assert shown == ["first", "half", "last", "attempt 2 on spare-2", "second"]
    numbers = page.evaluate("[...document.querySelectorAll('.row .no')].map((link) => Number(link.dataset.no))")
    assert numbers == [1, 2, 3, 1]
    seen.complaints = [line for line in seen.complaints if not not_there(line)]


def test_what_comes_is_shown_and_whoever_scrolls_is_left_alone(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    job_of(stage, b"".join(b"first %d\n" % number for number in range(400)) + b"ha", running=True)

    def comes(data: bytes) -> None:
        stage.desk.log("3/test", 1, data)
        server.call(stage.dispatcher._answers.on_log, "3/test", 1)  # noqa: SLF001  # as its hands do

    page = seen.page
    page.goto(f"{server.address}{JOB}")
    row(page, "ha").wait_for()
    comes(b"lf\nnext\n")
    row(page, "half").wait_for()
    row(page, "next").wait_for()
    assert row(page, "ha").count() == 0
    page.wait_for_selector("#log[data-state=following]")
    page.evaluate("document.querySelector('.log-rows').scrollTop -= 500")
    page.wait_for_selector("#log[data-state=paused]")
    before = page.evaluate("document.querySelector('.log-rows').scrollTop")
    comes(b"more\n" * 50 + b"last\n")
    row(page, "last").wait_for()
    assert page.evaluate("document.querySelector('.log-rows').scrollTop") == before
    page.keyboard.press("f")
    page.wait_for_selector("#log[data-state=following]")
    # The connection breaks in the middle of a line, and more came meanwhile.
    server.cut()
    page.wait_for_selector(".log-state >> text=not connected")
    comes(b"while nobody looked\nhal")
    row(page, "while nobody looked").wait_for()
    comes(b"f again\n")
    row(page, "half again").wait_for()
    texts = page.locator(".row .text").all_inner_texts()
    assert texts == [f"first {n}" for n in range(400)] + ["half", "next"] + ["more"] * 50 + [
        "last", "while nobody looked", "half again",
    ]  # fmt: skip
    numbers = page.evaluate("[...document.querySelectorAll('.row .no')].map((link) => Number(link.dataset.no))")
    assert numbers == list(range(1, len(texts) + 1))
    seen.complaints = [line for line in seen.complaints if not not_there(line)]


COUNTING = """() => {
  window.touched = 0;
  const counted = (on, name) => {
    const about = Object.getOwnPropertyDescriptor(on, name);
    const kind = about.get ? "get" : "value";
    const plain = about[kind];
    about[kind] = function (...words) {
      window.touched += 1;
      return plain.apply(this, words);
    };
    Object.defineProperty(on, name, about);
  };
  for (const name of ["add", "remove", "toggle"]) counted(DOMTokenList.prototype, name);
  for (const name of ["hidden", "dataset"]) counted(HTMLElement.prototype, name);
  for (const name of ["setAttribute", "remove", "append", "querySelectorAll"]) counted(Element.prototype, name);
  for (const name of ["insertBefore", "appendChild", "textContent"]) counted(Node.prototype, name);
}"""


def test_what_comes_costs_as_much_as_comes_however_much_is_there(place: tuple[Stage, Served, Seen]) -> None:
    stage, server, seen = place
    steps = (replace(step("Build", 0), state="running"),)
    job_of(stage, b"first\n", steps=steps, running=True)

    def comes(data: bytes) -> None:
        stage.desk.log("3/test", 1, data)
        server.call(stage.dispatcher._answers.on_log, "3/test", 1)  # noqa: SLF001  # as its hands do

    def touched(text: str) -> int:
        page.evaluate("window.touched = 0")
        comes(f"{text}\n".encode())
        row(page, text).wait_for()
        found: int = page.evaluate("window.touched")
        return found

    page = seen.page
    page.goto(f"{server.address}{JOB}")
    page.wait_for_selector("#log[data-state=following]")
    page.evaluate(COUNTING)
    assert 0 < touched("of few") < 60
    comes(b"more\n" * 2_900 + b"last\n")
    row(page, "last").wait_for()
    assert 0 < touched("of many") < 60
    # Nor where what is at the beginning goes for it.
    comes(b"more\n" * 2_000 + b"the very last\n")
    row(page, "the very last").wait_for()
    assert 0 < touched("of as many as there may be") < 60
    assert page.locator(".row").count() == 3_000
    texts = page.locator(".log-rows > *").all_inner_texts()
    assert [text.strip() for text in texts[-3:]] == ["more", "the very last", "of as many as there may be"]
