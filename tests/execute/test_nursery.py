"""The nursery: whatever becomes of the zygote, an attempt begins once or is said not to."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import psutil
import pytest

from surveil.errors import InfrastructureError
from surveil.execute import attempts, files
from surveil.execute import nursery as module
from surveil.execute.attempts import held, keeper_of
from tests.execute.conftest import Kept, job

ONCE = "echo $$; echo started >> ../started"


@pytest.fixture
def kept(kept_alone: Kept) -> Kept:
    return kept_alone


def zygote_of(kept: Kept) -> psutil.Process:
    process = kept.nursery._zygote  # noqa: SLF001  # its fate is the point
    assert process is not None
    return psutil.Process(process.pid)


def assert_ran_once(kept: Kept) -> None:
    assert kept.wait().outcome == "passed"
    assert (kept.workspace.root / "started").read_text() == "started\n"
    assert kept.log().count(b"\n") == 1
    assert not held(kept.folder)


@pytest.mark.parametrize("seconds", [0, 12])
def test_a_keeper_whose_zygote_hung_after_starting_it_is_found_alive_or_ended(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setattr(module, "START_S", 10.0)  # It has to start meanwhile.
    monkeypatch.setattr(module, "ZYGOTE", "tests.execute.mute_zygote")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    kept.start(job(f"{ONCE}; sleep {seconds}"))
    assert_ran_once(kept)
    assert kept.nursery._zygote is None, "the zygote that hung was ended"  # noqa: SLF001


def test_a_zygote_that_hangs_before_it_starts_a_keeper_is_replaced(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_S", 2.0)
    kept.nursery.warm()
    hung = zygote_of(kept)
    hung.suspend()
    monkeypatch.undo()
    kept.start(job(ONCE))
    assert not hung.is_running()
    assert zygote_of(kept) != hung
    assert_ran_once(kept)


def test_a_fresh_zygote_is_given_time_to_start_and_an_older_one_only_time_to_answer(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.001)
    kept.nursery.warm()
    fresh = zygote_of(kept)
    kept.start(job(ONCE))
    assert_ran_once(kept)
    assert zygote_of(kept) == fresh
    asked = kept.nursery._socket  # noqa: SLF001  # how long it waits is the point
    assert asked is not None
    assert asked.gettimeout() == 0.001


def test_a_killed_zygote_is_replaced(kept: Kept) -> None:
    kept.nursery.warm()
    killed = zygote_of(kept)
    killed.kill()
    kept.start(job(ONCE))
    assert zygote_of(kept) != killed
    assert_ran_once(kept)


def test_where_no_zygote_lives_long_enough_that_is_a_sentence(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ZYGOTE", "surveil.no_such_module")
    with pytest.raises(InfrastructureError, match="no process could be started to run the attempt: "):
        kept.start(job(ONCE))
    assert not held(kept.folder)
    for descriptor in (kept.bell, kept.control):
        os.close(descriptor)


def test_a_keeper_that_stands_still_before_it_says_who_it_is_finds_no_order_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "BIRTH_S", 0.1)
    (tmp_path / "order.json").touch()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="does not come to life"):
            keeper_of(tmp_path)
    assert not (tmp_path / "order.json").exists()
    assert keeper_of(tmp_path) is None


def test_an_order_that_could_not_be_given_is_not_found_by_one_who_comes_to_life_late(kept: Kept) -> None:
    kept.root.joinpath("attempt").mkdir()
    # As the request of an agent that was killed holds it, in the queue of a zygote that was stopped.
    with (kept.root / "attempt" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        order = files.Order(
            cwd="/", steps=[], timeout_ms=0, accepted_boot_ms=0, lease_until_boot_ms=None, log_bytes_max=1, bell="/",
            isolation="process", sandbox=[],
        )  # fmt: skip
        with pytest.raises(InfrastructureError, match="is being run already"):
            module.launch(kept.nursery, kept.root / "attempt", order)
    assert not (kept.root / "attempt" / "order.json").exists()


def test_an_attempt_that_is_being_run_is_not_started_again(kept: Kept) -> None:
    kept.start(job("echo begun; sleep 60"))
    kept.wait_for_log(b"begun")
    with pytest.raises(InfrastructureError, match="is being run already"):
        kept.nursery.start_keeper(kept.folder)
    signal.pidfd_send_signal(kept.pidfd, signal.SIGTERM)
    assert kept.wait().outcome == "lost"
