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


def test_what_is_refused_is_handed_out_again_although_the_clock_was_set_back_behind_its_last_back_off() -> None:
    player = Player()
    for line in ("hello a", "build jobs=one", "accepted a 1/one#1", "finished a 1/one#1 errored"):
        player.play(line)
    player.play("beat a")
    player.play(f"wait {player.policy.retry_ms}")
    assert attempt_of(player, "1/one", 2).state == AttemptState.ASSIGNED
    player.now -= 3_600_000
    for line in ("restart 0", "hello a", "rejected a 1/one#2", "hello b"):
        player.play(line)
    assert attempt_of(player, "1/one", 3).state == AttemptState.ASSIGNED


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


def held_by_a_loss(player: Player) -> None:
    """Bring a job that errored once before, and had to wait for that, to where a person decides."""
    for line in ("hello a", "build jobs=deploy(loss=hold)", "accepted a 1/deploy#1", "finished a 1/deploy#1 errored"):
        player.play(line)
    player.play("beat a")
    player.play(f"wait {player.policy.retry_ms}")
    player.play("accepted a 1/deploy#2")
    player.play("wait 60000")


def job_of(player: Player, job: str) -> Job:
    found = player.stored["Job", job]
    assert isinstance(found, Job)
    return found


def test_what_a_person_lets_go_is_handed_out_although_the_clock_was_set_back_behind_its_last_back_off() -> None:
    player = Player()
    held_by_a_loss(player)
    assert job_of(player, "1/deploy").state == Status.HELD
    player.now -= 3_600_000
    for line in ("restart 0", "hello b", "unhold 1"):
        player.play(line)
    assert attempt_of(player, "1/deploy", 3).state == AttemptState.ASSIGNED


def after_a_backup(job: str) -> Player:
    """A dispatcher that was started from one, in which the job's attempt is an older one than the last."""
    player = Player()
    for line in ("hello a", f"build jobs={job}", "accepted a 1/one#1"):
        player.play(line)
    player.stored["Job", "1/one"] = replace(job_of(player, "1/one"), attempt=1001)
    player.play("restart 0")
    return player


@pytest.mark.parametrize("job", ["one(loss=hold)", "one(group=g)"])
def test_the_loss_of_what_a_backup_still_holds_does_not_end_the_wait_for_what_it_forgot(job: str) -> None:
    player, policy = after_a_backup(job), Policy()
    assert attempt_of(player, "1/one", 1).state == AttemptState.LOST
    assert job_of(player, "1/one").not_before_at == player.now + policy.lease_ms + policy.margin_ms


def test_a_person_who_lets_a_job_go_does_not_end_the_wait_for_what_a_backup_forgot() -> None:
    player, policy = after_a_backup("one(loss=hold)"), Policy()
    player.play("unhold 1")
    for _ in range(4):
        player.play("hello b")
        player.play("wait 2000")
        assert ("Attempt", ("1/one", 1002)) not in player.stored
    player.play("hello b")
    player.play(f"wait {policy.lease_ms + policy.margin_ms - 8000}")
    assert attempt_of(player, "1/one", 1002).state == AttemptState.ASSIGNED


def test_a_clock_that_is_set_back_does_not_prolong_the_wait_for_what_a_backup_forgot() -> None:
    player, policy = after_a_backup("one(loss=hold)"), Policy()
    player.now -= 3_600_000
    player.play("hello b")
    player.play("unhold 1")
    assert job_of(player, "1/one").not_before_at == player.now + policy.lease_ms + policy.margin_ms
