"""Secrets, modelled: how a dispatcher's hands come by those that an order asks for, and what must be true of it.

What belongs here: the contract of `hands.entrusting`, invented secrets, and the outside checks of both. What does not:
what becomes of a job that gets none, which is the mind's to decide.

The contract: an order of a trusted job that asks for secrets is said when they are there, each time that it is wanted
anew. Where they cannot be had the mind is told (`Withheld`), and whether the attempt's runner may have got it: if it
was said before, by this process or by one before it. The first answer for an attempt decides: what was taken back is
not said, although the mind, which waits for its disk, may not have heard of that yet.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from surveil.core.events import Withheld
from surveil.core.model import Attempt, AttemptId, AttemptState
from surveil.frozen import replace
from surveil.protocol import Assign, JobSpec, SecretUse
from tests.simulation.options import Options
from tests.simulation.truth import Work
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.dispatcher import Dispatcher
    from tests.simulation.world import World

SET: Final = "SET"
REFUSED: Final = "REFUSED"
"""It is for other jobs, and stays so."""
FAR: Final = "FAR"
"""It lies in a Vault that does not always answer."""
ENVELOPE: Final = "sealed"
_ANSWER_MS: Final = 3_000
_AWAY_PM: Final = 500


def with_secrets(options: Options, dice: Random, jobs: tuple[JobSpec, ...]) -> tuple[JobSpec, ...]:
    """Let some jobs ask for a secret."""
    if not options.secrets_pm:
        return jobs
    return tuple(
        replace(job, secrets=(SecretUse(name=dice.choice((SET, SET, FAR, FAR, REFUSED)), env="TOKEN"),))
        if dice.randrange(1000) < options.secrets_pm
        else job
        for job in jobs
    )


class Entrusting:
    """What the hands of one dispatcher do with orders that ask for secrets."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._world = dispatcher.world
        assigned = [key for key, one in dispatcher.state.attempts.items() if one.state == AttemptState.ASSIGNED]
        self._told: dict[AttemptId, bool] = dict.fromkeys(assigned, True)

    def takes(self, runner: str, order: Assign) -> bool:
        """Whether this order needs secrets; then it is said with them, or taken back."""
        wanted = bool(order.spec.secrets) and order.trusted
        if wanted:
            self._world.schedule.after(self._world.secret_dice.randint(1, _ANSWER_MS), self._answered, runner, order)
        return wanted

    def _answered(self, runner: str, order: Assign) -> None:
        dispatcher, world = self._dispatcher, self._world
        if not dispatcher.alive:
            return
        if dispatcher.paused:
            dispatcher.when_it_goes_on(lambda: self._answered(runner, order))
            return
        attempt, name = (order.job, order.attempt), order.spec.secrets[0].name
        away = name == FAR and world.faulty and world.secret_dice.randrange(1000) < _AWAY_PM
        if name == REFUSED or away:
            told = self._told.setdefault(attempt, False)
            world.checkers.secrets.withheld(dispatcher, attempt, again=away, told=told)
            dispatcher.take(Withheld(job=order.job, attempt=order.attempt, reason="no secret", again=away, told=told))
            return
        present = dispatcher.state.attempts.get(attempt)
        if present is None or present.state != AttemptState.ASSIGNED:
            return
        if self._told.setdefault(attempt, True):
            dispatcher.say_order(runner, replace(order, envelope=ENVELOPE))


class Secrets:
    """The outside checks (I16)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._withheld: dict[AttemptId, bool] = {}
        """The attempts that were taken back, and whether there was a hope."""
        self.doubted: set[AttemptId] = set()
        """Those that may have been told, and are not told again."""

    def withheld(self, dispatcher: Dispatcher, attempt: AttemptId, *, again: bool, told: bool) -> None:
        """The hands say that an attempt gets none.

        A deposed process is not judged by it. It knows nothing of what its successor has told, and its mind takes back
        in memory alone: it writes nothing any more (I10).
        """
        if dispatcher.epoch != self._world.store.epoch:
            return
        if told:
            self.doubted.add(attempt)
            return
        name = f"{attempt[0]}#{attempt[1]}"
        require(attempt not in self._world.truth.works, "I16", f"{name} is taken back, and was begun")
        self._withheld[attempt] = again

    def began(self, work: Work) -> None:
        """An attempt's processes begin: with what they asked for, if they are trusted, and not without."""
        name, store = f"{work.job}#{work.attempt}", self._world.store
        job = store.jobs[work.job]
        trusted = store.builds[job.build].trusted
        wants = bool(job.spec.secrets) and trusted
        require(work.entrusted == wants, "I16", f"{name} has secrets: {work.entrusted}; it should: {wants}")
        require(not wants or job.spec.secrets[0].name != REFUSED, "I16", f"{name} began, and may not have its secret")
        recorded = store.attempts[work.job, work.attempt]
        over = recorded.state == AttemptState.ERRORED and (work.job, work.attempt) in self._withheld
        require(not over, "I16", f"{name} begins after it was taken back")

    def ended(self, attempt: Attempt) -> None:
        """An attempt is recorded with another state."""
        work, name = self._world.truth.works.get(attempt.id), f"{attempt.job}#{attempt.number}"
        unheard = attempt.state == AttemptState.ERRORED and attempt.accepted_at is None
        taken_back = unheard and attempt.id in self._withheld
        require(not taken_back or work is None, "I16", f"{name} is recorded as taken back, and was begun")
        unsure = unheard and attempt.id in self.doubted
        runs = work is not None and work.alive
        require(not unsure or not runs, "I16", f"{name} is taken back, and runs")

    def tried_again(self, last: Attempt) -> None:
        """A job is handed out once more after this attempt."""
        hopeless = last.state == AttemptState.ERRORED and self._withheld.get(last.id) is False
        require(not hopeless, "I16", f"{last.job} is tried again, although it may not have its secret")
