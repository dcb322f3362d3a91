"""The pages in a real browser, over real processes: the link of `up`, a push that shows itself, an order, a retry; and
what is collected of all that.
"""

import re
from urllib.request import urlopen

import pytest

from tests.net.stage import free_ports
from tests.system.browsing import browser, sign_in
from tests.system.processes import Place
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def test_whoever_opens_the_link_of_up_sees_what_happens_and_can_act(place: Place) -> None:
    place.settings["SURVEIL_HTTP"] = "127.0.0.1:0"
    numbers = place.settings["SURVEIL_METRICS"] = f"127.0.0.1:{free_ports()}"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo hello", "test ! -e broken"))
    with place.up(str(repo)) as up, browser() as seen:
        up.wait_for("passed    build 1: repo main ")
        page = seen.page
        sign_in(page, place)
        page.wait_for_selector("#build-1 .passed")
        # Nobody loads the page again: the row comes by itself, and then its verdict.
        commit(repo, "Break it <img src=x onerror=alert(1)>", broken="")
        page.wait_for_selector("#build-2 .failed")
        assert page.inner_text("#build-2 .subject") == "Break it <img src=x onerror=alert(1)>"
        page.click("#build-2 a")
        page.wait_for_selector("h1 .failed")
        page.click("text=Only what failed")
        page.wait_for_url("**/builds/3")
        page.wait_for_selector("h1 .failed")
        page.click("nav >> text=Runners")
        page.click("text=cordon")
        page.wait_for_selector(".cordoned")
        page.click("text=uncordon")
        page.wait_for_selector(".online")
        with urlopen(f"http://{numbers}/metrics") as answer:
            text = answer.read().decode()
        assert re.search(r'^surveil_builds_total{verdict="failed"} 2.0$', text, re.MULTILINE)
        assert re.search(r'^surveil_runners{state="online"} 1.0$', text, re.MULTILINE)
        assert seen.complaints == []
        page.click("text=Sign out")
        page.wait_for_selector("text=surveil login")
        # What the page asked for once more before it was gone is refused.
        assert [each for each in seen.complaints if "401" not in each] == []
    assert place.processes() == []
