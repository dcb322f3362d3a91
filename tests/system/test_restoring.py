"""An installation that is lost comes back from a copy, over real processes: builds and logs, people and roles, tokens
of programs, webhooks, and who did what.
"""

import json
import shutil

import httpx2
import pytest

from surveil.web.whereabouts import address_of
from tests.system.processes import Place
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(600)

WATCHED = "https://git.example.org/team/lib"


def typed(place: Place, *words: str) -> str:
    done = place.typed(*words, "--data", str(place.data))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def listed(place: Place, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(typed(place, *words, "--json"))
    return found


def test_a_lost_installation_comes_back_from_a_copy_with_its_people_its_acts_and_its_builds(place: Place) -> None:
    place.settings["SURVEIL_HTTP"] = "127.0.0.1:0"
    repo, copy = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo hello")), place.folder / "copy"
    with place.up(str(repo)) as up:
        up.wait_for("passed    build 1: ")
        typed(place, "user", "add", "grace", "--role", "run", "--repo", WATCHED)
        token = typed(place, "login", "--token", "--person", "grace", "--scope", "run")
        typed(place, "hook", "secret", WATCHED, "--make")
        typed(place, "retry", "1")
        up.wait_for("passed    build 2: ")
        (place.data / "sign-in.toml").write_text("")
        made = place.run("db", "backup", str(copy), "--data", str(place.data))
        assert made.returncode == 0, made.stderr
        assert "Not in it, so copy them yourself where they matter: sign-in.toml." in made.stderr
        typed(place, "user", "add", "eve", "--role", "admin")
        before = {words: listed(place, *words) for words in (("user", "ls"), ("audit",), ("hook", "ls"))}
        refused = place.run("dispatcher", "--data", str(place.data))
        assert (refused.returncode, "is used by a dispatcher (process " in refused.stderr) == (7, True)
    shutil.rmtree(place.data)
    shutil.copytree(copy, place.data)
    checked = place.run("db", "check", "--data", str(place.data))
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.strip().endswith("sound; builds: 2, jobs: 2, attempts: 2, logs: 2")
    with place.up(str(repo)) as up:
        # It goes on, and nothing of it has to join again.
        up.wait_for("  pages ")
        number = typed(place, "retry", "2")
        assert int(number) > 1_000_000
        up.wait_for(f"passed    build {number}: ")
        said = (place.data / "up.log").read_text()
        assert "started from a backup: what was done since it was made is forgotten" in said
        assert [person["name"] for person in before["user", "ls"]] == ["eve", "grace"]
        assert listed(place, "user", "ls") == [person for person in before["user", "ls"] if person["name"] != "eve"]
        assert listed(place, "hook", "ls") == before["hook", "ls"]
        check_acts(listed(place, "audit"), before["audit",])
        assert "All " in place.typed("audit", "--check", "--data", str(place.data)).stderr
        assert [(build["id"], build["state"]) for build in place.ask("builds")] == [
            (int(number), "passed"), (2, "passed"), (1, "passed"),
        ]  # fmt: skip
        assert typed(place, "logs", "1") == "hello"
        place.wait_for_pages()
        bearer = {"Authorization": f"Bearer {token}"}
        about = httpx2.get(f"{address_of(place.data)}/api/v1/me", headers=bearer)
        assert (about.status_code, about.json()["person"]) == (200, "grace")
    assert place.processes() == []


def check_acts(found: list[dict[str, object]], before: list[dict[str, object]]) -> None:
    """The same lines, but the one after the copy was made; one that says where the copy begins; and what came then."""
    assert (before[0]["what"], str(before[0]["subject"])[:4]) == ("user", "eve ")
    begins = [act["what"] for act in found].index("copied")
    assert (found[begins]["way"], found[begins]["person"]) == ("surveil", None)
    assert found[begins + 1 :] == before[1:]
    assert "retry" in {act["what"] for act in found[:begins]}
    assert {"retry", "user", "hook", "pass"} <= {act["what"] for act in before}
