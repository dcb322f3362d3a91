"""A Vault's key-value engine, as its documentation describes it, played by a server of the test.

No Vault and no OpenBao can be installed from where the tests' other servers come.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from surveil.config import DispatcherConfig, load
from surveil.errors import InfrastructureError, NotFoundError, SurveilError
from surveil.hands import vault as module
from surveil.hands.vault import Vault

TOKEN = "hvs.goodtoken"


class Server:
    """What is at which path, and what was asked."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {
            "/v1/kv/data/ci/deploy": {"password": "hush-hush", "number": 7, "tree": {"a": 1}},
            "/v1/kv/data/ci/deleted": None,
        }
        self.asked: list[tuple[str, str | None]] = []
        self.status: int | None = None
        self.body = b""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        token = asked.headers["X-Vault-Token"]
        self.asked.append((asked.path, token))
        if self.status is not None:
            status, body = self.status, self.body
        elif token != TOKEN:
            status, body = 403, json.dumps({"errors": ["permission denied"]}).encode()
        elif self.kept.get(asked.path) is None:
            status, body = 404, json.dumps({"errors": []}).encode()
        else:
            document = {"data": {"data": self.kept[asked.path], "metadata": {"version": 3}}}
            status, body = 200, json.dumps(document).encode()
        asked.send_response(status)
        asked.send_header("Content-Length", str(len(body)))
        asked.end_headers()
        asked.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


def vault_of(server: Server, tmp_path: Path, token: str = TOKEN) -> Vault:
    (tmp_path / "token").write_text(f"{token}\n")
    return Vault(address=server.address, token=tmp_path / "token", mount="kv")


def test_a_field_is_read_with_the_token_of_the_file(server: Server, tmp_path: Path) -> None:
    vault = vault_of(server, tmp_path)
    assert vault.read("ci/deploy#password") == b"hush-hush"
    assert vault.read("ci/deploy#number") == b"7"
    assert json.loads(vault.read("ci/deploy#tree")) == {"a": 1}
    assert server.asked[0] == ("/v1/kv/data/ci/deploy", TOKEN)
    (tmp_path / "token").write_text("hvs.other")
    with pytest.raises(InfrastructureError, match=r"does not let the token in .*/token read kv/ci/deploy"):
        vault.read("ci/deploy#password")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("ci/nothing#password", "has nothing at kv/ci/nothing"),
        ("ci/deleted#password", "has nothing at kv/ci/deleted"),
        ("ci/deploy#missing", "has no field missing at kv/ci/deploy"),
    ],
)
def test_what_is_not_there_is_said_with_its_place(server: Server, tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        vault_of(server, tmp_path).read(place)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, b'{"errors": ["Vault is sealed"]}', "status 503: Vault is sealed"),
        (500, b"<html>", "status 500: and says nothing"),
        (302, b"", "status 302"),
    ],
)
def test_a_vault_that_is_not_well_is_quoted(
    server: Server, tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    server.status, server.body = status, body
    with pytest.raises(InfrastructureError, match=said):
        vault_of(server, tmp_path).read("ci/deploy#password")


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"data": []}', b'{"data": {"data": null}}'])
def test_an_answer_of_another_shape_holds_no_field(server: Server, tmp_path: Path, body: bytes) -> None:
    server.status, server.body = 200, body
    with pytest.raises(NotFoundError, match="has no field"):
        vault_of(server, tmp_path).read("ci/deploy#password")


def test_an_answer_without_an_end_is_left(server: Server, tmp_path: Path) -> None:
    server.status, server.body = 200, b"x" * (module.ANSWER_BYTES_MAX + 1)
    with pytest.raises(InfrastructureError, match="answers without an end"):
        vault_of(server, tmp_path).read("ci/deploy#password")


def test_a_vault_that_is_away_or_silent_is_given_up_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    (tmp_path / "token").write_text(TOKEN)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InfrastructureError, match=r"does not answer .* is unsealed"):
            Vault(address=address, token=tmp_path / "token", mount="kv").read("a#b")
    with pytest.raises(InfrastructureError, match="does not answer"):
        Vault(address=address, token=tmp_path / "token", mount="kv").read("a#b")


@pytest.mark.parametrize("token", ["", "two\nlines", "\xe4"])
def test_a_file_without_a_token_is_told(server: Server, tmp_path: Path, token: str) -> None:
    with pytest.raises(InfrastructureError, match="token"):
        vault_of(server, tmp_path, token).read("a#b")
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("https://vault.example.org:8200", True),
        ("https://vault.example.org/base", True),
        ("http://127.0.0.1:8200", True),
        ("http://vault.example.org:8200", False),
        ("vault.example.org", False),
        ("https://user:pass@vault.example.org", False),
    ],
)
def test_only_this_machine_is_asked_without_encryption(address: str, fine: bool) -> None:
    if fine:
        assert load(DispatcherConfig, {"vault": address}).value.vault == address
    else:
        with pytest.raises(SurveilError, match="vault"):
            load(DispatcherConfig, {"vault": address})
