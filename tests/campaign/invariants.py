"""The judges: what must hold of the evidence, whatever was struck.

What belongs here: pure functions from evidence to complaints, each under the name that its rule has in
docs/reliability.md. What does not: gathering evidence, and what a single kind of fault promises besides (faults).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from surveil.core.model import OPEN, VERDICTS, Attempt, AttemptState, Job, Status
from surveil.execute.attempts import folder_name
from surveil.store.sqlite import ATTEMPTS_SKIPPED
from tests.campaign.evidence import Evidence, is_truthful
from tests.campaign.step import output
from tests.campaign.truth import Work

MARKER: Final = re.compile(rb"\n?\[surveil: [^\n]*\]\n")
"""What the keeper itself may say at the end of a log."""
TOLD: Final = frozenset({AttemptState.PASSED, AttemptState.FAILED})
"""How an attempt ends whose steps all came to their own end."""
_BROKEN: Final = frozenset({AttemptState.LOST, AttemptState.ERRORED})
_SHOWN: Final = 3


@dataclass(frozen=True)
class Complaint:
    """A rule that was broken, and how."""

    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


Judge: TypeAlias = Callable[[Evidence], Iterator[Complaint]]


def judge(evidence: Evidence) -> list[Complaint]:
    """All that is wrong."""
    return [complaint for each in JUDGES for complaint in each(evidence)]


# ---- facts ----------------------------------------------------------------------------------------------------------


def every_push_is_built_once(evidence: Evidence) -> Iterator[Complaint]:
    """I1: a commit that was pushed has one build, unless a newer one took its ref before anybody looked."""
    built = Counter((d.build.repo, d.build.ref, d.build.sha) for d in evidence.builds if d.build.event == "push")
    newest = {(push.repo, push.ref): push for push in evidence.pushes}
    for push in evidence.pushes:
        count = built.pop((push.repo, push.ref, push.sha), 0)
        superseded = newest[push.repo, push.ref] is not push
        if count > 1 or (count == 0 and not superseded):
            yield Complaint("I1", f"{push.sha[:10]} on {push.ref} of {push.repo} ({push.shape}) has {count} builds")
    for repo, ref, sha in built:
        yield Complaint("I1", f"{sha[:10]} on {ref} of {repo} was built, and nobody pushed it")


def every_wish_is_kept(evidence: Evidence) -> Iterator[Complaint]:
    """I5, I11: what a client was told is done stays done."""
    builds = {detail.build.id: detail for detail in evidence.builds}
    for wish in evidence.wishes:
        detail = builds.get(wish.build)
        if detail is None:
            yield Complaint("I5", f"build {wish.build} was answered to a {wish.what}, and is not there")
        elif wish.what == "submit" and detail.build.sha != wish.sha:
            yield Complaint("I5", f"build {wish.build} was answered to a submit of {wish.sha}: it is another commit's")
        elif wish.what == "cancel":
            late = [w for w in evidence.works if w.build == wish.build and w.began_at > wish.at + CANCELLED_MS]
            for work in late[:_SHOWN]:
                yield Complaint(
                    "I11", f"{work.id} began {work.began_at - wish.at} ms after it was said to be cancelled"
                )


CANCELLED_MS: Final = 3_000
"""An attempt that is on its way when it is cancelled may begin so much later, before its runner hears of it."""


# ---- attempts -------------------------------------------------------------------------------------------------------


def attempts_are_numbered(evidence: Evidence) -> Iterator[Complaint]:
    """I2: attempts count from 1 without a gap, but where a restored backup skipped some; at most one is open, and each
    was started at most once.
    """
    for detail in evidence.builds:
        for job in detail.jobs:
            own = [attempt for attempt in detail.attempts if attempt.job == job.id]
            numbers = [attempt.number for attempt in own]
            skipped = [number - place for place, number in enumerate(numbers, 1)] + [job.attempt - len(numbers)]
            if skipped != sorted(skipped) or skipped[0] < 0 or any(each % ATTEMPTS_SKIPPED for each in skipped):
                yield Complaint("I2", f"{job.id} is at attempt {job.attempt}, and has attempts {numbers}")
            still_open = [attempt.number for attempt in own if attempt.state in OPEN]
            if len(still_open) > 1 or (still_open and still_open != [job.attempt]):
                yield Complaint("I2", f"{job.id} has the open attempts {still_open}")
    for (job_id, number, step), count in Counter((*work.id, work.step) for work in evidence.works).items():
        if count > 1:
            yield Complaint("I2", f"step {step} of {job_id}#{number} began {count} times")


def attempts_ran_where_they_were_sent(evidence: Evidence) -> Iterator[Complaint]:
    """I8: on the runner of their record, which has the labels; never more at once than it has slots."""
    recorded = {attempt.id: attempt for attempt in evidence.attempts}
    known = {detail.build.id for detail in evidence.builds}
    labels = {runner.name: set(runner.labels) for runner in evidence.runners}
    for work in evidence.works:
        attempt = recorded.get(work.id)
        if attempt is None and work.build in known and not _is_forgotten(evidence, work):
            yield Complaint("I2", f"{work.id} ran on {work.runner}, and nothing is recorded of it")
        elif attempt is not None and attempt.runner_name != work.runner:
            yield Complaint("I8", f"{work.id} ran on {work.runner}, and is recorded of {attempt.runner_name}")
    for job in evidence.jobs:
        for attempt in evidence.attempts:
            missing = set(job.spec.labels) - labels.get(attempt.runner_name, set(job.spec.labels))
            if attempt.job == job.id and missing:
                yield Complaint("I8", f"{job.id} went to {attempt.runner_name}, which lacks {missing}")
    for runner in {work.runner for work in evidence.works}:
        busiest = _most_at_once([work for work in evidence.works if work.runner == runner])
        if busiest > evidence.slots:
            yield Complaint("I8", f"{runner} ran {busiest} attempts at once in {evidence.slots} slots")


def _is_forgotten(evidence: Evidence, work: Work) -> bool:
    """Whether a dispatcher that was started from a backup cannot know of it."""
    return any(since <= work.began_at <= until + CANCELLED_MS for since, until in evidence.forgotten)


def _most_at_once(works: list[Work]) -> int:
    """The most attempts of which some step lived at one instant. One that ends as another begins is not with it."""
    changes = [(work.began_at, 1) for work in works]
    changes += [(work.ended_at, -1) for work in works if work.ended_at is not None]
    most = now = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def doubled_jobs(evidence: Evidence) -> list[tuple[Work, Work]]:
    """Works of two attempts at one job that lived at one instant."""
    by_job: dict[str, list[Work]] = {}
    for work in sorted(evidence.works, key=lambda work: work.began_at):
        by_job.setdefault(work.id[0], []).append(work)
    return [
        (earlier, later)
        for works in by_job.values()
        for at, later in enumerate(works)
        for earlier in works[:at]
        if earlier.attempt != later.attempt and (earlier.ended_at is None or earlier.ended_at > later.began_at)
    ]


def careful_jobs(evidence: Evidence) -> set[str]:
    """The jobs that must not run twice."""
    return {job.id for job in evidence.jobs if job.spec.on_runner_loss != "retry"}


def needless_losses(evidence: Evidence) -> list[Attempt]:
    """What was lost, or broke, without a fault that would excuse it."""
    careful, begun = careful_jobs(evidence), {work.id for work in evidence.works}

    def excused(attempt: Attempt) -> bool:
        unbegun = attempt.runner_name in evidence.interrupted and attempt.id not in begun
        fenced = evidence.fenced and attempt.job in careful
        return evidence.excused is None or attempt.runner_name in evidence.excused or unbegun or fenced

    return [each for each in evidence.attempts if each.state in _BROKEN and not excused(each)]


def exclusive_jobs_run_alone(evidence: Evidence) -> Iterator[Complaint]:
    """I7: no two attempts at a job that must not run twice live at one instant, unless the older one's host stood
    still.
    """
    careful = careful_jobs(evidence)
    for earlier, later in doubled_jobs(evidence):
        if earlier.id[0] in careful and earlier.runner not in evidence.paused:
            yield Complaint("I7", f"{earlier.id[0]} ran as attempts {earlier.attempt} and {later.attempt} at one time")


def needs_come_first(evidence: Evidence) -> Iterator[Complaint]:
    """I14: no job begins before those that it needs have passed, or with `when: always` before they ended."""
    for detail in evidence.builds:
        jobs = {job.spec.name: job for job in detail.jobs}
        for job in detail.jobs:
            if not job.attempt:
                continue
            for need in job.spec.needs:
                state = jobs[need].state
                if state != Status.PASSED and (job.spec.when != "always" or state not in VERDICTS):
                    yield Complaint("I14", f"{job.id} was handed out while {need}, which it needs, was {state}")


# ---- verdicts -------------------------------------------------------------------------------------------------------


def verdicts_are_true(evidence: Evidence) -> Iterator[Complaint]:
    """I3: a recorded result is what the attempt's processes really did."""
    jobs = {job.id: job for job in evidence.jobs}
    for attempt in evidence.attempts:
        job = jobs[attempt.job]
        if attempt.state in TOLD and is_truthful(job):
            really = _really(evidence, job, attempt)
            if really != (attempt.state, attempt.exit_code):
                name = f"{attempt.job}#{attempt.number}"
                yield Complaint("I3", f"{name} is recorded as {attempt.state} {attempt.exit_code}: it {really}")
    for job in evidence.jobs:
        newest = next((a for a in evidence.attempts if a.id == (job.id, job.attempt)), None)
        if job.state in {Status.PASSED, Status.FAILED} and (newest is None or str(newest.state) != str(job.state)):
            yield Complaint("I3", f"{job.id} is {job.state}, and its newest attempt {newest and newest.state}")


