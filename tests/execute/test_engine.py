"""Engines that are not as the machine's own one is, played by a small server on a socket."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from surveil.errors import InfrastructureError
from surveil.execute.containers import container
from surveil.execute.containers.container import chosen
from tests.execute import ordinary


class Played(BaseHTTPRequestHandler):
    """Says its version, and `options` as those of its security."""

    options: tuple[str, ...] = ()
    late_s = 0.0

    def do_GET(self) -> None:
        """Answer."""
        time.sleep(self.late_s)
        told: dict[str, Any] = {"ApiVersion": "1.41", "SecurityOptions": self.options}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        """Whoever asks through a file has no address."""
        return "-"


@pytest.fixture
def played(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an engine with these options."""
    kind = type("Kind", (Played,), {"options": request.param})
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"unix://{tmp_path}/s"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("played", [("name=seccomp,profile=default", "name=userns")], indirect=True)
def test_an_engine_with_other_numbers_for_users_is_refused_and_why(
    played: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InfrastructureError, match=r"has other numbers for the users .* \(`userns-remap`\)"):
        chosen(played)
    monkeypatch.setenv("DOCKER_HOST", played)
    found, why = chosen("auto")
    assert found is None
    assert "userns-remap" in why


@pytest.mark.parametrize("played", [()], indirect=True)
def test_an_engine_that_was_named_may_take_its_time_and_one_of_several_may_not(
    played: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "PROBE_S", 0.2)
    monkeypatch.setattr(Played, "late_s", 1.0)
    monkeypatch.setenv("DOCKER_HOST", played)
    for wanted in (played, "auto"):
        found, why = chosen(wanted)
        assert found is not None, why
        found.close()
    monkeypatch.setattr(container, "usual_addresses", lambda: [played, played])
    found, why = chosen("auto")
    assert found is None
    assert "(timed out)" in why


@pytest.mark.parametrize(
    ("played", "user"), [(("name=rootless",), "0:0"), ((), None)], indirect=["played"], ids=["without root", "usual"]
)
def test_an_engine_without_root_knows_us_as_root(
    played: str, user: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getegid", lambda: 1001)
    found, why = chosen(played)
    assert found is not None, why
    assert found._us() == (user or "1000:1001")  # noqa: SLF001  # what containers are started with
    found.close()


def test_a_user_who_may_not_look_whether_there_is_an_engine_goes_on_without() -> None:
    folder = Path(tempfile.mkdtemp(prefix="surveil-test-"))
    try:
        folder.chmod(0)
        program = (
            "from surveil.execute.containers import container; "
            f"container.usual_addresses = lambda: ['unix://{folder}/podman.sock']; print(container.chosen('auto'))"
        )
        argv = ordinary.command([sys.executable, "-c", program], "ordinary")
        done = subprocess.run(argv, cwd=ordinary.ROOT, capture_output=True, text=True, check=False)
    finally:
        folder.rmdir()
    why = f"the runner's user may not look whether a container engine listens at {folder}/podman.sock"
    assert done.stdout == f'(None, "{why}")\n', done.stderr
