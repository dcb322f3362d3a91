"""The rounds of a campaign: work, a fault, healing, the end of everything, and judgement.

What belongs here: the order of these, and what a round found. What does not: faults, rules, and the command line.
"""

import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final

from surveil.core.model import AttemptState
from tests.campaign import evidence as look
from tests.campaign.cluster import PATIENCE_S, Cluster
from tests.campaign.evidence import Evidence, Verdicts
from tests.campaign.faults import Kind, Struck
from tests.campaign.invariants import Complaint, judge
from tests.campaign.measures import Measure, measure
from tests.campaign.truth import boot_ms
from tests.campaign.workload import Workload

DRAIN_S: Final = 75.0
"""How long everything may take to come to its end after a fault was healed: a lease with its margin, the grace after a
restart, a few attempts, and as much again because processors may be shared."""
_LOOK_S: Final = 0.2
_SPARE_S: Final = 5.0
_PUSH_S: Final = 0.5
"""During a fault of at least this length somebody pushes."""


@dataclass(kw_only=True)
class Round:
    """What one round was."""

    number: int
    kinds: list[str]
    struck: list[Struck] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)
    evidence: Evidence | None = None
    measure: Measure | None = None
    seconds: float = 0.0

    @property
    def what(self) -> str:
        """What was done, in a sentence."""
        return "; ".join(struck.what for struck in self.struck) or "nothing was struck"


