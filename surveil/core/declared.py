"""A pipeline as it was written: declarations with their places, and complaints about them.

What belongs here: the words between whoever reads a pipeline file and `core.pipeline`, which expands it.
What does not: files, formats, and what the declarations lead to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final, Literal, NamedTuple, TypeAlias

from surveil.frozen import dataclass

COMPLAINTS_MAX: Final = 50
"""More complaints than this about one file help nobody."""

LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/=+-]{0,63}")
"""What a label looks like, a job's as well as a runner's."""

REPORTS_USUAL: Final = (
    "**/TEST-*.xml",
    "**/junit*.xml",
    "**/*junit.xml",
    "report.xml",
    "reports/*.xml",
    "test-reports/**/*.xml",
    "**/test-results/**/*.xml",
    "**/*.tap",
)
"""Where test runners put their reports by themselves, or where their documentation says to put them."""

CONTAINERS: Final = "containers"
"""The label of runners that offer containers, which a job with an image asks for without saying so."""

Pull: TypeAlias = Literal["missing", "always", "never"]
OnRunnerLoss: TypeAlias = Literal["retry", "fail", "hold"]


class Place(NamedTuple):
    """Where something stands: line and column, both from 1, columns in characters; in an included `file`, or in the
    pipeline file itself where that is empty. There is one for each value of a file, and nothing is made quicker.
    """

    line: int
    column: int
    file: str = ""


START: Final = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong: a sentence, where, and what to do about it."""

    message: str
    place: Place
    hint: str = ""


def in_order_of_the_file(complaints: Iterable[Complaint]) -> list[Complaint]:
    """Complaints as one reads: by their places, those about included files last."""
    return sorted(complaints, key=lambda one: (one.place.file, one.place.line, one.place.column, one.message))


@dataclass(frozen=True, slots=True)
class Text:
    """A text and where it stands. A `straight` one stands there character by character, so that one knows where each
    part of it is.
    """

    value: str
    place: Place
    straight: bool = False

    def place_of(self, at: int) -> Place:
        """Where the character number `at` (from 0) stands, or the text as a whole."""
        place = self.place
        return Place(place.line, place.column + at, place.file) if self.straight else place


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDeclaration:
    """A step as it was written; `name` None means that the script's first line names it, `when` None `passed`."""

    name: Text | None
    run: Text
    shell: str = ""
    timeout_ms: int = 0
    continue_on_error: bool = False
    when: Text | None = None
    env: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactDeclaration:
    """Files to be kept as they were written. `retention_ms` 0 means as long as the dispatcher keeps artifacts."""

    name: Text
    paths: tuple[Text, ...]
    required: bool = False
    retention_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDeclaration:
    """A secret as it was asked for: in a variable, which is called like it unless `env` says otherwise, or in a file
    that the variable `file` names.
    """

    name: Text
    env: str | None = None
    file: str | None = None

    @property
    def variable(self) -> str:
        """The variable by which steps find it."""
        return self.file or self.env or self.name.value


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDeclaration:
    """The image of a job's container, the secret with which it is fetched, whether its steps are `root` in there, and
    what they may take; limits of 0 are none.
    """

    name: Text
    pull: Pull = "missing"
    cpu_thousandths: int = 0
    memory_bytes: int = 0
    processes: int = 0
    disk_bytes: int = 0
    root: bool = False
    credentials: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDeclaration:
    """A container beside a job's as it was written. Without `health` and `port`, its image says when it is ready."""

    name: Text
    image: ImageDeclaration
    env: Mapping[str, Text] = field(default_factory=dict)
    command: tuple[Text, ...] = ()
    secrets: tuple[Text, ...] = ()
    health: tuple[Text, ...] = ()
    port: int = 0
    interval_ms: int
    ready_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDeclaration:
    """What is to be found again as it was written."""

    key: Text
    restore_keys: tuple[Text, ...] = ()
    paths: tuple[Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsDeclaration:
    """How many shards there are as it was written: `count`, or if that is 0 as many as bring the tests below
    `target_ms`, at most `most`.
    """

    count: int = 0
    target_ms: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDeclaration:
    """A job as it was written; with a `matrix` it stands for one job for each cell: each combination of the values that
    no entry of `exclude` leaves out, and what the entries of `include` add. Without `when` it is `passed`.
    """

    name: Text
    needs: tuple[Text, ...] = ()
    when: Text | None = None
    labels: tuple[Text, ...] = ()
    env: Mapping[str, Text] = field(default_factory=dict)
    timeout_ms: int
    retry: int = 0
    on_runner_loss: OnRunnerLoss = "retry"
    steps: tuple[StepDeclaration, ...]
    matrix: Mapping[str, tuple[Text, ...]] = field(default_factory=dict)
    include: tuple[Mapping[str, Text], ...] = ()
    exclude: tuple[Mapping[str, Text], ...] = ()
    continue_on_error: bool = False
    fail_fast: bool = False
    priority: int = 0
    concurrency: Text | None = None
    shards: ShardsDeclaration | None = None
    reports: tuple[Text, ...] | None = None
    """Where the steps write test reports; None means the usual places."""
    cancel_superseded: bool = False
    artifacts: tuple[ArtifactDeclaration, ...] = ()
    artifacts_from: tuple[Text, ...] = ()
    """Jobs, or `JOB/NAME`, whose artifacts it finds in its work tree."""
    secrets: tuple[SecretDeclaration, ...] = ()
    image: ImageDeclaration | None = None
    services: tuple[ServiceDeclaration, ...] = ()
    cache: tuple[CacheDeclaration, ...] = ()

    @property
    def has_matrix(self) -> bool:
        """Whether it stands for cells."""
        return bool(self.matrix or self.include)
