"""Artifacts of needed jobs, put into the work tree before the first step.

What belongs here: unpacking them, what may stand beside what, and bringing one from the dispatcher. What does not:
archives (`archives`), whose artifacts are meant (`core.taking`), and those of a local run (`taking_here`).

Unlike a cache, what a job takes is what it was written for: where it cannot be had the attempt is errored, and no step
begins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from typing import IO, Final, TypeAlias

from surveil.core.spelling import quoted
from surveil.errors import InfrastructureError
from surveil.execute.archives.finding import GIT
from surveil.execute.archives.unpacking import ArchiveRefused, unpack
from surveil.execute.collect.collecting import Restore, Work
from surveil.execute.transfer.courier import Courier, CourierError
from surveil.execute.transfer.fetching import fetch
from surveil.protocol import BLOB_BYTES_MAX, Deposited, DoubtBlob, Fetch, TakenArtifact

TRIES: Final = 2
"""What is damaged is fetched once more, after the dispatcher has looked whether it has another copy."""

Bring: TypeAlias = Callable[[Work, TakenArtifact, IO[bytes]], None]
"""Writes the archive of an artifact into a file, compared with its digest where it has one. Blocks; raises Unwanted,
OSError, and TakingError.
"""


class TakingError(InfrastructureError):
    """An artifact cannot be had, or not be put where it belongs; a sentence. The machine is `blameless` where that
    is what the artifact holds, or what the dispatcher says.
    """


def taking(bring: Bring) -> Restore:
    """What puts into a work tree the artifacts that its job takes, brought so. Raises TakingError.

    They replace files of the commit. A path that two of them hold is fine where both hold the same bytes.
    """

    def take_all(work: Work) -> None:
        whose: dict[str, str] = {}
        for take in work.assign.spec.artifacts_from:
            name = name_of(take, work.assign.build)
            try:
                with tempfile.TemporaryFile(dir=work.workspace.root) as file:
                    bring(work, take, file)
                    file.seek(0)
                    done = unpack(
                        file, work.workspace.work, bytes_max=BLOB_BYTES_MAX, wanted=_is_work, replace=True,
                        earlier=whose, check=work.check,
                    )  # fmt: skip
            except ArchiveRefused as error:
                raise TakingError(f"{name} is not taken: {error}", blameless=True) from error
            except OSError as error:
                raise TakingError(f"{name} cannot be put into the work tree: {error.strerror or error}") from error
            whose = dict.fromkeys(done.paths, name) | whose

    return take_all


def in_turn(*restores: Restore) -> Restore:
    """One after the other: what comes later replaces what came before."""

    def restore(work: Work) -> None:
        for each in restores:
            each(work)

    return restore


def from_dispatcher(courier: Courier) -> Bring:
    """The way from the dispatcher, which filled in digests and sizes."""

    def bring(work: Work, take: TakenArtifact, file: IO[bytes]) -> None:
        name, (job, attempt) = name_of(take, work.assign.build), work.id
        wanted = Fetch(id=0, job=job, attempt=attempt, blob=take.blob, at=0)
        doubt = partial(DoubtBlob, job=job, attempt=attempt, blob=take.blob)
        try:
            for _ in range(TRIES):
                if fetch(courier, wanted, take.size, file, work.check) == take.blob:
                    return
                courier.ask(lambda number: doubt(id=number), Deposited, work.check)
        except CourierError as error:
            raise TakingError(f"{name} cannot be had: {error}", blameless=True) from error
        # The dispatcher has looked, and would have said so if it were damaged there: perhaps it is damaged here.
        raise TakingError(f"{name} is damaged where it is kept; `surveil retry {work.assign.build}` makes it anew")

    return bring


def name_of(take: TakenArtifact, build: int) -> str:
    """An artifact in a sentence; a local run has no number."""
    number = take.build or build
    return f"the artifact {quoted(take.name)} of {f'{number}/' if number else ''}{take.job} attempt {take.attempt}"


def _is_work(path: str) -> bool:
    """Whether it may be put into a work tree: git's own folder is none of a job's files."""
    return path.split("/", 1)[0] != GIT
