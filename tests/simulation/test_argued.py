"""Planted bugs that no world is bound to notice, because another rule covers for the one that is missing.

Each has a directed test here, which passes as things are and fails with the bug.
"""

from collections.abc import Callable

import pytest

from surveil.core import dispatch, run
from surveil.core.effects import Send, SendBack
from surveil.core.events import BuildWanted, CancelWanted, RunnerDisconnected, RunnerSaid, Tick
from surveil.core.model import OPEN, AttemptState
from surveil.core.policy import Policy
from surveil.core.run_events import Connected, Disconnected, Effect, Ended, Forget, LogGrew, Prepared, Said
from surveil.core.run_events import Send as RunnerSend
from surveil.core.run_model import RunnerPolicy, RunState
from surveil.core.state import Identity, State
from surveil.frozen import replace
from surveil.protocol import (
    Accepted,
    Assign,
    Beat,
    Finished,
    FromRunner,
    Heartbeat,
    Held,
    Hello,
    Introduce,
    JobSpec,
    Ref,
    Refused,
    Rejected,
    Release,
    StepSpec,
    ToRunner,
    Welcome,
)
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutation import Mutant, planted

KEY = "k" * 40
SHA = "a" * 40
LEASE_MS = 8_000
SPEC = JobSpec(name="one", env={}, timeout_ms=60_000, matrix={}, steps=(StepSpec(name="s", run="true", env={}),))


def hello(*, incarnation: int, seq: int) -> Hello:
    return Hello(
        name="r",
        software="1",
        host="h",
        cluster="",
        incarnation=incarnation,
        birth=incarnation,
        seq=seq,
        labels=(),
        slots=1,
        held=(),
    )


def dispatcher() -> State:
    return State(identity=Identity(cluster="c", epoch=1, bulk_port=1))


def tell(state: State, message: FromRunner, now: int, *, key: str = KEY) -> list[ToRunner | Refused]:
    effects = dispatch.handle(state, RunnerSaid(runner=key, via=b"", message=message), now, Policy())
    return [effect.message for effect in effects if isinstance(effect, Send | SendBack)]


def wanted(mid: str, *jobs: JobSpec) -> BuildWanted:
    return BuildWanted(
        mid=mid,
        repo="r",
        ref="refs/heads/main",
        sha=SHA,
        event="manual",
        message="",
        author="",
        pipeline_file="f",
        jobs=jobs,
        carried={},
    )


def want(state: State, now: int, *, mid: str = "m") -> None:
    second = JobSpec(name="two", needs=("one",), env={}, timeout_ms=1, matrix={}, steps=SPEC.steps)
    dispatch.handle(state, wanted(mid, SPEC, second), now, Policy())
    dispatch.handle(state, Tick(), now, Policy())


def runner(*, incarnation: int = 1) -> RunState:
    """A runner that was welcomed by epoch 5 at time 1000."""
    state = RunState(name="r", host="h", software="1", labels=(), slots=1, incarnation=incarnation, birth=1)
    run.handle(state, Connected(), 1_000, RunnerPolicy())
    hear(state, welcome(incarnation=incarnation, seq=1), 1_000)
    return state


def welcome(*, seq: int, incarnation: int = 1, renewed: tuple[Ref, ...] = ()) -> Welcome:
    return Welcome(
        cluster="c",
        epoch=5,
        incarnation=incarnation,
        seq=seq,
        heartbeat_ms=2_000,
        lease_ms=LEASE_MS,
        bulk_port=1,
        renewed=renewed,
        revoked=(),
    )


def hear(state: RunState, message: ToRunner | Refused, now: int) -> list[Effect]:
    return run.handle(state, Said(message=message), now, RunnerPolicy())


def order(*, incarnation: int = 1, anchor: int = 1) -> Assign:
    return Assign(
        epoch=5,
        incarnation=incarnation,
        anchor=anchor,
        job="1/one",
        attempt=1,
        build=1,
        repo="r",
        ref="refs/heads/main",
        sha=SHA,
        spec=SPEC,
    )


def refusals(effects: list[Effect]) -> list[Rejected]:
    said = [effect.message for effect in effects if isinstance(effect, RunnerSend)]
    return [message for message in said if isinstance(message, Rejected)]


# ---- one for each argued bug -------------------------------------------------------------------------------


def an_older_hello_changes_nothing() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=1, seq=5), 1_000)
    assert tell(state, hello(incarnation=1, seq=3), 2_000) == []
    assert state.sessions[KEY].heard_at == 1_000


