"""What a step in a container may not do, tried from within: a hostile step against every wall that there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from surveil.protocol import Assign, ImageSpec
from tests.engines.docker import Docker
from tests.execute.conftest import job, make_repository
from tests.execute.test_containers import Housed, housed
from tests.execute.test_process import in_a_loop

FORBIDDEN = {
    "mount a file system": "mount -t tmpfs none /mnt",
    "mount over what is there": "mount --bind /bin /etc",
    "make a device": "mknod /tmp/null c 1 3",
    "make a namespace": "unshare -m true",
    "make a namespace of users": "unshare -r true",
    "change root": "chroot / true",
    "give a file away": "touch /tmp/own && chown 1234 /tmp/own",
    "read what is another's": "cat /tmp/secret-of-another",
    "set the clock": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
    "set the host's name": "hostname other",
    "be more important": "nice -n -20 true",
    "be spared when memory runs out": "echo -1000 > /proc/self/oom_score_adj",
    "write to the kernel's settings": "echo 1 > /proc/sys/kernel/dmesg_restrict",
    "restart the machine": "echo b > /proc/sysrq-trigger",
    "read the kernel's memory": "[ $(dd if=/proc/kcore bs=1 count=1 2>/dev/null | wc -c) = 1 ]",
    "write to /sys": "echo 1 > /sys/kernel/mm/ksm/run",
    "change a control group": "mkdir /sys/fs/cgroup/pids/x",
    "write beside the driver's pipes": "touch /.surveil/x",
    "replace the driver": "echo > /.surveil/driver",
    "remove a pipe": "rm /.surveil/orders",
    "end the driver": "kill -9 1; kill -STOP 1; ! kill -0 1",
    "send raw packets": "ping -c 1 -w 1 127.0.0.1",
    "find the engine's socket": "ls /run/docker.sock /var/run/docker.sock 2>/dev/null | grep .",
    "find the machine's disks": "ls /dev/sd* /dev/vd* /dev/nvme* /dev/mem /dev/kmsg 2>/dev/null | grep .",
    "see the machine's processes": "ps | grep -q -e [d]ockerd -e [s]ystemd -e [c]ontainerd",
    "see the machine's users": "grep -q . /etc/shadow",
    "leave an image of its memory": "ulimit -c unlimited",
    "read a job's variables from the container's first process": "tr '\\0' '\\n' < /proc/1/environ | grep FROM_JOB",
}
ROOT_MAY = {
    "change root",
    "give a file away",
    "read what is another's",
}
"""What root may do to what is in its container, and nobody else."""
FACTS = """
grep -q '^CapEff:.*{rights}$' /proc/self/status && echo these rights
grep -q '^CapBnd:.*{rights}$' /proc/self/status && echo no others to be had
grep -q '^NoNewPrivs:.*1$' /proc/self/status && echo none by another program
grep -q '^Seccomp:.*2$' /proc/self/status && echo filtered
[ "$(cat /proc/1/comm)" = sh ] && echo its own processes
"""


@pytest.fixture
def assign(tmp_path: Path) -> Assign:
    sha = make_repository(tmp_path / "repo")
    return Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=1, build=7, repo=str(tmp_path / "repo"),
        ref="refs/heads/main", sha=sha, spec=job("true"),
    )  # fmt: skip


@pytest.mark.parametrize("root", [False, True], ids=["runner", "root"])
@in_a_loop
async def test_nothing_that_is_forbidden_can_be_done(
    tmp_path: Path, assign: Assign, docker_engine: Docker, *, root: bool
) -> None:
    forbidden = {name: words for name, words in FORBIDDEN.items() if not (root and name in ROOT_MAY)}
    assert len(forbidden) >= 25
    tries = [f"if ( {words} ) >/dev/null 2>&1; then echo {name!r} can be done; fi" for name, words in forbidden.items()]
    tries.append(f"[ ! -e {tmp_path}/data/attempts ] && [ ! -e {tmp_path}/repo/hello ] && echo alone")
    facts = FACTS.format(rights="00000000800405fb" if root else "0" * 16)
    spec = housed("\n".join(["mkdir /mnt", facts, *tries]), shell="sh", limits={"root": root})
    async with Housed(tmp_path / "data", docker_engine) as desk:
        ended = await desk.ended(replace(assign, spec=spec))
        assert desk.text.decode().splitlines() == [
            "these rights", "no others to be had", "none by another program", "filtered", "its own processes", "alone",
        ]  # fmt: skip
        assert ended.outcome == "passed"


@in_a_loop
async def test_what_strangers_sent_has_no_network(tmp_path: Path, assign: Assign, docker_engine: Docker) -> None:
    made: list[dict[str, object]] = []
    async with Housed(tmp_path / "data", docker_engine) as desk:
        for trusted in (True, False):
            desk.told.clear()
            spec = replace(job("echo here; sleep 1000"), image=ImageSpec(name="probe:1"))
            await desk.started(replace(assign, spec=spec, trusted=trusted))
            while b"here" not in desk.log():
                await desk.soon()
            made.append(docker_engine.inspect(*docker_engine.names())["HostConfig"])
            desk.executor.kill(("7/test", 1))
            await desk.lost()
    assert [host["NetworkMode"] for host in made] == ["default", "none"]
    assert {(host["Privileged"], host["PidMode"], host["IpcMode"], host["UTSMode"]) for host in made} == {
        (False, "", "private", "")
    }
