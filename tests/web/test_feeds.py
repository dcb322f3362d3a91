"""Badges, cc.xml and feeds: what they say, that nothing in them becomes markup, who sees them, that none is old."""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from surveil.core.model import Build, Status
from surveil.web.feeds.badge import standing_of
from tests.corpora.naughty import NAUGHTY
from tests.store.records import make_build, new
from tests.web.stage import HERE, Stage
from tests.web.world import ATTACKS

ATOM = "{http://www.w3.org/2005/Atom}"
REPO = "https://git.example.org/shop/site.git"
BADGE = "/badge.svg?repo=site.git&ref=main"


def over(number: int, state: Status, **fields: Any) -> Build:
    made: dict[str, Any] = {
        "jobs": (), "repo": REPO, "ref": "refs/heads/main", "state": state, "message": "Show prices\n\nAll of them.",
        "reason": "", "created_at": 1_750_000_000_000 + number * 1000, "started_at": None,
        "finished_at": 1_750_000_000_500 + number * 1000,
    }  # fmt: skip
    return make_build(number, **{**made, **fields})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A branch that broke and is built again, and another that is well."""
    made = Stage(tmp_path)
    made.desk.store.commit(
        new(
            over(1, Status.PASSED), over(2, Status.FAILED, reason="unit failed"), over(3, Status.CANCELLED),
            over(4, Status.PASSED, ref="refs/heads/old"), over(5, Status.RUNNING, finished_at=None),
            over(6, Status.QUEUED, ref="refs/heads/new", finished_at=None),
        )
    )  # fmt: skip
    return made


def words(svg: bytes) -> list[str]:
    return [str(each.text) for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]


def test_a_badge_says_what_the_last_build_with_a_verdict_came_to(stage: Stage) -> None:
    answer = stage.get(BADGE, stage.token())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert words(answer.content) == ["build", "failed"]
    assert words(stage.get(BADGE.replace("main", "old") + "&label=site", stage.token()).content) == ["site", "passed"]
    assert words(stage.get(BADGE.replace("main", "new"), stage.token()).content) == ["build", "running"]


@pytest.mark.parametrize("path", [BADGE.replace("main", "none"), BADGE.replace("site", "none")])
def test_a_badge_of_nothing_says_that_it_does_not_know(stage: Stage, path: str) -> None:
    answer = stage.get(path, stage.token())
    assert (answer.status_code, words(answer.content)) == (404, ["build", "unknown"])


def test_builds_of_several_repositories_say_nothing_of_one() -> None:
    assert standing_of([{"repo": "a", "state": "passed"}, {"repo": "b", "state": "failed"}]) == "unknown"
    assert standing_of([{"repo": "a", "state": "skipped"}, {"repo": "a", "state": "failed"}]) == "failed"


@pytest.mark.parametrize("path", [BADGE, "/cc.xml", "/feed.atom"])
def test_whoever_has_the_newest_is_told_so_and_nobody_keeps_an_old_one(stage: Stage, path: str) -> None:
    first = stage.get(path, stage.token())
    assert first.headers["cache-control"] == "no-cache"
    again = stage.get(path, {**stage.token(), "if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    stage.desk.store.commit(new(over(7, Status.PASSED)))
    stage.app.state.books._remembered.forget()  # noqa: SLF001  # Seconds have passed, as far as it knows.
    changed = stage.get(path, {**stage.token(), "if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_nobody_sees_them_who_may_not(stage: Stage) -> None:
    for path in (BADGE, "/cc.xml", "/feed.atom"):
        answer = stage.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert b"site" not in answer.content
        assert stage.get(path, {"authorization": "Basic YTpi"}).status_code == 401
        assert stage.get(path, {"authorization": "Basic ?"}).status_code == 401


def test_a_reader_that_knows_passwords_only_gives_its_token_as_one(stage: Stage) -> None:
    token = stage.token()["authorization"].removeprefix("Bearer ")
    headers = {"authorization": "Basic " + base64.b64encode(f"anybody:{token}".encode()).decode()}
    for path in (BADGE, "/cc.xml", "/feed.atom"):
        assert stage.get(path, headers).status_code == 200
    # Only here: what a browser sends by itself must never be taken where something can be changed.
    for path in ("/api/v1/builds", "/builds", "/metrics"):
        assert stage.get(path, headers).status_code == 401, path


def test_badges_are_everybodys_only_where_the_operator_says_so(stage: Stage) -> None:
    assert stage.get(BADGE, stage.token()).headers["cross-origin-resource-policy"] == "same-origin"
    stage.app.state.public_badges = True
    answer = stage.get(BADGE)
    assert words(answer.content) == ["build", "failed"]
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    for path in ("/cc.xml", "/feed.atom"):
        assert stage.get(path).status_code == 401


def test_cctray_says_how_each_branch_stands(stage: Stage) -> None:
    stage.public_url = "https://ci.example.org/ci"
    found = ET.fromstring(stage.get("/cc.xml", stage.token()).content)
    assert found.tag == "Projects"
    projects = {each.attrib["name"].rpartition(" ")[2]: each.attrib for each in found}
    assert projects["main"] == {
        "name": f"{REPO} main", "activity": "Building", "lastBuildStatus": "Failure", "lastBuildLabel": "2",
        "lastBuildTime": "2025-06-15T15:06:42.500Z", "webUrl": "https://ci.example.org/ci/builds/5",
    }  # fmt: skip
    assert (projects["old"]["activity"], projects["old"]["lastBuildStatus"]) == ("Sleeping", "Success")
    assert (projects["new"]["lastBuildStatus"], projects["new"]["lastBuildLabel"]) == ("Unknown", "")
    one = ET.fromstring(stage.get("/cc.xml?repo=site.git&ref=old", stage.token()).content)
    assert [each.attrib["name"] for each in one] == [f"{REPO} old"]
    assert len(ET.fromstring(stage.get("/cc.xml?repo=none", stage.token()).content)) == 0


def check_atom(body: bytes) -> list[ET.Element]:
    """What RFC 4287 asks of a feed and its entries; returns these."""
    feed = ET.fromstring(body)
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    for each in (feed, *entries):
        for name in ("id", "title", "updated"):
            (only,) = each.findall(ATOM + name)
            assert only.text
        assert each.findtext(f"{ATOM}id", "").startswith("urn:uuid:")
        assert datetime.fromisoformat(each.findtext(f"{ATOM}updated", "")).tzinfo is not None
        links = [(link.attrib["rel"], link.attrib.get("type")) for link in each.findall(f"{ATOM}link")]
        assert len(links) == len(set(links))
    for entry in entries:
        assert entry.findtext(f"{ATOM}author/{ATOM}name")
        assert len(entry.findall(f"{ATOM}content")) == 1
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(ids) == len(set(ids))
    return entries


def test_a_feed_has_an_entry_for_each_verdict(stage: Stage) -> None:
    entries = check_atom(stage.get("/feed.atom", stage.token()).content)
    titles = [entry.findtext(f"{ATOM}title") for entry in entries]
    assert titles == [
        "passed: site old, Show prices", "cancelled: site main, Show prices", "failed: site main, Show prices",
        "passed: site main, Show prices",
    ]  # fmt: skip
    content = entries[2].findtext(f"{ATOM}content", "")
    assert content.endswith(": failed. unit failed.")
    assert entries[2].find(f"{ATOM}link").attrib["href"] == f"{HERE}/builds/2"  # type: ignore[union-attr]
    failed = check_atom(stage.get("/feed.atom?state=failed", stage.token()).content)
    assert [entry.findtext(f"{ATOM}title") for entry in failed] == [titles[2]]
    assert check_atom(stage.get("/feed.atom?repo=none", stage.token()).content) == []


def test_an_entry_is_the_same_wherever_the_pages_are_served(stage: Stage) -> None:
    first = check_atom(stage.get("/feed.atom", stage.token()).content)
    (stage.folder / "other").mkdir()
    other = Stage(stage.folder / "other")
    other.public_url = "https://ci.example.org/ci"
    other.desk.store.commit(new(over(1, Status.PASSED)))
    (same,) = check_atom(other.get("/feed.atom", other.token()).content)
    assert same.findtext(f"{ATOM}id") == first[-1].findtext(f"{ATOM}id")


def test_no_text_of_a_commit_becomes_markup_nor_breaks_the_document(tmp_path: Path) -> None:
    texts = (*ATTACKS, *NAUGHTY)
    for start in range(0, len(texts), 50):
        (tmp_path / str(start)).mkdir()
        stage = Stage(tmp_path / str(start))
        some = texts[start : start + 50]
        stage.desk.store.commit(
            new(
                *(
                    over(number, Status.FAILED, repo=text or "x", ref=text, message=text, author=text, reason=text)
                    for number, text in enumerate(some, 1)
                )
            )
        )
        assert len(check_atom(stage.get("/feed.atom", stage.token()).content)) == len(some)
        projects = ET.fromstring(stage.get("/cc.xml", stage.token()).content)
        assert {each.tag for each in projects} == {"Project"}
        for text in some[::10]:
            params = {"repo": text, "ref": text, "label": (text or "x")[:40]}
            drawn = ET.fromstring(stage.get("/badge.svg", stage.token(), params=params).content)
            assert {each.tag.rpartition("}")[2] for each in drawn.iter()} <= {
                "svg", "title", "clipPath", "rect", "g", "text"
            }  # fmt: skip
