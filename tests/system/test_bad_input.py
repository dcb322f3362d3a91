"""Bad input to the real command, in a process of its own: one sentence, the right exit code, nothing left behind."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.processes import Place
from tests.system.repository import commit, git, make_repository, pipeline

NOWHERE = "1" * 40

Prepare = Callable[[Path], object]


def _nothing(folder: Path) -> None:
    (folder / "plain").mkdir()


def _empty(folder: Path) -> None:
    make_repository(folder / "empty")


def _unborn(folder: Path) -> None:
    made = make_repository(folder / "unborn", __surveil__yml=pipeline("true"))
    git(made, "symbolic-ref", "HEAD", "refs/heads/nowhere")


def _good(folder: Path) -> None:
    make_repository(folder / "good", __surveil__yml=pipeline("true"))


@pytest.mark.parametrize(
    ("prepare", "words", "code", "said"),
    [
        (_nothing, ("up", "--once", "plain"), 6, "plain is not in a git repository; name one, or make one with"),
        (_nothing, ("up", "plain"), 6, "plain is not in a git repository; name one, or make one with"),
        (_nothing, ("submit", "--repo", "plain"), 6, "plain is not in a git repository; name one, or make one with"),
        (_nothing, ("submit", "--repo", "gone"), 6, "There is no folder"),
        (_nothing, ("run",), 3, "write a .surveil.yml"),
        (_empty, ("up", "--once", "empty"), 6, "has no commit yet of refs/heads/main: commit something"),
        (_empty, ("submit", "--repo", "empty"), 6, "has no commit yet"),
        (_unborn, ("up", "--once", "unborn"), 6, "has no commit yet of refs/heads/nowhere"),
        (_unborn, ("submit", "--repo", "unborn"), 6, "has no commit yet"),
        (_good, ("submit", "--repo", "good", "--ref", "nowhere"), 6, "has no ref `nowhere`; known are `main`"),
        (_good, ("submit", "--repo", "good", "--ref=--upload-pack=touch x"), 6, "has no ref"),
        (_good, ("submit", "--repo", "good", NOWHERE), 6, f"holds no object {NOWHERE}"),
        (_good, ("submit", "--repo", "good", "--", "--output=x"), 2, "is not a commit's full name"),
        (_good, ("submit", "--repo", "--upload-pack=touch x"), 2, "begins with a dash, as no address may"),
        (_good, ("up", "--once", "--", "--upload-pack=touch x"), 2, "for a path write `./--upload-pack=touch x`"),
        (_good, ("submit", "--repo", "ext::sh -c touch% x"), 2, "a git remote helper, which surveil never runs"),
        (_good, ("up", "--once", "ext::sh -c touch% x"), 2, "a git remote helper, which surveil never runs"),
        (_good, ("submit", "--repo", "ssh://-oProxyCommand=x/y"), 2, "has no proper host"),
        (_good, ("show", str(10**30)), 2, "is no build's number; `surveil builds` lists them"),
        (_good, ("show", "one"), 2, "`one` is no build's number; `surveil builds` lists them"),
        (_good, ("status",), 5, "holds no key for any dispatcher: start one here with `surveil up`"),
        (_good, ("runner",), 6, "join one with --join TOKEN"),
        (_good, ("runner", "--join", "svl1.torn"), 2, "the join token is damaged: copy it again"),
        (_good, ("dispatcher", "--listen", "tcp://127.0.0.1:99999"), 2, "is not an address like"),
        (_good, ("web", "--http", "off"), 2, "has nothing to serve with `--http off`"),
        (_good, ("web", "--http", "127.0.0.1"), 2, "is not an address like"),
        (_good, ("web", "--http", "127.0.0.1:0"), 3, "there is no database at"),
        (_good, ("login",), 3, "is not the folder of a dispatcher"),
        (_good, ("runer",), 2, "Did you mean `surveil runner`?"),
    ],
)
def test_bad_input_gets_one_sentence_and_its_exit_code(
    place: Place, prepare: Prepare, words: tuple[str, ...], code: int, said: str
) -> None:
    prepare(place.folder)
    before = {entry.name for entry in place.folder.iterdir()}
    done = place.run(*words, SURVEIL_DATA=str(place.data))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("surveil: ")
    assert done.stderr.count("\n") == 1
    assert {entry.name for entry in place.folder.iterdir()} - {"data"} == before
    assert place.processes() == []


def test_a_taken_port_is_named_with_what_finds_its_holder(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = place.run("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (7, "")
    assert f"port {port} of 127.0.0.1 is taken by another process: find it with 'ss -ltnp" in done.stderr
    assert done.stderr.count("\n") == 1
    assert place.processes() == []


def test_a_bare_repository_with_names_and_messages_of_any_bytes_gets_its_verdict(place: Place) -> None:
    made = make_repository(place.folder / "made", __surveil__yml=pipeline("true"))
    (place.folder / "message").write_bytes(b"caf\xe9 \x1b]0;owned\x07")
    git(made, "commit", "-q", "--allow-empty", "-F", str(place.folder / "message"))
    head = git(made, "rev-parse", "HEAD")
    packed = [f"{head} refs/heads/b{number}\n".encode() for number in range(10_000)]
    name = b"\xff\xfe"
    (made / ".git" / "packed-refs").write_bytes(b"".join([*packed, f"{head} refs/heads/".encode() + name + b"\n"]))
    git(place.folder, "clone", "-q", "--mirror", str(made), "bare")
    done = place.run("up", "--once", "--data", str(place.data), "--listen", "tcp://127.0.0.1:0", "bare")
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert place.processes() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 50_000, ".surveil.yml:1:51: lists and keys are nested more than 50 deep"),
        ("a: &a {x: 1}\nb: {<<: *a}\n", ".surveil.yml:2:5: the merge key `<<` is not allowed"),
        ("jobs: !!python/object/apply:os.system [x]\n", "is not allowed"),
        ("# " + "x" * 300_000, "at most 262144"),
    ],
)
def test_a_hostile_pipeline_is_a_complaint_and_no_build_runs(place: Place, text: str, said: str) -> None:
    make_repository(place.folder / "hostile", __surveil__yml=text)
    done = place.run("up", "--once", "--data", str(place.data), "--listen", "tcp://127.0.0.1:0", "hostile")
    assert done.returncode == 3
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert place.processes() == []


def test_a_pipeline_file_that_is_a_link_is_refused_here_as_on_a_runner(place: Place) -> None:
    made = make_repository(place.folder / "linked", real__yml=pipeline("true"))
    (made / ".surveil.yml").symlink_to("real.yml")
    commit(made, "Link")
    done = place.run("up", "--once", "--data", str(place.data), "--listen", "tcp://127.0.0.1:0", "linked")
    assert done.returncode == 3
    assert ".surveil.yml is a link or a folder; make it a regular file." in done.stdout + done.stderr
    assert place.processes() == []
