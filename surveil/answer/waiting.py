"""Why a job waits, in a sentence for people, with what they can do about it.

What belongs here: reading the dispatcher's memory for a reason. What does not: the decision who runs what
(`surveil.core.schedule`), which is made anew at each event and knows nothing of sentences.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from surveil.answer.views import refusal_words, runner_state
from surveil.core.declared import CONTAINERS
from surveil.core.model import OPEN, VERDICTS, Job, Runner, Status
from surveil.core.spelling import printable, quoted
from surveil.core.state import State

NAMED_MAX: Final = 3
"""So many runners or jobs are named in a sentence."""
LABEL_SETS_MAX: Final = 64
"""For so many different sets of labels one answer looks through all runners."""
LABEL_SETS_COUNTED_MAX: Final = 8
"""So many sets of labels a status looks at, those of the most jobs."""
REASONS_MAX: Final = 5
"""So many reasons stand in a status, those of the most jobs first."""

_Kind: TypeAlias = tuple[tuple[str, ...], str, str]
"""What differs between queued jobs as far as they wait for something: labels, and repository and group if it has one.
"""

_OFFERS: Final = "make a token with `surveil token create`, and type `surveil runner --join TOKEN` on a machine"
_ENGINE: Final = "`apt install docker.io` on the machine of one, and start that runner again"
_BUSY: Final = "its turn has not come"


class Waiting:
    """The reasons as they are at one instant, `now` in milliseconds since 1970; to be used on the dispatcher's own
    thread and then forgotten.
    """

    def __init__(self, state: State, now: int) -> None:
        self._state = state
        self._now = now
        self._of_labels: dict[tuple[str, ...], str] = {}

    def why(self, job_id: str) -> str | None:
        """What this job waits for; None where it does not wait, or nobody remembers it."""
        job = self._state.jobs.get(job_id)
        return None if job is None else self._why(job)

    def annotate(self, build: dict[str, Any]) -> dict[str, Any]:
        """Fill in `waiting` in a build's document and those of its jobs."""
        first = None
        for job in build["jobs"]:
            job["waiting"] = self.why(job["id"])
            if first is None and job["state"] == build["state"]:
                first = job["waiting"]
        build["waiting"] = first if build["state"] in {Status.QUEUED, Status.HELD} else None
        return build

    def reasons(self) -> list[dict[str, Any]]:
        """Why the queued jobs of the installation wait: for each reason how many of them, and the oldest."""
        # A queue may hold a hundred thousand jobs, and this is the dispatcher's own thread: what differs is looked at.
        oldest: dict[_Kind, str] = {}
        numbers: Counter[_Kind] = Counter()
        for job in self._state.jobs.values():
            if job.state is Status.QUEUED:
                group = job.spec.concurrency
                kind = (job.spec.labels, job.repo if group else "", group)
                numbers[kind] += 1
                if kind not in oldest:
                    oldest[kind] = job.id
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for kind, number in numbers.most_common(LABEL_SETS_COUNTED_MAX):
            labels, repo, group = kind
            reason = self._why_group(repo, group) or self._why_labels(labels)
            counts[reason] += number
            first.setdefault(reason, oldest[kind])
        return [
            {"reason": reason, "jobs": number, "oldest": first[reason]}
            for reason, number in counts.most_common(REASONS_MAX)
        ]

    # ---- how --------------------------------------------------------------------------------------------------------

    def _why(self, job: Job) -> str | None:
        build = self._state.builds.get(job.build)
        if build is not None and build.awaits_approval and job.state not in VERDICTS:
            return f"waits for approval: `surveil approve {job.build}` lets it run"
        match job.state:
            case Status.QUEUED:
                return self._why_queued(job)
            case Status.BLOCKED:
                return self._why_blocked(job)
            case Status.HELD:
                name = shlex.quote(job.spec.name)
                return f"waits for a person: `surveil unhold {job.build} {name}` lets it be tried again"
            case _:
                return None

    def _why_queued(self, job: Job) -> str:
        left_ms = job.not_before_at - self._now
        if left_ms > 0:
            return f"is tried again in {left_ms // 1000 + 1} s"
        return self._why_group(job.repo, job.spec.concurrency) or self._why_labels(job.spec.labels)

    def _why_group(self, repo: str, group: str) -> str:
        """What a concurrency group waits for; empty where a job of it may run."""
        groups = self._state.groups
        if not group or groups.is_open((repo, group), self._now):
            return ""
        shown = f"of the group {quoted(group)}"
        holder = groups.holder((repo, group))
        if holder is None:
            left_ms = groups.shut_until_at - self._now
            return f"waits {left_ms // 1000 + 1} s for whatever a restart may have left running {shown}"
        ending = self._state.attempts[holder].state not in OPEN
        return f"waits for job {printable(holder[0])} {shown}" + (", which is ending" if ending else "")

    def _why_blocked(self, job: Job) -> str | None:
        needed = (self._state.jobs.get(f"{job.build}/{name}") for name in job.spec.needs)
        ahead = [need.spec.name for need in needed if need is not None and need.finished_at is None]
        return f"waits for {_named(ahead)}" if ahead else None

    def _why_labels(self, labels: tuple[str, ...]) -> str:
        known = self._of_labels.get(labels)
        if known is None:
            full = len(self._of_labels) >= LABEL_SETS_MAX
            known = self._of_labels[labels] = "waits for a runner" if full else self._look(frozenset(labels))
        return known

    def _look(self, labels: frozenset[str]) -> str:
        runners = list(self._state.runners.values())
        if not runners:
            return f"no runner has joined yet: {_OFFERS}"
        fitting = [runner for runner in runners if labels.issubset(runner.labels)]
        if not fitting:
            return _without(sorted(labels), runners)
        at_work = [runner for runner in fitting if self._state_of(runner) == "online"]
        if not at_work:
            return self._why_away(fitting)
        return self._why_no_room(at_work)

    def _state_of(self, runner: Runner) -> str:
        return runner_state(runner, self._state.sessions.get(runner.id))

    def _why_away(self, fitting: Sequence[Runner]) -> str:
        """None of those that fit takes work: they are away, or somebody said so."""
        states = {runner.name: self._state_of(runner) for runner in fitting}
        if "suspect" in states.values():
            name = next(name for name, state in states.items() if state == "suspect")
            return f"waits for runner {name}, which was heard a moment ago"
        barred = next((name for name, state in states.items() if state in {"cordoned", "draining"}), None)
        hint = (
            f"`surveil runner uncordon {shlex.quote(barred)}` gives it work again"
            if barred is not None
            else f"start {'it' if len(states) == 1 else 'one'} again with `surveil runner` on its machine"
        )
        if len(states) == 1:
            name, state = next(iter(states.items()))
            return f"the only runner for it, {name}, is {state}: {hint}"
        shown = _named([f"{name} is {state}" for name, state in states.items()])
        return f"none of the {len(states)} runners for it takes work ({shown}): {hint}"

    def _why_no_room(self, at_work: Sequence[Runner]) -> str:
        refusals = [(runner.name, refusal_words(self._state.sessions[runner.id])) for runner in at_work]
        if all(words for _, words in refusals):
            return f"waits for a runner ({_named([f'{name} {words}' for name, words in refusals])})"
        slots = sum(runner.slots for runner in at_work)
        busy = sum(len(self._state.held_by.get(runner.id, ())) for runner in at_work)
        return f"waits for a free slot: {busy} of {slots} busy" if busy >= slots else _BUSY


def _without(labels: Sequence[str], runners: Sequence[Runner]) -> str:
    """No runner has what the job asks for."""
    present = {label for runner in runners for label in runner.labels}
    missing = [label for label in labels if label not in present]
    flags = " ".join(f"--label {shlex.quote(label)}" for label in missing or labels)
    checked = (
        f"{len(runners)} runner{'' if len(runners) == 1 else 's'} checked; start one with `surveil runner {flags}`"
    )
    if missing == [CONTAINERS]:
        count = f"{len(runners)} runner{'' if len(runners) == 1 else 's'}"
        return f"no online runner offers containers: {count} checked; {_ENGINE}"
    if not missing:
        return f"no runner has all of the labels {', '.join(labels)}: {checked}"
    return f"no online runner has label{'' if len(missing) == 1 else 's'} {', '.join(missing)}: {checked}"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
