"""Real keepers with real steps: every way in which a job may end, or try not to."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from surveil.clock import boot_ms
from surveil.errors import InfrastructureError
from surveil.execute import files
from surveil.execute.attempts import keeper_of
from surveil.execute.isolation.isolating import Isolation
from surveil.execute.keeper import keeper
from surveil.execute.nursery import Nursery, launch
from surveil.execute.processes import kill_left_behind
from tests.execute.conftest import PATIENCE_S, Kept, job

SIGNALS_OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33: its posix_spawn, by which make starts us, may leave them ignored, and nobody may change that."""


def states(status: files.Status) -> list[str]:
    return [step.state for step in status.steps]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# ---- ordinary ends ----


def test_steps_run_in_order_in_the_work_tree_and_all_output_is_one_log(kept: Kept) -> None:
    status = kept.run(job("pwd", "echo out; echo err >&2", "cat"))
    assert (status.outcome, status.reason, status.exit_code) == ("passed", "", 0)
    assert states(status) == ["passed", "passed", "passed"]
    assert kept.log() == f"{kept.workspace.work}\nout\nerr\n".encode()
    assert [step.log_at for step in status.steps] == [0, len(kept.log()) - 8, len(kept.log())]
    assert status.log_bytes == len(kept.log())
    assert all(step.started_after_ms is not None and step.finished_after_ms is not None for step in status.steps)


def test_the_first_failing_step_ends_the_job_with_its_exit_code(kept: Kept) -> None:
    status = kept.run(job("true", "exit 3", "echo never"))
    assert (status.outcome, status.reason, status.exit_code) == ("failed", "step 's1' ended with exit code 3", 3)
    assert states(status) == ["passed", "failed", "skipped"]
    assert [step.exit_code for step in status.steps] == [0, 3, None]
    assert kept.log() == b""


def test_a_step_may_fail_without_failing_the_job(kept: Kept) -> None:
    status = kept.run(job("exit 3", "echo on", continue_on_error=True))
    assert (status.outcome, status.exit_code) == ("passed", 0)
    assert states(status) == ["failed", "passed"]


def test_the_default_shell_stops_at_the_first_failing_command(kept: Kept) -> None:
    status = kept.run(job("false; echo never"))
    assert (status.outcome, kept.log()) == ("failed", b"")


def test_the_default_shell_stops_at_an_unset_name(kept: Kept) -> None:
    status = kept.run(job('echo "$NO_SUCH_NAME"; echo never'))
    assert status.outcome == "failed"
    assert b"NO_SUCH_NAME" in kept.log()
    assert b"never" not in kept.log()


def test_bash_is_used_where_it_is_asked_for(kept: Kept) -> None:
    status = kept.run(job('[[ -n "$BASH_VERSION" ]]; shopt -po pipefail', shell="bash"))
    assert status.outcome == "passed"
    assert kept.log() == b"set -o pipefail\n"


def test_a_missing_shell_is_an_error_of_the_machine_in_a_sentence(kept: Kept) -> None:
    status = kept.run(job("true", "true", shell="no-such-shell -x"))
    assert status.outcome == "errored"
    assert "no-such-shell" in status.reason
    assert states(status) == ["errored", "skipped"]


@pytest.mark.parametrize("instead", ["true", 'touch "$OLDPWD"', 'ln -s "$OLDPWD" "$OLDPWD"'])
def test_a_step_that_takes_the_work_tree_away_fails_its_job_and_blames_no_machine(kept: Kept, instead: str) -> None:
    status = kept.run(job(f'cd / && rm -rf "$OLDPWD" && {instead}', "echo never"))
    assert (status.outcome, states(status), kept.log()) == ("failed", ["passed", "failed"], b"")
    assert "a step before it took its work tree away" in status.reason


def test_a_work_tree_that_was_never_there_is_an_error_of_the_machine(kept: Kept) -> None:
    status = kept.run(job("echo never"), tree=False)
    assert (status.outcome, states(status)) == ("errored", ["errored"])
    assert str(kept.workspace.work) in status.reason


