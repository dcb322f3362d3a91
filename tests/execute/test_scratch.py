"""What a person's own run leaves when it is killed, and that the next one removes just that."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from surveil.execute.isolation.cgroups import UNLIMITED
from surveil.execute.keeper.entrusted import folder_for
from surveil.execute.local import LocalRun
from surveil.execute.scratch import scratch, sweep
from tests.engines.docker import Docker
from tests.execute.conftest import job

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary files of our own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@contextlib.contextmanager
def running(tmp: Path, engine: str = "off") -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own, whose job runs."""
    command = [sys.executable, "-m", "tests.execute.killed_local", str(tmp.parent), engine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp)}) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], PATIENCE_S)[0]
            assert process.stdout.readline() == b"runs\n"
            yield process
        finally:
            process.kill()


def run_here(tree: Path, engine: str = "off") -> None:
    with LocalRun(tree, engine=engine) as local:
        assert local.run(job("true"), on_output=lambda _: None).outcome == "passed"


def test_what_a_killed_run_left_goes_with_the_next_one_and_not_before_its_keeper(tmp: Path) -> None:
    with running(tmp) as process:
        (root,) = tmp.iterdir()
        keeper = psutil.Process(int((root / "attempt" / "lock").read_text()))
        secrets = Path(folder_for(root.name))
        secrets.mkdir()
        run_here(tmp.parent)
        assert [*tmp.iterdir()] == [root], "it runs"
        process.kill()
        process.wait()
        run_here(tmp.parent)
        assert [*tmp.iterdir()] == [root], "its keeper is about to end it"
        assert secrets.exists()
        os.kill(keeper.pid, signal.SIGKILL)
        psutil.wait_procs([keeper], timeout=PATIENCE_S)
        run_here(tmp.parent)
    assert [*tmp.iterdir()] == []
    assert not secrets.exists()


def test_a_container_that_somebody_looked_into_goes_with_the_next_run_too(tmp: Path, docker_engine: Docker) -> None:
    with running(tmp, docker_engine.address) as process:
        (root,) = tmp.iterdir()
        run_here(tmp.parent)
        assert docker_engine.names() == [f"surveil-{root.name}"]
        process.kill()
        process.wait()
        run_here(tmp.parent)
    assert docker_engine.names() == []
    assert [*tmp.iterdir()] == []


def test_an_engine_that_is_away_leaves_the_folder_by_which_its_containers_are_found(
    tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = orphan(tmp)
    (root / "engine").write_text(f"unix://{tmp}/none.sock")
    run_here(tmp.parent)
    assert [*tmp.iterdir()] == [root]
    assert [record.message for record in caplog.records] == ["what a killed run left is not removed yet"]


def orphan(tmp: Path) -> Path:
    """A folder whose process is gone."""
    root = tmp / "surveil-gone"
    root.mkdir()
    (root / "held").touch()
    return root


def test_nothing_else_of_that_name_is_touched(tmp: Path) -> None:
    being_made, link, file = tmp / "surveil-new", tmp / "surveil-link", tmp / "surveil-file"
    being_made.mkdir()
    (being_made / "held.new").touch()
    file.touch()
    theirs = tmp / "theirs"
    theirs.mkdir()
    (theirs / "held").touch()
    link.symlink_to(theirs)
    orphan(tmp)
    run_here(tmp.parent)
    assert sorted(tmp.iterdir()) == sorted([being_made, link, file, theirs])
    assert (theirs / "held").exists()


def test_what_is_another_users_is_not_touched(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = orphan(tmp)
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    sweep(UNLIMITED)
    assert root.exists()


def test_a_folder_is_held_for_as_long_as_it_is_used(tmp: Path) -> None:
    with scratch("x-") as root:
        assert root.name.startswith("surveil-x-")
        sweep(UNLIMITED)
        assert root.exists()
    assert [*tmp.iterdir()] == []
