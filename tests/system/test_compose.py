"""The services that Docker Compose makes of an installation, as the how-to says to type them: an image is built, each
part runs as a container of its own, and commits get their verdicts.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import docker
import httpx2
import pytest
import yaml

from surveil.errors import ExitCode
from tests.engines import base
from tests.engines.docker import Docker
from tests.engines.fixtures import own_engine
from tests.engines.images import PROBE
from tests.net.stage import free_ports
from tests.system.processes import eventually
from tests.system.repository import commit, git, make_repository, pipeline

ROOT: Final = Path(__file__).parents[2]
HOW_TO: Final = ROOT / "docs" / "how-to" / "compose.md"
CONTEXT: Final = ("deploy", "surveil", ".dockerignore", "constraints.txt", "pyproject.toml", "LICENSE", "README.md")
USER: Final = 10001
"""Who the containers are."""
PATIENCE_S: Final = 600
PACKAGE: Final = "docker-compose"
UNCOMPILED: Final = (
    "import os, sys, surveil.cli.reading, surveil.dispatcher, surveil.web.serving; "
    "print([each for each, it in sys.modules.items() if not os.path.exists(getattr(it, '__cached__', None) or '/')])"
)
"""Says which modules a process compiles as it starts."""
ROLES: Final = {"dispatcher", "join", "observer", "runner", "web"}


@functools.cache
def compose() -> list[str]:
    """What Compose is called here: a part of Docker's own command, or a program of its own."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(words[0])
            and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0
        ):
            return words
    pytest.skip(f"type `sudo apt install {PACKAGE}`")


def typed(section: str) -> list[str]:
    """The blocks of shell of one section."""
    ((body),) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)


