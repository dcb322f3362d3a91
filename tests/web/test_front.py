"""The address at which people reach the pages, also below a prefix, and what proxies may say (S21)."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi import Request, Response

from surveil.config import values
from surveil.errors import UsageError
from surveil.store.passes import Kind
from surveil.web.front import HSTS
from surveil.web.visitors import COOKIE, SECURE_COOKIE, SECURE_COOKIE_BELOW, csrf_of
from tests.web.stage import Stage
from tests.web.test_pages import HTML, PAGES, Tags

PUBLIC = {"host": "ci.example.org"}
PROXY, STRANGER = "10.1.0.7", "192.0.2.66"
ADDRESSES = ("href", "src", "action", "hx-get", "hx-post", "data-address")


@pytest.fixture
def below(stage: Stage) -> Stage:
    """Reached at `https://ci.example.org/ci`, through a proxy."""
    stage.public_url, stage.proxies, stage.peer = "https://ci.example.org/ci", ("10.1.0.0/16",), PROXY
    return stage


def with_session(stage: Stage, name: str = SECURE_COOKIE_BELOW, scope: str = "admin") -> dict[str, str]:
    return {"cookie": f"{name}={stage.session(scope)}", **PUBLIC, **HTML}


@pytest.mark.parametrize("passed_on", ["/ci", ""], ids=["whole", "stripped"])
def test_below_a_prefix_whatever_a_page_leads_to_is_below_it(below: Stage, passed_on: str) -> None:
    for path in PAGES:
        answer = below.get(f"{passed_on}{path}", with_session(below))
        assert answer.status_code == 200, path
        found = [value for _, about in Tags(answer.text).found for name in ADDRESSES if (value := about.get(name))]
        here = f"https://ci.example.org/ci{path}"
        assert len(found) > 10, path
        assert [each for each in found if not urljoin(here, each).startswith("https://ci.example.org/ci/")] == [], path


def test_the_same_pages_are_there_without_the_prefix_for_who_is_on_the_machine(below: Stage) -> None:
    answer = below.get("/builds", {**with_session(below, COOKIE), "host": "127.0.0.1:7380"})
    assert answer.status_code == 200
    assert 'href="/builds/1"' in answer.text
    assert "/ci" not in answer.text


def test_no_script_knows_an_address_that_a_prefix_would_break() -> None:
    folder = Path(__file__).parents[2] / "surveil" / "web" / "static"
    for path in folder.rglob("*.js"):
        if path.parent.name != "vendor":
            assert not re.search(r"""["'`]/[a-z]""", path.read_text()), f"{path}: take it from import.meta.url"


