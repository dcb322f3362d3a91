"""How `on` is written down, and what its mistakes are called."""

# ruff: noqa: E501  # A table of mistakes is read one case a line.

from __future__ import annotations

import pytest

from surveil.pipeline import Invalid, Pipeline, load
from surveil.pipeline.explain import explain
from surveil.pipeline.triggering import INPUTS_MAX

JOB = 'jobs:\n  t:\n    labels: ["${{ inputs.target }}"]\n    steps:\n      - run: deploy ${{ inputs.target }} ${{ inputs.n }}\n'
INPUTS = "on: {manual: {inputs: {target: {default: staging}, n: {type: number}}}}\n"


def said(text: str, typed: dict[str, str] | None = None) -> list[str]:
    loaded = load(text, ".surveil.yml", typed=typed)
    assert isinstance(loaded, Invalid)
    return [
        f"{c.place.line}:{c.place.column} {c.message}" + (f" ({c.hint})" if c.hint else "") for c in loaded.complaints
    ]


@pytest.mark.parametrize(
    ("on", "complaint"),
    [
        ("on: {pushh: }", "1:6 unknown key `pushh` in `on` (did you mean `push`?)"),
        (
            "on: [push, merge_request]",
            "1:1 unknown key `merge_request` in `on` (write `pull_request`, which merge requests are as well)",
        ),
        ("on: {workflow_dispatch: }", "1:6 unknown key `workflow_dispatch` in `on` (write `manual`)"),
        ("on: {push: {branch: main}}", "1:13 unknown key `branch` in `on.push` (did you mean `branches`?)"),
        (
            "on: {push: {branches-ignore: main}}",
            "1:13 unknown key `branches-ignore` in `on.push` (write `!PATTERN` under `branches`)",
        ),
        (
            "on: {push: {branches: ['a..b']}}",
            "1:24 `on.push.branches[0]`: `a..b` is no pattern of branches: write one like `main` or `release/*`",
        ),
        (
            "on: {push: {branches: refs/heads/main}}",
            "1:23 `on.push.branches[0]`: `refs/heads/main` is a whole ref: branches go by their own names",
        ),
        ("on: {push: {tags: ['v1 ']}}", "1:20 `on.push.tags[0]`: `v1 ` is no pattern of tags: write one like `v*`"),
        (
            "on: {push: {paths: ['/x']}}",
            "1:21 `on.push.paths[0]`: `/x` matches no path: write it from the root of the repository, like `docs/**`",
        ),
        ("on: {push: 3}", "1:12 `on.push`: expected keys and values, not `3` (write one `key: value` in each line)"),
        (
            "on: {schedule: [{}]}",
            "1:17 `on.schedule[0].cron` is missing (add `cron: MINUTE HOUR DAY MONTH WEEKDAY`, like `cron: 30 2 * * *`)",
        ),
        (
            "on: {schedule: [{cron: 30 2 * *}]}",
            "1:24 `on.schedule[0].cron`: `30 2 * *` is no schedule: write five fields (minute, hour, day, month, weekday) like `30 2 * * *`",
        ),
        (
            "on: {schedule: [{cron: 0 0 * * *, timezone: Mars}]}",
            "1:45 `on.schedule[0].timezone`: `Mars` is no time zone: write one like `Europe/Berlin` or `UTC`",
        ),
        (
            "on: {schedule: {cron: 0 0 * * *}}",
            "1:6 `on.schedule`: expected a list, not keys and values (start each item with `- `)",
        ),
        (
            "on: {manual: {inputs: {a b: }}}",
            "1:24 `on.manual.inputs.a b`: `a b` cannot be the name of a value: use letters, digits and `_`, no digit first",
        ),
        (
            "on: {manual: {inputs: {a: {type: date}}}}",
            "1:34 `on.manual.inputs.a.type`: `date` is not one of `text`, `number`, `flag`",
        ),
        (
            "on: {manual: {inputs: {a: {type: flag, default: 1}}}}",
            "1:24 `on.manual.inputs.a`: the default `1` is neither `true` nor `false`",
        ),
        (
            "on: {manual: {inputs: {a: {type: number, options: [1, x]}}}}",
            "1:24 `on.manual.inputs.a`: the option `x` is not a whole number",
        ),
        (
            "on: {manual: {inputs: {a: {options: [x], default: y}}}}",
            "1:24 `on.manual.inputs.a`: the default `y` is not one of `x`",
        ),
        (
            "on: {manual: {inputs: {a: , A: }}}",
            "1:15 `on.manual.inputs`: `a` and `A` would both be INPUT_A: rename one",
        ),
    ],
)
def test_a_mistake_has_its_place_and_its_sentence(on: str, complaint: str) -> None:
    assert said(f"{on}\njobs: {{t: {{steps: [{{run: make}}]}}}}\n") == [complaint]


def test_inputs_are_filled_in_where_matrix_values_are_and_are_variables() -> None:
    loaded = load(INPUTS + JOB, ".surveil.yml", typed={"target": "production", "n": "3"})
    assert isinstance(loaded, Pipeline), loaded.render()
    (job,) = loaded.jobs
    assert (job.labels, job.steps[0].run) == (("production",), "deploy production 3")
    assert job.env == {"INPUT_TARGET": "production", "INPUT_N": "3"}
    assert "built on\n   by hand, with target=staging, n" in explain(loaded)


def test_where_nobody_types_defaults_count() -> None:
    loaded = load(INPUTS + JOB, ".surveil.yml")
    assert isinstance(loaded, Pipeline), loaded.render()
    assert loaded.jobs[0].env == {"INPUT_TARGET": "staging", "INPUT_N": ""}


def test_what_was_typed_wrongly_is_a_complaint_at_the_inputs() -> None:
    assert said(INPUTS + JOB, {"n": "x", "m": "1"}) == [
        "1:15 the pipeline has no input `m`; known are `n`, `target`",
        "1:15 the input `n` is `x`, which is not a whole number",
    ]
    assert said(INPUTS + JOB, {}) == ["1:15 the input `n` has no default: type `--input n=VALUE`"]


def test_an_input_that_is_not_declared_is_not_filled_in() -> None:
    assert said(INPUTS + JOB.replace("inputs.n", "inputs.tarket")) == [
        "6:14 the pipeline has no input `tarket` (did you mean `target`?)"
    ]
    assert said("jobs: {t: {steps: [{run: 'echo ${{ inputs.x }}'}]}}") == [
        "1:26 the pipeline has no input `x` (declare it under `on.manual.inputs`)"
    ]


def test_there_are_at_most_so_many_inputs() -> None:
    names = ", ".join(f"i{number}: " for number in range(INPUTS_MAX + 1))
    (complaint,) = said(f"on: {{manual: {{inputs: {{{names}}}}}}}\njobs: {{t: {{steps: [{{run: make}}]}}}}\n")
    assert f"{INPUTS_MAX + 1} inputs are more than the {INPUTS_MAX} allowed" in complaint
