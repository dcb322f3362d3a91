"""Peers that a person takes out, and others that take their place, with real processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.errors import ExitCode
from tests.net.stage import free_ports
from tests.system.processes import Place, eventually
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def token(place: Place, role: str) -> str:
    return place.typed("token", "create", "--role", role, "--data", str(place.data)).stdout.strip()


def revoke(place: Place, name: str) -> None:
    done = place.typed("peer", "revoke", name, "--data", str(place.data))
    assert done.returncode == 0, done.stderr
    assert "token create --role" in done.stderr


def live(place: Place) -> list[tuple[str, str]]:
    return [(each["role"], each["name"]) for each in place.ask("peers") if each["revoked_at"] is None]


def joined(place: Place, *words: str, folder: Path, role: str) -> tuple[str, ...]:
    return (*words, "--data", str(folder), "--name", "spare", "--join", token(place, role))


def test_a_lost_peer_of_any_role_is_revoked_and_replaced_under_its_name(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    roles = {"runner": ("runner",), "observer": ("observer", str(repo))}
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        for role, words in roles.items():
            folder = place.folder / role
            with place.start(*joined(place, *words, folder=folder, role=role)) as first:
                first.wait_for("connected")
                assert (role, "spare") in live(place)
                taken = place.run(*joined(place, *words, folder=place.folder / "other", role=role))
                assert taken.returncode == ExitCode.NOT_ALLOWED
                assert f"surveil peer revoke spare --role {role}" in taken.stderr
                shutil.rmtree(place.folder / "other", ignore_errors=True)
                revoke(place, "spare")
                assert (role, "spare") not in live(place)
                if role == "observer":
                    # It has nothing to say until a ref moves.
                    commit(repo, "Second", more="more")
                assert first.wait() == ExitCode.NOT_ALLOWED, first.text
                assert "this key was revoked" in first.text
            with place.start(*joined(place, *words, folder=place.folder / f"new-{role}", role=role)) as second:
                second.wait_for("connected")
                assert (role, "spare") in live(place)
            revoke(place, "spare")
    assert eventually(lambda: place.processes() == [])


def test_a_revoked_client_is_refused_and_the_dispatchers_own_cannot_be(place: Place) -> None:
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        away = ("--data", str(place.folder / "laptop"))
        assert place.typed("client", "--join", token(place, "client"), "--name", "laptop", *away).returncode == 0
        assert place.typed("status", *away).returncode == 0
        revoke(place, "laptop")
        refused = place.typed("status", *away)
        assert refused.returncode == ExitCode.NOT_ALLOWED
        assert "surveil token create --role client" in refused.stderr
        own = place.typed("peer", "revoke", "local", "--data", str(place.data))
        assert own.returncode == ExitCode.NOT_ALLOWED
        assert place.typed("status", "--data", str(place.data)).returncode == 0
    assert eventually(lambda: place.processes() == [])


ROLES = {"runner": ("runner",), "observer": ("observer", "repo")}


@pytest.fixture(scope="module")
def with_another_key(common_place: Place) -> Iterator[Place]:
    """Where a peer of each role has joined a dispatcher, and another one is at its address now."""
    place = common_place
    make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    serve = ("dispatcher", "--listen", f"tcp://127.0.0.1:{free_ports()}", "--data")
    with place.start(*serve, str(place.data)) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        for role, words in ROLES.items():
            with place.start(*joined(place, *words, folder=place.folder / f"peer-{role}", role=role)) as peer:
                peer.wait_for("connected")
    with place.start(*serve, str(place.folder / "other")) as other:
        other.wait_for("dispatcher is ready")
        yield place
    assert eventually(lambda: place.processes() == [])


@pytest.mark.parametrize("role", ROLES)
def test_a_dispatcher_with_another_key_ends_a_peer_with_one_sentence(with_another_key: Place, role: str) -> None:
    ended = with_another_key.run(*ROLES[role], "--data", str(with_another_key.folder / f"peer-{role}"))
    assert ended.returncode == ExitCode.UNREACHABLE
    last = ended.stderr.strip().splitlines()[-1]
    assert f"does not hold the key of this {role}'s dispatcher" in last
