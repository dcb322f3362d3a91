"""Secrets attacked in an installation of real processes: what a job does to show them, and what lies about on disks."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.test_acting import git
from tests.cli.test_whole import role, wait_for
from tests.system.processes import typed

pytestmark = pytest.mark.timeout(300)

PATIENCE_S = 60.0
TOKEN = "tok_Zq7XvT3mLk9sWbe2uH5"
KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n-----END OPENSSH PRIVATE KEY-----\n"
KEY_LINE = b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU"

ATTACKS = r"""
version: 1
jobs:
  deploy:
    timeout: 2m
    secrets: [TOKEN, {name: KEY, file: KEY_FILE}]
    steps:
      - run: test "${#TOKEN}" = 23 && test "$(wc -c < "$KEY_FILE")" = KEY_BYTES
      - run: env; set; export -p
      - run: cat "$KEY_FILE"; base64 "$KEY_FILE"; printf '%s' "$TOKEN" | base64; printf '%s' "x$TOKEN" | base64
      - run: cat /proc/*/environ 2>/dev/null | tr '\0' '\n' || true
      - run: printf '%s' "$TOKEN" | rev 2>/dev/null || true; printf '%s' "$TOKEN" | od -An -tx1 | tr -d ' \n'; echo
      - run: printf '%s' "${TOKEN%??????????}"; sleep 0.5; printf '%s\n' "${TOKEN#?????????????}"
      - name: show $TOKEN
        run: set -x; echo "$TOKEN" "$(cat "$KEY_FILE")" >&2
      - run: python3 -c 'import os, json; print(json.dumps(dict(os.environ)))' 2>/dev/null || true
      - run: ulimit -c; kill -SEGV $$
        continue_on_error: true
      - run: touch used; while test ! -e seen; do sleep 0.05; done
      - run: echo "leak=$TOKEN" > "$SURVEIL_OUTPUT"
  elsewhere: {steps: [{run: 'test -z "${TOKEN-}" && test -z "${KEY_FILE-}"'}]}
  other:
    secrets: [TOKEN]
    steps: [{run: 'true'}]
"""


def forms(secret: bytes) -> list[bytes]:
    """What must not be found anywhere."""
    shifted = [base64.b64encode(b"x" * at + secret)[4:-4] for at in range(3)]
    return [secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode(), *shifted]


def found_in(content: bytes) -> list[bytes]:
    return [form for secret in (TOKEN.encode(), KEY_LINE) for form in forms(secret) if form in content]


def leaks(*folders: Path) -> list[str]:
    """The files below these folders that hold a secret in any form."""
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [f"{path}: {found}" for path in paths if (found := found_in(path.read_bytes()))]


def in_memory() -> set[Path]:
    """The files of secrets in memory, of all runners of this machine."""
    return set(Path("/dev/shm").glob("surveil-*/KEY_FILE"))


def surveil(*words: str, cwd: Path, data: Path) -> subprocess.CompletedProcess[str]:
    return typed(words, cwd, {**os.environ, "SURVEIL_DATA": str(data)})


