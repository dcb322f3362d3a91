"""Why a job waits, as people are told."""

import shlex
from typing import Any

import pytest

from surveil.answer.waiting import Waiting
from surveil.core.ending import cancel
from surveil.core.model import Job, Runner, Status
from surveil.core.state import Identity, Session, State
from surveil.frozen import replace
from tests.answer.desk import NOW, Desk
from tests.store.records import make_attempt, make_build, make_job, make_runner, new


def heard(state: State, runner: Runner, **session: Any) -> None:
    """A runner that is connected and was heard just now."""
    state.put(runner, NOW)
    state.sessions[runner.id] = Session(incarnation=1, seq=1, heard_at=NOW, **session)


def queued(state: State, /, *labels: str, name: str = "test", **fields: Any) -> str:
    """A job that waits for a runner with these labels."""
    if 1 not in state.builds:
        state.put(make_build(1, ("test", "deploy"), state=Status.RUNNING), NOW)
    job = make_job(1, name, **fields)
    state.put(replace(job, spec=replace(job.spec, labels=labels, concurrency="")), NOW)
    return job.id


@pytest.fixture
def state() -> State:
    return State(identity=Identity(cluster="c1", epoch=1, bulk_port=1))


def why(state: State, job: str) -> str | None:
    return Waiting(state, NOW).why(job)


def test_without_any_runner_the_way_to_get_one_is_said(state: State) -> None:
    assert why(state, queued(state)) == (
        "no runner has joined yet: make a token with `surveil token create`, "
        "and type `surveil runner --join TOKEN` on a machine"
    )


def test_a_label_that_nobody_has_is_named_with_the_command_that_brings_it(state: State) -> None:
    for name in ("a", "b", "c"):
        heard(state, make_runner(name, labels=("linux",)))
    assert why(state, queued(state, "linux", "gpu")) == (
        "no online runner has label gpu: 3 runners checked; start one with `surveil runner --label gpu`"
    )


def test_a_job_with_an_image_waits_for_an_engine(state: State) -> None:
    for name in ("a", "b", "c"):
        heard(state, make_runner(name, labels=("linux",)))
    assert why(state, queued(state, "linux", "containers")) == (
        "no online runner offers containers: 3 runners checked; "
        "`apt install docker.io` on the machine of one, and start that runner again"
    )


def test_labels_that_no_one_runner_has_together_are_named(state: State) -> None:
    heard(state, make_runner("a", labels=("gpu",)))
    heard(state, make_runner("b", labels=("big",)))
    assert why(state, queued(state, "big", "gpu")) == (
        "no runner has all of the labels big, gpu: 2 runners checked; "
        "start one with `surveil runner --label big --label gpu`"
    )


def test_full_runners_are_counted_in_slots(state: State) -> None:
    heard(state, make_runner("a", slots=1))
    heard(state, make_runner("b", slots=1))
    job = queued(state)
    for number, name in enumerate(("a", "b"), start=1):
        other = make_job(1, f"other-{name}", state=Status.RUNNING, attempt=1)
        state.put(other, NOW)
        state.put(make_attempt(1, other.spec.name, runner=name.ljust(40, "x"), number=number), NOW)
    assert why(state, job) == "waits for a free slot: 2 of 2 busy"


@pytest.mark.parametrize(
    ("runner", "session", "sentence"),
    [
        (
            {"online": False},
            {"connected": False},
            "the only runner for it, a, is offline: start it again with `surveil runner` on its machine",
        ),
        (
            {"cordoned": "disk"},
            {},
            "the only runner for it, a, is cordoned: `surveil runner uncordon a` gives it work again",
        ),
        (
            {"draining": True},
            {},
            "the only runner for it, a, is draining: `surveil runner uncordon a` gives it work again",
        ),
        ({}, {"connected": False}, "waits for runner a, which was heard a moment ago"),
        (
            {},
            {"refusing": True, "disk_free_mib": 12},
            "waits for a runner (a takes nothing new now: it is about to stop, or 12 MiB of its disk are too few)",
        ),
        ({}, {"refusing": True}, "waits for a runner (a takes nothing new before its first heartbeat since its start)"),
    ],
)
def test_a_runner_that_takes_nothing_is_named_with_what_can_be_done(
    state: State, runner: dict[str, Any], session: dict[str, Any], sentence: str
) -> None:
    heard(state, make_runner("a", **runner), **session)
    assert why(state, queued(state)) == sentence


def test_of_several_that_take_nothing_each_is_named(state: State) -> None:
    heard(state, make_runner("a", online=False), connected=False)
    heard(state, make_runner("b", cordoned="disk"))
    assert why(state, queued(state)) == (
        "none of the 2 runners for it takes work (a is offline, b is cordoned): "
        "`surveil runner uncordon b` gives it work again"
    )


def test_a_job_that_is_tried_again_later_says_when(state: State) -> None:
    heard(state, make_runner("a"))
    assert why(state, queued(state, not_before_at=NOW + 11_500)) == "is tried again in 12 s"


