"""Jobs run here and now, without any dispatcher."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.local import LocalRun
from surveil.protocol import ArtifactSpec
from tests.execute.conftest import job


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


def test_a_job_runs_in_the_tree_and_leaves_nothing_but_what_it_made(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    output: list[bytes] = []
    with LocalRun(tree, repo="r", ref="refs/heads/main", sha="a" * 40) as local:
        first = local.run(job("pwd; echo $SURVEIL_SHA > made"), on_output=output.append)
        second = local.run(job("cat made; exit 3"), on_output=output.append)
    assert (first.outcome, second.outcome, second.exit_code) == ("passed", "failed", 3)
    assert b"".join(output).decode() == f"{tree}\n{'a' * 40}\n"
    assert [step.state for step in first.steps] == ["passed"]
    assert [path.name for path in tree.iterdir()] == ["made"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_running_job_can_be_cancelled(tmp_path: Path) -> None:
    started = threading.Event()
    with LocalRun(tmp_path) as local:

        def cancel_when_ready() -> None:
            started.wait(30)
            local.cancel(0)

        canceller = threading.Thread(target=cancel_when_ready)
        canceller.start()
        ended = local.run(job("echo ready; sleep 300"), on_output=lambda _: started.set())
        canceller.join()
    assert ended.outcome == "cancelled"


def test_a_job_ends_with_the_one_who_watches_it(tmp_path: Path) -> None:
    def fail(_: bytes) -> None:
        raise BrokenPipeError

    with LocalRun(tmp_path) as local, pytest.raises(BrokenPipeError):
        local.run(job("setsid sleep 300 >/dev/null 2>&1 & echo ready; sleep 300"), on_output=fail)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_output_of_any_size_comes_in_order(tmp_path: Path) -> None:
    output: list[bytes] = []
    with LocalRun(tmp_path) as local:
        local.run(job("seq 1 200000"), on_output=output.append)
    assert b"".join(output) == "".join(f"{number}\n" for number in range(1, 200_001)).encode()


@pytest.mark.parametrize(("command", "outcome"), [("true", "failed"), ("touch made", "passed"), ("exit 3", "failed")])
def test_a_job_without_what_it_requires_has_not_passed_here_either(tmp_path: Path, command: str, outcome: str) -> None:
    wanted = (ArtifactSpec(name="all", paths=("made*",), required=True), ArtifactSpec(name="some", paths=("other",)))
    (tmp_path / "tree").mkdir()
    with LocalRun(tmp_path / "tree") as local:
        ended = local.run(replace(job(command), artifacts=wanted), on_output=lambda _: None)
    assert ended.outcome == outcome
    assert (ended.reason == "it requires the artifact `all`: no file matches `made*`") == (command == "true")


def test_what_is_secret_is_covered_in_what_is_said_of_files_here_too(tmp_path: Path) -> None:
    wanted = (ArtifactSpec(name="all", paths=("a-token",), required=True),)
    (tmp_path / "tree").mkdir()
    with LocalRun(tmp_path / "tree") as local:
        told = replace(job("true"), artifacts=wanted)
        ended = local.run(told, on_output=lambda _: None, secrets=Entrusted({"TOKEN": "a-token"}, {}, []))
    assert ended.reason == "it requires the artifact `all`: no file matches `***`"