def test_below_a_prefix_a_session_begins_and_ends_there(below: Stage) -> None:
    key = below.passes.issue(Kind.LINK, "ada", "admin", now=below.now, lasts_ms=1000)
    page = below.get(f"/ci/login?key={key}", PUBLIC)
    assert 'action="/ci/login"' in page.text
    entered = below.post("/ci/login", {**PUBLIC, "origin": "https://ci.example.org"}, data={"key": key})
    assert (entered.status_code, entered.headers["location"]) == (303, "/ci/")
    cookie = entered.headers["set-cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE_BELOW}=")
    assert {"HttpOnly", "Path=/ci/", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
    secret = cookie.partition("=")[2].partition(";")[0]
    about = {"cookie": f"{SECURE_COOKIE_BELOW}={secret}", "origin": "https://ci.example.org", **PUBLIC}
    left = below.post("/ci/logout", about, data={"csrf": csrf_of(secret)})
    assert (left.status_code, left.headers["location"]) == (303, "/ci/login")
    assert {"Path=/ci/", "Max-Age=0", "Secure"} <= set(left.headers["set-cookie"].split("; "))
    assert below.get("/ci/builds", {**about, **HTML}).headers["location"] == "/ci/login"


def test_with_a_host_of_its_own_the_cookie_is_for_that_host_alone_and_the_browser_comes_encrypted(stage: Stage) -> None:
    stage.public_url = "https://ci.example.org"
    key = stage.passes.issue(Kind.LINK, "ada", "admin", now=stage.now, lasts_ms=1000)
    entered = stage.post("/login", PUBLIC, data={"key": key})
    assert entered.headers["set-cookie"].startswith(f"{SECURE_COOKIE}=")
    assert {"Path=/", "Secure"} <= set(entered.headers["set-cookie"].split("; "))
    assert entered.headers["strict-transport-security"] == HSTS
    assert "strict-transport-security" not in stage.get("/login", {"host": "127.0.0.1"}).headers


def test_a_host_that_is_shared_is_not_ours_to_bind(below: Stage) -> None:
    assert "strict-transport-security" not in below.get("/ci/login", PUBLIC).headers


def test_programs_are_led_below_the_prefix_as_well(below: Stage) -> None:
    token = {**below.token("admin"), **PUBLIC}
    described = below.get("/ci/api/v1/openapi.json", token).json()
    assert described["servers"] == [{"url": "/ci"}]
    assert below.get("/ci/api/v1/builds/1", token).json()["id"] == 1
    refused = below.get("/ci/api/v1/builds/77", {**token, **HTML})
    assert (refused.status_code, refused.headers["content-type"]) == (404, "application/problem+json")
    assert below.post("/ci/hooks/github", PUBLIC).status_code == 401
    assert "servers" not in below.get("/api/v1/openapi.json", {**token, "host": "127.0.0.1"}).json()


def test_the_prefix_alone_leads_to_the_pages_below_it(below: Stage) -> None:
    answer = below.get("/ci", PUBLIC)
    assert (answer.status_code, answer.headers["location"]) == (308, "https://ci.example.org/ci/")
    assert below.get("/cinema", with_session(below)).status_code == 404


def test_a_prefix_that_is_an_address_of_ours_is_refused(stage: Stage) -> None:
    stage.public_url = "https://ci.example.org/builds/here"
    with pytest.raises(UsageError, match="an address of their own"):
        _ = stage.app


CLIENTS = [
    # (who asks, what it says for whom, who that is)
    (PROXY, "203.0.113.9", "203.0.113.9"),
    (PROXY, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
    (PROXY, "203.0.113.9, 10.1.9.9", "203.0.113.9"),
    (PROXY, "203.0.113.9:4711", "203.0.113.9"),
    (PROXY, "[2001:db8::9]:4711", "2001:db8::9"),
    (PROXY, "unknown", PROXY),
    (PROXY, "<script>", PROXY),
    (PROXY, ", ,", PROXY),
    (PROXY, "", PROXY),
    (PROXY, None, PROXY),
    (STRANGER, "203.0.113.9", STRANGER),
    (STRANGER, "10.1.0.7", STRANGER),
    ("10.2.0.7", "203.0.113.9", "10.2.0.7"),
]


OTHER_WORDS = ("forwarded", "x-real-ip", "client-ip", "true-client-ip", "cf-connecting-ip")


def test_only_a_proxy_that_was_named_says_for_whom_it_asks(below: Stage) -> None:
    look = looking(below)
    for peer, said, who in CLIENTS:
        below.peer = peer
        for other in ({}, dict.fromkeys(OTHER_WORDS, "203.0.113.77")):
            about = {**PUBLIC, **other, **({} if said is None else {"x-forwarded-for": said})}
            assert look(about)["client"] == who, (peer, said)


PLACES: list[dict[str, str]] = [
    {"x-forwarded-proto": "http"},
    {"x-forwarded-host": "evil.example"},
    {"x-forwarded-prefix": "//evil.example"},
    {"forwarded": "host=evil.example;proto=http"},
    {"x-original-url": "//evil.example/"},
    {"x-forwarded-port": "8443"},
    {"x-forwarded-ssl": "off"},
]


def test_nobody_says_where_the_pages_are(below: Stage) -> None:
    look = looking(below)
    for about in PLACES:
        for peer in (STRANGER, PROXY):
            below.peer = peer
            # Whether the visitor's connection is encrypted is the proxy's to say; see below.
            if peer == STRANGER or "x-forwarded-proto" not in about:
                assert look({**PUBLIC, **about})["url"] == "https://ci.example.org/ci/seen", (peer, about)


def test_whoever_comes_to_the_proxy_without_encryption_is_led_to_it(below: Stage) -> None:
    about = {**with_session(below), "x-forwarded-proto": "http"}
    led = below.get("/builds?state=failed", about)
    assert (led.status_code, led.headers["location"]) == (308, "https://ci.example.org/ci/builds?state=failed")
    sent = below.post("/ci/builds/1/retry", about)
    assert sent.status_code == 403
    assert below.dispatcher.wishes == []
    assert below.get("/ci/builds", {**about, "x-forwarded-proto": "https"}).status_code == 200


HOSTS = [
    ("ci.example.org", 200), ("CI.example.org", 200), ("ci.example.org:443", 200), ("127.0.0.1:7380", 200),
    ("[::1]:7380", 200), ("localhost:7380", 200), ("buildbox", 200),
    ("evil.example", 421), ("ci.example.org.evil.example", 421), ("ci.example.org:8443", 421),
    ("127.0.0.1.evil.example", 421), ("evil.example#ci.example.org", 421), ("ci.example.org@evil.example", 421),
    ("[::1", 421),
]  # fmt: skip


def test_a_name_that_anybody_may_point_here_is_not_ours(below: Stage) -> None:
    assert [(host, below.get("/healthz", {"host": host}).status_code) for host, _ in HOSTS] == HOSTS


def test_without_an_address_for_people_any_name_is_taken_and_no_prefix(stage: Stage) -> None:
    stage.proxies, stage.peer = (PROXY,), PROXY
    assert stage.get("/healthz", {"host": "anything.example"}).status_code == 200
    look = looking(stage)
    assert look({"x-forwarded-proto": "https"})["url"] == "https://ci.example.org/seen"
    assert look({})["url"] == "http://ci.example.org/seen"


ORIGINS = [
    ("https://ci.example.org", 303), (None, 303), ("http://ci.example.org", 403), ("https://evil.example", 403),
    ("https://ci.example.org:8443", 403), ("null", 403), ("https://ci.example.org.evil.example", 403),
]  # fmt: skip


def test_a_change_comes_from_a_page_at_our_address(below: Stage) -> None:
    secret = below.session("run")
    for origin, status in ORIGINS:
        said = {} if origin is None else {"origin": origin}
        about = {"cookie": f"{SECURE_COOKIE_BELOW}={secret}", **PUBLIC, **said}
        sent = below.post("/ci/builds/1/retry", about, data={"csrf": csrf_of(secret)})
        assert sent.status_code == status, origin


def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(below: Stage) -> None:
    answer = below.post("/ci/hooks/github", {**PUBLIC, "transfer-encoding": "chunked", "content-length": "3"})
    assert (answer.status_code, answer.headers["connection"]) == (400, "close")
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("typed", ["127.0.0.1", "10.1.0.0/16", "::1", "2001:db8::/32", "127.0.0.1/32"])
def test_proxies_are_addresses_and_networks(typed: str) -> None:
    assert values.proxy(typed) == typed.removesuffix("/32" if typed.startswith("127") else "")


@pytest.mark.parametrize("typed", ["*", "0.0.0.0/0", "::/0", "10.1.0.7/16", "proxy.example.org", "10.1.0.0/33", ""])
def test_the_whole_world_is_no_proxy(typed: str) -> None:
    with pytest.raises(ValueError, match=r"neither|everybody|printable"):
        values.proxy(typed)


@pytest.mark.parametrize(
    "typed", ["https://a.example//ci", "https://a.example/../ci", "https://a.example/ci/./b", "ci"]
)
def test_an_address_for_people_has_no_crooked_path(typed: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        values.public_url(typed)
    assert values.public_url("https://a.example/ci/") == "https://a.example/ci"


def looking(stage: Stage) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Asks with these headers, and says what the application takes the request for."""
    seen: dict[str, str] = {}

    @stage.app.get("/seen")
    async def look(request: Request) -> Response:
        assert request.client is not None
        seen.update(client=request.client.host, url=str(request.url))
        return Response()

    def ask(about: Mapping[str, str]) -> dict[str, str]:
        seen.clear()
        answer = stage.get("/seen", about)
        assert answer.status_code == 200, answer.text
        return seen

    return ask
