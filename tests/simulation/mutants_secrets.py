"""Bugs planted into what becomes of orders whose secrets cannot be had. A list and nothing else."""

from __future__ import annotations

from tests.simulation.mutation import Mutant

SECRETS: tuple[Mutant, ...] = (
    Mutant(
        name="hopeless secrets tried again",
        sentence="a job that may not have its secret is tried again",
        place="surveil.core.dispatch:_withhold",
        old="again=event.again",
        new="again=True",
        seeds=(11, 23),
        rule="I16",
    ),
    Mutant(
        name="told attempts taken back",
        sentence="an attempt whose runner may have begun is taken back for want of secrets",
        place="surveil.core.dispatch:_withhold",
        old="if event.told:",
        new="if False:",
        seeds=(33,),
        rule="I16",
    ),
    Mutant(
        name="told attempts said for ever",
        sentence="an order that may have been lost is said again for ever, though its secrets cannot be had any more",
        place="surveil.core.attempts:doubt",
        old="state.repeats.discard(attempt.id)",
        new="",
        seeds=(117, 979),
        rule="L1",
    ),
    Mutant(
        name="told attempts renewed",
        sentence="each beat of a runner renews an attempt that it is not told again",
        place="surveil.core.pool:_take_stock",
        old=" and attempt.id not in state.untold",
        new="",
        seeds=(91, 33),
        rule="L1",
    ),
    Mutant(
        name="taken back, and said",
        sentence="of two answers for one attempt the first takes it back, and the second tells its runner",
        place="tests.simulation.entrusting:Entrusting._answered",
        old="if self._told.setdefault(attempt, True):",
        new="if self._told.setdefault(attempt, True) or True:",
        seeds=(13807,),
        rule="I16",
    ),
    Mutant(
        name="strangers get secrets",
        sentence="what strangers wrote runs with secrets",
        place="tests.simulation.entrusting:Entrusting.takes",
        old=" and order.trusted",
        new="",
        seeds=(14, 64),
        rule="I16",
    ),
)
