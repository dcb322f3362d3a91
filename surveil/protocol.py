"""Every message that processes of surveil say to each other: its fields, their limits, and its bytes.

What belongs here: the wire vocabulary, `encode` and `decode`. What does not: who may say what (net), what it
means (core), sockets (net).

A message is two or three frames: a header (`SV`, the protocol's version, the message's type), a msgpack map
of its fields, and for messages that carry bulk (`Output`, `Pack`, `Answer`) the raw bytes. Fields that a newer peer
adds are ignored; a type or version that is not known is a `ProtocolError`, as is any value outside its limit.
Messages are facts and orders, and each may come twice. Several that are said at once to one peer may travel as one
parcel, of two frames as well.

Durations travel, times do not: clocks of two machines never meet. `after_ms` counts from the moment the
runner accepted the attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args

from surveil.codec import (
    ITEMS_MAX,
    TEXT_BYTES_MAX,
    Codec,
    Matches,
    Most,
    Signed,
    Unpack,
    codec_for,
    pack_value,
    packer,
    unpack_list,
    unpack_map,
    unpacker,
)
from surveil.errors import ProtocolError
from surveil.frozen import dataclass

VERSION: Final = 1
MESSAGE_BYTES_MAX: Final = 1024 * 1024
CHUNK_BYTES_MAX: Final = 256 * 1024
PIPELINE_BYTES_MAX: Final = TEXT_BYTES_MAX
INCLUDES_MAX: Final = 20
"""Files that one pipeline file can include, and those that they include."""
HELD_MAX: Final = ITEMS_MAX
MIRRORS_MAX: Final = 1_000
"""Of one runner; more would only make the choice between runners slower."""
SECRETS_MAX: Final = 64
"""Of one job."""
ARTIFACTS_MAX: Final = 64
"""Of one job."""
TAKEN_MAX: Final = 256
"""Artifacts that one job takes."""
CACHES_MAX: Final = 16
CACHE_KEYS_MAX: Final = 16
SERVICES_MAX: Final = 16
"""Of one job."""
OUTPUTS_MAX: Final = 256
"""Of one job."""
BLOB_BYTES_MAX: Final = 4 * 1024**3
"""Of one archive of files; whoever makes more of them means a registry."""
HAVE_MAX: Final = 64
"""So many commits are enough to find common ground; more would make every `Want` longer than it is worth."""
FRAMES_MIN: Final = 2
FRAMES_MAX: Final = 3
PARCEL_MAX: Final = 64
"""Messages in one parcel; more would save hardly anything, and a turn of the dispatcher is counted in messages."""

_MAGIC: Final = b"SV"
_HEADER_BYTES: Final = 4


NAME_MAX: Final = 200
Name: TypeAlias = Annotated[str, Most(NAME_MAX)]
"""A name that people chose: of a runner, a job, a label."""
REMARKS_MAX: Final = 8
"""Remarks on one step; a keeper has three at the most."""
Text: TypeAlias = Annotated[str, Most(4096)]
"""A sentence, an address, a ref."""
Script: TypeAlias = Annotated[str, Most(PIPELINE_BYTES_MAX)]
Key: TypeAlias = Annotated[str, Matches(r"[!-~]{40}")]
"""A CURVE public key in z85: 40 printable characters."""
KeyOrNone: TypeAlias = Annotated[str, Matches(r"(?:[!-~]{40})?")]
Sha: TypeAlias = Annotated[str, Matches(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")]
JobId: TypeAlias = Annotated[str, Matches(r"[1-9][0-9]{0,15}/[^\x00-\x1f\x7f]{1,255}")]
"""`BUILD/NAME`."""
Digest: TypeAlias = Annotated[str, Matches(r"[0-9a-f]{64}")]
"""The SHA-256 of a blob's bytes, which is also its name."""
DigestOrNone: TypeAlias = Annotated[str, Matches(r"(?:[0-9a-f]{64})?")]
Env: TypeAlias = Annotated[Mapping[str, Script], Most(1000)]
Names: TypeAlias = Annotated[tuple[Name, ...], Most(256)]

