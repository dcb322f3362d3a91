"""The command line over HTTP: it prints what it prints over the dispatcher's own protocol, and ends as it ends."""

import io
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from surveil.answer import Question
from surveil.cli.grammar import ALONE, COMMANDS, root
from surveil.client import over_http
from surveil.core.model import AttemptState, Status
from surveil.mirror.place import place_of
from surveil.store.passes import Kind
from surveil.store.people import Role
from surveil.web.own import RULES
from surveil.web.visitors import SESSION_MS
from tests.cli.conftest import Ended, Type
from tests.cli.counter import Counter
from tests.cli.site import Site, open_site
from tests.cli.test_acting import git, repository  # noqa: F401  # a fixture
from tests.store.records import make_attempt, make_build, make_job, make_note, make_runner, new

LOG = b"".join(b"line %d \xff\n" % number for number in range(40_000))


@pytest.fixture
def site(counter: Counter) -> Iterator[Site]:
    counter.desk.store.commit(
        new(
            make_build(1, state=Status.FAILED, message="Break it", reason="test failed"),
            make_job(1, state=Status.FAILED, attempt=1),
            make_attempt(1, state=AttemptState.FAILED, released=True),
            make_build(2, state=Status.QUEUED),
            make_job(2, state=Status.QUEUED),
            make_runner("spare"),
            notes=(make_note(state="failed"),),
        )
    )
    counter.desk.log("1/test", 1, LOG)
    with open_site(counter) as opened:
        yield opened


def both(type_: Type, site: Site, *arguments: str) -> tuple[Ended, Ended]:
    return type_(*arguments), type_("--server", site.url, "--token", site.token(), *arguments)


READING = """
    status; status --json; builds; builds --json; show 1; show 1 --json; show 77; logs 1; logs 1 -f; logs 2;
    logs 1 nobody; tests 1; artifacts 1; story 1; story 1/test --json; runners --json; peers --json; token list --json;
    secret ls --json
"""
ACTING = """
    retry 1; retry 1 --failed --json; retry 2; retry 1 nobody; cancel 2 --reason enough; cancel 2 nobody --json;
    unhold 2; approve 2; runners drain spare; runner uncordon sparr; token create --label gpu; token revoke none;
    peer revoke nobody; secret rm NAME; secret rekey --json
"""


@pytest.mark.parametrize("commands", [READING, ACTING], ids=["reading", "acting"])
def test_commands_print_and_do_the_same_over_http(type_: Type, counter: Counter, site: Site, commands: str) -> None:
    for typed in commands.split(";"):
        here, there = both(type_, site, *typed.split())
        assert there == here, typed
        assert here.out or here.err, typed
    here_wished, there_wished = counter.wishes[::2], counter.wishes[1::2]
    assert [type(wish) for wish in here_wished] == [type(wish) for wish in there_wished]
    assert bool(counter.wishes) == (commands is ACTING)


def test_a_backup_is_made_by_the_dispatcher_whichever_way_it_is_asked(
    type_: Type, counter: Counter, site: Site, home: Path
) -> None:
    backup = ("db", "backup", str(home / "copy"))
    here = type_(*backup, "--dispatcher", f"tcp://127.0.0.1:{counter.port}")
    there = type_("--server", site.url, "--token", site.token(), *backup)
    assert (here.code, there) == (0, here)
    assert len(counter.wishes) == 2


def test_submit_goes_the_same_way(
    type_: Type,
    counter: Counter,
    site: Site,
    repository: Path,  # noqa: F811
) -> None:
    here, there = both(type_, site, "submit", "--ref", "main")
    assert (here.code, here.out) == (0, "12\n")
    assert there == here
    one, other = (wish.commit for wish in counter.wishes)  # type: ignore[union-attr]
    assert (
        (one.sha, one.pipeline)
        == (other.sha, other.pipeline)
        == (git("rev-parse", "HEAD", cwd=repository), one.pipeline)
    )


