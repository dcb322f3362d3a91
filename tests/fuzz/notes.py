"""The small files that processes leave for each other and for themselves: each is read, or refused by its error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from surveil.core.observe_model import Record
from surveil.errors import InfrastructureError, NotFoundError
from surveil.execute import attempts, files
from surveil.execute.identity import IDENTITY, Identity, read_identity, write_identity
from surveil.execute.workspace import Workspace
from surveil.hands.records import Records
from surveil.net.known import FILE_NAME, load_known
from surveil.protocol import Assign, Finished, decode, encode
from surveil.sealing import sealed, unsealed
from tests.fuzz.disks import emptied
from tests.fuzz.draw import Draw
from tests.wire.samples import SAMPLES

ASSIGN: Final = next(sample for sample in SAMPLES if isinstance(sample, Assign))
STEP: Final = files.StepStatus("Tests", "failed", 1, 5, 90, 0)
STATUS: Final = files.Status("failed", "it ended with 1", 1, 5, 90, 700, [STEP], "process")
STEP_ORDER: Final = files.StepOrder("Tests", ["sh", "-eu"], {"A": "b"}, 0, False)
ORDER: Final = files.Order("/w", [STEP_ORDER], 60_000, 1, None, 1_000, "/bell", "process", [])
IDENTITY_OF: Final = Identity(incarnation=3, cluster="c", name="n", labels=("linux",))
TEXT_CHARS_MAX: Final = 4096
REPO: Final = "/srv/repo"


def check(data: bytes) -> None:
    """Put something into a file, and read it as what it should be."""
    draw = Draw(data)
    name, write, read = READERS[draw.byte() % len(READERS)]
    folder = emptied()
    write(folder)
    path = folder / name if name else Records(folder).path(REPO)
    match draw.byte() % 3:
        case 0:
            path.write_bytes(draw.rest())
        case 1:
            path.write_bytes(draw.edited(path.read_bytes()))
        case _:
            # With a seal that fits, as of another version: only what it says is strange.
            changed = _changed(unsealed(path.read_bytes()), draw)
            path.write_bytes(sealed(changed) if isinstance(changed, dict) else json.dumps(changed).encode())
    path.chmod(0o600)
    read(folder)


def seeds() -> Iterator[bytes]:
    """Each file as it should be, and with what should not be in it."""
    for number, (name, write, _) in enumerate(READERS):
        folder = emptied()
        write(folder)
        path = folder / name if name else Records(folder).path(REPO)
        yield bytes([number, 0]) + path.read_bytes()
        yield bytes([number, 0]) + b"[" * 3_000
        yield bytes([number, 0]) + b'{"incarnation": Infinity}'
        for way in (1, 2):
            for start in range(0, 250, 25):
                yield bytes([number, way]) + bytes((start + 13 * step) % 256 for step in range(40))


def _changed(value: Any, draw: Draw) -> Any:
    """A document with other values here and there."""
    if draw.seldom(8):
        return draw.value()
    match value:
        case dict():
            return {key: _changed(inner, draw) for key, inner in value.items() if not draw.seldom(32)}
        case list():
            return [_changed(inner, draw) for inner in value]
        case _:
            return value


def _read_status(folder: Path) -> None:
    try:
        status = files.read_status(str(folder))
    except (OSError, ValueError):
        return
    assert status is not None
    ended = attempts.ended(("1/test", 1), status)
    if ended is None:
        return
    # What was read is said to the dispatcher as it stands.
    said = Finished(
        job="1/test", attempt=1, outcome=ended.outcome, reason=ended.reason[:TEXT_CHARS_MAX], exit_code=ended.exit_code,
        started_after_ms=ended.started_after_ms, finished_after_ms=ended.finished_after_ms, log_bytes=ended.log_bytes,
        steps=tuple(step for step in ended.steps if len(step.name) <= TEXT_CHARS_MAX)[:256],
        isolation=ended.isolation[:TEXT_CHARS_MAX],
    )  # fmt: skip
    assert decode(encode(said)) == said


def _read_order(folder: Path) -> None:
    try:
        order = files.read_order(str(folder))
    except (OSError, ValueError):
        return
    files.write_order(str(folder), order)
    # As JSON has it, where a number that is none does not equal itself, and a tuple is a list.
    assert json.dumps(files.read_order(str(folder))) == json.dumps(order)


def _write_accepted(folder: Path) -> None:
    attempts.Folder(assign=ASSIGN, path=folder, workspace=Workspace.below(folder / "w"), accepted_boot_ms=5).write()


def _read_accepted(folder: Path) -> None:
    found = attempts.Folder.read(folder, folder / "w")
    assert found is None or isinstance(found.assign, Assign)


def _read_identity(folder: Path) -> None:
    try:
        identity = read_identity(folder)
    except InfrastructureError:
        return
    write_identity(folder, identity)
    assert read_identity(folder) == identity


def _write_known(folder: Path) -> None:
    fields = {"address": "tcp://127.0.0.1:7300", "server_key": "k" * 40, "cluster": "c", "pid": 5}
    (folder / FILE_NAME).write_text(json.dumps(fields))


def _read_known(folder: Path) -> None:
    try:
        known = load_known(folder)
    except (InfrastructureError, NotFoundError):
        return
    known.save(folder)
    assert load_known(folder) == known


def _read_record(folder: Path) -> None:
    records = Records(folder)
    try:
        record = records.read(REPO)
    except InfrastructureError:
        return
    assert record is not None
    records.write(record)
    assert records.read(REPO) == record


READERS: Final[tuple[tuple[str, Callable[[Path], None], Callable[[Path], None]], ...]] = (
    (files.STATUS, lambda folder: files.write_status(str(folder), STATUS, sync=False), _read_status),
    (files.ORDER, lambda folder: files.write_order(str(folder), ORDER), _read_order),
    (files.ACCEPTED, _write_accepted, _read_accepted),
    (IDENTITY, lambda folder: write_identity(folder, IDENTITY_OF), _read_identity),
    (FILE_NAME, _write_known, _read_known),
    (
        "",
        lambda folder: Records(folder).write(
            Record(repo=REPO, patterns=("main",), head_owed=True, refs={"refs/heads/main": "a" * 40})
        ),
        _read_record,
    ),
)
