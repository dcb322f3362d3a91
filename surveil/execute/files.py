"""What agent and keeper tell each other through an attempt's folder: the order, the status, and two named pipes.

What belongs here: names and shapes of these files. What does not: when they are written (`keeper`, `process`). Imports
only what a keeper may import.

The folder: `accepted.json` (the agent's own note of the assignment), `order.json` (what the keeper is to do; that
it exists means that a keeper was or is about to be started), `lock` (held by the living keeper, whose process id it
holds), `status.json` (how the attempt stands; the keeper's last act is the final one), `spool` (the log), `control`
(a named pipe to the keeper), `collected.json` (the agent's own note that all is kept that is to be kept of the work).
Beside all the folders, the named pipe `bell` tells the agent which attempt has news.
"""

# ruff: noqa: PTH118  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar, get_origin, get_type_hints

from surveil.disk import open_plain, write_whole
from surveil.sealing import sealed, unsealed

ACCEPTED: Final = "accepted.json"
ORDER: Final = "order.json"
LOCK: Final = "lock"
STATUS: Final = "status.json"
COLLECTED: Final = "collected.json"
SPOOL: Final = "spool"
CONTROL: Final = "control"
BELL: Final = "bell"
TROUBLE: Final = "trouble"
"""What a keeper that failed by a mistake of ours leaves behind for people to read."""
RESERVE: Final = "reserve"
RESERVE_BYTES: Final = 384 * 1024
"""Held back so that a result can be written on a full disk; more than any status of 256 steps, and outputs of 64 KiB in
which each character is escaped.
"""
NUMBER_MAX: Final = 2**53
"""As in messages."""


class StepOrder(NamedTuple):
    """One step as the keeper needs it. `argv` is complete; `timeout_ms` 0 means none. It runs `when` the steps before
    it passed or one of them failed, or always; or not at all, where it is `skipped` for that reason.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    timeout_ms: int
    continue_on_error: bool
    when: str = "passed"
    skipped: str = ""


class ServiceOrder(NamedTuple):
    """A service of the attempt, whose container waits for what it is to run: `argv` with the variables `env` and, of
    the attempt's secrets, those in the variables `secrets`.

    It is ready when the words of `health` end with 0 there, or something listens on one of the `ports`; with neither,
    when it runs. The other fields are those of an order, of its own container.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    secrets: list[str]
    cwd: str
    health: list[str]
    ports: list[int]
    interval_ms: int
    ready_ms: int
    container: str
    first_process: int
    cgroups: Sequence[str]
    memory_bytes: int
    processes: int
    image: str
    """The digest of its image."""


class DiskOrder(NamedTuple):
    """What the job in a container may write: so many bytes more than there were, below these `folders` and in the own
    layer of the `container`, which the `engine` at this socket measures.
    """

    bytes_max: int
    folders: list[str]
    engine: str
    container: str


class Order(NamedTuple):
    """One attempt as the keeper needs it. Instants are milliseconds since the machine's start, suspended time
    included.
    """

    cwd: str
    steps: list[StepOrder]
    timeout_ms: int
    accepted_boot_ms: int
    lease_until_boot_ms: int | None
    log_bytes_max: int
    bell: str
    isolation: str
    sandbox: list[str]
    """The command line of bubblewrap, but for its last words; empty for steps that are not kept apart."""
    cgroups: Sequence[str] = ()
    """The folders of the attempt's control groups."""
    secrets: str = ""
    """The folder in memory for files that hold secrets; empty where there are none."""
    memory_bytes: int = 0
    processes: int = 0
    outputs: str = ""
    """The file to which steps write what they put out."""
    container: str = ""
    """The folder of the pipes to the first process of the attempt's container; empty for steps that have none."""
    first_process: int = 0
    """That process, where it can be seen from here; 0 where it cannot."""
    services: Sequence[ServiceOrder] = ()
    disk: DiskOrder | None = None


class RemarkStatus(NamedTuple):
    """What the keeper says of a step's output; the fields of the protocol's `Remark`."""

    at: int
    after_ms: int
    text: str


class StepStatus(NamedTuple):
    """How a step stands; the fields of the protocol's `StepReport`."""

    name: str
    state: str
    exit_code: int | None = None
    started_after_ms: int | None = None
    finished_after_ms: int | None = None
    log_at: int | None = None
    remarks: list[RemarkStatus] = []  # noqa: RUF012  # no keeper changes a list, it makes another one
    image: str = ""


