"""Images that are fetched: with credentials that nobody else sees, and from registries that do each thing wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.clock import boot_ms
from surveil.core.run_events import Ended, PreparationFailed, StepsChanged
from surveil.execute.containers import engine, fetching
from surveil.execute.containers.container import Containers, chosen
from surveil.execute.containers.engine import NOBODYS, Engine, Resolved
from surveil.execute.containers.fetching import Fetch, Progress, registry_of
from surveil.execute.keeper.entrusted import NOTHING, Entrusted
from surveil.execute.local import LocalRun
from surveil.execute.process import ProcessExecutor
from surveil.protocol import Assign, ImageSpec, SecretUse, ServiceSpec
from tests.engines.broken_registry import broken_registry
from tests.engines.docker import Docker
from tests.engines.images import PROBE
from tests.engines.registry import PASSWORD, USER, private_registry, push
from tests.execute.test_containers import Housed, assign, housed, no_container_left
from tests.execute.test_entrusted import bytes_below
from tests.execute.test_process import ONE, in_a_loop

__all__ = ["assign", "no_container_left"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The host of a registry that asks who is there."""
    (tmp_path / "registry").mkdir()
    with private_registry(tmp_path / "registry") as host:
        yield host


class Trusted(Housed):
    """An executor that gets these, one each time that it asks; it closes them."""

    def __init__(self, data: Path, engine: Docker, opened: list[Entrusted]) -> None:
        super().__init__(data, engine)
        found, why = chosen(engine.address)
        assert found is not None, why
        self.executor = ProcessExecutor(data, "spare", containers=found, open_envelope=lambda _: opened.pop(0))


async def why_not(desk: Housed, order: Assign) -> PreparationFailed:
    """Why an attempt could not be prepared."""
    desk.told.clear()
    desk.executor.hold(order, boot_ms())
    desk.executor.prepare(order)
    failed = [await asyncio.shield(asyncio.ensure_future(super(Housed, desk).hear(PreparationFailed)))]
    desk.executor.forget(ONE)
    await desk.until_clean()
    return failed[0]


@in_a_loop
async def test_an_image_is_fetched_with_credentials_that_no_step_and_no_log_sees(
    tmp_path: Path, assign: Assign, docker_engine: Docker, registry: str
) -> None:
    name, data = f"{registry}/team/probe:1", tmp_path / "data"
    with contextlib.closing(docker_engine.api()) as api:
        push(api, PROBE, name)
    script = "env; cat /proc/*/environ /proc/*/cmdline; touch used; while [ ! -e seen ]; do sleep 0.05; done"
    use = SecretUse(name="REGISTRY", place=":1:1")
    order = replace(assign, spec=replace(housed(script, image=name), secrets=(use,)), envelope="closed")
    handed = Entrusted(registry=f"{USER}:{PASSWORD}\n".encode())
    opened = [handed, handed, Entrusted(registry=b"ci:wrong"), NOTHING]
    async with Trusted(data, docker_engine, opened) as desk:
        await desk.started(order)
        (work,) = data.glob("workspaces/*/work")
        while not (work / "used").exists():
            await desk.soon()
        known = json.dumps(docker_engine.inspect(*docker_engine.names())).encode()
        (work / "seen").touch()
        ended = await desk.hear(Ended)
        text = desk.log()
        kept = bytes_below(data)
        desk.executor.forget(ONE)
        await desk.until_clean()
        assert (ended.reason, len(opened)) == ("", 2)
        assert ended.isolation.startswith(f"container {registry}/team/probe@sha256:")
        for place in (text, known, kept):
            assert PASSWORD.encode() not in place
        with contextlib.closing(docker_engine.api()) as api:
            api.remove_image(name)
        for _ in ("a wrong password", "none"):
            told = await why_not(desk, order)
            reason = told.reason
            assert told.blameless
            assert reason.startswith(f"image {name} cannot be fetched: ")
            assert "wrong" not in reason
            assert "no basic auth" in reason or "unauthorized" in reason


def test_who_looks_for_an_image_here_gives_the_login_to_the_registry_of_the_jobs_own(
    tmp_path: Path, docker_engine: Docker, registry: str
) -> None:
    name = f"{registry}/team/probe:2"
    with contextlib.closing(docker_engine.api()) as api:
        push(api, PROBE, name)
        image, login = ImageSpec(name=name), f"{USER}:{PASSWORD}".encode()
        with LocalRun(tmp_path, engine=docker_engine.address) as local:
            own = replace(housed("true"), image=image)
            assert "cannot be fetched" in local.problem_with(image, own)
            assert "cannot be fetched" in local.problem_with(image, housed("true", image="elsewhere.example/a"), login)
            assert local.problem_with(image, own, login) == ""
        api.remove_image(name)


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    """The host of a registry on which nothing works."""
    with broken_registry() as host:
        yield host


