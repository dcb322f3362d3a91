"""Which secrets a job asks for, and by which variables its steps find them.

What belongs here: from what was written to what travels, and what cannot be. What does not: whether the job may have
them, which is decided when it is handed out (`surveil.hands.entrusting`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeAlias

from surveil.core.declared import Place, SecretDeclaration, Text
from surveil.core.scopes import NAME
from surveil.core.spelling import quoted
from surveil.protocol import SECRETS_MAX, SecretUse

Complain: TypeAlias = Callable[[str, Place, str], None]
_ONE: Final = "let the secret have a variable of its own: `{name: NAME, env: VARIABLE}`"


def uses_of(
    wanted: Sequence[SecretDeclaration], variables: Collection[str], complain: Complain, registry: Text | None = None
) -> tuple[SecretUse, ...]:
    """The secrets of a job whose steps get these `variables` otherwise, and the one for the `registry` of its image."""
    uses = [] if registry is None else [_use(registry, complain)]
    if len(uses) + len(wanted) > SECRETS_MAX:
        complain(f"a job asks for at most {SECRETS_MAX} secrets", wanted[-1].name.place, "")
        return ()
    taken = dict.fromkeys(variables, "`env`")
    for one in wanted:
        name = one.name.value
        if one.env and one.file:
            complain(
                f"the secret {quoted(name)} is either in the variable `env` or as the `file`",
                one.name.place,
                "remove one",
            )
        variable = one.variable
        if variable in taken:
            message = f"the variable {variable} is set by the secret {quoted(name)} and by {taken[variable]}"
            complain(message, one.name.place, _ONE)
        taken[variable] = f"the secret {quoted(name)}"
        uses.append(_use(one.name, complain, env="" if one.file else variable, file=one.file or ""))
    return tuple(uses)


def _use(name: Text, complain: Complain, **variables: str) -> SecretUse:
    """A secret by its name, wherever it goes."""
    if not NAME.fullmatch(name.value):
        hint = "names of secrets are letters, digits and `_`, no digit first, at most 100"
        complain(f"{quoted(name.value)} cannot be a secret's name", name.place, hint)
    place = name.place
    return SecretUse(name=name.value, place=f"{place.file}:{place.line}:{place.column}", **variables)
