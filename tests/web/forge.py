"""A forge that is played over HTTP, as its documents say that it answers: GitHub on a server of one's own, or Gitea.

What belongs here: its answers, and one person with one button. What does not: what is expected of us (`test_forges`).

GitHub: docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps, docs.github.com/rest/users/users,
/rest/orgs/orgs and /rest/teams/teams. Gitea: docs.gitea.com/development/oauth2-provider and its `swagger.v1.json`
(User, Organization, Team). Of each the fields that tell who somebody is, and some of the many beside them.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from surveil.web.providers.rules import Kind

CLIENT: Final = "Iv1.8a61f9b3a7aba766"
SECRET: Final = "a secret of the client"
_SIGN_IN: Final = "/login/oauth/authorize"
_TOKENS: Final = "/login/oauth/access_token"

Said = tuple[int, dict[str, str], bytes]


class PlayedForge:
    """A forge at `address`, where `person` signs in. By path, `instead` has what is answered instead."""

    def __init__(self, kind: Kind, address: str) -> None:
        self.kind = kind
        self.address = address
        self.is_github = kind is Kind.GITHUB
        self.asked: list[str] = []
        self.began: list[dict[str, str]] = []
        self.forms: list[dict[str, str]] = []
        self.instead: dict[str, Callable[[], Said]] = {}
        self.person: Any = _github_person() if self.is_github else _gitea_person()
        self.organisations: list[Any] = []
        self.teams: list[Any] = []
        self.page_most = 1000
        self.tokens: dict[str, str] = {}
        """What each may read, by token."""
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def api(self) -> str:
        return "/api/v3" if self.is_github else "/api/v1"

    def join(self, number: int, name: str, *teams: str) -> None:
        """Have the person be in this organisation, and in these teams of it."""
        organisation = {"id": number, "description": "", "avatar_url": f"{self.address}/avatars/{number}"}
        if self.is_github:
            organisation |= {"login": name, "node_id": "MDEy", "url": f"{self.address}/api/v3/orgs/{name}"}
        else:
            organisation |= {"name": name, "username": name, "full_name": "", "visibility": "private"}
        self.organisations.append(organisation)
        for each in teams:
            team = {"id": number * 100 + len(self.teams), "name": each, "organization": organisation}
            if self.is_github:
                team |= {"slug": each.lower().replace(" ", "-"), "parent": None, "privacy": "closed"}
            self.teams.append(team)

    def sign_in(self, asked: Mapping[str, str], *, client: str = CLIENT) -> dict[str, str]:
        """What a browser brings back that was led here with this, once the person pressed the button."""
        self.began.append(dict(asked))
        code = secrets.token_hex(10)
        self._codes[code] = {**asked, "client_id": client}
        return {"code": code, "state": asked["state"]}

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Said:
        """What it says."""
        path, query = urlsplit(url).path, _plain_query(urlsplit(url).query)
        self.asked.append(f"{method} {path}")
        if path in self.instead:
            return self.instead[path]()
        match method, path:
            case "GET", "/login/oauth/authorize":
                fields = "".join(f'<input type="hidden" name="{name}" value="{query[name]}">' for name in query)
                form = f'<form method="post" action="{_SIGN_IN}">{fields}<button>Authorize surveil</button></form>'
                return 200, {"content-type": "text/html"}, form.encode()
            case "POST", "/login/oauth/authorize":
                asked = _plain_query(body.decode())
                back = f"{asked['redirect_uri']}?{urlencode(self.sign_in(asked, client=asked['client_id']))}"
                return 302, {"location": back}, b""
            case "POST", "/login/oauth/access_token":
                return self._redeem(_plain_query(body.decode()))
            case "GET", _ if path.startswith(self.api):
                return self._told(path.removeprefix(self.api), query, headers)
            case _:
                return 404, {}, b"{}"

    def _redeem(self, form: dict[str, str]) -> Said:
        self.forms.append(form)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return self._refused("incorrect_client_credentials", "unauthorized_client")
        asked = self._codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if (
            asked is None
            or asked["client_id"] != form["client_id"]
            or asked["redirect_uri"] != form["redirect_uri"]
            or (asked["code_challenge_method"], asked["code_challenge"]) != ("S256", challenge)
        ):
            return self._refused("bad_verification_code", "unauthorized_client")
        token = f"gho_{secrets.token_hex(18)}"
        self.tokens[token] = asked.get("scope", "")
        told: dict[str, Any] = {"access_token": token, "token_type": "bearer"}
        told |= {"scope": self.tokens[token]} if self.is_github else {"expires_in": 3600, "refresh_token": "eyJh"}
        return _json(told)

    def _refused(self, github: str, gitea: str) -> Said:
        """GitHub refuses with the status of what is good."""
        error = {"error": github if self.is_github else gitea, "error_description": "Ring 555 for help."}
        return _json(error, 200 if self.is_github else 400)

    def _told(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> Said:
        scope = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
        if scope is None:
            return _json({"message": "Bad credentials"}, 401)
        if path == "/user":
            return _json(self.person)
        wanted = "read:org" if self.is_github else "read:organization"
        if wanted not in scope.split():
            return _json({"message": "Requires authentication"}, 403)
        found = {"/user/orgs": self.organisations, "/user/teams": self.teams}[path]
        each = min(int(query["per_page" if self.is_github else "limit"]), self.page_most)
        page = int(query["page"])
        part = found[(page - 1) * each : page * each]
        more = {} if self.is_github else {"x-total-count": str(len(found))}
        if self.is_github and len(found) > page * each:
            more = {"link": f'<{self.address}{path}?page={page + 1}>; rel="next", <{self.address}{path}>; rel="last"'}
        status, kept, body = _json(part)
        return status, {**kept, **more}, body


@contextmanager
def played_forge(kind: Kind) -> Iterator[PlayedForge]:
    """The forge, at a port of its own until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, kept, said = forge.answer(self.command, self.path, headers, body)
            self.send_response(status)
            for name, value in {**kept, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(said)
            except OSError:
                self.close_connection = True  # Whoever asked has read enough.

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        forge = PlayedForge(kind, f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join()


def _github_person() -> dict[str, Any]:
    return {
        "login": "grace", "id": 583231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "type": "User", "site_admin": False,
        "name": "Grace", "company": None, "email": "grace@example.org", "two_factor_authentication": True,
    }  # fmt: skip


def _gitea_person() -> dict[str, Any]:
    return {
        "id": 7, "login": "grace", "login_name": "", "source_id": 0, "full_name": "Grace", "email": "g@example.org",
        "is_admin": False, "active": True, "prohibit_login": False, "restricted": False, "username": "grace",
    }  # fmt: skip


def _json(document: Any, status: int = 200) -> Said:
    return status, {"content-type": "application/json; charset=utf-8"}, json.dumps(document).encode()


def _plain_query(text: str) -> dict[str, str]:
    return {name: found[0] for name, found in parse_qs(text, keep_blank_values=True).items()}