def _really(evidence: Evidence, job: Job, attempt: Attempt) -> tuple[str, int | None] | str:
    """How an attempt ended by the truth, or in words why that cannot be."""
    works = evidence.works_of(attempt.id)
    for at, step in enumerate(job.spec.steps):
        if at >= len(works):
            return f"never began step {at}"
        work = works[at]
        if not work.told_end:
            return f"was killed in step {at}"
        if work.exit_code and not step.continue_on_error:
            ended = len(works) == at + 1
            return (AttemptState.FAILED, work.exit_code) if ended else f"went on after step {at} had failed"
    return (AttemptState.PASSED, 0)


def verdicts_stay(evidence: Evidence) -> Iterator[Complaint]:
    """I3, I5, I11: what was once stored as a verdict is stored still, and the same."""
    now = evidence.verdicts()
    stored = {str(detail.build.id) for detail in evidence.builds}
    for name, before in evidence.before.items():
        if name.partition("/")[0] in stored and now.get(name) != before:
            yield Complaint("I5", f"{name} was {before}, and is {now.get(name)}")


def losses_are_counted(evidence: Evidence) -> Iterator[Complaint]:
    """I12: no job takes more runners along than it may."""
    for job in evidence.jobs:
        if job.lost > evidence.lost_max:
            yield Complaint("I12", f"{job.id} was tried again after {job.lost} lost attempts")


