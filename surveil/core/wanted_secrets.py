"""Which secrets a job asks for, and by which variables its steps find them.

What belongs here: from what was written to what travels, and what cannot be. What does not: whether the job may have
them, which is decided when it is handed out (`surveil.hands.entrusting`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeAlias

from surveil.core.declared import Place, SecretDeclaration
from surveil.core.scopes import NAME
from surveil.core.spelling import quoted
from surveil.protocol import SECRETS_MAX, SecretUse

Complain: TypeAlias = Callable[[str, Place, str], None]
_ONE: Final = "let the secret have a variable of its own: `{name: NAME, env: VARIABLE}`"


def uses_of(
    wanted: Sequence[SecretDeclaration], variables: Collection[str], complain: Complain
) -> tuple[SecretUse, ...]:
    """The secrets of a job whose steps get these `variables` otherwise."""
    if len(wanted) > SECRETS_MAX:
        complain(f"a job asks for at most {SECRETS_MAX} secrets", wanted[SECRETS_MAX].name.place, "")
        return ()
    taken = dict.fromkeys(variables, "`env`")
    uses = []
    for one in wanted:
        name, place = one.name.value, one.name.place
        if not NAME.fullmatch(name):
            hint = "names of secrets are letters, digits and `_`, no digit first, at most 100"
            complain(f"{quoted(name)} cannot be a secret's name", place, hint)
        if one.env and one.file:
            complain(f"the secret {quoted(name)} is either in the variable `env` or as the `file`", place, "remove one")
        variable = one.variable
        if variable in taken:
            complain(
                f"the variable {variable} is set by the secret {quoted(name)} and by {taken[variable]}", place, _ONE
            )
        taken[variable] = f"the secret {quoted(name)}"
        uses.append(
            SecretUse(
                name=name,
                env="" if one.file else variable,
                file=one.file or "",
                place=f"{place.file}:{place.line}:{place.column}",
            )
        )
    return tuple(uses)
