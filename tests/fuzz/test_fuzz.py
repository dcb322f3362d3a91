"""The fuzzers, for a short while each; and whether they would say so if something were wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fuzz.campaign import ROOT, fuzz, has_engine
from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import ALONE, SHORT, TARGETS

SECONDS = 20
PATIENCE_S = 60
"""So long at most until a planted mistake is found; it takes a second or two."""

needs_engine = pytest.mark.skipif(
    not has_engine(),
    reason="atheris, the fuzzers' engine, has wheels for Linux on x86-64 and Python 3.11 to 3.13; type "
    "'pip install atheris' with one of those",
)


@needs_engine
@pytest.mark.long
@pytest.mark.timeout(SECONDS + 180)
@pytest.mark.parametrize("target", SHORT)
def test_nothing_is_found_in_twenty_seconds(target: str) -> None:
    outcome = fuzz(target, SECONDS)
    assert outcome.complaint == ""
    # An engine that sees nothing of the product, or tries nothing, finds nothing either.
    assert outcome.coverage > 0
    assert outcome.runs > len(list(TARGETS[target].seeds()))


@needs_engine
@pytest.mark.long
@pytest.mark.timeout(PATIENCE_S + 180)
@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    planted = PLANTED[mistake]
    outcome = fuzz(planted.target, PATIENCE_S, planted=mistake)
    assert outcome.found is not None, outcome.complaint
    assert f"replay: python -m tests.fuzz --replay {planted.target}" in outcome.complaint
    # Without the mistake the same input is harmless: what was found is the mistake and nothing else.
    TARGETS[planted.target].check(outcome.found)


def test_a_planted_mistake_takes_some_searching() -> None:
    """None of the bytes to begin with comes upon it, so finding it is the engine's doing."""
    story = """
from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import TARGETS
planted = PLANTED["integers are not looked at"]
planted.plant()
for seed in TARGETS[planted.target].seeds():
    TARGETS[planted.target].check(seed)
"""
    # In a process of its own: codecs that are made under a mistake keep it.
    subprocess.run([sys.executable, "-c", story], cwd=ROOT, check=True)


@pytest.mark.parametrize("target", ALONE)
def test_what_a_fuzzer_begins_with_is_in_order(target: str) -> None:
    seeds = list(TARGETS[target].seeds())
    assert len(set(seeds)) > 20
    for seed in seeds:
        TARGETS[target].check(seed)


def test_every_target_has_its_turn_in_a_short_run() -> None:
    assert {part for name in SHORT for part in TARGETS[name].parts} == set(ALONE)
