"""Past attempts that are run again, with real git, real runners that are gone meanwhile, and real containers."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest

from tests.engines.docker import Docker
from tests.engines.fixtures import docker_engine
from tests.net.stage import free_ports
from tests.system.processes import PATIENCE_S, Place
from tests.system.repository import commit, make_repository
from tests.system.test_supply import start_where_hidden

__all__ = ["docker_engine"]

pytestmark = pytest.mark.timeout(300)

PIPELINE = """
jobs:
  make: {steps: [{run: 'echo "version=1.2" >> "$SURVEIL_OUTPUT"'}]}
  test:
    needs: [make]
    matrix: {v: ["3", "4"]}
    labels: [%s]
    env: {VERSION: "${{ needs.make.outputs.version }}"}
    cache: [{key: k, paths: [lib]}]
    secrets: [TOKEN]
    artifacts: [{name: never, paths: [nothing], required: true}]
    steps:
      - run: cat note; echo $VERSION $SURVEIL_JOB $SURVEIL_BUILD $SURVEIL_ATTEMPT $SURVEIL_REF ${TOKEN-none}
      - run: echo here > made
      - run: exit $MATRIX_V
  shared:
    shards: 2
    steps:
      - run: seq 30 | python3 $SURVEIL_SHARDS/surveil_shards.py run sh -c 'for i; do echo ran-$i; done; exit 5' x
