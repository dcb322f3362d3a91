"""What an attempt printed last before it was given up, with real processes: it is delivered by whoever comes back,
byte for byte, and changes nothing else.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from surveil.execute.logs.spool import SYNC_MS, SpoolReader
from surveil.store.log_packed import SUFFIX
from tests.disks.mounted import mounted
from tests.disks.needs import ON_A_DISK_OF_OURS
from tests.net.stage import free_ports
from tests.system.processes import Place, Running, eventually, kill, signal_process, with_descendants
from tests.system.test_faults import AGENT, LEASE, Pool, begun

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("marking")]
LINES = 20_000


class Hosts(Pool):
    """A dispatcher and two runners, each of which can be taken away and come back."""

    def __init__(self, place: Place, running: contextlib.ExitStack) -> None:
        super().__init__(place)
        self._running = running
        self._words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}")
        self.more: dict[str, str] = {}
        self.dispatcher: Running

    def start_dispatcher(self) -> None:
        self.dispatcher = self._running.enter_context(self.place.start(*self._words, **LEASE, **self.more))
        self.dispatcher.wait_for("dispatcher is ready")

    def join(self, name: str) -> None:
        token = self.place.typed("token", "create", "--data", str(self.place.data)).stdout.strip()
        self.start(name, "--join", token, "--name", name)

    def start(self, name: str, *words: str) -> None:
        runner = self.place.start("runner", "--data", str(self.data(name)), *words)
        self.runners[name] = self._running.enter_context(runner)

    def start_rebooted(self, name: str, data: Path) -> None:
        """A runner on what is left of its disk, after its machine was switched off."""
        words = [sys.executable, "-m", "tests.system.rebooted", "runner", "--data", str(data)]
        environment = self.place.environment() | {"PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(
            words, cwd=self.place.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.runners[name] = self._running.enter_context(Running(process))

    def cut_power(self, name: str) -> None:
        """Everything of a runner ends in one moment; its disk stays."""
        kill(self.everybody(name))
        assert eventually(partial(self.is_at_rest, name))

    def everybody(self, name: str) -> list[int]:
        """All processes of a runner."""
        return [*with_descendants(self.agent(name)), *self.keepers(name), *self.steps(name)]

    def spooled(self, name: str) -> bytes:
        """The whole log of the runner's one attempt, as it is on its disk."""
        (path,) = (self.data(name) / "attempts").glob("*/spool")
        reader = SpoolReader(str(path))
        try:
            body, length = b"", reader.look()
            while len(body) < length:
                chunk = reader.read(len(body), length)
                assert chunk is not None
                body += chunk.data
            return body
        finally:
            reader.close()

    def attempt(self, build: str, number: int) -> Any:
        return self.job(build)["attempts"][number - 1]

    def is_whole(self, build: str, number: int) -> bool:
        return self.attempt(build, number)["log_complete"] is True

    def logs(self, build: str, number: int) -> tuple[bytes, str]:
        """What `logs` prints, and what it says."""
        done = self.place.typed("logs", build, "--attempt", str(number), "--data", str(self.place.data))
        return done.stdout.encode(), done.stderr

    def packed(self) -> list[str]:
        return [path.name for path in (self.place.data / "logs").rglob(f"*{SUFFIX}")]

    def given_up(self, build: str, away: str) -> tuple[Any, ...]:
        """What must stay as it is when the runner comes back."""
        first, second = self.job(build)["attempts"]
        assert (first["state"], first["runner"], second["state"]) == ("lost", away, "passed")
        return self.job(build)["state"], first["state"], first["finished_at"], first["exit_code"], second


