"""Servers of others: nobody leads us where we must not go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from surveil import calling
from surveil.calling import ANSWER_BYTES_MAX, Answer, Caller, CallError, objection

PUBLIC = "93.184.215.14"
NEVER = (
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.0.1", "192.0.0.8", "192.0.2.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "fe80::1", "fe80::1%eth0", "ff02::1", "fec0::1",
    "100::1", "2001:db8::1", "2001::1",
)  # fmt: skip
OWN = (
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "fc00::1",
    "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
)  # fmt: skip


@pytest.mark.parametrize("address", NEVER)
def test_machines_that_only_exist_for_their_neighbours_are_asked_never(address: str) -> None:
    for private in (False, True):
        assert objection("git.example.org", address, private=private)


@pytest.mark.parametrize("address", OWN)
def test_a_network_of_ones_own_is_asked_where_it_is_meant(address: str) -> None:
    assert "private = true" in objection("git.example.org", address, private=False)
    assert objection("git.example.org", address, private=True) == ""


@pytest.mark.parametrize("address", [PUBLIC, "172.32.0.1", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e"])
def test_everybody_elses_is_asked(address: str) -> None:
    assert objection("git.example.org", address, private=False) == ""


def test_this_machine_is_asked_by_whoever_writes_so_and_only_this_machine() -> None:
    for host in ("localhost", "127.0.0.1", "::1", "[::1]", "LOCALHOST"):
        assert objection(host, "127.0.0.1", private=False) == ""
        assert objection(host, "::1", private=False) == ""
        assert objection(host, "10.0.0.1", private=True)
        assert objection(host, PUBLIC, private=True)


class Server:
    """Answers on loopback with what it is told to, and notes what came."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"{}"
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                content = self.rfile.read(int(self.headers["content-length"]))
                server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, content))
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # Whoever asked has heard enough.
                    self.close_connection = True

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def call(url: str, *names: Sequence[str], private: bool = False) -> tuple[Answer | str, int]:
    """What comes of a call, and how often the name was looked up; `names` are what it leads to, one after the other."""
    looked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        del port
        looked.append(host)
        return names[min(len(looked), len(names)) - 1]

    async def ask() -> Answer | str:
        async with Caller(private=private, resolve=resolve) as caller:
            try:
                return await caller.call("POST", url, headers={"x-own": "1"}, document={"a": 1})
            except CallError as error:
                return str(error)

    return asyncio.run(ask()), len(looked)


def test_a_question_and_its_answer(server: Server) -> None:
    server.status, server.headers, server.body = 418, {"X-Tea": "pot"}, b'{"short": true}'
    answer, looked = call(f"http://localhost:{server.port}/a/b?c=d", ["127.0.0.1"])
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["x-tea"], answer.document(), looked) == (418, "pot", {"short": True}, 1)
    [(path, headers, body)] = server.asked
    assert (path, body) == ("/a/b?c=d", b'{"a": 1}')
    assert headers["host"] == f"localhost:{server.port}"
    assert headers["content-type"] == "application/json"
    assert headers["x-own"] == "1"


def test_the_next_address_is_tried_where_the_first_does_not_answer(server: Server) -> None:
    answer, _ = call(f"http://localhost:{server.port}/", ["::1", "127.0.0.1"])
    assert isinstance(answer, Answer)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.org/", "ftp://git.example.org/", "file:///etc/passwd", "gopher://localhost:70/",
        "https://user@git.example.org/", "http://user:word@localhost/", "//git.example.org/", "", "http://",
        "http://0x7f000001/", "http://localhost.example.org/",
    ],
)  # fmt: skip
def test_nobody_is_asked_without_encryption_or_by_another_way(url: str) -> None:
    answer, looked = call(url, ["127.0.0.1"])
    assert isinstance(answer, str)
    assert looked == 0


@pytest.mark.parametrize(
    "host", ["127.1.1.1", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "metadata", "[::ffff:7f00:1]"]
)
def test_other_spellings_of_this_machine_are_judged_by_what_they_lead_to(server: Server, host: str) -> None:
    answer, _ = call(f"https://{host}:{server.port}/", ["127.0.0.1"])
    assert "where no server of others is" in str(answer)
    assert server.asked == []


def test_one_bad_address_among_good_ones_is_enough(server: Server) -> None:
    answer, _ = call(f"https://git.example.org:{server.port}/", [PUBLIC, "169.254.169.254"])
    assert "169.254.169.254" in str(answer)


def test_a_name_is_looked_up_once_so_that_it_cannot_change_its_mind(server: Server) -> None:
    answer, looked = call(f"http://localhost:{server.port}/", ["127.0.0.1"], ["169.254.169.254"])
    assert isinstance(answer, Answer)
    assert looked == 1


def test_nobody_is_followed_elsewhere(server: Server) -> None:
    server.status, server.headers = 307, {"Location": "http://169.254.169.254/latest/meta-data/"}
    answer, looked = call(f"http://localhost:{server.port}/", ["127.0.0.1"])
    assert isinstance(answer, Answer)
    assert (answer.status, looked, len(server.asked)) == (307, 1, 1)


def test_what_is_said_without_an_end_is_heard_in_part(server: Server) -> None:
    server.body = b"x" * (ANSWER_BYTES_MAX * 40)
    answer, _ = call(f"http://localhost:{server.port}/", ["127.0.0.1"])
    assert isinstance(answer, Answer)
    assert len(answer.body) == ANSWER_BYTES_MAX
    assert answer.document() is None


def test_a_name_that_hangs_or_is_none_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "TIMEOUT_S", 0.05)

    async def hang(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return []

    async def ask() -> None:
        async with Caller(resolve=hang) as caller:
            await caller.call("POST", "https://git.example.org/", headers={})

    with pytest.raises(CallError, match="does not answer within"):
        asyncio.run(ask())
    assert "has no address" in str(call("https://git.example.org/", [])[0])
