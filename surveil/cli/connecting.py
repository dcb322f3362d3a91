"""How a command reaches a dispatcher: from flags and settings to one that can be asked.

What belongs here: finding it. What does not: asking (`blocking`), whose modules are imported only when somebody asks:
`--help` of a command should not wait for sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher


@contextmanager
def connected(flags: Mapping[str, str | None]) -> Iterator[Dispatcher]:
    """The dispatcher that flags, environment and configuration file name; by default the one of this machine."""
    from surveil.cli.blocking import Dispatcher
    from surveil.cli.settings import client_settings
    from surveil.client.access import find_access

    settings = client_settings(flags)
    with Dispatcher(find_access(settings.data, settings.dispatcher)) as dispatcher:
        yield dispatcher
