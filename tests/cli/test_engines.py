"""What `doctor` says of engines, by the versions that they tell."""

from __future__ import annotations

import pytest

from surveil.cli.engines import check_engine, is_fixed, of_versions
from surveil.cli.findings import Health
from tests.engines.docker import Docker
from tests.engines.fixtures import docker_engine

__all__ = ["docker_engine"]


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("1.0.0-rc93", False), ("1.1.5+ds1", False), ("1.1.15", False), ("1.2.7", False), ("1.2.8", True),
        ("1.3.2", False), ("1.3.3", True), ("1.4.0", True), ("2.0.0", True), ("unknown", False),
    ],
)  # fmt: skip
def test_a_runc_with_holes_is_known_by_its_number(version: str, *, fixed: bool) -> None:
    assert is_fixed(version) == fixed


def test_an_engine_is_named_with_the_hole_in_what_it_starts() -> None:
    (good,) = of_versions({"Podman Engine": "4.3.1", "Conmon": "2.1.6"})
    assert (good.health, good.sentence) == (Health.OK, "run by Podman Engine 4.3.1")
    (weak,) = of_versions({"Engine": "20.10.24", "runc": "1.1.5"})
    assert weak.health is Health.WEAK
    assert "runc 1.1.5" in weak.sentence


def test_no_engine_is_no_fault_and_one_that_is_silent_is(
    docker_engine: Docker, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    (none,) = check_engine()
    assert (none.health, none.next) == (Health.OK, "")
    monkeypatch.setenv("DOCKER_HOST", docker_engine.address)
    (found,) = check_engine()
    assert "Engine 20." in found.sentence or "Engine 2" in found.sentence
