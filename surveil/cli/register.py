"""Who is known, and what people and programs come in with, as commands look after it.

What belongs here: the register that commands ask, and which one it is. What does not: the dispatcher's folder
(`register_here`), the pages before a dispatcher (`register_there`), and what is said about it (`people`, `visiting`).

Both give the documents that `--json` prints, and refuse with the same sentences.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from surveil.cli.connecting import site_of
from surveil.cli.settings import client_settings

if TYPE_CHECKING:
    from surveil.store.people import Role

Document = dict[str, Any]


class Register(ABC):
    """People with their roles, and what lets them in. Every method raises SurveilError where it cannot be reached."""

    @abstractmethod
    def people(self) -> list[Document]:
        """Everybody who is known, by name."""

    @abstractmethod
    def put(
        self, name: str, roles: Sequence[Role], *, new: bool = False, was: Sequence[Role] | None = None
    ) -> Document:
        """Know somebody, with these roles in place of those that were given by hand before; with `new`, only if nobody
        is known so, and with `was`, only if somebody is and those before are these. Raises InvalidError, and UsageError
        where it is otherwise.
        """

    @abstractmethod
    def forget(self, name: str) -> Document:
        """Know somebody no more; the `name`, and how many of their links, sessions and tokens `ended`. Raises
        NotFoundError.
        """

    @abstractmethod
    def passes(self) -> list[Document]:
        """The sessions and tokens that are still good."""

    @abstractmethod
    def end(self, pass_id: str) -> Document:
        """End the session or token of this id; what it was. Raises NotFoundError."""


@contextmanager
def opened_register(flags: Mapping[str, str | None]) -> Iterator[Register]:
    """The register of the dispatcher whose folder this machine has, or of the one behind the server that was named."""
    settings = client_settings(flags)
    site = site_of(settings, typed=flags.get("dispatcher"))
    if site is None:
        from surveil.cli.register_here import RegisterHere

        yield RegisterHere(settings.data)
        return
    from surveil.cli.blocking import Pages
    from surveil.cli.register_there import RegisterThere

    with Pages(site) as pages:
        yield RegisterThere(pages)
