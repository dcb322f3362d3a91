"""Every message that processes of surveil say to each other: its fields, their limits, and its bytes.

What belongs here: the wire vocabulary, `encode` and `decode`. What does not: who may say what (net), what it means (core), sockets (net).

A message is two or three frames: a header (`SV`, the protocol's version, the message's type), a msgpack map of its fields, and for messages
that carry bulk (`Output`, `Answer`) the raw bytes. Fields that a newer peer adds are ignored; a type or version that is not known is a
`ProtocolError`, as is any value outside its limit. Messages are facts and orders, and each may come twice.

Durations travel, times do not: clocks of two machines never meet. `after_ms` counts from the moment the runner accepted the attempt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgpack

from surveil.errors import ProtocolError

VERSION: Final = 1
MESSAGE_BYTES_MAX: Final = 1024 * 1024
CHUNK_BYTES_MAX: Final = 256 * 1024
PIPELINE_BYTES_MAX: Final = 256 * 1024
HELD_MAX: Final = 4096
FRAMES_MAX: Final = 3

_MAGIC: Final = b"SV"
_HEADER_BYTES: Final = 4
_INT_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class _Most:
    """A limit on the length of a text, a list or a map."""

    items: int


@dataclass(frozen=True, slots=True)
class _Matches:
    """A regular expression that a text matches as a whole."""

    pattern: str


Name: TypeAlias = Annotated[str, _Most(200)]
"""A name that people chose: of a runner, a job, a label."""
Text: TypeAlias = Annotated[str, _Most(4096)]
"""A sentence, an address, a ref."""
Script: TypeAlias = Annotated[str, _Most(PIPELINE_BYTES_MAX)]
Key: TypeAlias = Annotated[str, _Matches(r"[!-~]{40}")]
"""A CURVE public key in z85: 40 printable characters."""
Sha: TypeAlias = Annotated[str, _Matches(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")]
JobId: TypeAlias = Annotated[str, _Matches(r"[1-9][0-9]{0,15}/[^\x00-\x1f\x7f]{1,255}")]
"""`BUILD/NAME`."""
Env: TypeAlias = Annotated[Mapping[str, Script], _Most(1000)]
Names: TypeAlias = Annotated[tuple[Name, ...], _Most(256)]

Outcome: TypeAlias = Literal["passed", "failed", "errored", "cancelled", "lost"]
StepState: TypeAlias = Literal["pending", "running", "passed", "failed", "errored", "cancelled", "skipped"]


# ---- parts of messages --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One command of a job. `timeout_ms` 0 means that only the job's own limit holds; `shell` empty means `sh -eu`."""

    name: Text
    run: Script
    shell: Text = ""
    timeout_ms: int = 0
    continue_on_error: bool = False
    env: Env


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One node of a build's graph, as the pipeline file asked for it, after expansion of its matrix."""

    name: Name
    needs: Names = ()
    when: Literal["passed", "always"] = "passed"
    labels: Names = ()
    env: Env
    timeout_ms: int
    retry: int = 0
    on_runner_loss: Literal["retry", "fail", "hold"] = "retry"
    steps: Annotated[tuple[StepSpec, ...], _Most(256)]
    matrix: Env

    @property
    def exclusive(self) -> bool:
        """Whether the runner must end the job itself when its lease runs out, so that no two tries ever overlap."""
        return self.on_runner_loss != "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How a step stands. Its output starts at byte `log_at` of the attempt's log; `after_ms` values count from the acceptance."""

    name: Text
    state: StepState
    exit_code: int | None = None
    started_after_ms: int | None = None
    finished_after_ms: int | None = None
    log_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An attempt that a runner still answers for: accepted, running, or finished and not yet released."""

    job: JobId
    attempt: int
    finished: bool
    log_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """An attempt by name, in lists."""

    job: JobId
    attempt: int
    log_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRepo:
    """How a repository looks to its observer; `problem` is a sentence when the last poll failed."""

    repo: Text
    problem: Text | None = None


Refs: TypeAlias = Annotated[tuple[Ref, ...], _Most(HELD_MAX)]
HeldList: TypeAlias = Annotated[tuple[Held, ...], _Most(HELD_MAX)]
StepReports: TypeAlias = Annotated[tuple[StepReport, ...], _Most(256)]


# ---- runner to dispatcher -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """I am here, this is my `incarnation`, and this is all that I hold. Said at each start, reconnection and `Introduce`."""

    name: Name
    software: Name
    host: Name
    cluster: Name
    incarnation: int
    seq: int
    labels: Names
    slots: int
    held: HeldList
    mirrors: Annotated[tuple[Text, ...], _Most(1000)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """I was alive when I sent number `seq`. The only renewal of leases; `free` is how many more attempts I would take now."""

    incarnation: int
    seq: int
    held: HeldList
    free: int
    load_percent: int
    disk_free_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The attempt is mine: its tombstone is on my disk, and its work begins."""

    job: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """I will not run this attempt; the tombstone is on my disk all the same."""

    job: JobId
    attempt: int
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The steps of a running attempt as they stand; a newer one makes an older one needless."""

    job: JobId
    attempt: int
    steps: StepReports


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What the attempt really did. Repeated until `Release`."""

    job: JobId
    attempt: int
    outcome: Outcome
    reason: Text
    exit_code: int | None
    started_after_ms: int | None
    finished_after_ms: int
    log_bytes: int
    steps: StepReports
    isolation: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes `at` and on of an attempt's log, with their CRC-32; repeated until `Kept`. Travels on the bulk connection."""

    job: JobId
    attempt: int
    at: int
    crc: int
    after_ms: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """I stop. With `returning`, what I hold goes on without me and I will come back for it."""

    incarnation: int
    returning: bool


