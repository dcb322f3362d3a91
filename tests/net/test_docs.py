"""docs/protocol.md says what the code does: each message, each field, its default, and who may say what."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

import pytest

from surveil import protocol
from surveil.core.peers import Role
from surveil.net.admission import ALLOWED_ON_BULK, ALLOWED_ON_CONTROL, ALLOWED_TO_STRANGERS, Stranger

PAGE: Final = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
PARTS: Final = (
    protocol.JobSpec, protocol.StepSpec, protocol.StepReport, protocol.Remark, protocol.Held, protocol.Ref,
    protocol.WatchedRepo, protocol.Case, protocol.Tally, protocol.ArtifactSpec, protocol.CacheSpec, protocol.ImageSpec,
    protocol.TakenArtifact, protocol.SecretUse, protocol.ServiceSpec, protocol.JobOutput, protocol.ShardResult,
)  # fmt: skip
DOCUMENTED: Final[tuple[type[Any], ...]] = (*protocol.TYPES.values(), *PARTS)
SECTIONS: Final = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def rows(section: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE))


def test_every_message_and_part_has_a_section_and_no_other_has() -> None:
    assert sorted(SECTIONS) == sorted(kind.__name__ for kind in DOCUMENTED)


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__name__)
def test_every_field_is_there_with_its_optionality(kind: type[Any]) -> None:
    documented = rows(SECTIONS[kind.__name__])
    assert list(documented) == [field.name for field in fields(kind)]
    hints = get_type_hints(kind)
    for field in fields(kind):
        has_default = "`=`" in documented[field.name]
        assert has_default == (field.default is not MISSING), f"{field.name} and its default"
        if hints[field.name] is not Any:
            assert ("?" in documented[field.name]) == (NoneType in get_args(hints[field.name])), (
                f"{field.name} and null"
            )


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__name__)
def test_every_choice_of_a_closed_set_is_there(kind: type[Any]) -> None:
    documented = rows(SECTIONS[kind.__name__])
    for name, hint in get_type_hints(kind).items():
        choices = get_args(hint)
        if choices and all(isinstance(choice, str) for choice in choices):
            assert re.findall(r"`(\w+)`", documented[name]) == list(choices)


def test_the_limits_are_those_of_the_code() -> None:
    assert protocol.MESSAGE_BYTES_MAX == 2**20
    assert protocol.CHUNK_BYTES_MAX == 2**18
    assert "at most 1 MiB in all its frames, 3 frames, and 256 KiB of output" in PAGE
    assert f"in version {protocol.VERSION}." in PAGE


@pytest.mark.parametrize("role", [*Role, Stranger.role])
def test_the_table_of_roles_is_the_one_that_is_enforced(role: str) -> None:
    row = re.search(rf"^\| {role} \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    on_control = {str(known): allowed for known, allowed in ALLOWED_ON_CONTROL.items()}
    on_control[Stranger.role] = ALLOWED_TO_STRANGERS
    on_bulk = {str(known): allowed for known, allowed in ALLOWED_ON_BULK.items()}
    for cell, allowed in zip(row.groups(), (on_control, on_bulk), strict=True):
        assert set(re.findall(r"`(\w+)`", cell)) == {kind.__name__ for kind in allowed.get(role, ())}
