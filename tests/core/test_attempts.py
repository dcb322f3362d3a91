"""The dispatcher's mind: what its records hold that no line of a scenario shows."""

from surveil.core.model import Attempt
from tests.core.script import START_AT, Player


def attempt_of(player: Player, job: str, number: int) -> Attempt:
    found = player.stored["Attempt", (job, number)]
    assert isinstance(found, Attempt)
    return found


def test_times_that_a_runner_counted_are_told_from_its_acceptance_and_never_lie_ahead() -> None:
    player = Player()
    for line in ("hello a", "build jobs=one", "wait 500", "accepted a 1/one#1", "wait 1000"):
        player.play(line)
    player.play("finished a 1/one#1 passed after=700")
    found = attempt_of(player, "1/one", 1)
    assert (found.assigned_at, found.accepted_at) == (START_AT, START_AT + 500)
    assert (found.started_at, found.finished_at) == (START_AT + 505, START_AT + 1_200)

    for line in ("build jobs=two", "accepted a 2/two#1", "wait 100", "finished a 2/two#1 passed after=3600000"):
        player.play(line)
    found = attempt_of(player, "2/two", 1)
    assert (found.started_at, found.finished_at) == (START_AT + 1_505, START_AT + 1_600)
