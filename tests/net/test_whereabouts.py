"""Which runner is on which connection, when the kernel gives descriptors out again."""

from __future__ import annotations

import zmq

from surveil.net.monitor import ConnectionEvent
from surveil.net.whereabouts import Whereabouts


def opened(descriptor: int) -> ConnectionEvent:
    return ConnectionEvent(zmq.EVENT_ACCEPTED, descriptor)


def closed(descriptor: int) -> ConnectionEvent:
    return ConnectionEvent(zmq.EVENT_DISCONNECTED, descriptor)


def test_a_runner_whose_connection_closes_is_gone() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    assert where.follow([opened(10)]) == []
    assert where.route_id("a") is None
    assert where.welcomed("a", b"1")
    assert where.route_id("a") == b"1"
    assert where.follow([closed(10)]) == ["a"]
    assert where.route_id("a") is None
    assert where.follow([closed(10)]) == []


def test_a_connection_that_closed_before_its_welcome_is_no_runners() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    assert where.follow([opened(10), closed(10)]) == []
    assert not where.welcomed("a", b"1")
    assert where.route_id("a") is None


def test_a_welcome_that_comes_too_late_leaves_no_older_connection_either() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    where.follow([opened(10)])
    where.welcomed("a", b"1")
    where.said_hello("a", b"2", 11)
    where.follow([opened(11)])
    where.follow([closed(11)])
    assert not where.welcomed("a", b"2")
    assert where.route_id("a") is None


def test_whoever_is_not_welcomed_changes_nothing() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    where.follow([opened(10)])
    where.welcomed("a", b"1")
    where.said_hello("a", b"2", 11)
    assert where.follow([opened(11)]) == []
    assert where.route_id("a") == b"1"
    assert where.follow([closed(11)]) == []
    assert where.route_id("a") == b"1"
    assert where.follow([closed(10)]) == ["a"]


def test_the_closing_of_an_older_connection_on_the_same_number_is_not_the_new_ones() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    assert where.follow([opened(10)]) == []
    assert where.welcomed("a", b"1")
    where.said_hello("b", b"2", 10)
    assert where.follow([closed(10), opened(10)]) == ["a"]
    assert where.welcomed("b", b"2")
    assert where.route_id("b") == b"2"
    assert where.follow([closed(10)]) == ["b"]


def test_a_runner_that_came_back_on_another_connection_is_not_gone() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    assert where.follow([opened(10)]) == []
    assert where.welcomed("a", b"1")
    where.said_hello("a", b"2", 11)
    assert where.follow([opened(11)]) == []
    assert where.welcomed("a", b"2")
    assert where.follow([closed(10)]) == []
    assert where.route_id("a") == b"2"
    assert where.follow([closed(11)]) == ["a"]


def test_a_hello_from_a_connection_that_closed_before_its_number_was_given_away_is_gone_late_but_gone() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    assert where.follow([opened(10), closed(10), opened(10)]) == []
    assert where.welcomed("a", b"1")
    assert where.follow([closed(10)]) == ["a"]


def test_a_number_that_was_given_away_between_two_hellos_closes_the_first_ones_connection() -> None:
    where = Whereabouts()
    where.said_hello("a", b"1", 10)
    where.said_hello("b", b"2", 10)
    where.follow([opened(10), closed(10), opened(10)])
    assert not where.welcomed("a", b"1")
    assert where.welcomed("b", b"2")