@pytest.mark.parametrize(
    ("how", "sentence"),
    {
        "refuses": "cannot be fetched: .*; is its name right, and the login?",
        "missing": "cannot be fetched: manifest unknown; the registry has no image of this name and tag",
        "nonsense": "cannot be fetched: ",
        "hangs": "cannot be fetched: its registry said nothing for 1500ms",
        "slow": "was not fetched within 4s; it stood at: Downloading",
        "breaks": "was not fetched within 4s; it stood at: Retrying in ",
    }.items(),
)
@in_a_loop
async def test_a_registry_that_does_it_wrong_is_told_of_in_a_sentence_in_bounded_time(
    tmp_path: Path, assign: Assign, docker_engine: Docker, broken: str, *, how: str, sentence: str
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        # Nobody's patience is short but where it is to end: an engine needs seconds on a busy machine.
        if how == "hangs":
            patched.setattr(engine, "QUIET_S", 1.5)
        elif how in {"slow", "breaks"}:
            patched.setattr(engine, "PULL_S", 4.0)
        patched.setattr(fetching, "FIRST_S", 0.2)
        patched.setattr(fetching, "EVERY_S", 0.1)
        name = f"{broken}/{how}/image:1"
        async with Housed(tmp_path / "data", docker_engine) as desk:
            why = await why_not(desk, replace(assign, spec=housed("true", "false", image=name)))
            said = [one for one in desk.told if isinstance(one, StepsChanged)]
    assert re.match(f"image {re.escape(name)} {sentence}", why.reason)
    assert "\n" not in why.reason
    assert why.blameless == (how in {"refuses", "missing"})
    if how == "slow":
        first, second = said[0].steps
        assert (first.state, second.remarks) == ("pending", ())
        texts = [remark.text for one in said for remark in one.steps[0].remarks]
        assert [text for text in texts if f"image {name}: " in text and " of 4 MiB are here after " in text], texts


@pytest.mark.parametrize(
    ("words", "answered"),
    [
        ("pull access denied for pyhton, repository does not exist or may require 'docker login'", True),
        ("reading manifest 9 in docker.io/library/python: requested access to the resource is denied", True),
        ("unauthorized: authentication required", True),
        ("manifest for python:3.99 not found: manifest unknown: manifest unknown", True),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", True),
        ("name unknown: repository name not known to registry", True),
        ('failed to resolve reference "docker.io/library/pyhton:3": docker.io/library/pyhton:3: not found', True),
        ("open /var/lib/docker/tmp/GetImageBlob7: permission denied", False),
        ("write /var/lib/docker/tmp/GetImageBlob7: no space left on device", False),
        ('Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host', False),
        ('error getting credentials: exec: "docker-credential-x": executable file not found in $PATH', False),
    ],
)
def test_what_a_registry_answers_each_machine_would_hear_and_what_an_engine_cannot_do_is_its_own(
    words: str, *, answered: bool
) -> None:
    assert (re.search(engine.ANSWERED, words, re.IGNORECASE) is not None) == answered


@in_a_loop
async def test_a_fetch_that_nobody_wants_any_more_ends(
    tmp_path: Path, assign: Assign, docker_engine: Docker, broken: str
) -> None:
    order = replace(assign, spec=housed("true", image=f"{broken}/slow/image:1"))
    async with Housed(tmp_path / "data", docker_engine) as desk:
        desk.executor.hold(order, boot_ms())
        desk.executor.prepare(order)
        await asyncio.sleep(0.3)
        desk.executor.forget(ONE)
        await desk.until_clean()


def test_how_far_an_image_has_come_is_said_now_and_then() -> None:
    now, said = [0.0], list[str]()
    progress = Progress("tool:1", said.append, lambda: now[0])
    for second in range(60):
        now[0] = float(second)
        progress.take({"status": "Pulling fs layer", "id": "a"})
        if second >= 10:
            progress.take(
                {"status": "Downloading", "id": "a", "progressDetail": {"current": second << 20, "total": 60 << 20}}
            )
            progress.take({"status": "Already exists", "id": "b"})
    assert said == [
        "image tool:1 has been fetched for 5s, and is not here yet",
        "image tool:1: 19 of 60 MiB are here after 20s",
        "image tool:1: 34 of 60 MiB are here after 35s",
        "image tool:1: 49 of 60 MiB are here after 50s",
    ]


@pytest.mark.parametrize(
    ("image", "registry"),
    [("python:3", ""), ("you/tool", ""), ("ghcr.io/you/tool:3", "ghcr.io"), ("localhost/x", "localhost"),
     ("127.0.0.1:5000/x:1", "127.0.0.1:5000"), ("tool@sha256:0", "")],
)  # fmt: skip
def test_a_registry_is_the_host_in_front_of_a_name(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_no_other_registry_sees_the_login() -> None:
    asked: list[tuple[str, bytes]] = []

    class Asked(Engine):
        def __init__(self) -> None:
            """There is none."""

        def resolve(self, image: ImageSpec, fetch: Fetch = NOBODYS) -> Resolved:
            asked.append((image.name, fetch.login))
            return Resolved(id=image.name, digest="", config={})

    service = ServiceSpec(name="a", image=ImageSpec(name="ghcr.io/you/db"), env={})
    other = replace(service, name="b", image=ImageSpec(name="evil.example/db"))
    spec = replace(housed("true", image="ghcr.io/you/tool:3"), services=(service, other))
    found = Containers(Asked()).resolve_all(spec, Fetch(b"you:hush"))
    assert asked == [("ghcr.io/you/tool:3", b"you:hush"), ("ghcr.io/you/db", b"you:hush"), ("evil.example/db", b"")]
    assert [one.id for one in found] == [name for name, _ in asked]


def test_a_login_is_a_user_and_all_behind_the_first_colon() -> None:
    assert Fetch(b"ci:a:b\n").credentials == {"username": "ci", "password": "a:b"}
    assert Fetch().credentials is None
