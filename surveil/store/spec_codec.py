"""What jobs were asked for, to rows and back.

What belongs here: the text of a spec, which is found by its digest, and what keeps that digest the same from version to
version. What does not: jobs themselves, which hold the digest (`codec`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from surveil.protocol import (
    ArtifactSpec,
    CacheSpec,
    ImageSpec,
    JobSpec,
    SecretUse,
    StepSpec,
    pack_part,
    unpack_part,
)

_ALWAYS: Final[Mapping[type, frozenset[str]]] = {
    JobSpec: frozenset({
        "name", "needs", "when", "labels", "env", "timeout_ms", "retry", "on_runner_loss", "steps", "matrix",
    }),
    StepSpec: frozenset({"name", "run", "shell", "timeout_ms", "continue_on_error", "env"}),
    ArtifactSpec: frozenset({"name", "paths", "required", "retention_ms"}),
    CacheSpec: frozenset({"key", "restore_keys", "paths"}),
    ImageSpec: frozenset({"name", "pull", "cpu_thousandths", "memory_bytes", "processes"}),
    SecretUse: frozenset({"name", "env", "file", "place"}),
}  # fmt: skip
"""The fields that the first version stored of each part. Whatever came later, and all other parts, are stored where
they say something: else a job that an earlier version stored would have another digest now, and could not change any
more.
"""

_Rule: TypeAlias = tuple[frozenset[str], Mapping[str, Any]]
_RULES: Final[dict[type, _Rule]] = {}
_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def spec_row(spec: JobSpec) -> tuple[bytes, str]:
    """A spec's digest and its text."""
    body = _dumps(_said(spec, pack_part(spec)))
    return sha256(body.encode()).digest(), body


def spec_of(body: str, digest: bytes) -> JobSpec:
    """Read a spec.

    Raises:
        ProtocolError: the text was not written by this version of surveil.
        ValueError: the disk changed it, and other commands would be run than were meant.
    """
    if not is_spec(body, digest):
        raise ValueError("a job's commands are not those that were stored")
    return unpack_part(JobSpec, json.loads(body))


def is_spec(body: str, digest: bytes) -> bool:
    """Whether a text is that of the spec with this digest."""
    return sha256(body.encode()).digest() == digest


def _said(part: Any, packed: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a part that are always stored, and of the others those that say something."""
    always, silent = _rule(type(part))
    # Lists of parts are packed as lists, and their defaults are tuples.
    return {
        name: _within(getattr(part, name), value)
        for name, value in packed.items()
        if name in always or (value != silent[name] and value != [])
    }


def _within(value: Any, packed: Any) -> Any:
    if isinstance(packed, dict) and is_dataclass(value):
        return _said(value, packed)
    if isinstance(packed, list) and packed and isinstance(packed[0], dict):
        return [_said(each, fields_of) for each, fields_of in zip(value, packed, strict=True)]
    return packed


def _rule(kind: type) -> _Rule:
    """Which fields of a kind of part are always stored, and what says nothing in the others."""
    if kind not in _RULES:
        known = fields(kind)
        required = frozenset(field.name for field in known if field.default is MISSING)
        _RULES[kind] = _ALWAYS.get(kind, required), {field.name: field.default for field in known}
    return _RULES[kind]
