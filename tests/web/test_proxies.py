"""Everything works through a real nginx and a real Caddy, below a prefix, as the how-to sets them up."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from fastapi import Request, Response

from surveil.core.model import Status
from surveil.store.passes import Kind
from surveil.web.limits import BODY_BYTES_MAX
from surveil.web.visitors import SECURE_COOKIE_BELOW
from tests.store.records import make_build, make_job, make_note, new
from tests.system.browsing import Seen, browser, steady_network
from tests.web.proxies import EXAMPLES, Proxy, caddy, nginx
from tests.web.served import served
from tests.web.stage import Stage

pytestmark = pytest.mark.timeout(300)

Starter = Callable[[Proxy, str], AbstractContextManager[None]]
HOW_TO = EXAMPLES.parent / "reverse-proxy.md"


def stripping(proxy: Proxy, surveil: str) -> AbstractContextManager[None]:
    return nginx(proxy, surveil, strips=True)


@contextmanager
def passed_on(stage: Stage, start: Starter) -> Iterator[tuple[Proxy, httpx2.Client]]:
    """The pages behind a proxy, and a client that trusts it and no other."""
    proxy = Proxy(stage.folder)
    stage.public_url, stage.proxies = proxy.url, ("127.0.0.1",)
    with served(stage) as server, start(proxy, server.address.removeprefix("http://")):
        trusting = ssl.create_default_context(cafile=str(proxy.certificate))
        with httpx2.Client(verify=trusting, timeout=30) as client:
            yield proxy, client


LOOKED_AT = ("/", "/builds", "/builds/1", "/runners")
"""What each page leads to is read in `test_front`, without a browser."""
LEADING_OUT = """(root) => ["href", "src", "action", "hx-get", "data-address"].flatMap(
    (name) => [...document.querySelectorAll(`[${name}]`)].map((each) => new URL(each.getAttribute(name), location).href)
).filter((to) => !to.startsWith(root))"""


@pytest.mark.parametrize("start", [nginx, caddy])
def test_a_browser_finds_everything_below_the_prefix(stage: Stage, start: Starter) -> None:
    with steady_network(), passed_on(stage, start) as (proxy, _), browser(any_certificate=True) as seen:
        page, outside, failed = seen.page, [], []
        page.on("request", lambda asked: None if asked.url.startswith(f"{proxy.url}/") else outside.append(asked.url))
        page.on("response", lambda told: failed.append((told.status, told.url)) if told.status >= 400 else None)
        sign_in(stage, proxy, seen)
        for path in LOOKED_AT:
            page.goto(proxy.url + path, wait_until="load")
            assert page.evaluate(LEADING_OUT, f"{proxy.url}/") == [], path
        it_is_live(stage, proxy, seen)
        page.goto(f"{proxy.url}/builds/1")
        page.get_by_role("button", name="Build again").click()
        page.wait_for_url("**/ci/builds/99")
        assert [what for what, _ in stage.dispatcher.wishes] == ["retry"]
        assert [status for status, url in failed if not url.endswith("/builds/99")] == []
        page.goto(f"{proxy.url}/builds/1/jobs/test")
        page.wait_for_selector(".log-rows .row")
        before = [each for each in seen.complaints if "404" not in each]
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/ci/login")
        assert page.context.cookies() == []
        assert outside == []
        # What follows the log may ask once more before its page is gone, and is told that it is nobody.
        assert (before, [each for each in seen.complaints if "404" not in each and "401" not in each]) == ([], [])


def sign_in(stage: Stage, proxy: Proxy, seen: Seen) -> None:
    """By a link, as a person does; its session is for what is below the prefix."""
    key = stage.passes.issue(Kind.LINK, "ada", "admin", now=stage.now, lasts_ms=60_000)
    seen.page.goto(f"{proxy.url}/login?key={key}")
    seen.page.get_by_role("button", name="Sign in").click()
    seen.page.wait_for_url("**/ci/")
    (cookie,) = seen.page.context.cookies()
    words = {"name": SECURE_COOKIE_BELOW, "path": "/ci/", "secure": True, "httpOnly": True, "sameSite": "Lax"}
    assert words.items() <= cookie.items()


def it_is_live(stage: Stage, proxy: Proxy, seen: Seen) -> None:
    """What happens shows on a page that nobody loads again: the stream comes through, and htmx asks anew."""
    with seen.page.expect_response(lambda told: "/api/v1/events?" in told.url) as stream:
        seen.page.goto(f"{proxy.url}/builds")
    assert stream.value.status == 200
    seen.page.evaluate("window.unchanged = true")
    stage.desk.store.commit(
        new(make_build(3, state=Status.QUEUED), make_job(3), notes=(make_note("build", "3", build=3, state="queued"),))
    )
    seen.page.wait_for_selector('a[href="/ci/builds/3"]')
    assert seen.page.evaluate("window.unchanged") is True


@pytest.mark.parametrize("start", [nginx, stripping, caddy])
def test_programs_and_the_command_line_find_everything_below_the_prefix(stage: Stage, start: Starter) -> None:
    with passed_on(stage, start) as (proxy, client):
        people: list[str] = []

        @stage.app.get("/seen")
        async def look(request: Request) -> Response:
            assert request.client is not None
            people.append(f"{request.client.host} {request.url}")
            return Response()

        token = stage.token("admin")
        described = client.get(f"{proxy.url}/api/v1/openapi.json").json()
        assert described["servers"] == [{"url": "/ci"}]
        found = client.get(f"{proxy.url}/api/v1/builds", headers=token).json()
        assert [each["id"] for each in found["builds"]] == [2, 1]
        made = client.post(f"{proxy.url}/api/v1/builds/1/retry", headers=token)
        assert (made.status_code, made.json()["build"]) == (201, 99)
        assert client.get(f"{proxy.url}/api/v1/builds/1/jobs/te%73t", headers=token).json()["name"] == "test"
        large = client.post(f"{proxy.url}/hooks/generic", content=b"x" * (BODY_BYTES_MAX + 1))
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")
        with client.stream("GET", f"{proxy.url}/api/v1/events", headers=token) as stream:
            assert next(stream.iter_text()).startswith("retry:")
        alone = client.get(proxy.url)
        assert urljoin(proxy.url, alone.headers["location"]) == f"{proxy.url}/"
        led = client.get(f"http://127.0.0.1:{proxy.plain}/ci/builds")
        # Caddy takes its port for one that another maps to the usual one.
        assert led.status_code == 308
        assert led.headers["location"] in {f"{proxy.url}/builds", "https://127.0.0.1/ci/builds"}
        client.get(f"{proxy.url}/seen", headers={"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"})
        assert people == [f"127.0.0.1 {proxy.url}/seen"]
        assert typed(proxy, token, "show", "1", "--json")["id"] == 1


def typed(proxy: Proxy, token: dict[str, str], *words: str) -> Any:
    """What a command prints that asks over HTTP."""
    environment = {
        "PATH": os.environ["PATH"],
        "SURVEIL_SERVER": proxy.url,
        "SURVEIL_TOKEN": token["authorization"].partition(" ")[2],
        "SSL_CERT_FILE": str(proxy.certificate),
    }
    command = [sys.executable, "-m", "surveil", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_how_to_shows_the_very_files_that_are_tested(name: str) -> None:
    link = re.escape(f"[{name}](proxies/{name})")
    shown = re.findall(rf"^{link}.*?^```\w*\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    assert shown == [Path(EXAMPLES / name).read_text()]
