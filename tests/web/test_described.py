"""The API does what its description says: nothing that anybody may send makes it fail, or answer what is not said there
(S30 of the threat model).
"""

from __future__ import annotations

import pytest

from tests.web.described import holes
from tests.web.stage import Stage

PARTS = 3
EXAMPLES = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_no_request_that_may_come_is_answered_in_a_way_that_is_not_described(stage: Stage, part: int) -> None:
    asked = list(holes(stage, slice(part, None, PARTS), examples=EXAMPLES))
    assert len(asked) > 10
    assert [each.label for each in asked if not each.sent] == []
    assert [f"{each.label}: {wrong}" for each in asked for wrong in each.wrong.values()] == []
