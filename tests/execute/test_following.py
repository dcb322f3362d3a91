"""Which steps run after what became of those before them: with real keepers, and the rules alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from surveil.execute import files
from surveil.execute.files import StepOrder
from surveil.execute.keeper.endings import End
from surveil.execute.keeper.following import OVERTIME_WORDS, is_next, together, why_not
from surveil.execute.nursery import Nursery
from surveil.frozen import replace
from surveil.protocol import Assign, JobSpec
from tests.engines.docker import Docker
from tests.execute.conftest import Kept, job
from tests.execute.test_containers import Housed, assign, housed
from tests.execute.test_process import in_a_loop

__all__ = ["assign"]
"""A fixture of others."""


def steps(*runs: tuple[str, str], timeout_ms: int = 60_000) -> JobSpec:
    """A job of steps, each with its `when`."""
    made = job(*(run for _, run in runs), timeout_ms=timeout_ms)
    return replace(
        made, steps=tuple(replace(step, when=when) for step, (when, _) in zip(made.steps, runs, strict=True))
    )


def states(status: files.Status) -> list[str]:
    return [step.state for step in status.steps]


FAILING = steps(
    ("passed", "exit 3"), ("passed", "echo never"), ("failed", "echo tell"), ("always", "echo clean; exit 5"),
    ("failed", "echo on"),
)  # fmt: skip


def test_after_a_failure_steps_run_that_ask_for_it_and_the_first_failure_stays_the_reason(kept: Kept) -> None:
    status = kept.run(FAILING)
    assert states(status) == ["failed", "skipped", "passed", "failed", "passed"]
    assert (status.outcome, status.reason, status.exit_code) == ("failed", "step 's0' ended with exit code 3", 3)
    assert kept.log() == b"tell\nclean\non\n"
    assert all(not step.remarks for step in status.steps)


def test_where_nothing_fails_what_waits_for_a_failure_is_skipped_and_says_why(kept: Kept) -> None:
    made = steps(("passed", "echo a"), ("failed", "echo never"), ("always", "echo b"), ("passed", "echo c"))
    never = replace(made.steps[3], skipped="its `when` is false: branch is `topic`")
    status = kept.run(replace(made, steps=(*made.steps, never)))
    assert (status.outcome, states(status)) == ("passed", ["passed", "skipped", "passed", "passed", "skipped"])
    assert kept.log() == b"a\nb\nc\n"
    said = [[(remark.at, remark.text) for remark in step.remarks] for step in status.steps]
    assert said == [
        [], [(2, "skipped: no step before it failed")], [], [], [(6, "skipped: its `when` is false: branch is `topic`")]
    ]  # fmt: skip


def test_an_always_step_that_fails_after_others_passed_fails_the_job(kept: Kept) -> None:
    status = kept.run(steps(("passed", "true"), ("always", "exit 4"), ("failed", "echo heard")))
    assert (status.outcome, status.exit_code, kept.log()) == ("failed", 4, b"heard\n")


def test_when_the_time_is_up_what_cleans_up_still_runs(kept: Kept) -> None:
    status = kept.run(
        steps(("passed", "exec sleep 300"), ("passed", "echo never"), ("failed", "echo clean"), timeout_ms=300)
    )
    assert (status.outcome, status.reason) == ("failed", "timed out after 300 ms")
    assert (states(status), kept.log()) == (["failed", "skipped", "passed"], b"clean\n")


def test_nothing_that_a_step_left_runs_beside_what_cleans_up_after_it(tmp_path: Path, nursery: Nursery) -> None:
    plain = Kept(tmp_path, nursery)
    left = "(trap '' TERM; sleep 300 & echo $! > pid; wait) & exec sleep 300"  # It holds the output, for 2 s at most.
    status = plain.run(steps(("passed", left), ("always", "kill -0 $(cat pid) || echo alone"), timeout_ms=500))
    assert states(status) == ["failed", "passed"]
    assert plain.log().endswith(b"alone\n")
    plain.close()


def test_a_step_that_runs_out_of_its_own_time_is_a_failure_as_any_other(kept: Kept) -> None:
    made = steps(("passed", "sleep 300"), ("failed", "echo tell"))
    slow = replace(made.steps[0], timeout_ms=200)
    status = kept.run(replace(made, steps=(slow, made.steps[1])))
    assert (states(status), status.reason, kept.log()) == (
        ["failed", "passed"], "step 's0' timed out after 200 ms", b"tell\n",
    )  # fmt: skip


def test_after_a_cancellation_always_steps_have_what_is_left_of_the_grace(kept: Kept) -> None:
    kept.start(
        steps(("passed", "echo ready; exec sleep 300"), ("failed", "echo never"), ("always", "echo clean; sleep 300"))
    )
    kept.wait_for_log(b"ready")
    kept.say("cancel 60000")
    kept.wait_for_log(b"clean")
    kept.say("cancel 60000")  # It is said until it is heard, and ends no step that cleans up.
    kept.say("cancel 200")
    status = kept.wait()
    assert (status.outcome, states(status)) == ("cancelled", ["cancelled", "skipped", "failed"])
    assert [remark.text for remark in status.steps[2].remarks] == [OVERTIME_WORDS]


def test_who_is_cancelled_without_a_grace_runs_nothing_more(kept: Kept) -> None:
    kept.start(steps(("passed", "echo ready; exec sleep 300"), ("always", "echo never")))
    kept.wait_for_log(b"ready")
    kept.say("cancel 0")
    status = kept.wait()
    assert (status.outcome, states(status), kept.log()) == ("cancelled", ["cancelled", "skipped"], b"ready\n")


def test_a_cancellation_between_two_steps_leaves_the_next_its_chance_to_clean_up(kept: Kept) -> None:
    kept.start(steps(("passed", "sleep 1"), ("always", "echo clean"), ("passed", "echo never")))
    kept.say("cancel 60000")
    status = kept.wait()
    assert (status.outcome, kept.log()) == ("cancelled", b"clean\n")


def test_what_ends_later_than_its_step_is_waited_for_and_no_longer(kept: Kept) -> None:
    """In a sandbox it is no child of the keeper's, whom nobody tells of its end."""
    behind = '(trap "" TERM; echo ready; exec > /dev/null 2>&1; sleep 1; touch over) &'
    kept.start(steps(("passed", f"{behind} exec sleep 300"), ("always", "ls over")))
    kept.wait_for_log(b"ready")
    kept.say("cancel 600000")
    status = kept.wait()
    assert (status.outcome, states(status), kept.log()) == ("cancelled", ["cancelled", "passed"], b"ready\nover\n")