def test_a_step_that_ends_by_a_signal_fails_and_names_it(kept: Kept) -> None:
    status = kept.run(job("kill -SEGV $$"))
    assert (status.outcome, status.exit_code) == ("failed", 139)
    assert "SIGSEGV" in status.reason


def test_a_script_of_the_largest_size_runs(kept: Kept) -> None:
    status = kept.run(job("# " + "x" * 250_000 + "\necho done"))
    assert (status.outcome, kept.log()) == ("passed", b"done\n")


# ---- what a step sees ----


def test_the_environment_is_what_the_interface_promises_and_nothing_else(
    kept_alone: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before the zygote starts: keepers are forks of it, and have what it had then.
    monkeypatch.setenv("RUNNERS_SECRET", "hush")
    kept_alone.run(job("exec env", env={"FROM_STEP": "2", "SURVEIL_SHA": "forged"}))
    found = dict(line.split("=", 1) for line in kept_alone.log().decode().splitlines())
    found.pop("PWD", None)  # The shell's own.
    assert found == {
        "CI": "true", "SURVEIL": "true", "SURVEIL_BUILD": "7", "SURVEIL_JOB": "job", "SURVEIL_ATTEMPT": "1",
        "SURVEIL_REPO": "r", "SURVEIL_REF": "refs/heads/main", "SURVEIL_SHA": "a" * 40, "SURVEIL_EVENT": "push",
        "SURVEIL_RUNNER": "spare",
        "SURVEIL_WORKSPACE": str(kept_alone.workspace.work), "HOME": str(kept_alone.workspace.home),
        "TMPDIR": str(kept_alone.workspace.tmp), "SURVEIL_OUTPUT": str(kept_alone.workspace.outputs),
        "PATH": os.environ["PATH"], "FROM_JOB": "1", "FROM_STEP": "2",
    }  # fmt: skip


def test_a_step_inherits_no_descriptor_no_input_no_terminal_ordinary_signals_and_an_ordinary_mask(
    tmp_path: Path, isolation: Isolation
) -> None:
    script = "import os,signal,sys; print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:-1]); "
    script += (
        "print(repr(sys.stdin.read()), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, os.getsid(0)==os.getppid())"
    )
    program = f'{sys.executable} -c "{script}"'
    # Like a child of `nohup`, in a terminal whose shell looks after jobs, of a user who is careful with files.
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGTTOU)}
    mask = os.umask(0o077)
    nursery = Nursery()
    kept = Kept(tmp_path, nursery, isolation)
    try:
        kept.run(job(program + "; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask"))
        *lines, signals_ignored, umask = kept.log().decode().splitlines()
    finally:
        kept.close()
        nursery.close()
        os.umask(mask)
        for number, handler in ignored.items():
            signal.signal(number, handler)
    assert lines == ["[0, 1, 2]", "'' True True", "SigBlk:\t0000000000000000"]
    name, mask_text = signals_ignored.split()
    assert (name, int(mask_text, 16) & ~SIGNALS_OF_THE_C_LIBRARY, umask) == ("SigIgn:", 0, "0022")


def test_a_step_writes_no_core_file_even_where_its_runner_may(tmp_path: Path, isolation: Isolation) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    most = resource.RLIM_INFINITY if os.geteuid() == 0 else before[1]
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    nursery = Nursery()
    kept = Kept(tmp_path, nursery, isolation)
    try:
        kept.run(job("ulimit -Sc; ulimit -Hc"))
        assert kept.log() == b"0\n0\n"
    finally:
        kept.close()
        nursery.close()
        resource.setrlimit(resource.RLIMIT_CORE, before)


def test_memory_is_taken_from_steps_before_it_is_taken_from_keepers(kept: Kept) -> None:
    kept.start(job("cat /proc/self/oom_score_adj; cat"))
    status = kept.wait()
    assert status.outcome == "passed"
    assert kept.log() == b"500\n"


# ---- output ----


