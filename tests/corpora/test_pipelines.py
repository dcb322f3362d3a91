"""Naughty texts as values of a pipeline: exact where they are taken, a complaint where not; and in a real process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from surveil.core.steps import NAME_CHARACTERS_MAX
from surveil.pipeline import FILENAMES, Invalid, Pipeline, load
from surveil.protocol import JobSpec
from tests.corpora.naughty import BYTES, NAUGHTY, harm
from tests.pipeline.test_document import BOMBS

CALLS_MAX = 600_000
"""Calls of functions, Python's and C's, until a bomb is refused: a tenth of a second's work on a common machine, and a
count that does not depend on the machine. A document at the limits of size and number needs most of them.
"""


def quoted(text: str) -> str:
    """The text between double quotes as YAML has them."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", lambda match: f"\\U{ord(match[0]):08X}", text) + '"'


def loaded(job: str) -> Pipeline | Invalid:
    return load(f"jobs:\n{job}\n", FILENAMES[0])


FIELDS: Final[tuple[tuple[str, Callable[[JobSpec], str]], ...]] = (
    ("  test: {env: {V: TEXT}, steps: [{run: x}]}", lambda job: job.env["V"]),
    ("  test: {steps: [{run: TEXT}]}", lambda job: job.steps[0].run),
    ("  test: {steps: [{run: x, name: TEXT}]}", lambda job: job.steps[0].name),
    ("  test: {matrix: {v: [TEXT]}, steps: [{run: x}]}", lambda job: job.matrix["v"]),
    ("  test: {labels: [TEXT], steps: [{run: x}]}", lambda job: job.labels[0]),
    ("  TEXT: {steps: [{run: x}]}", lambda job: job.name),
)


@pytest.mark.parametrize("text", NAUGHTY, ids=[str(number) for number in range(len(NAUGHTY))])
def test_a_text_is_exact_in_a_pipeline_or_a_complaint(text: str) -> None:
    typed = quoted(text)
    for job, field in FIELDS:
        found = loaded(job.replace("TEXT", typed))
        if isinstance(found, Invalid):
            assert harm(found.render()) == ""
            # What is only data is never refused.
            assert "env" not in job
        elif "name" in job and len(text) > NAME_CHARACTERS_MAX:
            assert field(found.jobs[0]) == text[: NAME_CHARACTERS_MAX - 1] + "…"
        else:
            assert field(found.jobs[0]) == text, job


@pytest.mark.parametrize("field", ["env: {V: %s}", "matrix: {v: [%s]}", "labels: [%s]"])
def test_a_nul_is_refused_where_no_process_could_take_it(field: str) -> None:
    found = loaded("  test: {" + field.replace("%s", '"a\\0b"') + ", steps: [{run: x}]}")
    assert isinstance(found, Invalid)
    assert found.complaints[0].place.line == 2


def test_steps_get_every_text_exactly_and_may_print_any_bytes(tmp_path: Path) -> None:
    """Through the real command, a real keeper and a real shell."""
    (tmp_path / "bytes").mkdir()
    for number, data in enumerate(BYTES.values()):
        (tmp_path / "bytes" / f"{number:02d}").write_bytes(data)
    variables = "".join(f"      V{number}: {quoted(text)}\n" for number, text in enumerate(NAUGHTY))
    steps = "      - run: env -0\n      - run: cat bytes/*\n"
    (tmp_path / ".surveil.yml").write_text(f"jobs:\n  test:\n    env:\n{variables}    steps:\n{steps}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SURVEIL")}
    done = subprocess.run(
        [sys.executable, "-m", "surveil", "run"], cwd=tmp_path, capture_output=True, check=False,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = set(done.stdout.split(b"\0"))
    assert [text for number, text in enumerate(NAUGHTY) if f"V{number}={text}".encode() not in entries] == []
    assert b"".join(BYTES.values()) in done.stdout


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_after_a_bounded_number_of_calls(name: str) -> None:
    load("jobs: {}", FILENAMES[0])  # Its modules are imported at its first use.
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = load(BOMBS[name][0], FILENAMES[0])
    finally:
        sys.setprofile(before)
    assert isinstance(found, Invalid)
    assert calls < CALLS_MAX, json.dumps({"calls": calls})
