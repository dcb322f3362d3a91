"""Which queued job goes to which runner: order first (fair between repositories, then the most urgent, then the
oldest), then the runner that will finish first.

What belongs here: the choice, the order to the runner, and its repeats. What does not: the queue itself (ready), what
an attempt comes to (attempts), and telling people why a job waits (`surveil.answer.waiting`).
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from itertools import chain, islice
from typing import Final, TypeAlias

from surveil.core.builds import commit_of, fold, looking
from surveil.core.effects import Effect, Send
from surveil.core.ending import cancel_order
from surveil.core.following import facts_of
from surveil.core.model import Attempt, AttemptState, Job, Runner, Status
from surveil.core.outputs import complete, is_open
from surveil.core.policy import Policy
from surveil.core.ready import Group, Place
from surveil.core.state import Session, State
from surveil.frozen import replace
from surveil.protocol import Assign, JobSpec

CANDIDATES_MAX: Final = 64
"""Runners compared for the jobs of a group.

With more that have room, the best of some is as good as the best of all, and much sooner found.
"""

COLD_PENALTY: Final = 40
"""What a missing mirror of the repository counts, in percent of a busy machine: a first clone costs about that."""


_Kind: TypeAlias = tuple[str, tuple[str, ...]]
"""A repository and a set of labels: what matters to runners of a job."""
_Queue: TypeAlias = list[tuple[Place, Group]]
"""A heap of the first jobs of a repository's groups."""
_Line: TypeAlias = list[tuple[int, str]]
"""A heap of what each runner costs a kind of jobs, with its key."""


def hand_out(state: State, now: int, policy: Policy) -> list[Effect]:
    """Assign queued jobs to runners with room, as long as there are both.

    One job a repository in turn, least served first.
    """
    state.ready.release(now)
    effects: list[Effect] = []
    lines: dict[_Kind, _Line] = {}
    queues = _queues(state) if state.roomy else {}
    while queues:
        for repo in _in_turn(state, queues, lines, now):
            # What was at its head may have lost its runner to another repository meanwhile.
            found = _first_that_can(state, queues[repo], lines, now)
            if found is None:
                del queues[repo]
            else:
                effects.append(_serve(state, queues[repo], found, now, policy))
    return effects


def _in_turn(state: State, queues: dict[str, _Queue], lines: dict[_Kind, _Line], now: int) -> list[str]:
    """The repositories that have a job which can be handed out, least served first; the others leave. A single one has
    nobody to take turns with, and is looked at when it is served.
    """
    if len(queues) == 1:
        return list(queues)
    for repo in list(queues):
        if not _first_that_can(state, queues[repo], lines, now):
            del queues[repo]
    return sorted(queues, key=lambda repo: (state.running_of.get(repo, 0), queues[repo][0]))


def _queues(state: State) -> dict[str, _Queue]:
    """The heads of all groups, by repository: each of it has one for each kind of runner and concurrency group."""
    queues: dict[str, _Queue] = {}
    for group, place in state.ready.heads():
        queues.setdefault(group[0], []).append((place, group))
    for queue in queues.values():
        heapify(queue)
    return queues


def _first_that_can(state: State, queue: _Queue, lines: dict[_Kind, _Line], now: int) -> Runner | None:
    """The runner for the first of a repository's jobs that may run and has one. The others leave the queue: as long as
    jobs are handed out, runners only get fuller and groups only held.
    """
    while queue:
        _, group = queue[0]
        runner = choose(state, lines, group[:2], now) if _may_run(state, group, now) else None
        if runner is not None:
            return runner
        heappop(queue)
    return None


def _serve(state: State, queue: _Queue, runner: Runner, now: int, policy: Policy) -> Send:
    """Hand out the first job of a repository, and let the next of its group take its place."""
    place, group = queue[0]
    order = assign(state, state.jobs[place[-1]], runner, now, policy)
    following = state.ready.head(group)
    if following is None:
        heappop(queue)
    else:
        heapreplace(queue, (following, group))
    return order


def _may_run(state: State, group: Group, now: int) -> bool:
    """Whether no other job of the same concurrency group runs."""
    return not group[2] or state.groups.is_open((group[0], group[2]), now)


def choose(state: State, lines: dict[_Kind, _Line], kind: _Kind, now: int) -> Runner | None:
    """The runner that will finish a job of this kind first, of those that fit and have room; None when there is none.
    `lines` are for the jobs that are handed out together.
    """
    runner = _first(state, lines.get(kind, []), kind[0], now)
    if runner is None:
        lines[kind] = _line_up(state, kind, now)
        runner = _first(state, lines[kind], kind[0], now)
    return runner


def _first(state: State, line: _Line, repo: str, now: int) -> Runner | None:
    """The cheapest runner of a line. Until all is handed out costs only rise, so that only those need a second look
    that were the cheapest.
    """
    while line:
        known, key = line[0]
        if room(state, key, now) <= 0:
            heappop(line)
        elif (cost := _cost(state, key, repo)) != known:
            heapreplace(line, (cost, key))
        else:
            return state.runners[key]
    return None


