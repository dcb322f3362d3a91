"""Bugs planted into what keeps two machines with one data folder apart. A list and nothing else."""

from __future__ import annotations

from tests.simulation.mutation import Mutant

COPIES_MIND = "surveil.core.copies"
POOL = "surveil.core.pool"
RUN_MIND = "surveil.core.run"

COPIES: tuple[Mutant, ...] = (
    Mutant(
        name="copy welcomed",
        sentence="whoever has a runner's key and its incarnation is the runner",
        place=f"{COPIES_MIND}:turn_away",
        old="if known is None or (said.incarnation == known.incarnation and known.birth in {said.birth, None}):",
        new="if known is None or said.incarnation == known.incarnation:",
        seeds=(347,),
        rule="L6",
    ),
    Mutant(
        name="birth forgotten",
        sentence="which process was welcomed is not on disk",
        place=f"{POOL}:hello",
        old=" birth=said.birth,",
        new=" birth=None,",
        seeds=(347,),
        rule="L6",
    ),
    Mutant(
        name="later start displaces at once",
        sentence="a copy that was started more often takes the place of a runner that is there",
        place=f"{COPIES_MIND}:_may_live",
        old="return session.connected",
        new="return False and session.connected",
        seeds=(9, 14, 23),
        rule="L6",
    ),
    Mutant(
        name="earlier start not told",
        sentence="a runner whose incarnation is over beats and hears nothing",
        place=f"{POOL}:heartbeat",
        old="if session is None or session.incarnation != said.incarnation:",
        new="if session is not None and session.incarnation > said.incarnation:\n        return []\n"
        "    if session is None or session.incarnation != said.incarnation:",
        argued="it runs on alone for ten minutes, longer than any world lasts, on a machine of "
        "which the end takes care",
    ),
    Mutant(
        name="exclusive work taken from an earlier start",
        sentence="an exclusive attempt that a later start does not hold is given up before its lease is over",
        place=f"{POOL}:_lose_absent",
        old="if not state.jobs[attempt.job].spec.exclusive:",
        new="if True:",
        seeds=(150,),
        rule="I7",
    ),
    Mutant(
        name="fenced runner goes on",
        sentence="a runner that was refused for a copy of itself does not end",
        place=f"{RUN_MIND}:_refused",
        old="if message.birth != state.birth:",
        new="if True:",
        seeds=(106, 20, 42, 44),
        rule="L2",
    ),
    Mutant(
        name="another's refusal obeyed",
        sentence="a runner ends because a copy of it was refused",
        place=f"{RUN_MIND}:_refused",
        old="if message.birth != state.birth:",
        new="if False:",
        argued="a refusal goes back on the connection that its cause came on, so another process hears it only "
        "where words of one connection come out of another: then it starts again, and nothing is lost",
    ),
)
