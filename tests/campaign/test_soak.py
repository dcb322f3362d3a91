"""What the soak calls growth."""

from random import Random

import pytest

from tests.campaign.soak import LIMITS, Sample, slope, table


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
