"""The dispatcher's mind: what its records hold that no line of a scenario shows."""

from dataclasses import replace

import pytest

from surveil.core.attempts import RESTORED
from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.core.policy import Policy
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


def test_an_attempt_that_is_not_its_jobs_newest_is_of_a_backup_and_is_lost_at_the_start() -> None:
    player = Player()
    for line in ("hello a", "build jobs=one", "accepted a 1/one#1"):
        player.play(line)
    job = player.stored["Job", "1/one"]
    assert isinstance(job, Job)
    player.stored["Job", "1/one"] = replace(job, attempt=1001)
    player.play("restart 0")
    found = attempt_of(player, "1/one", 1)
    assert (found.state, found.reason) == (AttemptState.LOST, RESTORED)
    job = player.stored["Job", "1/one"]
    assert isinstance(job, Job)
    assert (job.state, job.attempt, job.lost) == (Status.QUEUED, 1001, 0)
    player.play("hello a held=1/one#1")
    assert attempt_of(player, "1/one", 1002).state == AttemptState.ASSIGNED


def test_whoever_holds_a_result_that_nobody_waits_for_is_told_how_much_of_its_log_is_here() -> None:
    player = Player()
    for line in ("hello a", "build jobs=one", "accepted a 1/one#1", "finished a 1/one#1 passed"):
        player.play(line)
    assert player.play("hello a held=1/one#1!") == ["-> a Welcome revoked=1/one#1"]
    assert player.play("beat a held=1/one#1!") == ["-> a Beat"]


@pytest.mark.parametrize("loss", ["hold", "retry"])
def test_what_must_not_run_twice_waits_after_a_backup_for_the_lease_of_an_attempt_that_is_forgotten(loss: str) -> None:
    player, policy = Player(), Policy()
    player.play(f"build jobs=one(loss={loss})")
    job = player.stored["Job", "1/one"]
    assert isinstance(job, Job)
    player.stored["Job", "1/one"] = replace(job, attempt=1000)
    player.play("restart 0")
    began = player.play("hello a")
    rest_ms = policy.lease_ms + policy.margin_ms
    while rest_ms > 1:
        wait_ms = min(rest_ms - 1, policy.heartbeat_ms)
        began += [*player.play(f"wait {wait_ms}"), *player.play("beat a")]
        rest_ms -= wait_ms
    assert any("Assign 1/one#1001" in line for line in began) == (loss == "retry")
    player.play("wait 1")
    assert attempt_of(player, "1/one", 1001).state == AttemptState.ASSIGNED
