"""Transfers without a limit of their own: whoever falls silent is given up, whoever is only slow is not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.command import run
from surveil.mirror.mirror import Mirror
from surveil.mirror.pulse import Pulse
from surveil.mirror.trouble import MirrorError, Output, Trouble
from tests.mirror.leaks import nothing_left
from tests.mirror.repositories import Repository
from tests.mirror.slow import passing_on

STALL_S = 1.5
PATIENCE_S = 60


def heavy(repository: Repository) -> str:
    """A commit whose pack is no quick read at a few kilobytes a piece."""
    (repository.path / "noise").write_bytes(os.urandom(60_000))
    return repository.commit("Heavy")


def behind(daemon: str) -> int:
    return int(daemon.rpartition(":")[2])


def mirror_at(port: int, folder: Path) -> Mirror:
    return Mirror(folder / "mirrors", parse(f"git://127.0.0.1:{port}/source/.git", "/"))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surveil.mirror.command.STALL_S", STALL_S)
    monkeypatch.setattr("surveil.mirror.command._LOOK_S", 0.1)


@pytest.mark.parametrize("silent_after", [0, 2_000, 30_000])
def test_a_server_that_falls_silent_in_a_transfer_is_given_up(
    repository: Repository, daemon: str, tmp_path: Path, silent_after: int
) -> None:
    sha = heavy(repository)
    with nothing_left(), passing_on(behind(daemon), 1_000, 0.0, silent_after) as port:
        began = time.monotonic()
        with pytest.raises(MirrorError) as refused:
            mirror_at(port, tmp_path).fetch(sha, "refs/heads/main")
        assert time.monotonic() - began < 60, "it waited for the long limit"
    assert refused.value.trouble is Trouble.TIMEOUT
    assert f"gave no answer within {STALL_S:g} s (git fetch); type `git ls-remote -- git://" in str(refused.value)


def test_a_server_that_is_slow_is_waited_for(repository: Repository, daemon: str, tmp_path: Path) -> None:
    sha = heavy(repository)
    with nothing_left(), passing_on(behind(daemon), 2_000, STALL_S / 8) as port:
        mirror = mirror_at(port, tmp_path)
        began = time.monotonic()
        mirror.fetch(sha, "refs/heads/main")
        assert time.monotonic() - began > 2 * STALL_S, "it was not slow, so this shows nothing"
        assert mirror.has(sha)


def test_a_git_that_works_without_a_word_is_waited_for(tmp_path: Path) -> None:
    address = parse("git://127.0.0.1/nowhere", "/")
    began = time.monotonic()
    # As when it checks what it received, which takes minutes in a large repository.
    busy = f"import time\nend = time.monotonic() + {3 * STALL_S}\nwhile time.monotonic() < end: pass"
    run("-c", f"alias.work=!{sys.executable} -c '{busy}'", "work", about="here", address=address, timeout_s=100)
    assert time.monotonic() - began > 2 * STALL_S
    with pytest.raises(MirrorError, match=f"within {STALL_S:g} s"):
        run("-c", "alias.work=!sleep 100", "work", about="here", address=address, timeout_s=100)


def test_a_process_that_waits_has_no_pulse_and_one_that_reads_has() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pulse = Pulse(process.pid)
        for byte in (b"x", b"y"):
            process.stdin.write(byte)
            assert process.stdout.read(1) == byte
            assert pulse.beats()
            until = time.monotonic() + PATIENCE_S  # It is a moment until it waits for more.
            while pulse.beats():
                assert time.monotonic() < until, "it waits, and has a pulse"
        process.stdin.close()
        process.wait(PATIENCE_S)
        # Of one that is gone nothing can be known.
        assert pulse.beats()


def test_progress_and_advice_are_not_what_is_complained_of() -> None:
    said = (
        "remote: Enumerating objects: 5, done.\n"
        "remote: Counting objects:  20% (1/5)\rremote: Counting objects: 100% (5/5)\n"
        "remote: hint: Support is deprecated\nremote: Total 5 (delta 0)\nfatal: not our ref abc\n"
    )
    assert Output(status=128, stdout=b"", stderr=said).complaint == "fatal: not our ref abc"
