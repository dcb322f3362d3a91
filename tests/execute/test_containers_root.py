"""Root in a container: it may do what packages take, it is root nowhere else, and what it leaves is the runner's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surveil.core.run_events import Ended
from surveil.protocol import Assign, ImageSpec
from tests.engines.docker import Docker
from tests.execute import ordinary
from tests.execute.conftest import job, make_repository
from tests.execute.test_containers import Housed, assign, no_container_left
from tests.execute.test_process import ONE, in_a_loop

__all__ = ["assign", "no_container_left"]

INSTALL = """
id -u
mkdir -p /usr/share/tool /var/lib/tool && echo data > /usr/share/tool/data
chown -R 1234:1234 /var/lib/tool && chmod 700 /var/lib/tool && touch /var/lib/tool/of-another
chroot / true
echo 'somebody:x:1234:1234::/:/bin/sh' > /etc/passwd
su somebody -c 'id -u; touch /var/lib/tool/own'
"""
"""What the scripts of packages do: files anywhere, other users' ones as well, other users, another root."""


@in_a_loop
async def test_a_job_of_root_installs_as_packages_do(tmp_path: Path, assign: Assign, docker_engine: Docker) -> None:
    spec = replace(job(INSTALL), image=ImageSpec(name="probe:1", root=True))
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        assert (ended.reason, desk.text) == ("", b"0\n1234\n")
        assert ended.isolation.endswith(" as root")


@in_a_loop
async def test_what_strangers_sent_is_root_nowhere(tmp_path: Path, assign: Assign, docker_engine: Docker) -> None:
    tried = "grep '^CapBnd:' /proc/self/status; chown 1234 /tmp 2>/dev/null || echo refused"
    spec = replace(job(tried), image=ImageSpec(name="probe:1", root=True))
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec, trusted=False))
        assert desk.text.split() == [b"CapBnd:", b"0000000000000000", b"refused"]
        assert ended.isolation.endswith(" without root, as strangers sent it")


def as_somebody(program: Path) -> None:
    """Let a user that has nothing run it."""
    subprocess.run(program, check=False, user=12345, group=12345, extra_groups=[])


@in_a_loop
async def test_a_program_that_makes_root_is_out_of_reach_of_the_machines_users(
    tmp_path: Path, assign: Assign, docker_engine: Docker
) -> None:
    plant = (
        "cp /bin/busybox ./become; chmod 6755 ./become; chmod 777 . ..; touch planted; while [ ! -e go ]; do :; done"
    )
    spec = replace(job(plant), image=ImageSpec(name="probe:1", root=True))
    async with Housed(tmp_path / "data", docker_engine) as desk:
        await desk.started(replace(assign, spec=spec))
        (work,) = (tmp_path / "data" / "workspaces").glob("*/work")
        while not (work / "planted").exists():
            await desk.soon()
        assert (work / "become").stat().st_mode & 0o7777 == 0o6755
        with pytest.raises(PermissionError):
            await asyncio.to_thread(as_somebody, work / "become")
        (work / "go").touch()
        await desk.hear(Ended)
        desk.executor.forget(ONE)
        await desk.until_clean()


@pytest.fixture
def place(docker_engine: Docker) -> Iterator[Path]:
    """A folder that an ordinary user owns, who reaches the engine as well."""
    folder = Path(tempfile.mkdtemp(prefix="surveil-test-"))
    docker_engine.folder.chmod(0o711)
    (docker_engine.folder / "docker.sock").chmod(0o666)
    yield folder
    shutil.rmtree(folder)


MESS = """
mkdir -m 700 made $HOME/.cache && echo kept > made/file && chmod 400 made/file && chown 1234 made
touch /tmp/x $TMPDIR/x; mkdir -m 0 closed && ln -s /etc/passwd closed/link
cat $HOME/.gitconfig; echo here
"""


def test_what_root_leaves_is_kept_and_deleted_by_a_runner_of_an_ordinary_user(
    place: Path, docker_engine: Docker
) -> None:
    if os.geteuid() != 0:
        pytest.skip("an engine is started by root only; run the tests as root")
    wanted: dict[str, Any] = {
        "data": str(place / "data"), "repo": str(place / "repo"), "engine": str(docker_engine.folder),
        "sha": make_repository(place / "repo"),
        "jobs": [
            {"script": MESS, "root": True, "killed": False},
            {"script": f"{MESS}sleep 1000", "root": True, "killed": True},
            # What the engine itself makes as root is as much in the way.
            {"script": "mkdir made; touch /tmp/x; echo here", "root": False, "killed": False},
        ],
    }  # fmt: skip
    ordinary.own(place, "ordinary")
    done = subprocess.run(
        ordinary.command([sys.executable, "-m", "tests.execute.housed"], "ordinary"),
        input=json.dumps(wanted), cwd=ordinary.ROOT, env={"PATH": os.environ["PATH"], "TMPDIR": str(place)},
        stdout=subprocess.PIPE, text=True, check=True, timeout=100,
    )  # fmt: skip
    kept, killed, plain = json.loads(done.stdout)
    assert (plain["reason"], plain["log"]) == ("", "here\n")
    assert kept["reason"] == ""
    assert kept["remarks"] == ["file: kept\n"]
    assert kept["log"] == "[safe]\n\tdirectory = *\nhere\n"
    assert killed["remarks"] == []
    assert [path.name for path in (place / "data" / "workspaces").iterdir()] == []
