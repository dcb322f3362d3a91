"""Statuses of commits over real processes: a forge that is away at first, and a process that is killed amid it."""

import signal

import pytest

from surveil.notify.serving import LOCK
from surveil.places import Hold
from tests.forge.played import Mood, PlayedForge
from tests.system.processes import Place, eventually, signal_process
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def test_a_forge_hears_of_each_commit_in_the_end_whoever_dies_meanwhile(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("test ! -e broken"))
    forge = PlayedForge()
    forge.moods = [Mood(status=503, headers=(("Retry-After", "1"),))]
    place.data.mkdir(parents=True, exist_ok=True)
    (place.data / "token").write_text("hush-hush")
    (place.data / "notify.toml").write_text(
        f'[[forge]]\nkind = "gitea"\nurl = "{forge.url}"\ntoken_file = "token"\nprojects = {{"{repo}" = "acme/it"}}\n'
    )
    place.settings["SURVEIL_PUBLIC_URL"] = "https://ci.example.org"
    try:
        with place.up(str(repo)) as up:
            up.wait_for("passed    build 1: repo main ")
            assert eventually(lambda: ("surveil/push", "success", 1) in heard(forge))
            [notify] = place.processes("surveil notify")
            signal_process(notify, signal.SIGKILL, "surveil notify")
            commit(repo, "Break it", broken="")
            up.wait_for("failed    build 2: repo main ")
            assert eventually(lambda: ("surveil/push", "failure", 2) in heard(forge))
            [target] = place.ask("notify", "list")
            assert (target["name"], target["waiting"], target["given_up"]) == ("gitea", 0, 0)
            assert (place.data / "outbox.db").stat().st_mode & 0o077 == 0
    finally:
        forge.close()
    assert place.processes() == []


def test_a_forge_hears_of_a_build_that_was_over_before_whoever_tells_of_it_came_up(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    forge = PlayedForge()
    place.data.mkdir(parents=True, exist_ok=True)
    (place.data / "token").write_text("hush-hush")
    (place.data / "notify.toml").write_text(
        f'[[forge]]\nkind = "gitea"\nurl = "{forge.url}"\ntoken_file = "token"\nprojects = {{"{repo}" = "acme/it"}}\n'
    )
    try:
        held = Hold(place.data, "a test", lock=LOCK)
        with place.up(str(repo)) as up:
            # Until it is let in it ends and is started again, as one does that takes long to come up.
            up.wait_for("passed    build 1: repo main ")
            assert forge.told == []
            held.release()
            assert eventually(lambda: forge.told[-1:] != [] and forge.told[-1].document["state"] == "success")
    finally:
        forge.close()
    assert place.processes() == []


def heard(forge: PlayedForge) -> list[tuple[str, str, int]]:
    """Context, state and build of all that it was told."""
    documents = [told.document for told in forge.told]
    return [(each["context"], each["state"], int(each["target_url"].split("/")[4][:1])) for each in documents]
