"""What the soak calls growth."""

import os
import re
import tempfile
from pathlib import Path
from random import Random

import pytest

import surveil
from tests.campaign.soak import CEILINGS, LIMITS, POOLS, POOLS_ELSEWHERE, Sample, descriptors, slope, table

SOURCES = Path(surveil.__file__).parent


def samples(grows: float) -> list[Sample]:
    dice = Random(1)
    return [
        Sample(minute / 60, {("runners", "memory"): 80 + grows * minute / 60 + dice.uniform(-3, 3)})
        for minute in range(120)
    ]


@pytest.mark.parametrize("grows", [0.0, 20.0, -5.0])
def test_a_slope_is_what_something_grows_by_in_an_hour_whatever_the_noise(grows: float) -> None:
    points = [(each.hours, each.values["runners", "memory"]) for each in samples(grows)]
    assert slope(points) == pytest.approx(grows, abs=1.5)


def test_a_slope_of_next_to_nothing_is_none() -> None:
    assert slope([(0.0, 1.0), (1.0, 9.0)]) == 0.0


def test_what_grows_faster_than_its_limit_is_told() -> None:
    limit = LIMITS["runners", "memory"]
    assert table(samples(limit / 4))[1] == []
    (said,) = table(samples(limit * 2))[1]
    assert "memory of the runners grows by" in said


def test_a_little_noise_in_a_short_soak_is_no_growth() -> None:
    short = [Sample(second / 3600, {("runners", "threads"): 9.0 + (second > 30)}) for second in range(0, 60, 10)]
    points = [(each.hours, each.values["runners", "threads"]) for each in short]
    assert slope(points) > LIMITS["runners", "threads"]
    assert table(short)[1] == []


def test_the_warm_up_does_not_count() -> None:
    steep = [Sample(minute / 60, {("runners", "memory"): min(80.0, 30.0 + 5 * minute)}) for minute in range(120)]
    assert table(steep)[1] == []


def filling(hours: float, most: float) -> list[Sample]:
    """A pool that gets one thread more now and then."""
    first = most - 8
    return [Sample(hours * n / 100, {("dispatcher", "threads"): first + n * 8 // 99}) for n in range(100)]


def test_what_fills_up_to_its_ceiling_is_no_growth_until_it_had_time_to_be_full() -> None:
    ceiling = CEILINGS["dispatcher", "threads"]
    assert table(filling(0.5, ceiling))[1] == []
    (said,) = table(filling(2.0, ceiling))[1]
    assert "threads of the dispatcher grows by" in said


def test_what_is_above_its_ceiling_is_told_however_short_it_was() -> None:
    ceiling = CEILINGS["dispatcher", "threads"]
    (said,) = table(filling(0.5, ceiling + 1))[1]
    assert said == f"threads of the dispatcher came to {ceiling + 1}, of at most {ceiling} ever"
    early = filling(0.5, ceiling)
    early[0].values["dispatcher", "threads"] = ceiling + 1
    assert table(early)[1] == [said], "before the warm-up is over, too"


def test_bundles_are_no_other_descriptors(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    before, none = descriptors(os.getpid(), data)
    assert none == 0
    with tempfile.TemporaryFile(dir=data), tempfile.TemporaryFile(dir=tmp_path), (data / "named").open("w"):
        assert descriptors(os.getpid(), data) == (before + 2, 1)
    assert descriptors(os.getpid(), data) == (before, 0)


def test_the_ceilings_know_of_every_pool_of_threads() -> None:
    known = {module for pools in POOLS.values() for module in pools}
    made = {
        ".".join(("surveil", *path.relative_to(SOURCES).with_suffix("").parts))
        for path in SOURCES.rglob("*.py")
        if re.search(r"ThreadPoolExecutor\(|threading\.Thread\(", path.read_text())
    }
    assert made - POOLS_ELSEWHERE == known
    assert made >= POOLS_ELSEWHERE
