"""What is still to be told: kept in one step with what was read, and the same after a restart."""

import sqlite3
from pathlib import Path

import pytest

from surveil.core.outbox import Draft, Fate, Outcome, Parcel, settled
from surveil.errors import InvalidError
from surveil.store.outbox import FILE, KEPT_MS, Outbox

NOW = 1_750_000_000_000


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path)
    made.begin("forge", position=5, at=NOW)
    return made


def draft(slot: str, body: str, *, rank: int = 1) -> Draft:
    return Draft(subject=slot[0], slot=slot, body=body, made_at=NOW, rank=rank)


def read_on(outbox: Outbox, *drafts: Draft, position: int = 6, now: int = NOW) -> list[Parcel]:
    outbox.read_on("forge", drafts, position=position, at=NOW, now=now)
    return list(outbox.queue("forge").waiting.values())


def settle(outbox: Outbox, parcel: Parcel, fate: Fate, *, now: int = NOW) -> None:
    outcome = Outcome(fate=fate, reason="it rains")
    queue, left = settled(outbox.queue("forge"), parcel, outcome, now)
    outbox.settle("forge", parcel, left, queue, told=fate is Fate.DELIVERED, now=now)


def test_what_waits_and_how_far_was_read_outlive_the_process(outbox: Outbox, tmp_path: Path) -> None:
    [parcel] = read_on(outbox, draft("a", "pending"), position=9)
    settle(outbox, parcel, Fate.UNAVAILABLE)
    before = outbox.queue("forge")
    outbox.close()
    again = Outbox(tmp_path)
    assert again.queue("forge") == before
    assert (before.failures, before.problem, list(before.waiting)) == (1, "it rains", [parcel.id])
    following = again.begin("forge", position=99, at=0)
    assert (following.position, following.at, following.failures) == (9, NOW, 1)
    assert again.waiting() == {"forge": (1, NOW)}


def test_what_is_newer_takes_the_place_of_what_waits_and_what_was_told_is_not_told_again(outbox: Outbox) -> None:
    [first] = read_on(outbox, draft("a", "pending"))
    [second] = read_on(outbox, draft("a", "running"))
    assert second.id > first.id
    assert second.body == "running"
    settle(outbox, second, Fate.DELIVERED)
    assert read_on(outbox, draft("a", "running"), draft("a", "failed", rank=0)) == []
    [third] = read_on(outbox, draft("a", "passed"))
    settle(outbox, third, Fate.HOPELESS)
    [again] = read_on(outbox, draft("a", "passed"))
    assert again.body == "passed", "nobody was told of what was given up"
    [following] = outbox.followings()
    assert (following.delivered, following.given_up, following.delivered_at) == (1, 1, NOW)


def test_ids_are_an_order_even_after_the_newest_is_gone(outbox: Outbox) -> None:
    [first] = read_on(outbox, draft("a", "one"))
    settle(outbox, first, Fate.HOPELESS)
    [second] = read_on(outbox, draft("a", "two"))
    assert second.id > first.id


def test_what_was_told_long_ago_is_forgotten_and_what_waits_is_not(outbox: Outbox) -> None:
    first, second = read_on(outbox, draft("a", "one"), draft("b", "two"))
    settle(outbox, first, Fate.DELIVERED)
    later = NOW + KEPT_MS + 1
    assert [each.id for each in read_on(outbox, now=later)] == [second.id]
    assert [each.slot for each in read_on(outbox, draft("a", "one"), draft("b", "two"), now=later)] == ["b", "a"]


def test_a_target_without_rules_is_forgotten_with_all_that_waits(outbox: Outbox) -> None:
    outbox.begin("mail", position=1, at=NOW)
    read_on(outbox, draft("a", "one"))
    assert outbox.keep_only(["mail"]) == ["forge"]
    assert [each.name for each in outbox.followings()] == ["mail"]
    assert outbox.waiting() == {}


def test_a_file_of_a_newer_version_is_refused(outbox: Outbox, tmp_path: Path) -> None:
    outbox.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidError, match="newer version"):
        Outbox(tmp_path)