def test_binary_output_and_an_endless_line_arrive_byte_for_byte(kept: Kept) -> None:
    program = "import sys; b=bytes(range(256))*4096; [sys.stdout.buffer.write(b) for _ in range(8)]"
    status = kept.run(job(f'{sys.executable} -c "{program}"'))
    assert status.outcome == "passed"
    assert kept.log() == bytes(range(256)) * 4096 * 8


def test_a_log_beyond_its_limit_is_cut_with_a_remark_beside_it_and_the_job_goes_on(kept: Kept) -> None:
    status = kept.run(job("head -c 300000 /dev/zero | tr '\\0' x", "echo on"), log_bytes_max=100_000)
    assert status.outcome == "passed"
    assert kept.log() == b"x" * 100_000 + b"on\n", "what was printed, and nothing else"
    assert [(remark.at, remark.text) for remark in status.steps[0].remarks] == [
        (100_000, "the log of this step is longer than 100000 bytes; its rest is dropped"),
        (100_000, "200000 bytes of this step's log were dropped"),
    ]
    assert 0 <= status.steps[0].remarks[0].after_ms <= (status.steps[0].finished_after_ms or 0)
    assert status.steps[1].remarks == []


def test_a_step_that_closes_its_output_is_awaited_all_the_same(kept: Kept) -> None:
    status = kept.run(job("exec >&- 2>&-; sleep 0.3; exit 4"))
    assert (status.outcome, status.exit_code) == ("failed", 4)


def test_output_is_told_at_once(kept: Kept) -> None:
    kept.start(job("echo first; sleep 60"))
    kept.wait_for_log(b"first\n")
    kept.say("cancel 0")
    assert kept.wait().outcome == "cancelled"


@pytest.fixture
def small_disk(tmp_path: Path, isolation: Isolation) -> Iterator[Kept]:
    """An attempt on a disk of less than half a MiB beside what is held back for the result."""
    size = files.RESERVE_BYTES + 384 * 1024
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root: run the tests as root, or in a user namespace")
    nursery = Nursery()
    kept = Kept(tmp_path, nursery, isolation)
    yield kept
    kept.close()
    nursery.close()
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_ends_the_job_with_a_sentence_and_the_result_is_written(small_disk: Kept) -> None:
    status = small_disk.run(job("head -c 4000000 /dev/zero; echo done", "echo never"))
    assert status.outcome == "errored"
    assert "disk" in status.reason
    assert "No space left" in status.reason
    assert states(status) == ["errored", "skipped"]
    assert status.log_bytes == len(small_disk.log()) > 0


def test_a_step_that_takes_the_last_byte_of_the_disk_cannot_take_its_verdict_from_us(small_disk: Kept) -> None:
    # What is kept in reserve is there for the result, and goes for it.
    status = small_disk.run(job('cat /dev/zero > "$HOME/all" 2> /dev/null || exit 7'))
    assert (status.outcome, status.exit_code) == ("failed", 7)
    assert not (small_disk.folder / files.RESERVE).exists()


# ---- time ----


def test_a_job_that_takes_too_long_fails_with_its_limit_in_words(kept: Kept) -> None:
    status = kept.run(job("sleep 60", "true", timeout_ms=300))
    assert (status.outcome, status.reason, status.exit_code) == ("failed", "timed out after 300 ms", None)
    assert states(status) == ["failed", "skipped"]


def test_a_step_that_takes_too_long_fails_the_job(kept: Kept) -> None:
    status = kept.run(job("sleep 60", step_timeout_ms=300))
    assert (status.outcome, status.reason) == ("failed", "step 's0' timed out after 300 ms")


def test_a_step_that_ignores_the_request_to_end_is_killed_after_its_grace(kept: Kept) -> None:
    kept.start(job("trap '' TERM; echo ready; while :; do sleep 0.1; done"))
    kept.wait_for_log(b"ready")
    kept.say("cancel 300")
    status = kept.wait()
    assert (status.outcome, states(status)) == ("cancelled", ["cancelled"])
    assert status.steps[0].exit_code == 137