class OutputStatus(NamedTuple):
    """What the job puts out under a name; the fields of the protocol's `JobOutput`."""

    name: str
    value: str


class Status(NamedTuple):
    """How an attempt stands. With an `outcome` it is final."""

    outcome: str
    reason: str
    exit_code: int | None
    started_after_ms: int | None
    finished_after_ms: int
    log_bytes: int
    steps: list[StepStatus]
    isolation: str
    outputs: list[OutputStatus] = []  # noqa: RUF012  # no keeper changes a list, it makes another one
    blameless: bool = False
    """Of one that errored: whether the machine has no part in it."""


_Noted = TypeVar("_Noted", Status, StepStatus, RemarkStatus, OutputStatus)


def write_order(folder: str, order: Order) -> None:
    """Write the keeper's order. Raises OSError."""
    parts = {"steps": [*map(StepOrder._asdict, order.steps)], "services": [*map(ServiceOrder._asdict, order.services)]}
    fields = order._asdict() | parts | {"disk": None if order.disk is None else order.disk._asdict()}
    write_fields(os.path.join(folder, ORDER), fields, sync=False)


def read_order(folder: str) -> Order:
    """Read what `write_order` wrote. Raises OSError and ValueError."""
    fields = read_fields(os.path.join(folder, ORDER))
    try:
        services = [ServiceOrder(**service) for service in fields.get("services", ())]
        parts = {"steps": [StepOrder(**step) for step in fields["steps"]], "services": services}
        return Order(**fields | parts | {"disk": DiskOrder(**disk) if (disk := fields.get("disk")) else None})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{folder}/{ORDER} is not an order: {error}") from error


def write_status(folder: str, status: Status, *, sync: bool) -> None:
    """Write how the attempt stands; with `sync`, it survives the machine's power. Raises OSError."""
    steps = [step._asdict() | {"remarks": [remark._asdict() for remark in step.remarks]} for step in status.steps]
    outputs = [output._asdict() for output in status.outputs]
    write_fields(os.path.join(folder, STATUS), status._asdict() | {"steps": steps, "outputs": outputs}, sync=sync)


def read_status(folder: str) -> Status | None:
    """Read what `write_status` wrote last; None if it never did. Raises OSError and ValueError."""
    try:
        fields = read_fields(os.path.join(folder, STATUS))
    except FileNotFoundError:
        return None
    try:
        steps = [_step_of(step) for step in fields["steps"]]
        # A keeper of an earlier version puts nothing out.
        outputs = [_checked(OutputStatus(**output)) for output in fields.get("outputs", ())]
        return _checked(Status(**fields | {"steps": steps, "outputs": outputs}))
    except (TypeError, KeyError) as error:
        raise ValueError(f"{folder}/{STATUS} is not a status: {error}") from error


def _step_of(fields: Any) -> StepStatus:
    if not isinstance(fields, dict):
        raise TypeError("a step is no object")
    # A keeper of an earlier version makes no remarks.
    remarks = [_checked(RemarkStatus(**remark)) for remark in fields.get("remarks", ())]
    return _checked(StepStatus(**fields | {"remarks": remarks}))


def _checked(record: _Noted) -> _Noted:
    """The same record. Raises TypeError where a field holds what it cannot: it would be said to the dispatcher as it
    stands, and be refused there each time.
    """
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if not isinstance(value, list if get_origin(hint) is list else hint) or isinstance(value, bool) != (
            hint is bool
        ):
            raise TypeError(f"{name} is of type {type(value).__name__}")
        least = -NUMBER_MAX if name == "exit_code" else 0
        if isinstance(value, int) and not least <= value <= NUMBER_MAX:
            raise TypeError(f"{name} is {value}")
    return record


def write_fields(path: str, fields: dict[str, Any], *, sync: bool) -> None:
    """Put a JSON file in the place of the old one, whole or not at all. Raises OSError."""
    write_whole(path, sealed(fields), sync=sync)


def read_fields(path: str) -> dict[str, Any]:
    """Read what `write_fields` wrote. Raises OSError, and ValueError where it is damaged."""
    with open(path, "rb", opener=open_plain) as file:
        content = file.read()
    try:
        return unsealed(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
