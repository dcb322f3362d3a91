"""Commands about hooks: secrets that are never shown again, and the hook of a bare repository."""

import io
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from surveil.cli import hooking
from surveil.protocol import WatchedRepo
from surveil.store.acts import Acts
from surveil.web.hooks.secrets import HookSecrets
from tests.cli.conftest import Ended, Type
from tests.cli.counter import Counter

REPO = "https://example.org/team/lib"
SECRET = "sixteen characters and more"


@pytest.fixture
def data(counter: Counter) -> Path:
    """The folder of a dispatcher."""
    (counter.data / "surveil.db").touch()
    return counter.data


@pytest.fixture
def said(type_: Type, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Ended]:
    """Sets the secret to what standard input says."""

    def run(words: bytes) -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(words)))
        return type_("hook", "secret", "https://Example.org/team/lib/")

    return run


def good(data: Path, now: int = 0) -> list[bytes]:
    secrets = HookSecrets(data)
    try:
        return [each for opened in secrets.at(["example.org/team/lib"], now=now) for each in opened.secrets]
    finally:
        secrets.close()


def test_a_secret_comes_from_standard_input_and_lies_on_the_disk_for_nobody_to_read(
    type_: Type, data: Path, said: Callable[[bytes], Ended]
) -> None:
    ended = said(f"{SECRET}\n".encode())
    assert (ended.code, ended.out) == (0, "")
    assert f"The secret for webhooks of {REPO} is set. The forge sends them to http://" in ended.err
    assert good(data) == [SECRET.encode()]
    for file in (*data.glob("hooks.db*"), data / "keys" / "hooks.key"):
        assert SECRET.encode() not in file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SECRET not in type_("hook", "ls").out + type_("hook", "ls", "--json").out


def test_a_secret_is_made_and_printed_once_and_the_one_before_stays_good_for_a_while(type_: Type, data: Path) -> None:
    first, second = (type_("hook", "secret", REPO, "--make").out.strip() for _ in range(2))
    assert len(first) >= 40
    assert good(data) == [second.encode(), first.encode()]
    (listed,) = json.loads(type_("hook", "ls", "--json").out)
    assert (listed["repo"], listed["heard_at"]) == (REPO, None)
    assert listed["previous_until"] > listed["changed_at"]
    third = json.loads(type_("hook", "secret", REPO, "--make", "--overlap", "0s", "--json").out)
    assert good(data) == [third["secret"].encode()]
    assert "never" in type_("hook", "ls").out


def test_a_secret_for_a_repository_that_nobody_watches_is_set_and_said_so(
    type_: Type, data: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter.desk.live.watching["eye"] = (WatchedRepo(repo="git@example.org:team/Lib.git", problem=None),)
    sentence = "No observer that is connected watches"
    assert sentence not in type_("hook", "secret", REPO, "--make").err
    other = type_("hook", "secret", "https://example.org/team/other", "--make", "--json")
    assert other.code == 0
    assert f"{sentence} https://example.org/team/other, so its webhooks are answered with 404 for now" in other.err
    assert json.loads(other.out)["secret"]
    # Nobody knows who watches what while the dispatcher is away.
    counter.mute = True
    monkeypatch.setattr(hooking, "WATCHING_MS", 300)
    assert sentence not in type_("hook", "secret", "https://example.org/team/third", "--make").err


def test_what_cannot_be_a_secret_or_a_repository_is_refused(
    type_: Type, data: Path, said: Callable[[bytes], Ended]
) -> None:
    for typed in (b"", b"\n", b"too short", b"x" * 201, b"two lines of it\nand another one\n", b"sixteen and a nul \0"):
        ended = said(typed)
        assert (ended.code, ended.out) == (2, "")
        assert "--make" in ended.err
    assert type_("hook", "secret", "ext::sh -c x", "--make").code == 2
    assert good(data) == []


def test_a_repository_is_forgotten_once(type_: Type, data: Path) -> None:
    type_("hook", "secret", REPO, "--make")
    assert type_("hook", "forget", REPO).code == 0
    assert good(data) == []
    ended = type_("hook", "forget", REPO)
    assert (ended.code, f"No webhook is known for {REPO}" in ended.err) == (6, True)


def test_elsewhere_than_on_the_dispatchers_machine_it_says_so(type_: Type, counter: Counter) -> None:
    ended = type_("hook", "secret", REPO, "--make")
    assert (ended.code, "is not the folder of a dispatcher" in ended.err) == (3, True)
    assert not (counter.data / "hooks.db").exists()


def test_a_hook_is_put_into_a_bare_repository_and_taken_out(
    type_: Type, counter: Counter, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooking, "WATCHING_MS", 300)
    bare = home / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    assert json.loads(type_("hook", "install", str(bare), "--json").out) == {"repo": str(bare), "done": "made"}
    text = (bare / "hooks" / "post-receive").read_text()
    assert f"-P -m surveil look --data {counter.data} -- {bare} </dev/null" in text
    ended = type_("hook", "install", str(bare), "--as", "git@Example.org:bare.git", "--dispatcher", "tcp://127.0.0.1:1")
    assert ended.err == f"The hook of {bare} is made anew, as it was another one of ours.\n"
    text = (bare / "hooks" / "post-receive").read_text()
    assert "--dispatcher tcp://127.0.0.1:1 -- git@example.org:bare.git </dev/null" in text
    assert type_("hook", "remove", str(bare)).err == f"The hook of {bare} is removed.\n"
    assert type_("hook", "install", REPO).code == 2


def test_a_hook_of_a_repository_that_nobody_watches_is_made_and_said_so(
    type_: Type, counter: Counter, home: Path
) -> None:
    bare = home / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    unwatched = type_("hook", "install", str(bare))
    assert (unwatched.code, unwatched.out) == (0, "")
    assert f"No observer that is connected watches {bare}, so a push starts nothing for now" in unwatched.err
    counter.desk.live.watching["eye"] = (WatchedRepo(repo=str(bare), problem=None),)
    assert type_("hook", "install", str(bare)).err == f"The hook of {bare} is there already, as it is to be.\n"


def test_retries_are_allowed_for_one_repository_and_until_that_is_taken_back(
    type_: Type, data: Path, said: Callable[[bytes], Ended]
) -> None:
    unknown = type_("hook", "allow", REPO, "retry")
    assert unknown.code == 6
    assert f"surveil hook secret {REPO}" in unknown.err
    said(f"{SECRET}\n".encode())
    for what in ("look", "retry", "look"):
        ended = type_("hook", "allow", REPO, what, "--json")
        assert json.loads(ended.out) == {"repo": REPO, "may": what}
        [hook] = json.loads(type_("hook", "ls", "--json").out)
        assert hook["may"] == what
    assert "may have its builds built again" in type_("hook", "allow", REPO, "retry").err
    again = said(b"another secret of sixteen\n")
    assert again.code == 0
    assert "retry" in type_("hook", "ls").out, "a new secret changes no rights"
    done = Acts(data).listed(person="", what="hook-allow", since=0, before=None, limit=9)
    assert [act.detail for act in done] == ["retry", "look", "retry", "look", "retry"]