# ---- dispatcher to runner -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to `Hello`: how to behave, which attempts are still yours (with how much of their log is kept), which are not."""

    cluster: Name
    epoch: int
    incarnation: int
    seq: int
    heartbeat_ms: int
    lease_ms: int
    bulk_port: int
    renewed: Refs
    revoked: Refs
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The answer to `Heartbeat`: the leases of `renewed` run from the moment `seq` was sent; `revoked` are no longer yours."""

    epoch: int
    seq: int
    renewed: Refs
    revoked: Refs


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduce:
    """I do not know this connection: say `Hello`."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Too many of you at once: say `Hello` again in a while."""

    retry_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """Run this attempt. Its first lease runs from the moment the runner sent heartbeat or hello number `anchor`."""

    epoch: int
    incarnation: int
    anchor: int
    job: JobId
    attempt: int
    build: int
    repo: Text
    ref: Text
    sha: Sha
    spec: JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End the attempt: ask its processes, and after `grace_ms` make them."""

    job: JobId
    attempt: int
    grace_ms: int
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The attempt's result is on disk, or makes no difference any more: forget it once its log is kept."""

    job: JobId
    attempt: int
    fate: Literal["recorded", "duplicate", "stale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The attempt's log is on disk up to byte `upto`: continue from there. Travels on the bulk connection."""

    job: JobId
    attempt: int
    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Take nothing new; with `stop`, end when the last attempt is released."""

    stop: bool = False


# ---- observer and dispatcher --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSeen:
    """A ref now points here. `mid` names the fact and makes repeating it harmless; repeated until `Seen`.

    `pipeline` is the text of the pipeline file called `pipeline_file`, or what zero-configuration `rule` wrote in its stead, or None with
    the `problem` that a person must solve.
    """

    mid: Text
    repo: Text
    ref: Text
    sha: Sha
    event: Literal["push", "manual"]
    message: Text
    author: Text
    pipeline: Script | None
    pipeline_file: Text
    rule: Text = ""
    problem: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The fact is on disk: you may forget it. `build` is its build, 0 where it made none."""

    mid: Text
    build: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What this observer watches, said now and then for people to read."""

    repos: Annotated[tuple[WatchedRepo, ...], _Most(1000)]


# ---- clients, strangers and everybody -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A client's question or wish; `what` names it (see `surveil.answer`), `about` holds its arguments."""

    id: int
    what: Name
    about: Annotated[Mapping[str, Any], _Most(64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to `Ask` number `id`: JSON-like `body` and raw `data`, or an `error` sentence with its exit code."""

    id: int
    body: Any = None
    error: Text = ""
    exit_code: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrol:
    """A stranger shows the secret of a join token, and asks that its key be known as `name` from now on."""

    secret: Annotated[bytes, _Most(64)]
    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The key is known now, in this role; `labels` are those that the token grants."""

    cluster: Name
    name: Name
    role: Literal["runner", "observer", "client"]
    labels: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What you said was not acted on; saying it again will not help. `exit_code` is what a command should end with."""

    reason: Text
    exit_code: int = 5


FromRunner: TypeAlias = Hello | Heartbeat | Accepted | Rejected | Progress | Finished | Bye
ToRunner: TypeAlias = Welcome | Beat | Introduce | Busy | Assign | Cancel | Release | Drain
Message: TypeAlias = (
    FromRunner | Output | ToRunner | Kept | CommitSeen | Seen | Watching | Ask | Answer | Enrol | Enrolled | Refused
)

TYPES: Final[Mapping[int, type[Message]]] = {
    0x01: Hello, 0x02: Heartbeat, 0x03: Accepted, 0x04: Rejected, 0x05: Progress, 0x06: Finished, 0x07: Output, 0x08: Bye,
    0x11: Welcome, 0x12: Beat, 0x13: Introduce, 0x14: Busy, 0x15: Assign, 0x16: Cancel, 0x17: Release, 0x18: Kept, 0x19: Drain,
    0x21: CommitSeen, 0x22: Seen, 0x23: Watching,
    0x31: Ask, 0x32: Answer,
    0x41: Enrol, 0x42: Enrolled, 0x43: Refused,
}  # fmt: skip
"""The type byte of each message. A number, once released, is never given to another message."""


# ---- encoding -----------------------------------------------------------------------------------------------------------------------


def encode(message: Message) -> list[bytes]:
    """Turn a message into its frames.

    Raises:
        ProtocolError: the message is larger than `MESSAGE_BYTES_MAX`, so that no peer would take it.
    """
    codec = _CODECS[type(message)]
    body = codec.pack(message)
    frames = [codec.header, msgpack.packb(body)]
    if codec.bulk:
        frames.append(message.data)  # type: ignore[union-attr]  # only messages with a `data` field are bulk
    if sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a {type(message).__name__} message would be larger than {MESSAGE_BYTES_MAX} bytes")
    return frames


def decode(frames: Sequence[bytes]) -> Message:
    """Turn frames from a peer into a message.

    Raises:
        ProtocolError: the frames are not a message of this protocol, for whatever reason; nothing else is ever raised.
    """
    if not 2 <= len(frames) <= FRAMES_MAX or sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a message is 2 or 3 frames of at most {MESSAGE_BYTES_MAX} bytes together, not {len(frames)} frames")
    codec = _codec_of(frames[0])
    if len(frames) != (3 if codec.bulk else 2):
        raise ProtocolError(f"a {codec.name} message does not have {len(frames)} frames")
    return codec.unpack(_unpack_map(frames[1]), frames[2] if codec.bulk else None)


def _codec_of(header: bytes) -> _Codec:
    if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
        raise ProtocolError("the peer does not speak surveil's protocol")
    if header[2] != VERSION:
        raise ProtocolError(
            f"the peer speaks version {header[2]} of the protocol, this process version {VERSION}: "
            "install the same version of surveil on both machines"
        )
    kind = TYPES.get(header[3])
    if kind is None:
        raise ProtocolError(f"message type {header[3]:#04x} is not known to this version of surveil")
    return _CODECS[kind]


def _unpack_map(frame: bytes) -> dict[str, Any]:
    try:
        body = msgpack.unpackb(
            frame, raw=False, strict_map_key=True, use_list=True, max_str_len=PIPELINE_BYTES_MAX, max_bin_len=1024,
            max_array_len=HELD_MAX, max_map_len=1024, max_ext_len=0,
        )  # fmt: skip
    except (ValueError, RecursionError, TypeError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"the message's fields cannot be read: {error}") from error
    if type(body) is not dict:
        raise ProtocolError("the message's fields are not a map")
    return body


PartT = TypeVar("PartT", JobSpec, StepReport)

# ---- codecs, made once from the annotations above -----------------------------------------------------------------------------------

_Check: TypeAlias = Callable[[Any, str], Any]


@dataclass(slots=True)
class _Codec:
    """How one message class becomes a map and back."""

    name: str
    header: bytes
    bulk: bool
    pack: Callable[[Any], dict[str, Any]]
    unpack: Callable[[dict[str, Any], bytes | None], Any]


def _check_for(hint: Any) -> _Check:
    """Make the function that takes a received value of type `hint`, or raises `ProtocolError` with the field's name."""
    if get_origin(hint) is Annotated:
        inner, *limits = get_args(hint)
        return _limited(_check_for(inner), limits)
    if hint is Any:
        return lambda value, where: value
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint))
    if get_origin(hint) in {Union, UnionType}:
        (inner,) = [part for part in get_args(hint) if part is not NoneType]
        check = _check_for(inner)
        return lambda value, where: None if value is None else check(value, where)
    if get_origin(hint) is tuple:
        return _tuple_of(_check_for(get_args(hint)[0]))
    if get_origin(hint) is Mapping:
        return _map_of(_check_for(get_args(hint)[1]))
    if hint is int:
        return _check_int
    if hint in {str, bool, bytes}:
        return _exactly(hint)
    return _part(hint)


def _exactly(kind: type) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not kind:
            raise ProtocolError(f"{where} must be of type {kind.__name__}, not {type(value).__name__}")
        return value

    return check


def _check_int(value: Any, where: str) -> int:
    if type(value) is not int or not -_INT_MAX <= value <= _INT_MAX:
        raise ProtocolError(f"{where} must be an integer of at most 53 bits")
    return value


def _one_of(choices: tuple[Any, ...]) -> _Check:
    known = frozenset(choices)

    def check(value: Any, where: str) -> Any:
        if type(value) is not str or value not in known:
            raise ProtocolError(f"{where} must be one of {', '.join(choices)}")
        return value

    return check


def _tuple_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not list:
            raise ProtocolError(f"{where} must be a list")
        return tuple([item(element, where) for element in value])

    return check


def _map_of(item: _Check) -> _Check:
    def check(value: Any, where: str) -> Any:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise ProtocolError(f"{where} must be a map with texts as keys")
        return {key: item(element, where) for key, element in value.items()}

    return check


def _limited(check: _Check, limits: Sequence[Any]) -> _Check:
    (limit,) = limits
    if isinstance(limit, _Matches):
        matches = re.compile(limit.pattern).fullmatch

        def check_match(value: Any, where: str) -> Any:
            if matches(check(value, where)) is None:
                raise ProtocolError(f"{where} does not look as it must")
            return value

        return check_match
    assert isinstance(limit, _Most), f"{limit!r} is no limit"
    most = limit.items

    def check_length(value: Any, where: str) -> Any:
        if hasattr(value, "__len__") and len(value) > most:
            raise ProtocolError(f"{where} is longer than {most}")
        return check(value, where)

    return check_length


def _part(kind: type) -> _Check:
    unpack = _unpacker(kind)

    def check(value: Any, where: str) -> Any:
        if type(value) is not dict:
            raise ProtocolError(f"{where} must be a map")
        return unpack(value, None)

    return check


def _unpacker(kind: type) -> Callable[[dict[str, Any], bytes | None], Any]:
    hints = get_type_hints(kind, include_extras=True)
    own = [field for field in fields(kind) if field.name != "data"]
    rules = [(f.name, _check_for(hints[f.name]), f.default is MISSING, f"{kind.__name__}.{f.name}") for f in own]

    def unpack(body: dict[str, Any], data: bytes | None) -> Any:
        values: dict[str, Any] = {} if data is None else {"data": data}
        for name, check, required, where in rules:
            if name in body:
                values[name] = check(body[name], where)
            elif required:
                raise ProtocolError(f"{where} is missing")
        return kind(**values)

    return unpack


def _packer(kind: type) -> Callable[[Any], dict[str, Any]]:
    """Make the function that turns a message into plain maps and lists; only fields that hold parts need more than a look."""
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind) if field.name != "data"]
    nested = [(name, pack) for name in names if (pack := _pack_for(hints[name])) is not None]

    def pack(message: Any) -> dict[str, Any]:
        body = {name: getattr(message, name) for name in names}
        for name, pack_field in nested:
            body[name] = pack_field(body[name])
        return body

    return pack


