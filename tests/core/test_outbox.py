"""The outbox's mind: whatever fails, everybody ends with the newest word of each slot, in order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from surveil.core.outbox import (
    AGAIN_MS_MAX,
    FIRST_MS,
    LIFE_MS,
    MOST_MS,
    REFUSALS_MAX,
    Draft,
    Fate,
    Latest,
    Outcome,
    Parcel,
    Queue,
    admit,
    next_parcel,
    settled,
    wake_at,
)
from surveil.frozen import replace

NOW = 1_000_000_000
DELIVERED = Outcome(fate=Fate.DELIVERED)
AWAY = Outcome(fate=Fate.UNAVAILABLE, reason="is away")
REFUSED = Outcome(fate=Fate.REFUSED, reason="minds it")


def draft(slot: str = "a:build", body: str = "pending", *, rank: int = 1, news: bool = True) -> Draft:
    return Draft(subject=slot.partition(":")[0], slot=slot, body=body, made_at=NOW, rank=rank, news=news)


def parcel(number: int, subject: str = "a", *, due_at: int = 0) -> Parcel:
    return Parcel(id=number, subject=subject, slot=f"{subject}:{number}", body="", made_at=NOW, due_at=due_at)


def queue(*parcels: Parcel) -> Queue:
    return Queue(waiting={each.id: each for each in parcels})


def test_something_newer_takes_the_place_of_what_still_waits() -> None:
    known = {"a:build": Latest(waiting=7, rank=1, body="pending")}
    found = admit(known, [draft(body="running"), draft("a:job"), draft(body="passed")])
    assert [(each.slot, each.body) for each in found.drafts] == [("a:job", "pending"), ("a:build", "passed")]
    assert found.superseded == (7,)


def test_nobody_is_told_the_same_twice_nor_what_is_old() -> None:
    told = {"a:build": Latest(waiting=None, rank=2, body="passed")}
    found = admit(told, [draft(body="passed", rank=2), draft(body="failed", rank=1), draft(body="", rank=1)])
    assert (found.drafts, found.superseded) == ((), ())
    again = admit(told, [draft(body="passed", rank=3)])
    assert len(again.drafts) == 1, "a newer build that came to the same may link to itself"


def test_what_is_no_news_is_told_to_those_only_who_know_of_its_slot() -> None:
    known = {"a:build": Latest(waiting=None, rank=1, body="failed")}
    found = admit(known, [draft(rank=2, news=False), draft("a:job", news=False)])
    assert [each.slot for each in found.drafts] == ["a:build"]


def test_within_a_subject_there_is_an_order_and_others_go_past() -> None:
    waits = queue(parcel(1, due_at=NOW + 50), parcel(2), parcel(3, "b"))
    first = next_parcel(waits, NOW)
    assert first is not None
    assert first.id == 3
    waits, left = settled(waits, first, DELIVERED, NOW)
    assert left is None
    assert next_parcel(waits, NOW) is None
    assert wake_at(waits) == NOW + 50
    then = next_parcel(waits, NOW + 50)
    assert then is not None
    assert then.id == 1


def test_a_target_that_is_away_is_tried_less_and_less_often_and_asked_for_other_things() -> None:
    waits, now, tried, pauses = queue(parcel(1), parcel(2, "b"), parcel(3, "c")), NOW, [], []
    for _ in range(15):
        found = next_parcel(waits, now)
        assert found is not None
        tried.append(found.id)
        waits, _left = settled(waits, found, AWAY, now)
        due_at = wake_at(waits)
        assert due_at is not None
        assert next_parcel(waits, due_at - 1) is None
        pauses.append(due_at - now)
        now = due_at
    assert pauses == [min(FIRST_MS * 2**times, MOST_MS) for times in range(15)]
    assert tried[:6] == [1, 2, 3, 1, 2, 3]
    found = next_parcel(waits, now)
    assert found is not None
    waits, _ = settled(waits, found, DELIVERED, now)
    assert (waits.failures, waits.problem, waits.not_before_at) == (0, "", now)
    assert all(each.refusals <= 1 for each in waits.waiting.values()), "an outage is nothing that anybody minds"


def test_patience_that_is_asked_for_is_had_and_no_more_than_a_day() -> None:
    for asked, had in ((60_000, 60_000), (1, FIRST_MS), (10**15, AGAIN_MS_MAX), (-5, FIRST_MS)):
        after, left = settled(queue(parcel(1)), parcel(1), Outcome(fate=Fate.UNAVAILABLE, again_ms=asked), NOW)
        assert (after.not_before_at, left is not None) == (NOW + had, True)
    after, _ = settled(queue(parcel(1), parcel(2)), parcel(1), Outcome(fate=Fate.DELIVERED, again_ms=750), NOW)
    assert next_parcel(after, NOW + 749) is None
    assert next_parcel(after, NOW + 750) is not None


def test_nobody_waits_for_an_instant_that_was_written_while_the_clock_was_a_year_ahead() -> None:
    year_ms = 365 * 24 * 3_600_000
    made = replace(parcel(1), made_at=NOW + year_ms)
    after, left = settled(queue(made), made, AWAY, NOW + year_ms)
    assert left is not None
    assert next_parcel(after, NOW + year_ms) is None
    assert next_parcel(after, NOW) == left


def test_what_is_refused_time_and_again_is_given_up_and_holds_nobody_else_back() -> None:
    waits, now, refusals = queue(parcel(1), parcel(2)), NOW, 0
    while (found := next_parcel(waits, now)) is not None and found.id == 1:
        refusals += 1
        waits, left = settled(waits, found, REFUSED, now)
        now = wake_at(waits) or now
        assert (left is None) == (refusals == REFUSALS_MAX)
    assert found is not None
    assert (found.id, refusals) == (2, REFUSALS_MAX)
    assert 30 * 60_000 < now - NOW < 60 * 60_000


def test_a_target_that_breaks_on_one_thing_only_is_not_given_up_but_that_thing_is() -> None:
    """Some answer 500 for what they do not understand."""
    waits, now, told = queue(parcel(1), *(parcel(number, f"s{number}") for number in range(2, 40))), NOW, []
    while waits.waiting:
        found = next_parcel(waits, now)
        if found is None:
            now = wake_at(waits) or now
            continue
        waits, left = settled(waits, found, AWAY if found.id == 1 else DELIVERED, now)
        if found.id != 1:
            told.append(now)
        assert left is None or found.id == 1
    assert len(told) == 38
    assert max(told) - NOW <= FIRST_MS


def test_something_that_breaks_a_target_is_given_up_while_others_are_told() -> None:
    waits, now, number, tried = queue(parcel(1)), NOW, 1, 0
    while 1 in waits.waiting:
        number += 1
        waits = replace(waits, waiting={**waits.waiting, number: parcel(number, f"s{number}")})
        while (found := next_parcel(waits, now)) is not None:
            tried += found.id == 1
            waits, _ = settled(waits, found, AWAY if found.id == 1 else DELIVERED, now)
        now = wake_at(waits) or now
    assert tried == REFUSALS_MAX


def test_nothing_is_told_after_it_has_become_useless() -> None:
    for outcome in (AWAY, REFUSED):
        _, left = settled(queue(parcel(1)), parcel(1), outcome, NOW + LIFE_MS - 1)
        assert left is not None
        _, left = settled(queue(parcel(1)), parcel(1), outcome, NOW + LIFE_MS)
        assert left is None


def test_what_is_hopeless_goes_at_once() -> None:
    after, left = settled(queue(parcel(1)), parcel(1), Outcome(fate=Fate.HOPELESS), NOW)
    assert (left, after.waiting, after.failures) == (None, {}, 0)


@dataclass
class World:
    """A target with moods, and all that it was told."""

    dice: random.Random
    told: list[Parcel] = field(default_factory=list)
    mood: Fate = Fate.DELIVERED

    def tell(self, what: Parcel) -> Outcome:
        if self.dice.random() < 0.2:
            self.mood = self.dice.choice([Fate.DELIVERED, Fate.UNAVAILABLE, Fate.REFUSED])
        # An answer that is cut off: it was told, and we do not know.
        if self.mood is Fate.DELIVERED or self.dice.random() < 0.3:
            self.told.append(what)
        return Outcome(fate=self.mood, again_ms=self.dice.choice([0, 0, 1000]))


@pytest.mark.parametrize("seed", range(40))
def test_whatever_fails_each_slot_ends_with_its_newest_word_and_never_goes_back(seed: int) -> None:
    dice = random.Random(seed)
    world, waits, now, number = World(dice), Queue(waiting={}), NOW, 0
    latest: dict[str, Latest] = {}
    said: dict[str, list[tuple[int, str]]] = {}
    for turn in range(400):
        if turn < 200 and dice.random() < 0.4:
            slot = f"{dice.choice('ab')}:{dice.choice('xyz')}"
            rank = len(said.get(slot, ())) // 3
            body = f"word {turn}"
            said.setdefault(slot, []).append((rank, body))
            admitted = admit(latest, [Draft(subject=slot[0], slot=slot, body=body, made_at=now, rank=rank)])
            held = {key: each for key, each in waits.waiting.items() if key not in admitted.superseded}
            for each in admitted.drafts:
                number += 1
                held[number] = Parcel(
                    id=number, subject=each.subject, slot=each.slot, body=each.body, made_at=now, rank=each.rank
                )
                latest[each.slot] = Latest(waiting=number, rank=each.rank, body=each.body)
            waits = Queue(
                waiting=held, failures=waits.failures, not_before_at=waits.not_before_at, problem=waits.problem
            )
        if turn >= 200:
            world.mood, world.dice = Fate.DELIVERED, random.Random(0.5)
            world.dice.random = lambda: 1.0  # type: ignore[method-assign]
        found = next_parcel(waits, now)
        if found is None:
            now = max(now + 1, wake_at(waits) or now)
            continue
        waits, left = settled(waits, found, world.tell(found), now)
        if left is None:
            latest[found.slot] = Latest(waiting=None, rank=found.rank, body=found.body)
    assert waits.waiting == {}
    for slot, words in said.items():
        heard = [each.body for each in world.told if each.slot == slot]
        order = [words.index((rank, body)) for rank, body in words if body in heard]
        assert [body for index, body in enumerate(heard) if index == 0 or heard[index - 1] != body] == [
            words[index][1] for index in order
        ]
        assert heard[-1] == words[-1][1]
    ids = {subject: [each.id for each in world.told if each.subject == subject] for subject in "ab"}
    assert all(found == sorted(found) for found in ids.values())