def set_secret(value: bytes, *words: str, here: Path, data: Path) -> None:
    env = {**os.environ, "SURVEIL_DATA": str(data)}
    command = [sys.executable, "-m", "surveil", "secret", "set", *words]
    done = subprocess.run(command, cwd=here, env=env, input=value, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def make_repository(here: Path) -> None:
    here.mkdir()
    git("init", "-q", cwd=here)
    (here / ".surveil.yml").write_text(ATTACKS.replace("KEY_BYTES", str(len(KEY))))
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Begin", cwd=here)


def test_nothing_that_a_job_does_or_a_disk_holds_shows_a_secret(tmp_path: Path) -> None:
    data, here, runner, before = tmp_path / "data", tmp_path / "here", tmp_path / "runner", in_memory()
    make_repository(here)
    debug = ("--log-level", "debug")
    with role("dispatcher", "--data", str(data), "--listen", "tcp://127.0.0.1:0", *debug, cwd=tmp_path):
        wait_for(data / "dispatcher.json")
        for name, value in (("TOKEN", TOKEN.encode()), ("KEY", KEY)):
            set_secret(value, name, "--job", "deploy", "--repo", f"*{here.name}", here=here, data=data)
        token = surveil("token", "create", cwd=here, data=data).stdout.strip()
        joining = ("runner", "--join", token, "--data", str(runner), "--name", "spare", "--slots", "1", *debug)
        with role(*joining, cwd=tmp_path):
            build = surveil("submit", cwd=here, data=data).stdout.strip()
            used = _wait_for_use(runner)
            assert leaks(tmp_path) == [], "while it is used, no disk holds it"
            words = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
            assert not any(TOKEN in line for line in words)
            (used.parent / "seen").touch()
            surveil("watch", build, cwd=here, data=data)
            log = surveil("logs", build, "deploy", "-f", cwd=here, data=data)
        shown = surveil("show", build, "--json", cwd=here, data=data).stdout
        jobs = {job["name"]: job for job in json.loads(shown)["jobs"]}
        told = [surveil(*words, cwd=here, data=data) for words in (("story", build), ("secret", "ls", "--json"))]
        backed_up = surveil("db", "backup", str(tmp_path / "copy"), cwd=here, data=data)
        assert backed_up.returncode == 0, backed_up.stderr
    assert jobs["deploy"]["state"] == "passed", jobs["deploy"]
    assert jobs["elsewhere"]["state"] == "passed", "it did not ask for any"
    assert jobs["other"]["state"] == "errored"
    assert re.fullmatch(
        r"\.surveil\.yml:\d+:15: the secret TOKEN is not allowed for job other of refs/heads/\w+ in .*; "
        "`surveil secret ls` says for which it is",
        jobs["other"]["reason"],
    )
    assert log.stdout.count("***") > 10
    printed = "\n".join([shown, log.stdout, log.stderr, *(each.stdout + each.stderr for each in told)]).encode()
    assert found_in(printed) == []
    assert leaks(tmp_path) == []
    assert in_memory() <= before


def _wait_for_use(runner: Path) -> Path:
    """Wait until the job is at its last step but one; its mark in the work tree."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        spaces = runner / "workspaces"
        for mark in [path / "work" / "used" for path in (spaces.iterdir() if spaces.exists() else ())]:
            if mark.exists():
                return mark
        time.sleep(0.1)
    raise AssertionError("the job did not come to its last step")


# ---- strangers ----

CI = 'test -n "$TOKEN"; test -r "$KEY_FILE"; echo "main has ${#TOKEN}"\n'
STOLEN = """env; set
cat /proc/*/environ 2>/dev/null | base64
printf '%s' "${TOKEN-}" | rev; ls -la /dev/shm
cat "${KEY_FILE-/nothing}" || true
echo "the fork has ${TOKEN-no token} and ${KEY_FILE-no key}"
"""
ORDINARY = "jobs: {test: {secrets: [TOKEN, {name: KEY, file: KEY_FILE}], steps: [{run: sh -eu ci.sh}]}}\n"
CHANGED = "jobs: {evil: {secrets: [TOKEN, {name: KEY, file: KEY_FILE}], steps: [{run: 'env; cat $KEY_FILE'}]}}\n"


def make_fork(here: Path) -> None:
    """A repository with a pull request of a stranger, who changed the pipeline file and what it runs."""
    here.mkdir()
    git("init", "-q", "-b", "main", cwd=here)
    (here / ".surveil.yml").write_text(ORDINARY)
    (here / "ci.sh").write_text(CI)
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Begin", cwd=here)
    git("checkout", "-q", "-b", "fork", cwd=here)
    (here / ".surveil.yml").write_text(CHANGED)
    (here / "ci.sh").write_text(STOLEN)
    git("commit", "-q", "-a", "-m", "Improve", cwd=here)
    git("update-ref", "refs/theirs", "fork", cwd=here)
    git("checkout", "-q", "main", cwd=here)
    git("branch", "-q", "-D", "fork", cwd=here)


def test_a_pull_request_of_a_stranger_gets_no_secret_even_when_a_person_approved_it(tmp_path: Path) -> None:
    data, here, runner = tmp_path / "data", tmp_path / "here", tmp_path / "runner"
    make_fork(here)
    with role("dispatcher", "--data", str(data), "--listen", "tcp://127.0.0.1:0", cwd=tmp_path):
        wait_for(data / "dispatcher.json")
        for name, value in (("TOKEN", TOKEN.encode()), ("KEY", KEY)):
            set_secret(value, name, here=here, data=data)  # For all refs, carelessly.
        tokens = [surveil("token", "create", "--role", kind, cwd=here, data=data).stdout.strip()
                  for kind in ("runner", "observer")]  # fmt: skip
        joining = ("runner", "--join", tokens[0], "--data", str(runner), "--name", "spare")
        watching = ("observer", "--join", tokens[1], "--data", str(tmp_path / "eye"), "--ref", "main")
        with (
            role(*joining, cwd=tmp_path),
            role(*watching, "--ref", "refs/pull/*/head", str(here), cwd=tmp_path),
        ):
            ours = _settled("refs/heads/main", ("passed", "failed", "errored"), here=here, data=data)
            git("update-ref", "refs/pull/5/head", "refs/theirs", cwd=here)
            theirs = _settled("refs/pull/5/head", ("held",), here=here, data=data)
            assert surveil("approve", str(theirs["id"]), cwd=here, data=data).returncode == 0
            theirs = _settled("refs/pull/5/head", ("passed", "failed", "errored"), here=here, data=data)
            logs = [surveil("logs", str(build["id"]), "-f", cwd=here, data=data).stdout for build in (ours, theirs)]
        shown = surveil("show", str(theirs["id"]), "--json", cwd=here, data=data).stdout
    assert (ours["state"], logs[0]) == ("passed", f"main has {len(TOKEN)}\n"), ours
    assert [job["name"] for job in theirs["jobs"]] == ["test"], "the pipeline is that of the branch it is meant for"
    assert "the fork has no token and no key" in logs[1]
    assert "***" not in logs[1], "there was nothing to be covered"
    assert found_in((logs[1] + shown).encode()) == []
    encoded = base64.b64encode(TOKEN.encode())[4:20]
    assert encoded not in logs[1].replace("\n", "").encode()
    assert leaks(data, runner, tmp_path / "eye") == []