"""

PROMPT = re.compile(rb"[$#] (\x1b\[\d*[A-Za-z])*\Z")
"""What a shell shows when it wants to read a line; behind it, some of them ask for the cursor, and draw it again."""


@contextmanager
def dispatcher_of(place: Place) -> Iterator[None]:
    """A dispatcher without a runner and without an observer: those that were are gone."""
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        yield


def left_behind(place: Place) -> list[Path]:
    """What replays may have left where temporary files go."""
    return [path for path in (place.folder / "tmp").iterdir() if path.name.startswith("surveil-")]


def type_in_shell(place: Place, words: Sequence[str], *lines: str, **more: str) -> tuple[int, str]:
    """`replay --shell` on a terminal, where these lines are typed one by one; its code, and all that was shown."""
    near, far = pty.openpty()
    termios.tcsetwinsize(far, (33, 111))
    script = 'terminal=$1; shift; exec "$@" <"$terminal" >"$terminal" 2>&1'
    shell = subprocess.Popen(
        ["sh", "-c", script, "sh", os.ttyname(far), sys.executable, "-m", "surveil", "replay", *words, "--shell"],
        cwd=place.folder, env={**place.environment(), "TERM": "dumb", **more}, start_new_session=True,
    )  # fmt: skip
    shown, seen = b"", 0
    until = time.monotonic() + PATIENCE_S
    ahead = [*lines]
    try:
        # Our own end of its terminal stays open, so that there is no error before it has opened its own.
        while time.monotonic() < until and (select.select([near], [], [], 0.2)[0] or shell.poll() is None):
            if select.select([near], [], [], 0)[0]:
                shown += os.read(near, 65536)
            if ahead and PROMPT.search(shown, seen):
                seen = len(shown)
                os.write(near, ahead.pop(0).encode() + b"\n")
        assert shell.poll() is not None, f"{ahead} was not typed yet, or the shell did not end: {shown!r}"
        return shell.returncode, shown.decode().replace("\r\n", "\n")
    finally:
        shell.kill()
        shell.wait()
        os.close(near)
        os.close(far)


@pytest.fixture
def tmp(place: Place) -> Path:
    folder = place.folder / "tmp"
    folder.mkdir()
    place.settings["TMPDIR"] = str(folder)
    return folder


@pytest.mark.usefixtures("tmp")
def test_an_attempt_fails_again_as_it_did_once_its_runner_is_gone(place: Place) -> None:
    here = ("--data", str(place.data))
    repo = make_repository(place.folder / "repo", __surveil__yml=PIPELINE % "spare", note="as it was\n")
    with place.up(str(repo), "--label", "spare") as up:
        up.wait_for("build 1: repo main ")
        subprocess.run(
            [sys.executable, "-m", "surveil", "secret", "set", "TOKEN", *here], cwd=place.folder,
            env=place.environment(), input="hush-hush\n", text=True, check=True,
        )  # fmt: skip
        commit(repo, "Second", note="second\n")
        up.wait_for("failed    build 2: repo main ")
        there = place.typed("logs", "2", "test[v=3]", "-f", *here).stdout
        assert "`surveil replay '2/test[v=3]'` runs it again here" in place.typed("show", "2", *here).stdout
        handed = {number: place.typed("logs", "2", f"shared[shard={number}]", "-f", *here).stdout for number in (1, 2)}
    commit(repo, "Third", note="third\n")
    with dispatcher_of(place):
        again = place.run("replay", "2/test[v=3]", *here, TOKEN="hush-hush")
        assert (again.returncode, again.stdout) == (1, there), again.stderr
        assert there == "second\n1.2 test[v=3] 2 1 refs/heads/main ***\n"
        assert "attempt 1 failed: step 'exit $MATRIX_V' ended with exit code 3; as it did there" in again.stderr
        assert "not as it was: its runner had spare; " in again.stderr
        assert "not as it was: 1 cache that it may have found: nothing is restored" in again.stderr
        assert "surveil replay 2/test[v=3]` to give your own" not in again.stderr
        document = json.loads(place.run("replay", "2/test[v=4]", *here, "--json").stdout)
        assert (document["state"], document["exit_code"], document["same"]) == ("failed", 4, True)
        assert "type `TOKEN=... surveil replay 2/test[v=4]` to give your own" in str(document["differs"])
        for number, log in handed.items():
            shard = place.run("replay", f"2/shared[shard={number}]", *here)
            assert (shard.returncode, shard.stdout) == (1 if log else 0, log), shard.stderr
        passed = place.run("replay", "2/make", *here, "--keep", "kept")
        assert passed.returncode == 0, passed.stderr
        assert (place.folder / "kept" / "note").read_text() == "second\n"
        assert left_behind(place) == []
        code, shown = type_in_shell(
            place, ["2/test[v=3]", *here], "cat note made; test -t 0 && stty size", "sleep 300 &",
            "echo $VERSION-$TOKEN-$SURVEIL_JOB; ps $$ >/dev/null; exit 77", TOKEN="hush-hush",
        )  # fmt: skip
        assert code == 1, shown
        assert (
            "--- a shell where step 'exit $MATRIX_V' failed; `exit` ends it, and this runs the step again: ---" in shown
        )
        for part in ("\nsecond\nhere\n33 111\n", "\n1.2-hush-hush-test[v=3]\n", "attempt 1 failed: "):
            assert part in shown, shown
        assert "no job control" not in shown
        several = place.typed("replay", "2", *here)
        assert several.returncode == 2
        assert "jobs of build 2 went wrong: name one as in `surveil replay 2/NAME`" in several.stderr
        assert place.typed("replay", "2/tset", *here).returncode == 6
        assert place.typed("replay", "2/make", *here, "--attempt", "9").returncode == 6
    assert place.processes() == []


HOUSED = """
jobs:
  housed:
    image: again:1
    services:
      beside: {image: "again:1", command: ["echo $FROM_IMAGE > /who; exec httpd -f -p 8080 -h /"], health: {port: 8080}}
    steps:
      - run: cat note; echo $FROM_IMAGE; wget -qO- beside:8080/who; echo here > /tmp/made; echo written > /mark; exit 9
