"""Mail over real processes: a push breaks something, and the next one mends it."""

import pytest

from tests.notify.post_office import Mood, PostOffice
from tests.system.processes import Place, eventually
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def test_who_wants_to_know_is_written_to_when_something_breaks_and_when_it_is_mended(place: Place) -> None:
    script = "if test -e broken; then echo compiling; echo 'error: it is broken' >&2; exit 3; fi"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(script))
    office = PostOffice()
    office.moods = [Mood(answer="451 come back")]
    place.data.mkdir(parents=True, exist_ok=True)
    (place.data / "notify.toml").write_text(
        f'[[mail]]\nserver = "127.0.0.1:{office.port}"\nfrom = "ci@example.org"\nto = ["ada@example.org"]\n'
    )
    place.settings["SURVEIL_PUBLIC_URL"] = "https://ci.example.org"
    try:
        with place.up(str(repo)) as up:
            up.wait_for("passed    build 1: repo main ")
            commit(repo, "Break it", broken="")
            up.wait_for("failed    build 2: repo main ")
            (repo / "broken").unlink()
            commit(repo, "Mend it")
            up.wait_for("passed    build 3: repo main ")
            assert eventually(lambda: len(office.letters) == 2)
            broken, fixed = (letter.message for letter in office.letters)
            assert broken["Subject"] == "Broken: main of repo: test (build 2)"
            body = broken.get_body(("plain",))
            assert body is not None
            text = body.get_content()
            assert "https://ci.example.org/builds/2/jobs/test/attempts/1" in text
            assert "  | error: it is broken" in text
            assert " Break it (by " in text
            assert fixed["Subject"] == "Fixed: main of repo (build 3)"
            assert fixed["References"] == broken["References"]
            [target] = place.ask("notify", "list")
            assert (target["name"], target["delivered"], target["waiting"]) == ("mail", 2, 0)
    finally:
        office.close()
    assert place.processes() == []
