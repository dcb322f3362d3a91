"""Collecting in the runner's mind: when it is begun, what ends it, and what it may do to a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from surveil.core.run_events import (
    Collect,
    Collected,
    Connected,
    Disconnected,
    Exit,
    Forget,
    FoundAttempt,
    KeeperLost,
    Prepared,
    Recovered,
    StopWanted,
)
from surveil.core.run_model import Phase
from surveil.core.run_verdict import about_attempt
from surveil.protocol import ArtifactSpec, Assign, Beat, Cancel, Finished, Progress, Ref, Release, Remark
from tests.core.test_run import ONE, POLICY, STEPS, Runner, ended

WHEEL = ArtifactSpec(name="wheel", paths=("dist/*",), required=True)
COVERAGE = ArtifactSpec(name="coverage", paths=("htmlcov/**",))


def asked(runner: Runner, *artifacts: ArtifactSpec, loss: str = "retry") -> Assign:
    order = runner.assign(loss=loss)
    return replace(order, spec=replace(order.spec, artifacts=artifacts))


def running(*artifacts: ArtifactSpec, loss: str = "retry") -> Runner:
    runner = Runner()
    runner.on(Connected())
    runner.hear(runner.welcome())
    runner.hear(asked(runner, *artifacts, loss=loss))
    runner.on(Prepared(id=ONE))
    return runner


def collecting(*artifacts: ArtifactSpec, loss: str = "retry") -> Runner:
    runner = running(*artifacts, loss=loss)
    runner.on(ended())
    assert runner.state.held[ONE].phase is Phase.COLLECTING
    return runner


def verdict(runner: Runner, effects: Any) -> Finished:
    (message,) = [said for said in runner.said(effects) if isinstance(said, Finished)]
    return message


def test_what_a_job_wants_kept_is_collected_before_its_verdict_is_said() -> None:
    runner = running(COVERAGE)
    effects = runner.on(ended())
    assert [type(said) for said in runner.said(effects)] == [Progress]
    assert effects[-1] == Collect(id=ONE, assign=runner.state.held[ONE].assign, outcome="passed")
    said = verdict(runner, runner.on(Collected(id=ONE, remarks=("2 files are too large",))))
    assert (said.outcome, said.reason, said.exit_code) == ("passed", "", 0)
    remark = Remark(at=0, after_ms=9, text="2 files are too large")
    assert said.steps == (replace(STEPS[0], remarks=(remark,)),)


def test_what_is_said_of_kept_files_is_said_of_the_attempt_and_not_of_its_last_step() -> None:
    runner = running(COVERAGE)
    step = replace(STEPS[0], state="passed", finished_after_ms=9)
    runner.on(replace(ended(), steps=(step,)))
    said = verdict(runner, runner.on(Collected(id=ONE, remarks=("2 files are too large",))))
    (remark,) = said.steps[0].remarks
    assert remark.after_ms == 10
    assert about_attempt(remark, step, said.log_bytes)
    assert not about_attempt(replace(remark, after_ms=9), step, said.log_bytes)
    assert not about_attempt(remark, step, said.log_bytes + 1)


@pytest.mark.parametrize("outcome", ["errored", "lost", "cancelled"])
def test_half_a_work_is_not_collected(outcome: str) -> None:
    runner = running(WHEEL)
    assert verdict(runner, runner.on(ended(outcome))).outcome == outcome


def test_a_job_that_wants_nothing_kept_has_its_verdict_at_once() -> None:
    runner = running()
    assert verdict(runner, runner.on(ended())).outcome == "passed"


@pytest.mark.parametrize(
    ("outcome", "missing", "unkept", "said"),
    [
        ("passed", "nothing matches `dist/*`", "", ("failed", "nothing matches `dist/*`")),
        ("passed", "", "the dispatcher's disk is full", ("errored", "the dispatcher's disk is full")),
        ("failed", "nothing matches `dist/*`", "", ("failed", "")),
        ("failed", "", "the dispatcher's disk is full", ("failed", "")),
    ],
)
def test_only_a_passed_job_that_lacks_what_it_requires_gets_another_verdict(
    outcome: str, missing: str, unkept: str, said: tuple[str, str]
) -> None:
    runner = running(WHEEL)
    runner.on(ended(outcome))
    report = verdict(runner, runner.on(Collected(id=ONE, missing=missing, unkept=unkept)))
    assert (report.outcome, report.reason) == said


@pytest.mark.parametrize("blameless", [False, True])
def test_that_a_dispatcher_does_not_take_files_is_no_fault_of_the_machines_and_that_it_cannot_pack_them_is(
    *, blameless: bool
) -> None:
    runner = collecting(WHEEL)
    report = verdict(runner, runner.on(Collected(id=ONE, unkept="it is not kept", blameless=blameless)))
    assert (report.outcome, report.blameless) == ("errored", blameless)


def test_while_it_is_collected_no_lease_ends_it_and_it_takes_its_slot() -> None:
    runner = collecting(COVERAGE, loss="hold")
    runner.on(Disconnected())
    assert runner.after(POLICY.alone_ms + 60_000) == []
    assert runner.state.busy == 1


def test_a_second_word_of_its_end_or_of_its_keeper_changes_nothing_while_it_is_collected() -> None:
    runner = collecting(COVERAGE)
    assert runner.on(ended("failed")) == []
    assert runner.on(KeeperLost(id=ONE, log_bytes=0)) == []
    assert verdict(runner, runner.on(Collected(id=ONE))).outcome == "passed"
    assert runner.on(Collected(id=ONE)) == []


@pytest.mark.parametrize(("artifact", "outcome"), [(COVERAGE, "passed"), (WHEEL, "cancelled")])
def test_a_cancel_ends_the_collecting_and_says_so(artifact: ArtifactSpec, outcome: str) -> None:
    runner = collecting(artifact)
    said = verdict(runner, runner.hear(Cancel(job=ONE[0], attempt=1, grace_ms=5_000, reason="cancelled by ann")))
    assert said.outcome == outcome
    assert said.steps[0].remarks[0].text == "its files were not all kept: cancelled by ann"


def test_what_is_revoked_while_it_is_collected_is_given_up_and_then_forgotten() -> None:
    runner = collecting(COVERAGE)
    beat = Beat(epoch=1, seq=runner.state.seq, renewed=(), revoked=(Ref(job=ONE[0], attempt=1),))
    assert verdict(runner, runner.hear(beat)).outcome == "passed"
    assert runner.hear(Release(job=ONE[0], attempt=1, fate="stale")) == [Forget(id=ONE)]


def test_a_person_who_stops_the_runner_does_not_wait_for_it() -> None:
    runner = collecting(COVERAGE)
    said = verdict(runner, runner.on(StopWanted()))
    assert (said.outcome, said.steps[0].remarks[0].text) == (
        "passed", "its files were not all kept: the runner was stopped by its user",
    )  # fmt: skip
    assert any(isinstance(effect, Exit) for effect in runner.after(POLICY.stop_ms))


def _beating(runner: Runner, wait_ms: int) -> list[Any]:
    """Let time pass on a connection on which the dispatcher answers each heartbeat."""
    effects: list[Any] = []
    until = runner.now + wait_ms
    while runner.now < until:
        effects += runner.after(min(1_000, until - runner.now))
        effects += runner.renew(ONE)
    return effects


@pytest.mark.parametrize(("artifact", "outcome"), [(COVERAGE, "passed"), (WHEEL, "errored")])
def test_what_takes_too_long_is_given_up_where_somebody_is_there_to_take_it(
    artifact: ArtifactSpec, outcome: str
) -> None:
    runner = collecting(artifact)
    assert not [
        said for said in runner.said(_beating(runner, POLICY.collecting_ms - 1_000)) if isinstance(said, Finished)
    ]
    said = verdict(runner, _beating(runner, 1_000))
    assert said.outcome == outcome
    assert said.steps[0].remarks[0].text == "its files were not all kept: this took longer than 30 minutes"


def test_nobody_gives_up_while_the_dispatcher_is_away() -> None:
    runner = collecting(WHEEL)
    runner.on(Disconnected())
    assert runner.after(3 * POLICY.collecting_ms) == []
    runner.on(Connected())
    runner.hear(runner.welcome(renewed=(Ref(job=ONE[0], attempt=1),)))
    assert verdict(runner, runner.on(Collected(id=ONE))).outcome == "passed"


@pytest.mark.parametrize("known", [None, Collected(id=ONE, missing="nothing matches `dist/*`")])
def test_a_next_process_begins_again_unless_all_was_collected(known: Collected | None) -> None:
    runner = Runner(incarnation=4)
    found = FoundAttempt(
        assign=asked(runner, WHEEL), accepted_at=runner.now - 5_000, launched=True, ended=ended(), collected=known
    )
    effects = runner.on(Recovered(attempts=[found]))
    collects = [effect for effect in effects if isinstance(effect, Collect)]
    assert len(collects) == (1 if known is None else 0)
    runner.on(Connected())
    heard = runner.hear(runner.welcome(renewed=(Ref(job=ONE[0], attempt=1),)))
    if known is None:
        heard = runner.on(Collected(id=ONE))
    assert verdict(runner, heard).outcome == ("passed" if known is None else "failed")
