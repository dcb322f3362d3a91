"""How git is run: nothing of the outside gets in, nothing of git stays behind, and every failure is a sentence."""

import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from surveil.mirror.address import Address, parse
from surveil.mirror.command import Halt, run
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import list_remote
from surveil.mirror.trouble import MirrorError, Output, Trouble, failure
from tests.mirror.leaks import nothing_left
from tests.mirror.repositories import Repository


def at(port: int, path: str = "/a") -> Address:
    return parse(f"git://127.0.0.1:{port}{path}", "/")


def test_git_sees_none_of_our_environment(monkeypatch: pytest.MonkeyPatch, repository: Repository) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "alias.evil")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "!touch pwned")
    monkeypatch.setenv("GIT_SSH_COMMAND", "touch pwned")
    monkeypatch.setenv("SURVEIL_SECRET", "hush")
    seen = run("-c", "alias.surroundings=!env", "surroundings", about="here", cwd=str(repository.path)).stdout
    assert b"SURVEIL_SECRET" not in seen
    assert b"touch pwned" not in seen
    assert b"\nHOME=/nonexistent\n" in b"\n" + seen


def test_git_is_told_nothing_of_the_world_but_how_to_stay_harmless(
    monkeypatch: pytest.MonkeyPatch, repository: Repository
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.org")
    seen = run("-c", "alias.surroundings=!env", "surroundings", about="here", cwd=str(repository.path)).stdout
    ours = {"GIT_EXEC_PATH", "GIT_PREFIX", "GIT_CONFIG_PARAMETERS", "PATH", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR"}
    told = dict(line.split("=", 1) for line in seen.decode().splitlines())
    assert {name: value for name, value in told.items() if name not in ours | {"LD_LIBRARY_PATH"}} == {
        "LC_ALL": "C", "LANGUAGE": "C", "HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false", "GIT_ALLOW_PROTOCOL": "", "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_NO_LAZY_FETCH": "1", "GIT_LFS_SKIP_SMUDGE": "1", "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ADVICE": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "harmless"),
    [
        ("core.fsmonitor", "false"), ("core.hooksPath", "/dev/null"), ("core.askPass", "/bin/false"),
        ("protocol.allow", "never"), ("protocol.ext.allow", "never"), ("core.pager", "cat"), ("gc.auto", "0"),
        ("maintenance.auto", "false"), ("fetch.recurseSubmodules", "false"), ("submodule.recurse", "false"),
        ("http.followRedirects", "initial"), ("http.lowSpeedLimit", "1"), ("http.lowSpeedTime", "30"),
    ],
)  # fmt: skip
def test_no_configuration_of_a_repository_wins_over_ours(repository: Repository, key: str, harmless: str) -> None:
    repository.git("config", key, "true")
    git_dir = str(repository.path / ".git")
    found = run("config", "--get", key, about="here", git_dir=git_dir).stdout
    assert found.decode().strip() == harmless


def test_options_of_a_repository_that_would_start_programs_start_none(repository: Repository, tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    for key in ("core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.pager", "uploadpack.packObjectsHook"):
        repository.git("config", key, f"touch {mark}; false")
    hook = repository.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    sha = mirror.refs().head_sha
    assert sha is not None
    mirror.fetch(sha)
    assert mirror.read(sha).message == "First"
    assert not mark.exists()


def test_no_transport_is_allowed_but_that_of_the_address(repository: Repository, tmp_path: Path) -> None:
    for url in (f"file://{repository.path}", "ext::sh -c 'touch pwned'", str(repository.path)):
        with pytest.raises(MirrorError, match="not allowed"):
            run(
                "ls-remote",
                "--end-of-options",
                url,
                about="here",
                address=parse("https://example.org/a", "/"),
                cwd=str(tmp_path),
            )
        with pytest.raises(MirrorError, match="not allowed"):
            run("ls-remote", "--end-of-options", url, about="here", cwd=str(tmp_path))
    assert list(tmp_path.glob("**/pwned")) == []


def test_a_remote_that_says_nothing_is_given_up_in_time(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.mirror.refs.REMOTE_TIMEOUT_S", 0.3)
    start = time.monotonic()
    with nothing_left():
        with pytest.raises(MirrorError) as refused:
            list_remote(at(silent_port))
        assert refused.value.trouble is Trouble.TIMEOUT
        assert "127.0.0.1" in str(refused.value)
        assert time.monotonic() - start < 30, "it waited for the ordinary limit"


def test_a_remote_that_talks_without_end_is_cut_off(repository: Repository, daemon: str) -> None:
    address = parse(f"{daemon}/source/.git", "/")
    with pytest.raises(MirrorError) as refused:
        run("ls-remote", "--end-of-options", address.url, about=address.key, address=address, output_bytes_max=10)
    assert refused.value.trouble is Trouble.TOO_LARGE


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(MirrorError) as refused:
        list_remote(at(port))
    assert refused.value.trouble is Trouble.UNREACHABLE


def test_a_repository_that_a_remote_does_not_have_is_said_so(repository: Repository, daemon: str) -> None:
    with pytest.raises(MirrorError) as refused:
        list_remote(parse(f"{daemon}/nothing", "/"))
    assert refused.value.trouble in {Trouble.NOT_A_REPOSITORY, Trouble.REFUSED}


def test_a_grandchild_that_holds_the_pipes_neither_delays_nor_survives(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    start = time.monotonic()
    run("-c", f"alias.linger=!sleep 300 & echo $! > {note}", "linger", about="here", cwd=str(tmp_path), timeout_s=100)
    assert time.monotonic() - start < 60, "it waited for the grandchild"
    pid = int(note.read_text())
    assert wait_until_gone(pid), "the grandchild lives on"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            # A zombie whose new parent has not reaped it yet is dead as well.
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_two_hundred_calls_leave_no_process_and_no_descriptor(repository: Repository, tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "mirrors", parse(str(repository.path), "/"))
    sha = mirror.refs().head_sha
    assert sha is not None
    mirror.fetch(sha)
    with nothing_left():
        for _ in range(200):
            mirror.read(sha)
        with pytest.raises(MirrorError):
            mirror.read("0" * 40)


def test_without_git_there_is_a_sentence_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MirrorError, match="install") as refused:
        run("version", about="here")
    assert refused.value.trouble is Trouble.NO_GIT


def test_complaints_name_the_line_that_says_most() -> None:
    output = Output(status=128, stdout=b"", stderr="Cloning...\nfatal: not our ref \x1b[31mabc\nfatal: early EOF\n")
    problem = failure(output, "https://ada:secret@example.org/a")
    assert problem.trouble is Trouble.MISSING
    assert str(problem).startswith("https://example.org/a: fatal: not our ref ?[31mabc.")


def test_a_bell_ends_a_call_under_way_and_all_that_follow(silent_port: int) -> None:
    with nothing_left(), closing(Halt()) as halt:
        ringing = threading.Timer(0.2, halt.ring)
        ringing.start()
        for _ in range(2):
            with pytest.raises(MirrorError) as refused:
                list_remote(at(silent_port), halt=halt)
            assert refused.value.trouble is Trouble.HALTED
        ringing.join()
