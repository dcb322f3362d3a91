"""Power is lost at any moment, and everything that was promised until then is there."""

from pathlib import Path

import pytest

from tests.disks.needs import ON_A_DISK_OF_OURS
from tests.power.__main__ import losses, traced

pytestmark = [
    pytest.mark.timeout(300),
    ON_A_DISK_OF_OURS,
]
EACH = 0.15
"""Of seven steps one: several hundred losses in a few seconds. `python -m tests.power` takes all."""


@pytest.mark.parametrize("seed", range(3))
def test_what_was_promised_outlives_a_loss_of_power_at_any_step(tmp_path: Path, seed: int) -> None:
    lost = list(losses(traced(tmp_path, seed), seed, each=EACH, left=tmp_path / "left"))
    assert len(lost) > 50
    assert [(at, problems) for at, problems in lost if problems] == []


def test_a_machine_that_puts_nothing_on_the_platter_is_caught(tmp_path: Path) -> None:
    lost = list(losses(traced(tmp_path, 1, "lying"), 1, each=EACH, left=tmp_path / "left"))
    said = "\n".join(sentence for _, problems in lost for sentence in problems)
    for word in ("log of build", "incarnation", "tombstone", "key"):
        assert word in said
