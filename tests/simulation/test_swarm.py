"""Thousands of worlds, none of which may break a promise. `--seeds N` runs more of them, `--seed K` one."""

from tests.simulation.swarm import Failure, run_seeds


def test_every_world_keeps_every_promise(seeds: range) -> None:
    outcomes = run_seeds(seeds)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert not failures, "\n\n".join(failure.report for failure in failures[:3])
    assert sum(outcome.attempts for outcome in outcomes if not isinstance(outcome, Failure)) > 0
