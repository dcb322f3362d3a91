"""The containers of a runner's attempts: which attempt has one, what it is called, and whose it is.

What belongs here: the way from an attempt's folder to its container. What does not: containers themselves
(`container`, `services`), and threads (`process`). All calls block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from surveil.clock import boot_ms
from surveil.core.model import AttemptId
from surveil.core.run_events import StepsChanged
from surveil.errors import InfrastructureError
from surveil.execute.attempts import Folder, folder_name, group_prefix
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.containers.container import OWNER, Containers, Placed
from surveil.execute.containers.fetching import Fetch
from surveil.execute.containers.services import attempt_of, containers_of
from surveil.execute.contract import Tell
from surveil.execute.isolation.cgroups import PREFIX
from surveil.execute.keeper.endings import secret_words
from surveil.execute.keeper.entrusted import Entrusted, make_folder
from surveil.frozen import replace
from surveil.protocol import Assign, Remark, StepReport
from surveil.say import Voice

if TYPE_CHECKING:
    from surveil.execute.containers.engine import Resolved

voice = Voice("execute")


class Housing:
    """The containers of the attempts below the data folder `data` of the runner that is called `runner`; none where
    there is no engine.
    """

    def __init__(
        self, containers: Containers | None, data: Path, runner: str, open_envelope: Callable[[Assign], Entrusted]
    ) -> None:
        self._containers = containers
        self._data = data
        self._runner = runner
        self._open = open_envelope
        self._resolved: dict[AttemptId, list[Resolved]] = {}
        """The images of attempts that are about to begin; one that is fetched always is fetched once."""

    def prepare(self, folder: Folder, stopped: Callable[[], bool], tell: Tell) -> None:
        """Have the images of an attempt here, if it has any; how far they have come is told.

        Raises InfrastructureError.
        """
        spec, began = folder.assign.spec, boot_ms()
        if spec.image is None:
            return

        def say(sentence: str) -> None:
            remark = Remark(at=0, after_ms=boot_ms() - began, text=sentence)
            first, *others = (StepReport(name=step.name, state="pending") for step in spec.steps)
            tell(StepsChanged(id=folder.id, steps=(replace(first, remarks=(remark,)), *others)))

        login = self._open(folder.assign).registry if any(use.for_registry for use in spec.secrets) else b""
        self._resolved[folder.id] = self._offered().resolve_all(spec, Fetch(login, stopped, say))

    def place(self, folder: Folder) -> Placed | None:
        """Start the containers of an attempt; None for one that has none. Raises InfrastructureError."""
        assign, image = folder.assign, folder.assign.spec.image
        if image is None:
            return None
        try:
            for path in folder.in_memory():
                make_folder(str(path))  # The engine would make one of its own.
        except OSError as error:
            raise InfrastructureError(secret_words(error)) from error
        resolved, *others = self._resolved.pop(folder.id, ()) or self._offered().resolve_all(assign.spec, Fetch())
        return self._offered().place(
            folder.container, folder.path, folder.workspace, image, resolved,
            # An engine with live-restore would remove, at its start, what runs and was to remove itself.
            labels=self._labels(assign), secrets=folder.in_memory(), trusted=assign.trusted, kept=True,
            services=[*zip(assign.spec.services, others, strict=True)],
        )  # fmt: skip

    def give_back(self, work: Work, /) -> Collection:
        """As a collector, the first of all: whatever steps made as root can be read."""
        image, name = work.assign.spec.image, f"{PREFIX}{group_prefix(self._data)}{folder_name(work.id)}"
        if image is not None and self._containers is not None:
            self._containers.give_back(name, work.workspace, image, self._labels(work.assign))
        return Collection()

    def remove(self, folder: Folder) -> None:
        """Nothing of an attempt's containers is left, and all files that are left are the runner's."""
        self._resolved.pop(folder.id, None)
        image = folder.assign.spec.image
        if image is not None and self._containers is not None:
            for container in containers_of(folder.container, folder.assign.spec.services):
                self._containers.remove(container)
            self._containers.give_back(
                folder.container, folder.workspace, image, self._labels(folder.assign), folder.in_memory()
            )

    def sweep(self, known: Callable[[], Iterable[str]]) -> None:
        """Remove all containers of this runner but those of the attempts whose folders have these names, which is asked
        for after it was seen which there are: an attempt is known before it has a container.
        """
        if self._containers is None:
            return
        prefix = group_prefix(self._data)
        found = self._containers.of(prefix)
        kept = {f"{PREFIX}{prefix}{name}" for name in known()}
        for name in found:
            if attempt_of(name) not in kept:
                voice.warning("container left behind is removed", container=name)
                self._containers.remove(name)

    def close(self) -> None:
        """Let go of the engine."""
        if self._containers is not None:
            self._containers.close()

    def _labels(self, assign: Assign) -> dict[str, str]:
        return {
            OWNER: group_prefix(self._data),
            "surveil.runner": self._runner,
            "surveil.job": assign.job,
            "surveil.attempt": str(assign.attempt),
        }

    def _offered(self) -> Containers:
        if self._containers is None:
            raise InfrastructureError(f"the job has an image, and runner {self._runner} offers no containers")
        return self._containers
