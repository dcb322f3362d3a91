"""What jobs put out for those that need them, through the dispatcher's mind."""

from __future__ import annotations

import tracemalloc

import pytest

from surveil.core.decisions import Facts, Need, decide
from surveil.core.dispatch import handle
from surveil.core.effects import Send
from surveil.core.events import BuildWanted, Carried, RunnerSaid, Tick
from surveil.core.model import Status
from surveil.core.outputs import PUT_OUT_BYTES_MAX, UnfitError, complete, is_open
from surveil.core.policy import Policy
from surveil.core.references import JOB_BYTES_MAX
from surveil.core.state import Identity, State
from surveil.core.steps import name_from
from surveil.execute.keeper.outputs import OUTPUTS_BYTES_MAX
from surveil.frozen import replace
from surveil.protocol import Assign, Finished, Hello, JobOutput, JobSpec, StepSpec

NOW = 1_000_000
KEY = "k" * 40
VERSION = JobOutput(name="version", value="1.2")


def spec(name: str, *, needs: tuple[str, ...] = (), run: str = "make", **fields: object) -> JobSpec:
    step = StepSpec(name="s", run=run, env={"V": run})
    return JobSpec(name=name, needs=needs, env={"W": run}, timeout_ms=1, steps=(step,), matrix={}, **fields)  # type: ignore[arg-type]


USER = spec("use", needs=("build",), run="publish ${{ needs.build.outputs.version }}")


def begin(*jobs: JobSpec, carried: dict[str, Carried] | None = None, retry_of: int | None = None) -> State:
    state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
    hello = Hello(
        name="r", software="1", host="h", cluster="", birth=1, incarnation=1, seq=1, slots=9, held=(), labels=(),
    )  # fmt: skip
    handle(state, RunnerSaid(runner=KEY, via=b"", message=hello), NOW, Policy())
    wanted = BuildWanted(
        mid="m", repo="/r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="", pipeline_file="",
        jobs=jobs, carried=carried or {}, retry_of=retry_of,
    )  # fmt: skip
    handle(state, wanted, NOW, Policy())
    return state


def orders(state: State) -> dict[str, JobSpec]:
    """The jobs that are handed out now, as their runner gets them."""
    effects = handle(state, Tick(), NOW, Policy())
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return {message.job: message.spec for message in sent if isinstance(message, Assign)}


def finish(state: State, job: str, *outputs: JobOutput, outcome: str = "passed") -> None:
    said = Finished(
        job=job, attempt=state.jobs[job].attempt, outcome=outcome, reason="", exit_code=0, started_after_ms=1,  # type: ignore[arg-type]
        finished_after_ms=2, log_bytes=0, steps=(), outputs=outputs,
    )  # fmt: skip
    handle(state, RunnerSaid(runner=KEY, via=b"", message=said), NOW, Policy())


def test_outputs_reach_the_scripts_and_variables_of_whoever_needs_them() -> None:
    state = begin(spec("build"), USER)
    assert orders(state) == {"1/build": spec("build")}
    finish(state, "1/build", VERSION)
    (told,) = orders(state).values()
    assert (told.steps[0].run, told.steps[0].env, told.env) == (
        "publish 1.2",
        {"V": "publish 1.2"},
        {"W": "publish 1.2"},
    )
    # What is stored is what the author wrote: a retry may find other outputs.
    assert state.jobs["1/use"].spec == USER


def test_a_step_without_a_name_is_called_by_its_script_as_it_runs() -> None:
    named = StepSpec(name="Publish", run="publish ${{ needs.build.outputs.version }}", env={})
    unnamed = replace(named, name=name_from(f"# it\n{named.run}\n"), run=f"# it\n{named.run}\n")
    state = begin(spec("build"), replace(USER, steps=(named, unnamed)))
    orders(state)
    finish(state, "1/build", VERSION)
    (told,) = orders(state).values()
    assert [step.name for step in told.steps] == ["Publish", "publish 1.2"]


def test_what_the_last_attempt_put_out_counts() -> None:
    state = begin(spec("build", retry=1), spec("other"), replace(USER, when="always"))
    orders(state)
    finish(state, "1/build", JobOutput(name="version", value="0"), outcome="failed")
    orders(state)
    finish(state, "1/build", outcome="failed")
    (told,) = orders(state).values()
    assert told.steps[0].run == "publish "


def test_a_job_that_is_carried_over_keeps_what_it_put_out() -> None:
    state = begin(spec("build"), USER, carried={"build": Carried(reason="it passed", outputs=(VERSION,))})
    assert orders(state)["1/use"].steps[0].run == "publish 1.2"


@pytest.mark.parametrize(("value", "becomes"), [("1.2", Status.QUEUED), ("1.3", Status.SKIPPED)])
def test_conditions_may_ask_for_outputs(value: str, becomes: Status) -> None:
    wanted = spec("use", needs=("build",), when="needs.build.outputs.version == '1.2'")
    state = begin(spec("build"), wanted, spec("last", needs=("use",), when="always"))
    orders(state)
    finish(state, "1/build", replace(VERSION, value=value))
    assert state.jobs["1/use"].state == becomes
    if becomes == Status.SKIPPED:
        assert state.jobs["1/use"].reason == "its `when` is false: needs.build.outputs.version is `1.3`"


