"""The services of an attempt whose steps have ended, once more: for a person who looks around where they stood.

What belongs here: starting them with all that they had written, and hearing them until the person goes. What does not:
services of an attempt that runs (`keeper.services`), and the person's shell (`shell`).
"""

from __future__ import annotations

import contextlib
import select
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from surveil.clock import boot_ms
from surveil.execute.containers.container import Containers
from surveil.execute.containers.services import container_of
from surveil.execute.keeper.masking import Forms
from surveil.execute.keeper.services import Services
from surveil.execute.scene import Scene

LOOK_MS: Final = 100


@contextlib.contextmanager
def served_again(scene: Scene, containers: Containers) -> Iterator[Callable[[], None]]:
    """The services of a scene, in its container's network, which runs again; ready, and gone at the end. What comes is
    to be called now and then, so that none of them waits for somebody who reads what it says.

    Raises End where one does not get ready again, and InfrastructureError.
    """
    order = scene.order
    for service in order.services:
        for used in Path(service.container).glob("*.*"):
            used.unlink()  # The pipes of steps that have ended; those of the driver are used again.
        containers.restart(container_of(scene.container, service.name))
    # Their processes and control groups are others than before.
    fresh = [service._replace(first_process=0, cgroups=()) for service in order.services]
    with tempfile.TemporaryDirectory(prefix="services-", dir=scene.workspace.root.parent) as logs:
        poll = select.poll()
        services = Services(order._replace(services=fresh), logs, Forms(scene.secrets.secrets()), poll)
        try:
            services.open(scene.secrets.variables)
            while not services.ready:
                services.take(now := boot_ms())
                services.look(now)
                poll.poll(LOOK_MS)
            yield lambda: _hear(services)
        finally:
            services.close()


def _hear(services: Services) -> None:
    services.take(boot_ms())
