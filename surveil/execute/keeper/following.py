"""Which steps run after what became of those before them, and what all of them came to.

What belongs here: these rules. What does not: running steps (`keeper`), and what of a step's condition the commit
decides, which is known when the keeper gets its order (`core.decisions`). Imports only what a keeper may import.

An end from outside, of the time or by a person, leaves steps that clean up a bounded time: after the attempt's timeout
`OVERTIME_MS`, after a cancellation what is left of its grace. Where the attempt is lost, or its machine does not do its
part, nothing more is started.
"""

from __future__ import annotations

from typing import Final

from surveil.execute.files import StepOrder
from surveil.execute.keeper.endings import End

OVERTIME_MS: Final = 30_000
"""How long steps may take together that run after the attempt's time is up. Its agent kills the keeper after a minute.
"""
OVERTIME_WORDS: Final = "it was ended: what runs when the job's time is up, or when it is cancelled, has to be brief"
_AFTER: Final = {
    "passed": frozenset({"passed"}),
    "failed": frozenset({"failed"}),
    "always": frozenset({"passed", "failed", "cancelled"}),
}


def is_next(step: StepOrder, so_far: End) -> bool:
    """Whether a step runs after this."""
    return not step.skipped and so_far.outcome in _AFTER[step.when]


def why_not(step: StepOrder, so_far: End) -> str:
    """Why it does not, where that is not plain to see; else empty."""
    if step.skipped:
        return f"skipped: {step.skipped}"
    return "skipped: no step before it failed" if step.when == "failed" and so_far.outcome == "passed" else ""


def together(so_far: End, end: End) -> End:
    """What the steps came to, with one that ended so. The first trouble counts, unless nobody asks for it any more."""
    return end if so_far.outcome == "passed" or end.outcome in {"cancelled", "lost"} else so_far
