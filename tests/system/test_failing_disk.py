"""A dispatcher whose disk fails, with real processes: it ends with a sentence, and forgets nothing that it said."""

import errno

import pytest

from surveil.errors import ExitCode
from tests.disks.mounted import mounted
from tests.disks.needs import ON_A_DISK_OF_OURS
from tests.net.stage import free_ports
from tests.system.processes import Place, eventually
from tests.system.repository import make_repository, pipeline

pytestmark = [
    pytest.mark.timeout(300),
    ON_A_DISK_OF_OURS,
]


@pytest.mark.parametrize("file", ["surveil.db-wal", "logs/.*[.]log"])
def test_a_sync_that_fails_ends_the_dispatcher_and_the_next_one_has_all_that_was_said(place: Place, file: str) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo one; sleep 1; echo two"))
    words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}")
    submit = ("submit", "--repo", str(repo), "--data", str(place.data))
    with mounted(place.data) as disk:
        with place.start(*words) as dispatcher:
            dispatcher.wait_for("dispatcher is ready")
            token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
            runner = place.start("runner", "--data", str(place.folder / "runner"), "--slots", "1", "--join", token)
            runner.wait_for("connected")
            disk.fail("sync", number=errno.EIO, path=file, count=1)
            said = place.typed(*submit)
            assert dispatcher.wait() == ExitCode.INFRASTRUCTURE
            assert "surveil: " in dispatcher.text
            assert "Traceback" not in dispatcher.text
            # SQLite looks after its own files: what it has not committed it does not count when it closes them.
            assert disk.met() == 1 or "wal" in file, "no sync that failed is tried again"
        with runner, place.start(*words) as dispatcher:
            dispatcher.wait_for("dispatcher is ready")
            known = {str(build["id"]) for build in place.ask("builds", "--limit", "9")}
            assert set(said.stdout.split()) <= known
            done = place.typed(*submit)
            assert done.returncode == 0, done.stderr
            for build in {*known, done.stdout.strip()}:
                assert eventually(lambda build=build: place.ask("show", build)["state"] == "passed")  # type: ignore[misc]
                assert place.typed("logs", build, "-f", "--data", str(place.data)).stdout == "one\ntwo\n"
    assert eventually(lambda: place.processes() == [])
