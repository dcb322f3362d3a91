"""A day with surveil, as the README promises it: a push, its log live in a browser, the runner killed amid it, the seam
in the log, the verdict told to a forge and by mail, and the retry that mends it.
"""

import re

import pytest

from tests.forge.played import PlayedForge
from tests.net.stage import free_ports
from tests.notify.post_office import PostOffice
from tests.system.browsing import browser, sign_in
from tests.system.processes import Place, eventually, kill, with_descendants
from tests.system.repository import commit, make_repository, pipeline
from tests.system.test_statuses import heard
from tests.system.test_watching import agent_pid

pytestmark = pytest.mark.timeout(300)

# The second build talks until its runner is killed, and then fails; the others pass.
SUITE = (
    "[ $SURVEIL_BUILD != 2 ] && exit; "
    "i=1; while [ $SURVEIL_ATTEMPT = 1 ]; do echo line $i; i=$((i+1)); sleep 0.05; done; "
    'echo "Error: the way is not free"; exit 1'
)


def write_rules(place: Place, repo: object, forge: PlayedForge, office: PostOffice) -> None:
    place.data.mkdir(parents=True)
    (place.data / "token").write_text("hush-hush")
    (place.data / "notify.toml").write_text(
        f'[[forge]]\nkind = "gitea"\nurl = "{forge.url}"\ntoken_file = "token"\nprojects = {{"{repo}" = "acme/it"}}\n'
        f'[[mail]]\nserver = "127.0.0.1:{office.port}"\nfrom = "surveil@example.org"\nto = ["ada@example.org"]\n'
    )


def test_a_push_is_watched_killed_told_and_mended(place: Place) -> None:
    address = place.settings["SURVEIL_HTTP"] = f"127.0.0.1:{free_ports()}"
    place.settings["SURVEIL_PUBLIC_URL"] = f"http://{address}"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(SUITE))
    forge, office = PlayedForge(), PostOffice()
    try:
        write_rules(place, repo, forge, office)
        with place.up(str(repo)) as up, browser() as seen:
            up.wait_for("passed    build 1: repo main ")
            page = seen.page
            sign_in(page, place)

            commit(repo, "Talk of it")
            page.wait_for_selector("#build-2")
            page.goto(f"http://{address}/builds/2/jobs/test")
            page.locator(".row .text", has_text=re.compile(r"^line \d+$")).first.wait_for()
            kill(with_descendants(agent_pid(place)))
            page.wait_for_selector("#log[data-state=over]")
            assert page.locator(".mark.seam").all_inner_texts() == ["attempt 2 on local-1"]
            page.get_by_text("Error: the way is not free").wait_for()

            assert eventually(lambda: ("surveil/push", "failure", 2) in heard(forge))
            assert eventually(lambda: len(office.letters) == 1)
            broken = office.letters[0].message
            text = broken.get_body(("plain",)).get_content()  # type: ignore[union-attr]
            assert "Error: the way is not free" in text
            assert "Talk of it" in text

            page.goto(f"http://{address}/builds/2")
            page.click("text=Only what failed")
            page.wait_for_url("**/builds/3")
            page.wait_for_selector("h1 .passed")
            assert eventually(lambda: ("surveil/push", "success", 3) in heard(forge))
            assert eventually(lambda: len(office.letters) == 2)
            assert seen.complaints == []
    finally:
        forge.close()
        office.close()
    assert place.processes() == []