def test_the_variables_say_the_same_as_the_flags(
    type_: Type, site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "token").write_text(site.token("read") + "\n")
    monkeypatch.setenv("SURVEIL_SERVER", site.url + "/")
    monkeypatch.setenv("SURVEIL_TOKEN_FILE", str(home / "token"))
    monkeypatch.setenv("SURVEIL_DATA", str(home / "elsewhere"))
    assert "Break it" in type_("show", "1").out
    refused = type_("cancel", "2")
    assert (refused.code, "may only `read`" in refused.err) == (5, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--token", "svt_x", "status"], 5, "token is unknown, expired or revoked"),
        (["--token", "{}", "status", "--dispatcher", "tcp://127.0.0.1:1"], 2, "both say where to ask"),
        (["status"], 5, "takes a token: make one with `surveil login --token`"),
        (["--token", "{}", "login"], 2, "`surveil login` asks no server"),
        (["--token", "{}", "login", "--token"], 2, "make it on the dispatcher's machine"),
        (["user", "ls"], 5, "takes a token: make one with `surveil login --token`"),
        (["--token", "svt_x", "login", "--list"], 5, "token is unknown, expired or revoked"),
        (["--token", "{}", "runner"], 2, "This command asks no server"),
        (["--token", "{}", "hook", "install"], 2, "or have the repository's forge send webhooks (`surveil --server"),
        (["--token", "{}", "hook", "remove"], 2, "asks the dispatcher itself, and no server: leave --server and"),
        (["--token", "{}", "notify"], 2, "on the dispatcher's machine: type it there, without --server and --token."),
        (["--token", "{}", "notify", "list"], 2, "`surveil --server URL status` says who is told, and what waits"),
        (["--token", "{}", "notify", "preview", "1"], 2, "type it there, without --server and --token."),
        (["--token", "{}", "notify", "test", "team"], 2, "type it there, without --server and --token."),
        (["--token", "{}", "audit", "--check"], 2, "without --server and --token; `surveil --server URL audit` lists"),
        (["--token", "{}", "db", "check"], 2, "type it on the dispatcher's machine, without --server and --token."),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_sentence(
    type_: Type, site: Site, arguments: list[str], code: int, sentence: str
) -> None:
    ended = type_("--server", site.url, *(each.format(site.token()) for each in arguments))
    assert (ended.code, ended.out) == (code, "")
    assert sentence in ended.err


def test_a_server_that_is_not_there_or_is_none_of_ours(type_: Type, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    gone = type_("--server", url, "--token", "svt_x", "status")
    assert (gone.code, "Nobody answers at" in gone.err) == (4, True)
    open_to_all = type_("--server", "http://ci.example.org", "--token", "svt_x", "status")
    assert (open_to_all.code, "would show your token to the network" in open_to_all.err) == (2, True)


def test_a_dispatcher_that_is_away_is_said_with_its_own_sentence_and_code(
    type_: Type, counter: Counter, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server waits for the dispatcher in this process, which a busy machine may hold up for longer than a server.
    monkeypatch.setattr(over_http, "GRACE_MS", 60_000)
    counter.close()
    try:
        ended = type_("--server", site.url, "--token", site.token(), "runners")
        assert (ended.code, str(counter.port) in ended.err) == (4, True)
        assert type_("--server", site.url, "--token", site.token(), "show", "1").code == 0
    finally:
        counter.serve()


def test_passes_are_listed_and_ended_on_the_dispatchers_machine(type_: Type, site: Site, home: Path) -> None:
    (home / "data" / "surveil.db").touch()
    site.now = time.time_ns() // 1_000_000
    token = site.token("run")
    (found,) = json.loads(type_("login", "--list", "--json").out)
    assert (found["person"], found["scope"], found["kind"]) == ("ada", "run", "token")
    assert found["id"] in type_("login", "--list").out
    assert type_("--server", site.url, "--token", token, "status").code == 0
    assert type_("login", "--end", found["id"]).err == f"The token {found['id']} of ada lets nobody in any more.\n"
    assert type_("--server", site.url, "--token", token, "status").code == 5
    assert type_("login", "--end", found["id"]).code == 6
    assert type_("login", "--end", "x", "--token").code == 2
    assert type_("login", "--list").out == ""


def test_people_are_known_and_forgotten_over_http_as_beside_the_dispatcher(type_: Type, site: Site, home: Path) -> None:
    (home / "data" / "surveil.db").touch()
    site.now = time.time_ns() // 1_000_000
    elsewhere = Role(repo="*", scope="run", source="git")
    for name in ("alice", "carol"):
        site.passes.people.arrive("git", name, name, [elsewhere], issuer="https://git.example.org", now=site.now)
    typed = """
        user add NAME; user add NAME; user add NAME --role run; user role NAME admin --repo /srv/a;
        user role NAME none --repo /srv/*; user role NAME@git run --repo /srv/a --repo b; user role NAME@git none;
        user role nobody read; user role ../NAME read; user remove nobody; user remove ../NAME; user add ../NAME;
        user add a/b; user add anybody --role run; user remove NAME; user remove NAME; user remove NAME --json
    """
    server = ("--server", site.url, "--token", site.token())
    for line in typed.split(";"):
        words = line.split()
        here = type_(*(word.replace("NAME", "alice") for word in words))
        there = type_(*server, *(word.replace("NAME", "carol") for word in words))
        assert (there.code, there.out) == (here.code, here.out.replace("alice", "carol")), line
        assert there.err == here.err.replace("alice", "carol"), line
        assert here.out or here.err, line
    assert type_(*server, "user", "ls") == type_("user", "ls")
    assert type_(*server, "user", "ls", "--json") == type_("user", "ls", "--json")
    site.passes.issue(Kind.TOKEN, "carol", "read", now=site.now, lasts_ms=SESSION_MS, user="carol@git")
    assert json.loads(type_(*server, "user", "remove", "carol@git", "--json").out) == {"name": "carol@git", "ended": 1}
    (written, *_) = site.acts.listed(limit=1)
    assert (written.what, written.person, written.way, written.subject) == ("user-remove", "ada", "api", "carol@git")


def test_passes_are_listed_and_ended_over_http_as_far_as_the_token_may(type_: Type, site: Site, home: Path) -> None:
    (home / "data" / "surveil.db").touch()
    # So old that a second more, between two commands, is none in words.
    site.now = time.time_ns() // 1_000_000 - 90 * 60_000
    server = ("--server", site.url, "--token", site.token())
    site.passes.issue(Kind.SESSION, "grace", "run", now=site.now, lasts_ms=SESSION_MS)
    assert type_(*server, "login", "--list") == type_("login", "--list")
    listed = type_("login", "--list", "--json")
    # Who shows a token is seen; nothing else of it changes.
    seen = [{**each, "seen_at": None} for each in json.loads(type_(*server, "login", "--list", "--json").out)]
    assert seen == [{**each, "seen_at": None} for each in json.loads(listed.out)]
    (grace,) = [each["id"] for each in json.loads(listed.out) if each["person"] == "grace"]
    bob = site.passes.issue(Kind.TOKEN, "bob", "read", now=site.now, lasts_ms=SESSION_MS)
    bobs = ("--server", site.url, "--token", bob)
    (own,) = json.loads(type_(*bobs, "login", "--list", "--json").out)
    assert own["person"] == "bob"
    for refused in (type_(*bobs, "user", "ls"), type_(*bobs, "user", "add", "eve", "--role", "admin")):
        assert (refused.code, "takes the right to `admin`, and bob may only `read`" in refused.err) == (5, True)
    assert type_(*bobs, "login", "--end", grace).code == 6
    assert type_(*server, "login", "--end", grace).err == f"The session {grace} of grace lets nobody in any more.\n"
    assert type_(*server, "login", "--end", grace) == type_("login", "--end", grace)
    assert type_(*bobs, "login", "--end", own["id"]).code == 0
    assert type_(*bobs, "login", "--list").code == 5


def test_webhooks_are_looked_after_over_http_as_beside_the_dispatcher(
    type_: Type, site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "data" / "surveil.db").touch()
    site.now = time.time_ns() // 1_000_000
    typed = """
        hook ls; hook secret REPO; hook secret REPO --overlap 1h; hook allow REPO retry; hook allow REPO look --json;
        hook allow OTHER retry; hook forget OTHER; hook forget REPO; hook forget REPO --json; hook secret REPO --json
    """
    server = ("--server", site.url, "--token", site.token())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_Again(b"a secret of the forge\n")))
    for line in typed.split(";"):
        words = (
            line.replace("REPO", "https://example.org/NAME.git").replace("OTHER", "https://example.org/no.git").split()
        )
        here = type_(*(word.replace("NAME", "alpha") for word in words))
        there = type_(*server, *(word.replace("NAME", "omega") for word in words))
        assert there.code == here.code, line
        assert _timeless(there.out) == _timeless(here.out).replace("alpha", "omega"), line
        assert there.err == here.err.replace("alpha", "omega").replace("http://127.0.0.1:7380", site.url), line
        assert here.out or here.err, line
    assert type_(*server, "hook", "ls", "--json") == type_("hook", "ls", "--json")
    made = json.loads(type_(*server, "hook", "secret", "https://example.org/lib.git", "--make", "--json").out)
    (opened,) = site.hooks.at([str(place_of("https://example.org/lib.git"))], now=site.now)
    assert opened.secrets == (made["secret"].encode(),)
    (written, *_) = site.acts.listed(limit=1)
    assert (written.what, written.person, written.way, written.subject) == (
        "hook", "ada", "api", "https://example.org/lib.git",
    )  # fmt: skip
    refused = type_("--server", site.url, "--token", site.token("run"), "hook", "ls")
    assert (refused.code, "takes the right to `admin`" in refused.err) == (5, True)


class _Again(io.BytesIO):
    """Says the same to whoever reads."""

    def read(self, size: int | None = -1, /) -> bytes:
        self.seek(0)
        return super().read(size)


def _timeless(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", text)


class _Dropping(BaseHTTPRequestHandler):
    """Answers who looks, and leaves everybody else without an answer."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'[{"name": "grace", "id": "4f1c"}]')

    def do_PUT(self) -> None:
        self.asked.append(f"{self.command} {self.path}")

    def do_DELETE(self) -> None:
        self.do_PUT()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("user remove grace", "DELETE /api/v1/users/grace"),
        ("login --end 4f1c", "DELETE /api/v1/passes/4f1c"),
        ("hook secret https://example.org/lib.git --make", "PUT /api/v1/hooks"),
        ("hook forget https://example.org/lib.git", "DELETE /api/v1/hooks?repo=https%3A%2F%2Fexample.org%2Flib.git"),
    ],
)
def test_what_may_have_been_done_is_not_said_twice(
    type_: Type, monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    monkeypatch.setattr(_Dropping, "asked", [])
    with HTTPServer(("127.0.0.1", 0), _Dropping) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            ended = type_("--server", f"http://127.0.0.1:{server.server_port}", "--token", "svt_x", *typed.split())
        finally:
            server.shutdown()
            serving.join()
    assert (ended.code, "nobody knows whether it was done" in ended.err) == (7, True)
    assert _Dropping.asked == [said]


def test_every_question_has_its_scope_and_every_command_that_asks_none_is_known() -> None:
    assert set(RULES) == set(Question)
    assert {name for section in COMMANDS.values() for name in section} >= ALONE
    assert {option.name for option in root.params} >= {"server", "token"}
