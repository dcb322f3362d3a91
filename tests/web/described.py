"""Requests that the description of the API allows, and such that it does not, against the stage's application.

`python -m tests.web.described --seconds 600` goes on with other ones for so long, and prints what it found.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from tests.web.stage import Stage

MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_REFUSED: Final = "RejectedPositiveData"
_JUDGING: Final = {
    "POST /api/v1/builds", "POST /api/v1/join-tokens", "POST /runner", "POST /api/v1/questions/{question}",
    "PUT /api/v1/secrets/{name}", "DELETE /api/v1/secrets/{name}", "PUT /api/v1/users/{name}",
    "GET /api/v1/builds/{build}/jobs/{job}/attempts/{attempt}/log/search",
}  # fmt: skip
"""What is a name, a label or an argument is said here by who takes it, in a sentence, and not by the description."""


def holes(stage: Stage, operations: slice, *, examples: int, number: int = 1) -> Iterator[tuple[str, int, list[str]]]:
    """For each route how many requests were sent, and what was wrong with the answers. `number` chooses other ones."""
    # Whatever is followed ends at once, and nobody is told that they come too often.
    stage.app.state.stopping.set()
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", stage.app)
    headers = stage.token("admin")
    for result in itertools.islice(schema.get_all_operations(), operations.start, None, operations.step):
        assert isinstance(result, Ok), result
        operation = result.ok()
        sent, found = 0, dict[str, str]()
        for mode in MODES:
            made, wrong = _tried(operation, mode, headers, examples, number)
            sent, found = sent + made, {**found, **wrong}
        yield operation.label, sent, list(found.values())


def _tried(
    operation: Any, mode: GenerationMode, headers: dict[str, str], examples: int, number: int
) -> tuple[int, dict[str, str]]:
    sent, found = 0, dict[str, str]()

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(mode))
    def ask(case: Any) -> None:
        nonlocal sent
        sent += 1
        try:
            case.call_and_validate(headers=headers)
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                if type(failure).__name__ != _REFUSED or operation.label not in _JUDGING:
                    found.setdefault(type(failure).__name__, f"{mode.value}: {failures}\n{failure}")
        except Exception as failure:  # Whatever it is, it is what we look for.
            if type(failure).__module__.startswith("hypothesis"):
                raise
            found.setdefault(type(failure).__name__, f"{mode.value}: {case.as_curl_command()}\n{failure!r}")

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, operation.label  # Nothing could be wrong about it.
    return sent, found


def main() -> int:
    """Search for as long as is said; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    until = time.monotonic() + parser.parse_args().seconds
    sent, routes, found = 0, set[str](), dict[str, None]()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        while time.monotonic() < until:
            for label, made, wrong in holes(stage, slice(0, None, 1), examples=50, number=random.getrandbits(32)):
                sent += made
                routes.add(label)
                found.update(dict.fromkeys(f"{label}: {each}" for each in wrong))
                if time.monotonic() > until:
                    break
    sys.stdout.write("".join(f"{each}\n" for each in found))
    sys.stdout.write(f"{sent} requests to {len(routes)} routes, {len(found)} holes\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