def _pack_for(hint: Any) -> Callable[[Any], Any] | None:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        pack = _pack_for(get_args(hint)[0])
        return None if pack is None else lambda value: [pack(item) for item in value]
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return _packer(hint)
    return None


def _codec_for(number: int, kind: type) -> _Codec:
    bulk = any(field.name == "data" for field in fields(kind))
    header = _MAGIC + bytes([VERSION, number])
    return _Codec(name=kind.__name__, header=header, bulk=bulk, pack=_packer(kind), unpack=_unpacker(kind))


_CODECS: Final = {kind: _codec_for(number, kind) for number, kind in TYPES.items()}


def pack_part(part: JobSpec | StepReport) -> dict[str, Any]:
    """Make plain maps and lists of a part as it travels; the store keeps it so."""
    return _PACK_PART[type(part)](part)


def unpack_part(kind: type[PartT], body: dict[str, Any]) -> PartT:
    """Turn what `pack_part` made back into a part.

    Raises:
        ProtocolError: `body` was not made by `pack_part`, or by an incompatible version.
    """
    part: PartT = _UNPACK_PART[kind](body, None)
    return part


_PACK_PART: Final = {kind: _packer(kind) for kind in (JobSpec, StepReport)}
_UNPACK_PART: Final = {kind: _unpacker(kind) for kind in (JobSpec, StepReport)}
