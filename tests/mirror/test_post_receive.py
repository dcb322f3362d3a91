"""The hook of a repository: in and out again, with what was there before, and pushes that it never hurts."""

import os
import subprocess
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError, InvalidError
from surveil.mirror.post_receive import BEFORE, NAME, Done, install, remove
from surveil.mirror.trouble import MirrorError

OWN = "#!/bin/sh\ncat > seen\necho own words\nexit 3\n"


def git(*words: str, cwd: Path) -> str:
    who = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    command = ["git", "-c", "init.defaultBranch=main", *words]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **who}
    done = subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    git("init", "-q", "--bare", "it's bare.git", cwd=tmp_path)
    return tmp_path / "it's bare.git"


def push(bare: Path, subject: str) -> str:
    work = bare.parent / "work"
    if not work.exists():
        git("clone", "-q", str(bare), str(work), cwd=bare.parent)
    git("commit", "-q", "--allow-empty", "-m", subject, cwd=work)
    return git("push", "-q", "origin", "HEAD:main", cwd=work)


def wait_for(file: Path) -> str:
    """What the hook's command wrote, which nobody waits for."""
    subprocess.run(["timeout", "20", "sh", "-c", 'until test -s "$0"; do sleep 0.02; done', str(file)], check=True)
    return file.read_text()


def test_after_each_push_the_command_runs_beside_it(bare: Path, tmp_path: Path) -> None:
    told = tmp_path / "told it's"
    command = ["sh", "-c", 'sleep 0.2; echo "$1" > "$0".new; mv "$0".new "$0"', str(told), "a 'name'; $(touch no)"]
    assert install(str(bare), command) is Done.MADE
    assert push(bare, "First") == ""
    # The push was over before the command was.
    assert not told.exists()
    assert wait_for(told) == "a 'name'; $(touch no)\n"
    assert not (bare / "no").exists()


def test_a_command_that_is_missing_fails_no_push(bare: Path) -> None:
    install(str(bare), ["/nowhere/at/all"])
    assert push(bare, "First") == ""
    assert git("log", "--format=%s", "main", cwd=bare).strip() == "First"


def test_a_hook_that_was_there_runs_first_with_its_input_and_its_verdict(bare: Path, tmp_path: Path) -> None:
    hook = bare / "hooks" / NAME
    hook.write_text(OWN)
    hook.chmod(0o755)
    told = tmp_path / "told"
    assert install(str(bare), ["touch", str(told)]) is Done.BESIDE
    assert (bare / "hooks" / BEFORE).read_text() == OWN
    done = subprocess.run(
        [str(hook)], cwd=bare, input="a b refs/heads/main\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, (bare / "seen").read_text()) == (3, "own words\n", "a b refs/heads/main\n")
    assert "own words" in push(bare, "First")
    assert remove(str(bare)) is Done.RESTORED
    assert (hook.read_text(), os.access(hook, os.X_OK)) == (OWN, True)
    assert not (bare / "hooks" / BEFORE).exists()


def test_doing_it_twice_changes_nothing_and_another_command_takes_the_place_of_ours(bare: Path) -> None:
    (bare / "hooks" / NAME).write_text(OWN)
    assert install(str(bare), ["true"]) is Done.BESIDE
    assert install(str(bare), ["true"]) is Done.KEPT
    assert install(str(bare), ["false"]) is Done.CHANGED
    assert "\nfalse </dev/null" in (bare / "hooks" / NAME).read_text()
    assert (bare / "hooks" / BEFORE).read_text() == OWN
    assert [remove(str(bare)), remove(str(bare))] == [Done.RESTORED, Done.ABSENT]
    assert (bare / "hooks" / NAME).read_text() == OWN


def test_without_another_hook_nothing_is_left_behind(bare: Path) -> None:
    before = sorted((bare / "hooks").iterdir())
    install(str(bare), ["true"])
    assert remove(str(bare)) is Done.REMOVED
    assert sorted((bare / "hooks").iterdir()) == before


def test_two_hooks_of_others_are_left_to_whoever_knows_them(bare: Path) -> None:
    for name in (NAME, BEFORE):
        (bare / "hooks" / name).write_text(OWN)
    with pytest.raises(InvalidError, match="neither is ours"):
        install(str(bare), ["true"])
    assert (bare / "hooks" / NAME).read_text() == OWN


def test_a_link_is_kept_as_the_link_that_it_is(bare: Path) -> None:
    (bare / "hooks" / NAME).symlink_to("/somewhere/else")
    install(str(bare), ["true"])
    assert (bare / "hooks" / BEFORE).readlink() == Path("/somewhere/else")
    assert remove(str(bare)) is Done.RESTORED
    assert (bare / "hooks" / NAME).readlink() == Path("/somewhere/else")


def test_where_hooks_are_elsewhere_or_there_is_no_repository_it_is_said(bare: Path, tmp_path: Path) -> None:
    git("config", "core.hooksPath", "/etc/hooks", cwd=bare)
    with pytest.raises(InvalidError, match=r"core\.hooksPath"):
        install(str(bare), ["true"])
    with pytest.raises(MirrorError):
        install(str(tmp_path), ["true"])


def test_a_folder_that_takes_no_file_is_named(bare: Path) -> None:
    hooks = bare / "hooks"
    for name in hooks.iterdir():
        name.unlink()
    hooks.rmdir()
    hooks.write_text("a file")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        install(str(bare), ["true"])
