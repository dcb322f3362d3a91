"""The secrets of jobs that a person runs here: they come from the person's own environment.

What belongs here: which variable is which secret. What does not: what becomes of them
(`surveil.execute.keeper.entrusted`). Whoever fetches an image without saying how does so as `docker login` said.
"""

from __future__ import annotations

from collections.abc import Mapping

from surveil.errors import NotFoundError, UsageError
from surveil.execute.keeper.entrusted import Entrusted, is_login, no_login
from surveil.protocol import JobSpec


def own_secrets(spec: JobSpec, environment: Mapping[bytes, bytes]) -> Entrusted:
    """What a job asks for, each secret from the variable of its name.

    Raises:
        NotFoundError: a variable is not set.
        UsageError: one is not what it has to be.
    """
    entrusted, missing = secrets_at_hand(spec, environment)
    if missing:
        raise NotFoundError(
            f"the job asks for the secret {missing[0]}: set the variable {missing[0]} of your own environment to it, "
            f"as in `{missing[0]}=... surveil run`"
        )
    return entrusted


def secrets_at_hand(spec: JobSpec, environment: Mapping[bytes, bytes]) -> tuple[Entrusted, list[str]]:
    """What there is of what a job asks for, and the names of the secrets that there are not."""
    entrusted = Entrusted(variables={}, files={}, others=[])
    missing: list[str] = []
    for use in spec.secrets:
        value = environment.get(use.name.encode())
        if use.for_registry:
            if value is not None and not is_login(value):
                raise UsageError(no_login(use.name))
            entrusted = entrusted._replace(registry=value or b"")
            continue
        if value is None:
            missing.append(use.name)
        elif use.file:
            entrusted.files[use.file] = value
        else:
            entrusted.variables[use.env] = value.decode(errors="surrogateescape")
    return entrusted, missing
