"""Why attempts are lost and jobs tried again: each loss and each rerun needs a cause that the world knows of
(L6, L7, I12).

What belongs here: the memory of what a dispatcher could know of its runners, and of what jobs have been
through. What does not: everything else (checkers). Times are those of the dispatcher's own clock, because its
patience is measured on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from surveil.core.model import OPEN, Attempt, AttemptId, AttemptState
from surveil.protocol import Bye, Finished, FromRunner, Heartbeat, Held, Hello, Rejected
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.dispatcher import Dispatcher
    from tests.simulation.world import World

_ORDER_MS = 15_000
"""An order of a person may take so long to be on disk, behind a slow commit."""


@dataclass(slots=True)
class _Known:
    """What one dispatcher process has heard of one runner."""

    incarnation: int
    seq: int
    heard_at: int
    listed_at: dict[AttemptId, int] = field(default_factory=dict)
    last: frozenset[AttemptId] = frozenset()
    """What its last word listed; words of two incarnations may be heard at one instant."""
    closed_at: int | None = None
    bye_at: int | None = None
    returning: bool = False

    def lists(self, held: tuple[Held, ...], now: int) -> None:
        self.last = frozenset((item.job, item.attempt) for item in held)
        self.listed_at.update(dict.fromkeys(self.last, now))


class Causes:
    """The ledger of losses and reruns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counted: Counter[str] = Counter()
        self.unheld: set[int] = set()
        self._known: dict[tuple[int, str], _Known] = {}
        self._rejected: set[AttemptId] = set()
        self._gone: set[AttemptId] = set()
        """Attempts that their runner itself reported as lost."""
        self._taken: set[AttemptId] = set()
        """Attempts whose runner was ended by its owner, which counts against no job."""
        self._anchors: dict[AttemptId, tuple[int, int]] = {}
        """By which process each attempt was handed out, and when that had last heard of the runner."""
        self._ordered_at: dict[str, int] = {}

    def items(self) -> Iterator[tuple[str, int]]:
        yield from sorted(self.counted.items())

    # ---- what a dispatcher knows ---------------------------------------------------------------------------

    def heard(self, dispatcher: Dispatcher, runner: str, message: FromRunner) -> None:
        known = self._known.get((dispatcher.epoch, runner))
        now = dispatcher.now()
        match message:
            case Hello(incarnation=incarnation, seq=seq):
                if known is None or (incarnation, seq) > (known.incarnation, known.seq):
                    if known is not None and incarnation > known.incarnation:
                        self._displaced(runner, known, now)
                    listed = known.listed_at if known is not None else {}
                    known = _Known(incarnation, seq, now, listed)
                    self._known[dispatcher.epoch, runner] = known
                    known.lists(message.held, now)
            case Heartbeat(incarnation=incarnation, seq=seq):
                if known is not None and known.incarnation == incarnation and seq > known.seq:
                    known.seq, known.heard_at = seq, now
                    known.lists(message.held, now)
            case Bye(incarnation=incarnation, returning=returning):
                if known is not None and known.incarnation == incarnation:
                    known.bye_at, known.returning = now, returning
            case Finished(outcome="lost" | "cancelled" as outcome):
                self._gone.add((message.job, message.attempt))
                if outcome == "cancelled":
                    self._taken.add((message.job, message.attempt))
            case Rejected():
                self._rejected.add((message.job, message.attempt))
            case _:
                pass

    def _displaced(self, runner: str, known: _Known, now: int) -> None:
        """A later start of a runner is welcomed: the earlier one must be gone, or seem so."""
        seems_gone = known.closed_at is not None and known.closed_at >= known.heard_at
        if known.bye_at is not None or seems_gone or now - known.heard_at >= 2 * self.world.policy.heartbeat_ms:
            return
        agents = [host.agent for host in self.world.hosts if host.key == runner and host.agent is not None]
        there = [agent for agent in agents if agent.state.incarnation == known.incarnation and agent.line is not None]
        require(not there, "L6", f"{runner[-4:]} was displaced by a copy of itself while it was there")

    def saw_close(self, dispatcher: Dispatcher, runner: str) -> None:
        known = self._known.get((dispatcher.epoch, runner))
        if known is not None:
            known.closed_at = dispatcher.now()

    def ordered(self, runner: str) -> None:
        """Somebody wants something of a runner."""
        self._ordered_at[runner] = self.world.schedule.now

    def ordered_lately(self, runner: str) -> bool:
        at = self._ordered_at.get(runner)
        return at is not None and self.world.schedule.now - at < _ORDER_MS

    # ---- losses and reruns ---------------------------------------------------------------------------------

    def changed(self, dispatcher: Dispatcher, before: Attempt | None, attempt: Attempt) -> None:
        """An attempt is new or has changed; what it replaces is still in the ledger of the checkers."""
        if before is None:
            known = self._known.get((dispatcher.epoch, attempt.runner))
            require(known is not None, "L6", f"{attempt.job}#{attempt.number} went to a runner that was never heard")
            assert known is not None
            self._anchors[attempt.id] = (dispatcher.epoch, known.heard_at)
            self._heard_lately(dispatcher, known, attempt)
            if attempt.number > 1:
                self._rerun(attempt)
        if attempt.state == AttemptState.LOST and (before is None or before.state in OPEN):
            self._lost(dispatcher, before, attempt)

    def _heard_lately(self, dispatcher: Dispatcher, known: _Known, attempt: Attempt) -> None:
        """What is handed to a runner whose lease would be over already is as good as lost."""
        silent_ms = attempt.assigned_at - known.heard_at
        silent_ms -= dispatcher.away_between(known.heard_at, attempt.assigned_at)
        name = f"{attempt.job}#{attempt.number}"
        patience_ms = self.world.policy.lease_ms + self.world.policy.margin_ms
        require(silent_ms < patience_ms, "L6", f"{name} went to {attempt.runner_name}, silent for {silent_ms} ms")

    def _lost(self, dispatcher: Dispatcher, before: Attempt | None, attempt: Attempt) -> None:
        name = f"{attempt.job}#{attempt.number}"
        if attempt.id in self._rejected or attempt.id in self._gone:
            return
        if attempt.id in self.world.checkers.secrets.doubted and (
            before is None or before.state == AttemptState.ASSIGNED
        ):
            self._taken.add(attempt.id)
            return
        known = self._known.get((dispatcher.epoch, attempt.runner))
        assert attempt.finished_at is not None, f"{name} is lost at no time"
        if known is not None and known.bye_at is not None:
            self._taken.add(attempt.id)
        policy, at = self.world.policy, attempt.finished_at
        handed_out = before is None or before.state == AttemptState.ASSIGNED
        if known is not None and (self._excused(known, attempt, at) or self._closed(known, attempt, handed_out)):
            return
        patience_ms = policy.lease_ms
        if known is None:
            # Never heard since this process began, so the process's own absence counts first.
            since, patience_ms = dispatcher.born_at, policy.lease_ms + policy.restart_grace_ms
        elif handed_out:
            since = known.heard_at
        elif attempt.id in known.listed_at:
            since = known.listed_at[attempt.id]
        else:
            # Accepted and not listed yet: its lease counts from the runner's last word before it was handed out.
            epoch, heard_at = self._anchors[attempt.id]
            since = heard_at if epoch == dispatcher.epoch else dispatcher.born_at
        silent_ms = at - since - dispatcher.away_between(since, at)
        require(
            silent_ms >= patience_ms,
            "L6",
            f"{name} was given up after {silent_ms} ms of silence, of {patience_ms}: {attempt.reason}",
        )

    def _excused(self, known: _Known, attempt: Attempt, at: int) -> bool:
        """Whether the runner's own words, or its connection's end, were reason enough."""
        policy = self.world.policy
        if known.incarnation > attempt.incarnation and attempt.id not in known.last:
            return True
        away_ms = 0 if known.bye_at is None else at - known.bye_at
        return known.bye_at is not None and (not known.returning or away_ms >= policy.returning_ms * 9 // 10)

    def _closed(self, known: _Known, attempt: Attempt, handed_out: bool) -> bool:
        """Whether the runner's connection closed, and no word that would have renewed the attempt came since."""
        at, closed_at = attempt.finished_at, known.closed_at
        if closed_at is None or at is None or at - closed_at < self.world.policy.suspect_ms * 9 // 10:
            return False
        return closed_at >= (known.heard_at if handed_out else known.listed_at.get(attempt.id, 0))

    def _rerun(self, attempt: Attempt) -> None:
        """A job is tried again: its last attempt must give a reason, and its limits must leave room."""
        checkers, policy = self.world.checkers, self.world.policy
        spec = checkers.jobs[attempt.job].spec
        earlier = [checkers.attempts[attempt.job, number] for number in range(1, attempt.number)]
        states = Counter(each.state for each in earlier)
        last = earlier[-1]
        checkers.secrets.tried_again(last)
        name = f"{attempt.job}#{attempt.number}"
        uncounted = self._rejected | self._taken
        lost = [each for each in earlier if each.state == AttemptState.LOST and each.id not in uncounted]
        match last.state:
            case AttemptState.FAILED:
                cause, room = "failed", states[AttemptState.FAILED] <= spec.retry
            case AttemptState.ERRORED:
                cause, room = "errored", states[AttemptState.ERRORED] < policy.errored_max
            case AttemptState.LOST if last.id in self._rejected:
                cause, room = "refused", True
            case AttemptState.LOST:
                early = {each.runner for each in lost if _early(each, policy.poison_ms)}
                unheld = int(attempt.job.partition("/")[0]) in self.unheld
                tolerant = len(lost) < policy.lost_max and len(early) < policy.poison_runners
                cause, room = (
                    "lost",
                    tolerant if spec.on_runner_loss == "retry" else spec.on_runner_loss == "hold" and unheld,
                )
            case _:
                cause, room = str(last.state), False
        require(room, "L7 I12", f"{name} was handed out after attempt {last.number}, which was {cause}: {dict(states)}")
        self.counted[cause] += 1


def _early(attempt: Attempt, poison_ms: int) -> bool:
    """Whether a runner was lost so soon after it accepted the attempt that the attempt is suspect."""
    if attempt.accepted_at is None or attempt.finished_at is None:
        return False
    return attempt.finished_at - attempt.accepted_at < poison_ms
