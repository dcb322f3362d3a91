"""Builds by UUID."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from surveil.web.ids import build_of, uuid_of

CLUSTER = "6f1c0d6e7a9b4c0e8f3a2b1c0d9e8f7a"


@given(st.integers(1, 2**53), st.text(min_size=1, max_size=40))
def test_a_uuid_leads_back_to_its_build(build: int, cluster: str) -> None:
    made = uuid_of(build, cluster)
    assert str(uuid.UUID(made)) == made
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (8, uuid.RFC_4122)
    assert build_of(made, cluster) == build


def test_a_uuid_of_another_installation_names_nothing_here() -> None:
    assert build_of(uuid_of(7, CLUSTER), "another") is None
    assert build_of(str(uuid.uuid4()), CLUSTER) is None


def test_a_number_is_its_own_name_and_anything_else_is_none() -> None:
    assert build_of("7", CLUSTER) == 7
    for text in ("", "0", "000", uuid_of(0, CLUSTER), "-7", "7.0", "\u0667", "9" * 40, "main", "0x7"):
        assert build_of(text, CLUSTER) is None
