"""The pages: whole without a script, harmless whatever they show, and closed to whoever has no session."""

import re
import socket
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from surveil.core.model import AttemptState, Status
from surveil.store.passes import Kind
from surveil.web.pages import assets
from surveil.web.pages.drawing import templates
from surveil.web.pages.looking import RECENT
from surveil.web.serving import listening
from surveil.web.visitors import COOKIE, csrf_of
from tests.store.records import make_attempt, make_build, make_job, make_note, new
from tests.web.stage import HERE, Stage

LOG = "/builds/1/jobs/test/attempts/1"
PAGES = (
    "/", "/builds", "/builds?state=failed&event=push", "/builds/1", "/builds/2", "/builds/1?group=test",
    "/builds/1?state=failed", "/builds/1?at=0", "/builds/1/artifacts", "/artifacts", "/artifacts?repo=x&before=5",
    "/builds/1/tests", "/builds/1/tests/history?suite=s&name=n", "/builds/1/story", "/repositories", "/schedules",
    "/runners", "/settings", "/builds/1/jobs/test", "/builds/2/jobs/test", LOG,
)  # fmt: skip
HTML = {"accept": "text/html"}


def cookie(session: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={session}", **HTML}


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_what_there_is_and_nothing_of_it_becomes_a_part_of_the_page(stage: Stage, path: str) -> None:
    answer = stage.get(path, cookie(stage.session()))
    assert answer.status_code == 200
    tags = Tags(answer.text).found
    assert all(about.get("src", "").startswith("/static/") for tag, about in tags if tag == "script")  # type: ignore[union-attr]
    assert not [name for _, about in tags for name in about if name.startswith("on") or name == "style"]
    assert "<script>alert" not in answer.text
    if path in {"/", "/builds", "/builds/1"}:
        assert "Break &lt;script&gt;alert(1)&lt;/script&gt; it" in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_whoever_has_no_session_is_shown_the_way_in(stage: Stage, path: str) -> None:
    for headers in (HTML, cookie("svs_nonsense")):
        answer = stage.get(path, headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_a_log_leads_to_the_attempts_near_its_own_however_many_there_are(stage: Stage) -> None:
    job = make_job(7, state=Status.RUNNING, attempt=500)
    attempts = [make_attempt(7, number=number, state=AttemptState.LOST) for number in range(1, 501)]
    stage.desk.store.commit(new(make_build(7, state=Status.RUNNING), job, *attempts))
    session = cookie(stage.session())
    for path, near in (("", range(490, 501)), ("/attempts/1", range(1, 12)), ("/attempts/250", range(240, 261))):
        tags = Tags(stage.get(f"/builds/7/jobs/test{path}", session).text).found
        led_to = [about["href"] for tag, about in tags if tag == "a" and "/attempts/" in (about.get("href") or "")]
        numbers = sorted({1, *near, 500})
        assert [link for link in led_to if "/api/" not in str(link)] == [
            f"/builds/7/jobs/test/attempts/{number}" for number in numbers
        ]
        assert [about["value"] for tag, about in tags if tag == "li" and "value" in about] == [*map(str, numbers)]


def test_a_log_is_read_without_a_script_by_pages(stage: Stage) -> None:
    stage.desk.log("1/test", 1, "\x1b[31m<b>red</b>\x1b[0m \u202e\x1b]0;t\x07\nhalf".encode())
    session = cookie(stage.session())
    text = stage.get(LOG, session).text
    assert '<span class="text">&lt;b&gt;red&lt;/b&gt; \N{REPLACEMENT CHARACTER}</span>' in text
    assert 'id="L1002" href="#L1002"' in text
    assert '<span class="text">half</span>' in text
    found, before = {*re.findall(r'<span class="text">line (\d+)</span>', text)}, text
    while (older := re.search(r'rel="prev" href="([^"]+)"', before)) is not None:
        before = stage.get(older[1], session).text
        found |= {*re.findall(r'<span class="text">line (\d+)</span>', before)}
    assert found == {*map(str, range(1000))}
    assert '<span class="text">line 0</span>' in before
    assert 'id="L2"' in before
    assert f'href="/api/v1{LOG}/log"' in text
    assert stage.get("/builds/1/jobs/test/attempts/2", session).status_code == 404
    assert "Nothing has been printed yet." in stage.get("/builds/2/jobs/test", session).text


def test_a_bar_of_a_build_leads_to_the_log_of_its_attempt(stage: Stage) -> None:
    session = cookie(stage.session())
    tags = Tags(stage.get("/builds/1", session).text).found
    (bar,) = [at for at, (tag, about) in enumerate(tags) if tag == "rect" and about["class"] == "bar failed"]
    assert [about["href"] for tag, about in tags[:bar] if tag == "a"][-1] == LOG


def test_a_page_of_a_log_has_a_bounded_weight(stage: Stage) -> None:
    stage.desk.log("1/test", 1, (b"x" * 500 + b"\n") * 1000)
    assert len(stage.get(LOG, cookie(stage.session())).content) <= 100_000


def test_an_address_at_which_nothing_is_says_where_all_else_is(stage: Stage) -> None:
    page = stage.get("/nothing", {**cookie(stage.session()), "accept": "text/html"})
    assert (page.status_code, "Nothing is at this address" in page.text) == (404, True)


def test_a_link_signs_in_once_and_opening_it_spends_nothing(stage: Stage) -> None:
    key = stage.passes.issue(Kind.LINK, "ada", "admin", now=stage.now, lasts_ms=1000)
    for _ in range(3):
        assert key in stage.get(f"/login?key={key}").text
    entered = stage.post("/login", data={"key": key})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    told = entered.headers["set-cookie"]
    assert "HttpOnly" in told
    assert "SameSite=lax" in told
    session = told.partition(";")[0].partition("=")[2]
    assert stage.get("/", cookie(session)).status_code == 200
    assert stage.post("/login", data={"key": key}).status_code == 403
    out = stage.post("/logout", cookie(session), data={"csrf": csrf_of(session)})
    assert out.status_code == 303
    assert stage.get("/", cookie(session)).headers["location"] == "/login"


def test_over_https_the_cookie_is_of_this_host_alone_and_secure(stage: Stage) -> None:
    key = stage.passes.issue(Kind.LINK, "ada", "admin", now=stage.now, lasts_ms=1000)
    told = stage.post(HERE.replace("http:", "https:") + "/login", data={"key": key}).headers["set-cookie"]
    assert told.startswith("__Host-surveil=")
    assert "Secure" in told


FOREIGN = (
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://ci.example.org.evil.example"},
)


@pytest.mark.parametrize("path", ["/builds/2/cancel", "/builds/1/retry", "/runners/x/drain", "/logout"])
def test_no_other_site_can_have_a_browser_change_anything(stage: Stage, path: str) -> None:
    session = stage.session("admin")
    own = {"csrf": csrf_of(session)}
    for headers in FOREIGN:
        assert stage.post(path, {**cookie(session), **headers}, data=own).status_code == 403, headers
    for shown in ({}, {"csrf": ""}, {"csrf": csrf_of(stage.session())}, {"csrf": "é"}):
        assert stage.post(path, cookie(session), data=shown).status_code == 403, shown
    assert stage.dispatcher.wishes == []
    assert stage.get("/", cookie(session)).status_code == 200


def test_the_api_by_cookie_takes_the_word_of_a_page_as_well(stage: Stage) -> None:
    session = stage.session("run")
    path = "/api/v1/builds/2/cancel"
    assert stage.post(path, cookie(session)).status_code == 403
    headers = {**cookie(session), "x-surveil-csrf": csrf_of(session)}
    assert stage.post(path, {**headers, "sec-fetch-site": "cross-site"}).status_code == 403
    assert stage.post(path, {**headers, "sec-fetch-site": "same-origin"}).status_code == 200


def test_who_may_only_look_changes_nothing(stage: Stage) -> None:
    session = stage.session("read")
    answer = stage.post("/builds/2/cancel", cookie(session), data={"csrf": csrf_of(session)})
    assert answer.status_code == 403
    assert "surveil login --scope" in answer.text
    assert stage.dispatcher.wishes == []


def test_a_form_of_a_page_changes_what_it_says_and_leads_back(stage: Stage) -> None:
    session = stage.session("run")
    same = {**cookie(session), "sec-fetch-site": "same-origin", "origin": HERE}
    answer = stage.post("/builds/2/cancel", same, data={"csrf": csrf_of(session)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/builds/2")
    again = stage.post("/builds/1/retry", same, data={"csrf": csrf_of(session), "failed": "true"})
    assert again.headers["location"] == "/builds/99"
    assert [what for what, _ in stage.dispatcher.wishes] == ["cancel", "retry"]


def test_what_is_held_is_tried_again_by_a_button_and_nothing_else_is_offered_it(stage: Stage) -> None:
    lost = make_job(7, state=Status.HELD)
    stage.desk.store.commit(new(make_build(7, state=Status.HELD, trusted=True), lost))
    session = stage.session("run")
    same = {**cookie(session), "sec-fetch-site": "same-origin", "origin": HERE}
    offered = {number: "/unhold" in stage.get(f"/builds/{number}", same).text for number in (1, 2, 7)}
    assert offered == {1: False, 2: False, 7: True}
    assert "/unhold" not in stage.get("/builds/7", cookie(stage.session("read"))).text
    answer = stage.post("/builds/7/unhold", same, data={"csrf": csrf_of(session)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/builds/7")
    assert stage.dispatcher.wishes == [("unhold", {"build": 7, "jobs": [], "reason": "let go by ada"})]


def test_a_build_that_came_to_no_jobs_shows_why_once_and_offers_what_makes_sense(stage: Stage) -> None:
    why = ".surveil.yml:4:5: unknown key `stps`"
    stage.desk.store.commit(new(make_build(7, state=Status.ERRORED, complaints=(why,), reason=why)))
    stage.desk.store.commit(new(make_build(8, state=Status.SKIPPED, complaints=(), reason="no branch of `on`")))
    session = cookie(stage.session("run"))
    errored, skipped = (stage.get(f"/builds/{number}", session).text for number in (7, 8))
    assert errored.count(".surveil.yml:4:5: unknown key <code>stps</code>") == 1
    assert "no branch of <code>on</code>" in skipped
    for text, offered in ((errored, True), (skipped, False)):
        assert ("Build again" in text) is offered
        assert [word for word in ("Only what failed", "<h2>Jobs", "<dt>Took") if word in text] == []


def test_the_story_of_a_build_says_of_which_job_each_line_is(stage: Stage) -> None:
    stage.desk.store.commit(new(notes=(make_note("job", "1/test", build=1, state="queued", reason=""),)))
    session = cookie(stage.session())
    led_to = [about.get("href") for tag, about in Tags(stage.get("/builds/1/story", session).text).found if tag == "a"]
    assert "?job=test" in led_to
    assert 'href="?job=' not in stage.get("/builds/1/story?job=test", session).text


def test_the_overview_shows_what_has_run_for_longer_than_the_newest_builds_are_there(stage: Stage) -> None:
    stage.desk.store.commit(new(*(make_build(number, state=Status.PASSED) for number in range(10, 10 + RECENT))))
    stage.desk.store.commit(new(make_build(3, state=Status.RUNNING), make_build(4, state=Status.HELD)))
    text = stage.get("/", cookie(stage.session())).text
    under_way = text.partition("<h2>Under way")[2].partition("<h2>Lately")[0]
    assert [number for number in (4, 3) if f'id="build-{number}"' in under_way] == [4, 3]


def test_the_overview_does_not_say_that_nothing_was_built_while_the_first_build_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    session = cookie(stage.session())
    assert "Nothing has been built yet" in stage.get("/", session).text
    stage.desk.store.commit(new(make_build(1, state=Status.RUNNING)))
    text = stage.get("/", session).text
    assert "Under way" in text
    assert "Nothing has been built yet" not in text


def test_a_branch_is_broken_by_what_its_newest_verdict_is(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.desk.store.commit(new(make_build(1, state=Status.ERRORED)))
    broken = stage.get("/", cookie(stage.session())).text.partition("<h2>Broken")[2].partition("<h2>")[0]
    assert 'class="state errored"' in broken
    assert "failed" not in broken


@pytest.mark.parametrize("path", ["/", "/login", "/healthz", "/api/v1/builds", "/nowhere", "/static/x/style.css"])
def test_every_answer_tells_browsers_to_run_and_load_nothing_foreign(stage: Stage, path: str) -> None:
    headers = stage.get(path, HTML).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_overview_says_that_the_dispatcher_is_away_and_shows_the_rest(stage: Stage) -> None:
    stage.dispatcher.away = True
    text = stage.get("/", cookie(stage.session())).text
    assert "No dispatcher answers" in text
    assert 'href="/builds/1"' in text


def test_builds_are_filtered_by_what_the_address_says(stage: Stage) -> None:
    def found(query: str) -> list[str]:
        text = stage.get(f"/builds?{query}", cookie(stage.session())).text
        return re.findall(r'id="build-(\d+)"', text)

    assert found("") == ["2", "1"]
    assert found("state=failed") == ["1"]
    assert found("state=queued&event=push") == ["2"]
    assert found("event=schedule") == []
    assert found("author=nobody") == []
    author = stage.desk.store.reader.builds(limit=1)[0].author
    assert found(f"author={quote(author)}&state=failed") == ["1"]
    assert stage.get("/builds?state=broken", cookie(stage.session())).status_code == 422


def test_a_page_asks_for_itself_by_the_address_that_the_browser_wrote(stage: Stage) -> None:
    text = stage.get("/builds?repo=%22%3E%3Cb%3E&ref=a%26b", cookie(stage.session())).text
    assert 'hx-get="/builds?repo=%22%3E%3Cb%3E&amp;ref=a%26b"' in text


def test_whoever_looks_ends_their_own_sessions_and_an_administrator_everybodys(stage: Stage) -> None:
    mine, other = stage.session("run"), stage.passes.issue(Kind.TOKEN, "bob", "run", now=stage.now, lasts_ms=10_000)
    (bobs,) = stage.passes.listed(Kind.TOKEN)
    assert bobs.id not in stage.get("/settings", cookie(mine)).text
    form = {"csrf": csrf_of(mine)}
    assert stage.post(f"/settings/passes/{bobs.id}/end", cookie(mine), data=form).status_code == 404
    (own,) = stage.passes.listed(Kind.SESSION)
    assert stage.post(f"/settings/passes/{own.id}/end", cookie(mine), data={}).status_code == 403
    assert stage.post(f"/settings/passes/{own.id}/end", cookie(mine), data=form).status_code == 303
    assert stage.get("/settings", cookie(mine)).status_code == 303
    admin = stage.session("admin")
    assert bobs.id in stage.get("/settings", cookie(admin)).text
    form = {"csrf": csrf_of(admin)}
    assert stage.post(f"/settings/passes/{bobs.id}/end", cookie(admin), data=form).status_code == 303
    assert stage.get("/api/v1/builds", {"authorization": f"Bearer {other}"}).status_code == 401


def test_files_are_had_for_ever_under_an_address_that_changes_with_them(stage: Stage) -> None:
    address = assets.address_of("style.css")
    found = stage.get(address, {"accept-encoding": "identity"})
    assert found.headers["content-type"].startswith("text/css")
    assert "immutable" in found.headers["cache-control"]
    assert "immutable" not in stage.get("/static/000000000000/style.css").headers["cache-control"]
    packed = stage.get(address, {"accept-encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert packed.content == found.content == (assets.FOLDER / "style.css").read_bytes()
    assert int(packed.headers["content-length"]) < len(found.content) / 2
    for name in ("nothing.js", "%2e%2e%2fapp.py", "vendor/%2e%2e/%2e%2e/app.py"):
        assert stage.get(f"/static/x/{name}", {"accept": "*/*"}).status_code == 404


def test_no_part_of_an_answer_waits_for_word_of_the_part_before() -> None:
    with listening("127.0.0.1:0") as listener, socket.create_connection(listener.getsockname()) as _:
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_is_not_ours_is_exactly_what_it_was_when_it_was_read() -> None:
    theirs = sorted(path.name for path in (assets.FOLDER / "vendor").iterdir())
    assert theirs == ["htmx-4.0.1.min.js"]
    assert sha256_of("vendor/htmx-4.0.1.min.js") == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


def test_no_template_takes_text_for_markup() -> None:
    loaded = templates("")
    for name in loaded.list_templates():
        source, _, _ = loaded.loader.get_source(loaded, name)  # type: ignore[union-attr]
        assert not re.search(r"\|\s*safe|autoescape|Markup|<script(?! src=)|style=|\son\w+=", source), name


@pytest.mark.parametrize(
    ("naughty", "shown"),
    [
        ("type `surveil token create` there", "type <code>surveil token create</code> there"),
        ("`a` and `b`", "<code>a</code> and <code>b</code>"),
        ("`<script>alert(1)</script>`", "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>"),
        ("<img src=x onerror=alert(1)> `x`", "&lt;img src=x onerror=alert(1)&gt; <code>x</code>"),
        ("`</code><b onclick=x>`", "<code>&lt;/code&gt;&lt;b onclick=x&gt;</code>"),
        ("<`b`>", "&lt;<code>b</code>&gt;"),
        ("<scr`ipt`>alert(1)", "&lt;scr<code>ipt</code>&gt;alert(1)"),
        ("&lt;`&amp;`\"'", "&amp;lt;<code>&amp;amp;</code>&#34;&#39;"),
        ("`one` `that is cut", "<code>one</code> `that is cut"),
        ("``", "``"),
        ("`over\nlines`", "`over\nlines`"),
    ],
)
def test_what_is_to_be_typed_is_code_on_pages_and_nothing_in_it_becomes_a_part_of_them(
    stage: Stage, naughty: str, shown: str
) -> None:
    job = make_job(build=7, state=Status.ERRORED, reason=naughty)
    stage.desk.store.commit(new(make_build(7, state=Status.ERRORED, reason=naughty, complaints=()), job))
    session = cookie(stage.session("run"))
    for path in ("/builds/7", "/builds"):
        assert f"<bdi>{shown}</bdi>" in stage.get(path, session).text, path
    document = stage.get("/api/v1/builds/7", stage.token()).json()
    assert (document["reason"], document["jobs"][0]["reason"]) == (naughty, naughty), "programs read what was said"


def test_a_page_that_says_why_not_says_what_to_type_as_code(stage: Stage) -> None:
    answer = stage.get("/builds/99", cookie(stage.session()))
    assert answer.status_code == 404
    assert "<code>surveil builds</code>" in answer.text


def sha256_of(name: str) -> str:
    return sha256((assets.FOLDER / name).read_bytes()).hexdigest()


def test_a_page_listens_from_where_it_was_made(stage: Stage) -> None:
    (live,) = [about for _, about in Tags(stage.get("/", cookie(stage.session())).text).found if "data-live" in about]
    newest = stage.post("/api/v1/questions/journal", stage.token(), json={"after": -1}).json()["body"]["position"]
    assert live["data-after"] == str(newest)
