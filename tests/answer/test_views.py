"""The shapes that scripts rely on, key by key."""

from dataclasses import replace

import pytest

from surveil.answer.log_facts import log_facts
from surveil.answer.views import attempt_view, build_view, job_view, runner_state, runner_view, time_text
from surveil.core.images import isolation_by
from surveil.core.model import Attempt, AttemptState, Runner
from surveil.core.state import Session
from surveil.protocol import ImageSpec, StepReport
from tests.store.records import finished, make_attempt, make_build, make_job, make_runner

SESSION = Session(incarnation=1, seq=4, heard_at=9000, load_percent=41, disk_free_mib=777)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_683_200_007, "2025-11-21T00:00:00.007Z"),
        (4_102_444_800_999, "2100-01-01T00:00:00.999Z"),
        (None, None),
    ],
)
def test_times_are_rfc_3339_in_utc_with_milliseconds(at: int | None, text: str | None) -> None:
    assert time_text(at) == text


def test_an_attempt_shows_its_steps_at_the_times_that_its_runner_counted_from_acceptance() -> None:
    assert attempt_view(finished(make_attempt()))["steps"][0] == {
        "name": "Tests",
        "state": "passed",
        "exit_code": 0,
        "started_at": "1970-01-01T00:00:02.006Z",
        "finished_at": "1970-01-01T00:00:02.091Z",
        "log_at": 17,
        "image": None,
        "remarks": [],
    }


def test_an_attempt_at_a_job_with_an_image_shows_which_one_it_had() -> None:
    image, digest = ImageSpec(name="python:3.12"), "python@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b"
    assert attempt_view(make_attempt())["image"] is None
    assert attempt_view(make_attempt(), image=image)["image"] == {"name": "python:3.12", "digest": None}
    tried = replace(finished(make_attempt()), isolation=isolation_by(digest))
    for shown in (tried, replace(tried, isolation=isolation_by(digest, "as root"))):
        assert attempt_view(shown, image=image)["image"] == {"name": "python:3.12", "digest": digest}
    job = make_job(attempt=1)
    (seen,) = job_view(replace(job, spec=replace(job.spec, image=image)), [tried])["attempts"]
    assert seen["image"] == {"name": "python:3.12", "digest": digest}


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (AttemptState.RUNNING, ["passed", "running", "pending"]),
        (AttemptState.CANCELLED, ["passed", "cancelled", "skipped"]),
        (AttemptState.LOST, ["passed", "errored", "skipped"]),
    ],
)
def test_no_step_of_an_attempt_that_is_over_goes_on_running(state: AttemptState, steps: list[str]) -> None:
    told = finished(make_attempt()).steps[0]
    cut = (told, replace(told, state="running"), replace(told, state="pending"))
    view = attempt_view(replace(finished(make_attempt()), state=state, steps=cut))
    assert [step["state"] for step in view["steps"]] == steps


def test_an_attempt_that_nobody_accepted_has_no_times_and_no_steps() -> None:
    view = attempt_view(make_attempt())
    assert (view["started_at"], view["finished_at"], view["exit_code"], view["steps"]) == (None, None, None, [])


def test_an_attempt_shows_how_long_its_log_is_how_much_is_kept_and_what_is_missing() -> None:
    def shown(attempt: Attempt, kept: int) -> tuple[int, int, bool | None, str | None]:
        view = attempt_view(attempt, lambda attempt: log_facts(attempt, kept, 10, 100))
        return (view["log_bytes"], view["log_kept_bytes"], view["log_complete"], view["log_missing"])

    assert shown(replace(make_attempt(), state=AttemptState.RUNNING), 99) == (99, 99, None, None)
    assert shown(finished(make_attempt()), 4096) == (4096, 4096, True, None)
    late = "the last 3997 bytes of this log have not come from runner spare-2 yet"
    assert shown(finished(make_attempt()), 99) == (4096, 99, False, late)


