"""The containers of a runner's attempts: which attempt has one, what it is called, and whose it is.

What belongs here: the way from an attempt's folder to its container. What does not: containers themselves
(`containers`), and threads (`process`). All calls but `offered` block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from surveil.errors import InfrastructureError
from surveil.execute.attempts import Folder, group_prefix
from surveil.execute.cgroups import PREFIX
from surveil.execute.containers import OWNER, Containers, Placed
from surveil.execute.endings import secret_words
from surveil.execute.entrusted import make_folder
from surveil.mirror.command import Halt
from surveil.say import Voice

voice = Voice("execute")


class Housing:
    """The containers of the attempts below the data folder `data` of the runner that is called `runner`; none where
    there is no engine.
    """

    def __init__(self, containers: Containers | None, data: Path, runner: str) -> None:
        self._containers = containers
        self._data = data
        self._runner = runner

    def prepare(self, folder: Folder, halt: Halt) -> None:
        """Have the image of an attempt here, if it has one. Raises InfrastructureError."""
        if folder.assign.spec.image is not None:
            self._offered().resolve(folder.assign.spec.image, halt)

    def place(self, folder: Folder) -> Placed | None:
        """Start the container of an attempt; None for one that has none. Raises InfrastructureError."""
        assign, image = folder.assign, folder.assign.spec.image
        if image is None:
            return None
        labels = {
            OWNER: group_prefix(self._data),
            "surveil.runner": self._runner,
            "surveil.job": assign.job,
            "surveil.attempt": str(assign.attempt),
        }
        try:
            for path in folder.in_memory():
                make_folder(str(path))  # The engine would make one of its own.
        except OSError as error:
            raise InfrastructureError(secret_words(error)) from error
        return self._offered().place(
            folder.container, folder.path, folder.workspace, image, labels,
            secrets=folder.in_memory(), trusted=assign.trusted,
        )  # fmt: skip

    def remove(self, folder: Folder) -> None:
        """Nothing of an attempt's container is left."""
        if folder.assign.spec.image is not None and self._containers is not None:
            self._containers.remove(folder.container)

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
            if name not in kept:
                voice.warning("container left behind is removed", container=name)
                self._containers.remove(name)

    def close(self) -> None:
        """Let go of the engine."""
        if self._containers is not None:
            self._containers.close()

    def _offered(self) -> Containers:
        if self._containers is None:
            raise InfrastructureError(f"the job has an image, and runner {self._runner} offers no containers")
        return self._containers
