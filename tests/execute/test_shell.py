"""What a shell for a person must not leave behind, however its process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from surveil.execute.isolation.sandbox import NAMESPACES, for_person
from surveil.execute.shell import gone_with_us

HOLDING = """
import sys, time
from surveil.execute.shell import gone_with_us
with gone_with_us(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
AS_IT_IS = """
import sys
from surveil.execute.shell import _as_it_is, _read
with _as_it_is(sys.stdin.fileno()):
    print("raw", flush=True)
    assert _read(sys.stdin.fileno()) == b"", "its terminal is gone"
"""
PATIENCE_S = 60.0


def test_secrets_do_not_outlive_a_process_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "KEY").write_text("hush")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path / "secrets")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert (tmp_path / "secrets" / "KEY").exists()
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + PATIENCE_S
    while (tmp_path / "secrets").exists():
        assert time.monotonic() < until, "the secrets are still there"
        time.sleep(0.01)


def test_secrets_go_with_the_shell(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    with gone_with_us(str(tmp_path / "secrets")):
        (tmp_path / "secrets" / "KEY").write_text("hush")
    assert not (tmp_path / "secrets").exists()


def test_a_shell_ends_in_order_when_its_terminal_is_gone() -> None:
    near, far = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", AS_IT_IS], stdin=far, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(far)
        assert process.stdout is not None
        assert process.stdout.readline() == "raw\n"
        os.close(near)
        assert (process.wait(PATIENCE_S), process.communicate()[1]) == (0, "")


def test_a_sandbox_for_a_person_keeps_all_that_keeps_it_in() -> None:
    argv = ["/usr/bin/bwrap", *NAMESPACES, "--disable-userns", "--ro-bind", "/usr", "/usr"]
    kept = for_person(argv)
    gone = {"--new-session", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"}
    assert kept == [word for word in argv if word not in gone] + ["--"]
    assert for_person([]) == []