def losses_have_causes(evidence: Evidence) -> Iterator[Complaint]:
    """L6, L7: whatever was lost or broke says why, and happened on a runner that something was done to."""
    for attempt in evidence.attempts:
        if attempt.state in _BROKEN and not attempt.reason:
            yield Complaint("L7", f"{attempt.job}#{attempt.number} is {attempt.state} and does not say why")
    for attempt in needless_losses(evidence):
        name = f"{attempt.job}#{attempt.number}"
        yield Complaint("L6", f"{name} was {attempt.state} needlessly on {attempt.runner_name}: {attempt.reason}")


# ---- logs -----------------------------------------------------------------------------------------------------------


def logs_are_exact(evidence: Evidence) -> Iterator[Complaint]:
    """I6: a log holds what the steps wrote, all of it once there is a result, and never anything else."""
    jobs = {job.id: job for job in evidence.jobs}
    for attempt in evidence.attempts:
        log, name = evidence.logs.get(attempt.id), f"{attempt.job}#{attempt.number}"
        if log is None or not is_truthful(jobs[attempt.job]):
            continue
        works = evidence.works_of(attempt.id)
        wanted = b"".join(piece for work in works for piece in output(work.plan, work.build, work.job, work.attempt))
        if log.damaged:
            yield Complaint("I6", f"the log of {name} is damaged")
        if attempt.state in TOLD:
            if MARKER.sub(b"", log.data) != MARKER.sub(b"", wanted):
                yield Complaint("I6", f"the log of {name} is not what it wrote: {_differ(log.data, wanted)}")
            if len(log.data) != attempt.log_bytes:
                yield Complaint("I6", f"the log of {name} has {len(log.data)} of {attempt.log_bytes} bytes")
        elif not wanted.startswith(MARKER.sub(b"", log.data)):
            yield Complaint("I6", f"the log of {name} ({attempt.state}) holds what it never wrote")
    for work in evidence.works:
        if work.told_end:
            wrote = b"".join(output(work.plan, work.build, work.job, work.attempt))
            if (work.wrote, work.sha256) != (len(wrote), hashlib.sha256(wrote).hexdigest()):
                yield Complaint("truth", f"{work.id} wrote something else than was planned")


