"""The secrets of jobs that a person runs here: they come from the person's own environment.

What belongs here: which variable is which secret. What does not: what becomes of them (`surveil.execute.entrusted`).
"""

from __future__ import annotations

from collections.abc import Mapping

from surveil.errors import NotFoundError
from surveil.execute.entrusted import Entrusted
from surveil.protocol import JobSpec


def own_secrets(spec: JobSpec, environment: Mapping[bytes, bytes]) -> Entrusted:
    """What a job asks for, each secret from the variable of its name.

    Raises:
        NotFoundError: a variable is not set.
    """
    entrusted = Entrusted(variables={}, files={}, others=[])
    for use in spec.secrets:
        value = environment.get(use.name.encode())
        if value is None:
            raise NotFoundError(
                f"the job asks for the secret {use.name}: set the variable {use.name} of your own environment to it, "
                f"as in `{use.name}=... surveil run`"
            )
        if use.file:
            entrusted.files[use.file] = value
        else:
            entrusted.variables[use.env] = value.decode(errors="surrogateescape")
    return entrusted