@pytest.fixture
def hosts(place: Place, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with contextlib.ExitStack() as running:
        here = Hosts(place, running)
        here.more = getattr(request, "param", {})
        here.start_dispatcher()
        for name in ("one", "two"):
            here.join(name)
        assert eventually(lambda: [one["state"] for one in place.ask("runners")] == ["online", "online"])
        yield here
        for name in here.runners:
            assert eventually(partial(here.is_at_rest, name)), f"{name} has {here.keepers(name)} {here.steps(name)}"


def talkative(place: Place) -> str:
    """A first attempt that prints much as soon as it is told to, and goes on for ever; a second that passes at once."""
    folder = place.folder
    much = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; touch {folder}/written"
    first = (
        f"echo begun; touch {folder}/begun-$SURVEIL_BUILD-1; while [ ! -e {folder}/more ]; do sleep 0.1; done; {much}"
    )
    return f'[ "$SURVEIL_ATTEMPT" != 1 ] || {{ {first}; while true; do sleep 1; done; }}; echo all is well'


def lose_the_first(place: Place, hosts: Hosts, *, power: bool) -> tuple[str, str]:
    """A build whose first attempt printed much that its runner could not send; returns it, and that runner."""
    build = hosts.submit(talkative(place))
    assert begun(hosts, build)
    away = hosts.runner_of(build)
    assert eventually(lambda: hosts.logs(build, 1)[0] == b"begun\n")
    signal_process(hosts.agent(away), signal.SIGSTOP, AGENT)
    (place.folder / "more").touch()
    assert eventually((place.folder / "written").exists)
    if power:
        hosts.cut_power(away)
    assert eventually(partial(hosts.has_state, build, "passed")), "the job did not pass elsewhere"
    return build, away


def test_a_runner_that_comes_back_after_a_power_cut_delivers_the_rest_of_the_log(place: Place, hosts: Hosts) -> None:
    build, away = lose_the_first(place, hosts, power=True)
    before, rest = hosts.given_up(build, away), hosts.spooled(away)
    assert rest.startswith(b"begun\nline 0\nline 1\n")
    sentence = f"the end of this log may still be with runner {away}, which has not come back"
    assert (hosts.attempt(build, 1)["log_complete"], hosts.attempt(build, 1)["log_missing"]) == (False, sentence)
    body, said = hosts.logs(build, 1)
    assert body == b"begun\n"
    assert sentence in said
    assert sentence in place.typed("show", build, "--data", str(place.data)).stdout
    # The dispatcher has forgotten all of it but what is on disk.
    hosts.dispatcher.__exit__()
    hosts.start_dispatcher()
    hosts.start(away)
    assert eventually(partial(hosts.is_whole, build, 1))
    assert hosts.attempt(build, 1)["log_bytes"] == hosts.attempt(build, 1)["log_kept_bytes"] == len(rest)
    body, said = hosts.logs(build, 1)
    assert body == rest
    assert sentence not in said
    assert hosts.given_up(build, away) == before
    assert eventually(lambda: list((hosts.data(away) / "attempts").iterdir()) == []), "the runner keeps it for ever"
    assert eventually(lambda: sorted(hosts.packed()) == [f"test.1{SUFFIX}", f"test.2{SUFFIX}"])
    assert hosts.logs(build, 1)[0] == rest


@ON_A_DISK_OF_OURS
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_on_the_platter_for_a_second_is_delivered_and_nothing_that_never_was(place: Place, seed: int) -> None:
    """The machine's power is cut for good: its disk has lost what was not synced."""
    with contextlib.ExitStack() as running:
        hosts = Hosts(place, running)
        hosts.start_dispatcher()
        disk = running.enter_context(mounted(place.folder / "one"))
        hosts.join("one")
        build = hosts.submit(talkative(place))
        assert begun(hosts, build)
        assert eventually(lambda: hosts.logs(build, 1)[0] == b"begun\n")
        signal_process(hosts.agent("one"), signal.SIGSTOP, AGENT)
        (place.folder / "more").touch()
        assert eventually((place.folder / "written").exists)
        time.sleep(2 * SYNC_MS / 1000)
        whole = hosts.spooled("one")
        assert len(whole) > LINES
        everybody = hosts.everybody("one")
        disk.lose_power(seed, place.folder / "left")
        kill(everybody)
        assert eventually(lambda: hosts.steps("one") == [])
        hosts.join("two")
        assert eventually(partial(hosts.has_state, build, "passed"))
        assert hosts.given_up(build, "one")
        hosts.start_rebooted("one", place.folder / "left")
        assert eventually(partial(hosts.is_whole, build, 1))
        assert hosts.logs(build, 1)[0] == whole
        left = place.folder / "left" / "attempts"
        assert eventually(lambda: list(left.iterdir()) == [])


def test_a_runner_that_stood_still_delivers_the_rest_of_what_it_has_to_end(place: Place, hosts: Hosts) -> None:
    build, away = lose_the_first(place, hosts, power=False)
    before = hosts.given_up(build, away)
    assert hosts.logs(build, 1)[0] == b"begun\n"
    signal_process(hosts.agent(away), signal.SIGCONT, AGENT)
    assert eventually(partial(hosts.is_whole, build, 1))
    whole = b"begun\n" + b"".join(b"line %d\n" % number for number in range(LINES))
    assert hosts.logs(build, 1)[0] == whole
    assert hosts.given_up(build, away) == before
    assert eventually(lambda: list((hosts.data(away) / "attempts").iterdir()) == [])


@pytest.mark.parametrize("hosts", [{"SURVEIL_POLICY_LOG_WAIT": "2s"}], indirect=True)
def test_a_log_is_closed_when_nobody_comes_back_and_opened_again_for_who_comes_even_later(
    place: Place, hosts: Hosts
) -> None:
    build, away = lose_the_first(place, hosts, power=True)
    rest = hosts.spooled(away)
    lost = f"was lost with runner {away}, which has not come back"
    assert eventually(lambda: str(hosts.attempt(build, 1)["log_missing"]).endswith(lost))
    assert lost in hosts.logs(build, 1)[1]
    assert eventually(lambda: f"test.1{SUFFIX}" in hosts.packed())
    assert hosts.logs(build, 1)[0] == b"begun\n"
    hosts.start(away)
    assert eventually(partial(hosts.is_whole, build, 1))
    body, said = hosts.logs(build, 1)
    assert body == rest
    assert lost not in said
    assert eventually(lambda: list((hosts.data(away) / "attempts").iterdir()) == [])


def test_a_cancelled_job_has_its_grace_and_its_last_lines(place: Place, hosts: Hosts) -> None:
    farewell = "echo asked to end; sleep 2; i=0; while [ $i -lt 5000 ]; do echo last $i; i=$((i+1)); done; exit 1"
    # The shell's own word about what it waited for is none of the job's.
    begin = f"exec 2> /dev/null; trap '{farewell}' TERM; echo begun; touch {place.folder}/begun-$SURVEIL_BUILD-1"
    build = hosts.submit(f"{begin}; while true; do sleep 0.1; done")
    assert begun(hosts, build)
    assert place.typed("cancel", build, "--data", str(place.data)).returncode == 0
    assert eventually(partial(hosts.is_whole, build, 1))
    whole = b"begun\nasked to end\n" + b"".join(b"last %d\n" % number for number in range(5_000))
    assert hosts.logs(build, 1)[0] == whole
    assert (hosts.attempt(build, 1)["state"], hosts.attempt(build, 1)["log_bytes"]) == ("cancelled", len(whole))
    assert eventually(lambda: hosts.packed() == [f"test.1{SUFFIX}"])