def _line_up(state: State, kind: _Kind, now: int) -> _Line:
    """The runners that fit a kind of jobs and have room, those with a mirror of its repository first."""
    repo, wanted = kind[0], frozenset(kind[1])
    found: dict[str, None] = {}
    full: list[str] = []
    for key in chain(islice(state.warm.get(repo, ()), CANDIDATES_MAX), state.roomy):
        if key in found:
            continue
        if room(state, key, now) <= 0:
            full.append(key)
        elif wanted.issubset(state.runners[key].labels):
            found[key] = None
            if len(found) >= CANDIDATES_MAX:
                break
    for key in full:
        state.roomy.pop(key, None)
    line = [(_cost(state, key, repo), key) for key in found]
    heapify(line)
    return line


def room(state: State, key: str, now: int) -> int:
    """How many more attempts this runner may be given now."""
    runner, session = state.runners[key], state.sessions.get(key)
    if session is None or session.silent or session.refusing or not session.connected or runner.draining:
        return 0
    if session.trusted_until_at <= now:
        return 0  # Its leases run on, because we suspect ourselves, but a new one would be over at once.
    busy = len(state.held_by.get(key, ()))
    if runner.cordoned:
        proving = runner.probation_at is not None and runner.probation_at <= now
        return 1 if proving and busy == 0 else 0
    return runner.slots - busy


def _cost(state: State, key: str, repo: str) -> int:
    """How long this runner would take, in percent of a busy machine: its taken slots, its load, and a cold mirror."""
    session = state.sessions[key]
    taken = 100 * len(state.held_by.get(key, ())) // state.runners[key].slots
    cold = 0 if key in state.warm.get(repo, {}) else COLD_PENALTY
    return taken + min(session.load_percent, 200) // 2 + cold


def assign(state: State, job: Job, runner: Runner, now: int, policy: Policy) -> Send:
    """Hand a job to a runner as its next attempt; the lease counts from the runner's last word."""
    session = state.sessions[runner.id]
    attempt = Attempt(
        job=job.id, number=job.attempt + 1, runner=runner.id, runner_name=runner.name, incarnation=session.incarnation,
        state=AttemptState.ASSIGNED, reason=_moved_from(state, job), assigned_at=now,
    )  # fmt: skip
    started_at = now if job.started_at is None else job.started_at
    state.put(replace(job, state=Status.RUNNING, reason="", attempt=attempt.number, started_at=started_at), now)
    state.put(attempt, now)
    fold(state, job.build, now)
    state.repeats.set(attempt.id, now + policy.answer_ms)
    return _order(state, attempt, session, policy)


def _moved_from(state: State, job: Job) -> str:
    """Why there is another attempt, where the one before it was lost and decided nothing."""
    before = state.attempts.get((job.id, job.attempt))
    if before is None or before.state != AttemptState.LOST:
        return ""
    return f"in place of attempt {before.number}: {before.reason}"


def repeat(state: State, now: int, policy: Policy) -> list[Effect]:
    """Say again what was not answered: assignments, and cancellations of attempts that have not ended."""
    effects: list[Effect] = []
    for attempt_id in state.repeats.take_due(now):
        attempt = state.attempts[attempt_id]
        if attempt.state == AttemptState.ASSIGNED:
            state.repeats.set(attempt_id, now + policy.answer_ms)
            session = state.sessions.get(attempt.runner)
            if session is not None and session.incarnation == attempt.incarnation:
                effects.append(_order(state, attempt, session, policy))
        elif attempt.state == AttemptState.CANCELLED:
            state.repeats.set(attempt_id, now + policy.cancel_repeat_ms)
            effects.append(cancel_order(attempt, attempt.reason, policy))
    return effects


def probe(state: State, now: int) -> None:
    """Let runners whose probation has come stand in line for one job."""
    for key in state.probations.take_due(now):
        state.roomy[key] = None


def _order(state: State, attempt: Attempt, session: Session, policy: Policy) -> Send:
    """The order itself. A newer anchor gives the runner a longer first lease, so ours must grow with it."""
    until_at = session.heard_at + policy.lease_ms + policy.margin_ms
    state.leases.set(attempt.id, max(until_at, state.leases.get(attempt.id) or 0))
    job = state.jobs[attempt.job]
    build = state.builds[job.build]
    order = Assign(
        epoch=state.identity.epoch, incarnation=attempt.incarnation, anchor=session.seq,
        job=job.id, attempt=attempt.number,
        build=build.id, repo=build.repo, ref=build.ref, sha=build.sha, spec=_completed(state, job),
        event=build.event, trusted=build.trusted,
    )  # fmt: skip
    return Send(runner=attempt.runner, message=order)


def _completed(state: State, job: Job) -> JobSpec:
    """The job as its runner gets it. That it is not too large was seen to before it was queued."""
    spec = job.spec
    if is_open(spec):
        spec = complete(spec, facts_of(spec, commit_of(state.builds[job.build]), looking(state, job)))
    # Why it runs is decided. A runner from before there were conditions would not understand an order that holds one.
    return spec if spec.when in {"passed", "always"} else replace(spec, when="passed")
