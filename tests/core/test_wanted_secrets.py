"""What a job's `secrets` may say, and what comes of it."""

from __future__ import annotations

import pytest

from surveil.pipeline import Invalid, Pipeline, load
from surveil.protocol import SecretUse


def read(secrets: str, *, env: str = "{}", step_env: str = "{}") -> Pipeline | Invalid:
    job = f"{{secrets: {secrets}, env: {env}, steps: [{{run: make, env: {step_env}}}]}}"
    return load(f"jobs:\n  deploy: {job}\n", ".surveil.yml")


def test_a_secret_is_asked_for_by_name_by_another_variable_or_as_a_file() -> None:
    loaded = read("[TOKEN, {name: NPM, env: NPM_TOKEN}, {name: KEY, file: KEY_FILE}]")
    assert isinstance(loaded, Pipeline)
    assert loaded.jobs[0].secrets == (
        SecretUse(name="TOKEN", env="TOKEN", place=":2:22"),
        SecretUse(name="NPM", env="NPM_TOKEN", place=":2:36"),
        SecretUse(name="KEY", file="KEY_FILE", place=":2:65"),
    )


def test_the_secret_for_the_registry_of_an_image_is_in_no_variable() -> None:
    job = "{image: {name: ghcr.io/you/tool, credentials: PULL}, secrets: TOKEN, steps: [{run: make}]}"
    loaded = load(f"jobs:\n  deploy: {job}\n", ".surveil.yml")
    assert isinstance(loaded, Pipeline)
    assert loaded.jobs[0].secrets == (
        SecretUse(name="PULL", place=":2:57"),
        SecretUse(name="TOKEN", env="TOKEN", place=":2:73"),
    )
    assert [use.for_registry for use in loaded.jobs[0].secrets] == [True, False]
    wrong = load(f"jobs:\n  deploy: {job.replace('PULL', '1-A')}\n", ".surveil.yml")
    assert isinstance(wrong, Invalid)
    assert [one.message for one in wrong.complaints] == ["`1-A` cannot be a secret's name"]


def test_one_secret_stands_for_a_list_of_one() -> None:
    loaded = read("TOKEN")
    assert isinstance(loaded, Pipeline)
    assert [use.name for use in loaded.jobs[0].secrets] == ["TOKEN"]


@pytest.mark.parametrize(
    ("secrets", "env", "step_env", "said"),
    [
        ("[1A]", "{}", "{}", "`1A` cannot be a secret's name"),
        ("[{name: A, env: B-C}]", "{}", "{}", "`B-C` cannot be a variable's name"),
        ("[{name: A, env: SURVEIL_SHA}]", "{}", "{}", "`SURVEIL_SHA` is set by surveil itself"),
        ("[{name: A, file: CI}]", "{}", "{}", "`CI` is set by surveil itself"),
        ("[{name: A, env: B, file: C}]", "{}", "{}", "the secret `A` is either in the variable `env` or as the `file`"),
        ("[{env: B}]", "{}", "{}", "`jobs.deploy.secrets[0].name` is missing"),
        ("[A, A]", "{}", "{}", "the variable A is set by the secret `A` and by the secret `A`"),
        ("[A, {name: B, file: A}]", "{}", "{}", "the variable A is set by the secret `B` and by the secret `A`"),
        ("[A]", "{A: b}", "{}", "the variable A is set by the secret `A` and by `env`"),
        ("[A]", "{}", "{A: b}", "the variable A is set by the secret `A` and by `env`"),
        (f"[{', '.join(f'A{n}' for n in range(65))}]", "{}", "{}", "at most 64 secrets"),
    ],
)
def test_what_cannot_be_asked_for_is_one_complaint_at_its_place(
    secrets: str, env: str, step_env: str, said: str
) -> None:
    loaded = read(secrets, env=env, step_env=step_env)
    assert isinstance(loaded, Invalid)
    (sentence,) = loaded.sentences()
    assert sentence.startswith(".surveil.yml:2:")
    assert said in sentence
