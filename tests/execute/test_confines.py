"""Limits of memory and processes in real control groups; nothing is tried that a limit does not hold."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.execute import processes
from surveil.execute.attempts import group_prefix
from surveil.execute.isolation import cgroups, isolating
from surveil.execute.isolation.cgroups import Limits
from surveil.execute.isolation.isolating import Isolation
from surveil.execute.keeper import confines, offspring
from surveil.execute.keeper.confines import Confines
from surveil.execute.keeper.offspring import Surroundings
from surveil.execute.process import ProcessExecutor
from tests.execute.conftest import Kept, job

MIB = 1024 * 1024
HUNGRY = f"{sys.executable} -c 'b = bytearray(300 * 1024 * 1024); print(len(b))'"


def limited(memory_bytes: int, count: int) -> Limits:
    """Limits that hold on this machine."""
    try:
        found = cgroups.find(memory_bytes, count)
    except InfrastructureError as error:
        pytest.skip(str(error))
    if count and not any((Path(place) / "cgroup.procs").exists() for place in found.places):
        pytest.skip("no control group of processes may be made here; run the tests as root, or with Delegate=yes")
    return found


def groups(limits: Limits) -> list[str]:
    return [path.name for place in limits.places for path in Path(place).glob("surveil-*")]


@pytest.fixture
def bounded(kept: Kept, isolation: Isolation) -> Iterator[Kept]:
    """An attempt that may take 64 MiB and 40 processes."""
    limits = limited(64 * MIB, 40)
    kept.isolation = Isolation(isolation.sandbox, limits=limits)
    yield kept
    assert f"surveil-{kept.group}" not in groups(limits), "no group is left behind"


def test_a_step_that_takes_too_much_memory_is_killed_and_says_so_and_its_keeper_lives(bounded: Kept) -> None:
    status = bounded.run(job(f"exec {HUNGRY}", "echo never"))
    assert (status.outcome, status.exit_code) == ("failed", 137)
    assert status.reason == "step 's0' was killed because it went over its memory limit of 64 MiB"


def test_a_step_whose_child_took_too_much_memory_says_so_with_its_own_exit_code(bounded: Kept) -> None:
    status = bounded.run(job(f"{HUNGRY} || exit 3"))
    assert status.reason == "step 's0' ended with exit code 3: it went over its memory limit of 64 MiB"


def test_what_one_step_went_over_is_not_said_of_the_next(bounded: Kept) -> None:
    status = bounded.run(job(f"{HUNGRY} || true", "exit 3"))
    assert status.reason == "step 's1' ended with exit code 3"


def test_memory_within_the_limit_is_fine(bounded: Kept) -> None:
    assert bounded.run(job(f"{sys.executable} -c 'b = bytearray(20 * 1024 * 1024)'")).outcome == "passed"


def test_a_bomb_of_forks_stays_within_its_limit_and_only_the_job_fails(bounded: Kept) -> None:
    # A shell gives up at its first fork that fails; 60 are wanted and 40 allowed. The limit was seen to hold above.
    bomb = "n=0; while [ $n -lt 60 ]; do sleep 300 & n=$((n + 1)); done; echo never"
    status = bounded.run(job(bomb))
    assert status.outcome == "failed"
    assert status.reason.endswith("it went over its limit of 40 processes")
    assert b"never" not in bounded.log()
    assert bounded.left_behind() == []


def test_the_groups_of_a_killed_keeper_are_emptied_by_whoever_comes(bounded: Kept) -> None:
    bounded.start(job("echo ready; sleep 300"))
    bounded.wait_for_log(b"ready")
    os.kill(bounded.pid, signal.SIGKILL)
    bounded.wait()
    Confines(bounded.isolation.limits.folders(bounded.group)).remove()
    assert bounded.left_behind() == []
    assert processes.kill_left_behind(bounded.root) == 0


def test_a_runner_that_starts_again_removes_the_groups_of_its_own_attempts_that_are_no_more(tmp_path: Path) -> None:
    limits = limited(0, 40)
    ours, others = group_prefix(tmp_path), f"{os.getpid()}-other-"
    names = [f"{ours}gone", f"{ours}known", f"{others}gone"]
    for name in names:
        Confines(limits.folders(name), 0, 40).make()
    try:
        stale = limits.left_behind(ours, [f"{ours}known"])
        assert stale == limits.folders(names[0])
        executor = ProcessExecutor(tmp_path, "spare", isolation=Isolation(limits=limits))
        asyncio.run(_open_and_close(executor))
        assert groups(limits).count(f"surveil-{names[0]}") == groups(limits).count(f"surveil-{names[1]}") == 0
        assert f"surveil-{names[2]}" in groups(limits)
    finally:
        for name in names:
            Confines(limits.folders(name)).remove()


def test_a_copy_of_a_data_folder_has_groups_of_its_own(tmp_path: Path) -> None:
    """Also where it has the same name, as in another container of this machine."""
    first, copy = tmp_path / "data", tmp_path / "moved"
    first.mkdir()
    before = group_prefix(first)
    first.rename(copy)
    assert group_prefix(copy) != before
    first.mkdir()
    assert group_prefix(first) not in {before, group_prefix(copy)}


async def _open_and_close(executor: ProcessExecutor) -> None:
    assert await executor.open(lambda _: None) == []
    await executor.close()


def test_limits_that_cannot_be_set_are_an_error_and_nothing_runs_without_them(kept: Kept) -> None:
    kept.isolation = Isolation(kept.isolation.sandbox, limits=Limits(MIB, 7, ("/proc/no/such/place",)))
    status = kept.run(job("echo never"))
    assert status.outcome == "errored"
    assert "limits" in status.reason
    assert kept.log() == b""


def test_a_limit_of_memory_that_nothing_holds_is_refused_and_one_of_processes_goes_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroups, "_places", lambda: iter(()))
    with pytest.raises(InfrastructureError, match="A limit of memory cannot be set"):
        isolating.choose("off", memory_bytes=64 * MIB)
    assert isolating.choose("off", processes=40).limits == Limits(0, 40, ())


# ---- version 2 ----


def version_2() -> Path:
    """Where control groups of version 2 may be made on this machine, with whatever controllers."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        if after.startswith("cgroup2 ") and os.access(point, os.W_OK):
            return Path(point)
    pytest.skip("no control group of version 2 may be made here; run the tests as root")


