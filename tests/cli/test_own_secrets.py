"""The secrets of jobs that a person runs here, by the variables of the person's own environment."""

import pytest

from surveil.cli.own_secrets import own_secrets
from surveil.errors import NotFoundError, UsageError
from surveil.execute.keeper.entrusted import NOTHING, Entrusted
from surveil.protocol import JobSpec, SecretUse

USES = (SecretUse(name="TOKEN", env="NPM_TOKEN"), SecretUse(name="KEY", file="KEY_FILE"))
PULL = SecretUse(name="PULL")


def asking(*uses: SecretUse) -> JobSpec:
    return JobSpec(name="a", env={}, timeout_ms=0, steps=(), matrix={}, secrets=uses)


def test_each_secret_is_the_variable_of_its_name() -> None:
    found = own_secrets(asking(*USES, PULL), {b"TOKEN": b"hush", b"KEY": b"\xff", b"PULL": b"you:hush"})
    assert found == Entrusted(variables={"NPM_TOKEN": "hush"}, files={"KEY_FILE": b"\xff"}, registry=b"you:hush")


def test_one_that_is_not_set_is_asked_for_unless_docker_may_know_it() -> None:
    with pytest.raises(NotFoundError, match="set the variable TOKEN of your own environment"):
        own_secrets(asking(*USES), {b"KEY": b"x"})
    assert own_secrets(asking(PULL), {}) == NOTHING


def test_a_login_is_a_user_and_a_password() -> None:
    for value in (b"hush", b":hush", b"you:", b"a:b\nc:d"):
        with pytest.raises(UsageError, match="the secret PULL is for the registry of the job's image, so it has to be"):
            own_secrets(asking(PULL), {b"PULL": value})
