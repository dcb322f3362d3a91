"""The runner's mind, one sentence at a time: every test looks at all that came out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from surveil.core.run import handle, next_deadline
from surveil.core.run_events import (
    Connected,
    DetachWanted,
    Disconnected,
    DrainWanted,
    Effect,
    Ended,
    Event,
    Exit,
    Forget,
    FoundAttempt,
    KeeperLost,
    Kill,
    Load,
    LogGrew,
    LogKept,
    PreparationFailed,
    Prepare,
    Prepared,
    Recovered,
    RememberCluster,
    ResumeLog,
    Said,
    Send,
    SetBulk,
    SetLease,
    Signal,
    Start,
    StepsChanged,
    StopWanted,
    Tick,
    TombstoneFailed,
    WriteTombstone,
)
from surveil.core.run_model import HELD_LIMIT, SENT_MAX, TOMBSTONES_MAX, Phase, RunnerPolicy, RunState
from surveil.protocol import (
    Accepted,
    Assign,
    Beat,
    Busy,
    Bye,
    Cancel,
    Drain,
    Finished,
    Heartbeat,
    Held,
    Hello,
    Introduce,
    JobSpec,
    Progress,
    Ref,
    Refused,
    Rejected,
    Release,
    StepReport,
    StepSpec,
    Welcome,
)

POLICY = RunnerPolicy()
START = 1_000_000
ONE = ("7/test", 1)
STEPS = (StepReport(name="make", state="running", started_after_ms=5, log_at=0),)


class Runner:
    """A mind with a clock in its hand; it checks itself after each event."""

    def __init__(self, *, slots: int = 2, incarnation: int = 3, cluster: str = "") -> None:
        self.now = START
        self.state = RunState(
            name="spare", host="attic", software="1", labels=("linux",), slots=slots, incarnation=incarnation, birth=77,
            cluster=cluster,
        )  # fmt: skip

    def on(self, event: Event) -> list[Effect]:
        effects = handle(self.state, event, self.now, POLICY)
        self.state.check()
        return effects

    def hear(self, message: Any) -> list[Effect]:
        return self.on(Said(message=message))

    def said(self, effects: list[Effect]) -> list[Any]:
        return [effect.message for effect in effects if isinstance(effect, Send)]

    def after(self, wait_ms: int) -> list[Effect]:
        """Let time pass as the hands do: a tick at each deadline."""
        until, effects = self.now + wait_ms, list[Effect]()
        for _ in range(1_000):
            due = next_deadline(self.state, self.now, POLICY)
            if due is None or due > until:
                self.now = until
                return effects
            assert due >= self.now
            self.now = due
            effects += self.on(Tick())
        raise AssertionError("the mind ticks without end")

    def welcome(self, **changes: Any) -> Welcome:
        fields: dict[str, Any] = {
            "cluster": "c", "epoch": 1, "incarnation": self.state.incarnation, "seq": self.state.seq,
            "heartbeat_ms": 2_000, "lease_ms": 8_000, "bulk_port": 7301, "renewed": (), "revoked": (),
        }  # fmt: skip
        return Welcome(**fields | changes)

    def assign(self, *, job: str = "7/test", attempt: int = 1, loss: Any = "retry", **changes: Any) -> Assign:
        step = StepSpec(name="make", run="make", env={})
        spec = JobSpec(name="test", env={}, timeout_ms=600_000, steps=(step,), matrix={}, on_runner_loss=loss)
        fields: dict[str, Any] = {
            "epoch": 1, "incarnation": self.state.incarnation, "anchor": self.state.seq, "job": job,
            "attempt": attempt, "build": 7, "repo": "r", "ref": "refs/heads/main", "sha": "a" * 40, "spec": spec,
        }  # fmt: skip
        return Assign(**fields | changes)

    def renew(self, *ids: tuple[str, int]) -> list[Effect]:
        """A beat for the newest thing that we said."""
        renewed = tuple(Ref(job=job, attempt=attempt) for job, attempt in ids)
        return self.hear(Beat(epoch=1, seq=self.state.seq, renewed=renewed, revoked=()))


def ended(outcome: Any = "passed", *, log_bytes: int = 0, reason: str = "") -> Ended:
    return Ended(
        id=ONE, outcome=outcome, reason=reason, exit_code=0, started_after_ms=5, finished_after_ms=9,
        log_bytes=log_bytes, steps=STEPS,
    )  # fmt: skip


@pytest.fixture
def runner() -> Runner:
    """A runner that was welcomed and holds nothing."""
    runner = Runner()
    runner.on(Connected())
    runner.hear(runner.welcome())
    return runner


@pytest.fixture
def running(runner: Runner) -> Runner:
    """A runner in the middle of attempt 1 of 7/test."""
    runner.hear(runner.assign())
    runner.on(Prepared(id=ONE))
    return runner


@pytest.fixture
def exclusive(runner: Runner) -> Runner:
    """The same, of a job that must never overlap with its successor."""
    runner.hear(runner.assign(loss="hold"))
    runner.on(Prepared(id=ONE))
    return runner


# ---- introductions ----


def test_a_connection_is_greeted_at_once_and_the_greeting_repeated_with_growing_waits() -> None:
    runner = Runner()
    (first,) = runner.said(runner.on(Connected()))
    later = runner.said(runner.after(120_000))
    assert isinstance(first, Hello)
    assert (first.seq, first.incarnation, first.held, first.slots) == (1, 3, (), 2)
    assert all(isinstance(message, Hello) for message in later)
    assert [message.seq for message in later] == list(range(2, len(later) + 2))
    assert 4 <= len(later) <= 60


def test_two_runners_do_not_repeat_their_greetings_in_step() -> None:
    one, two = Runner(), Runner()
    two.state.name = "other"
    for runner in (one, two):
        runner.on(Connected())
        runner.after(20_000)
    assert one.state.hello_at != two.state.hello_at


def test_a_welcome_ends_the_greetings_and_begins_the_beats_at_a_phase_of_their_own() -> None:
    runner = Runner()
    runner.on(Connected())
    assert runner.hear(runner.welcome()) == [RememberCluster(cluster="c"), SetBulk(port=7301)]
    due = next_deadline(runner.state, runner.now, POLICY)
    assert due is not None
    assert 600 <= due - runner.now <= 2_000
    beats = runner.said(runner.after(10_000))
    assert all(isinstance(beat, Heartbeat) for beat in beats)
    assert len(beats) == 5
    assert beats[0].free == 2


def test_a_welcome_to_an_earlier_connection_or_incarnation_is_not_heard() -> None:
    runner = Runner()
    runner.on(Connected())
    old = runner.welcome()
    runner.on(Disconnected())
    assert next_deadline(runner.state, runner.now, POLICY) is None
    runner.on(Connected())
    assert runner.hear(old) == []
    assert runner.hear(runner.welcome(incarnation=2)) == []
    assert not runner.state.welcomed


def test_words_of_an_older_dispatcher_are_not_heard(runner: Runner) -> None:
    runner.hear(runner.welcome(epoch=5))
    assert runner.hear(runner.assign(epoch=4)) == []
    assert runner.hear(Introduce(epoch=4)) == []
    assert runner.state.epoch == 5


def test_a_stranger_to_the_dispatcher_says_hello_once_for_any_number_of_requests(runner: Runner) -> None:
    (hello,) = runner.said(runner.hear(Introduce(epoch=1)))
    assert isinstance(hello, Hello)
    assert runner.hear(Introduce(epoch=1)) == []
    assert runner.said(runner.after(600)) != []


def test_busy_delays_the_next_hello_by_at_least_what_was_asked() -> None:
    runner = Runner()
    runner.on(Connected())
    assert runner.hear(Busy(retry_ms=3_000)) == []
    assert runner.after(2_999) == []
    assert runner.said(runner.after(1_501)) != []


def test_another_installation_ends_the_runner_with_a_sentence() -> None:
    runner = Runner(cluster="mine")
    runner.on(Connected())
    (exit_,) = runner.hear(runner.welcome(cluster="theirs"))
    assert isinstance(exit_, Exit)
    assert exit_.code == 5
    assert "theirs" in exit_.reason


def test_a_refused_hello_ends_the_runner_with_the_reason() -> None:
    runner = Runner()
    runner.on(Connected())
    assert runner.hear(Refused(reason="the key was revoked")) == [Exit(code=5, reason="the key was revoked")]
    assert runner.on(Tick()) == []


def test_a_refusal_of_one_message_of_a_welcome_runner_ends_nothing(running: Runner) -> None:
    assert running.hear(Refused(reason="that output is not yours", exit_code=5)) == []
    assert running.hear(Cancel(job="7/test", attempt=1, grace_ms=1_000, reason="by ann")) == [
        Signal(id=ONE, grace_ms=1_000)
    ]


# ---- orders ----


def test_an_order_is_on_disk_before_it_is_accepted_and_begun(runner: Runner) -> None:
    order = runner.assign()
    assert runner.hear(order) == [
        WriteTombstone(id=ONE, assign=order),
        Send(message=Accepted(job="7/test", attempt=1)),
        Prepare(id=ONE, assign=order),
    ]
    assert runner.on(Prepared(id=ONE)) == [Start(id=ONE, assign=order, lease_until_at=None)]


def test_an_exclusive_job_starts_with_its_lease_counted_from_our_own_words(runner: Runner) -> None:
    sent_at = runner.now
    runner.now += 500
    order = runner.assign(loss="fail")
    runner.hear(order)
    assert runner.on(Prepared(id=ONE)) == [Start(id=ONE, assign=order, lease_until_at=sent_at + 8_000)]


def test_the_same_order_twice_is_accepted_twice_and_begun_once(running: Runner) -> None:
    assert running.hear(running.assign()) == [Send(message=Accepted(job="7/test", attempt=1))]


def test_the_same_order_after_the_end_gets_the_result(running: Runner) -> None:
    running.on(ended())
    (finished,) = running.said(running.hear(running.assign()))
    assert isinstance(finished, Finished)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"incarnation": 2}, "start 2"),
        ({"anchor": 99}, "too late"),
        ({"attempt": 0}, "already had"),
    ],
)
def test_an_order_that_cannot_be_ours_is_refused_in_words(runner: Runner, changes: Any, words: str) -> None:
    effects = runner.hear(runner.assign(**changes))
    (rejected,) = runner.said(effects)
    assert isinstance(rejected, Rejected)
    assert words in rejected.reason
    assert [e for e in effects if not isinstance(e, Send | WriteTombstone)] == []
    assert runner.state.held == {}


def test_an_order_whose_first_lease_is_over_is_refused(runner: Runner) -> None:
    order = runner.assign()
    runner.now += 8_000
    (rejected,) = runner.said(runner.hear(order))
    assert "too late" in rejected.reason


def test_a_refused_attempt_is_never_begun_later(runner: Runner) -> None:
    assert runner.hear(runner.assign(anchor=99))[0] == WriteTombstone(id=ONE, assign=None)
    (rejected,) = runner.hear(runner.assign())
    assert isinstance(rejected, Send)
    assert isinstance(rejected.message, Rejected)


def test_a_full_a_draining_and_a_crammed_runner_refuse(runner: Runner) -> None:
    runner.hear(runner.assign(job="7/a"))
    runner.hear(runner.assign(job="7/b"))
    assert "all 2 slots" in runner.said(runner.hear(runner.assign(job="7/c")))[0].reason
    (beat,) = runner.said(runner.on(Load(disk_free_mib=499, disk_total_mib=1_000, load_percent=3)))
    assert (beat.free, beat.disk_free_mib) == (0, 499)
    assert "nearly full" in runner.said(runner.hear(runner.assign(job="7/d")))[0].reason
    runner.hear(Drain())
    assert "draining" in runner.said(runner.hear(runner.assign(job="7/e")))[0].reason


def test_a_disk_below_a_twentieth_free_is_low_however_large(runner: Runner) -> None:
    runner.on(Load(disk_free_mib=49_000, disk_total_mib=1_000_000, load_percent=3))
    assert runner.state.disk_low
    runner.on(Load(disk_free_mib=50_000, disk_total_mib=1_000_000, load_percent=3))
    assert not runner.state.disk_low


def test_a_runner_with_a_low_disk_offers_no_slot_until_there_is_room(runner: Runner) -> None:
    (beat,) = runner.said(runner.on(Load(disk_free_mib=499, disk_total_mib=1_000, load_percent=3)))
    assert (beat.free, beat.held, beat.disk_free_mib, beat.load_percent) == (0, (), 499, 3)
    (beat,) = runner.said(runner.after(2_000))
    assert beat.free == 0
    assert runner.on(Load(disk_free_mib=600, disk_total_mib=1_000, load_percent=3)) == []
    (beat,) = runner.said(runner.after(2_000))
    assert (beat.free, beat.disk_free_mib) == (2, 600)


def test_an_order_that_the_disk_does_not_take_is_refused_and_forgotten(runner: Runner) -> None:
    runner.hear(runner.assign())
    (rejected,) = runner.said(runner.on(TombstoneFailed(id=ONE, reason="No space left on device")))
    assert isinstance(rejected, Rejected)
    assert "No space" in rejected.reason
    assert runner.state.held == {}
    assert isinstance(runner.said(runner.hear(runner.assign()))[0], Rejected)


def test_memory_of_orders_and_of_our_own_words_is_bounded(runner: Runner) -> None:
    for number in range(TOMBSTONES_MAX + 10):
        runner.state.bury(f"{number + 1}/x", 1)
    assert len(runner.state.tombstones) == TOMBSTONES_MAX
    assert "1/x" not in runner.state.tombstones
    for _ in range(SENT_MAX * 2):
        runner.hear(Introduce(epoch=1))
        runner.hear(runner.welcome())
    assert len(runner.state.sent_at) <= SENT_MAX


def test_no_more_results_are_piled_up_than_a_hello_can_tell(runner: Runner) -> None:
    for number in range(HELD_LIMIT):
        job = f"{number + 1}/x"
        runner.hear(runner.assign(job=job))
        runner.on(PreparationFailed(id=(job, 1), reason="no"))
    (rejected,) = runner.said(runner.hear(runner.assign(job="9999/x")))
    assert "results" in rejected.reason


# ---- work and its end ----


def test_steps_are_told_as_they_change_and_only_then(running: Runner) -> None:
    progress = Send(message=Progress(job="7/test", attempt=1, steps=STEPS))
    assert running.on(StepsChanged(id=ONE, steps=STEPS)) == [progress]
    assert running.on(StepsChanged(id=ONE, steps=STEPS)) == []


def test_a_result_is_repeated_with_growing_waits_until_it_is_released(running: Runner) -> None:
    (first,) = running.said(running.on(ended()))
    assert isinstance(first, Finished)
    assert (first.outcome, first.finished_after_ms) == ("passed", 9)
    again = [m for m in running.said(running.after(20_000)) if isinstance(m, Finished)]
    assert again
    assert set(again) == {first}
    assert 3 <= len(again) <= 8
    assert running.hear(Release(job="7/test", attempt=1, fate="recorded")) == [Forget(id=ONE)]
    assert [m for m in running.said(running.after(60_000)) if isinstance(m, Finished)] == []


def test_a_released_attempt_is_forgotten_only_when_its_log_is_kept(running: Runner) -> None:
    running.on(LogGrew(id=ONE, log_bytes=40))
    running.on(ended(log_bytes=50))
    running.on(LogKept(id=ONE, upto=30))
    assert running.hear(Release(job="7/test", attempt=1, fate="recorded")) == []
    assert running.hear(Release(job="7/test", attempt=1, fate="duplicate")) == []
    assert running.said(running.after(2_000))[-1].held == ()
    assert running.on(LogKept(id=ONE, upto=50)) == [Forget(id=ONE)]


def test_a_stale_attempt_is_forgotten_with_its_log(running: Runner) -> None:
    running.on(ended(log_bytes=50))
    assert running.hear(Release(job="7/test", attempt=1, fate="stale")) == [Forget(id=ONE)]


def test_a_log_that_nobody_takes_is_forgotten_in_the_end(running: Runner) -> None:
    running.on(ended(log_bytes=50))
    running.hear(Release(job="7/test", attempt=1, fate="recorded"))
    running.on(Disconnected())
    assert running.after(POLICY.released_log_ms) == [Forget(id=ONE)]


def test_a_failed_preparation_is_an_error_of_ours(runner: Runner) -> None:
    runner.hear(runner.assign())
    (finished,) = runner.said(runner.on(PreparationFailed(id=ONE, reason="no such commit")))
    assert (finished.outcome, finished.reason, finished.started_after_ms) == ("errored", "no such commit", None)
    assert not finished.blameless


def test_that_nobody_has_what_an_attempt_needs_is_no_fault_of_the_machines(runner: Runner) -> None:
    runner.hear(runner.assign())
    (finished,) = runner.said(runner.on(PreparationFailed(id=ONE, reason="no such image", blameless=True)))
    assert (finished.outcome, finished.reason, finished.blameless) == ("errored", "no such image", True)


@pytest.mark.parametrize(("outcome", "blameless"), [("errored", True), ("failed", False), ("passed", False)])
def test_a_keeper_knows_whether_the_machine_has_a_part_in_an_error(
    running: Runner, outcome: str, *, blameless: bool
) -> None:
    (finished,) = running.said(running.on(replace(ended(outcome), blameless=True)))
    assert (finished.outcome, finished.blameless) == (outcome, blameless)


def test_a_dead_keeper_is_a_lost_attempt_and_never_a_verdict(running: Runner) -> None:
    running.on(StepsChanged(id=ONE, steps=STEPS))
    (finished,) = running.said(running.on(KeeperLost(id=ONE, log_bytes=12)))
    assert (finished.outcome, finished.exit_code, finished.log_bytes) == ("lost", None, 12)
    assert [step.state for step in finished.steps] == ["errored"]
    assert running.on(ended()) == []


def test_a_cancelled_attempt_is_asked_then_reported_with_the_persons_reason(running: Runner) -> None:
    cancel = Cancel(job="7/test", attempt=1, grace_ms=10_000, reason="cancelled by Ann")
    assert running.hear(cancel) == [Signal(id=ONE, grace_ms=10_000)]
    (finished,) = running.said(running.on(ended("cancelled", reason="signalled")))
    assert (finished.outcome, finished.reason) == ("cancelled", "cancelled by Ann")


def test_a_cancelled_attempt_whose_keeper_does_not_answer_is_killed_soon_after_its_grace(running: Runner) -> None:
    running.hear(Cancel(job="7/test", attempt=1, grace_ms=10_000, reason="cancelled by Ann"))
    waited = running.after(10_000 + POLICY.ending_ms - 1)
    assert [effect for effect in waited if isinstance(effect, Kill)] == []
    assert [effect for effect in running.after(1) if isinstance(effect, Kill)] == [Kill(id=ONE)]
    (finished,) = running.said(running.on(KeeperLost(id=ONE, log_bytes=12)))
    assert (finished.outcome, finished.reason, finished.log_bytes) == ("cancelled", "cancelled by Ann", 12)


def test_an_attempt_that_ended_before_the_cancel_reached_it_keeps_its_own_verdict(running: Runner) -> None:
    running.hear(Cancel(job="7/test", attempt=1, grace_ms=10, reason="cancelled by Ann"))
    (finished,) = running.said(running.on(ended("failed", reason="step make failed")))
    assert (finished.outcome, finished.reason) == ("failed", "step make failed")


def test_a_cancel_during_preparation_ends_the_attempt_unbegun(runner: Runner) -> None:
    runner.hear(runner.assign())
    (finished,) = runner.said(runner.hear(Cancel(job="7/test", attempt=1, grace_ms=10, reason="no")))
    assert finished.outcome == "cancelled"
    assert runner.on(Prepared(id=ONE)) == []


def test_a_keeper_that_overruns_is_killed_and_if_even_that_fails_declared_ended(running: Runner) -> None:
    running.on(StepsChanged(id=ONE, steps=STEPS))
    late: list[Effect] = []
    for _ in range(400):
        running.renew(ONE)
        late += [e for e in running.after(2_000) if not (isinstance(e, Send) and isinstance(e.message, Heartbeat))]
        if late:
            break
    assert late == [Kill(id=ONE)]
    assert running.now - START >= 660_000
    (finished,) = running.said(running.on(KeeperLost(id=ONE, log_bytes=0)))
    assert finished.outcome == "errored"
    assert "time was up" in finished.reason


# ---- leases ----


def test_an_exclusive_job_is_ended_when_its_lease_runs_out_and_reported_lost(exclusive: Runner) -> None:
    assert [e for e in exclusive.after(7_999) if isinstance(e, Signal)] == []
    assert [e for e in exclusive.after(1) if isinstance(e, Signal)] == [Signal(id=ONE, grace_ms=0)]
    (finished,) = exclusive.said(exclusive.on(ended("cancelled")))
    assert finished.outcome == "lost"
    assert "lease" in finished.reason


def test_a_lease_counts_from_when_we_spoke_not_from_when_we_were_answered(exclusive: Runner) -> None:
    exclusive.after(2_000)
    spoke_at = exclusive.state.sent_at[exclusive.state.seq]
    exclusive.now += 1_500
    assert exclusive.renew(ONE) == [SetLease(id=ONE, until_at=spoke_at + 8_000)]
    assert exclusive.renew(ONE) == []


def test_an_exclusive_job_that_is_being_cancelled_goes_on_ending_for_as_long_as_its_lease_is_renewed(
    exclusive: Runner,
) -> None:
    job, attempt = ONE
    assert exclusive.hear(Cancel(job=job, attempt=attempt, grace_ms=10_000, reason="by ann"))
    exclusive.after(2_000)
    spoke_at = exclusive.state.sent_at[exclusive.state.seq]
    assert exclusive.renew(ONE) == [SetLease(id=ONE, until_at=spoke_at + 8_000)]


def test_an_exclusive_job_whose_lease_ran_out_in_preparation_is_not_begun(runner: Runner) -> None:
    runner.hear(runner.assign(loss="hold"))
    finished = [m for m in runner.said(runner.after(8_000)) if isinstance(m, Finished)]
    assert finished[0].outcome == "lost"
    assert runner.on(Prepared(id=ONE)) == []


def test_other_jobs_outlive_the_dispatcher_by_ten_minutes(running: Runner) -> None:
    running.on(Disconnected())
    assert running.after(599_999) == []
    assert running.after(1) == [Signal(id=ONE, grace_ms=0)]


def test_a_revoked_attempt_is_killed_and_kept_until_the_dispatcher_knows_and_has_all_of_its_log(
    running: Runner,
) -> None:
    gone = (Ref(job="7/test", attempt=1),)
    revoked = Beat(epoch=1, seq=running.state.seq, renewed=(), revoked=gone)
    assert running.hear(revoked) == [Signal(id=ONE, grace_ms=0)]
    assert running.hear(revoked) == []
    (finished,) = running.said(running.on(ended("cancelled", log_bytes=9)))
    assert (finished.outcome, finished.log_bytes) == ("cancelled", 9)
    said = running.said(running.after(20_000))
    assert {m for m in said if isinstance(m, Finished)} == {finished}
    assert {m.held for m in said if isinstance(m, Heartbeat)} == {
        (Held(job="7/test", attempt=1, finished=True, log_bytes=9),)
    }
    assert running.hear(Release(job="7/test", attempt=1, fate="duplicate")) == []
    assert running.on(LogKept(id=ONE, upto=8)) == []
    assert running.on(LogKept(id=ONE, upto=9)) == [Forget(id=ONE)]


def test_a_log_of_which_a_dispatcher_from_a_backup_has_less_than_before_is_delivered_again(running: Runner) -> None:
    running.on(ended(log_bytes=9))
    running.on(LogKept(id=ONE, upto=9))
    running.on(Disconnected())
    running.on(Connected())
    here = (Ref(job="7/test", attempt=1, log_bytes=4),)
    effects = running.hear(running.welcome(epoch=99, revoked=here))
    assert [e for e in effects if isinstance(e, ResumeLog)] == [ResumeLog(id=ONE, at=4)]
    assert running.hear(Release(job="7/test", attempt=1, fate="duplicate")) == []
    assert running.on(LogKept(id=ONE, upto=9)) == [Forget(id=ONE)]


def test_an_attempt_that_a_power_cut_ended_is_reported_with_what_is_left_of_its_log() -> None:
    runner = Runner()
    found = FoundAttempt(assign=runner.assign(), accepted_at=START, launched=True, steps=STEPS, log_bytes=7)
    runner.on(Recovered(attempts=[found]))
    runner.on(Connected())
    (finished,) = [m for m in runner.said(runner.hear(runner.welcome())) if isinstance(m, Finished)]
    assert (finished.outcome, finished.log_bytes) == ("lost", 7)
    assert runner.hear(Release(job="7/test", attempt=1, fate="duplicate")) == []
    assert runner.on(LogKept(id=ONE, upto=7)) == [Forget(id=ONE)]


def test_a_release_of_a_running_attempt_ends_it(running: Runner) -> None:
    assert running.hear(Release(job="7/test", attempt=1, fate="stale")) == [Signal(id=ONE, grace_ms=0)]
    (finished,) = running.said(running.on(ended("cancelled")))
    assert finished.outcome == "cancelled"


# ---- coming back ----


def test_everything_held_is_told_again_after_a_reconnection(running: Runner) -> None:
    running.on(StepsChanged(id=ONE, steps=STEPS))
    running.hear(running.assign(job="7/lint"))
    running.on(PreparationFailed(id=("7/lint", 1), reason="no"))
    running.on(Disconnected())
    (hello,) = running.said(running.on(Connected()))
    assert [(h.job, h.finished) for h in hello.held] == [("7/test", False), ("7/lint", True)]
    renewed = (Ref(job="7/test", attempt=1, log_bytes=77), Ref(job="7/lint", attempt=1))
    effects = running.hear(running.welcome(renewed=renewed, draining=True))
    assert effects[:3] == [SetBulk(port=7301), ResumeLog(id=ONE, at=77), ResumeLog(id=("7/lint", 1), at=0)]
    assert [type(m) for m in running.said(effects)] == [Progress, Finished]
    assert running.state.drains


def found(runner: Runner, **changes: Any) -> FoundAttempt:
    fields: dict[str, Any] = {"assign": runner.assign(), "accepted_at": START - 50, "launched": True}
    return FoundAttempt(**fields | changes)


def test_what_an_earlier_incarnation_left_is_taken_up_as_what_it_is() -> None:
    runner = Runner()
    orders = [found(runner, assign=runner.assign(job=f"7/{name}")) for name in "abcd"]
    attempts = [
        replace(orders[0], kept=True),
        replace(orders[1], ended=replace(ended(), id=("7/b", 1))),
        orders[2],
        replace(orders[3], launched=False),
    ]
    assert runner.on(Recovered(attempts=attempts)) == []
    phases = [held.phase for held in runner.state.held.values()]
    assert phases == [Phase.RUNNING, Phase.FINISHED, Phase.FINISHED, Phase.ACCEPTED]
    runner.on(Connected())
    renewed = tuple(Ref(job=f"7/{name}", attempt=1) for name in "abcd")
    effects = runner.hear(runner.welcome(renewed=renewed))
    assert [m.outcome for m in runner.said(effects)] == ["passed", "lost"]
    assert [e for e in effects if isinstance(e, Prepare)] == [Prepare(id=("7/d", 1), assign=attempts[3].assign)]


def test_an_attempt_found_unbegun_is_not_begun_before_the_dispatcher_still_wants_it() -> None:
    runner = Runner()
    runner.on(Recovered(attempts=[found(runner, launched=False)]))
    runner.on(Connected())
    assert runner.after(0) == []
    effects = runner.hear(runner.welcome(revoked=(Ref(job="7/test", attempt=1),)))
    assert [e for e in effects if isinstance(e, Prepare)] == []
    assert {(m.outcome, m.log_bytes) for m in runner.said(effects) if isinstance(m, Finished)} == {("cancelled", 0)}
    assert runner.hear(Release(job="7/test", attempt=1, fate="duplicate")) == [Forget(id=ONE)]


# ---- leaving ----


def test_a_detached_runner_says_that_it_comes_back_and_leaves_its_keepers_alone(running: Runner) -> None:
    assert running.on(DetachWanted()) == [
        Send(message=Bye(incarnation=3, returning=True)),
        Exit(code=0, reason=""),
    ]
    assert next_deadline(running.state, running.now, POLICY) is None


def test_a_draining_runner_ends_when_its_last_attempt_is_released(running: Runner) -> None:
    (beat,) = running.said(running.on(DrainWanted()))
    assert beat.free == 0
    running.on(ended())
    assert running.hear(Release(job="7/test", attempt=1, fate="recorded")) == [
        Forget(id=ONE),
        Send(message=Bye(incarnation=3, returning=False)),
        Exit(code=0, reason=""),
    ]


def test_a_runner_that_is_told_to_drain_waits_with_nothing_to_do_until_it_may_go_on(runner: Runner) -> None:
    (beat,) = runner.said(runner.hear(Drain()))
    assert beat.free == 0
    beats = runner.said(runner.after(60_000))
    assert len(beats) == 30
    assert {(type(beat), beat.free) for beat in beats} == {(Heartbeat, 0)}
    runner.hear(Beat(epoch=1, seq=runner.state.seq, renewed=(), revoked=()))
    assert [beat.free for beat in runner.said(runner.after(2_000))] == [2]


def test_a_runner_that_is_told_to_drain_and_stop_ends_when_it_has_nothing_to_do(runner: Runner) -> None:
    assert runner.hear(Drain(stop=True))[-2:] == [
        Send(message=Bye(incarnation=3, returning=False)),
        Exit(code=0, reason=""),
    ]


def test_a_stopped_runner_gives_its_attempts_back_and_ends_itself_in_bounded_time(running: Runner) -> None:
    assert running.on(StopWanted()) == [Signal(id=ONE, grace_ms=POLICY.stop_grace_ms)]
    (finished,) = running.said(running.on(ended("cancelled")))
    assert finished.outcome == "cancelled"
    assert running.after(POLICY.stop_ms)[-2:] == [
        Send(message=Bye(incarnation=3, returning=False)),
        Exit(code=130, reason="the runner was stopped by its user"),
    ]


def test_a_stopped_runner_without_a_dispatcher_ends_as_soon_as_its_attempts_have(running: Runner) -> None:
    running.on(Disconnected())
    running.on(StopWanted())
    effects = running.on(ended("cancelled"))
    assert effects == [Exit(code=130, reason="the runner was stopped by its user")]


def test_a_cancelled_and_stopped_attempt_keeps_its_first_reason(running: Runner) -> None:
    running.hear(Cancel(job="7/test", attempt=1, grace_ms=10_000, reason="cancelled by Ann"))
    running.on(StopWanted())
    (finished,) = running.said(running.on(ended("cancelled")))
    assert finished.outcome == "cancelled"


def test_a_repository_whose_commit_was_there_is_named_at_the_next_greeting() -> None:
    runner = Runner()
    runner.on(Connected())
    runner.hear(runner.welcome())
    runner.hear(runner.assign())
    runner.on(Prepared(id=ONE))
    runner.on(Disconnected())
    (hello,) = runner.said(runner.on(Connected()))
    assert hello.mirrors == ("r",)
