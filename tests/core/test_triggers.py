"""What `on` means: which commits are built, and which values an input may have."""

# ruff: noqa: E501  # A table of commits is read one case a line.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from surveil.core.triggers import INPUT_CHARACTERS_MAX, Input, describe, fill_inputs, objection
from surveil.pipeline import Pipeline, load
from surveil.protocol import Trigger

JOBS = "jobs: {t: {steps: [{run: make}]}}"


def why_not(  # the words of one case
    on: str,
    ref: str = "refs/heads/main",
    *,
    event: Trigger = "push",
    paths: Sequence[str] | None = None,
    message: str = "",
) -> str:
    loaded = load(f"{on}\n{JOBS}", ".surveil.yml")
    assert isinstance(loaded, Pipeline), loaded.render()
    return objection(loaded.triggers, event=event, ref=ref, paths=paths, message=message)


PULL: dict[str, Any] = {"ref": "refs/pull/5/head", "event": "pull_request"}


@pytest.mark.parametrize(
    ("on", "about", "reason"),
    [
        ("", {}, ""),
        ("", {"ref": "refs/tags/v1"}, ""),
        ("", PULL, ""),
        ("", {"event": "manual", "message": "[skip ci]"}, ""),
        ("on: push", {}, ""),
        ("on: push", PULL, "`on` names no `pull_request`"),
        ("on: [pull_request]", PULL, ""),
        ("on: [pull_request]", {}, "`on` names no `push`"),
        ("on: manual", {}, "`on` names no `push`"),
        ("on: manual", {"event": "manual"}, ""),
        ("on: {push: {branches: [main, 'release/*']}}", {}, ""),
        ("on: {push: {branches: [main, 'release/*']}}", {"ref": "refs/heads/release/1/2"}, ""),
        ("on: {push: {branches: [main]}}", {"ref": "refs/heads/mainly"}, "`on.push.branches` does not choose `mainly`"),
        ("on: {push: {branches: ['!wip/*']}}", {"ref": "refs/heads/x"}, ""),
        ("on: {push: {branches: ['!wip/*']}}", {"ref": "refs/heads/wip/x"}, "`on.push.branches` does not choose `wip/x`"),
        ("on: {push: {branches: ['*', '!wip/*']}}", {"ref": "refs/heads/wip/x"}, "`on.push.branches` does not choose `wip/x`"),
        ("on: {push: {branches: [main]}}", {"ref": "refs/tags/v1"}, "`on.push` names no tags"),
        ("on: {push: {tags: ['v*']}}", {"ref": "refs/tags/v1"}, ""),
        ("on: {push: {tags: ['!v*']}}", {"ref": "refs/tags/v1"}, "`on.push.tags` does not choose `v1`"),
        ("on: {push: {tags: ['!v*']}}", {"ref": "refs/tags/w1"}, ""),
        ("on: {push: {tags: ['v*']}}", {}, "`on.push` names no branches"),
        ("on: {push: {tags: ['v*'], branches: [main]}}", {}, ""),
        ("on: {push: {branches: [main]}}", {"ref": "refs/odd/x"}, "`on.push` chooses branches and tags, and `refs/odd/x` is neither"),
        ("on: {push: {paths: ['src/**']}}", {"paths": ("docs/a", "src/b")}, ""),
        ("on: {push: {paths: ['src/**']}}", {"paths": ("docs/a",)}, "`on.push.paths` does not choose the file that it changes"),
        ("on: {push: {paths: ['src/**']}}", {"paths": ("a", "b")}, "`on.push.paths` does not choose any of the 2 files that it changes"),
        ("on: {push: {paths: ['src/**']}}", {"paths": ()}, "it changes no file"),
        ("on: {push: {paths: ['src/**']}}", {"paths": None}, ""),
        ("on: {push: {paths: ['src/**']}}", {"paths": ("a",), "ref": "refs/tags/v1"}, ""),
        ("on: {pull_request: {paths: [src/*]}}", PULL | {"paths": ("a",)}, "`on.pull_request.paths` does not choose the file that it changes"),
        ("", {"message": "Mend it\n\n[Skip CI]"}, "its message says [Skip CI]"),
        ("on: push", {"message": "[ci skip] now"}, "its message says [ci skip]"),
        ("", {"message": "no [skip  ci] and no skip ci"}, ""),
        ("", PULL | {"message": "[skip ci]"}, "its message says [skip ci]"),
    ],
)  # fmt: skip
def test_a_commit_is_built_or_there_is_a_reason(on: str, about: dict[str, Any], reason: str) -> None:
    assert why_not(on, **about) == reason


INPUTS = (
    Input(name="target", options=("staging", "production"), default="staging"),
    Input(name="retries", kind="number"),
    Input(name="dry", kind="flag", default="true"),
)


def test_what_nobody_typed_has_its_default_and_without_one_it_has_to_be_typed() -> None:
    assert fill_inputs(INPUTS, None) == ({"target": "staging", "retries": "", "dry": "true"}, [])
    typed = {"retries": "-3", "dry": "false", "target": "production"}
    assert fill_inputs(INPUTS, typed) == ({"target": "production", "retries": "-3", "dry": "false"}, [])
    _, wrong = fill_inputs(INPUTS, {})
    assert wrong == ["the input `retries` has no default: type `--input retries=VALUE`"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"tagret": "x"}, "the pipeline has no input `tagret`; did you mean `target`?"),
        ({"target": "moon"}, "the input `target` is `moon`, which is not one of `staging`, `production`"),
        ({"retries": "3.5"}, "the input `retries` is `3.5`, which is not a whole number"),
        ({"dry": "yes"}, "the input `dry` is `yes`, which is neither `true` nor `false`"),
    ],
)
def test_a_value_that_an_input_may_not_have_is_named(typed: dict[str, str], sentence: str) -> None:
    assert fill_inputs(INPUTS, {"retries": "1"} | typed)[1] == [sentence]


def test_a_value_has_its_limits() -> None:
    assert Input(name="x").objection("v" * INPUT_CHARACTERS_MAX) == ""
    assert Input(name="x").objection("v" * (INPUT_CHARACTERS_MAX + 1))
    assert Input(name="x").objection("\0")
    assert fill_inputs((), {"x": "1"})[1] == [
        "the pipeline has no input `x`; it has no inputs: declare them under `on.manual.inputs`"
    ]


def test_people_are_told_what_a_pipeline_is_for() -> None:
    on = "on: {push: {branches: [main], paths: [src/**]}, pull_request: {paths: [src/**]}, manual: {inputs: {a: , b: {default: c}}}}"
    loaded = load(f"{on}\n{JOBS}", ".surveil.yml")
    assert isinstance(loaded, Pipeline)
    assert describe(loaded.triggers) == [
        "push of main that changes src/**",
        "pull requests that change src/**",
        "by hand, with a, b=c",
    ]
