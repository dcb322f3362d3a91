"""The web pages of `up`: where they are served, and the link that leads there; and what is handed on to these parts.

What belongs here: choosing an address, refusing one that is taken by `up` itself, and the settings that pages, and who
tells others, have from `up`. What does not: serving (`surveil.web`), and starting the process (`tree`).
"""

from __future__ import annotations

import asyncio
import getpass
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from surveil.config import HTTP_DEFAULT, NotifyConfig, UpConfig, WebConfig
from surveil.config.roles import Setting, settings_of
from surveil.config.values import OFF
from surveil.core.spelling import format_duration
from surveil.errors import SurveilError, UsageError
from surveil.net.addresses import parse_address

_EVERYWHERE: Final = frozenset({"*", "0.0.0.0", "::"})  # noqa: S104  # Said by somebody else, and listened at by none.
_NEAR: Final = {"localhost": "127.0.0.1"}
_HANDED_ON: Final = frozenset(
    {
        "public_url", "trusted_proxies", "trusted_refs", "metrics", "public_badges",
        "blobs", "blobs_endpoint", "blobs_region", "blobs_credentials",
    }
)  # fmt: skip


def require_apart(config: UpConfig) -> None:
    """See that nothing is to be served where something else of this `up` is, and so never would be. Raises
    UsageError.
    """
    listen = parse_address(config.listen, listening=True)
    # Output comes in at the port after that of --listen (docs/adr/0002).
    taken = [(listen.host, listen.port, "--listen"), (listen.host, listen.port + 1, "--listen")] if listen.port else []
    for flag, given in (("--http", config.http), ("--metrics", config.metrics)):
        if given is None or given == OFF or given.endswith(":0"):
            continue
        host, _, port = given.rpartition(":")
        for theirs, at, whose in taken:
            if int(port) == at and _meet(host.strip("[]"), theirs):
                why = f", as the dispatcher takes ports {listen.port} and {at}" if at == listen.port + 1 else ""
                raise UsageError(
                    f"{flag} {given} is where something else of this `up` listens, by {whose}{why}: choose another "
                    f"port with {flag}."
                )
        taken.append((host.strip("[]"), int(port), flag))


def _meet(one: str, other: str) -> bool:
    """Whether two listeners at the same port would be in each other's way."""
    hosts = {_NEAR.get(each, each) for each in (one, other)}
    return len(hosts) == 1 or bool(hosts & _EVERYWHERE)


def address_for(config: UpConfig) -> str | None:
    """Where the pages of this `up` are served: where it says, else where they usually are, else at a port that is free;
    None where nobody wants them.

    The port is chosen here, so that the pages are where they were should they have to be started again.
    """
    if config.http == OFF:
        return None
    host, _, port = (config.http or HTTP_DEFAULT).rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for wanted in (int(port),) if config.http else (int(port), 0):
        try:
            with socket.create_server((host.strip("[]"), wanted), family=family) as found:
                return f"{host}:{found.getsockname()[1]}"
        except OSError:
            continue  # Taken; where it was asked for, the pages say so themselves.
    return f"{host}:{port}"


def settings_for_pages(config: UpConfig) -> dict[str, str]:
    """What the pages have to know of the dispatcher's settings: where it keeps what they show."""
    return _handed_on(config, settings_of(WebConfig), _HANDED_ON)


def settings_for_notify(config: UpConfig) -> dict[str, str]:
    """The same for who tells others of builds."""
    return _handed_on(config, settings_of(NotifyConfig), frozenset({"public_url"}))


def _handed_on(config: UpConfig, own: Mapping[str, Setting], keys: frozenset[str]) -> dict[str, str]:
    """Those of these settings that were set, and the database, whose address may hold a password."""
    unset = UpConfig()
    found: Mapping[str, str] = {
        own[key].variable: setting.shown_in(config)
        for key, setting in settings_of(UpConfig).items()
        if key in keys and setting.shown_in(config) != setting.shown_in(unset)
    }
    return {**found, **({} if config.database is None else {own["database"].variable: config.database})}


async def link_to(data: Path, address: str, public_url: str | None) -> str:
    """The link for whoever typed `up`, or why there is none."""
    from surveil.web.links import LINK_MS, make_link  # noqa: PLC0415  # Without pages, no database.
    from surveil.web.whereabouts import near  # noqa: PLC0415

    def make() -> str:
        # The pages may not have begun to serve yet.
        there, now = public_url or near(f"http://{address}"), time.time_ns() // 1_000_000
        return make_link(data, person=getpass.getuser(), scope="admin", now=now, address=there)

    try:
        return f"{await asyncio.to_thread(make)}   (good once, for {format_duration(LINK_MS)})"
    except SurveilError as error:
        return str(error)
