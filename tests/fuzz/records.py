"""The store's records: every record that the minds can make comes back from its row as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from surveil.codec import Matches, Most
from surveil.core.model import Attempt, Build, Job, Note, Runner
from surveil.core.peers import Peer
from surveil.protocol import JobSpec, StepReport, StepSpec
from surveil.store import Token, codec, spec_codec
from surveil.store.sums import Guard, Row
from tests.fuzz.draw import Draw

KINDS: Final[tuple[type, ...]] = (Build, JobSpec, Job, Attempt, Runner, Note, Peer, Token)

SHAPED: Final = ("0123456789abcdef" * 4, "a" * 40, "k" * 40, "1/test", "7/☃", "")
"""Texts that fit whatever has to look like something: the minds make no others."""


def check(data: bytes) -> None:
    """Make a record, its row, and a record of that."""
    draw = Draw(data)
    kind = draw.pick(KINDS)
    record = made(kind, draw)
    match record:
        case Build():
            assert (
                codec.build_of(read(codec.BUILDS, codec.BUILD_COLUMNS, codec.build_row(record)), record.jobs) == record
            )
        case JobSpec():
            digest, body = spec_codec.spec_row(record)
            assert spec_codec.spec_of(body, digest) == record
        case Job():
            digest, body = spec_codec.spec_row(record.spec)
            row = read(codec.JOBS, codec.JOB_COLUMNS, codec.job_row(record, digest))
            assert codec.job_of(row, record.repo, {digest: spec_codec.spec_of(body, digest)}) == record
        case Attempt():
            assert codec.attempt_of(read(codec.ATTEMPTS, codec.ATTEMPT_COLUMNS, codec.attempt_row(record))) == record
        case Runner():
            assert codec.runner_of(codec.runner_row(record)) == record
        case Note():
            assert codec.note_of(codec.note_row(1, record)) == record
        case Peer():
            assert codec.peer_of(codec.peer_row(record)) == record
        case Token():
            assert codec.token_of(codec.token_row(record)) == record


def read(guard: Guard, columns: Sequence[str], row: Row) -> Row:
    """A row as the table returns it that was written by these columns."""
    written = dict(zip(columns, row, strict=True))
    return tuple(written[column.name] for column in guard.table.c)


def seeds() -> Iterator[bytes]:
    """Each kind, with a little to go on."""
    for kind in range(len(KINDS)):
        for start in range(0, 250, 12):
            yield bytes([kind]) + bytes((start + 31 * step) % 256 for step in range(120))


def made(hint: Any, draw: Draw) -> Any:
    """A value as the annotation says."""
    if get_origin(hint) is Annotated:
        inner, limit = get_args(hint)
        if isinstance(limit, Matches):
            return draw.pick([text for text in SHAPED if re.fullmatch(limit.pattern, text)])
        found = made(inner, draw)
        return found[: limit.items] if isinstance(limit, Most) and not isinstance(found, dict) else found
    if get_origin(hint) is Literal:
        return draw.pick(get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not type(None)]
        return None if draw.flag() else made(inner, draw)
    if get_origin(hint) is tuple:
        return tuple(draw.many(lambda: made(get_args(hint)[0], draw), 3))
    if hint is int:
        return min(abs(draw.number()), 2**53)
    if hint is str:
        return draw.text()
    if hint is bool:
        return draw.flag()
    if hint is bytes:
        return draw.some(32)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return draw.pick(list(hint))
    if hasattr(hint, "__dataclass_fields__"):
        return _record(hint, draw)
    return {draw.text(): draw.text() for _ in range(draw.byte() % 3)}


def _record(kind: type, draw: Draw) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    values = {field.name: made(hints[field.name], draw) for field in fields(kind)}
    build, name = 1 + draw.byte(), draw.pick(("test", "a b", "☃", "1", "x/y"))
    if kind is Job:
        values |= {"id": f"{build}/{name}", "build": build, "spec": made(JobSpec, draw)}
        spec = values["spec"]
        values["spec"] = type(spec)(
            **{each.name: getattr(spec, each.name) for each in fields(JobSpec)} | {"name": name}
        )
    if kind is Attempt:
        values["job"] = f"{build}/{name}"
    assert kind not in {StepSpec, StepReport} or values
    return kind(**values)
