"""Many worlds, one after the other or side by side: what each came to, and what all of them amount to.

What belongs here: running seeds and reporting on them. What does not: what a world is (world), and what must
hold in it (checkers, ending).
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.options import Options, draw
from tests.simulation.violation import ViolationError
from tests.simulation.world import Figures, World

_CHUNK = 20
_SHOWN = 60
"""So many of the last happenings are shown with a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A world in which something was wrong."""

    seed: int
    rule: str
    sentence: str
    report: str


def live(options: Options) -> Figures | Failure:
    """Let one world run its course."""
    world: World | None = None
    try:
        world = World(options)
        return world.run()
    except ViolationError as violation:
        return _failure(options, world, violation.rule, violation.sentence)
    except Exception as error:  # noqa: BLE001  whatever a mind raises is a defect that this seed has found
        where = traceback.extract_tb(error.__traceback__)[-1]
        sentence = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
        return _failure(options, world, "crash", sentence, "".join(traceback.format_exception(error)))


def _failure(options: Options, world: World | None, rule: str, sentence: str, more: str = "") -> Failure:
    happenings = list(world.traced)[-_SHOWN:] if world is not None else []
    lines = [
        f"seed {options.seed}: {rule}: {sentence}",
        f"replay: python -m tests.simulation --seed {options.seed} --trace",
        f"options: {' '.join(options.sentences())}",
        *(f"{at:>8} {who:<12} {what}" for at, who, what in happenings),
        more,
    ]
    return Failure(seed=options.seed, rule=rule, sentence=sentence, report="\n".join(lines))


def run_seeds(seeds: Iterable[int]) -> list[Figures | Failure]:
    """Let the worlds of these seeds run their course, one after the other."""
    return [live(draw(seed)) for seed in seeds]


def run_many(seeds: range, jobs: int) -> Iterator[list[Figures | Failure]]:
    """The same in several processes; results come in chunks, in the order of the seeds."""
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from map(run_seeds, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run_seeds, chunks)


@dataclass(slots=True)
class Total:
    """What many worlds amount to."""

    seeds: int = 0
    simulated_ms: int = 0
    happenings: int = 0
    builds: int = 0
    attempts: int = 0
    overlaps: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: Figures | Failure) -> None:
        self.seeds += 1
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            return
        self.simulated_ms += outcome.simulated_ms
        self.happenings += outcome.happenings
        self.builds += outcome.builds
        self.attempts += outcome.attempts
        self.overlaps += outcome.overlaps
        self.causes.update(outcome.causes)

    def sentence(self) -> str:
        reruns = ", ".join(f"{count} {cause}" for cause, count in sorted(self.causes.items()))
        return (
            f"{self.seeds} seeds, {self.simulated_ms / 3_600_000:.1f} simulated hours, {self.happenings} happenings, "
            f"{self.builds} builds, {self.attempts} attempts; tried again: {reruns or 'none'}; "
            f"{self.overlaps} overlaps with a lost attempt; {len(self.failures)} violations"
        )