def test_a_cancelled_step_may_clean_up_within_its_grace_and_is_still_heard(kept: Kept) -> None:
    kept.start(job("trap 'echo cleaning; exit 9' TERM; echo ready; while :; do sleep 0.05; done", "echo never"))
    kept.wait_for_log(b"ready")
    kept.say("cancel 20000")
    status = kept.wait()
    assert (status.outcome, states(status)) == ("cancelled", ["cancelled", "skipped"])
    assert kept.log().endswith(b"cleaning\n")  # The shell may say before it that its sleep was ended.


def test_a_lease_that_runs_out_ends_the_job_as_lost(kept: Kept) -> None:
    status = kept.run(job("sleep 60"), lease_ms=300)
    assert status.outcome == "lost"
    assert "lease" in status.reason


def test_whoever_is_cancelled_has_no_more_time_to_end_than_the_lease(kept: Kept) -> None:
    kept.start(job("trap '' TERM; echo ready; sleep 60"), lease_ms=3_000)
    kept.wait_for_log(b"ready")
    kept.say("cancel 50000")
    status = kept.wait()
    assert (status.outcome, status.reason) == ("cancelled", "cancelled")
    assert 3_000 <= status.finished_after_ms < 40_000


def test_a_renewed_lease_lets_the_job_go_on(kept: Kept) -> None:
    kept.start(job("echo ready; sleep 2; echo done"), lease_ms=1_000)
    kept.wait_for_log(b"ready")
    kept.say(f"lease {boot_ms() + 60_000}")
    assert kept.wait().outcome == "passed"


def test_nonsense_on_the_control_pipe_is_not_heard(kept: Kept) -> None:
    kept.start(job("sleep 0.3; echo done"))
    kept.say("cancel soon")
    kept.say("dance 5")
    assert kept.wait().outcome == "passed"


# ---- what steps leave behind ----


def test_a_daemon_in_a_session_of_its_own_does_not_outlive_the_job(kept: Kept) -> None:
    hide = "setsid sh -c 'trap \"\" TERM HUP; echo $$ > daemon; exec sleep 300' >/dev/null 2>&1 &"
    status = kept.run(job(f"( {hide} ) ; while [ ! -s daemon ]; do sleep 0.02; done", "kill -0 $(cat daemon)"))
    assert (status.outcome, status.reason) == ("passed", "")
    assert kept.left_behind() == []


def test_a_process_that_keeps_the_output_open_does_not_hang_the_job_and_is_told_of(kept: Kept) -> None:
    status = kept.run(job("sleep 300 & echo $! > child; echo step", "echo next"))
    assert status.outcome == "passed"
    assert kept.log() == b"step\nnext\n"
    (remark,) = status.steps[0].remarks
    assert remark.at == len(b"step\n")
    assert remark.text == "processes that the step left behind kept its output open, and were ended"
    assert kept.left_behind() == []


def test_a_storm_of_forks_comes_to_rest(kept: Kept) -> None:
    storm = "import os,time\nfor _ in range(7): os.fork()\n"
    storm += "if os.getpid() != os.getpgid(0): os.setsid()\ntime.sleep(300)"
    kept.start(job(f"cat > storm.py <<'END'\n{storm}\nEND\necho storm; exec {sys.executable} storm.py"))
    kept.wait_for_log(b"storm")
    kept.say("cancel 100")
    assert kept.wait().outcome == "cancelled"
    assert kill_left_behind(kept.root) == 0


def test_a_chain_of_processes_that_fork_and_end_is_caught(kept: Kept) -> None:
    chain = "import os\nos.close(1); os.close(2)\nwhile True:\n if os.fork(): os._exit(0)\n os.setsid()"
    status = kept.run(job(f"cat > chain.py <<'END'\n{chain}\nEND\n{sys.executable} -S chain.py; echo step"))
    assert (status.outcome, kept.log()) == ("passed", b"step\n")
    assert kill_left_behind(kept.root) == 0


# ---- dying keepers ----


