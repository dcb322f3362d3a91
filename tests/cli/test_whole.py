"""The commands in real processes against a real dispatcher: a machine joins, a commit is tested, and all is told."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.test_acting import git

PATIENCE_S = 60
PIPELINE = "jobs: {test: {steps: [{run: 'echo out of $SURVEIL_RUNNER; test ! -e broken'}]}}\n"


@contextmanager
def role(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A role in a process of its own, until the end of the block."""
    with (cwd / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "surveil", *arguments], cwd=cwd, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()


def surveil(*arguments: str, cwd: Path, data: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SURVEIL_DATA": str(data)}
    command = [sys.executable, "-m", "surveil", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=90, check=False)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.05)


def test_a_machine_joins_and_tests_a_commit_and_every_command_tells_of_it(tmp_path: Path) -> None:
    data, here = tmp_path / "data", tmp_path / "here"
    here.mkdir()
    git("init", "-q", cwd=here)
    (here / ".surveil.yml").write_text(PIPELINE)
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Begin", cwd=here)
    with role("dispatcher", "--data", str(data), "--listen", "tcp://127.0.0.1:0", cwd=tmp_path):
        wait_for(data / "dispatcher.json")
        token = surveil("token", "create", cwd=here, data=data).stdout.strip()
        joining = ("runner", "--join", token, "--data", str(tmp_path / "runner"), "--name", "spare-1")
        with role(*joining, cwd=tmp_path):
            passed = surveil("submit", "--wait", "--timeout", "60s", cwd=here, data=data)
            assert (passed.returncode, passed.stdout) == (0, "1\n"), passed.stderr
            assert surveil("logs", "1", "test", "-f", cwd=here, data=data).stdout == "out of spare-1\n"
            (here / "broken").touch()
            git("add", ".", cwd=here)
            git("commit", "-q", "-m", "Break", cwd=here)
            failed = surveil("submit", "--wait", "--timeout", "60s", "--json", cwd=here, data=data)
            document = json.loads(failed.stdout)
            assert (failed.returncode, document["state"], document["message"]) == (1, "failed", "Break")
            (runner,) = json.loads(surveil("runners", "--json", cwd=here, data=data).stdout)
            assert (runner["name"], runner["state"]) == ("spare-1", "online")
        check_other_machine(tmp_path, here, data)
        assert surveil("db", "check", cwd=here, data=data).returncode == 0
        copied = surveil("db", "backup", str(tmp_path / "copy"), cwd=here, data=data)
        assert copied.returncode == 0, copied.stderr
        assert surveil("db", "check", "--data", str(tmp_path / "copy"), cwd=here, data=data).returncode == 0


def check_other_machine(tmp_path: Path, here: Path, data: Path) -> None:
    """A client elsewhere joins with a token of its own role, and with no other."""
    other = tmp_path / "other"
    wrong = surveil("token", "create", "--role", "observer", cwd=here, data=data).stdout.strip()
    refused = surveil("client", "--join", wrong, cwd=here, data=other)
    assert refused.returncode == 5, refused.stderr
    token = surveil("token", "create", "--role", "client", cwd=here, data=data).stdout.strip()
    joined = surveil("client", "--join", token, "--name", "laptop", cwd=here, data=other)
    assert joined.returncode == 0, joined.stderr
    builds = json.loads(surveil("builds", "--json", cwd=here, data=other).stdout)
    assert [build["state"] for build in builds] == ["failed", "passed"]
    again = surveil("client", "--join", token, "--name", "thief", cwd=here, data=tmp_path / "thief")
    assert again.returncode == 5, again.stderr
