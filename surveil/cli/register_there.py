"""The register of a dispatcher elsewhere, through the pages before it.

What belongs here: its routes. What does not: how they are asked (`surveil.client.over_http`), and their other end
(`surveil.web.api.people`, `surveil.web.api.keeping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from surveil.cli.blocking import Pages
from surveil.cli.register import Document, Register
from surveil.client.asking import LOST
from surveil.store.people import Role, checked, nobody_called
from surveil.web.links import no_pass

_USERS: Final = "/api/v1/users"
_PASSES: Final = "/api/v1/passes"
_LOST: Final = f"{LOST}look with `surveil user ls`, and type it again."


class RegisterThere(Register):
    """Asks the pages; the rights are those of the token that is shown there."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def people(self) -> list[Document]:
        """Everybody who is known."""
        return list(self._pages.request("GET", _USERS))

    def put(
        self, name: str, roles: Sequence[Role], *, new: bool = False, was: Sequence[Role] | None = None
    ) -> Document:
        """Know somebody with these roles."""
        # A name that cannot be one may not be written into an address either.
        checked(name, roles)
        about = {"roles": _given(roles), **({} if was is None else {"was": _given(was)})}
        path = f"{_USERS}/{quote(name, safe='')}"
        if not new:
            return dict(self._pages.request("PUT", path, about))
        # Said twice, the second one would be refused for the first.
        return dict(self._pages.request("PUT", f"{path}?new=true", about, once=_LOST))

    def forget(self, name: str) -> Document:
        """Know somebody no more."""
        if name not in [each["name"] for each in self.people()]:
            raise nobody_called(name)
        return dict(self._pages.request("DELETE", f"{_USERS}/{quote(name, safe='')}", once=_LOST))

    def passes(self) -> list[Document]:
        """The sessions and tokens that are still good, as far as the token may see them."""
        return list(self._pages.request("GET", _PASSES))

    def end(self, pass_id: str) -> Document:
        """End the session or token of this id."""
        found = next((each for each in self.passes() if each["id"] == pass_id), None)
        if found is None:
            raise no_pass(pass_id)
        lost = f"{LOST}look with `surveil login --list`, and type it again."
        self._pages.request("DELETE", f"{_PASSES}/{quote(pass_id, safe='')}", once=lost)
        return found


def _given(roles: Sequence[Role]) -> list[Document]:
    return [{"role": each.scope, "repo": each.repo} for each in roles]
