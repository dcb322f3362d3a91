"""Each judge sees what it is there for: evidence in which all is well, and the same with one thing wrong."""

import hashlib
from collections.abc import Callable
from typing import Any, Final, Literal

import pytest

from surveil.core.model import Attempt, AttemptState, Build, Job, Runner, Status
from surveil.execute.attempts import folder_name
from surveil.frozen import replace
from surveil.protocol import JobSpec, StepSpec
from surveil.store import BuildDetail
from tests.campaign.evidence import Evidence, Push, StoredLog, Wish
from tests.campaign.faults import Struck
from tests.campaign.invariants import doubled_jobs, judge, needless_losses
from tests.campaign.measures import measure
from tests.campaign.shapes import plan
from tests.campaign.step import output
from tests.campaign.truth import Work

REPO, REF, SHA = "/srv/alpha.git", "refs/heads/work-1", "a" * 40
JOB = "1/careful"
WRITTEN = [(1_000, 7), (1_900, 40)]
"""When the lost attempt had written how much: what it wrote just before its end may not have been read."""


def work(attempt: int, *, step: int = 0, exits: int = 0, began_at: int, ended_at: int | None, **changes: Any) -> Work:
    this = Work(
        build=1, job="careful", attempt=attempt, step=step, runner=f"runner-{attempt}", nonce=f"{attempt}.{step}",
        plan=plan(["text", 40 + step, 0.0], exits=[exits]) | {"step": step}, began_at=began_at, ended_at=ended_at,
        told_end=True, exit_code=exits,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(this, name, value)
    wrote = b"".join(output(this.plan, 1, "careful", attempt))
    if this.told_end:
        this.wrote, this.sha256 = len(wrote), hashlib.sha256(wrote).hexdigest()
    return this


def log_of(*works: Work) -> bytes:
    return b"".join(piece for each in works for piece in output(each.plan, 1, "careful", each.attempt))


def runner(number: int) -> Runner:
    return Runner(id=str(number) * 40, name=f"runner-{number}", labels=("linux",), slots=1, online=True)


def attempt(number: int, state: AttemptState, **changes: Any) -> Attempt:
    this = Attempt(
        job=JOB, number=number, runner=str(number) * 40, runner_name=f"runner-{number}", incarnation=1, state=state,
        reason="", assigned_at=10, finished_at=3_500, exit_code=0, log_bytes=81,
    )  # fmt: skip
    return replace(this, **changes)


@pytest.fixture
def evidence() -> Evidence:
    """A job that must not run twice: its first attempt was lost with its runner, its second one passed."""
    steps = tuple(StepSpec(name=name, run="true", env={}) for name in ("one", "two"))
    spec = JobSpec(
        name="careful", env={"TRUTH": "somewhere"}, timeout_ms=1, steps=steps, matrix={}, on_runner_loss="hold",
        labels=("linux",),
    )  # fmt: skip
    build = Build(
        id=1, mid="m", repo=REPO, ref=REF, sha=SHA, event="push", message="", author="", pipeline_file="", rule="",
        complaints=(), retry_of=None, jobs=(JOB,), state=Status.PASSED, reason="", created_at=0,
    )  # fmt: skip
    job = Job(
        id=JOB, build=1, position=0, repo=REPO, spec=spec, state=Status.PASSED, reason="", attempt=2, lost=1,
        created_at=0,
    )  # fmt: skip
    lost = attempt(1, AttemptState.LOST, reason="its runner stopped answering", exit_code=None, log_bytes=0)
    works = [
        work(1, began_at=1_000, ended_at=2_000, told_end=False, exit_code=None, wrote=40, written=WRITTEN),
        work(2, began_at=5_000, ended_at=6_000),
        work(2, step=1, began_at=6_000, ended_at=7_000),
    ]
    return Evidence(
        builds=[BuildDetail(build=build, jobs=(job,), attempts=(lost, attempt(2, AttemptState.PASSED)))],
        runners=[runner(1), runner(2)],
        works=works,
        logs={(JOB, 1): StoredLog(log_of(works[0])[:7]), (JOB, 2): StoredLog(log_of(*works[1:]))},
        pushes=[Push(repo=REPO, ref=REF, sha=SHA, shape="careful", at=0)],
        wishes=[Wish(what="submit", build=1, sha=SHA, at=0)],
        excused=frozenset({"runner-1"}),
        slots=1,
        left={"runner-1": [], "runner-2": []},
    )


def change_job(evidence: Evidence, **changes: Any) -> None:
    (detail,) = evidence.builds
    evidence.builds = [replace(detail, jobs=(replace(detail.jobs[0], **changes),))]


def change_attempt(evidence: Evidence, number: int, **changes: Any) -> Evidence:
    (detail,) = evidence.builds
    tries = tuple(replace(each, **changes) if each.number == number else each for each in detail.attempts)
    evidence.builds = [replace(detail, attempts=tries)]
    return evidence


def need(evidence: Evidence, state: Status, when: Literal["passed", "always"]) -> None:
    """Let the job need another one that stands so."""
    (detail,) = evidence.builds
    job = detail.jobs[0]
    spec = replace(job.spec, name="other", env={})
    other = replace(job, id="1/other", spec=spec, state=state, attempt=1, lost=0)
    job = replace(job, spec=replace(job.spec, needs=("other",), when=when))
    tried = attempt(1, AttemptState.PASSED, job="1/other")
    evidence.builds = [replace(detail, jobs=(job, other), attempts=(*detail.attempts, tried))]


def test_evidence_in_which_all_is_well_is_not_complained_of(evidence: Evidence) -> None:
    assert judge(evidence) == []
    need(evidence, Status.PASSED, "passed")
    assert judge(evidence) == []
    evidence.before = evidence.verdicts()
    assert judge(evidence) == []
    evidence.logs[JOB, 2] = StoredLog(evidence.logs[JOB, 2].data + b"[surveil: processes were ended]\n")
    change_attempt(evidence, 2, log_bytes=len(evidence.logs[JOB, 2].data))
    assert judge(evidence) == []


RUNNING: Final = {"state": AttemptState.RUNNING}
WRONG: dict[str, tuple[str, Callable[[Evidence], object]]] = {
    "a push that nobody built": ("I1", lambda e: e.pushes.append(replace_push(e.pushes[0], sha="b" * 40, ref="r"))),
    "a push that was built twice": ("I1", lambda e: e.builds.append(e.builds[0])),
    "a build of nobody's push": ("I1", lambda e: e.pushes.clear()),
    "a build that was answered and is gone": ("I5", lambda e: e.wishes.append(Wish(what="submit", build=9, at=0))),
    "a build that is another commit's": ("I5", lambda e: e.wishes.append(Wish(what="submit", build=1, sha="c", at=0))),
    "work after a cancel": ("I11", lambda e: e.wishes.append(Wish(what="cancel", build=1, at=1_500))),
    "attempts with a gap": ("I2", lambda e: change_job(e, attempt=3)),
    "two open attempts": ("I2", lambda e: [change_attempt(e, n, **RUNNING) for n in (1, 2)]),
    "an attempt that began twice": ("I2", lambda e: e.works.append(work(1, began_at=2_500, ended_at=2_600))),
    "work of which nothing is recorded": ("I2", lambda e: e.works.append(work(3, began_at=8_000, ended_at=8_100))),
    "work on another runner": ("I8", lambda e: setattr(e.works[0], "runner", "runner-2")),
    "a runner without the label": ("I8", lambda e: e.runners.__setitem__(0, replace(runner(1), labels=()))),
    "more attempts than slots": ("I8", lambda e: setattr(e, "slots", 0)),
    "a careful job twice at once": ("I7", lambda e: setattr(e.works[0], "ended_at", 5_500)),
    "a careful job beside a ghost": ("I7", lambda e: setattr(e.works[0], "ended_at", None)),
    "a job before what it needs": ("I14", lambda e: need(e, Status.FAILED, "passed")),
    "a job before what it needs ended": ("I14", lambda e: need(e, Status.RUNNING, "always")),
    "a pass that was a failure": ("I3", lambda e: setattr(e.works[2], "exit_code", 3)),
    "a pass of what was killed": ("I3", lambda e: setattr(e.works[2], "told_end", False)),
    "a pass of half the steps": ("I3", lambda e: e.works.pop()),
    "a failure that was a pass": ("I3", lambda e: change_attempt(e, 2, state=AttemptState.FAILED, exit_code=1)),
    "another exit code": ("I3", lambda e: change_attempt(e, 2, exit_code=7)),
    "steps after one that failed": ("I3", lambda e: setattr(e.works[1], "exit_code", 3)),
    "a job unlike its newest attempt": ("I3", lambda e: change_job(e, state=Status.FAILED)),
    "a verdict that changed": ("I5", lambda e: e.before.update({JOB: ("failed", 2, None)})),
    "an attempt that changed": ("I5", lambda e: e.before.update({f"{JOB}#1": ("passed", 1, 0)})),
    "a job that took too many runners along": ("I12", lambda e: change_job(e, lost=4)),
    "a loss without a fault": ("L6", lambda e: setattr(e, "excused", frozenset({"runner-2"}))),
    "a break without a fault": ("L6", lambda e: change_attempt(e, 2, state=AttemptState.ERRORED, reason="the disk")),
    "a loss without a reason": ("L7", lambda e: change_attempt(e, 1, reason="")),
    "a log with another byte": ("I6", lambda e: e.logs.update({(JOB, 2): StoredLog(b"x" * 81)})),
    "a log without its end": ("I6", lambda e: e.logs.update({(JOB, 2): StoredLog(e.logs[JOB, 2].data[:-1])})),
    "a log of another length": ("I6", lambda e: change_attempt(e, 2, log_bytes=80)),
    "a damaged log": ("I6", lambda e: e.logs.update({(JOB, 2): StoredLog(e.logs[JOB, 2].data, damaged=True)})),
    "a lost attempt's log with more": ("I6", lambda e: e.logs.update({(JOB, 1): StoredLog(b"nobody wrote this")})),
    "a lost attempt's log without what was read": ("I6", lambda e: e.logs.update({(JOB, 1): StoredLog(b"1/")})),
    "work that wrote something else": ("truth", lambda e: setattr(e.works[1], "sha256", "")),
    "a build without a verdict": ("L1", lambda e: change_job(e, state=Status.QUEUED)),
    "an open attempt": ("L5", lambda e: change_attempt(e, 2, state=AttemptState.RUNNING)),
    "a runner that is away": ("L2", lambda e: e.runners.__setitem__(0, replace(runner(1), online=False))),
    "something left on a runner": ("L3 L4", lambda e: e.left.update({"runner-1": ["process 9"]})),
    "a process that runs for ever": ("L3", lambda e: setattr(e.works[2], "ended_at", None)),
}


def replace_push(push: Push, **changes: Any) -> Push:
    return Push(**{**{name: getattr(push, name) for name in ("repo", "ref", "sha", "shape", "at")}, **changes})


@pytest.mark.parametrize("what", list(WRONG))
def test_a_judge_sees(evidence: Evidence, what: str) -> None:
    rule, breaks = WRONG[what]
    breaks(evidence)
    assert rule in {complaint.rule for complaint in judge(evidence)}, judge(evidence)


def test_a_push_may_be_replaced_before_anybody_looks(evidence: Evidence) -> None:
    evidence.pushes.insert(0, replace_push(evidence.pushes[0], sha="b" * 40))
    assert judge(evidence) == []


def test_a_host_that_died_owes_what_its_disk_held(evidence: Evidence) -> None:
    evidence.spooled = {folder_name((JOB, 1)): 8}
    assert {complaint.rule for complaint in judge(evidence)} == {"I6"}
    evidence.works[0] = work(1, began_at=1_000, ended_at=2_000)
    evidence.spooled = {folder_name((JOB, 1)): 7}
    assert judge(evidence) == []


def test_a_disk_that_lost_output_has_nothing_to_deliver(evidence: Evidence) -> None:
    evidence.logs[JOB, 1] = StoredLog(b"1/")
    evidence.cut = frozenset({"runner-1"})
    assert judge(evidence) == []


def test_what_was_handed_out_after_a_backup_is_recorded_nowhere(evidence: Evidence) -> None:
    evidence.works.append(work(3, began_at=8_000, ended_at=8_100))
    assert {complaint.rule for complaint in judge(evidence)} == {"I2"}
    evidence.forgotten = ((8_001, 9_000),)
    assert judge(evidence)
    evidence.forgotten = ((7_000, 7_900),)
    assert judge(evidence) == []


def test_what_stood_still_could_not_know_that_its_time_was_over(evidence: Evidence) -> None:
    evidence.works[0].ended_at = 5_500
    evidence.logs[JOB, 1] = StoredLog(log_of(evidence.works[0]))
    assert len(doubled_jobs(evidence)) == 1
    evidence.paused = frozenset({"runner-1"})
    assert judge(evidence) == []


@pytest.mark.parametrize("excuse", ["the runner", "all of them", "nothing could renew it", "it had not begun"])
def test_a_loss_is_excused_where(evidence: Evidence, excuse: str) -> None:
    evidence.excused = frozenset()
    assert len(needless_losses(evidence)) == 1
    match excuse:
        case "the runner":
            evidence.excused = frozenset({"runner-1"})
        case "all of them":
            evidence.excused = None
        case "nothing could renew it":
            evidence.fenced = True
        case _:
            evidence.interrupted = frozenset({"runner-1"})
            assert len(needless_losses(evidence)) == 1, "it had begun"
            evidence.works.pop(0)
    assert needless_losses(evidence) == []


def test_a_round_is_measured_from_its_fault_on(evidence: Evidence) -> None:
    evidence.wall_minus_boot_ms = 500
    struck = Struck("something was done", at=1_000)
    this = measure(["one"], [struck], evidence)
    counted = (this.faults, this.builds, this.jobs, this.attempts, this.lost, this.doubled, this.needless)
    assert counted == (1, 1, 1, 2, 1, 0, 0)
    assert (this.detected_ms, this.rerun_ms) == ([2_000], [4_000])
    change_attempt(evidence, 2, finished_at=7_500)
    evidence.wall_minus_boot_ms = -3_600_000
    assert measure(["one"], [struck], evidence).detected_ms == [2_000], "the dispatcher's clock goes on in the future"
    struck.untimed = True
    assert measure(["one"], [struck], evidence).detected_ms == []
