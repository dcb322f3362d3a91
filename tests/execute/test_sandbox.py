"""What a job can do to its machine: probes that run in real attempts, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import surveil
from surveil.errors import InfrastructureError
from surveil.execute.isolation import isolating
from surveil.execute.isolation.sandbox import Sandbox, describe
from surveil.execute.workspace import Workspace
from tests.execute import ordinary
from tests.execute.conftest import Kept, job, make_repository, sandboxed

PTRACE = "import ctypes,sys; sys.exit(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) != 0)"
"""PTRACE_SEIZE, which lets the process go on."""
DESCRIPTORS = "import os,sys; sys.exit(set(os.listdir('/proc/self/fd')) <= set('0123'))"
"""Beside its three there is the one by which they are listed."""
PROBES = {
    "read the key": "cat {data}/keys/runner.key",
    "list the data folder": "ls {data}/attempts",
    "read the spool": "cat {data}/attempts/*/spool",
    "write the spool": "for f in {data}/attempts/*; do : >> $f/spool; done",
    "write the status": "for f in {data}/attempts/*; do echo '{}' > $f/forged.json; done",
    "command the keeper": "for f in {data}/attempts/*; do : <> $f/control; done",
    "see another workspace": "ls {data}/workspaces/other/secret",
    "read the agent's environment": "cat /proc/{agent}/environ",
    "read the agent's memory": "cat /proc/{agent}/maps",
    "trace the agent": f'{sys.executable} -c "{PTRACE}" {{agent}}',
    "signal the agent": "kill -0 {agent}",
    "read the keeper's environment": "cat /proc/$(cat {lock})/environ",
    "read the keeper's memory": "cat /proc/$(cat {lock})/maps",
    "trace the keeper": f'{sys.executable} -c "{PTRACE}" $(cat {{lock}})',
    "signal the keeper": "kill -0 $(cat {lock})",
    "use what the keeper holds open": f'{sys.executable} -c "{DESCRIPTORS}"',
    "be quicker than others": "renice -n -5 $$",
    "raise its limits": "ulimit -Hc 1000",
    "leave its control groups": "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -writable | grep .",
    "be somebody else": f"{sys.executable} -c 'import os; os.setuid(1)'",
    "get a device": "mknod zero c 1 5",
    "change its root": "chroot / true",
    "get a user namespace": "unshare --user --map-root-user true",
    "mount": "mount -t tmpfs none /mnt",
    "write to the system": "touch /usr/planted && rm /usr/planted",
    "read the shadow file": "head -c 1 /etc/shadow",
    "see root's home or anybody's": "ls /home || ls $(getent passwd $(id -u) | cut -d: -f6)/..?*",
    "see sockets of services": "ls -d /run/* /var/run/*",
}
ALWAYS_REFUSED = {"raise its limits", "use what the keeper holds open"}
"""What no job can do: the keeper sees to that."""
REFUSED_BY_KEEPERS = {"read the keeper's environment", "read the keeper's memory", "trace the keeper"}
"""What no job can do to its keeper, unless it is root's and in no sandbox."""
OF_A_USER = {
    "read the agent's environment", "read the agent's memory",
    "read the key", "list the data folder", "read the spool", "write the spool", "write the status",
    "command the keeper", "see another workspace", "signal the agent", "signal the keeper", "see sockets of services",
}  # fmt: skip
"""What every job can do without a sandbox, as the documentation says."""
PLANT = """
mkdir -p ~/.ssh && echo planted > ~/.ssh/config
git config --global core.fsmonitor planted
for folder in /tmp /var/tmp /dev/shm ~ "$TMPDIR"; do echo planted > "$folder/planted" || :; done
echo planted > .git/hooks-planted
crontab -l > cron 2>/dev/null || :
printf '* * * * * planted\\n' | crontab - 2>/dev/null || :
setsid sh -c 'trap "" HUP TERM; exec sleep 301.5' >/dev/null 2>&1 &
echo planted > "$SURVEIL_WORKSPACE/../planted" || :
"""
HARVEST = """
cat ~/.ssh/config ~/.gitconfig .git/hooks-planted "$SURVEIL_WORKSPACE/../planted" || :
for folder in /tmp /var/tmp /dev/shm ~ "$TMPDIR"; do cat "$folder/planted" || :; done
git config --global --list || :
crontab -l || :
grep -l 'sleep.301[.]5' /proc/[0-9]*/cmdline | grep -v self || :
"""


