"""How a command reaches a dispatcher: from flags and settings to one that can be asked.

What belongs here: finding it, or the server that asks it for us. What does not: asking (`blocking`), whose modules are
imported only when somebody asks: `--help` of a command should not wait for sockets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from surveil.errors import NotAllowedError

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher
    from surveil.client.access import Access, Site
    from surveil.config import ClientConfig, ReplayConfig


@contextmanager
def connected(flags: Mapping[str, str | None]) -> Iterator[Dispatcher]:
    """The dispatcher that flags, environment and configuration file name; by default the one of this machine."""
    from surveil.cli.blocking import Dispatcher
    from surveil.cli.settings import client_settings

    settings = client_settings(flags)
    with Dispatcher(way_to(settings, typed=flags.get("dispatcher"))) as dispatcher:
        yield dispatcher


def way_to(settings: ClientConfig | ReplayConfig, *, typed: str | None) -> Access | Site:
    """Where to ask, and as whom. A dispatcher that was `typed` counts for more than a server that is set elsewhere.

    Raises:
        NotAllowedError: there is no key, or no token, to be known by.
    """
    from surveil.client.access import find_access

    return site_of(settings, typed=typed) or find_access(settings.data, settings.dispatcher)


def site_of(settings: ClientConfig | ReplayConfig, *, typed: str | None) -> Site | None:
    """The pages through which to ask, as `way_to` has it; None where a dispatcher is asked itself. Raises
    NotAllowedError.
    """
    from surveil.client.access import Site

    if settings.server is None or typed is not None:
        return None
    if settings.token is None:
        raise NotAllowedError(
            f"{settings.server} takes a token: make one with `surveil login --token` on the dispatcher's machine, and "
            "name a file with it in SURVEIL_TOKEN_FILE."
        )
    return Site(url=settings.server, token=settings.token)
