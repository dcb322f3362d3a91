"""The register in a dispatcher's folder on this machine.

What belongs here: keeping and reading it, and writing down what was done. What does not: files and rows
(`surveil.store`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from surveil.answer.auditing import What
from surveil.cli.register import Document, Register
from surveil.store.people import Role, checked, roles_text
from surveil.web.links import end_pass, note_here, opened_passes, pass_view, passes_of, person_view


class RegisterHere(Register):
    """Opens the file of the folder `data` for each thing that is asked. Raises InvalidError where it is no
    dispatcher's, and StoreError.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def people(self) -> list[Document]:
        """Everybody who is known."""
        with opened_passes(self._data) as passes:
            return [person_view(each) for each in passes.people.listed()]

    def put(
        self, name: str, roles: Sequence[Role], *, new: bool = False, was: Sequence[Role] | None = None
    ) -> Document:
        """Know somebody with these roles."""
        checked(name, roles)
        with opened_passes(self._data) as passes:
            # Looked at before as well, so that no line says of somebody what is not done.
            passes.people.see(name, roles, new=new, was=was)
            note_here(self._data, What.USER, roles_text(name, roles), now=_now())
            return person_view(passes.people.put(name, roles, now=_now(), new=new, was=was))

    def forget(self, name: str) -> Document:
        """Know somebody no more."""
        with opened_passes(self._data) as passes:
            note_here(self._data, What.USER_REMOVE, name, now=_now())
            return {"name": name, "ended": passes.forget(name, now=_now())}

    def passes(self) -> list[Document]:
        """The sessions and tokens that are still good."""
        return [pass_view(each) for each in passes_of(self._data, now=_now())]

    def end(self, pass_id: str) -> Document:
        """End the session or token of this id."""
        return pass_view(end_pass(self._data, pass_id, now=_now()))


def _now() -> int:
    return time.time_ns() // 1_000_000
