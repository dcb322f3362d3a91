"""Finding the process that holds a data folder, and stopping it for a while: never another one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError, NotFoundError
from surveil.execute.victims import Victim, find_victim, holder, kill_runner, start_again, stop_for

HOLDER = """
import sys
from pathlib import Path
from surveil.places import Hold
with Hold(Path(sys.argv[1]), "a runner"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the data folder `runner` as a runner does."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "runner")]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "MARK": "a=b"}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_of_a_folder_is_found_as_what_it_is_only(held: "subprocess.Popen[str]", tmp_path: Path) -> None:
    folder = tmp_path / "runner"
    assert holder(folder, "a runner") == held.pid
    assert holder(folder, "a dispatcher") is None
    victim = find_victim(folder, "a runner")
    assert (victim.pid, victim.argv[-1], victim.environment["MARK"]) == (held.pid, str(folder), "a=b")
    assert victim.command.startswith(f"cd {Path.cwd()} && {sys.executable} -c ")


@pytest.mark.parametrize("said", ["", "not a number", "{ours} a runner", "999999999 a runner"])
def test_a_lock_that_names_somebody_who_does_not_have_it_open_names_nobody(tmp_path: Path, said: str) -> None:
    (tmp_path / "lock").write_text(said.format(ours=os.getpid()))
    assert holder(tmp_path, "a runner") is None
    with pytest.raises(NotFoundError, match="No process of this user holds"):
        find_victim(tmp_path, "a runner")


def test_who_does_not_hold_the_folder_any_more_is_not_signalled(held: "subprocess.Popen[str]", tmp_path: Path) -> None:
    victim = find_victim(tmp_path / "runner", "a runner")
    innocent = Victim(
        folder=victim.folder, pid=os.getpid(), argv=victim.argv, cwd=victim.cwd, environment=victim.environment
    )
    with pytest.raises(InfrastructureError, match=r"does not hold .* any more; nothing was ended"):
        kill_runner(innocent, ("1/test", 1))
    with pytest.raises(InfrastructureError, match="nothing was ended"):
        stop_for(innocent, "a runner", 60_000)
    with pytest.raises(InfrastructureError, match="ended before its runner could be killed; nothing was killed"):
        kill_runner(victim, ("1/test", 1))
    assert held.poll() is None


def test_what_is_stopped_goes_on_though_nobody_waits_and_all_is_asked_to_end(
    held: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    stopper = stop_for(find_victim(tmp_path / "runner", "a runner"), "a runner", 4_000)
    while state(held.pid) != "T":
        assert stopper.poll() is None
        time.sleep(0.01)
    stopper.send_signal(signal.SIGTERM)
    stopper.send_signal(signal.SIGINT)
    assert state(held.pid) == "T"
    assert stopper.wait(30) == 0
    assert state(held.pid) != "T"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_killed_runner_is_started_again_as_it_was(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd(), os.environ['MARK'], sys.argv[1:], flush=True)"
    victim = Victim(
        folder=tmp_path, pid=0, argv=(sys.executable, "-c", script, "it's"), cwd=Path("/"), environment={"MARK": "m"}
    )
    assert start_again(victim).wait(30) == 0
    log = tmp_path / "drill.log"
    assert log.read_text() == '/ m ["it\'s"]\n'
    assert log.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InfrastructureError, match=r"could not be started again .*: type `cd / && /nonexistent/x`"):
        start_again(Victim(folder=tmp_path, pid=0, argv=("/nonexistent/x",), cwd=Path("/"), environment={}))
