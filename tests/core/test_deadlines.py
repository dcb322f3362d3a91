"""Deadlines come out once each, earliest first, however they were moved before."""

from __future__ import annotations

from random import Random

import pytest

from surveil.core.deadlines import Deadlines

STEPS = ("set", "set", "discard", "shift", "next", "take", "pop")


@pytest.mark.parametrize("seed", range(20))
def test_what_is_due_is_what_looking_at_all_of_them_finds(seed: int) -> None:
    dice = Random(seed)
    deadlines: Deadlines[str] = Deadlines()
    plain: dict[str, int] = {}
    for now in range(300):
        what, key, time = dice.choice(STEPS), dice.choice("abc"), now + dice.randint(-4, 8)
        due = [each for at, each in sorted((at, each) for each, at in plain.items()) if at <= now]
        match what:
            case "set":
                deadlines.set(key, time)
                plain[key] = time
            case "discard":
                deadlines.discard(key)
                plain.pop(key, None)
            case "shift":
                deadlines.shift(2)
                plain = {each: at + 2 for each, at in plain.items()}
            case "next":
                assert deadlines.next() == min(plain.values(), default=None)
            case "take":
                assert deadlines.take_due(now) == due
                plain = {each: at for each, at in plain.items() if each not in due}
            case _:
                assert deadlines.pop_due(now) == (due[0] if due else None)
                plain = {each: at for each, at in plain.items() if each not in due[:1]}
        assert {each: deadlines.get(each) for each in deadlines} == plain
        assert len(deadlines) == len(plain)
