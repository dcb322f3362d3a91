"""The way of test results to the disk: from the bulk socket to the store, past the mind, and back as `CasesKept`.

What belongs here: whose results they are, and how many. What does not: rows (`store.cases`), and who is answered when
(`desk`). Nothing is acknowledged before it is durable.
"""

from __future__ import annotations

from typing import Final

from surveil.hands.desk import Desk
from surveil.insight.gathering import KEPT_MAX, WRONG_KEPT_MAX
from surveil.protocol import PRINTED_MAX, Cases, CasesKept, Refused
from surveil.say import Voice
from surveil.store import StoreError

RESULTS_MAX: Final = KEPT_MAX + WRONG_KEPT_MAX

voice = Voice("testing")


class CaseIntake(Desk[Cases]):
    """Writes results."""

    kind = Cases
    pending_max = 32

    def answer(self, runner: str, said: Cases) -> CasesKept | Refused | None:
        """Up to where the results are kept, once they are."""
        upto = said.at + len(said.cases)
        try:
            if refused := self._not_its_own(runner, said):
                return refused
            if upto > RESULTS_MAX:
                return Refused(reason=f"an attempt may have {RESULTS_MAX} test results, and this one says {upto}")
            kept = self._store.add_cases((said.job, said.attempt), said.at, said.cases, said.tally)
        except StoreError as error:
            voice.error("test results cannot be written; they wait with their runner", reason=error)
            return None
        if not kept:
            return Refused(reason=f"the test results of an attempt may have printed {PRINTED_MAX} characters together")
        return CasesKept(job=said.job, attempt=said.attempt, upto=upto, whole=said.tally is not None)