@pytest.fixture(params=ordinary.USERS)
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(user: str) -> Iterator[Path]:
    """A folder that this user owns and reaches."""
    folder = Path(tempfile.mkdtemp(prefix="surveil-test-"))
    ordinary.own(folder, user)
    yield folder
    shutil.rmtree(folder)


def attempts(
    place: Path, user: str, sandbox: str, *scripts: str, exposed: Path | None = None, processes: int = 0
) -> list[dict[str, Any]]:
    """Run these scripts as jobs of a runner of this user, one after another."""
    sha = make_repository(place / "repo")
    (place / "tmp").mkdir()
    ordinary.own(place, user)
    wanted = {
        "data": str(place / "data"), "repo": str(place / "repo"), "sha": sha, "sandbox": sandbox,
        "expose": list({sys.prefix, sys.base_prefix, str(exposed or sys.prefix)}), "jobs": scripts,
        "processes": processes,
    }  # fmt: skip
    done = subprocess.run(
        ordinary.command([sys.executable, "-m", "tests.execute.probed"], user),
        input=json.dumps(wanted),
        cwd=ordinary.ROOT,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(place / "tmp"), "SECRET_OF_THE_AGENT": "hush"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=100,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def probe() -> str:
    tries = [
        f"if ( {script} ) >/dev/null; then echo {shlex.quote('can ' + name)}; fi" for name, script in PROBES.items()
    ]
    return "\n".join(["exec 2>&1", *tries, "echo done"])


def possible(log: str) -> set[str]:
    assert log.endswith("done\n"), log
    return {line.removeprefix("can ") for line in log.splitlines() if line.startswith("can ")}


def test_in_a_sandbox_a_job_can_do_nothing_to_its_machine(place: Path, user: str) -> None:
    sandboxed()
    (found,) = attempts(place, user, "required", probe())
    assert (found["outcome"], found["isolation"]) == ("passed", "bubblewrap"), found
    assert possible(found["log"]) == set()


def test_without_a_sandbox_a_job_can_do_what_its_user_can_and_this_is_how_we_know_that_the_probes_bite(
    place: Path, user: str
) -> None:
    (found,) = attempts(place, user, "off", probe())
    assert (found["outcome"], found["isolation"]) == ("passed", "process"), found
    can = possible(found["log"])
    assert can >= OF_A_USER, found["log"]
    assert not can & ALWAYS_REFUSED
    assert not can & REFUSED_BY_KEEPERS or user == "root"
    assert ("read the shadow file" in can) == (user == "root")


def test_the_documentation_names_every_probe_and_no_other() -> None:
    page = (ordinary.ROOT / "docs" / "evidence" / "isolation.md").read_text()
    rows = [line.split(" | ")[3] for line in page.splitlines() if line.startswith("| ") and line.count(" | ") >= 3]
    named = {name for row in rows for name in re.findall(r"`([^`]*)`", row)}
    assert set(PROBES) <= named
    assert {name for name in named if " " in name} <= set(PROBES)


def test_a_job_finds_nothing_that_the_one_before_it_planted(place: Path, user: str) -> None:
    sandboxed()
    planted, found = attempts(place, user, "required", PLANT, HARVEST)
    assert planted["outcome"] == "passed", planted
    assert found["outcome"] == "passed", found
    assert "planted" not in found["log"].replace("/planted", "").replace("hooks-planted", ""), found["log"]
    assert "/cmdline" not in found["log"], found["log"]


def test_what_is_planted_is_found_where_nothing_is_kept_apart() -> None:
    """The harvest bites."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.below(Path(folder))
        (workspace.work / ".git").mkdir(parents=True)
        for path in (workspace.home, workspace.tmp):
            path.mkdir()
        env = {
            "PATH": os.environ["PATH"], "HOME": str(workspace.home), "TMPDIR": str(workspace.tmp),
            "SURVEIL_WORKSPACE": str(workspace.work),
        }  # fmt: skip
        plant = PLANT.replace("/tmp /var/tmp /dev/shm ", "").replace("| crontab -", "| cat")
        plant = plant[: plant.index("setsid")]
        out = [
            subprocess.run(
                ["sh", "-c", script], cwd=workspace.work, env=env, capture_output=True, text=True, check=False
            )
            for script in (plant, HARVEST)
        ]
    assert out[1].stdout.count("planted") >= 5


# ---- what is shown ----


def words(sandbox: Sandbox, word: str) -> set[str]:
    found = [*sandbox.words, *sandbox.showing, *sandbox.hiding]
    return {found[at + 1] for at, each in enumerate(found) if each == word}


def described(tmp_path: Path, **more: Any) -> Sandbox:
    wanted: dict[str, Any] = {
        "path": "",
        "home": tmp_path / "somebody",
        "data": None,
        "expose": [],
        "secrets": [],
    } | more
    return describe("/usr/bin/bwrap", **wanted)


def test_tools_in_a_home_are_shown_with_what_they_need_and_without_what_is_private(tmp_path: Path) -> None:
    home = tmp_path / "somebody"
    for folder in (
        ".pyenv/shims",
        ".cargo/bin",
        ".rustup",
        ".local/bin",
        ".nvm/versions/node/v22/bin",
        "bin",
        "venv/bin",
    ):
        (home / folder).mkdir(parents=True)
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "bin").mkdir()
    (home / "venv" / "pyvenv.cfg").write_text(f"home = {tmp_path}/python/bin\nversion = 3.11\n")
    path = [home / name for name in (".pyenv/shims", ".cargo/bin", ".local/bin", ".nvm/versions/node/v22/bin", "bin")]
    path += [home / "venv" / "bin", home, home / "missing"]
    sandbox = described(tmp_path, path=":".join([*map(str, path), "relative", ""]))
    shown = {one.removeprefix(str(tmp_path)) for one in words(sandbox, "--ro-bind") if one.startswith(str(tmp_path))}
    assert shown == {
        "/somebody/.pyenv", "/somebody/.cargo/bin", "/somebody/.rustup", "/somebody/.local/bin",
        "/somebody/.nvm/versions/node/v22",
        "/somebody/bin", "/somebody/venv", "/python",
    }  # fmt: skip


def test_the_environment_that_surveil_runs_in_is_shown_with_surveil_itself(tmp_path: Path) -> None:
    package = Path(surveil.__file__).resolve().parent
    shown = [Path(one) for one in words(described(tmp_path, path=f"{sys.prefix}/bin"), "--ro-bind")]
    assert any(package.is_relative_to(one) for one in shown)
    assert package.parent not in shown, "what else lies in a checkout is nobody's business"
    assert str(package) not in words(described(tmp_path, path="/usr/games"), "--ro-bind")


def test_a_data_folder_is_hidden_even_where_all_around_it_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "shown" / "up" / "runners" / "local-1"
    data.mkdir(parents=True)
    secret = tmp_path / "shown" / "credentials"
    secret.touch()
    sandbox = described(tmp_path, data=data, secrets=[secret], expose=[tmp_path / "shown"])
    assert words(sandbox, "--ro-bind") >= {str(tmp_path / "shown")}
    # That of `up`, in which its runners' folders lie.
    assert sandbox.hiding == ("--tmpfs", str(tmp_path / "shown" / "up"), "--ro-bind", "/dev/null", str(secret))
    assert described(tmp_path, data=data, secrets=[secret]).hiding == ()


@pytest.mark.parametrize("user", ["ordinary"])
def test_a_folder_of_path_that_its_user_may_not_look_into_is_passed_over(place: Path, user: str) -> None:
    closed = place / "closed"
    (closed / "bin").mkdir(parents=True)
    closed.chmod(0)
    program = (
        "import sys; from pathlib import Path; from surveil.execute.isolation.sandbox import describe; "
        "print(describe('bwrap', path=sys.argv[1], home=Path(sys.argv[2]), data=None, expose=[], secrets=[]).showing)"
    )
    argv = [sys.executable, "-c", program, f"{closed}/bin:{place}", "/nowhere"]
    done = subprocess.run(ordinary.command(argv, user), cwd=ordinary.ROOT, capture_output=True, text=True, check=False)
    assert str(place) in done.stdout, done.stderr
    assert str(closed) not in done.stdout


def test_a_tool_is_not_shown_where_that_would_show_a_home_or_a_data_folder(tmp_path: Path) -> None:
    (tmp_path / "somebody" / "data").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    path = f"{tmp_path}/bin:{tmp_path}:{tmp_path}/somebody/data"
    sandbox = described(tmp_path, path=path, data=tmp_path / "somebody" / "data")
    assert {one for one in words(sandbox, "--ro-bind") if one.startswith(str(tmp_path))} == {f"{tmp_path}/bin"}


def test_the_objects_that_a_work_tree_borrows_are_shown_however_far_they_are(tmp_path: Path) -> None:
    work, mirror, local = (tmp_path / name for name in ("ws/work/.git", "mirror", "local/.git"))
    for repository in (work, mirror, local):
        (repository / "objects" / "info").mkdir(parents=True)
    (work / "objects/info/alternates").write_text(f"# ours\n{mirror}/objects\n\n{tmp_path}/missing/objects\n")
    (mirror / "objects/info/alternates").write_text("../../local/.git/objects\n")
    (local / "objects/info/alternates").write_text(f"{mirror}/objects\n{tmp_path}\n")
    argv = described(tmp_path).argv(Workspace.below(tmp_path / "ws"))
    read_only = [argv[at + 1] for at, word in enumerate(argv) if word == "--ro-bind"]
    shown = {os.path.realpath(one) for one in read_only if one.startswith(str(tmp_path))}
    assert shown == {str(mirror / "objects"), str(local / "objects")}


def test_a_linked_work_tree_brings_its_repository_and_a_forged_one_does_not(tmp_path: Path) -> None:
    repo, tree, forged = tmp_path / "repo", tmp_path / "tree", tmp_path / "forged"
    make_repository(repo)
    subprocess.run(["git", "-C", str(repo), "worktree", "add", "-q", str(tree)], check=True)
    forged.mkdir()
    (tmp_path / "ssh").mkdir()
    (forged / ".git").write_text(f"gitdir: {tmp_path}/ssh\n")
    written = {}
    for work in (tree, forged):
        argv = described(tmp_path).argv(Workspace(root=tmp_path / "space", work=work))
        written[work] = [argv[at + 1] for at, word in enumerate(argv) if word == "--bind"]
    assert str(repo / ".git") in written[tree]
    assert not any("ssh" in path for path in written[forged])


# ---- choosing ----


def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)


def test_a_required_sandbox_that_cannot_be_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    no_bubblewrap(monkeypatch)
    with pytest.raises(
        InfrastructureError, match=r"bubblewrap is not installed; type `.*apt install bubblewrap`, or start"
    ):
        isolating.choose("required")


def test_where_there_can_be_no_sandbox_auto_goes_on_and_knows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    no_bubblewrap(monkeypatch)
    found = isolating.choose("auto")
    assert (found.name, found.why) == ("process", "bubblewrap is not installed")
    assert found.next.endswith("apt install bubblewrap")


def test_a_bubblewrap_that_the_kernel_forbids_is_found_out_by_trying(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forbidden = tmp_path / "bwrap"
    forbidden.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _name: str(forbidden))
    switch = tmp_path / "switch"
    switch.write_text("1\n")
    monkeypatch.setattr(isolating, "SWITCHES", ((switch, "1", "0"),))
    found = isolating.choose("auto")
    assert (found.name, found.why) == ("process", "bwrap: setting up uid map: Permission denied")
    assert "sysctl" in found.next


def test_an_older_bubblewrap_is_used_without_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = shutil.which("bwrap")
    sandboxed()
    older = tmp_path / "bwrap"
    complain = 'echo "bwrap: Unknown option $word" >&2; exit 1'
    look = f'for word; do case "$word" in --disable-userns) {complain};; esac; done'
    older.write_text(f'#!/bin/sh\n{look}\nexec {real} "$@"\n')
    older.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda _name: str(older))
    found = isolating.choose("required")
    assert found.sandbox is not None
    assert "--disable-userns" not in found.sandbox.words


def test_the_trial_takes_no_module_from_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A work tree could talk its runner out of the sandbox."""
    sandboxed()
    (tmp_path / "json.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert isolating.find().name == "bubblewrap"


def test_what_is_to_be_exposed_and_is_missing_is_named(tmp_path: Path) -> None:
    found = isolating.find(expose=[tmp_path / "missing"])
    assert (found.name, found.why) == ("process", f"`{tmp_path}/missing` is to be exposed and is not there")


def test_what_is_exposed_may_be_read(place: Path, user: str) -> None:
    sandboxed()
    (place / "exposed").write_text("for everybody\n")
    (found,) = attempts(
        place,
        user,
        "required",
        f"cat {place}/exposed; echo x > {place}/exposed || echo refused",
        exposed=place / "exposed",
    )
    assert found["log"].splitlines()[0] == "for everybody"
    assert found["log"].splitlines()[-1] == "refused"


def test_an_attempt_whose_sandbox_cannot_be_built_is_errored_and_does_not_run_without(kept: Kept) -> None:
    sandboxed()
    kept.isolation = isolating.Isolation(Sandbox(words=(str(shutil.which("bwrap")), "--no-such-word")))
    status = kept.run(job("echo never"))
    assert status.outcome == "errored"
    assert "the sandbox cannot be built: bwrap: Unknown option --no-such-word" in status.reason
    assert kept.log() == b""


def test_git_works_in_a_sandboxed_work_tree(place: Path, user: str) -> None:
    sandboxed()
    script = (
        "git status --porcelain; git log --format=%s; git describe --always; touch new; git add new; git stash list"
    )
    (found,) = attempts(
        place, user, "required", f"set -e\n{script}\ngit -c user.name=a -c user.email=a@b commit -qm Two"
    )
    assert found["outcome"] == "passed", found
    assert found["log"].splitlines()[0] == "One"


def test_a_repository_of_this_machine_is_fetched_from_only_where_it_is_exposed_and_never_pushed_to(
    place: Path, user: str
) -> None:
    """As the documentation says."""
    sandboxed()
    tries = {
        "fetch": "git fetch -q origin", "fetch file://": f"git fetch -q file://{place}/repo main",
        "clone": f"git clone -q file://{place}/repo clone", "push": "git push -q origin HEAD:refs/heads/pushed",
        "submodule": f"git submodule add -q file://{place}/repo one",
        "allowed submodule": f"git -c protocol.file.allow=always submodule add -q file://{place}/repo two",
        "own history": "git clone -q . own && git -C own fetch -q && git worktree add -q tree HEAD && git gc -q",
    }  # fmt: skip
    script = "\n".join([*(f"if {line} >/dev/null 2>&1; then echo can {name}; fi" for name, line in tries.items()),
                        "echo done"])  # fmt: skip
    (found,) = attempts(place, user, "required", script)
    assert possible(found["log"]) == {"own history"}
    for name in ("data", "tmp", "repo"):
        shutil.rmtree(place / name)
    (found,) = attempts(place, user, "required", script, exposed=place / "repo")
    assert possible(found["log"]) == set(tries) - {"push", "submodule"}


def test_in_a_sandbox_of_an_ordinary_user_processes_are_counted_without_a_control_group(place: Path, user: str) -> None:
    sandboxed()
    # It has an end of its own, should the limit not hold.
    bomb = "n=0; while [ $n -lt 60 ]; do sleep 60 & n=$((n + 1)); done; kill $(jobs -p); echo all"
    (found,) = attempts(place, user, "required", bomb, processes=40)
    if user == "root":
        assert found["outcome"] == "passed", "the kernel does not count the processes of root"
    else:
        assert found["outcome"] == "failed", found
        assert "all" not in found["log"]
