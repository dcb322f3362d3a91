"""The relay on a real state: who may ask for what, and whom questions and answers go to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from surveil.core.dispatch import handle
from surveil.core.events import BuildWanted, Event, RunnerDisconnected, RunnerSaid, Tick
from surveil.core.peers import Peer, Role
from surveil.core.policy import Policy
from surveil.core.state import Identity, State
from surveil.errors import NotFoundError
from surveil.hands import relay
from surveil.hands.relay import ABSENT_RETRY_MS, COPIED, FOR_CLIENTS, Relay
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import (
    Heartbeat,
    Hello,
    JobSpec,
    LookNow,
    Message,
    Output,
    Pack,
    Refused,
    StepSpec,
    Want,
    WatchedRepo,
    Watching,
)

REPO, SHA = "/srv/repo", "a" * 40
NOW = 1_000
SPEC = JobSpec(name="test", env={}, timeout_ms=60_000, steps=(StepSpec(name="s", run="true", env={}),), matrix={})
WANT = Want(id=7, repo=REPO, sha=SHA, have=("b" * 40,), at=0)
PIECE = Pack(id=WANT.id, runner=FOR_CLIENTS, made=3, at=0, total=5, data=b"bytes")


def runner(letter: str) -> Peer:
    return Peer(key=letter * 40, role=Role.RUNNER, name=letter)


def observer(letter: str) -> Peer:
    return Peer(key=letter * 40, role=Role.OBSERVER, name=letter)


SPARE = runner("s")
SPARE_ROUTE = Route(bulk=True, id=b"spare")


class Wire:
    """What was said on which route; some routes take nothing."""

    def __init__(self) -> None:
        self.said: list[tuple[Route, Message]] = []
        self.deaf: set[Route] = set()
        self.refused: list[Sender] = []

    def reply(self, route: Route, message: Message) -> bool:
        if route in self.deaf:
            return False
        self.said.append((route, message))
        return True

    def take(self) -> list[tuple[Route, Message]]:
        said, self.said = self.said, []
        return said


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def state() -> State:
    """A state in which the runner `s` holds the one job of a build of SHA."""
    state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
    hello = Hello(
        name="s", software="1", host="h", cluster="", incarnation=1, birth=1, seq=1, labels=(), slots=1, held=()
    )
    wanted = BuildWanted(
        mid="m", repo=REPO, ref="refs/heads/main", sha=SHA, event="push", message="", author="", pipeline_file="",
        rule="", jobs=(SPEC,), complaints=(), carried={},
    )  # fmt: skip
    beat = Heartbeat(incarnation=1, seq=2, held=(), free=1, load_percent=0, disk_free_mib=1)
    said = [RunnerSaid(runner=SPARE.key, via=b"", message=message) for message in (hello, beat)]
    events: list[Event] = [*said, wanted, Tick()]
    for event in events:
        handle(state, event, NOW, Policy())
    assert [attempt.job for attempt in state.attempts_of(SPARE.key)] == ["1/test"]
    return state


@pytest.fixture
def relayed(state: State, wire: Wire) -> Relay:
    return Relay(state, wire.reply, wire.refused.append)


def asks(relayed: Relay, want: Want = WANT, peer: Peer = SPARE, route: Route = SPARE_ROUTE) -> None:
    assert relayed.take_wants([Received(peer, route, want)]) == []


def watches(relayed: Relay, letter: str, *repos: str, birth: int = 1, looks: bool = True) -> Route:
    route = Route(bulk=False, id=f"{letter}{birth}".encode())
    said = Watching(birth=birth, repos=tuple(WatchedRepo(repo=repo) for repo in repos), looks=looks)
    relayed.watching(Received(observer(letter), route, said), said)
    return route


def test_a_want_goes_to_the_observer_of_the_repository_with_the_key_that_was_proved(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", "/srv/other")
    route = watches(relayed, "b", "/srv/other", REPO)
    asks(relayed, replace(WANT, runner="x" * 40))
    assert wire.take() == [(route, replace(WANT, runner=SPARE.key))]


def test_a_pack_goes_to_where_the_runner_asked_last(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", REPO)
    asks(relayed)
    again = Route(bulk=True, id=b"new")
    asks(relayed, route=again)
    wire.take()
    pack = Pack(id=7, runner=SPARE.key, made=1, at=0, total=3, data=b"abc")
    relayed.answer(pack)
    assert wire.take() == [(again, pack)]


def test_a_pack_for_whoever_never_asked_or_has_gone_is_dropped(relayed: Relay, wire: Wire) -> None:
    relayed.answer(Pack(id=7, runner="x" * 40, at=0, data=b"abc"))
    watches(relayed, "a", REPO)
    asks(relayed)
    wire.take()
    wire.deaf.add(SPARE_ROUTE)
    relayed.answer(Pack(id=7, runner=SPARE.key, at=0, data=b"abc"))
    assert wire.take() == []


@pytest.mark.parametrize(
    ("peer", "want"),
    [
        (runner("t"), WANT),
        (SPARE, replace(WANT, sha="c" * 40)),
        (SPARE, replace(WANT, repo="/srv/secret")),
        (runner("t"), replace(WANT, runner=SPARE.key)),
    ],
    ids=["of another runner", "another commit", "another repository", "in another's name"],
)
def test_a_runner_gets_no_commit_but_that_of_an_attempt_that_it_holds(
    relayed: Relay, wire: Wire, peer: Peer, want: Want
) -> None:
    watches(relayed, "a", REPO, "/srv/secret")
    asks(relayed, want, peer)
    ((route, said),) = wire.take()
    assert route == SPARE_ROUTE
    assert isinstance(said, Pack)
    assert (said.id, said.runner, said.retry_ms, said.data) == (7, peer.key, 0, b"")
    assert "holds an attempt" in said.problem
    # It has not asked for anything either: nothing can be sent to it by way of this.
    relayed.answer(Pack(id=7, runner=runner("t").key, at=0, data=b"abc"))
    assert wire.take() == []


def test_a_runner_that_is_only_just_back_may_ask_again_when_it_has_said_what_it_holds(
    state: State, relayed: Relay, wire: Wire
) -> None:
    handle(state, RunnerDisconnected(runner=SPARE.key), NOW, Policy())
    handle(state, Tick(), NOW + Policy().suspect_ms, Policy())
    assert state.attempts_of(SPARE.key) == []
    watches(relayed, "a", REPO)
    asks(relayed)
    ((route, said),) = wire.take()
    assert isinstance(said, Pack)
    assert (route, said.retry_ms, said.data) == (SPARE_ROUTE, ABSENT_RETRY_MS, b"")
    assert "what this runner holds" in said.problem


def test_without_an_observer_the_runner_hears_so_at_once_and_may_ask_again(relayed: Relay, wire: Wire) -> None:
    expected = Pack(
        id=7, runner=SPARE.key, at=0, problem=f"no observer of {REPO} is connected to the dispatcher",
        retry_ms=ABSENT_RETRY_MS,
    )  # fmt: skip
    asks(relayed)
    assert wire.take() == [(SPARE_ROUTE, expected)]
    wire.deaf.add(watches(relayed, "a", REPO))
    asks(relayed)
    assert wire.take() == [(SPARE_ROUTE, expected)]


def test_of_several_observers_the_transfer_chooses_and_one_that_is_gone_is_passed_over(
    relayed: Relay, wire: Wire
) -> None:
    routes = [watches(relayed, letter, REPO) for letter in "bca"]
    by_transfer = []
    for number in (3, 4, 5, 3):
        asks(relayed, replace(WANT, id=number))
        asks(relayed, replace(WANT, id=number, at=262_144))
        first, second = (route for route, _ in wire.take())
        assert first == second
        by_transfer.append(first)
    assert sorted(by_transfer[:3], key=lambda route: route.id) == sorted(routes, key=lambda route: route.id)
    assert by_transfer[3] == by_transfer[0]
    wire.deaf.add(by_transfer[0])
    asks(relayed, replace(WANT, id=3))
    ((route, _),) = wire.take()
    assert route == by_transfer[1]


def test_an_observer_that_comes_back_is_asked_on_its_new_connection(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", REPO)
    said = Watching(birth=1, repos=(WatchedRepo(repo=REPO),))
    back = Route(bulk=False, id=b"back")
    relayed.watching(Received(observer("a"), back, said), said)
    asks(relayed)
    assert [route for route, _ in wire.take()] == [back]


def test_output_is_left_in_its_order(relayed: Relay) -> None:
    output = Output(job="1/test", attempt=1, at=0, crc=0, after_ms=0, data=b"x")
    received = [Received(SPARE, SPARE_ROUTE, message) for message in (output, WANT, replace(output, at=1))]
    assert relayed.take_wants(received) == [received[0], received[2]]


def test_no_number_of_observers_or_runners_fills_the_memory(
    state: State, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "OBSERVERS_MAX", 2)
    relayed = Relay(state, wire.reply, wire.refused.append)
    for letter in "abc":
        watches(relayed, letter, REPO)
    asked = set()
    for number in range(6):
        asks(relayed, replace(WANT, id=number))
        asked |= {route.id for route, _ in wire.take()}
    assert asked == {b"b1", b"c1"}


def test_an_observer_that_started_again_is_the_same_observer(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", REPO, birth=1)
    watches(relayed, "a", REPO, birth=2)
    watches(relayed, "a", REPO, birth=2)
    newest = watches(relayed, "a", REPO, birth=3)
    assert wire.take() == []
    asks(relayed)
    assert wire.take() == [(newest, replace(WANT, runner=SPARE.key))]


def test_two_observers_with_one_key_are_told_of_each_other(relayed: Relay, wire: Wire) -> None:
    first = watches(relayed, "a", REPO, birth=1)
    second = watches(relayed, "a", REPO, birth=2)
    assert wire.take() == []
    assert watches(relayed, "a", REPO, birth=1) == first
    assert wire.take() == [(second, Refused(reason=COPIED)), (first, Refused(reason=COPIED))]
    watches(relayed, "b", REPO, birth=3)
    assert wire.take() == []


def test_a_client_gets_the_piece_that_it_waits_for_and_nothing_else(relayed: Relay, wire: Wire) -> None:
    route = watches(relayed, "a", REPO)

    async def ask() -> tuple[Pack | None, Pack | None]:
        first = asyncio.create_task(relayed.bring(WANT, 30_000))
        again = asyncio.create_task(relayed.bring(WANT, 30_000))
        other = asyncio.create_task(relayed.bring(replace(WANT, at=5), 1))
        await asyncio.sleep(0)
        assert {pair for pair in wire.take() if pair[1] == replace(WANT, runner=FOR_CLIENTS)} == {
            (route, replace(WANT, runner=FOR_CLIENTS))
        }
        relayed.answer(Pack(id=WANT.id, runner=SPARE.key, at=0, data=b"not for clients"))
        relayed.answer(Pack(id=WANT.id + 1, runner=FOR_CLIENTS, at=0, data=b"of another transfer"))
        relayed.answer(replace(PIECE, at=256))
        relayed.answer(PIECE)
        assert await again == PIECE
        return await first, await other

    assert asyncio.run(ask()) == (PIECE, None)
    relayed.answer(PIECE)  # It came again, and nobody waits any more.
    assert wire.take() == []


def test_a_client_is_told_that_no_observer_is_there(relayed: Relay) -> None:
    pack = asyncio.run(relayed.bring(WANT, 30_000))
    assert pack is not None
    assert (pack.problem, pack.retry_ms) == (
        f"no observer of {REPO} is connected to the dispatcher",
        ABSENT_RETRY_MS,
    )


def test_a_hint_goes_to_all_who_watch_the_repository_by_whatever_address_and_to_nobody_else(
    relayed: Relay, wire: Wire
) -> None:
    by_ssh, by_https = "git@example.org:team/Lib.git", "https://example.org/team/lib"
    first = watches(relayed, "a", by_ssh, "https://example.org/team/other")
    second = watches(relayed, "b", by_https, by_ssh)
    watches(relayed, "c", "https://example.com/team/lib")
    assert relayed.look("ssh://git@example.org:2222/team/lib.git") == 2
    assert sorted(wire.take(), key=repr) == sorted(
        [(first, LookNow(repo=by_ssh)), (second, LookNow(repo=by_https)), (second, LookNow(repo=by_ssh))], key=repr
    )


def test_a_hint_follows_what_is_watched_now(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", REPO)
    watches(relayed, "a", "/srv/other")
    assert relayed.look("/srv/other/.git") == 1
    wire.take()
    with pytest.raises(NotFoundError, match="watches `/srv/repo`"):
        relayed.look(REPO)
    assert wire.take() == []


def test_a_hint_that_nobody_could_be_told_waits_for_the_first_who_comes_and_watches(relayed: Relay, wire: Wire) -> None:
    by_ssh, by_https = "git@example.org:team/Lib.git", "https://example.org/team/lib"
    for _ in range(3):
        with pytest.raises(NotFoundError, match="one that comes and does looks at once"):
            relayed.look(by_https)
    watches(relayed, "a", "https://example.org/team/other")
    watches(relayed, "b", by_ssh, looks=False)
    assert wire.take() == []
    third = watches(relayed, "c", "https://example.org/team/other", by_ssh)
    assert wire.take() == [(third, LookNow(repo=by_ssh))]
    watches(relayed, "c", "https://example.org/team/other", by_ssh)
    watches(relayed, "d", by_https)
    assert wire.take() == []


def test_a_hint_reaches_every_name_of_the_repository_and_waits_on_while_it_does_not(relayed: Relay, wire: Wire) -> None:
    by_ssh, by_https = "git@example.org:team/Lib.git", "https://example.org/team/lib"
    with pytest.raises(NotFoundError):
        relayed.look(by_https)
    wire.deaf = {watches(relayed, "b", "/srv/other")}
    assert watches(relayed, "b", by_ssh) in wire.deaf
    route = watches(relayed, "a", by_ssh, by_https)
    assert sorted(wire.take(), key=repr) == sorted(
        [(route, LookNow(repo=by_ssh)), (route, LookNow(repo=by_https))], key=repr
    )


def test_no_number_of_hints_fills_the_memory(relayed: Relay, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HINTS_MAX", 2)
    for name in ("one", "two", "three"):
        with pytest.raises(NotFoundError):
            relayed.look(f"/srv/{name}")
    route = watches(relayed, "a", "/srv/one", "/srv/two", "/srv/three")
    assert sorted(wire.take(), key=repr) == sorted(
        [(route, LookNow(repo="/srv/two")), (route, LookNow(repo="/srv/three"))], key=repr
    )


def test_an_observer_that_does_not_know_the_word_does_not_hear_it(relayed: Relay, wire: Wire) -> None:
    watches(relayed, "a", REPO, looks=False)
    with pytest.raises(NotFoundError):
        relayed.look(REPO)
    assert wire.take() == []


@pytest.mark.parametrize("repo", ["ext::sh -c x", "--upload-pack=x", "", "/srv/\x1b[31m"])
def test_what_is_no_address_is_nobodys_repository(relayed: Relay, wire: Wire, repo: str) -> None:
    watches(relayed, "a", repo, REPO)
    with pytest.raises(NotFoundError):
        relayed.look(repo)
    assert wire.take() == []