def test_what_would_be_too_large_with_outputs_is_errored_before_it_is_handed_out() -> None:
    state = begin(spec("build"), spec("use", needs=("build",), run="${{ needs.build.outputs.version }}" * 5))
    orders(state)
    finish(state, "1/build", replace(VERSION, value="x" * 60_000))
    assert orders(state) == {}
    assert 1 not in state.builds
    reasons = {note.id: note.reason for note in state.take_changes().notes}
    assert reasons["1/use"] == "a text of it is larger than 256 KiB with what its needs put out"


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ([replace(VERSION, value="é" * 32 * 1024)], "64 KiB; 64 KiB are the most"),
        ([VERSION, replace(VERSION, value="2")], "two values under one name"),
    ],
)
def test_a_runner_that_says_what_no_keeper_puts_out_is_not_believed(outputs: list[JobOutput], why: str) -> None:
    state = begin(spec("build"), USER)
    orders(state)
    finish(state, "1/build", *outputs)
    assert orders(state) == {}
    assert (state.jobs["1/build"].state, state.jobs["1/build"].errored) == (Status.QUEUED, 1)
    reason = state.attempts["1/build", 1].reason
    assert reason.startswith("runner r is not to be believed: it says that the job put out ")
    assert reason.endswith(why)
    assert state.jobs["1/build"].outputs == ()


def test_all_that_a_keeper_takes_is_believed() -> None:
    state = begin(spec("build"), USER)
    orders(state)
    finish(state, "1/build", replace(VERSION, name="v", value="x" * (OUTPUTS_BYTES_MAX - 2)))
    assert OUTPUTS_BYTES_MAX <= PUT_OUT_BYTES_MAX
    assert state.jobs["1/build"].state == Status.PASSED


def with_steps(*whens: str) -> JobSpec:
    made = spec("test")
    return replace(made, steps=tuple(replace(made.steps[0], when=when) for when in whens))


def test_an_order_says_of_each_step_after_what_it_runs_or_why_it_does_not() -> None:
    wanted = with_steps("passed", "failed() && branch == 'main'", "tag != ''", "changed('a')")
    state = begin(wanted)
    (told,) = orders(state).values()
    assert [(step.when, step.skipped) for step in told.steps] == [
        ("passed", ""), ("failed", ""), ("passed", "its `when` is false: tag is empty"), ("passed", ""),
    ]  # fmt: skip
    assert state.jobs["1/test"].spec == wanted


def test_a_job_of_which_a_steps_condition_cannot_be_decided_is_errored_before_it_is_handed_out() -> None:
    state = begin(spec("build"), replace(with_steps("needs.build.outputs.version > 1"), needs=("build",)))
    orders(state)
    finish(state, "1/build", replace(VERSION, value="beta"))
    assert orders(state) == {}
    reasons = {note.id: note.reason for note in state.take_changes().notes}
    assert reasons["1/test"] == (
        "the `when` of its step `s` cannot be decided: needs.build.outputs.version is `beta`, which is no number"
    )


def test_all_texts_together_have_a_limit_too() -> None:
    needs = {"build": Need(state="passed", outputs={"version": "x" * 65_000})}
    facts = Facts(event="", repo="", ref="", sha="", paths=None, matrix={}, env={}, needs=needs)
    step = StepSpec(name="s", run="${{ needs.build.outputs.version }}", env={})
    fits = replace(USER, env={}, steps=(step,) * (JOB_BYTES_MAX // 65_000))
    assert len(complete(fits, facts).steps[-1].run) == 65_000
    with pytest.raises(UnfitError, match="larger than 768 KiB"):
        complete(replace(fits, steps=(*fits.steps, step)), facts)


def test_what_would_be_far_too_large_is_never_put_together() -> None:
    needs = {"build": Need(state="passed", outputs={"v": "x" * 200_000})}
    facts = Facts(event="", repo="", ref="", sha="", paths=None, matrix={}, env={}, needs=needs)
    often = "${{ needs.build.outputs.v }}" * 2_000
    texts = {f"V{n}": "${{ needs.build.outputs.v }}" for n in range(400)}
    tracemalloc.start()
    try:
        with pytest.raises(UnfitError, match="a text of it is larger than 256 KiB"):
            complete(replace(USER, env={"V": often}), facts)
        with pytest.raises(UnfitError, match="it is larger than 768 KiB"):
            complete(replace(USER, env=texts), facts)
        decision = decide("env.V == ''", replace(facts, env={"V": often}))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (decision.holds, decision.problem) == (False, "`env.V` is larger than 256 KiB")
    assert peak_bytes < 4_000_000


def test_most_jobs_have_nothing_to_be_filled_in() -> None:
    assert not is_open(spec("build"))
    assert is_open(USER)


def test_a_concurrency_group_may_be_one_for_each_branch() -> None:
    state = begin(spec("deploy", concurrency="deploy-${{ branch }}"))
    assert state.jobs["1/deploy"].spec.concurrency == "deploy-main"