@pytest.mark.parametrize(
    ("now", "revoked", "said"),
    [
        (
            110,
            False,
            "the end of this log, at least 1 bytes, may still be with runner spare-2, which has not come back",
        ),
        (111, False, "the end of this log, at least 1 bytes, was lost with runner spare-2, which has not come back"),
        (10, True, "the end of this log, at least 1 bytes, was lost with runner spare-2, which was revoked"),
    ],
)
def test_what_is_missing_may_still_come_until_nobody_is_left_who_has_it(now: int, revoked: bool, said: str) -> None:
    lost = make_attempt(state=AttemptState.LOST, accepted_at=5, finished_at=10, log_bytes=100)
    assert log_facts(lost, 99, now, 100, revoked=revoked).missing == said
    late = replace(lost, released=True)
    assert ("were lost" if revoked or now > 110 else "not come") in log_facts(
        late, 99, now, 100, revoked=revoked
    ).missing


def test_builds_jobs_and_attempts_have_the_keys_that_are_promised() -> None:
    job = job_view(make_job(attempt=1), [make_attempt()])
    build = build_view(make_build(), [job])
    promised = {
        "id", "repo", "ref", "sha", "message", "author", "state", "reason", "created_at", "started_at", "finished_at",
        "jobs",
    }  # fmt: skip
    assert promised <= build.keys()
    assert {"id", "name", "state", "reason", "needs", "labels", "attempt", "attempts"} <= job.keys()
    assert {
        "number", "runner", "state", "reason", "assigned_at", "started_at", "finished_at", "exit_code", "log_bytes",
        "steps",
    } <= job["attempts"][0].keys()  # fmt: skip
    assert (build["id"], job["id"], job["attempts"][0]["runner"]) == (1, "1/test", "spare-2")
    step = StepReport(name="s", state="running", started_after_ms=5)
    (shown,) = job_view(make_job(attempt=1), [make_attempt(steps=(step,))])["attempts"][0]["steps"]
    assert {"name", "state", "exit_code", "started_at", "finished_at"} <= shown.keys()


def test_a_runner_has_the_keys_that_are_promised() -> None:
    view = runner_view(make_runner(), SESSION, 2)
    assert {
        "id", "name", "state", "labels", "slots", "busy", "incarnation", "last_seen_at", "load", "version",
    } <= view.keys()  # fmt: skip
    assert (view["load"], view["busy"], view["last_seen_at"]) == (41, 2, "1970-01-01T00:00:09.000Z")


@pytest.mark.parametrize(
    ("runner", "session", "state"),
    [
        (make_runner(online=False), None, "offline"),
        (make_runner(online=False, cordoned="full disk"), None, "offline"),
        (make_runner(), None, "suspect"),
        (make_runner(), replace(SESSION, silent=True), "suspect"),
        (make_runner(), replace(SESSION, connected=False), "suspect"),
        (make_runner(cordoned="full disk"), SESSION, "cordoned"),
        (make_runner(draining=True), SESSION, "draining"),
        (make_runner(), SESSION, "online"),
    ],
)
def test_a_runners_state_is_what_matters_first_to_who_waits_for_it(
    runner: Runner, session: Session | None, state: str
) -> None:
    assert runner_state(runner, session) == state


def test_an_offline_runner_has_no_load() -> None:
    view = runner_view(make_runner(online=False, seen_at=5), replace(SESSION, refusing=True), 0)
    assert view["reason"] is None
    assert (view["load"], view["disk_free_mib"]) == (None, None)


def test_a_runner_that_takes_nothing_says_why_it_is_idle() -> None:
    view = runner_view(make_runner(), replace(SESSION, refusing=True), 0)
    assert view["reason"] == "takes nothing new now: it is about to stop, or 777 MiB of its disk are too few"
    view = runner_view(make_runner(), replace(SESSION, refusing=True, disk_free_mib=None), 0)
    assert view["reason"] == "takes nothing new before its first heartbeat since its start"
    assert runner_view(make_runner(), SESSION, 0)["reason"] is None
    view = runner_view(make_runner(draining=True), replace(SESSION, refusing=True), 0)
    assert (view["state"], view["reason"]) == ("draining", None), "which says it all"