ExitStatus: TypeAlias = Annotated[int, Signed()]
"""What a process ended with; minus the number of the signal that killed it."""

Paths: TypeAlias = Annotated[tuple[Text, ...], Most(1000)]
"""Files of a repository. A list that would be longer is not said at all."""

Trigger: TypeAlias = Literal["push", "pull_request", "schedule", "manual"]
"""What a build was made for. A tag is pushed, and a merge request is a pull request."""
Outcome: TypeAlias = Literal["passed", "failed", "errored", "cancelled", "lost"]
StepState: TypeAlias = Literal["pending", "running", "passed", "failed", "errored", "cancelled", "skipped"]

CaseState: TypeAlias = Literal["passed", "failed", "errored", "skipped"]
CaseName: TypeAlias = Annotated[str, Most(500)]
CaseMessage: TypeAlias = Annotated[str, Most(1000)]
CaseOutput: TypeAlias = Annotated[str, Most(8000)]
CASES_MAX: Final = 1_000
"""Of one message."""
PRINTED_MAX: Final = 8_000_000
"""Characters that all test results of an attempt may have printed; beyond it they keep their messages."""
BATCH_MAX: Final = 1_000
"""Items that a shard is given at once."""
SHARD_LIST_BYTES_MAX: Final = 768 * 1024
"""Of a shared list, packed: with its fields it has to fit into a message."""
SHARD: Final = "shard"
"""The axis of a job's matrix that numbers its shards."""
PROBLEMS_MAX: Final = 20
"""More sentences about an attempt's reports help nobody."""


# ---- parts of messages ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One command of a job. `timeout_ms` 0 means that only the job's own limit holds; `shell` empty means `sh -eu`.

    `when` is as that of a job, and asks of the steps before this one. In an order it is one of the three words, and
    `skipped` says why the step does not run whatever becomes of those.
    """

    name: Text
    run: Script
    shell: Text = ""
    timeout_ms: int = 0
    continue_on_error: bool = False
    env: Env
    when: Text = "passed"
    skipped: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSpec:
    """Files that are kept under a name when the steps have ended: those that one of the patterns in `paths` matches.

    With `required`, a job that passed and has none of them failed. `retention_ms` 0 is as long as the dispatcher keeps
    artifacts.
    """

    name: Name
    paths: Annotated[tuple[Text, ...], Most(256)]
    required: bool = False
    retention_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenArtifact:
    """An artifact that a job finds in its work tree: the one called `name` that the needed `job` kept.

    It is that of `attempt`, whose verdict the needed job has; 0 until the job is handed out. `build` is an earlier one
    of the same commit where the needed job is carried over from there, else 0. What is `optional` need not be there,
    since the needed job has not passed. `blob` and `size` are what was noted of it, and filled in last.
    """

    job: Name
    name: Name
    build: int = 0
    attempt: int = 0
    optional: bool = False
    blob: DigestOrNone = ""
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """The image in whose container the steps of a job run, who they are and what they may take there.

    With `root` they are root in there; else they have the number of the runner's user, and no rights.
    `cpu_thousandths` of one processor, `memory_bytes` and `processes` 0 mean no limit but the runner's own, and
    `disk_bytes` 0 means none.
    """

    name: Text
    pull: Literal["missing", "always", "never"] = "missing"
    cpu_thousandths: int = 0
    memory_bytes: int = 0
    processes: int = 0
    root: bool = False
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A container beside that of a job, which its steps reach by its name, and which is ready before the first of them.

    It runs `command`, or what its image runs otherwise. Of the job's secrets, it gets those in the variables `secrets`.
    It is ready when the words of `health` end with 0 in there, or something listens on `port`; with neither, the image
    says so. It is tried every `interval_ms`, and has `ready_ms` for it.
    """

    name: Name
    image: ImageSpec
    env: Env
    command: Annotated[tuple[Script, ...], Most(256)] = ()
    secrets: Names = ()
    health: Annotated[tuple[Script, ...], Most(256)] = ()
    port: int = 0
    interval_ms: int = 1_000
    ready_ms: int = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """A secret that a job asks for, by name: its steps find it in the variable `env`, or in the file that the variable
    `file` names. With neither it is the user and the password for the registry of the job's image, and no step finds
    it. It is asked for at `place`, `FILE:LINE:COLUMN`, without FILE where that is the pipeline file itself.
    """

    name: Name
    env: Name = ""
    file: Name = ""
    place: Text = ""

    @property
    def for_registry(self) -> bool:
        """Whether it is for fetching the image."""
        return not self.env and not self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """Files and folders that a job finds as an earlier one left them: kept under `key` where it passes, and restored
    from there, or else from the newest that begins with one of `restore_keys`. In both, `${{ hash('GLOB') }}` is filled
    in on the runner. `paths` are those of the work tree, and with `~/` in front those of the job's home.
    """

    key: Text
    restore_keys: Annotated[tuple[Text, ...], Most(CACHE_KEYS_MAX)] = ()
    paths: Annotated[tuple[Text, ...], Most(256)]