def _settled(ref: str, states: tuple[str, ...], *, here: Path, data: Path) -> dict[str, Any]:
    """Wait until the newest build of this ref is in one of these states."""
    until = time.monotonic() + PATIENCE_S
    found: list[dict[str, Any]] = []
    while time.monotonic() < until:
        found = json.loads(surveil("builds", "--ref", ref, "--json", cwd=here, data=data).stdout or "[]")
        if found and found[0]["state"] in states:
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"{ref} is not {states}: {found}")


# ---- runners that die ----


def test_a_runner_that_is_killed_goes_on_with_its_secrets_and_leaves_none(tmp_path: Path) -> None:
    data, here, runner, before = tmp_path / "data", tmp_path / "here", tmp_path / "runner", in_memory()
    make_repository(here)
    with role("dispatcher", "--data", str(data), "--listen", "tcp://127.0.0.1:0", cwd=tmp_path):
        wait_for(data / "dispatcher.json")
        for name, value in (("TOKEN", TOKEN.encode()), ("KEY", KEY)):
            set_secret(value, name, here=here, data=data)
        token = surveil("token", "create", cwd=here, data=data).stdout.strip()
        joining = ("runner", "--join", token, "--data", str(runner), "--name", "spare", "--slots", "1")
        with role(*joining, cwd=tmp_path) as first:
            build = surveil("submit", cwd=here, data=data).stdout.strip()
            used = _wait_for_use(runner)
            first.kill()
            first.wait()
        with role(*joining, cwd=tmp_path):
            (used.parent / "seen").touch()
            surveil("watch", build, cwd=here, data=data)
            log = surveil("logs", build, "deploy", "-f", cwd=here, data=data)
        jobs = {
            job["name"]: job for job in json.loads(surveil("show", build, "--json", cwd=here, data=data).stdout)["jobs"]
        }
    assert (jobs["deploy"]["state"], jobs["deploy"]["attempt"]) == ("passed", 1), jobs["deploy"]
    assert log.stdout.count("***") > 10
    assert found_in(log.stdout.encode()) == []
    assert leaks(tmp_path) == []
    assert in_memory() <= before
