"""Connections of peers who take their time, on purpose or not, and of too many of them (S30 of the threat model)."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import h11
import pytest

from surveil.errors import InfrastructureError
from surveil.web import connecting
from surveil.web.connecting import Bounded, Complaints, leave_unread, make_room
from tests.web.served import Served, served
from tests.web.stage import PATIENCE_S, Stage

NEVER_S = 3600.0
SOON_S = 0.1
HEAD = b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture
def server(stage: Stage) -> Iterator[Served]:
    with served(stage) as server:
        yield server


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> dict[object, float]:
    """How long each part of a request may take: for ever, until a test says otherwise."""
    made: dict[object, float] = {h11.IDLE: NEVER_S, h11.SEND_BODY: NEVER_S}
    monkeypatch.setattr(connecting, "_PATIENCE_S", made)
    return made


def connected(server: Served, source: str = "127.0.0.1") -> socket.socket:
    parts = urlsplit(server.address)
    assert parts.hostname
    return socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE_S, source_address=(source, 0))


def is_ended(peer: socket.socket) -> bool:
    """Wait for the end, or for an answer."""
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True


def answered(peer: socket.socket, end: bytes) -> None:
    """Read an answer up to these words of it."""
    found = b""
    while end not in found:
        piece = peer.recv(4096)
        assert piece, found
        found += piece
    assert found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: 1"])
def test_whoever_does_not_say_what_they_want_is_left(
    server: Served, patience: dict[object, float], said: bytes
) -> None:
    patience[h11.IDLE] = SOON_S
    with connected(server) as peer:
        peer.sendall(said)
        assert is_ended(peer)


@pytest.mark.parametrize(
    "length", [b"Content-Length: 1000\r\n\r\nkey", b"Transfer-Encoding: chunked\r\n\r\n3\r\nkey\r\n"]
)
def test_whoever_does_not_end_what_they_say_is_left(
    server: Served, patience: dict[object, float], length: bytes
) -> None:
    patience[h11.SEND_BODY] = SOON_S
    with connected(server) as peer:
        peer.sendall(HEAD + length)
        assert is_ended(peer)


def test_whoever_goes_on_and_on_is_left(server: Served, patience: dict[object, float]) -> None:
    """The answer is there before the body is: nobody waits for it, and it could go on for ever."""
    assert set(patience.values()) == {NEVER_S}
    piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with connected(server) as peer:
        peer.sendall(b"POST /builds/1/cancel HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            peer.sendall(piece * 1000)


def test_a_byte_now_and_then_gains_no_time(server: Served, patience: dict[object, float]) -> None:
    patience[h11.IDLE] = 5 * SOON_S
    with connected(server) as peer:
        peer.settimeout(SOON_S)
        for _ in range(int(PATIENCE_S / SOON_S)):
            try:
                peer.sendall(b"G")
                if peer.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("it was listened to for ever")


def test_whoever_has_asked_has_all_the_time(server: Served, stage: Stage) -> None:
    """An answer may take long, and a stream of events is one; the next request on a connection begins anew."""
    about = f"Host: here\r\nAuthorization: {stage.token()['authorization']}\r\n\r\n".encode()
    with connected(server) as peer:
        for _ in range(2):
            peer.sendall(b"GET /healthz HTTP/1.1\r\n" + about)
            answered(peer, b'"}')
        peer.sendall(b"GET /api/v1/ev")
        peer.sendall(b"ents HTTP/1.1\r\n" + about)
        answered(peer, b"retry: 1000")
        assert server.is_patient() == [True]


def test_one_more_than_there_is_room_for_is_not_let_in(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bounded, "most", 3)
    with ExitStack() as stack:
        first, *_ = [stack.enter_context(connected(server)) for _ in range(3)]
        assert is_ended(stack.enter_context(connected(server)))
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        answered(first, b'"}')


def test_one_address_keeps_nobody_out(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that held all connections, each for a minute with a body that did not come, was the only one answered."""
    monkeypatch.setattr(Bounded, "most", 4)
    ask = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    with ExitStack() as stack:
        greedy = [stack.enter_context(connected(server, "127.0.0.9")) for _ in range(4)]
        others = [stack.enter_context(connected(server, source)) for source in ("127.0.0.2", "127.0.0.3")]
        for other in others:
            other.sendall(ask)
            answered(other, b'"}')
        assert is_ended(greedy[3]), "the latest go first"
        assert is_ended(greedy[2])
        assert is_ended(stack.enter_context(connected(server, "127.0.0.9"))), "and it gets no more of them"
        for peer in (*greedy[:2], *others):
            peer.sendall(ask)
            answered(peer, b'"}')


def test_whoever_has_gone_is_not_counted(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[str, dict[Bounded, None]] = {}
    monkeypatch.setattr(Bounded, "_held", held)
    with connected(server, "127.0.0.9") as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answered(peer, b'"}')
        assert is_ended(peer)
    with connected(server) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        answered(peer, b'"}')
        assert [(address, len(each)) for address, each in held.items()] == [("127.0.0.1", 1)]


def test_whoever_takes_nothing_is_left_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "UNREAD_MS", 1000)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        leave_unread(listener)
        stack.enter_context(socket.create_connection(listener.getsockname()))
        ours = stack.enter_context(listener.accept()[0])
        ours.settimeout(PATIENCE_S)
        with pytest.raises(TimeoutError) as told:
            ours.sendall(bytes(64 * 1024 * 1024))
        assert told.value.errno is not None, "the system ended it, and not our own patience"


def test_who_may_have_too_few_files_serves_nobody_and_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    with pytest.raises(InfrastructureError, match=r"only 64 files, and `web` needs 1024: type 'ulimit -n 8192'"):
        make_room()


def test_that_there_are_no_files_left_is_said_once_and_not_for_each_who_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener, said = socket.create_server(("127.0.0.1", 0), backlog=100), list[str]()
    monkeypatch.setattr(connecting.voice, "error", said.append)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(Complaints().hear)
        server = await asyncio.start_server(lambda *_: None, sock=listener, backlog=100)
        monkeypatch.setattr(listener.__class__, "accept", full)
        with socket.create_connection(listener.getsockname()):
            while not tried:  # noqa: ASYNC110  # No event tells of a turn of the loop.
                await asyncio.sleep(0)
        server.close()
        loop.call_exception_handler({"message": "another thing"})

    tried: list[int] = []

    def full(_: socket.socket) -> None:
        tried.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    asyncio.run(serve())
    assert len(tried) > 10, "the loop tries for each who may wait"
    assert said == [said[0]]
    assert "ulimit -n 8192" in said[0]
    assert "another thing" in caplog.text, "whatever else goes wrong is still said"