READ_MS: Final = 1_000
"""What was written so long before its process ended has been read by its keeper, and is on its runner's disk."""


def lost_logs_are_delivered(evidence: Evidence) -> Iterator[Complaint]:
    """I6: what the disk of a runner held of an attempt is delivered when it comes back, though the attempt was lost or
    cancelled.
    """
    jobs = {job.id: job for job in evidence.jobs}
    for attempt in evidence.attempts:
        ended_early = attempt.state in {AttemptState.LOST, AttemptState.CANCELLED}
        if not ended_early or not is_truthful(jobs[attempt.job]) or attempt.id not in evidence.logs:
            continue
        if attempt.runner_name in evidence.cut or attempt.runner_name not in evidence.left:
            continue
        there, owed = len(evidence.logs[attempt.id].data), read_bytes(evidence, attempt)
        if there < owed:
            name = f"{attempt.job}#{attempt.number}"
            yield Complaint("I6", f"the log of {name} ({attempt.state}) has {there} bytes: its disk held {owed}")


def read_bytes(evidence: Evidence, attempt: Attempt) -> int:
    """How much of what an attempt wrote is on its runner's disk, whatever happened then. Where its host died, the disk
    itself was asked: what was written just before may not have been read.
    """
    spooled = evidence.spooled.get(folder_name(attempt.id))
    return sum(map(_readable, evidence.works_of(attempt.id))) if spooled is None else spooled


def _readable(work: Work) -> int:
    """How much of what it wrote was read, whatever happened then."""
    if work.told_end or work.ended_at is None:
        return work.wrote
    return max((wrote for at, wrote in work.written if at <= work.ended_at - READ_MS), default=0)


def _differ(log: bytes, wanted: bytes) -> str:
    at = next((at for at, (a, b) in enumerate(zip(log, wanted, strict=False)) if a != b), min(len(log), len(wanted)))
    return f"{len(log)} bytes, of {len(wanted)}; from byte {at} on {log[at : at + 40]!r}, not {wanted[at : at + 40]!r}"


# ---- endings --------------------------------------------------------------------------------------------------------


def everything_ended(evidence: Evidence) -> Iterator[Complaint]:
    """L1, L5: every job and build has its verdict, and no attempt is open."""
    for detail in evidence.builds:
        still = [job.id for job in detail.jobs if job.state not in VERDICTS]
        if still or detail.build.state not in VERDICTS:
            reasons = {job.reason for job in detail.jobs if job.id in still}
            yield Complaint("L1", f"build {detail.build.id} is {detail.build.state}; {still[:_SHOWN]}: {reasons}")
    for attempt in evidence.attempts:
        if attempt.state in OPEN:
            yield Complaint(
                "L5", f"{attempt.job}#{attempt.number} is {attempt.state} on {attempt.runner_name} for ever"
            )


def nothing_is_left(evidence: Evidence) -> Iterator[Complaint]:
    """L2, L3, L4: every runner is online, and nothing of any attempt is left on it."""
    for runner in evidence.runners:
        if not runner.online and runner.name in evidence.left:
            yield Complaint("L2", f"{runner.name} is offline")
    for name, left in evidence.left.items():
        if left:
            yield Complaint("L3 L4", f"{name} still has {left[:_SHOWN]}")
    for work in evidence.works:
        if work.ended_at is None:
            yield Complaint("L3", f"{work.id} runs for ever on {work.runner}")


JUDGES: Final[tuple[Judge, ...]] = (
    every_push_is_built_once,
    every_wish_is_kept,
    attempts_are_numbered,
    attempts_ran_where_they_were_sent,
    exclusive_jobs_run_alone,
    needs_come_first,
    verdicts_are_true,
    verdicts_stay,
    losses_are_counted,
    losses_have_causes,
    logs_are_exact,
    lost_logs_are_delivered,
    everything_ended,
    nothing_is_left,
)
