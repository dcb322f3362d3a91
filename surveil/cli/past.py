"""A past attempt, brought here to be run again: what its runner was told, and its commit in a tree of its own.

What belongs here: asking for it, getting its files, and what cannot be as it was. What does not: running it (`replay`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from surveil.cli.fetching import fetch_archive
from surveil.config import ReplayConfig
from surveil.core.spelling import quoted
from surveil.core.states import WRONG
from surveil.errors import InfrastructureError, NotFoundError, SurveilError, UsageError
from surveil.execute.collect.collecting import Work
from surveil.execute.collect.taking import Bring, name_of
from surveil.execute.scene import Told
from surveil.execute.transfer.supply import SupplyError, get_commit
from surveil.execute.workspace import remove
from surveil.frozen import dataclass, replace
from surveil.mirror import address
from surveil.mirror.access import Access
from surveil.mirror.checkout import checkout
from surveil.mirror.mirror import Mirror
from surveil.protocol import ImageSpec, JobSpec, TakenArtifact, unpack_part

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher

BATCHES_BYTES_MAX: Final = 64 * 1024 * 1024
MIRRORS: Final = Path(".git") / "surveil"
"""Where in the tree its objects are: it borrows them, and they go, or stay, with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An attempt as its dispatcher tells of it. `batches` are what it was handed if it was a shard."""

    id: str
    repo: str
    ref: str
    sha: str
    spec: JobSpec
    told: Told
    attempt: Mapping[str, Any]
    batches: Sequence[Sequence[str]] = field(default=())

    @property
    def image(self) -> str:
        """By which name its very image is found; empty where it had none, or did not come so far."""
        return (self.attempt["image"] or {}).get("digest") or ""

    def had_by(self, service: str) -> str:
        """The same for the image of a service."""
        steps = (step for step in self.attempt["steps"] if step["name"] == f"service {service}")
        return next((image for step in steps if (image := step.get("image"))), "")


def find(dispatcher: Dispatcher, build: int, name: str, attempt: int | None) -> Past:
    """Ask for an attempt; without a name, for the only job of the build that went wrong.

    Raises:
        SurveilError: there is none, in the dispatcher's words.
    """
    about = {"job": f"{build}/{name or _only_wrong(dispatcher, build)}", "attempt": attempt}
    body = dispatcher.ask("replay", about).body
    spec = unpack_part(JobSpec, body["spec"])
    about["attempt"] = body["attempt"]["number"]
    return Past(
        id=body["id"], repo=body["repo"], ref=body["ref"], sha=body["sha"], spec=spec,
        told=Told(
            build=str(body["build"]), attempt=body["attempt"]["number"], event=body["event"], trusted=body["trusted"]
        ),
        attempt=body["attempt"], batches=_batches(dispatcher.ask("replay_shard", about).data) if spec.shards else (),
    )  # fmt: skip


def bring(dispatcher: Dispatcher, past: Past, tree: Path, config: ReplayConfig) -> None:
    """Make the tree, with the files of the attempt's commit: from its repository, or by way of the dispatcher. There is
    none where it cannot be had.

    Raises:
        SurveilError: it cannot be had; the sentence says why each way failed.
    """

    def supply(repo: str, sha: str, have: Sequence[str], file: IO[bytes]) -> None:  # noqa: ARG001  # the job says both
        try:
            for data in dispatcher.follow_pack(past.id, have):
                file.write(data)
        except SupplyError:
            raise
        except SurveilError as error:
            raise SupplyError(str(error), denied=True) from error
        file.flush()

    with contextlib.ExitStack() as unless_it_came:
        try:
            tree.mkdir(parents=True)
            unless_it_came.callback(remove, tree)  # Half of it would be in the way of the next try.
            (tree / MIRRORS).mkdir(parents=True)
            access = Access(ssh_config=config.ssh_config, credentials=config.credentials)
            mirror = Mirror(tree / MIRRORS, address.parse(past.repo, "/"), access=access)
            get_commit(mirror, past.told.order(past.spec, repo=past.repo, ref=past.ref, sha=past.sha), supply)
            checkout(mirror, past.sha, tree, past.ref)
        except OSError as error:
            raise InfrastructureError(f"{tree} cannot be written: {error.strerror or error}.") from error
        unless_it_came.pop_all()


def bring_artifacts(dispatcher: Dispatcher, past: Past, folder: Path) -> tuple[JobSpec, Bring]:
    """Fetch what the attempt took into a new folder, each compared with its digest: the job without those that need not
    be there, and are not; and what gives the others.

    Raises:
        SurveilError: one is not there any more, or arrived damaged.
    """
    takes, build = past.spec.artifacts_from, int(past.told.build)
    numbers = {take.build or build for take in takes}
    listed = [each for number in numbers for each in dispatcher.listed("artifacts", {"build": number})]
    noted = {(each["job"], each["attempt"], each["name"]): each for each in listed}
    files: dict[TakenArtifact, Path] = {}
    folder.mkdir()
    for take in takes:
        known = noted.get((f"{take.build or build}/{take.job}", take.attempt, take.name))
        if known is None and not take.optional:
            raise NotFoundError(
                f"{past.id} took {name_of(take, build)}, which is not kept any more: build the commit again with "
                f"`surveil retry {build}`."
            )
        if known is not None:
            files[take] = folder / str(len(files))
            fetch_archive(dispatcher, known, files[take])

    def bring(_work: Work, take: TakenArtifact, file: IO[bytes]) -> None:
        with files[take].open("rb") as kept:
            shutil.copyfileobj(kept, file)

    return replace(past.spec, artifacts_from=tuple(files)), bring


def with_images(past: Past, problem_with: Callable[[ImageSpec], str], differs: list[str]) -> JobSpec:
    """The job with the images that it and its services had, or where one is no more, with what its name means now."""

    def pinned(image: ImageSpec, had: str, whose: str) -> ImageSpec:
        if not had:
            return image
        # What was made on a machine and never pushed has no name that a registry knows.
        found = replace(image, name=had, pull="missing" if "@" in had else "never")
        if problem := problem_with(found):
            differs.append(f"{whose} was {had}, which is not to be had: {image.name} is used ({problem})")
        return image if problem else found

    spec = past.spec
    if spec.image is None:
        return spec
    services = tuple(
        replace(service, image=pinned(service.image, past.had_by(service.name), f"the image of service {service.name}"))
        for service in spec.services
    )
    return replace(spec, image=pinned(spec.image, past.image, "its image"), services=services)


def _only_wrong(dispatcher: Dispatcher, build: int) -> str:
    jobs = dispatcher.build(build)["jobs"]
    wrong = [str(job["name"]) for job in jobs if job["state"] in WRONG]
    if len(wrong) != 1:
        names = ", ".join(quoted(name) for name in (wrong or [str(job["name"]) for job in jobs])[:10])
        how = f"{len(wrong)} jobs of build {build} went wrong" if wrong else f"No job of build {build} went wrong"
        raise UsageError(f"{how}: name one as in `surveil replay {build}/NAME`; there are {names or 'none'}.")
    return wrong[0]


def _batches(data: bytes) -> list[list[str]]:
    inflater = zlib.decompressobj()
    batches: list[list[str]] = json.loads(inflater.decompress(data, BATCHES_BYTES_MAX))
    return batches
