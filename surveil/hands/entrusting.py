"""Orders of jobs that ask for secrets or take artifacts, on their way to a runner: what may be entrusted goes along in
an envelope.

What belongs here: which job gets which secret, and why not. What does not: which runner gets the job (core), where
secrets are (`safe`), what an envelope is (`envelope`), and the artifacts (`taking`).

It is decided each time that a job is handed out, by what is set then. What strangers wrote gets no secrets and runs
without. A job that may not have what it asks for is errored; no runner hears of it: of several answers for one
attempt, which an order has that is repeated while a Vault is slow, the first decides whether it is said or taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from surveil.answer.secrets import VALUE_BYTES_MIN
from surveil.core.events import Event, Withheld
from surveil.core.model import AttemptId, AttemptState
from surveil.core.scopes import Source
from surveil.core.state import State
from surveil.errors import NotFoundError, SurveilError
from surveil.execute.keeper.entrusted import Entrusted, is_login, no_login
from surveil.frozen import replace
from surveil.hands.envelope import closed
from surveil.hands.safe import Safe
from surveil.hands.vault import Vault
from surveil.protocol import Assign, Message, SecretUse
from surveil.say import Voice

JOB_BYTES_MAX: Final = 96 * 1024
"""All secrets of one job; with its envelope the order has to fit into a message."""
DECIDED_MAX: Final = 10_000
THREADS: Final = 4
"""Threads of their own: a Vault that hangs keeps nobody waiting who asks for something else."""

voice = Voice("dispatcher")


class RefusedError(SurveilError):
    """A job may not have what it asks for; saying so again will not help."""


class Entrusting:
    """Says orders with their envelopes. `with_artifacts` says in an order of which digests those are that it names, or
    raises SurveilError; `say` speaks to a runner; `put` lets the mind know; `start` starts a task.
    """

    def __init__(
        self,
        state: State,
        safe: Safe,
        vault: Vault | None = None,
        *,
        with_artifacts: Callable[[Assign], Assign],
        say: Callable[[str, Message], None],
        put: Callable[[Event], None],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._state = state
        self._safe = safe
        self._vault = vault
        self._with_artifacts = with_artifacts
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="secrets")
        self._say = say
        self._put = put
        self._start = start
        # Who had them before our start may have begun: of these nothing is taken back.
        assigned = (key for key, attempt in state.attempts.items() if attempt.state == AttemptState.ASSIGNED)
        self._told: dict[AttemptId, bool] = dict.fromkeys(assigned, True)

    def close(self) -> None:
        """Begin nothing new; what waits for a Vault is left to its patience."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def takes(self, runner: str, order: Assign) -> bool:
        """Whether this order needs secrets or artifacts; then it is said to its runner with them, or taken back."""
        wanted = _wants_secrets(order) or bool(order.spec.artifacts_from)
        if wanted:
            self._start(self._entrust(runner, order))
        return wanted

    async def _entrust(self, runner: str, order: Assign) -> None:
        attempt = (order.job, order.attempt)
        try:
            # Not in our own threads: a Vault that hangs keeps nobody waiting who takes artifacts alone.
            whole = await asyncio.to_thread(self._with_artifacts, order)
            if _wants_secrets(order):
                # The library of encryption takes a while to load, and a Vault to answer.
                whole = await asyncio.get_running_loop().run_in_executor(self._pool, self._enveloped, runner, whole)
        except SurveilError as problem:
            self._withhold(attempt, problem)
            return
        present = self._state.attempts.get(attempt)
        if present is not None and present.state == AttemptState.ASSIGNED and self._is_told(attempt, otherwise=True):
            self._say(runner, whole)

    def _enveloped(self, runner: str, order: Assign) -> Assign:
        """The order with its envelope. Raises SurveilError."""
        return replace(order, envelope=closed(self._gather(order), order, runner))

    def _withhold(self, attempt: AttemptId, problem: SurveilError) -> None:
        job, number = attempt
        voice.warning("attempt is taken back", job=job, attempt=number, reason=problem)
        again, told = not isinstance(problem, RefusedError), self._is_told(attempt, otherwise=False)
        self._put(Withheld(job=job, attempt=number, reason=str(problem), again=again, told=told))

    def _is_told(self, attempt: AttemptId, *, otherwise: bool) -> bool:
        """Whether its runner may have an order, as the first answer decided; `otherwise` if this is the first.

        What was taken back is not said any more: the mind may hear of it late, since it waits for the disk.
        """
        told = self._told.setdefault(attempt, otherwise)
        if len(self._told) > DECIDED_MAX:
            del self._told[next(iter(self._told))]
        return told

    def _gather(self, order: Assign) -> Entrusted:
        """All that a job asks for. Raises SurveilError, with a sentence for the author of its pipeline."""
        entrusted = Entrusted(variables={}, files={}, others=[])
        for use in order.spec.secrets:
            value = self._value(order, use)
            if use.for_registry:
                if not is_login(value):
                    raise RefusedError(f"{_place(self._state, order, use)}{no_login(use.name)}")
                entrusted = entrusted._replace(registry=value)
            elif use.file:
                entrusted.files[use.file] = value
            elif b"\0" in value:
                raise RefusedError(
                    f"{_place(self._state, order, use)}the secret {use.name} holds a NUL byte, which no variable can: "
                    f"ask for it as a file, `{{name: {use.name}, file: VARIABLE}}`"
                )
            else:
                entrusted.variables[use.env] = value.decode(errors="surrogateescape")
        if sum(map(len, entrusted.secrets())) + len(entrusted.registry) > JOB_BYTES_MAX:
            raise RefusedError(f"the secrets of {order.spec.name} are larger than {JOB_BYTES_MAX // 1024} KiB together")
        return entrusted

    def _value(self, order: Assign, use: SecretUse) -> bytes:
        secret = self._safe.find(use.name, repo=order.repo, ref=order.ref, job=order.spec.declared_name)
        place = _place(self._state, order, use)
        if secret is not None:
            value = self._safe.open(secret)
            return value if secret.source is Source.HERE else self._from_vault(place, use.name, value.decode())
        if self._safe.knows(use.name):
            raise RefusedError(
                f"{place}the secret {use.name} is not allowed for job {order.spec.name} of {order.ref} in "
                f"{order.repo}; `surveil secret ls` says for which it is"
            )
        raise RefusedError(
            f"{place}there is no secret {use.name}: type `surveil secret set {use.name}` where the dispatcher is known"
        )

    def _from_vault(self, place: str, name: str, where: str) -> bytes:
        if self._vault is None:
            raise RefusedError(
                f"{place}the secret {name} is kept in a Vault, and this dispatcher knows none: start it with `--vault "
                "ADDRESS --vault-token FILE`"
            )
        try:
            value = self._vault.read(where)
        except NotFoundError as missing:
            raise RefusedError(f"{place}the secret {name} cannot be had: {missing}") from missing
        if len(value) < VALUE_BYTES_MIN:
            raise RefusedError(
                f"{place}the secret {name} is shorter than {VALUE_BYTES_MIN} bytes: no log could cover it"
            )
        return value


def _wants_secrets(order: Assign) -> bool:
    return bool(order.spec.secrets) and order.trusted


def _place(state: State, order: Assign, use: SecretUse) -> str:
    build = state.builds.get(order.build)
    if build is None or not use.place:
        return ""
    return f"{build.pipeline_file if use.place.startswith(':') else ''}{use.place}: "