def a_hello_of_an_incarnation_that_is_gone_changes_nothing() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=2, seq=1), 1_000)
    told = tell(state, hello(incarnation=1, seq=9), 2_000)
    assert [(type(message), message.birth) for message in told if isinstance(message, Refused)] == [(Refused, 1)]
    assert state.runners[KEY].incarnation == 2


def a_heartbeat_of_an_incarnation_that_is_gone_is_asked_to_introduce_itself() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=2, seq=1), 1_000)
    beat = Heartbeat(incarnation=1, seq=9, held=(), free=1, load_percent=0, disk_free_mib=1_000)
    assert tell(state, beat, 2_000) == [Introduce(epoch=1)]
    assert state.sessions[KEY].seq == 1


def a_refusal_of_another_process_is_not_obeyed() -> None:
    state = runner()
    assert hear(state, Refused(reason="copied", exit_code=5, birth=state.birth + 1), 1_100) == []
    assert not state.exit_when_empty
    hear(state, Refused(reason="copied", exit_code=5, birth=state.birth), 1_200)
    assert state.exited
    assert (state.exit_code, state.exit_reason) == (5, "copied")


def a_repeated_result_is_released_again() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=1, seq=1), 1_000)
    want(state, 1_000)
    result = Finished(
        job="1/one",
        attempt=1,
        outcome="passed",
        reason="",
        exit_code=0,
        started_after_ms=0,
        finished_after_ms=1,
        log_bytes=0,
        steps=(),
    )
    assert Release(job="1/one", attempt=1, fate="recorded") in tell(state, result, 2_000)
    assert Release(job="1/one", attempt=1, fate="duplicate") in tell(state, result, 3_000)


def a_cancelled_attempt_is_not_revoked_in_its_grace() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=1, seq=1), 1_000)
    want(state, 1_000)
    tell(state, Accepted(job="1/one", attempt=1), 1_100)
    dispatch.handle(state, CancelWanted(build=1, reason="no"), 1_200, Policy())
    held = (Held(job="1/one", attempt=1, finished=False, log_bytes=0),)
    beat = Heartbeat(incarnation=1, seq=2, held=held, free=0, load_percent=0, disk_free_mib=1_000)
    (answer,) = tell(state, beat, 2_000)
    assert isinstance(answer, Beat)
    assert ([ref.job for ref in answer.renewed], answer.revoked) == (["1/one"], ())


def the_word_of_a_deposed_dispatcher_is_not_heard() -> None:
    state = runner()
    hear(state, order(), 1_100)
    lease_until_at = state.held["1/one", 1].lease_until_at
    beat = Beat(epoch=4, seq=1, renewed=(), revoked=(Ref(job="1/one", attempt=1),))
    assert hear(state, beat, 1_200) == []
    assert state.held["1/one", 1].lease_until_at == lease_until_at


def an_order_for_another_incarnation_is_refused() -> None:
    state = runner(incarnation=2)
    assert len(refusals(hear(state, order(incarnation=1), 1_100))) == 1
    assert not state.held


def an_order_whose_lease_is_over_is_refused() -> None:
    state = runner()
    assert len(refusals(hear(state, order(), 1_000 + LEASE_MS))) == 1
    assert not state.held


def an_order_before_the_welcome_waits() -> None:
    state = RunState(name="r", host="h", software="1", labels=(), slots=1, incarnation=1, birth=1)
    run.handle(state, Connected(), 1_000, RunnerPolicy())
    assert hear(state, order(), 1_100) == []
    assert not state.held


def a_welcome_says_what_is_kept_of_a_log() -> None:
    state = runner()
    hear(state, order(), 1_100)
    attempt = ("1/one", 1)
    for event in (Prepared(id=attempt), LogGrew(id=attempt, log_bytes=9), Disconnected(), Connected()):
        run.handle(state, event, 1_200, RunnerPolicy())
    hear(state, welcome(seq=state.seq, renewed=(Ref(job="1/one", attempt=1, log_bytes=9),)), 1_300)
    ended = Ended(
        id=attempt,
        outcome="passed",
        reason="",
        exit_code=0,
        started_after_ms=0,
        finished_after_ms=1,
        log_bytes=9,
        steps=(),
    )
    run.handle(state, ended, 1_400, RunnerPolicy())
    assert Forget(id=attempt) in hear(state, Release(job="1/one", attempt=1, fate="recorded"), 1_500)


