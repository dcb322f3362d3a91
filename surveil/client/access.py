"""Which dispatcher a command means, who we are, and the key by which it knows us.

What belongs here: looking into the data folder. What does not: making keys (`surveil.net.enrolment`).
"""

from __future__ import annotations

import getpass
import os
from dataclasses import field
from pathlib import Path
from typing import Final

from surveil.errors import NotAllowedError, UnreachableError
from surveil.frozen import dataclass
from surveil.net.addresses import Address, parse_address
from surveil.net.keys import CLIENT_KEY, SERVER_KEY, KeyPair, load_keys
from surveil.net.known import FILE_NAME, KnownDispatcher, load_known
from surveil.places import KEYS

ENROLLED_FOLDER: Final = "client"
"""Below the data folder: what a machine keeps that is only a client of a dispatcher elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a dispatcher is, the key that it must show, and the key that we show."""

    address: Address
    server_key: str
    keys: KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the web pages before a dispatcher are, and the token that we show there."""

    url: str
    token: str = field(repr=False)


def person_here() -> str:
    """Who types commands: the user whose process this is, or who became that one with `sudo`."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def find_access(data: Path, address: str | None) -> Access:
    """The address and keys to use: those of the dispatcher in the folder `data`, or of the one that this machine
    joined as a client.

    `address` overrides where the dispatcher is, and chooses between the two where both are known.

    Raises:
        UnreachableError: the folder is of a dispatcher that was never started on it.
        NotAllowedError: this machine holds no key for any dispatcher, and the sentence says how to get one.
        InfrastructureError: a key's file cannot be used.
    """
    wanted = parse_address(address) if address else None
    try:
        known = _known(data, wanted)
    except PermissionError as error:
        raise NotAllowedError(
            f"{data} belongs to another user, and this one may not look into it: type the command as that user, with "
            f'`sudo -u "$(stat -c %U {error.filename})"` before it, or join as a client of your own with '
            "`surveil client --join TOKEN`."
        ) from error
    if not known:
        where = f"the dispatcher at {wanted}" if wanted else "any dispatcher"
        raise NotAllowedError(
            f"{data} holds no key for {where}: start one here with `surveil up`, name its folder with --data, or make "
            "a token with `surveil token create --role client` there and type `surveil client --join TOKEN` here."
        )
    folder, dispatcher = next((pair for pair in known if wanted in {None, pair[1].address}), known[0])
    return Access(
        address=wanted or dispatcher.address.from_here(),
        server_key=dispatcher.server_key,
        keys=load_keys(folder / KEYS / CLIENT_KEY),
    )


def _known(data: Path, wanted: Address | None) -> list[tuple[Path, KnownDispatcher]]:
    """The folders with a key of ours, each with the dispatcher that knows it. Raises PermissionError."""
    folders = [folder for folder in (data, data / ENROLLED_FOLDER) if (folder / KEYS / CLIENT_KEY).exists()]
    known = [(folder, load_known(folder)) for folder in folders if (folder / FILE_NAME).exists()]
    server_key = data / KEYS / SERVER_KEY
    if data not in folders or (data / FILE_NAME).exists() or not server_key.exists():
        return known
    # A dispatcher's folder that was restored: where it will listen is written when it starts, who it is stands here.
    if wanted is not None:
        return [(data, KnownDispatcher(address=wanted, server_key=load_keys(server_key).public, cluster="")), *known]
    if known:
        return known
    raise UnreachableError(
        f"{data} is the folder of a dispatcher that was not started since it was put there: start it with "
        f"`surveil up --data {data}` or `surveil dispatcher --data {data}`, or say with --dispatcher where it is."
    )