"""


@pytest.mark.usefixtures("tmp")
def test_a_container_job_finds_the_image_that_it_had(place: Place, docker_engine: Docker) -> None:
    place.settings["SURVEIL_ENGINE"] = docker_engine.address
    here = ("--data", str(place.data))
    with closing(docker_engine.api()) as api:
        first = named_again(api, "first")
        repo = make_repository(place.folder / "repo", __surveil__yml=HOUSED, note="in a box\n")
        once = place.run("up", "--once", *here, str(repo))
        assert once.returncode == 1, once.stderr
        second = named_again(api, "second")
        with dispatcher_of(place):
            again = place.run("replay", "1/housed", *here, "--json")
            assert again.returncode == 1, again.stderr
            assert "in a box\nfirst\nfirst\n" in again.stderr
            assert "not as it was" not in again.stderr
            document = json.loads(again.stdout)
            assert (document["same"], document["exit_code"], document["differs"]) == (True, 9, [])
            code, shown = type_in_shell(
                place, ["1", *here], "cat note /tmp/made /mark; wget -qO- beside:8080/who", "exit 0"
            )
            assert code == 1, shown
            assert "\nin a box\nhere\nwritten\nfirst\n" in shown, shown
            assert "\x1b[J" not in shown, f"its first prompt was drawn for another size, and then again: {shown!r}"
            assert docker_engine.names() == []
            api.remove_image(first, force=True)
            gone = place.run("replay", "1", *here)
            assert (gone.returncode, gone.stdout) == (1, "in a box\nsecond\nsecond\n"), gone.stderr
            for what in ("its image", "the image of service beside"):
                assert f"not as it was: {what} was {first}, which is not to be had: again:1 is used" in gone.stderr
        assert left_behind(place) == []
        assert docker_engine.names() == []
        api.remove_image(second, force=True)


def named_again(api: docker.APIClient, text: str) -> str:
    """Let the name `again:1` mean a new image; its id."""
    made = api.create_container("probe:1", entrypoint=["/bin/sh", "-c", "echo > /mark; chmod 666 /mark"])
    api.start(made["Id"])
    api.wait(made["Id"])
    says = [f"ENV FROM_IMAGE={text}", 'ENTRYPOINT ["/bin/sh", "-c"]', "CMD []"]
    found = api.commit(made["Id"], "again", "1", changes=says)
    api.remove_container(made["Id"])
    return str(found["Id"])


SOON_WITHOUT_HOPE = """
from surveil.cli import main
from surveil.client import packs
packs.ABSENT_S = 1.0
main()
"""
"""The command, which hopes for an observer that is not there a second long instead of twenty."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from one process alone")
@pytest.mark.usefixtures("tmp")
def test_a_commit_comes_through_the_dispatcher_where_its_repository_is_not(place: Place) -> None:
    hidden = place.folder / "elsewhere"
    noise = "".join(f"{number * 7919 % 1000003}\n" for number in range(200_000))
    text = "jobs: {test: {steps: [{run: wc -c < noise; git log -1 --format=%s; exit 3}]}}\n"
    repo = make_repository(hidden / "repo", __surveil__yml=text, noise=noise)
    with place.up(str(repo)) as up:
        up.wait_for("failed    build 1: repo main ")
        with start_where_hidden(place, str(hidden), "replay", "1/test", "--data", str(place.data)) as replay:
            assert replay.wait() == 1, replay.text
            assert replay.lines[1:3] == [str(len(noise)), "First"], replay.text
            assert "as it did there" in replay.text
        with start_where_hidden(place, str(hidden), "replay", "1/test", "--data", str(place.data)) as replay:
            replay.wait()
    hidden.rename(place.folder / "away")
    with dispatcher_of(place):
        gone = subprocess.run(
            [sys.executable, "-c", SOON_WITHOUT_HOPE, "replay", "1/test", "--data", str(place.data)],
            cwd=place.folder, env=place.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        assert gone.returncode == 7, gone.stderr
        assert "nor through the dispatcher: no observer of" in gone.stderr
    assert left_behind(place) == []
    assert place.processes() == []
