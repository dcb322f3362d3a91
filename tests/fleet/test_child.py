"""A started process, with real processes: what it hears, what it says, how it ends."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.fleet import parent
from surveil.fleet.child import LINE_BYTES_MAX, Child, environment, surveil_command

SH = "/bin/sh"


async def started(script: str, lines: list[str], extra: Mapping[str, str] | None = None) -> Child:
    return await Child.start((SH, "-c", script), extra=extra or {}, cwd=None, on_line=lines.append)


async def heard(child: Child, beginning: str) -> str:
    """The first line that begins so, once the child has said it."""
    async with asyncio.timeout(60):
        while not (found := [line for line in child.last_lines if line.startswith(beginning)]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found[0]


def test_a_child_is_heard_line_by_line_and_its_exit_code_is_known() -> None:
    async def scene() -> tuple[int, list[str], list[str]]:
        lines: list[str] = []
        child = await started("echo one; echo; echo two >&2; printf three; exit 5", lines)
        return await child.wait(), lines, list(child.last_lines)

    assert asyncio.run(scene()) == (5, ["one", "two", "three"], ["one", "two", "three"])


def test_an_endless_line_is_cut_and_nothing_of_it_is_lost() -> None:
    async def scene() -> tuple[int, list[str]]:
        lines: list[str] = []
        child = await started("head -c 10000 /dev/zero | tr '\\0' x; echo; echo end", lines)
        return await child.wait(), lines

    code, lines = asyncio.run(scene())
    assert code == 0
    assert lines[-1] == "end"
    assert "".join(lines[:-1]) == "x" * 10_000
    assert max(map(len, lines)) <= LINE_BYTES_MAX + 1


def test_secrets_travel_in_the_environment_and_ours_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    monkeypatch.setenv("SURVEIL_DATA", "ours")

    async def scene() -> list[str]:
        lines: list[str] = []
        child = await started("env; cat /proc/$$/cmdline | tr '\\0' ' '", lines, {"SURVEIL_JOIN": "a token"})
        await child.wait()
        return lines

    lines = asyncio.run(scene())
    assert "SURVEIL_JOIN=a token" in lines
    assert f"PATH={os.environ['PATH']}" in lines
    assert [line for line in lines if "ours" in line] == []
    assert "a token" not in lines[-1]
    assert environment({"A": "b"})["A"] == "b"


def test_a_child_that_is_asked_to_go_goes_by_itself() -> None:
    async def scene() -> tuple[int, list[str]]:
        lines: list[str] = []
        child = await started("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done", lines)
        await heard(child, "ready")
        return await child.stop(asking=(signal.SIGTERM,), grace_ms=20_000), lines

    assert asyncio.run(scene()) == (3, ["ready", "bye"])


def test_a_child_that_does_not_listen_is_ended_with_all_that_it_started() -> None:
    async def scene() -> tuple[int, int]:
        child = await started("trap '' TERM; sleep 600 & echo $!; wait; sleep 600", [])
        grandchild = int(await heard(child, ""))
        return await child.stop(asking=(signal.SIGTERM,), grace_ms=100), grandchild

    code, grandchild = asyncio.run(scene())
    assert code == -signal.SIGKILL
    # The signal is on its way to all of them; the kernel ends each in its own time.
    for _ in range(1_000):
        if not is_alive(grandchild):
            return
        time.sleep(0.01)
    pytest.fail("the grandchild outlived its kill by ten seconds")


def test_a_grandchild_that_keeps_the_pipe_open_keeps_nobody_waiting() -> None:
    async def scene() -> int:
        lines: list[str] = []
        child = await started("sleep 600 & exit 0", lines)
        code = await child.wait()
        child.kill()
        return code

    assert asyncio.run(scene()) == 0


def test_a_program_that_is_not_there_says_so_with_its_name() -> None:
    async def scene() -> tuple[int, list[str]]:
        lines: list[str] = []
        child = await Child.start(("/nowhere/at-all",), extra={}, cwd=None, on_line=lines.append)
        return await child.wait(), lines

    assert asyncio.run(scene()) == (127, ["/nowhere/at-all cannot be started: No such file or directory"])


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    async def scene() -> None:
        await Child.start((SH, "-c", ":"), extra={}, cwd=tmp_path / "gone", on_line=print)

    with pytest.raises(InfrastructureError, match="starts no more processes: No such file or directory"):
        asyncio.run(scene())


def test_a_child_dies_with_its_parent_even_when_that_is_killed() -> None:
    script = (
        "import subprocess, sys, os, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {parent.__file__!r}, str(os.getpid()),\n"
        "    '/bin/sh', '-c', 'echo $$; exec sleep 600'])\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as middle:
        assert middle.stdout is not None
        grandchild = int(middle.stdout.readline())
        assert is_alive(grandchild)
        end = os.pidfd_open(grandchild)
        middle.kill()
        # A descriptor of a process is readable once that has ended.
        ended, _, _ = select.select([end], [], [], 60)
        os.close(end)
    assert ended == [end]


def test_a_child_whose_parent_is_gone_already_does_not_begin() -> None:
    said = subprocess.run(
        [sys.executable, "-I", "-S", str(parent.__file__), "1", SH, "-c", "echo begun"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (said.returncode, said.stdout) == (parent.ORPHANED, b"")


def test_another_process_of_surveil_is_this_very_surveil() -> None:
    assert surveil_command("runner", "--slots", "2") == (sys.executable, "-m", "surveil", "runner", "--slots", "2")


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has fetched yet does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