def suite_of(name: str) -> str:
    """What the shards of one suite have in common, from a job's full name: so the same test is the same one, whichever
    shard it falls to.
    """
    declared, bracket, label = name.partition("[")
    values = [value for value in label.removesuffix("]").split(",") if not value.startswith(f"{SHARD}=")]
    return f"{declared}[{','.join(values)}]" if bracket and values else declared


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One node of a build's graph, as the pipeline file asked for it, after expansion of its matrix.

    `when` is `passed`, `failed`, `always` or an expression of `core.expressions`. Of the jobs of one repository that
    name the same `concurrency` group, one runs at a time; empty is no group.
    """

    name: Name
    needs: Names = ()
    when: Text = "passed"
    labels: Names = ()
    env: Env
    timeout_ms: int
    retry: int = 0
    on_runner_loss: Literal["retry", "fail", "hold"] = "retry"
    steps: Annotated[tuple[StepSpec, ...], Most(256)]
    matrix: Env
    continue_on_error: bool = False
    fail_fast: bool = False
    priority: Annotated[int, Signed()] = 0
    concurrency: Text = ""
    cancel_superseded: bool = False
    artifacts: Annotated[tuple[ArtifactSpec, ...], Most(ARTIFACTS_MAX)] = ()
    artifacts_from: Annotated[tuple[TakenArtifact, ...], Most(TAKEN_MAX)] = ()
    cache: Annotated[tuple[CacheSpec, ...], Most(CACHES_MAX)] = ()
    image: ImageSpec | None = None
    reports: Names = ()
    secrets: Annotated[tuple[SecretUse, ...], Most(SECRETS_MAX)] = ()
    shards: int = 0
    services: Annotated[tuple[ServiceSpec, ...], Most(SERVICES_MAX)] = ()

    @property
    def suite(self) -> str:
        """What the shards of its suite have in common."""
        return suite_of(self.name)

    @property
    def exclusive(self) -> bool:
        """Whether the runner must end the job itself when its lease runs out, so that no two tries ever overlap, nor
        two jobs of one concurrency group.
        """
        return self.on_runner_loss != "retry" or bool(self.concurrency)

    @property
    def declared_name(self) -> str:
        """The name in the pipeline file, which the cells of a matrix have in common."""
        return self.name.partition("[")[0] if self.matrix else self.name

    @property
    def collects(self) -> bool:
        """Whether there is something to do for it on its runner once its steps have ended."""
        return bool(self.artifacts or self.reports or self.cache or self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What surveil itself has to say of a step's output, beside its bytes: after byte `at` of the attempt's log."""

    at: int
    after_ms: int
    text: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How a step stands.

    Its output starts at byte `log_at` of the attempt's log; `after_ms` values count from the acceptance. The step of a
    service says by which digest its `image` is found again.
    """

    name: Text
    state: StepState
    exit_code: ExitStatus | None = None
    started_after_ms: int | None = None
    finished_after_ms: int | None = None
    log_at: int | None = None
    remarks: Annotated[tuple[Remark, ...], Most(REMARKS_MAX)] = ()
    image: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutput:
    """What a job puts out under a name for those that need it."""

    name: Name
    value: Script


@dataclass(frozen=True, slots=True, kw_only=True)
class IncludedFile:
    """A file of the commit that its pipeline file includes; without a text, the `problem` of it, a clause."""

    path: Text
    text: Script | None = None
    problem: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a single test ended, as a report of its test runner says; `output` is kept of those that went wrong."""

    suite: CaseName
    name: CaseName
    state: CaseState
    duration_ms: int
    message: CaseMessage = ""
    output: CaseOutput = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the reports of an attempt say all in all: how many tests ended how, how long they took together, and what
    was wrong with the reports. What is counted may be more than what is kept.
    """

    passed: int
    failed: int
    errored: int
    skipped: int
    duration_ms: int
    problems: Annotated[tuple[Text, ...], Most(PROBLEMS_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """How an item of a shared list ended, by its number in the list."""

    item: int
    state: CaseState
    duration_ms: int


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


Refs: TypeAlias = Annotated[tuple[Ref, ...], Most(HELD_MAX)]
HeldList: TypeAlias = Annotated[tuple[Held, ...], Most(HELD_MAX)]
StepReports: TypeAlias = Annotated[tuple[StepReport, ...], Most(256)]
Outputs: TypeAlias = Annotated[tuple[JobOutput, ...], Most(OUTPUTS_MAX)]


# ---- runner to dispatcher ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """I am here, this is my `incarnation`, and this is all that I hold.

    Said at each start, reconnection and `Introduce`. `birth` is drawn at random at each start, because incarnations are
    counted in the data folder, and a folder can be copied: two births under one incarnation are two machines.
    """

    name: Name
    software: Name
    host: Name
    cluster: Name
    incarnation: int
    birth: int
    seq: int
    labels: Names
    slots: int
    held: HeldList
    mirrors: Annotated[tuple[Text, ...], Most(MIRRORS_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """I was alive when I sent number `seq`.

    The only renewal of leases; `free` is how many more attempts I would take now.
    """

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
    """What the attempt really did. Repeated until `Release`. It errored `blameless` where what it was to have is not
    there for any machine, so that its runner's own has no part in it.
    """

    job: JobId
    attempt: int
    outcome: Outcome
    reason: Text
    exit_code: ExitStatus | None
    started_after_ms: int | None
    finished_after_ms: int
    log_bytes: int
    steps: StepReports
    isolation: Text = ""
    outputs: Outputs = ()
    blameless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """The results of single tests from number `at` on, as the attempt's reports have them; repeated until `CasesKept`.

    The last one has the `tally` of all. Travels on the bulk connection, before the attempt's `Finished`.
    """

    job: JobId
    attempt: int
    at: int
    cases: Annotated[tuple[Case, ...], Most(CASES_MAX)]
    tally: Tally | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardAsk:
    """A shard has `done` this since its question before, and wants what is next; or, being `final`, only to know
    whether anything was left undone. Repeated until `ShardTell`.

    `digest` names the list of items; `data` is the list itself, zlib over JSON, once it is wanted. Travels on the bulk
    connection.
    """

    job: JobId
    attempt: int
    seq: int
    digest: Digest
    done: Annotated[tuple[ShardResult, ...], Most(BATCH_MAX)] = ()
    final: bool = False
    data: Annotated[bytes, Most(SHARD_LIST_BYTES_MAX)] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes `at` and on of an attempt's log, with their CRC-32; repeated until `Kept`. Travels on the bulk
    connection.
    """

    job: JobId
    attempt: int
    at: int
    crc: int
    after_ms: int
    data: Annotated[bytes, Most(CHUNK_BYTES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """Give me the bytes from `at` on of a pack that makes `sha` whole for somebody who has all of `have`.

    For a runner that cannot get the commit of an attempt from its repository; `id` names its transfer. Travels on the
    bulk connection, and on from the dispatcher to an observer of the repository with `runner` filled in.
    """

    id: int
    runner: KeyOrNone = ""
    repo: Text
    sha: Sha
    have: Annotated[tuple[Sha, ...], Most(HAVE_MAX)]
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Bytes `at` and on of a blob that is to be kept of an attempt; repeated until `Deposited` says that it is whole.

    Without data it only asks how much of the blob is there. Travels on the bulk connection, as all about files does.
    """

    id: int
    job: JobId
    attempt: int
    blob: Digest
    size: int
    at: int
    data: Annotated[bytes, Most(CHUNK_BYTES_MAX)] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepArtifact:
    """The blob is the attempt's artifact of this name: `files` files, packed. Repeated until `Deposited`."""

    id: int
    job: JobId
    attempt: int
    name: Name
    blob: Digest
    size: int
    files: int
    retention_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekCache:
    """Which cache is there for the attempt, under `key` or else with the beginning of one of `restore_keys`, of these
    very `paths`? Repeated until `CacheFound`.
    """

    id: int
    job: JobId
    attempt: int
    key: Text
    restore_keys: Annotated[tuple[Text, ...], Most(CACHE_KEYS_MAX)]
    paths: Annotated[tuple[Text, ...], Most(256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Give me the bytes of a blob from `at` on, of which `CacheFound` told this attempt. Repeated until `Piece`."""

    id: int
    job: JobId
    attempt: int
    blob: Digest
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepCache:
    """The blob is what is cached under this key, of these paths. Repeated until `Deposited`."""

    id: int
    job: JobId
    attempt: int
    key: Text
    paths: Annotated[tuple[Text, ...], Most(256)]
    blob: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtBlob:
    """What came of the blob is not what it is called: look whether your disk has changed it. Repeated until
    `Deposited`.
    """

    id: int
    job: JobId
    attempt: int
    blob: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """I stop. With `returning`, what I hold goes on without me and I will come back for it."""

    incarnation: int
    returning: bool


# ---- dispatcher to runner ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to `Hello`: how to behave, which attempts are still yours, and which are not or are over; each with
    how much of its log is kept.
    """

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
    """The answer to `Heartbeat`: the leases of `renewed` run from the moment `seq` was sent; `revoked` are no
    longer yours. While `draining`, take nothing new.
    """

    epoch: int
    seq: int
    renewed: Refs
    revoked: Refs
    draining: bool = False


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
    """Run this attempt. Its first lease runs from the moment the runner sent heartbeat or hello number `anchor`.

    What is not `trusted` was written by strangers: it gets no secrets, and keeps nothing that others will use. The
    `envelope` holds what its job gets of secrets, encrypted to the runner's key.
    """

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
    event: Text = ""
    trusted: bool = True
    envelope: Script = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End the attempt: ask its processes, and after `grace_ms` make them."""

    job: JobId
    attempt: int
    grace_ms: int
    reason: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The attempt's result is on disk, or makes no difference any more: forget it once its log is kept; at once where
    it is `stale`, which is another runner's or nobody's.
    """

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
class CasesKept:
    """The attempt's test results are on disk up to number `upto`, and with `whole` its tally. Travels on the bulk
    connection.
    """

    job: JobId
    attempt: int
    upto: int
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposited:
    """Of the blob of transfer `id` so much is there, or `whole` of it, on disk; or what transfer `id` asked to be noted
    is noted. With a `problem` it is not, and with `retry_ms` it makes sense to try again after so long.
    """

    id: int
    upto: int = 0
    whole: bool = False
    problem: Text = ""
    retry_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFound:
    """The answer to `SeekCache`: the key that was found and its blob; an empty key where there is none, with a
    `problem` where nobody could look.
    """

    id: int
    key: Text = ""
    blob: DigestOrNone = ""
    size: int = 0
    problem: Text = ""
    retry_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The answer to `Fetch`: bytes of the blob from `at` on, or why there are none."""

    id: int
    at: int
    problem: Text = ""
    retry_ms: int = 0
    data: Annotated[bytes, Most(CHUNK_BYTES_MAX)] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTell:
    """The answer to `ShardAsk` number `seq`: what to run next, as numbers in the list; empty where nothing is left.

    With `wants_list`, say it again with the list. To a final question `left` says how many items nobody answers for.
    """

    job: JobId
    attempt: int
    seq: int
    batch: Annotated[tuple[int, ...], Most(BATCH_MAX)] = ()
    wants_list: bool = False
    left: int = 0
    problem: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Take nothing new; with `stop`, end when the last attempt is released."""

    stop: bool = False


# ---- observer and dispatcher ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSeen:
    """A ref now points here. `mid` names the fact and makes repeating it harmless; repeated until `Seen`.

    `pipeline` is the text of the pipeline file called `pipeline_file`, or what zero-configuration `rule`
    wrote in its stead, or None with the `problem` that a person must solve. `base` is the branch that HEAD names; of a
    ref that is not `trusted`, where strangers may write, the pipeline is that branch's and not the commit's own.
    `paths` are the files that the commit changes, None where nobody knows; `inputs` are what a person typed; `includes`
    are the files that the pipeline file includes.
    """

    mid: Text
    repo: Text
    ref: Text
    sha: Sha
    event: Trigger
    message: Text
    author: Text
    pipeline: Script | None
    pipeline_file: Text
    rule: Text = ""
    problem: Text = ""
    trusted: bool = True
    base: Text = ""
    paths: Paths | None = None
    inputs: Env | None = None
    includes: Annotated[tuple[IncludedFile, ...], Most(INCLUDES_MAX)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The fact is on disk: you may forget it. `build` is its build, 0 where it made none."""

    mid: Text
    build: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What this observer watches, said now and then for people to read. `birth` is drawn at random at each start;
    one that `looks` understands `LookNow`.
    """

    birth: int
    repos: Annotated[tuple[WatchedRepo, ...], Most(1000)]
    looks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LookNow:
    """Somebody says that something moved in this repository: look, and believe only what you see. It may get lost, as
    the next poll finds the same.
    """

    repo: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The bytes from `at` on of the pack that `runner` asked for as its transfer `id`, of `total` bytes in all.

    A pack that is made again may have other bytes: `made` tells them apart. Without data there is either a `problem`,
    or the pack is still being made; with `retry_ms` it makes sense to ask again after so long.
    """

    id: int
    runner: Key
    made: int = 0
    at: int
    total: int = 0
    problem: Text = ""
    retry_ms: int = 0
    data: Annotated[bytes, Most(CHUNK_BYTES_MAX)] = b""


# ---- clients, strangers and everybody ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A client's question or wish; `what` names it (see `surveil.answer`), `about` holds its arguments.

    A client that asks for somebody says for whom (`person`), and how that one came (`way`: `page`, `api`, `command`).
    Both are shown to people, and give no rights.
    """

    id: int
    what: Name
    about: Annotated[Mapping[str, Any], Most(64)]
    person: Name = ""
    way: Name = ""


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
    """A stranger shows the secret of a join token, and asks that its key be known as `name` from now on. `cluster` is
    the installation that its folder belongs to already, empty where it is new.
    """

    secret: Annotated[bytes, Most(64)] = field(repr=False)
    name: Name
    cluster: Name = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """The key is known now, in this role; `labels` are those that the token grants."""

    cluster: Name
    name: Name
    role: Literal["runner", "observer", "client"]
    labels: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What you said was not acted on; saying it again will not help. `exit_code` is what a command should end with.

    With `birth`, the runner's process of that birth is refused as a whole and ends; with `final`, whoever has the key.
    """

    reason: Text
    exit_code: int = 5
    birth: int | None = None
    final: bool = False


FromRunner: TypeAlias = Hello | Heartbeat | Accepted | Rejected | Progress | Finished | Bye
AboutFiles: TypeAlias = Deposit | KeepArtifact | SeekCache | Fetch | KeepCache | DoubtBlob
"""What runners say of files, and of what is kept of them."""
OnBulk: TypeAlias = ShardAsk | Output | Want | Cases | AboutFiles
"""What runners say on their bulk connection."""
ToRunner: TypeAlias = Welcome | Beat | Introduce | Busy | Assign | Cancel | Release | Drain
FromObserver: TypeAlias = CommitSeen | Watching | Pack
Message: TypeAlias = (
    FromRunner
    | OnBulk
    | ToRunner
    | Kept
    | CasesKept
    | ShardTell
    | Deposited
    | CacheFound
    | Piece
    | FromObserver
    | Seen
    | LookNow
    | Ask
    | Answer
    | Enrol
    | Enrolled
    | Refused
)

TYPES: Final[Mapping[int, type[Message]]] = {
    0x01: Hello, 0x02: Heartbeat, 0x03: Accepted, 0x04: Rejected,
    0x05: Progress, 0x06: Finished, 0x07: Output, 0x08: Bye, 0x09: Want, 0x0E: Cases, 0x0F: ShardAsk,
    0x11: Welcome, 0x12: Beat, 0x13: Introduce, 0x14: Busy, 0x15: Assign,
    0x16: Cancel, 0x17: Release, 0x18: Kept, 0x19: Drain, 0x1E: CasesKept, 0x1F: ShardTell,
    0x21: CommitSeen, 0x22: Seen, 0x23: Watching, 0x24: Pack, 0x25: LookNow,
    0x31: Ask, 0x32: Answer,
    0x41: Enrol, 0x42: Enrolled, 0x43: Refused,
    0x61: Deposit, 0x62: KeepArtifact, 0x63: SeekCache, 0x64: Fetch, 0x65: KeepCache, 0x66: DoubtBlob,
    0x71: Deposited, 0x72: CacheFound, 0x73: Piece,
}  # fmt: skip
"""The type byte of each message. A number, once released, is never given to another message."""

PARCEL_HEADER: Final = _MAGIC + bytes([VERSION, 0x51])
"""The first frame of a parcel: a type byte that no message has."""


# ---- encoding ------------------------------------------------------------------------------------


def encode(message: Message) -> list[bytes]:
    """Turn a message into its frames.

    Raises:
        ProtocolError: the message is larger than `MESSAGE_BYTES_MAX`, so that no peer would take it.
    """
    codec = _CODECS[type(message)]
    frames = [codec.header, pack_value(codec.pack(message))]
    if codec.bulk:
        frames.append(message.data)  # type: ignore[union-attr]  # only messages with a `data` field are bulk
    if sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"the {type(message).__name__} message would be larger than {MESSAGE_BYTES_MAX} bytes")
    return frames


def encode_all(messages: Sequence[Message]) -> Iterator[tuple[list[bytes], int]]:
    """Turn what is said at once to one peer into frames: few parcels, or messages that travel alone, in their order,
    each with how many messages it holds. A message that no peer would take is in none.
    """
    try:
        frames = encode(messages[0]) if len(messages) == 1 else _parcel(messages)
    except ProtocolError:
        if len(messages) > 1:
            half = len(messages) // 2
            yield from encode_all(messages[:half])
            yield from encode_all(messages[half:])
    else:
        yield frames, len(messages)


def _parcel(messages: Sequence[Message]) -> list[bytes]:
    numbers = [HEADERS[type(message)][-1] for message in messages]
    if not 1 < len(messages) <= PARCEL_MAX or not _IN_PARCELS.keys() >= set(numbers):
        raise ProtocolError("these messages do not travel together")
    items = [
        item
        for number, message in zip(numbers, messages, strict=True)
        for item in (number, _CODECS[_IN_PARCELS[number]].pack(message))
    ]
    frames = [PARCEL_HEADER, pack_value(items)]
    if sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError("together these messages are too large")
    return frames


def decode(frames: Sequence[bytes]) -> Message:
    """Turn frames from a peer into a message.

    Raises:
        ProtocolError: the frames are not a message of this protocol, for whatever reason; nothing else is ever raised.
    """
    if not FRAMES_MIN <= len(frames) <= FRAMES_MAX or sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError(
            f"a message is 2 or 3 frames of at most {MESSAGE_BYTES_MAX} bytes together, not {len(frames)} frames"
        )
    codec = _codec_of(frames[0])
    if len(frames) != (FRAMES_MAX if codec.bulk else FRAMES_MIN):
        raise ProtocolError(f"a {codec.name} message does not have {len(frames)} frames")
    message: Message = codec.unpack(unpack_map(frames[1]), frames[2] if codec.bulk else None)
    return message


def decode_all(frames: Sequence[bytes]) -> list[Message]:
    """Turn frames from a peer into the message or the parcel of messages that they are.

    Raises:
        ProtocolError: they are neither, or one message of the parcel is wrong; nothing else is ever raised.
    """
    if len(frames) != FRAMES_MIN or frames[0] != PARCEL_HEADER:
        return [decode(frames)]
    items = unpack_list(frames[1])
    if not items or len(items) > 2 * PARCEL_MAX or len(items) % 2 or sum(map(len, frames)) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a parcel is 1 to {PARCEL_MAX} pairs of at most {MESSAGE_BYTES_MAX} bytes together")
    return [_unpack_item(number, body) for number, body in zip(items[::2], items[1::2], strict=True)]


def _unpack_item(number: Any, body: Any) -> Message:
    kind = _IN_PARCELS.get(number) if type(number) is int else None
    if kind is None or type(body) is not dict:
        raise ProtocolError("a parcel holds the types and fields of messages that may travel in one")
    message: Message = _CODECS[kind].unpack(body, None)
    return message


def _codec_of(header: bytes) -> Codec:
    if len(header) != _HEADER_BYTES or not header.startswith(_MAGIC):
        raise ProtocolError("the peer does not speak surveil's protocol")
    version, number = header[2:]
    if version != VERSION:
        raise ProtocolError(
            f"the peer speaks version {version} of the protocol, this process version {VERSION}: "
            "install the same version of surveil on both machines"
        )
    kind = TYPES.get(number)
    if kind is None:
        raise ProtocolError(f"message type {number:#04x} is not known to this version of surveil")
    return _CODECS[kind]


PartT = TypeVar("PartT", JobSpec, StepReport, Case, Tally, CommitSeen)

HEADERS: Final[Mapping[type[Message], bytes]] = {
    kind: _MAGIC + bytes([VERSION, number]) for number, kind in TYPES.items()
}
"""The first frame of each message."""


class _MadeAtFirstUse(dict[type, Any]):
    """What belongs to each class, made when it is first looked up: a command has use for three messages, and making
    the codecs of all takes longer than its question and the answer.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, kind: type) -> Any:
        made = self[kind] = self._make(kind)
        return made


_CODECS: Final[Mapping[type[Message], Codec]] = _MadeAtFirstUse(lambda kind: codec_for(HEADERS[kind], kind))

# A `Hello` is judged by the connection that it came on, and strangers, clients and observers have nothing to say in
# numbers.
_IN_PARCELS: Final = {
    number: kind for number, kind in TYPES.items() if kind in {*get_args(FromRunner | ToRunner)} - {Hello}
}


def pack_part(part: JobSpec | StepReport | Case | Tally | CommitSeen) -> dict[str, Any]:
    """Make plain maps and lists of a part as it travels; the store keeps it so."""
    return _PACK_PART[type(part)](part)


def unpack_part(kind: type[PartT], body: dict[str, Any]) -> PartT:
    """Turn what `pack_part` made back into a part.

    Raises:
        ProtocolError: `body` was not made by `pack_part`, or by an incompatible version.
    """
    part: PartT = _UNPACK_PART[kind](body, None)
    return part


_PACK_PART: Final[Mapping[type, Callable[[Any], dict[str, Any]]]] = _MadeAtFirstUse(packer)
_UNPACK_PART: Final[Mapping[type, Unpack]] = _MadeAtFirstUse(unpacker)