@pytest.mark.parametrize("isolation", ["process"], indirect=True)
def test_a_step_dies_with_its_keeper_and_what_it_left_is_found(kept: Kept) -> None:
    kept.start(
        job("setsid sleep 300 >/dev/null 2>&1 & echo $! > child; echo $$ > shell; echo ready; cat /dev/zero >/dev/null")
    )
    kept.wait_for_log(b"ready")
    shell = int((kept.workspace.work / "shell").read_text())
    os.kill(kept.pid, signal.SIGKILL)
    assert kept.wait().outcome == ""
    psutil.wait_procs([psutil.Process(shell)] if psutil.pid_exists(shell) else [], timeout=PATIENCE_S)
    assert not alive(shell)
    assert kill_left_behind(kept.root) > 0
    assert not alive(int((kept.workspace.work / "child").read_text()))


@pytest.mark.parametrize("isolation", ["bubblewrap"], indirect=True)
def test_all_that_is_in_a_sandbox_dies_with_its_keeper_however_it_hides(kept: Kept) -> None:
    sleep = f"300.{os.getpid()}"  # Nobody else's on this machine.
    kept.start(job(f"cd /; env -i setsid sleep {sleep} >/dev/null 2>&1 & echo ready; cat /dev/zero >/dev/null"))
    kept.wait_for_log(b"ready")
    found: list[psutil.Process] = []
    until = time.monotonic() + PATIENCE_S
    while not found:
        assert time.monotonic() < until
        found = [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", sleep]]
    (hidden,) = found
    assert kept.left_behind() != []
    os.kill(kept.pid, signal.SIGKILL)
    assert kept.wait().outcome == ""
    assert psutil.wait_procs([hidden], timeout=PATIENCE_S)[1] == []


def test_a_keeper_that_is_asked_to_end_from_outside_cleans_up_and_calls_it_lost(kept: Kept) -> None:
    kept.start(job("echo ready; sleep 300"))
    kept.wait_for_log(b"ready")
    os.kill(kept.pid, signal.SIGTERM)
    status = kept.wait()
    assert status.outcome == "lost"


def test_a_keeper_outlives_the_process_that_started_it(kept_alone: Kept) -> None:
    kept_alone.start(job("echo ready; while [ ! -e go ]; do sleep 0.05; done; echo done"))
    kept_alone.wait_for_log(b"ready")
    kept_alone.nursery.close()
    (kept_alone.workspace.work / "go").touch()
    assert kept_alone.wait().outcome == "passed"
    assert kept_alone.log() == b"ready\ndone\n"


def test_a_living_keeper_is_found_by_its_lock_and_a_dead_one_is_not(kept: Kept) -> None:
    kept.start(job("echo ready; sleep 300"))
    kept.wait_for_log(b"ready")
    found = keeper_of(kept.folder)
    assert found is not None
    os.close(found)
    with pytest.raises(InfrastructureError, match="already"):
        kept.nursery.start_keeper(kept.folder)
    kept.say("cancel 0")
    kept.wait()
    assert keeper_of(kept.folder) is None


def test_the_zygote_is_replaced_when_it_died(kept_alone: Kept, nursery: Nursery) -> None:
    others = set(psutil.Process().children())
    nursery.warm()
    (zygote,) = set(psutil.Process().children()) - others
    zygote.kill()
    zygote.wait()
    assert kept_alone.run(job("true")).outcome == "passed"


def test_a_keeper_that_fails_leaves_its_trouble_for_people(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    order = files.Order(
        cwd="/", steps=[], timeout_ms=0, accepted_boot_ms=0, lease_until_boot_ms=None, log_bytes_max=1, bell="",
        isolation="", sandbox=[],
    )  # fmt: skip
    pidfd = launch(kept.nursery, folder, order)  # There is no control pipe.
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    assert "control" in (folder / files.TROUBLE).read_text()
    assert files.read_status(str(folder)) is None


def test_a_keeper_imports_nothing_that_is_large() -> None:
    program = "import sys, surveil.execute.keeper.zygote; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    for heavy in ("dataclasses", "inspect", "asyncio", "msgpack", "zmq", "psutil", "subprocess", "logging", "git"):
        assert heavy not in found
    assert keeper.__name__ in found