class Campaign:
    """Rounds on one cluster."""

    def __init__(self, cluster: Cluster, kinds: dict[str, Kind]) -> None:
        self.cluster = cluster
        self.kinds = kinds
        self.settings = cluster.settings
        self.workload = cluster.workload = Workload(cluster, Random(f"workload {self.settings.seed}"))
        self.rounds: list[Round] = []
        self._before: Verdicts = {}
        self._seen = 0
        self._position = 0

    def run(self, names: Iterator[list[str]], *, bad_in_a_row: int = 1) -> Iterator[Round]:
        """One round for each list of kinds; ends after so many rounds with complaints, one after the other."""
        bad = 0
        for number, kinds in enumerate(names, start=1):
            this = Round(number=number, kinds=kinds)
            self.rounds.append(this)
            began_at = time.monotonic()
            try:
                self._round(this)
            except Exception:  # noqa: BLE001  whatever the frame or a kind stumbles over is shown with the seed
                this.complaints.append(Complaint("frame", traceback.format_exc()))
            this.seconds = time.monotonic() - began_at
            yield this
            bad = bad + 1 if this.complaints else 0
            if bad == bad_in_a_row:
                return

    def last(self) -> list[Complaint]:
        """Judge everything once more, from the first build on: nothing of it may have changed since."""
        found = self._gather([], after=0)
        found.excused = None
        struck = [each for this in self.rounds for each in this.struck]
        found.cut = _names(each.cut for each in struck)
        found.paused = _names(each.paused for each in struck)
        found.forgotten = tuple(span for each in struck for span in each.forgotten)
        return [each for each in judge(found) if each.rule != "L6"]

    # ---- one round -------------------------------------------------------------------------------------------------

    def _round(self, this: Round) -> None:
        dice = Random(f"round {self.settings.seed} {this.number} {' '.join(this.kinds)}")
        self.workload.begin(dice.randint(2, max(2, self.settings.pushes)))
        if not self.cluster.truth.wait(lambda works: any(w.ended_at is None for w in works), PATIENCE_S):
            this.complaints.append(Complaint("L1", "nothing that was pushed began to run"))
            return
        time.sleep(dice.uniform(0.0, self.settings.pause_s))
        self.cluster.taken.clear()
        try:
            for name in this.kinds:
                this.struck.append(self.kinds[name].strike(self.cluster, dice))
            self._hold(max((struck.hold_s for struck in this.struck), default=0.0))
        finally:
            for struck in reversed(this.struck):
                struck.heal()
        this.complaints += self._drain(max((struck.patience_s for struck in this.struck), default=0.0))
        this.evidence = self._gather(this.struck, after=self._seen)
        this.complaints += [] if this.complaints else judge(this.evidence)
        this.complaints += self._asked_of_kinds(this)
        this.measure = measure(this.kinds, this.struck, this.evidence)
        self._before |= this.evidence.verdicts()
        self._seen = max([self._seen, *(detail.build.id for detail in this.evidence.builds)])
        self.workload.mark()

    def _asked_of_kinds(self, this: Round) -> Iterator[Complaint]:
        assert this.evidence is not None
        states = {attempt.id: attempt.state for attempt in this.evidence.attempts}
        for struck in this.struck:
            for sentence in struck.check(this.evidence):
                yield Complaint("kind", sentence)
            for each in struck.lost:
                ended = any(work.told_end for work in this.evidence.works_of(each))
                gone = states.get(each) in {AttemptState.LOST, AttemptState.CANCELLED}
                if not ended and not gone:
                    yield Complaint("kind", f"{each} was to be lost, and is {states.get(each)}")

    def _hold(self, seconds: float) -> None:
        until_at = time.monotonic() + seconds
        if seconds >= _PUSH_S:
            self.workload.push("quick")
        while (left := until_at - time.monotonic()) > 0:
            self.workload.tend()
            time.sleep(min(left, _LOOK_S))

    def _drain(self, more_s: float) -> list[Complaint]:
        """Let everything come to its end; what is wrong if it does not."""
        dead = [role.name for role in self.cluster.roles if not role.alive]
        if dead:
            return [Complaint("frame", f"after healing, {dead} do not run: {self._last_words(dead)}")]
        end = time.monotonic() + DRAIN_S + more_s
        while time.monotonic() < end:
            self.workload.tend()
            if self.workload.is_over() and not self._unsettled():
                return []
            time.sleep(_LOOK_S)
        open_ = "" if self.workload.is_over() else f" {self.cluster.reader.counts()}"
        return [
            Complaint("L1", f"after {DRAIN_S + more_s:.0f} s: {self._unsettled() or 'something is not built'}{open_}")
        ]

    def _unsettled(self) -> str:
        """What is still to happen on the runners, in words."""
        online = self.cluster.online()
        away = [role.name for role in self.cluster.runners if role.name not in online]
        if away:
            return f"{', '.join(away)} not online"
        busy = {name: left for name, left in self.cluster.left().items() if left}
        return f"{busy} left over" if busy else ""

    def _last_words(self, names: list[str]) -> str:
        said = {role.name: role.said()[-500:] for role in self.cluster.roles if role.name in names}
        return "; ".join(f"{name} said {words!r}" for name, words in said.items())

    def _gather(self, struck: list[Struck], after: int) -> Evidence:
        cluster = self.cluster
        builds = look.stored_builds(cluster.reader, after)
        numbers = {detail.build.id for detail in builds}
        notes, self._position = look.stored_notes(cluster.reader, self._position)
        excused = None if any(each.excused is None for each in struck) else _names(each.excused for each in struck)
        return Evidence(
            builds=builds,
            notes=notes,
            runners=cluster.reader.runners(),
            works=[work for work in cluster.truth.works() if work.build in numbers],
            logs=look.stored_logs(cluster.dispatcher.data / "logs", (a for d in builds for a in d.attempts)),
            pushes=self.workload.pushes[0 if after == 0 else self.workload.marked :],
            wishes=[wish for wish in self.workload.wishes if wish.build > after],
            excused=excused,
            fenced=any(each.fenced for each in struck),
            paused=_names(each.paused for each in struck),
            forgotten=tuple(span for each in struck for span in each.forgotten),
            slots=self.settings.slots,
            lost_max=self.settings.policy.lost_max,
            cut=_names(each.cut for each in struck),
            interrupted=_names(each.interrupted for each in struck),
            spooled={name: size for role in cluster.runners for name, size in role.host.spooled.items()},
            wall_minus_boot_ms=time.time_ns() // 1_000_000 - boot_ms(),
            before=self._before,
            left=self._left(),
        )

    def _left(self) -> dict[str, list[str]]:
        """What stays on the runners. A spare work tree that is made just now is no attempt's, and its git ends."""
        end = time.monotonic() + _SPARE_S
        while any((left := self.cluster.left()).values()) and time.monotonic() < end:
            time.sleep(_LOOK_S)
        return left


def _names(groups: Iterable[Iterable[str] | None]) -> frozenset[str]:
    return frozenset(name for group in groups for name in group or ())
