"""Services beside a job, in containers of a real engine: ready before its steps, reached by name, gone after them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from surveil.core.run_events import Ended, KeeperLost, LogGrew, Prepared, StepsChanged
from surveil.execute.containers.container import chosen
from surveil.execute.keeper.contained import Contained
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.keeper.servicelog import LOG_BYTES_MAX
from surveil.execute.local import LocalRun
from surveil.execute.process import ProcessExecutor
from surveil.execute.scene import Scene
from surveil.execute.serving import served_again
from surveil.protocol import Assign, ImageSpec, JobSpec, SecretUse, ServiceSpec
from tests.engines.docker import Docker
from tests.engines.fixtures import add_servers, own_engine
from tests.engines.images import PROBE
from tests.engines.servers import DATABASE, PLAIN, REDIS
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_process import ONE, PATIENCE_S, in_a_loop

__all__ = ["assign", "no_container_left"]
PASSWORD = "hunter2-of-the-database"
_LAST = f"beginning as root with {PASSWORD} / serving as db"
PAGE = "wget -qO- http://db:5432/page"


def service(name: str = "db", image: str = DATABASE, *, memory_bytes: int = 0, **how: Any) -> ServiceSpec:
    how.setdefault("env", {"DB_PASSWORD": PASSWORD} if image == DATABASE else {})
    how.setdefault("interval_ms", 100)
    return ServiceSpec(name=name, image=ImageSpec(name=image, memory_bytes=memory_bytes), **how)


def served(*runs: str, services: tuple[ServiceSpec, ...], **how: Any) -> JobSpec:
    return replace(housed(*runs, **how), services=services)


class Trusted(Housed):
    """An executor whose attempts have the password as a secret."""

    def __init__(self, data: Path, engine: Docker) -> None:
        super().__init__(data, engine)
        found, why = chosen(engine.address)
        assert found is not None, why
        trusted = Entrusted(variables={"DB_PASSWORD": PASSWORD})
        self.executor = ProcessExecutor(data, "spare", containers=found, open_envelope=lambda _: trusted)


@pytest.mark.parametrize("trusted", [True, False], ids=["own", "of strangers"])
@in_a_loop
async def test_a_database_is_ready_before_the_first_step_reached_by_its_name_and_gone_with_its_log_kept(
    tmp_path: Path, assign: Assign, serving: Docker, trusted: bool
) -> None:
    spec = served(PAGE, "echo last", services=(service(env={"DB_SLEEP": "0.3"}, secrets=("DB_PASSWORD",)),))
    spec = replace(spec, secrets=(SecretUse(name="DB", env="DB_PASSWORD"),))
    async with Trusted(tmp_path / "data", serving) as desk:
        await desk.started(replace(assign, spec=spec, trusted=trusted))
        ended = await desk.hear(Ended)
        assert (ended.outcome, ended.reason) == ("passed", "")
        first, _, database = ended.steps
        assert (database.name, database.state, database.exit_code) == ("service db", "passed", None)
        log, at = desk.log(), database.log_at
        assert at is not None
        assert log[:at] == b"the page of its own words\nlast\n"
        assert log[at:] == b"beginning as root with ***\nserving as db\n"
        assert first.started_after_ms is not None
        assert database.started_after_ms is not None
        assert first.started_after_ms >= database.started_after_ms + 300
        desk.executor.forget(ONE)
        await desk.until_clean()
    with contextlib.closing(serving.api()) as api:
        assert not api.volumes()["Volumes"], "what the image keeps for itself goes as well"


@in_a_loop
async def test_real_servers_that_are_asked_whether_they_are_ready(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    asked = ("/bin/sh", "-c", 'redis-cli -p "$PORT" ping | grep -q PONG')
    words = ("redis-server", "--port", "6380")
    services = (
        service("cache", REDIS, port=6379),
        service("queue", REDIS, command=words, env={"PORT": "6380"}, health=asked),
    )
    run = (
        "redis-cli -h cache set name surveil; redis-cli -h queue -p 6380 get name; redis-cli -h cache get name; "
        "redis-cli -h queue -p 6380 info server | grep -c redis_version"
    )
    async with Housed(tmp_path / "data", serving) as desk:
        ended = await desk.ended(replace(assign, spec=served(run, image=REDIS, services=services)))
        assert ended.outcome == "passed", desk.text
        assert desk.text.startswith(b"OK\n\nsurveil\n1\n")
        assert [step.name for step in ended.steps] == ["s0", "service cache", "service queue"]
        cache, queue = (step.log_at for step in ended.steps[1:])
        assert b"port=6379" in desk.text[cache:queue]
        assert b"port=6380" in desk.text[queue:]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (
            service(env={}),
            "service 'db' ended with exit code 3 before it was ready; its log ends with: error: no DB_PASSWORD is set",
        ),
        (
            service(ready_ms=1_000, health=("/bin/sh", "-c", "echo not yet; exit 1")),
            f"service 'db' was not ready within 1 s; its check: not yet; its log ends with: {_LAST}",
        ),
        (
            service(ready_ms=1_000, port=1),
            f"service 'db' was not ready within 1 s; its log ends with: {_LAST}",
        ),
        (
            service(command=("no-such-program",), image=PROBE),
            "service 'db' ended with exit code 127 before it was ready",
        ),
        (service(ready_ms=1_000, health=("sleep", "100")), "service 'db' was not ready within 1 s; its log ends with"),
    ],
    ids=["ends", "is not well", "does not listen", "cannot start", "hangs"],
)  # fmt: skip
@in_a_loop
async def test_a_service_that_does_not_get_ready_is_an_error_that_says_why(
    tmp_path: Path, assign: Assign, serving: Docker, wanted: ServiceSpec, sentence: str
) -> None:
    if wanted.image.name == PROBE:
        wanted = replace(wanted, health=("true",), interval_ms=60_000)
    async with Housed(tmp_path / "data", serving) as desk:
        ended = await desk.ended(replace(assign, spec=served("echo never", services=(wanted,))))
        assert ended.outcome == "errored"
        assert sentence in ended.reason
        assert ended.blameless == ("ended" in sentence), "a machine may be slow, and does not end programs"
        assert ended.steps[0].state == "skipped"
        assert b"never" not in desk.text


@in_a_loop
async def test_a_service_that_dies_under_the_steps_is_said_where_it_did(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    eats = "nc -l -p 99 </dev/null; exec dd if=/dev/zero of=/dev/null bs=200M count=1"
    hungry = service("hog", PLAIN, command=("sh", "-c", eats), port=99, memory_bytes=64 << 20)
    run = 'echo before; nc hog 99 </dev/null; while [ ! -e "$HOME/go" ]; do sleep 0.05; done; echo after; exit 4'
    async with Housed(tmp_path / "data", serving) as desk:
        await desk.started(replace(assign, spec=served(run, services=(hungry,))))
        await until_service_is("failed", desk)
        (home,) = (tmp_path / "data" / "workspaces").glob("*/home")
        (home / "go").touch()
        ended = await desk.hear(Ended)
        why = "service 'hog' was killed because it went over its memory limit of 64 MiB"
        assert (ended.outcome, ended.reason) == ("failed", f"step 's0' ended with exit code 4; {why}")
        assert [(remark.at, remark.text) for remark in ended.steps[0].remarks] == [(len(b"before\n"), why)]
        assert (ended.steps[1].state, ended.steps[1].exit_code) == ("failed", 128 + signal.SIGKILL)
        desk.executor.forget(ONE)
        await desk.until_clean()


async def until_service_is(state: str, desk: Housed) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not any(isinstance(one, StepsChanged) and one.steps[-1].state == state for one in desk.told):
            await desk.soon()


@in_a_loop
async def test_services_end_with_their_keeper_although_nobody_asks_the_engine(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    spec = served("echo here; sleep 1000", services=(service(),))
    async with Housed(tmp_path / "data", serving) as desk:
        await desk.started(replace(assign, spec=spec))
        await desk.hear(LogGrew)
        assert [name.partition("_")[2] for name in serving.names()] == ["", "db"]
        (folder,) = (tmp_path / "data" / "attempts").iterdir()
    # Without its agent it goes on, and without its keeper nothing does.
    assert len(serving.names()) == 2
    os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_S):
        while serving.running():  # noqa: ASYNC110  # A container has no event.
            await asyncio.sleep(0.05)
    async with Housed(tmp_path / "data", serving) as desk:
        (found,) = desk.found
        assert (found.launched, found.kept, found.ended) == (True, False, None)
        assert (found.steps[1].log_at, desk.log()[5:]) == (
            5,
            b"beginning as root with " + PASSWORD.encode() + b"\nserving as db\n",
        )
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_what_services_said_is_kept_although_their_keeper_is_killed(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    spec = served("echo here; sleep 1000", services=(service(),))
    async with Housed(tmp_path / "data", serving) as desk:
        await desk.started(replace(assign, spec=spec))
        await desk.hear(LogGrew)
        desk.executor.kill(ONE)
        lost = await desk.hear(KeeperLost)
        log = desk.log()
        assert log == b"here\n" + b"beginning as root with " + PASSWORD.encode() + b"\nserving as db\n"
        assert lost.log_bytes == len(log)
        steps = [one for one in desk.told if isinstance(one, StepsChanged)][-1].steps
        assert [(step.name, step.log_at) for step in steps] == [("s0", 0), ("service db", 5)]
        desk.executor.forget(ONE)
        await desk.until_clean()


@in_a_loop
async def test_services_of_an_agent_that_was_killed_before_it_had_a_keeper_are_swept(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    spec = served("true", services=(service(),))
    async with Housed(tmp_path / "data", serving) as desk:
        order = replace(assign, spec=spec)
        desk.executor.hold(order, 1)
        desk.executor.prepare(order)
        await desk.hear(Prepared)
        folder = next(iter(desk.executor._attempts.values())).folder  # type: ignore[attr-defined]  # noqa: SLF001
        await asyncio.to_thread(desk.executor._housing.place, folder)  # type: ignore[attr-defined]  # noqa: SLF001
        assert len(serving.names()) == 2
        # Its attempt is known, and so are both.
        await asyncio.to_thread(desk.executor._housing.sweep, lambda: [folder.path.name])  # type: ignore[attr-defined]  # noqa: SLF001
        assert len(serving.names()) == 2
    (folder.path / "accepted.json").unlink()
    async with Housed(tmp_path / "data", serving) as desk, asyncio.timeout(PATIENCE_S):
        while serving.names():  # noqa: ASYNC110  # A container has no event.
            await asyncio.sleep(0.05)
        await desk.until_clean()


@pytest.mark.parametrize("how", ["cancelled", "timed out", "killed"])
@in_a_loop
async def test_an_attempt_ends_while_its_services_are_awaited(
    tmp_path: Path, assign: Assign, serving: Docker, how: str
) -> None:
    wanted = service(health=("false",))
    timeout_ms = 1_500 if how == "timed out" else 60_000
    spec = served("echo never", services=(wanted,), timeout_ms=timeout_ms)
    async with Housed(tmp_path / "data", serving) as desk:
        await desk.started(replace(assign, spec=spec))
        await until_service_is("running", desk)
        match how:
            case "cancelled":
                desk.executor.signal(ONE, 60_000)
                assert (await desk.hear(Ended)).outcome == "cancelled"
            case "timed out":
                ended = await desk.hear(Ended)
                assert (ended.outcome, ended.reason) == ("failed", "timed out after 1500 ms")
            case _:
                desk.executor.kill(ONE)
                await desk.hear(KeeperLost)
        assert b"never" not in desk.log()
        desk.executor.forget(ONE)
        await desk.until_clean()


FORBIDDEN = {
    "mount": "mount -t tmpfs none /mnt",
    "make a device": "mknod /tmp/null c 1 3",
    "make a namespace": "unshare -m true",
    "send raw packets": "ping -c 1 -w 1 127.0.0.1",
    "replace its driver": "echo > /.surveil/driver",
    "see the attempt's work": "ls $WORK",
    "see the processes of the steps": "ps | grep -q '[s]leep 987'",
    "write to the kernel's settings": "echo 1 > /proc/sys/kernel/dmesg_restrict",
    "change the network": "ip link set lo down",
    "find the engine's socket": "ls /run/docker.sock /var/run/docker.sock 2>/dev/null | grep .",
}


@in_a_loop
async def test_a_service_may_change_its_user_and_do_nothing_to_the_machine_or_the_job(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    tries = [f"({what}) >/dev/null 2>&1 && echo {shlex.quote(name)}" for name, what in FORBIDDEN.items()]
    facts = "grep -e CapBnd -e NoNewPrivs -e 'Seccomp:' /proc/self/status"
    script = "\n".join([facts, *tries, "echo all tried", "nc -l -p 99 </dev/null", "sleep 1000"])
    hostile = service("hostile", PLAIN, command=("sh", "-c", script), env={"WORK": str(tmp_path)}, port=99)
    async with Housed(tmp_path / "data", serving) as desk:
        ended = await desk.ended(replace(assign, spec=served("sleep 987 & true", services=(hostile,))))
        assert ended.outcome == "passed"
        told = {"CapBnd:\t00000000000004eb", "NoNewPrivs:\t1", "Seccomp:\t2"}
        assert {*desk.text.decode().splitlines()} == told | {"all tried"}


@in_a_loop
async def test_an_engine_that_stops_takes_services_and_job_and_leaves_nothing(tmp_path: Path, assign: Assign) -> None:
    with own_engine() as engine:
        add_servers(engine, tmp_path)
        spec = served("echo here; sleep 1000", services=(service(),))
        async with Housed(tmp_path / "data", engine) as desk:
            await desk.started(replace(assign, spec=spec))
            await desk.hear(LogGrew)
            await asyncio.to_thread(engine.stop)
            assert (await desk.hear(Ended)).outcome == "errored"
            assert b"serving as db" in desk.log(), "what it said needs no engine"
            desk.executor.forget(ONE)
            await desk.until_clean()
            await asyncio.to_thread(engine.start)
            desk.told.clear()
            assert (await desk.ended(replace(assign, spec=served(PAGE, services=(service(),))))).outcome == "passed"
            assert engine.names() == []


@in_a_loop
async def test_a_server_that_talks_without_end_is_in_the_way_of_no_step(
    tmp_path: Path, assign: Assign, serving: Docker
) -> None:
    says = "for i in $(seq 18); do seq 100000 199999; done; nc -l -p 99 </dev/null; while :; do seq 100000 199999; done"
    talks = service("talker", PLAIN, command=("sh", "-c", says))
    run = "for i in 1 2 3 4 5; do seq 2000; done; until nc talker 99 </dev/null 2>&1; do sleep 0.1; done; echo last"
    async with Housed(tmp_path / "data", serving) as desk:
        ended = await desk.ended(replace(assign, spec=served(run, services=(talks,))))
        step, talker = ended.steps
        assert (ended.outcome, step.remarks) == ("passed", ())
        assert talker.log_at is not None
        lines = desk.text[: talker.log_at].decode().splitlines()
        assert [*(str(number) for _ in range(5) for number in range(1, 2001)), "last"] == [
            line for line in lines if not line.startswith("nc: ")
        ]
        kept = desk.text[talker.log_at :]
        (dropped,) = talker.remarks
        assert LOG_BYTES_MAX // 2 <= len(kept) <= LOG_BYTES_MAX + (1 << 18)
        assert dropped.text.startswith("the first ")
        whole = kept.decode().splitlines()[1:-1]
        assert all(int(after) in {int(line) + 1, 100_000} for line, after in pairwise(whole)), "and none in between"


def test_a_job_here_and_now_has_services_too(tmp_path: Path, serving: Docker) -> None:
    said: list[bytes] = []
    with LocalRun(tmp_path, engine=serving.address) as local:
        ended = local.run(served(PAGE, services=(service(),)), on_output=said.append)
    assert ended.outcome == "passed"
    assert b"".join(said).startswith(b"the page of its own words\n")


def test_services_are_there_again_with_all_they_wrote_for_who_looks_around(tmp_path: Path, serving: Docker) -> None:
    seen: list[str] = []
    found, why = chosen(serving.address)
    assert found is not None, why

    def look_around(scene: Scene) -> None:
        found.restart(scene.container)
        with contextlib.closing(Contained(scene.order._replace(first_process=0, cgroups=()))) as contained:
            contained.open()
            for _ in range(2):
                with served_again(scene, found) as hear:
                    hear()
                    seen.append(asked(serving, scene.container, "redis-cli", "-h", "cache", "get", "name"))
                    seen.append(asked(serving, f"{scene.container}_cache", "cat", "/tmp/dump.rdb")[:5])

    cache = service("cache", REDIS, port=6379)
    spec = served(
        "redis-cli -h cache set name surveil; redis-cli -h cache save; exit 3", image=REDIS, services=(cache,)
    )
    with contextlib.closing(found), LocalRun(tmp_path, engine=serving.address) as local:
        ended = local.run(spec, on_output=lambda _: None, afterwards=look_around)
    assert ended.exit_code == 3
    assert seen == ["surveil\n", "REDIS"] * 2


def asked(engine: Docker, container: str, *words: str) -> str:
    with contextlib.closing(engine.api()) as api:
        return bytes(api.exec_start(api.exec_create(container, list(words))["Id"])).decode(errors="replace")