def test_in_version_2_the_kernel_itself_kills_all_that_is_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = version_2() / f"surveil-test-{os.getpid()}"
    held = Confines([str(folder)])
    held.make()
    hidden = "setsid sh -c 'trap \"\" TERM HUP; sleep 300; sleep 300' & echo ready; wait"
    output, theirs = os.pipe()
    step = offspring.start(["sh", "-c", hidden], {"PATH": os.environ["PATH"]}, "/", theirs, Surroundings(held.join))
    os.close(theirs)
    try:
        assert os.read(output, 100) == b"ready\n"
        assert str(step) in (folder / "cgroup.procs").read_text().split()
        one_by_one: list[int] = []
        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", lambda pid, _: one_by_one.append(pid))
            held.remove()
        assert (one_by_one, folder.exists()) == ([], False)
        # Its output ends with the last process that holds it.
        assert os.read(output, 100) == b""
    finally:
        held.remove()
        assert os.waitstatus_to_exitcode(os.waitpid(step, 0)[1]) == -signal.SIGKILL
        os.close(output)


# By the files that it has: which machine has the controllers in version 2, and for whom, nobody knows.


def unified(tmp_path: Path) -> Path:
    """The files of a delegated group, as the kernel's documentation of cgroup v2 describes them."""
    group = tmp_path / "surveil.service" / "surveil-1"
    group.mkdir(parents=True)
    for name in ("cgroup.procs", "cgroup.kill", "memory.max", "memory.swap.max", "pids.max"):
        (group / name).touch()
    return group


def test_in_version_2_one_group_holds_both_limits_and_swap_is_none(tmp_path: Path) -> None:
    group = unified(tmp_path)
    held = Confines([str(group)], 64 * MIB, 40)
    held.make()
    held.join()
    found = {path.name: path.read_text() for path in group.iterdir()}
    assert found == {
        "memory.max": str(64 * MIB), "memory.swap.max": "0", "pids.max": "40", "cgroup.procs": "0", "cgroup.kill": "",
    }  # fmt: skip
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n")
    (group / "pids.events").write_text("max 0\n")
    assert held.news() == "it went over its memory limit of 64 MiB"
    assert held.news() == ""
    (group / "pids.events").write_text("max 3\n")
    assert held.news() == "it went over its limit of 40 processes"


def test_in_version_2_groups_are_made_beside_our_own_where_that_folder_was_given_to_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "system.slice" / "surveil.service"
    (service / "agent").mkdir(parents=True)
    (service / "cgroup.controllers").write_text("memory pids\n")
    (service / "cgroup.subtree_control").write_text("memory\n")
    monkeypatch.setattr(cgroups, "_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cgroups, "_MOUNTS", tmp_path / "mounts")
    (tmp_path / "own").write_text("0::/system.slice/surveil.service/agent\n")
    (tmp_path / "mounts").write_text(f"30 24 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n")
    assert list(cgroups._places()) == [("memory", str(service)), ("pids", str(service))]  # noqa: SLF001
    assert (service / "cgroup.subtree_control").read_text() == "+pids"


def test_a_group_is_found_in_a_container_that_is_shown_a_part_of_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.setattr(cgroups, "_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cgroups, "_MOUNTS", tmp_path / "mounts")
    (tmp_path / "own").write_text("8:pids:/docker/1/inner\n4:memory:/elsewhere\n")
    lines = [
        f"{number} 24 0:2{number} /docker/1 {tmp_path} rw - cgroup cgroup rw,{name}"
        for number, name in enumerate(("pids", "memory"))
    ]
    (tmp_path / "mounts").write_text("\n".join(lines) + "\n")
    # Where our own group is not shown, what is shown is all that there can be.
    assert list(cgroups._places()) == [("pids", str(tmp_path / "inner")), ("memory", str(tmp_path))]  # noqa: SLF001


@pytest.mark.parametrize(
    ("count", "words"), [(2 << 30, "2 GiB"), (64 * MIB, "64 MiB"), (3072, "3 KiB"), (5, "5 bytes")]
)
def test_sizes_are_said_as_people_write_them(count: int, words: str) -> None:
    assert confines.size_words(count) == words
