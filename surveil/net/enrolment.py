"""How a machine that holds a join token becomes known to its dispatcher.

What belongs here: the newcomer's side, and the files that it keeps. What does not: which tokens are valid and who is
put into the table (the dispatcher).

The key is made before the first word and kept under a name of its own until the dispatcher has said yes. A try that
breaks off in the middle is therefore repeated with the same key, and a dispatcher that already said yes to this key
says it again.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from surveil.core.peers import Role
from surveil.disk import sync_folder
from surveil.errors import ExitCode, InfrastructureError, NotAllowedError, UnreachableError, UsageError
from surveil.net.connection import Connection, Garbled, Incoming, Link
from surveil.net.keys import CLIENT_KEY, OBSERVER_KEY, RUNNER_KEY, load_or_make_keys, write_privately
from surveil.net.known import FILE_NAME, KnownDispatcher, load_known
from surveil.net.tokens import JoinToken, hash_secret
from surveil.places import KEYS
from surveil.protocol import Enrol, Enrolled, Refused

ENROL_MS: Final = 15_000
REPEAT_MS: Final = 5_000
USED: Final = "joined"
"""The file that tells the token that brought the key, by its hash."""
KEY_FILES: Final = {Role.RUNNER: RUNNER_KEY, Role.OBSERVER: OBSERVER_KEY, Role.CLIENT: CLIENT_KEY}


class _OfAnother(Exception):
    """The dispatcher says that our folder is of another installation than its own."""


def is_enrolled(token: JoinToken, *, role: Role, data: Path) -> bool:
    """Whether the folder `data` already holds what this token's dispatcher once gave a peer of this role.

    A service whose command line has the token in it starts more than once, and the token is good only once.

    Raises:
        InfrastructureError: what is there cannot be read.
    """
    if not (data / KEYS / KEY_FILES[role]).exists() or not (data / FILE_NAME).exists():
        return False
    return load_known(data).server_key == token.server_key


def is_spent(token: JoinToken, *, role: Role, data: Path) -> bool:
    """Whether this very token brought the key in the folder `data`. Showing it again at each start would be refused,
    and counted as a stranger's try.

    Raises:
        InfrastructureError: what is there cannot be read.
    """
    try:
        used = (data / USED).read_bytes()
    except OSError:
        return False
    return used == hash_secret(token.secret).encode() and is_enrolled(token, role=role, data=data)


async def enrol(token: JoinToken, *, name: str, role: Role, data: Path, timeout_ms: int = ENROL_MS) -> Enrolled:
    """Make a key, have it enrolled as `name`, and keep it with the dispatcher's address and key in the folder `data`.

    Raises:
        NotAllowedError: the token is unknown, used up, expired, revoked, or made for another role.
        UsageError: `data` is a runner's or observer's folder of another installation.
        UnreachableError: nothing that holds the dispatcher's key answers at the token's address.
        InfrastructureError: `data` cannot be read or written.
    """
    before = _known_before(role, data)
    if before is not None and before.server_key != token.server_key:
        raise _of_another(before, data)  # Before the token is used, which may be good only once.
    key_file = data / KEYS / KEY_FILES[role]
    draft = key_file.with_suffix(".joining")
    keys = load_or_make_keys(draft)
    wish = Enrol(secret=token.secret, name=name, cluster="" if before is None else before.cluster)
    try:
        async with Connection(token.address, token.server_key, keys) as connection:
            answer = await _ask(connection, token, wish, timeout_ms)
    except NotAllowedError:
        draft.unlink(missing_ok=True)
        raise
    except _OfAnother:
        draft.unlink(missing_ok=True)
        assert before is not None, "only who belongs somewhere can belong elsewhere"
        raise _of_another(before, data) from None
    if answer.role != role:
        draft.unlink(missing_ok=True)
        raise NotAllowedError(
            f"the token is for a machine that joins as {answer.role}, not as {role}: "
            f"make another with 'surveil token create --role {role}'"
        )
    if before is not None and before.cluster != answer.cluster:
        # A dispatcher of an older version does not ask before it uses the token up.
        draft.unlink(missing_ok=True)
        raise _of_another(before, data)
    KnownDispatcher(address=token.address, server_key=token.server_key, cluster=answer.cluster).save(data)
    try:
        os.replace(draft, key_file)  # noqa: PTH105  # The word that says what happens to an older key.
        sync_folder(key_file.parent)  # The token is used up by now, so the key must not be lost with the power.
    except OSError as error:
        raise InfrastructureError(f"{key_file} cannot be written: {error.strerror}") from error
    write_privately(data / USED, hash_secret(token.secret).encode(), replace=True)
    return answer


def _known_before(role: Role, data: Path) -> KnownDispatcher | None:
    """Whose installation the folder belongs to. A client's holds nothing that is numbered, and may change sides."""
    return load_known(data) if role is not Role.CLIENT and (data / FILE_NAME).exists() else None


def _of_another(known: KnownDispatcher, data: Path) -> UsageError:
    """Both installations have a build 1: what is held, done or seen of one would be taken for the other's."""
    return UsageError(
        f"{data} belongs to installation {known.cluster}, whose dispatcher was at {known.address}: "
        f"join with a folder of its own for each installation (--data DIR), or remove {data} if that one is gone"
    )


async def _ask(connection: Connection, token: JoinToken, wish: Enrol, timeout_ms: int) -> Enrolled:
    """Say this wish on each new connection, and again now and then, until there is an answer."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_ms / 1000
    strange = False
    while (left_ms := int((until - loop.time()) * 1000)) > 0:
        for item in await connection.receive(min(left_ms, REPEAT_MS)):
            if (answer := _read(item, token, wish)) is not None:
                return answer
            strange = strange or item is Link.STRANGE
        if connection.connected:
            connection.send(wish)
    if strange:
        raise UnreachableError(
            f"what answers at {token.address} is not the dispatcher that made this token: "
            "check that its address was not given to another process, and make a new token with 'surveil token create'"
        )
    raise UnreachableError(
        f"no dispatcher answers at {token.address} within {timeout_ms / 1000:g} s: check that it runs "
        "('surveil status' on its machine), that it listens on an address that this machine reaches, "
        "and that no firewall is between"
    )


def _read(item: Incoming, token: JoinToken, wish: Enrol) -> Enrolled | None:
    match item:
        case Enrolled():
            return item
        case Refused(exit_code=ExitCode.USAGE) if wish.cluster:
            raise _OfAnother
        case Refused(reason=reason):
            raise NotAllowedError(f"the dispatcher at {token.address} refused: {reason}")
        case Garbled(reason=reason):
            raise NotAllowedError(f"the dispatcher at {token.address} cannot be understood: {reason}")
        case Link.REFUSED:
            raise NotAllowedError(
                f"the dispatcher at {token.address} takes no token now, so this one is expired, used up or revoked: "
                "make a new one with 'surveil token create' on the dispatcher's machine"
            )
        case _:
            return None