def resolved(*words: str, folder: Path = ROOT / "deploy", **settings: str) -> dict[str, Any]:
    """The services as Compose reads them, by their names."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "SURVEIL_REPOS": "/srv/git/it.git", **settings}
    done = subprocess.run(
        [*compose(), *words, "config"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = yaml.safe_load(done.stdout)
    services: dict[str, Any] = found["services"]
    return services


# ---- what the files say


def test_each_service_is_nobody_and_writes_nothing_but_its_volumes() -> None:
    services = resolved("--profile", "notify")
    assert set(services) == ROLES | {"notify"}
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices", "user"} & set(service), name
        assert service.get("read_only", False) is (name != "runner"), name
        assert service["restart"] == ("no" if name == "join" else "unless-stopped"), name
        assert "docker.sock" not in json.dumps(service), name
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"web"}
    assert "127.0.0.1" in json.dumps(published)


def test_the_socket_is_the_runners_alone_and_only_with_the_second_file() -> None:
    services = resolved("-f", "compose.yaml", "-f", "compose.engine.yaml", SURVEIL_ENGINE_GROUP="998")
    assert [name for name, service in services.items() if "docker.sock" in json.dumps(service)] == ["runner"]
    assert services["runner"]["group_add"] in (["998"], [998])
    assert services["runner"]["cap_drop"] == ["ALL"]


def test_what_is_not_said_is_asked_for() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(
        [*compose(), "config"], cwd=ROOT / "deploy", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "which repositories are watched" in done.stderr


# ---- what comes of them


class Installation:
    """A checkout in a folder, an engine, and a shell in which commands of the how-to are typed."""

    def __init__(self, folder: Path, engine: Docker) -> None:
        self.folder = folder
        self.engine = engine
        self.pages = free_ports()
        self.checkout = folder / "checkout"
        self.checkout.mkdir()
        for name in CONTEXT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.checkout / name)
        programs = folder / "bin"
        programs.mkdir()
        # Where Compose is a program of its own it has to be told that nobody sits at a terminal.
        script = f'#!/bin/sh\n[ "$1" = compose ] || exec {shutil.which("docker")} "$@"\nshift\n'
        alone = "" if compose() == ["docker", "compose"] else '[ "$1" = exec ] && shift && set -- exec -T "$@"\n'
        real = f"exec {shutil.which(compose()[0])}{' compose' * (len(compose()) - 1)}"
        (programs / "docker").write_text(f'{script}{alone}{real} "$@"\n')
        (programs / "docker").chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "DOCKER_HOST": engine.address,
            "COMPOSE_PROJECT_NAME": "surveil", "SURVEIL_BASE": "base:1", "SURVEIL_PAGES": str(self.pages),
            "SURVEIL_RUNNER": str(folder / "runner"),
            "SURVEIL_ENGINE_SOCKET": engine.address.removeprefix("unix://"),
        }  # fmt: skip

    def types(self, *blocks: str, folder: str = "deploy") -> str:
        """Type blocks into one terminal; what they print."""
        done = subprocess.run(
            # What is typed comes from no standard input: `exec` would take the rest of it for its own.
            ["bash", "-ec", "\n".join(blocks)], stdin=subprocess.DEVNULL, cwd=self.checkout / folder,
            env=self.environment, text=True, capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.logs()[-6000:]}"
        return done.stdout

    def logs(self) -> str:
        """What the services say."""
        done = subprocess.run(
            ["docker", "compose", "logs", "--tail", "30"], cwd=self.checkout / "deploy", env=self.environment,
            text=True, capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        return done.stdout

    def asks(self, *words: str) -> Any:
        """What a command beside the dispatcher answers; None while that one is still starting.

        The engine itself is asked to run it: a Compose that starts for each look takes more of the processors than all
        that is looked at.
        """
        with contextlib.closing(self.engine.api()) as api:
            command = ["surveil", *words, "--json"]
            inside = api.exec_create(self.containers()["dispatcher"]["Id"], command)["Id"]
            said, told = api.exec_start(inside, demux=True)
            code = api.exec_inspect(inside)["ExitCode"]
        if code == ExitCode.UNREACHABLE:
            return None
        assert code == 0, f"{told}\n{self.logs()[-6000:]}"
        return json.loads(said)

    def verdict(self, sha: str) -> str:
        """What becomes of the build of a commit."""

        def over() -> str:
            found = [build["state"] for build in self.asks("builds") or () if build["sha"] == sha]
            return found[0] if found and found[0] in {"passed", "failed", "errored", "cancelled"} else ""

        until = time.monotonic() + PATIENCE_S / 2
        while not (state := over()):
            assert time.monotonic() < until, self.logs()
            time.sleep(2)
        return state

    def containers(self) -> dict[str, dict[str, Any]]:
        """All of them, by the names of their services."""
        with contextlib.closing(self.engine.api()) as api:
            found = api.containers(all=True, filters={"label": "com.docker.compose.project=surveil"})
            return {one["Labels"]["com.docker.compose.service"]: api.inspect_container(one["Id"]) for one in found}

    def close(self) -> None:
        """Leave nothing of it: a network would outlive its engine."""
        with contextlib.closing(self.engine.api()) as api:
            for one in api.containers(all=True):
                with contextlib.suppress(docker.errors.APIError):
                    api.remove_container(one["Id"], force=True, v=True)
            for network in api.networks(filters={"label": "com.docker.compose.project=surveil"}):
                api.remove_network(network["Id"])


@pytest.fixture
def installation() -> Iterator[Installation]:
    if why := base.missing():
        pytest.skip(why)
    compose()
    # Short, and open on the way: containers are another user.
    folder = Path(tempfile.mkdtemp(prefix="surveil-compose-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with own_engine() as engine:
            with contextlib.closing(engine.api()) as api:
                base.make_base(api, "base:1", folder)
            with contextlib.closing(Installation(folder, engine)) as made:
                yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
@pytest.mark.timeout(1800)  # An image is built, with all that surveil stands on, on a machine that may be busy.
def test_what_the_how_to_says_to_type_makes_an_installation_that_builds_commits(installation: Installation) -> None:
    here = installation
    work = make_repository(here.folder / "work", __surveil__yml=pipeline("echo hello from $(id -u) on $SURVEIL_RUNNER"))
    bare = here.folder / "project.git"
    git(here.folder, "clone", "-q", "--bare", str(work), str(bare))
    own(bare, USER)
    # What is watched lies on this machine, so that its observer has to be shown it.
    override = {"services": {"observer": {"volumes": [f"{bare}:/srv/git/project.git:ro"]}}}
    (here.checkout / "deploy" / "compose.override.yaml").write_text(json.dumps(override))

    start, look = typed("Start")
    said = here.types(start.replace("https://example.org/project.git", "/srv/git/project.git"), folder=".")
    link = said.strip().splitlines()[-1]
    assert link.startswith(f"http://127.0.0.1:{here.pages}/")
    assert httpx2.get(link).status_code == 200
    assert eventually(lambda: httpx2.get(f"http://127.0.0.1:{here.pages}/readyz").status_code == 200)
    first = git(work, "rev-parse", "HEAD").strip()
    assert here.verdict(first) == "passed"
    assert f"hello from {USER} on runner" in here.types("docker compose exec dispatcher surveil logs 1")
    assert "1 online" in here.types(look.splitlines()[0])
    assert here.types(f'docker compose exec dispatcher python3 -c "{UNCOMPILED}"').strip() == "[]"
    containers = here.containers()
    assert set(containers) == ROLES
    assert containers["join"]["State"]["ExitCode"] == 0
    for name, each in containers.items():
        assert each["Config"]["User"] == "surveil", name
        assert each["HostConfig"]["ReadonlyRootfs"] is (name != "runner"), name
        assert each["State"]["Running"] is (name != "join"), name

    drain, upgrade, back = typed("What is started")[0].splitlines()
    here.types(drain, upgrade, back)
    here.types("docker compose restart")
    second = push(work, bare, "Second")
    assert here.verdict(second) == "passed"

    engine, without = typed("Jobs in containers")
    socket, folder = here.environment["SURVEIL_ENGINE_SOCKET"], here.environment["SURVEIL_RUNNER"]
    engine = engine.replace("/run/docker.sock", socket).replace("sudo ", "").replace("/srv/surveil-runner", folder)
    here.types(engine.replace("compose.engine.yaml", "compose.engine.yaml:compose.override.yaml"))
    inside = f"version: 1\njobs:\n  test:\n    image: {PROBE}\n    steps:\n      - run: test -n $FROM_IMAGE\n"
    third = push(work, bare, "Third", inside)
    assert here.verdict(third) == "passed"

    here.types(without)
    assert "runner" not in here.containers()

    stop, remove = typed("Stop, and take it away")[0].splitlines()
    here.types(stop, remove)
    assert here.containers() == {}
    with contextlib.closing(here.engine.api()) as api:
        assert not api.volumes(filters={"label": "com.docker.compose.project=surveil"})["Volumes"]
        assert not api.networks(filters={"label": "com.docker.compose.project=surveil"})


def push(work: Path, bare: Path, subject: str, text: str | None = None) -> str:
    """A further commit in the repository that is watched."""
    sha = commit(work, subject, **({} if text is None else {"__surveil__yml": text}))
    own(bare, os.getuid())
    git(work, "push", "-q", str(bare), "HEAD:main")
    own(bare, USER)
    return sha


def own(folder: Path, user: int) -> None:
    """Give a folder to somebody: git reads no repository of others."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)
