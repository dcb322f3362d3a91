"""Who gets which job where there are many of both."""

from __future__ import annotations

from collections import Counter

import pytest

from surveil.core.consistency import check_state
from surveil.core.dispatch import handle
from surveil.core.effects import Send
from surveil.core.events import BuildWanted, RunnerSaid, Tick
from surveil.core.policy import Policy
from surveil.core.schedule import CANDIDATES_MAX
from surveil.core.state import Identity, State
from surveil.protocol import Assign, Hello, JobSpec

NOW = 1_000_000
POLICY = Policy()


def hand_out(*, runners: int, slots: int, jobs: int, labelled: int = 0, groups: int = 0) -> Counter[str]:
    """How many jobs each runner is handed in one turn. The first `labelled` jobs want a label that every second runner
    has; with `groups`, each job is in one of so many.
    """
    state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
    for number in range(runners):
        hello = Hello(
            name=f"runner-{number}", software="1", host="h", cluster="", birth=1, incarnation=1, seq=1, slots=slots,
            held=(), labels=("gpu",) if number % 2 else (),
        )  # fmt: skip
        handle(state, RunnerSaid(runner=f"{number:040d}", via=b"", message=hello), NOW, POLICY)
    specs = tuple(
        JobSpec(
            name=f"j{n}", labels=("gpu",) if n < labelled else (), env={}, timeout_ms=1, steps=(), matrix={},
            concurrency=f"group-{n % groups}" if groups else "",
        )
        for n in range(jobs)
    )  # fmt: skip
    wanted = BuildWanted(
        mid="m", repo="/r", ref="r", sha="a" * 40, event="push", message="", author="", pipeline_file="", jobs=specs,
        carried={},
    )  # fmt: skip
    handle(state, wanted, NOW, POLICY)
    effects = handle(state, Tick(), NOW, POLICY)
    check_state(state)
    orders = [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, Assign)]
    assert len(orders) == len(effects)
    return Counter(order.runner for order in orders)


@pytest.mark.parametrize("runners", [1, 2, CANDIDATES_MAX, CANDIDATES_MAX + 1, 3 * CANDIDATES_MAX])
def test_jobs_go_on_until_no_runner_has_room_however_many_there_are(runners: int) -> None:
    handed = hand_out(runners=runners, slots=2, jobs=2 * runners + 5)
    assert handed == {f"{number:040d}": 2 for number in range(runners)}


def test_jobs_are_spread_evenly_over_runners_that_are_alike() -> None:
    assert sorted(hand_out(runners=10, slots=8, jobs=35).values()) == [3] * 5 + [4] * 5


def test_runners_without_a_label_do_not_stand_in_the_way_of_those_that_have_it() -> None:
    runners = 3 * CANDIDATES_MAX
    handed = hand_out(runners=runners, slots=1, jobs=runners, labelled=runners // 2)
    assert handed == {f"{number:040d}": 1 for number in range(runners)}


def test_a_runner_is_not_told_of_the_condition_on_which_its_job_runs() -> None:
    state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
    hello = Hello(
        name="r", software="1", host="h", cluster="", birth=1, incarnation=1, seq=1, slots=1, held=(), labels=()
    )
    handle(state, RunnerSaid(runner="0" * 40, via=b"", message=hello), NOW, POLICY)
    spec = JobSpec(name="j", when="branch == 'main'", env={}, timeout_ms=1, steps=(), matrix={})
    wanted = BuildWanted(
        mid="m", repo="/r", ref="refs/heads/main", sha="a" * 40, event="push", message="", author="", pipeline_file="",
        jobs=(spec,), carried={},
    )  # fmt: skip
    handle(state, wanted, NOW, POLICY)
    (order,) = handle(state, Tick(), NOW, POLICY)
    assert isinstance(order, Send)
    assert isinstance(order.message, Assign)
    # One from before there were conditions knows `passed` and `always`, and takes no order with another word.
    assert order.message.spec.when == "passed"
    assert state.jobs["1/j"].spec == spec


def test_one_job_of_each_group_is_handed_out_and_none_stands_in_the_way_of_another_group() -> None:
    assert hand_out(runners=10, slots=4, jobs=90, groups=30).total() == 30
    assert hand_out(runners=10, slots=2, jobs=90, labelled=45, groups=45).total() == 20
