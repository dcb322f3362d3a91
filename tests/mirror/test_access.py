"""Servers that ask who we are: what opens them, and the one sentence with the next command where nothing does."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.hands.reporting import PROBLEM_CHARS_MAX
from surveil.mirror.access import Access
from surveil.mirror.address import Address, AddressError, parse
from surveil.mirror.command import run
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.leaks import nothing_left
from tests.mirror.repositories import Repository
from tests.mirror.servers import (
    SshServer,
    backend,
    make_certificate,
    needs_openssl,
    needs_sshd,
    serve_ssh,
    serving,
)

BASIC = "Basic YWRhOnNAY3JldA=="
"""`ada` and `s@cret`."""


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[SshServer]:
    with serve_ssh(tmp_path / "ssh") as server:
        yield server


def credentials(folder: Path, *lines: str, mode: int = 0o600) -> Access:
    file = folder / "credentials"
    file.write_text("".join(line + "\n" for line in lines))
    file.chmod(mode)
    return Access(credentials=file)


def refusal(tmp_path: Path, address: Address, access: Access) -> str:
    """The sentence with which a remote is given up, which is one line, names it, and leaves nothing behind."""
    with nothing_left(), pytest.raises(MirrorError) as refused:
        Mirror(tmp_path / "refused", address, access=access).refs()
    assert refused.value.trouble is Trouble.REFUSED
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= PROBLEM_CHARS_MAX
    return str(refused.value)


# ---- ssh ----


@needs_sshd
def test_a_key_opens_a_repository_over_ssh(repository: Repository, tmp_path: Path, ssh: SshServer) -> None:
    sha = repository.commit("Over ssh")
    mirror = Mirror(tmp_path / "mirrors", parse(f"{ssh.address}{repository.path}", "/"), access=ssh.access)
    refs = mirror.refs()
    assert (refs.head, refs.head_sha) == ("refs/heads/main", sha)
    mirror.fetch(sha, refs.head)
    assert mirror.read(sha).message == "Over ssh"


@needs_sshd
def test_ssh_asks_nobody_and_says_what_to_type(repository: Repository, tmp_path: Path, ssh: SshServer) -> None:
    address = parse(f"{ssh.address}{repository.path}", "/")
    file = ssh.folder / "ssh_config"

    ssh.known_hosts.write_text("")
    unknown = refusal(tmp_path, address, ssh.access)
    assert f"{address.key} is at a host whose key this user does not know" in unknown
    assert f"type `ssh-keyscan -p {ssh.port} 127.0.0.1 >> {ssh.known_hosts}`" in unknown

    ssh.know("other")
    changed = refusal(tmp_path, address, ssh.access)
    assert "shows another key than before" in changed
    assert f"`ssh-keygen -R '[127.0.0.1]:{ssh.port}' -f {ssh.known_hosts}`" in changed

    ssh.know()
    ssh.authorized_keys.write_text((ssh.folder / "other.pub").read_text())
    assert f"type `ssh -F {file} -T -p {ssh.port}" in refusal(tmp_path, address, ssh.access)

    file.chmod(0o622)
    assert f"type `chmod 600 {file}`" in refusal(tmp_path, address, ssh.access)
    file.chmod(0o600)
    file.write_text("NoSuchOption yes\n")
    assert "ssh objects to its own configuration" in refusal(tmp_path, address, ssh.access)
    file.unlink()
    assert f"`ls -l {file}`" in refusal(tmp_path, address, ssh.access)


@needs_sshd
def test_a_key_with_a_passphrase_is_not_waited_for(repository: Repository, tmp_path: Path, ssh: SshServer) -> None:
    os.spawnlp(os.P_WAIT, "ssh-keygen", "ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(ssh.folder / "client"))
    address = parse(f"{ssh.address}{repository.path}", "/")
    assert "a key with a passphrase needs an agent" in refusal(tmp_path, address, ssh.access)


# ---- https ----


def test_a_line_opens_what_it_is_for_and_shows_nowhere(repository: Repository, tmp_path: Path) -> None:
    seen: list[str] = []
    sha = repository.git("rev-parse", "HEAD")
    with serving(backend(tmp_path, seen, BASIC)) as server:
        address = parse(f"{server}/source/.git", "/")
        access = credentials(
            tmp_path, "# for tests", "", f"{server.replace('//', '//ada:s%40cret@')}", "https://a:b@example.org/c"
        )
        mirror = Mirror(tmp_path / "mirrors", address, access=access)
        assert mirror.refs().head_sha == sha
        mirror.fetch(sha, "refs/heads/main")
        assert mirror.read(sha).message == "First"
    assert set(seen) == {"", BASIC}
    left = [path for path in mirror.path.rglob("*") if path.is_file() and b"cret" in path.read_bytes()]
    assert left == []
    assert "cret" not in repr(access.login(address))


@needs_openssl
def test_a_certificate_is_trusted_only_with_its_authority(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path / "certificate")
    with serving(backend(tmp_path, login=BASIC), certificate) as server:
        address = parse(f"{server}/source/.git", "/")
        access = credentials(tmp_path, server.replace("//", "//ada:s%40cret@"))
        unknown = refusal(tmp_path, address, access)
        assert "shows a certificate that this machine does not trust" in unknown
        assert f"type `curl -sSI {server}` to see why" in unknown
        monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
        assert "does not trust" in refusal(tmp_path, address, access)
        monkeypatch.setenv("GIT_SSL_CAINFO", f"{certificate}.crt")
        mirror = Mirror(tmp_path / "mirrors", address, access=access)
        sha = repository.git("rev-parse", "HEAD")
        assert mirror.refs().head_sha == sha
        mirror.fetch(sha, "refs/heads/main")
        assert mirror.read(sha).message == "First"


def test_a_server_that_wants_other_credentials_is_told_of_with_the_file(repository: Repository, tmp_path: Path) -> None:
    with serving(backend(tmp_path, login=BASIC)) as server:
        address = parse(f"{server}/source/.git", "/")
        none = refusal(tmp_path, address, Access())
        assert "asks for credentials, and none are set; write `https://USER:TOKEN@HOST` to a file" in none
        access = credentials(tmp_path, "https://ada:s%40cret@example.org")
        assert f"no line of {access.credentials} is for it" in refusal(tmp_path, address, access)
        access = credentials(tmp_path, server.replace("//", "//ada:guess@"))
        wrong = refusal(tmp_path, address, access)
        assert f"does not take the credentials of ada in {access.credentials}" in wrong
        assert (
            f"type `git -c 'credential.helper=store --file={access.credentials}' ls-remote -- {address.key}`" in wrong
        )
        assert "guess" not in wrong
        # A new token needs no restart.
        mirror = Mirror(tmp_path / "mirrors", address, access=access)
        credentials(tmp_path, server.replace("//", "//ada:s%40cret@"))
        assert mirror.refs().head_sha == repository.git("rev-parse", "HEAD")


def test_the_nearest_place_and_the_user_of_the_address_choose_the_line(tmp_path: Path) -> None:
    access = credentials(
        tmp_path,
        "https://all:1@Example.org",
        "https://team:2@example.org:443/team/",
        "https://one:3@example.org/team/one.git",
        "https://two:4@example.org/team",
        "http://plain:5@example.org",
    )

    def user(text: str) -> str | None:
        login = access.login(parse(text, "/"))
        return None if login is None else login.user

    assert user("https://example.org/other.git") == "all"
    assert user("https://example.org/teams/x") == "all"
    assert user("https://example.org/team/x") == "team"
    assert user("https://two@example.org/team/x") == "two"
    assert user("https://example.org/team/one") == "one"
    assert user("https://nobody@example.org/team/one") is None
    assert user("http://example.org/x") == "plain"
    assert user("https://example.org:8443/x") is None
    assert user("https://example.org.evil.example/x") is None
    assert user("ssh://all@example.org/x") is None
    assert user("git@example.org:x") is None


@pytest.mark.parametrize(
    "line",
    [
        "s3cret",
        "https://s3cret@example.org",
        "ssh://ada:s3cret@example.org/",
        "https://a:s3cret@",
        "https://a:s3cret%0a@b",
    ],
)
def test_a_line_that_means_nothing_is_named_by_its_number_and_not_shown(tmp_path: Path, line: str) -> None:
    access = credentials(tmp_path, "https://ada:hush@example.org", line)
    with pytest.raises(MirrorError, match=r"credentials, line 2, is not like `https://USER:TOKEN@HOST`") as refused:
        access.check()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    access = credentials(tmp_path, "https://ada:hush@example.org", mode=mode)
    with pytest.raises(MirrorError, match=f"open to other users; type `chmod 600 {access.credentials}`"):
        access.check()
    assert stat.S_IMODE((tmp_path / "credentials").stat().st_mode) == mode


def test_a_password_reaches_git_and_no_argument(tmp_path: Path) -> None:
    address = parse("https://127.0.0.1:1/a", "/")
    access = credentials(tmp_path, "https://ada:s%40cret%27%22@127.0.0.1:1")
    question = tmp_path / "question"
    question.write_text("protocol=https\nhost=127.0.0.1:1\n\n")
    with question.open("rb") as stdin:
        answer = run("credential", "fill", about="here", address=address, access=access, stdin=stdin, cwd=str(tmp_path))
    assert b"username=ada\npassword=s@cret'\"\n" in answer.stdout
    look = ("-c", "alias.arguments=!cat /proc/$PPID/cmdline", "arguments")
    shown = run(*look, about="here", address=address, access=access)
    assert shown.stdout
    assert b"s@cret" not in shown.stdout


def test_a_password_is_for_its_own_host_alone(tmp_path: Path) -> None:
    access = credentials(tmp_path, "https://ada:secret@127.0.0.1:1")
    address = parse("https://127.0.0.1:1/a", "/")
    question = tmp_path / "question"
    question.write_text("protocol=https\nhost=127.0.0.2\n\n")
    with question.open("rb") as stdin, pytest.raises(MirrorError):
        run("credential", "fill", about="here", address=address, access=access, stdin=stdin, cwd=str(tmp_path))


def test_a_password_in_an_address_is_refused_with_the_better_place() -> None:
    with pytest.raises(AddressError, match="holds a password, which everybody on this machine could read") as refused:
        parse("https://ada:hush@example.org/a", "/")
    assert "--credentials FILE" in str(refused.value)
    assert "hush" not in str(refused.value)
