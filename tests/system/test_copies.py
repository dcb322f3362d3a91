"""A runner's data folder that was copied to another machine, with real processes."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from surveil.errors import ExitCode
from tests.net.stage import free_ports
from tests.system.processes import Place, eventually
from tests.system.repository import make_repository, pipeline

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("marking")]


def copied(original: Path, name: str) -> str:
    """What another machine would have if somebody copied the folder to it."""
    copy = original.with_name(name)
    subprocess.run(["cp", "-a", original, copy], check=True)
    return str(copy)


def runners(place: Place) -> list[tuple[str, str]]:
    found: list[dict[str, Any]] = place.ask("runners")
    return [(each["name"], each["state"]) for each in found]


def test_a_copied_runner_is_refused_with_a_sentence_and_the_first_one_goes_on(place: Place) -> None:
    original = place.folder / "spare"
    listen = f"tcp://127.0.0.1:{free_ports()}"
    script = f"touch {place.folder}/begun; while [ ! -e {place.folder}/go ]; do sleep 0.1; done"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(script))
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
        words = ("runner", "--data", str(original), "--name", "spare")
        with place.start(*words, "--join", token) as first:
            first.wait_for("connected")
            first.process.send_signal(signal.SIGTERM)
            assert first.wait() == 0, first.text
        same = copied(original, "same")
        with place.start(*words) as first:
            first.wait_for("connected")
            assert eventually(lambda: runners(place) == [("spare", "online")])
            assert place.typed("submit", "--repo", str(repo), "--data", str(place.data)).returncode == 0
            assert eventually((place.folder / "begun").exists)
            # Once of the same start, once of a later one: the folder was copied before, and while it was in use.
            for folder in (same, copied(original, "later")):
                refused = place.run("runner", "--data", folder)
                assert refused.returncode == ExitCode.NOT_ALLOWED, refused.stderr
                last = refused.stderr.strip().splitlines()[-1]
                assert "this runner's data folder was copied to another machine" in last
                assert "surveil runner --join TOKEN --data NEW_FOLDER" in last
            assert runners(place) == [("spare", "online")]
            (place.folder / "go").touch()
            assert eventually(lambda: place.ask("show", "1")["state"] == "passed"), first.text
            (job,) = place.ask("show", "1")["jobs"]
            assert [attempt["state"] for attempt in job["attempts"]] == ["passed"]
        assert "a runner is refused" in dispatcher.text
    assert eventually(lambda: place.processes() == [])
