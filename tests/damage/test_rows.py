"""No bit that flips in the database is believed: what it changed is refused, or nothing was changed by it."""

from pathlib import Path

import pytest

from tests.damage.rows import Flips

pytestmark = pytest.mark.timeout(300)
FLIPS = 100


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 4))])
def test_no_bit_that_flips_in_the_database_is_believed(tmp_path: Path, seed: int) -> None:
    flips = Flips(tmp_path, seed)
    assert isinstance(flips.was, dict), f"the database is refused as it is: {flips.was}"
    assert [wrong for _ in range(FLIPS) if (wrong := flips.strike()) is not None] == []
    assert flips.seen["refused"] > FLIPS // 4, f"hardly any of them did harm: {flips.seen}"
