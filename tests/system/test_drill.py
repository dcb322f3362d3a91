"""`surveil drill` on live installations of real processes: what it kills, what it reports, and what it never does
without a person's word.
"""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.net.stage import free_ports
from tests.system.processes import Place, eventually
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(300)
SECONDS = "10"
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "drill.md"
FORGETFUL = """
import surveil.cli.drilling as drilling
from surveil.cli.failing import run_to_exit_code
from surveil.cli.grammar import root
honest = drilling.expected_log
drilling.expected_log = lambda seconds: honest(seconds).replace(b'line 7', b'line 8')
import sys
sys.exit(run_to_exit_code(root, sys.argv[1:]))
"""
"""A drill that expects other lines than its job prints: to it, a line was lost."""


def passed(place: Place, build: str) -> bool:
    return eventually(lambda: place.ask("builds") and place.ask("show", build)["state"] == "passed")


def drilled(place: Place, *words: str) -> tuple[int, dict[str, Any], str]:
    done = place.run("drill", *words, "--data", str(place.data), "--seconds", SECONDS, "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def repository(place: Place, *commands: str) -> Path:
    return make_repository(place.folder / "repo", __surveil__yml=pipeline(*commands or ("true",)))


def test_what_the_how_to_says_to_type_does_what_it_says(place: Place) -> None:
    kill, story, stop = re.findall(r"^```sh\nsurveil (.*)\n```$", HOW_TO.read_text(), re.MULTILINE)
    repo = repository(place)
    with place.up(str(repo), "--runners", "2") as up:
        up.wait_for("passed    build 1")
        done = place.run(*kill.split(), SURVEIL_DATA=str(place.data))
        assert done.returncode == 0, done.stdout + done.stderr
        report = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.splitlines())
        victim, pid = re.findall(r"^--- killed runner (local-[12]) \(process (\d+)\) and", done.stderr, re.MULTILINE)[0]
        other = {"local-1": "local-2", "local-2": "local-1"}[victim]
        assert report["died"].startswith(f"runner {victim} (process {pid}) and its attempt at 2/drill, at ")
        assert f": runner {victim} " in report["noticed"]
        assert report["went on"].endswith((f" on runner {other}", f" on runner {victim}"))
        assert report["verdict"].endswith(": passed, with 2 attempts")
        assert report[victim].startswith("back after ")
        assert report["lost"] == "nothing: 20 of 20 lines of the log are there, and one verdict"
        told = place.typed(*story.split(), SURVEIL_DATA=str(place.data)).stdout
        assert f"attempt 1 was lost: runner {victim} " in told
        drill = place.ask("builds")[0]
        assert (drill["ref"], drill["author"]) == ("refs/surveil/drill", "surveil drill")

        done = place.run(*stop.split(), SURVEIL_DATA=str(place.data))
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^noticed +after .*: the dispatcher stood still: it was away for ", done.stdout, re.MULTILINE)
        assert re.search(r"^verdict +after .*: passed, with 1 attempt$", done.stdout, re.MULTILINE)
        assert "nothing: 20 of 20 lines of the log are there" in done.stdout


def test_the_only_runner_is_started_again_and_the_work_waits_for_it(place: Place) -> None:
    repo = repository(place)
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
        spare = place.folder / "spare"
        with place.start("runner", "--join", token, "--data", str(spare), "--name", "one") as runner:
            runner.wait_for("connected")
            code, _, said = drilled(place, "--yes", "--runner-data", str(spare))
            assert (code, "nothing was built here yet" in said) == (6, True)
            submitted = place.typed("submit", "--repo", str(repo), "--data", str(place.data)).stdout.strip()
            assert passed(place, submitted)
            code, report, said = drilled(place, "--yes", "--runner-data", str(spare))
            assert code == 0, (report, said)
            assert (report["started_again"], report["went_on_runner"]) == (True, "one")
            assert report["back_after_ms"] >= 10_000
            assert "nobody started runner one again, so the drill does" in said
            assert runner.wait() == -9
        # It goes on without the terminal of the drill, and the fixture ends it.
        (again,) = place.processes(str(spare))
        assert again != report["pid"]
        os.kill(again, 15)
        assert eventually(lambda: place.processes(str(spare)) == [])


