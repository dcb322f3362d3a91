"""Requests that the description of the API allows, and such that it does not, against the stage's application.

`python -m tests.web.described --seconds 600` goes on with other ones for so long, and prints what it found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from surveil.web.allowing import HowOften
from tests.fitting import closed
from tests.web import world
from tests.web.stage import Stage

NEGATIVE: Final = GenerationMode.NEGATIVE
MODES: Final = (GenerationMode.POSITIVE, NEGATIVE)
OURS: Final = "Authorization"
REFUSED: Final = 400
_REFUSED: Final = "RejectedPositiveData"
_TAKEN: Final = "AcceptedNegativeData"
_JUDGING: Final = {
    "POST /api/v1/builds", "POST /commit", "POST /api/v1/join-tokens", "POST /runner",
    "POST /api/v1/questions/{question}",
    "PUT /api/v1/secrets/{name}", "DELETE /api/v1/secrets/{name}", "PUT /api/v1/users/{name}", "PUT /api/v1/hooks",
    "GET /api/v1/builds/{build}/jobs/{job}/attempts/{attempt}/log/search",
    "GET /api/v1/builds/{build}/jobs/{job}/attempts/{attempt}/log/rows",
}  # fmt: skip
"""What is a name, a label or an argument is said here by who takes it, in a sentence, and not by the description; nor
does that say of which arguments there may be one.
"""


THERE: Final = {"build": "1", "job": "test", "attempt": 1}
"""What addresses can lead to where the tests' own stage is asked."""
OF_SAMPLE: Final = {"build": str(world.LOGGED), "job": world.WRONG, "attempt": 1, "name": "green"}
"""The same, of the sample."""


class Tried(NamedTuple):
    """What came of requests to a route: how many there were, how they were answered by status, and what was wrong."""

    label: str
    sent: int
    statuses: Counter[int]
    wrong: dict[str, str]


def holes(
    stage: Stage, operations: slice, *, examples: int, number: int = 1, there: Mapping[str, Any] = THERE
) -> Iterator[Tried]:
    """What comes of requests to each route. `number` chooses other ones. Every other request that makes sense is about
    what is `there`.
    """
    # Whatever is followed ends at once, and nobody is told that they come too often.
    stage.app.state.stopping.set()
    # Nothing is sent that is not said, though whoever reads must take more.
    stage.app.openapi_schema = closed(stage.app.openapi())
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", stage.app)
    # It looks for the name as the description has it, and asks again without it.
    headers = {"Authorization": stage.token("admin")["authorization"]}
    for result in itertools.islice(schema.get_all_operations(), operations.start, None, operations.step):
        assert isinstance(result, Ok), result
        operation = result.ok()
        tried = Tried(operation.label, 0, Counter(), {})
        for mode in MODES:
            about = there if mode is GenerationMode.POSITIVE else {}
            more = _tried(operation, mode, headers, about, examples=examples, number=number)
            tried = Tried(tried.label, tried.sent + more.sent, tried.statuses + more.statuses, tried.wrong | more.wrong)
        yield tried


def _tried(
    operation: Any,
    mode: GenerationMode,
    headers: dict[str, str],
    there: Mapping[str, Any],
    *,
    examples: int,
    number: int,
) -> Tried:
    sent, statuses, found = 0, Counter[int](), dict[str, str]()

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(mode))
    def ask(case: Any) -> None:
        nonlocal sent
        sent, url = sent + 1, ""
        if sent % 2:
            case.path_parameters.update({name: there[name] for name in there.keys() & case.path_parameters.keys()})
        try:
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            url = str(answer.request.url)
            case.validate_response(answer)
        except BaseExceptionGroup as failures:
            for failure in failures.exceptions:
                kind = type(failure).__name__
                if kind == _REFUSED and operation.label in _JUDGING:
                    continue
                if kind != _TAKEN or not _is_sound_as_written(operation, case, url):
                    found.setdefault(kind, f"{mode.value}: {failures}\n{failure}")
        except Exception as failure:  # Whatever it is, it is what we look for.
            if type(failure).__module__.startswith("hypothesis"):
                raise
            found.setdefault(type(failure).__name__, f"{mode.value}: {case.as_curl_command()}\n{failure!r}")

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, operation.label  # Nothing could be wrong about it.
    return Tried(operation.label, sent, statuses, found)


def _is_sound_as_written(operation: Any, case: Any, url: str) -> bool:
    """Whether only query and headers were to be wrong, and are not once they are written: a list of one text is that
    text there, and an object without keys is nothing. `Authorization` is ours, whatever was made.
    """
    if not {place.value for place, how in case.meta.components.items() if how.mode is NEGATIVE} <= {"query", "header"}:
        return False
    asked = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    shown = [(name.lower(), str(value)) for name, value in case.headers.items()]
    return _are(operation.query, asked) and _are([each for each in operation.headers if each.name != OURS], shown)


def _are(described: Iterable[Any], said: Sequence[tuple[str, str]]) -> bool:
    """Whether what is said by name is as it is described, and nothing is said twice or missing."""
    texts = dict(said)
    return len(texts) == len(said) and all(
        _is(each.definition["schema"], texts[each.name.lower()])
        if each.name.lower() in texts
        else not each.definition.get("required")
        for each in described
    )


def _is(schema: Any, text: str) -> bool:
    """Whether a text is what a schema describes, or spells a number or a truth that is."""
    spelt = [json.loads(text)] if re.fullmatch(r"true|false|-?(0|[1-9][0-9]{0,30})", text) else []
    return any(map(Draft202012Validator(schema).is_valid, [text, *spelt]))


def main() -> int:
    """Search for as long as is said; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    until = time.monotonic() + parser.parse_args().seconds
    sums: dict[str, Counter[int]] = {}
    found: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        # So many as a long search sends are not to be told that they come too often, or know no pass.
        stage.how_often = HowOften(rate=0, failed_most=sys.maxsize)
        world.sample(stage.desk)
        while time.monotonic() < until:
            number = random.getrandbits(32)
            for tried in holes(stage, slice(0, None, 1), examples=20, number=number, there=OF_SAMPLE):
                sums.setdefault(tried.label, Counter()).update(tried.statuses)
                found.update(dict.fromkeys(f"{tried.label}: {each}" for each in tried.wrong.values()))
                if time.monotonic() > until:
                    break
    sys.stdout.write("".join(f"{each}\n" for each in found))
    sys.stdout.write("| route | requests | answered | refused |\n|---|---|---|---|\n")
    for label, statuses in sorted(sums.items(), key=lambda each: each[0].split()[::-1]):
        answered = sum(count for status, count in statuses.items() if status < REFUSED)
        sys.stdout.write(f"| `{label}` | {statuses.total()} | {answered} | {statuses.total() - answered} |\n")
    total = sum(statuses.total() for statuses in sums.values())
    sys.stdout.write(f"{total} requests to {len(sums)} routes, {len(found)} holes\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
