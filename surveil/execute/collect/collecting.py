"""Collecting: what is done with an attempt's work once its steps have ended and before that is said.

What belongs here: the promise of a collector, all of them in turn, and the note that it is done. What does not: what
one of them keeps and how (`keeping`), and when it is time (`core.run_attempt`).

An agent that is killed meanwhile finds no note when it is back, and begins again; so what a collector does must be
harmless when it is done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from surveil.core.model import AttemptId
from surveil.core.run_events import Collected
from surveil.errors import SurveilError
from surveil.execute import files
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.keeper.masking import Forms
from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass
from surveil.protocol import Assign, Outcome

POWER_CUT: Final = "the machine lost its power before they were"
"""What a work tree holds of its last seconds after that, nobody knows."""


class Unwanted(Exception):
    """Nobody wants any more what is being collected; there is nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An attempt's work: what it was asked for, what its steps came to, and where its files are.

    `unwanted` is asked now and then while something takes long, and by whatever waits. `cover` covers what is secret in
    a text that the steps made, such as a test's name.
    """

    assign: Assign
    outcome: Outcome
    workspace: Workspace
    since_ns: int
    """When its first step was about to begin, on the clock of its files."""
    unwanted: Callable[[], bool]
    cover: Callable[[str], str] = str

    @property
    def id(self) -> AttemptId:
        """Its job and number."""
        return (self.assign.job, self.assign.attempt)

    def check(self) -> None:
        """Raise Unwanted where it is."""
        if self.unwanted():
            raise Unwanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a collector has to say; see `Collected`."""

    remarks: tuple[str, ...] = ()
    missing: str = ""
    unkept: str = ""
    blameless: bool = False


Restore: TypeAlias = Callable[[Work], None]
"""Puts into a work tree what earlier ones left, before the first step; blocks, in a thread. Raises Unwanted."""


class Collector(Protocol):
    """Keeps something of an attempt's work. Blocks, in a thread; nothing of the attempt runs meanwhile.

    The files are whatever the steps made of them: links lead anywhere, names hold anything. Raises Unwanted, and
    SurveilError with a sentence for what can only be remarked.
    """

    def __call__(self, work: Work, /) -> Collection:
        """Do it."""


def covering(entrusted: Callable[[], Entrusted]) -> Callable[[str], str]:
    """What covers these secrets in texts; they are asked for with the first one. Raises what `entrusted` raises."""
    forms = cache(lambda: Forms(entrusted().secrets()))
    return lambda text: forms().cover(text)


def collect(collectors: Sequence[Collector], work: Work, folder: Path, *, sound: bool) -> Collected:
    """Let all of them do their part, and note in the attempt's folder that they have. Blocks.

    Of a work tree that is not `sound` nobody knows what the disk has: it is not collected.

    Raises:
        Unwanted: somebody does not want it any more.
        OSError: the note cannot be written.
    """
    if not sound:
        return _after_power_cut(work, folder)
    done = gathered(collectors, work)
    files.write_fields(str(folder / files.COLLECTED), asdict(done), sync=True)
    return _told(work.id, done)


def gathered(collectors: Sequence[Collector], work: Work) -> Collection:
    """What all of them have to say, once each has done its part. Blocks; raises Unwanted."""
    said = [_of(collector, work) for collector in collectors]
    unkept = next((one for one in said if one.unkept), Collection())
    return Collection(
        remarks=tuple(_covered(work, remark) for one in said for remark in one.remarks),
        missing=_covered(work, next((one.missing for one in said if one.missing), "")),
        unkept=_covered(work, unkept.unkept),
        blameless=unkept.blameless,
    )


def _after_power_cut(work: Work, folder: Path) -> Collected:
    """The same for a work tree of which nobody knows what the disk has. Raises OSError."""
    required = [artifact.name for artifact in work.assign.spec.artifacts if artifact.required]
    sentence = f"its files were not kept: {POWER_CUT}"
    unkept = f"it requires the artifact {required[0]}, and {sentence}" if required else ""
    done = Collection(remarks=(sentence,), unkept=unkept)
    files.write_fields(str(folder / files.COLLECTED), asdict(done), sync=True)
    return _told(work.id, done)


def noted(attempt: AttemptId, folder: Path) -> Collected | None:
    """What an earlier process noted; None where it came to no end."""
    try:
        fields = files.read_fields(str(folder / files.COLLECTED))
        done = Collection(
            remarks=tuple(map(str, fields["remarks"])),
            missing=str(fields["missing"]),
            unkept=str(fields["unkept"]),
            # A runner of an earlier version does not say.
            blameless=bool(fields.get("blameless")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _told(attempt, done)


def _of(collector: Collector, work: Work) -> Collection:
    work.check()
    try:
        return collector(work)
    except SurveilError as error:
        return Collection(remarks=(str(error),))


def _covered(work: Work, sentence: str) -> str:
    """A sentence as it may be shown: it may quote the names of files."""
    try:
        return work.cover(sentence) if sentence else ""
    except SurveilError as error:
        return str(error)


def _told(attempt: AttemptId, done: Collection) -> Collected:
    return Collected(
        id=attempt, remarks=done.remarks, missing=done.missing, unkept=done.unkept, blameless=done.blameless
    )
