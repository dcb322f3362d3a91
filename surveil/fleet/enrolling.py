"""How a child that is a peer of the dispatcher gets in: with a token at first, with its own key ever after.

What belongs here: what the environment of a local runner or observer needs at a start. What does not: what it does with
a token (`surveil.net.enrolment`).
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from surveil.errors import ExitCode
from surveil.fleet.child import ADDRESS_VARIABLE, JOIN_VARIABLE
from surveil.fleet.supervise import HOPELESS, News
from surveil.net.known import FILE_NAME
from surveil.places import KEYS

WORTH_ANOTHER_TRY: Final = frozenset(HOPELESS - {ExitCode.NOT_ALLOWED})
"""For a part that enrols: a key that the dispatcher does not know any more is a refusal that a new key may end."""


class Enrolment:
    """What one child needs at each start.

    Args:
        data: the child's own data folder, in which it keeps its key.
        address: where the dispatcher listens, as a process of this machine reaches it.
        make_token: makes a join token for a child of this role.
        settings: the rest of its environment.
    """

    def __init__(
        self, data: Path, address: str, make_token: Callable[[], Awaitable[str]], settings: Mapping[str, str]
    ) -> None:
        self._data = data
        self._address = address
        self._make_token = make_token
        self._settings = settings
        self._renewed = False

    async def prepare(self) -> Mapping[str, str]:
        """The environment for the next start: where the dispatcher is, and a token if there is no key yet."""
        if (self._data / FILE_NAME).exists() and any(self._data.glob(f"{KEYS}/*.key")):
            # The dispatcher may listen elsewhere than when the child joined.
            return {**self._settings, ADDRESS_VARIABLE: self._address}
        return {**self._settings, JOIN_VARIABLE: await self._make_token()}

    def consider(self, news: News) -> None:
        """Look at how the child ended: if its key was refused, let it make another, once.

        The dispatcher's database was replaced, or somebody revoked the key; whoever revokes it again means it. Which
        installation the folder belongs to stays written there: joining another one with it would take what was done
        there for done here.
        """
        if news.exit_code == ExitCode.NOT_ALLOWED and not self._renewed:
            self._renewed = True
            shutil.rmtree(self._data / KEYS, ignore_errors=True)
