"""When a peer gives up on its dispatcher, and with which sentence and exit code."""

from __future__ import annotations

import socket
import threading

import pytest

from surveil.core.peers import Role
from surveil.errors import ExitCode
from surveil.net.addresses import Address
from surveil.net.connection import Link
from surveil.net.refusals import REFUSED_MAX, STRANGE_MAX, Refusals, greets

ADDRESS = Address("192.0.2.7", 7300)


@pytest.mark.parametrize("role", [Role.RUNNER, Role.OBSERVER])
def test_a_key_that_is_refused_again_and_again_ends_its_process(role: Role) -> None:
    refusals = Refusals(role, ADDRESS)
    heard = [refusals.hear(Link.REFUSED) for _ in range(REFUSED_MAX)]
    assert heard[:-1] == [None] * (REFUSED_MAX - 1)
    assert heard[-1] is not None
    assert heard[-1].exit_code == ExitCode.NOT_ALLOWED
    assert f"surveil token create --role {role}" in str(heard[-1])


def test_an_address_that_somebody_else_holds_ends_a_process_that_never_met_its_dispatcher() -> None:
    refusals = Refusals(Role.RUNNER, ADDRESS, lambda _: True)
    heard = [refusals.hear(Link.STRANGE) for _ in range(2 * STRANGE_MAX)]
    assert heard[:-1] == [None] * (2 * STRANGE_MAX - 1)
    assert heard[-1] is not None
    assert heard[-1].exit_code == ExitCode.UNREACHABLE
    assert "does not hold the key of this runner's dispatcher" in str(heard[-1])
    assert "tcp://192.0.2.7:7300" in str(heard[-1])


def test_a_dispatcher_that_is_away_behind_something_that_takes_its_connections_is_waited_for() -> None:
    refusals = Refusals(Role.RUNNER, ADDRESS, lambda _: False)
    assert [refusals.hear(Link.STRANGE) for _ in range(3 * STRANGE_MAX)] == [None] * (3 * STRANGE_MAX)


def test_a_dispatcher_that_comes_back_just_when_it_is_asked_who_is_there_is_not_taken_for_somebody_else() -> None:
    present = iter([False, False, True, False, True, True])
    refusals = Refusals(Role.RUNNER, ADDRESS, lambda _: next(present))
    # Two silent answers, one that speaks, and as many failures until it is asked again: silence.
    assert [refusals.hear(Link.STRANGE) for _ in range(2 * STRANGE_MAX + 2)] == [None] * (2 * STRANGE_MAX + 2)
    heard = [refusals.hear(Link.STRANGE) for _ in range(1 + STRANGE_MAX)]
    assert heard[:-1] == [None] * STRANGE_MAX
    assert heard[-1] is not None, "somebody spoke, and nobody was let in for as long again"


@pytest.mark.parametrize("last_words", [b"", b"\xff"])
def test_only_who_speaks_first_is_somebody_else(last_words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(last_words)

        answering = threading.Thread(target=answer)
        answering.start()
        assert greets(address) == bool(last_words)
        answering.join()
    assert not greets(address), "nobody is there any more"


def test_whoever_takes_connections_and_is_silent_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.net.refusals.GREETING_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not greets(Address("127.0.0.1", server.getsockname()[1]))


def test_a_dispatcher_that_was_met_is_waited_for() -> None:
    refusals = Refusals(Role.RUNNER, ADDRESS)
    said = []
    for link in (Link.REFUSED, Link.CONNECTED, *[Link.STRANGE] * 3 * STRANGE_MAX):
        assert refusals.hear(link) is None
        said.append(refusals.is_news)
    assert said == [True, False, True, *[False] * (3 * STRANGE_MAX - 1)]
