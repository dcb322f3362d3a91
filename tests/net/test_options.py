"""Socket options, read back from real sockets, and what a process must have."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from surveil.errors import InfrastructureError
from surveil.net import options
from surveil.net.keys import make_keys
from surveil.net.options import SocketOption, apply_options, peer_options, server_options, silent_max

SERVER, PEER = make_keys(), make_keys()
WRITE_ONLY = {
    zmq.ROUTER_MANDATORY, zmq.ROUTER_HANDOVER, zmq.PROBE_ROUTER,
    zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY, zmq.CURVE_SERVERKEY,
}  # fmt: skip
"""These cannot be read back; tests/net/test_server.py and test_attacks.py see what they do."""


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.mark.parametrize("bulk", [False, True], ids=["control", "bulk"])
@pytest.mark.parametrize("side", ["server", "peer"])
def test_every_option_is_read_back_from_its_socket(context: zmq.Context[Any], side: str, *, bulk: bool) -> None:
    wanted = server_options(SERVER, bulk=bulk) if side == "server" else peer_options(PEER, SERVER.public, bulk=bulk)
    socket = context.socket(zmq.ROUTER if side == "server" else zmq.DEALER)
    apply_options(socket, wanted)
    read = {option.option: socket.getsockopt(option.option) for option in wanted if option.option not in WRITE_ONLY}
    socket.close()
    assert read == {option.option: option.value for option in wanted if option.option not in WRITE_ONLY}
    assert len({option.option for option in wanted}) == len(wanted), "an option is set twice"
    assert all(option.why for option in wanted)


def values(side: tuple[SocketOption, ...]) -> dict[int, int | bytes]:
    return {option.option: option.value for option in side}


def test_the_options_that_safety_rests_on_are_set() -> None:
    for bulk in (False, True):
        server = values(server_options(SERVER, bulk=bulk))
        assert (server[zmq.ROUTER_MANDATORY], server[zmq.ROUTER_HANDOVER]) == (1, 0)
        assert (server[zmq.CURVE_SERVER], server[zmq.ZAP_ENFORCE_DOMAIN], server[zmq.ZAP_DOMAIN]) == (1, 1, b"surveil")
        peer = values(peer_options(PEER, SERVER.public, bulk=bulk))
        assert peer[zmq.IMMEDIATE] == 1
        assert zmq.ROUTING_ID not in peer


def test_the_figures_are_those_that_were_measured_to_be_good() -> None:
    """A figure that is changed is to be changed here as well, with its reason in `surveil.net.options`."""
    shared = {
        zmq.LINGER: 0, zmq.HEARTBEAT_IVL: 5_000, zmq.HEARTBEAT_TIMEOUT: 15_000, zmq.HEARTBEAT_TTL: 20_000,
        zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 30, zmq.TCP_KEEPALIVE_INTVL: 10, zmq.TCP_KEEPALIVE_CNT: 3,
        zmq.TCP_MAXRT: 20_000, zmq.IPV6: 1,
    }  # fmt: skip
    lanes = {
        False: {zmq.SNDHWM: 1_000, zmq.RCVHWM: 1_000, zmq.MAXMSGSIZE: 1024 * 1024 + 64},
        True: {zmq.SNDHWM: 64, zmq.RCVHWM: 64, zmq.MAXMSGSIZE: 320 * 1024},
    }
    for bulk in (False, True):
        assert values(server_options(SERVER, bulk=bulk)) == shared | lanes[bulk] | {
            zmq.ROUTER_MANDATORY: 1, zmq.ROUTER_HANDOVER: 0, zmq.HANDSHAKE_IVL: 3_000, zmq.BACKLOG: 1_024,
            zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: SERVER.secret.encode(), zmq.ZAP_DOMAIN: b"surveil",
            zmq.ZAP_ENFORCE_DOMAIN: 1,
        }  # fmt: skip
        peer = values(peer_options(PEER, SERVER.public, bulk=bulk))
        assert 250 <= int(peer.pop(zmq.RECONNECT_IVL)) <= 1_250
        assert peer == shared | lanes[bulk] | {
            zmq.IMMEDIATE: 1, zmq.PROBE_ROUTER: 0, zmq.HANDSHAKE_IVL: 5_000, zmq.CONNECT_TIMEOUT: 5_000,
            zmq.RECONNECT_IVL_MAX: 2_000, zmq.CURVE_SERVERKEY: SERVER.public.encode(),
            zmq.CURVE_PUBLICKEY: PEER.public.encode(), zmq.CURVE_SECRETKEY: PEER.secret.encode(),
        }  # fmt: skip


def test_processes_reconnect_each_at_its_own_pace() -> None:
    script = "from surveil.net.options import _reconnect_ms; print(_reconnect_ms)"
    command = [sys.executable, "-c", script]
    paces = [int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout) for _ in range(4)]
    assert len(set(paces)) > 1
    assert all(250 <= pace <= 1_250 for pace in paces)


def test_a_libzmq_with_known_holes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    options.check_libzmq()
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 3, 4))
    with pytest.raises(InfrastructureError, match="pip install"):
        options.check_libzmq()


@pytest.mark.parametrize(
    ("limits", "set_to"),
    [((1_024, 1_000_000), (65_536, 1_000_000)), ((1_024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY)),
     ((1_000_000, 1_000_000), None)],
)  # fmt: skip
def test_the_limit_on_files_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], set_to: tuple[int, int] | None
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: calls.append(wanted))
    assert options.raise_file_limit() is None
    assert calls == ([] if set_to is None else [set_to])


def test_few_files_are_warned_of_and_too_few_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    assert "ulimit -n 8192" in str(options.raise_file_limit())
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(InfrastructureError, match=r"only 256 files.*ulimit -n 8192"):
        options.raise_file_limit()


def test_idle_runners_are_never_too_many_before_there_are_no_files_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a connection that speaks and one that does not; if the silent ones were cut, all would come again."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (1_024, 4_096))
    assert silent_max(bulk=True) >= 1_024 // 2
    assert silent_max(bulk=True) + silent_max(bulk=False) <= 1_024 * 3 // 4
