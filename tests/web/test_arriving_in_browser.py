"""Signing in at a provider that others wrote, from another site, in a real browser."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surveil.calling import Caller
from surveil.store.people import Role
from surveil.web.providers.openid import OpenID
from surveil.web.providers.rules import Grant, Kind, ProviderRule
from surveil.web.visitors import COOKIE
from tests.net.stage import free_ports
from tests.npm import installed
from tests.system.browsing import browser
from tests.web.served import served
from tests.web.stage import Stage

pytestmark = pytest.mark.timeout(300)

SOURCE = Path(__file__).parent / "identities"


@contextmanager
def identities(port: int, back: str) -> Iterator[None]:
    """The provider runs, and leads people back to this address."""
    command = ["node", "provider.mjs", str(port), back]
    with subprocess.Popen(command, cwd=installed(SOURCE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready\n"
            yield
        finally:
            program.kill()


def test_whoever_signs_in_at_the_provider_comes_back_signed_in(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    port, caller = free_ports(), Caller()
    secret = tmp_path / "corp.secret"
    secret.write_text("a secret of the client")
    grants = (Grant(group="platform", role=Role(repo="*", scope="read", source="corp")),)
    rule = ProviderRule(
        kind=Kind.OIDC, name="corp", title="Corp", issuer=f"http://localhost:{port}", client_id="surveil",
        client_secret_file=secret, grants=grants,
    )  # fmt: skip
    provider = stage.providers["corp"] = OpenID(rule, caller, back="", now=lambda: time.time_ns() // 1_000_000)
    with served(stage) as server, browser() as seen:
        provider.back = f"{server.address}/login/corp/back"
        server.wait_for(caller.__aenter__())
        with identities(port, provider.back):
            page = seen.page
            page.goto(server.address)
            page.click("text=Sign in with Corp")
            page.fill("input[name=login]", "grace")
            page.fill("input[name=password]", "whatever")
            page.click("button[type=submit]")
            page.click("button[type=submit]")
            page.wait_for_url(f"{server.address}/")
            page.goto(f"{server.address}/settings")
            assert "grace@corp" in page.inner_text("main")
            assert [each["name"] for each in page.context.cookies(server.address)] == [COOKIE]
        server.wait_for(caller.__aexit__(None, None, None))
    (person,) = stage.passes.people.listed()
    assert (person.name, person.subject, person.roles) == ("grace@corp", "grace", (grants[0].role,))