def test_a_blocked_job_names_what_it_needs_and_a_held_one_who_it_waits_for(state: State) -> None:
    queued(state, name="build")
    blocked = queued(state, state=Status.BLOCKED)
    held = queued(state, name="deploy", state=Status.HELD)
    assert why(state, blocked) == "waits for build"
    assert why(state, held) == "waits for a person: `surveil unhold 1 deploy` lets it be tried again"


@pytest.mark.parametrize("name", ["it's", "a'; touch owned; '", "$(touch owned)", "a b", "`touch owned`"])
def test_what_a_stranger_named_is_one_word_of_the_command_to_type(state: State, name: str) -> None:
    labelled, busy = queued(state, name, name="other"), queued(state, "own", name="third")
    found = why(state, queued(state, name=name, state=Status.HELD))
    assert found is not None
    typed = found.removeprefix("waits for a person: `").removesuffix("` lets it be tried again")
    assert shlex.split(typed) == ["surveil", "unhold", "1", name]
    heard(state, make_runner("a"))
    found = why(state, labelled)
    assert found is not None
    typed = found.partition("start one with `")[2].removesuffix("`")
    assert shlex.split(typed) == ["surveil", "runner", "--label", name]
    heard(state, make_runner(name, labels=("own",), cordoned="disk"))
    found = why(state, busy)
    assert found is not None
    typed = found[found.index("surveil runner uncordon") :].removesuffix("` gives it work again")
    assert shlex.split(typed) == ["surveil", "runner", "uncordon", name]


def test_what_does_not_wait_has_no_reason(state: State) -> None:
    heard(state, make_runner("a"))
    assert why(state, queued(state, state=Status.RUNNING)) is None
    assert why(state, "9/unknown") is None


def test_a_build_s_document_carries_the_reasons(state: State) -> None:
    desk = Desk()
    desk.live.state = state
    state.put(make_build(1), NOW)
    queued(state, "gpu")
    desk.store.commit(new(make_build(1), make_job(1)))
    sentence = "no runner has joined yet: "
    [build] = desk.ask("builds")
    assert build["waiting"].startswith(sentence)
    assert build["jobs"][0]["waiting"] == build["waiting"]
    assert desk.ask("build", build=1)["jobs"][0]["waiting"] == build["waiting"]


def test_status_tells_the_reasons_of_most_jobs_first(state: State) -> None:
    heard(state, make_runner("a", labels=("linux",)))
    queued(state, "gpu", name="one")
    queued(state, "big", name="two")
    queued(state, "gpu", name="three")
    assert [(each["jobs"], each["oldest"]) for each in Waiting(state, NOW).reasons()] == [(2, "1/one"), (1, "1/two")]


def test_a_job_of_strangers_waits_for_approval_and_its_build_says_so(state: State) -> None:
    state.put(make_build(1, ("test",), state=Status.HELD, approved=""), NOW)
    held = make_job(1, "test", state=Status.HELD)
    state.put(held, NOW)
    sentence = "waits for approval: `surveil approve 1` lets it run"
    assert why(state, held.id) == sentence
    document = {"state": "held", "jobs": [{"id": held.id, "state": "held"}]}
    assert Waiting(state, NOW).annotate(document)["waiting"] == sentence


def grouped(state: State, /, build: int, name: str = "deploy", **fields: Any) -> Job:
    """A job of the group `production`."""
    if build not in state.builds:
        state.put(make_build(build, ("test", "deploy"), state=Status.RUNNING), NOW)
    job = make_job(build, name, **fields)
    job = replace(job, spec=replace(job.spec, labels=(), concurrency="production"))
    state.put(job, NOW)
    return job


def test_a_job_names_the_one_that_holds_its_group(state: State) -> None:
    heard(state, make_runner("a", slots=9))
    grouped(state, 41, state=Status.RUNNING, attempt=1)
    held = make_attempt(41, "deploy", runner="a".ljust(40, "x"))
    state.put(held, NOW)
    state.leases.set(held.id, NOW + 5_000)
    waiting = grouped(state, 42).id
    assert why(state, waiting) == "waits for job 41/deploy of the group `production`"
    assert Waiting(state, NOW).reasons() == [
        {"reason": "waits for job 41/deploy of the group `production`", "jobs": 1, "oldest": waiting}
    ]
    cancel(state, state.jobs["41/deploy"], "by ann", NOW)
    assert why(state, waiting) == "waits for job 41/deploy of the group `production`, which is ending"
    state.leave(held)
    assert why(state, waiting) == "its turn has not come"


def test_after_a_restart_groups_say_for_how_long_they_are_shut(state: State) -> None:
    heard(state, make_runner("a", slots=9))
    waiting = grouped(state, 42).id
    state.groups.shut_until_at = NOW + 8_500
    assert why(state, waiting) == "waits 9 s for whatever a restart may have left running of the group `production`"
    assert why(state, queued(state)) == "its turn has not come"