def test_where_the_attempt_is_lost_nothing_more_runs(kept: Kept) -> None:
    status = kept.run(steps(("passed", "sleep 300"), ("always", "echo never")), lease_ms=300)
    assert (status.outcome, states(status)[1], kept.log()) == ("lost", "skipped", b"")


def order(when: str, skipped: str = "") -> StepOrder:
    return StepOrder(name="s", argv=[], env={}, timeout_ms=0, continue_on_error=False, when=when, skipped=skipped)


@pytest.mark.parametrize(
    ("when", "after"),
    [("passed", {"passed"}), ("failed", {"failed"}), ("always", {"passed", "failed", "cancelled"})],
)
def test_each_word_has_its_ends(when: str, after: set[str]) -> None:
    ends = ("passed", "failed", "errored", "cancelled", "lost")
    assert {end for end in ends if is_next(order(when), End(end, ""))} == after
    assert not any(is_next(order(when, "so it is"), End(end, "")) for end in ends)


def test_what_was_skipped_for_a_failure_before_needs_no_words() -> None:
    assert why_not(order("passed"), End("failed", "")) == ""
    assert why_not(order("failed"), End("cancelled", "")) == ""
    assert why_not(order("failed", "so it is"), End("failed", "")) == "skipped: so it is"


@pytest.mark.parametrize(
    ("first", "then", "counts"),
    [
        ("passed", "failed", "then"), ("failed", "failed", "first"), ("failed", "errored", "first"),
        ("failed", "cancelled", "then"), ("failed", "lost", "then"), ("cancelled", "failed", "first"),
    ],
)  # fmt: skip
def test_the_first_trouble_counts_unless_nobody_asks_for_it_any_more(first: str, then: str, counts: str) -> None:
    assert together(End(first, "first"), End(then, "then")).reason == counts


@in_a_loop
async def test_a_container_goes_on_for_what_cleans_up(tmp_path: Path, assign: Assign, docker_engine: Docker) -> None:
    made = steps(("passed", "sleep 1000 & sleep 1000"), ("passed", "echo never"), ("always", "ls -A; echo clean"))
    spec = replace(made, timeout_ms=500, image=housed().image)
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        assert (ended.outcome, ended.reason) == ("failed", "timed out after 500 ms")
        assert [step.state for step in ended.steps] == ["failed", "skipped", "passed"]
        assert desk.text.endswith(b"clean\n")
