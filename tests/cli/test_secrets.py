"""Secrets are typed, piped, listed and forgotten, and shown nowhere."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import pytest

from surveil.answer import RekeyWish, RemoveSecretWish, SecretWish
from surveil.client.access import person_here
from surveil.core.scopes import Scope, Source
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_secret

Pipe = Callable[[bytes], None]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    def put(value: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(value)))

    return put


@pytest.mark.parametrize(
    ("piped", "kept"),
    [
        (b"hush-hush", b"hush-hush"),
        (b"hush-hush\n", b"hush-hush"),
        (b"hush-hush\r\n", b"hush-hush"),
        (b"two\nlines\n", b"two\nlines\n"),
        (b"\x00\xff\xfe\x01", b"\x00\xff\xfe\x01"),
    ],
)
def test_a_secret_is_read_from_standard_input(
    type_: Type, counter: Counter, pipe: Pipe, piped: bytes, kept: bytes
) -> None:
    pipe(piped)
    ended = type_("secret", "set", "TOKEN", "--repo", "https://x/*", "--ref", "main", "--job", "deploy")
    assert (ended.code, ended.out, ended.err) == (0, "", "The secret TOKEN is kept.\n")
    (wish,) = counter.wishes
    assert isinstance(wish, SecretWish)
    assert wish.scope == Scope(repo="https://x/*", ref="refs/heads/main", job="deploy")
    assert (wish.name, wish.value, wish.source) == ("TOKEN", kept, Source.HERE)
    assert "hush" not in repr(wish)


@pytest.mark.parametrize(
    ("words", "piped", "said"),
    [
        (["1A"], b"hush-hush", "cannot be a secret's name"),
        (["A"], b"abc", "shorter than 4 bytes"),
        (["A"], b"x" * 50_000, "larger than 48 KiB"),
        (["A", "--repo", ""], b"hush-hush", "it is empty: leave it out where you mean all"),
        (["A", "--ref", "!main"], b"hush-hush", "no pattern for refs here"),
        (["A", "--ref", "a..b"], b"hush-hush", "matches no ref"),
        (["A", "--job", "a\nb"], b"hush-hush", "no pattern for repositories or jobs"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(  # noqa: PLR0917  # three fixtures and a case
    type_: Type, counter: Counter, pipe: Pipe, words: list[str], piped: bytes, said: str
) -> None:
    pipe(piped)
    ended = type_("secret", "set", *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "hush" not in ended.err
    assert not counter.wishes


def test_no_flag_takes_a_value(type_: Type, counter: Counter) -> None:
    for words in (["A", "hush-hush"], ["A", "--value", "hush-hush"]):
        assert type_("secret", "set", *words).code == 2
    assert not counter.wishes


def test_secrets_are_listed_without_what_they_hold(type_: Type, counter: Counter) -> None:
    assert "surveil secret set" in type_("secret", "ls").err
    counter.desk.store.put_secrets([make_secret("B", scope=Scope()), make_secret("A")])
    shown = type_("secret", "ls").out
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["A", "B"]
    assert "refs/heads/main" in shown
    (first, second) = json.loads(type_("secret", "ls", "--json").out)
    assert (first["name"], first["job"], second["job"], second["repo"]) == ("A", "deploy", None, None)
    assert "encrypted" not in shown + json.dumps(first)


def test_a_secret_is_forgotten_by_its_very_scope(type_: Type, counter: Counter) -> None:
    assert type_("secret", "rm", "A", "--ref", "tags/v*").code == 0
    assert counter.wishes == [RemoveSecretWish(name="A", scope=Scope(ref="refs/tags/v*"), by=person_here())]


def test_a_new_key_says_how_many_secrets_have_it(type_: Type, counter: Counter) -> None:
    assert type_("secret", "rekey").err == "Secrets that have a new key: 3.\n"
    assert json.loads(type_("secret", "rekey", "--json").out) == {"secrets": 3}
    assert counter.wishes == [RekeyWish(by=person_here())] * 2