def together(missed: Callable[[State, str], None], *, after_ms: int) -> None:
    """Three runners have work, all are missed at once, and nobody has lost anything by when one alone would have."""
    state, keys = dispatcher(), [letter * 40 for letter in "abc"]
    for key in keys:
        tell(state, hello(incarnation=1, seq=1), 1_000, key=key)
        want(state, 1_000, mid=key)
    held = {attempt.runner for attempt in state.attempts.values()}
    for key in keys:
        missed(state, key)
    dispatch.handle(state, Tick(), 1_000 + after_ms, Policy())
    assert held == set(keys)
    assert [attempt.state for attempt in state.attempts.values()] == [AttemptState.ASSIGNED] * 3
    dispatch.handle(state, Tick(), 1_000 + after_ms + LEASE_MS, Policy())
    assert {state.attempts[f"{build}/one", 1].state for build in (1, 2, 3)} == {AttemptState.LOST}


def those_who_fall_silent_together_get_one_more_lease() -> None:
    together(lambda _state, _key: None, after_ms=9_500)


def those_who_close_together_get_one_more_lease() -> None:
    def closes(state: State, key: str) -> None:
        dispatch.handle(state, RunnerDisconnected(runner=key), 1_000, Policy())

    together(closes, after_ms=2_500)


def what_was_given_up_is_not_taken_back_beside_another_of_its_group() -> None:
    state = dispatcher()
    tell(state, hello(incarnation=1, seq=1), 1_000)
    other = "o" * 40
    tell(state, hello(incarnation=1, seq=1), 1_000, key=other)
    for mid in ("m1", "m2"):
        dispatch.handle(state, wanted(mid, replace(SPEC, concurrency="deploy", on_runner_loss="hold")), 1_000, Policy())
    dispatch.handle(state, Tick(), 1_000, Policy())
    holder = state.attempts["1/one", 1]
    tell(state, Accepted(job="1/one", attempt=1), 1_100, key=holder.runner)
    there = other if holder.runner == KEY else KEY
    tell(state, Heartbeat(incarnation=1, seq=2, held=(), free=1, load_percent=0, disk_free_mib=1_000), 9_500, key=there)
    dispatch.handle(state, Tick(), 10_000, Policy())
    assert [attempt.job for attempt in state.attempts.values() if attempt.state in OPEN] == ["2/one"]
    held = (Held(job="1/one", attempt=1, finished=False, log_bytes=0),)
    beat = Heartbeat(incarnation=1, seq=2, held=held, free=0, load_percent=0, disk_free_mib=1_000)
    (told,) = tell(state, beat, 10_100, key=holder.runner)
    assert isinstance(told, Beat)
    assert [ref.job for ref in told.revoked] == ["1/one"]


DIRECTED: dict[str, Callable[[], None]] = {
    "stale hello believed": an_older_hello_changes_nothing,
    "older incarnation believed": a_hello_of_an_incarnation_that_is_gone_changes_nothing,
    "earlier start not told": a_heartbeat_of_an_incarnation_that_is_gone_is_asked_to_introduce_itself,
    "another's refusal obeyed": a_refusal_of_another_process_is_not_obeyed,
    "no grace for the cancelled": a_cancelled_attempt_is_not_revoked_in_its_grace,
    "repeated result not answered": a_repeated_result_is_released_again,
    "old epochs heard": the_word_of_a_deposed_dispatcher_is_not_heard,
    "incarnation not checked": an_order_for_another_incarnation_is_refused,
    "taken back into a held group": what_was_given_up_is_not_taken_back_beside_another_of_its_group,
    "late order accepted": an_order_whose_lease_is_over_is_refused,
    "order before the welcome": an_order_before_the_welcome_waits,
    "mass silence believed": those_who_fall_silent_together_get_one_more_lease,
    "mass closing believed": those_who_close_together_get_one_more_lease,
    "the closed get no more time": those_who_close_together_get_one_more_lease,
    "welcome not believed about logs": a_welcome_says_what_is_kept_of_a_log,
}

ARGUED = [mutant for mutant in MUTANTS if mutant.argued]


@pytest.mark.parametrize("name", DIRECTED)
def test_the_rule_holds(name: str) -> None:
    DIRECTED[name]()


@pytest.mark.parametrize("name", DIRECTED)
def test_a_directed_test_notices_its_bug(name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    with planted(mutant), pytest.raises(AssertionError):
        DIRECTED[name]()


@pytest.mark.parametrize("mutant", ARGUED, ids=lambda mutant: mutant.name)
def test_every_argued_bug_has_a_directed_test(mutant: Mutant) -> None:
    assert mutant.name in DIRECTED
