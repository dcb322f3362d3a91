"""A dispatcher that starts its runners itself, with real processes."""

import signal
from pathlib import Path

import pytest

from surveil.errors import ExitCode
from tests.net.stage import free_ports
from tests.system.processes import Place, eventually, kill
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def agents(place: Place) -> list[int]:
    return place.processes("surveil runner --data")


def begun(place: Place) -> list[Path]:
    """The work trees of jobs that have begun."""
    return [mark.parent for mark in (place.data / "runners").rglob("work/begun")]


def test_a_dispatcher_keeps_its_runners_and_their_jobs_outlive_it(place: Place) -> None:
    script = "touch begun; while [ ! -e go ]; do sleep 0.1; done; echo done"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(script))
    words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}", "--spawn", "2")
    with place.start(*words) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        assert eventually(lambda: [each["state"] for each in place.ask("runners")] == ["online", "online"])
        submitted = place.typed("submit", "--repo", str(repo), "--data", str(place.data))
        assert submitted.stdout == "1\n", submitted.stderr
        assert eventually(lambda: begun(place) != [])

        before = set(agents(place))
        kill([min(before)])
        assert eventually(lambda: len(agents(place)) == 2 and set(agents(place)) != before)

        dispatcher.process.send_signal(signal.SIGTERM)
        assert dispatcher.wait() == 0, dispatcher.text
        assert agents(place) == []
        # The job goes on without anybody who could hear of it.
        assert place.processes() != []

    with place.start(*words) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        (work,) = begun(place)
        (work / "go").touch()
        assert eventually(lambda: place.ask("show", "1")["state"] == "passed"), dispatcher.text
        (job,) = place.ask("show", "1")["jobs"]
        assert [attempt["state"] for attempt in job["attempts"]] == ["passed"]
        assert place.typed("logs", "1", "-f", "--data", str(place.data)).stdout == "done\n"
    assert eventually(lambda: place.processes() == [])


def test_what_is_wished_for_the_steps_of_its_runners_reaches_them(place: Place) -> None:
    shown = place.folder / "shown"
    shown.write_text("seen\n")
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(f"cat {shown}"))
    words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}", "--spawn", "1")
    absent = place.run(*words, "--sandbox", "required", "--expose", str(place.folder / "absent"))
    assert (absent.returncode, absent.stdout) == (ExitCode.INFRASTRUCTURE, "")
    assert "Steps cannot be run in a sandbox" in absent.stderr
    for wish, isolations in (("auto", {"bubblewrap", "process"}), ("off", {"process"})):
        with place.start(*words, "--sandbox", wish, "--expose", str(shown)) as dispatcher:
            dispatcher.wait_for("dispatcher is ready")
            done = place.typed("submit", "--wait", "--repo", str(repo), "--data", str(place.data))
            assert done.returncode == 0, done.stderr
            build = done.stdout.strip()
            (attempt,) = place.ask("show", build)["jobs"][0]["attempts"]
            assert attempt["isolation"] in isolations
            assert place.typed("logs", build, "-f", "--data", str(place.data)).stdout.startswith("seen\n")
    assert eventually(lambda: place.processes() == [])