def test_a_drill_that_misses_a_line_says_so_with_its_exit_code(place: Place) -> None:
    repo = repository(place)
    with place.up(str(repo), "--runners", "2") as up:
        up.wait_for("passed    build 1")
        words = ["drill", "--yes", "--data", str(place.data), "--seconds", SECONDS]
        done = subprocess.run(
            [sys.executable, "-c", FORGETFUL, *words], cwd=place.folder, env=place.environment(), text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 7, done.stdout + done.stderr
        assert "the log of attempt 2 is not what it printed" in done.stdout


@pytest.mark.usefixtures("marking")
def test_nothing_is_killed_without_consent_or_under_other_peoples_jobs(place: Place) -> None:
    go = place.folder / "go"
    repo = repository(place, f"while [ ! -e {go} ]; do sleep 0.1; done")
    with place.up(str(repo)) as up:
        up.wait_for("test on local-1")
        runner = place.processes("surveil runner")
        code, report, said = drilled(place, "--yes")
        assert (code, report) == (5, {})
        assert "1/test (on local-1) runs there now: wait until it is idle, or type the command with --anyway" in said
        go.touch()
        assert passed(place, "1")
        code, report, said = drilled(place)
        assert (code, report) == (2, {})
        assert "nobody can be asked here: say --yes" in said
        code, shown = answered(place, "n\n")
        assert code == 5
        assert "kills runner local-1, on this machine. No other job runs there." in shown
        assert "Nothing was done." in shown
        assert [build["id"] for build in place.ask("builds")] == [1], "no drill began"
        assert place.processes("surveil runner") == runner


@pytest.mark.usefixtures("marking")
def test_a_drill_that_finds_no_free_slot_says_what_it_waits_for(place: Place) -> None:
    go = place.folder / "go"
    repo = repository(place, f"while [ ! -e {go} ]; do sleep 0.1; done")
    words = ["drill", "--yes", "--anyway", "--data", str(place.data), "--seconds", SECONDS]
    with place.up(str(repo), "--slots", "1") as up:
        up.wait_for("test on local-1")
        with place.start(*words) as drill:
            drill.wait_for("--- drill: waits for a free slot: 1 of 1 busy ---")
            go.touch()
            drill.wait_for("--- killed runner local-1 ")
            assert drill.wait() == 0


def answered(place: Place, answer: str) -> tuple[int, str]:
    """A drill on a terminal, where its question gets this answer; its exit code, and all that was shown."""
    master, terminal = pty.openpty()
    words = [sys.executable, "-m", "surveil", "drill", "--data", str(place.data)]
    with subprocess.Popen(
        words, cwd=place.folder, env={**place.environment(), "TERM": "dumb"}, stdin=terminal, stdout=terminal,
        stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown, until, told = "", time.monotonic() + 60, False
        while process.poll() is None or select.select([master], [], [], 0.2)[0]:
            assert time.monotonic() < until, shown
            if select.select([master], [], [], 0.2)[0]:
                try:
                    shown += os.read(master, 65536).decode()
                except OSError:
                    break
            if not told and "[y/N]" in shown:
                os.write(master, answer.encode())
                told = True
        os.close(master)
        return process.wait(), " ".join(shown.split())


@pytest.mark.usefixtures("marking")
def test_another_jobs_attempt_survives_a_drill_that_is_done_anyway(place: Place) -> None:
    go = place.folder / "go"
    repo = repository(place, f"while [ ! -e {go} ]; do sleep 0.1; done; echo $SURVEIL_ATTEMPT")
    with place.up(str(repo), "--slots", "2") as up:
        up.wait_for("test on local-1")
        code, report, said = drilled(place, "--yes", "--anyway")
        assert code == 0, (report, said)
        assert report["others"] == ["1/test running, attempt 1"]
        assert (report["held"], report["verdict"], report["faults"]) == (True, "passed", [])
        assert [attempt["state"] for attempt in report["attempts"]] == ["lost", "passed"]
        assert (report["lines"], report["lines_kept"], report["started_again"]) == (10, 10, False)
        assert 0 <= report["noticed_after_ms"] <= report["went_on_after_ms"] <= report["verdict_after_ms"]
        assert report["back_after_ms"] is not None
        go.touch()
        assert passed(place, "1")
        assert place.typed("logs", "1", "-f", "--data", str(place.data)).stdout == "1\n"
