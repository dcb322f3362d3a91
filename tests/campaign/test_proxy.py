"""The proxy, between real sockets: it loses nothing that it should not, and does each thing that it is told to."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from tests.campaign.proxy import Proxy
from tests.campaign.weather import REPEAT_MS, Blow, End, Way, Weather

DISPATCHER = "127.0.0.1"
HERE = "127.0.0.2"
SOON_S = 60.0
QUIET_S = 0.3
TCP_REPAIR = 19
"""Of Linux's `tcp.h`: a socket that is closed under repair says nothing."""


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server((DISPATCHER, 0)) as server:
        server.settimeout(SOON_S)
        yield server


@pytest.fixture
def proxy(server: socket.socket) -> Iterator[Proxy]:
    with Proxy(HERE, DISPATCHER, (server.getsockname()[1],), seed=1) as proxy:
        yield proxy


@contextmanager
def pair(server: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A runner's end and the dispatcher's end of one connection through the proxy."""
    with socket.create_connection((HERE, server.getsockname()[1]), SOON_S) as runner:
        dispatcher, _ = server.accept()
        with dispatcher:
            dispatcher.settimeout(SOON_S)
            yield runner, dispatcher


def received(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def vanish(end: socket.socket) -> None:
    """Let an end be gone as with its host's power: nobody is told."""
    try:
        end.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        pytest.skip("to let a connection vanish takes root: run the tests as root, or in a user namespace")
    end.close()


def is_quiet(end: socket.socket) -> bool:
    """Nothing arrives here, for a while."""
    end.settimeout(QUIET_S)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(SOON_S)
    return False


def until(true: Callable[[], bool]) -> None:
    over = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < over
        time.sleep(0.01)


def passes(runner: socket.socket, dispatcher: socket.socket) -> None:
    runner.sendall(b"up")
    assert received(dispatcher, 2) == b"up"
    dispatcher.sendall(b"down")
    assert received(runner, 4) == b"down"


@pytest.mark.parametrize(
    "weather",
    [
        Weather(),
        Weather(delay_ms=20, jitter_ms=40),
        Weather(piece_bytes=1_000, bytes_per_s=4_000_000),
        Weather(loss=0.02, piece_bytes=1_448),
    ],
    ids=["fair", "late", "narrow", "lossy"],
)
def test_every_byte_arrives_once_and_in_its_order(server: socket.socket, proxy: Proxy, weather: Weather) -> None:
    proxy.set(weather)
    up, down = Random(2).randbytes(700_000), Random(3).randbytes(700_000)
    with pair(server) as (runner, dispatcher):
        senders = [
            threading.Thread(target=end.sendall, args=(data,)) for end, data in ((runner, up), (dispatcher, down))
        ]
        for sender in senders:
            sender.start()
        assert received(dispatcher, len(up)) == up
        assert received(runner, len(down)) == down
        for sender in senders:
            sender.join()
    until(lambda: proxy.standing == 0)
    assert (proxy.counts[Way.UP], proxy.counts[Way.DOWN]) == (len(up), len(down))


def test_both_ports_are_forwarded_each_to_its_own() -> None:
    with socket.create_server((DISPATCHER, 0)) as control, socket.create_server((DISPATCHER, 0)) as bulk:
        ports = (control.getsockname()[1], bulk.getsockname()[1])
        with Proxy(HERE, DISPATCHER, ports), pair(control) as first, pair(bulk) as second:
            passes(*first)
            passes(*second)


def test_an_orderly_end_is_one_on_the_other_side(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as (runner, dispatcher):
        runner.sendall(b"last words")
        runner.shutdown(socket.SHUT_WR)
        assert received(dispatcher, 99) == b"last words"
        dispatcher.sendall(b"and ours")
        dispatcher.close()
        assert received(runner, 99) == b"and ours"


def test_a_dispatcher_that_is_not_there_resets(server: socket.socket, proxy: Proxy) -> None:
    port = server.getsockname()[1]
    server.close()
    with pytest.raises(ConnectionError), socket.create_connection((HERE, port), SOON_S) as runner:
        received(runner, 1)


def test_what_a_stall_holds_back_arrives_when_it_is_over(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.stall()
        runner.sendall(b"up")
        dispatcher.sendall(b"down")
        runner.shutdown(socket.SHUT_WR)
        assert is_quiet(dispatcher)
        assert is_quiet(runner)
        proxy.heal()
        assert received(dispatcher, 99) == b"up"
        assert received(runner, 4) == b"down"


def test_a_stall_ends_by_itself_when_it_is_to(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.stall()
        proxy.heal_in(0.1)
        passes(runner, dispatcher)


@pytest.mark.parametrize("end", End)
def test_the_end_of_a_connection_does_not_pass_a_stall_either(server: socket.socket, proxy: Proxy, end: End) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.stall(Way.UP)
        if end is End.RESET:
            runner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        runner.close()
        assert is_quiet(dispatcher)
        proxy.heal()
        with suppress(ConnectionResetError):
            assert received(dispatcher, 1) == b""


def test_a_stall_of_one_way_leaves_the_other_as_it_was(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.stall(Way.UP)
        runner.sendall(b"up")
        dispatcher.sendall(b"down")
        assert received(runner, 4) == b"down"
        assert is_quiet(dispatcher)


def test_whoever_connects_during_a_stall_reaches_nobody_until_it_is_over(server: socket.socket, proxy: Proxy) -> None:
    proxy.stall()
    with socket.create_connection((HERE, server.getsockname()[1]), SOON_S) as runner:
        runner.sendall(b"hello?")
        server.settimeout(QUIET_S)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(SOON_S)
        proxy.heal()
        dispatcher, _ = server.accept()
        with dispatcher:
            assert received(dispatcher, 6) == b"hello?"


def test_bytes_that_were_swallowed_never_come_and_their_connection_is_reset(
    server: socket.socket, proxy: Proxy
) -> None:
    with pair(server) as (runner, dispatcher), pair(server) as other:
        proxy.swallow(Way.UP)
        runner.sendall(b"x" * 100_000)
        assert is_quiet(dispatcher)
        proxy.heal()
        for end in (runner, dispatcher):
            with pytest.raises(ConnectionResetError):
                received(end, 1)
        passes(*other)


@pytest.mark.parametrize("end", End)
def test_all_connections_end_as_ordered(server: socket.socket, proxy: Proxy, end: End) -> None:
    with pair(server) as (runner, dispatcher):
        passes(runner, dispatcher)
        ended: list[int] = []
        order = threading.Thread(target=lambda: ended.append(proxy.end_all(end)))
        order.start()
        for each in (runner, dispatcher):
            if end is End.RESET:
                with pytest.raises(ConnectionResetError):
                    received(each, 1)
            else:
                assert received(each, 1) == b""
            each.close()
        order.join()
        assert ended == [1]
    with pair(server) as again:
        passes(*again)


def test_a_cut_is_an_orderly_end_although_bytes_were_still_to_be_read(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.stall(Way.UP)
        sent = 0
        runner.settimeout(QUIET_S)
        with suppress(TimeoutError):
            while True:
                sent += runner.send(bytes(100_000))
        order = threading.Thread(target=proxy.end_all, args=(End.CUT,))
        order.start()
        runner.settimeout(SOON_S)
        assert received(runner, 1) == b""
        assert received(dispatcher, sent) == b""
        runner.close()
        dispatcher.close()
        order.join()


@pytest.mark.parametrize("end", End)
def test_a_connection_ends_in_front_of_the_byte_that_was_drawn(server: socket.socket, proxy: Proxy, end: End) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.strike(Blow(after=7, end=end), Way.UP)
        runner.sendall(b"a whole frame")
        with suppress(ConnectionResetError):
            assert received(dispatcher, 99) == b"a whole"
        with suppress(ConnectionResetError):
            assert received(runner, 1) == b""
    with pair(server) as again:
        passes(*again)


def test_one_bit_is_flipped_and_no_other(server: socket.socket, proxy: Proxy) -> None:
    port = server.getsockname()[1]
    proxy.strike(Blow(after=100_000, flip=3), Way.DOWN, port + 1)
    proxy.strike(Blow(after=100_000, flip=3), Way.DOWN, port)
    with pair(server) as (runner, dispatcher):
        sender = threading.Thread(target=dispatcher.sendall, args=(bytes(200_000),))
        sender.start()
        assert received(runner, 200_000) == bytes(100_000) + b"\x08" + bytes(99_999)
        sender.join()
        assert list(proxy.blows) == [(Way.DOWN, port + 1)]
        passes(runner, dispatcher)


def test_nobody_is_let_in_while_the_port_refuses_and_those_inside_stay(server: socket.socket, proxy: Proxy) -> None:
    with pair(server) as inside:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HERE, server.getsockname()[1]), SOON_S)
        passes(*inside)
        proxy.heal()
        with pair(server) as newcomer:
            passes(*newcomer)


@pytest.mark.parametrize("way", Way)
def test_a_stranded_end_stands_and_hears_nothing_while_the_other_is_reset(
    server: socket.socket, proxy: Proxy, way: Way
) -> None:
    with pair(server) as (runner, dispatcher):
        standing, dead = (dispatcher, runner) if way is Way.UP else (runner, dispatcher)
        assert proxy.strand(way) == 1
        with pytest.raises(ConnectionResetError):
            received(dead, 1)
        standing.sendall(b"are you there?")
        assert is_quiet(standing)
        assert (proxy.stranded, proxy.standing) == (1, 1)
        with pair(server) as again:
            passes(*again)
        proxy.heal()
        assert is_quiet(standing)
        standing.close()
        until(lambda: proxy.standing == 0)


@pytest.mark.parametrize("way", Way)
def test_a_stranded_end_that_is_gone_without_a_word_is_no_longer_counted(
    server: socket.socket, proxy: Proxy, way: Way
) -> None:
    with pair(server) as (runner, dispatcher):
        assert proxy.strand(way) == 1
        vanish(dispatcher if way is Way.UP else runner)
        until(lambda: proxy.standing == 0)


@pytest.mark.parametrize("end", [None, End.RESET])
def test_a_flapping_network_is_down_and_up_by_turns_until_it_is_healed(
    server: socket.socket, proxy: Proxy, end: End | None
) -> None:
    proxy.flap(30, 30, end)
    until(lambda: proxy.counts["flaps"] >= 4)
    proxy.heal()
    flaps = proxy.counts["flaps"]
    with pair(server) as after:
        passes(*after)
    time.sleep(QUIET_S)
    assert proxy.counts["flaps"] == flaps


def test_a_network_that_is_healed_in_the_middle_of_a_change_takes_connections_again(
    server: socket.socket, proxy: Proxy
) -> None:
    for _ in range(50):
        proxy.flap(0, 0, End.RESET)
        proxy.heal()
        with pair(server) as after:
            passes(*after)


def test_a_network_that_is_down_stands_still_or_ends_what_stands_as_it_was_told(
    server: socket.socket, proxy: Proxy
) -> None:
    with pair(server) as (runner, dispatcher):
        proxy.flap(1, 600_000)
        until(lambda: proxy.counts["flaps"] == 1)
        runner.sendall(b"up")
        assert is_quiet(dispatcher)
        proxy.flap(1, 600_000, End.RESET)
        with pytest.raises(ConnectionResetError):
            received(dispatcher, 2)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HERE, server.getsockname()[1]), SOON_S)


def test_a_lost_packet_is_as_late_as_its_repetition() -> None:
    lost = Weather(loss=0.5)
    lateness = {lost.late_ms(1, Random(seed)) for seed in range(200)}
    assert {0, REPEAT_MS, 3 * REPEAT_MS} <= lateness
    assert Weather(loss=1.0).late_ms(1, Random(0)) == 127 * REPEAT_MS
    assert Weather().late_ms(10**6, Random(0)) == 0


def test_what_two_ends_say_through_a_bad_network_of_the_same_seed_is_equally_late() -> None:
    weather = Weather(delay_ms=5, jitter_ms=50, loss=0.3)
    first, second = Random(4), Random(4)
    assert [weather.late_ms(9_000, first) for _ in range(50)] == [weather.late_ms(9_000, second) for _ in range(50)]


def test_a_proxy_leaves_nothing_behind(server: socket.socket) -> None:
    before = threading.active_count()
    port = server.getsockname()[1]
    with Proxy(HERE, DISPATCHER, (port,)) as proxy:
        runner = socket.create_connection((HERE, port), SOON_S)
        proxy.flap(10, 10)
        proxy.stall()
    with runner, pytest.raises(ConnectionError):
        received(runner, 1)
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, port), SOON_S)
