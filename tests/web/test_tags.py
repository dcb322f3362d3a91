"""Tags of documents: whoever has one already is told so, and whoever has another one gets this one."""

from __future__ import annotations

import pytest

from surveil.frozen import replace
from tests.store.records import changed
from tests.web.stage import Stage

API = "/api/v1"
DOCUMENTS = [
    f"{API}/builds", f"{API}/builds/1", f"{API}/builds/2", f"{API}/builds?jobs=false", f"{API}/builds/1/jobs/test",
    f"{API}/builds/1/story", f"{API}/builds/1/tests", f"{API}/runners", f"{API}/repositories", f"{API}/openapi.json",
]  # fmt: skip


@pytest.mark.parametrize("path", DOCUMENTS)
def test_whoever_has_a_document_is_not_sent_it_again(stage: Stage, path: str) -> None:
    headers = stage.token()
    first = stage.get(path, headers)
    tag = first.headers["etag"]
    assert (first.status_code, tag[0], tag[-1]) == (200, '"', '"')
    for shown in (tag, f'"x", W/{tag}', "*", f'{tag},"y"'):
        again = stage.get(path, {**headers, "if-none-match": shown})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), shown
        assert not {"content-type", "content-length"} & {*again.headers}
    other = stage.get(path, {**headers, "if-none-match": '"x"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("path", [f"{API}/builds", f"{API}/builds/1", f"{API}/builds?jobs=false"])
def test_whoever_has_what_is_no_longer_so_is_sent_what_is(stage: Stage, path: str) -> None:
    headers = stage.token()
    tag = stage.get(path, headers).headers["etag"]
    build = stage.desk.store.builds[1]
    stage.desk.store.commit(changed(replace(build, reason="it was the weather")))
    again = stage.get(path, {**headers, "if-none-match": tag})
    assert (again.status_code, again.headers["etag"] == tag) == (200, False)
    assert b"it was the weather" in again.content


def test_programs_may_keep_documents_and_browsers_may_not(stage: Stage) -> None:
    path = f"{API}/builds/1"
    by_token, by_session = stage.get(path, stage.token()), stage.get(path, {"cookie": f"surveil={stage.session()}"})
    assert by_token.headers["cache-control"] == "private, no-cache"
    assert by_session.headers["cache-control"] == "no-store"
    assert by_token.headers["etag"] == by_session.headers["etag"]
    through_proxy = stage.get(path, {"cookie": f"surveil={stage.session()}", "authorization": "Basic YTpi"})
    assert (through_proxy.status_code, through_proxy.headers["cache-control"]) == (200, "no-store")


def test_nothing_else_has_a_tag(stage: Stage) -> None:
    headers = stage.token("run")
    cookie = {"cookie": f"surveil={stage.session()}"}
    answers = [
        stage.get(f"{API}/builds/77", {**headers, "if-none-match": "*"}),
        stage.get(f"{API}/builds/1", {"if-none-match": "*"}),
        stage.get("/builds/1", {**cookie, "if-none-match": "*"}),
        stage.post(f"{API}/builds/2/cancel", {**headers, "if-none-match": "*"}),
        stage.get(f"{API}/builds/1/jobs/test/attempts/1/log", {**headers, "if-none-match": "*"}),
    ]
    assert [answer.status_code for answer in answers] == [404, 401, 200, 200, 200]
    assert not any("etag" in answer.headers for answer in answers)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)


def test_documents_that_differ_have_tags_that_differ(stage: Stage) -> None:
    headers = stage.token()
    tags = {stage.get(path, headers).headers["etag"] for path in DOCUMENTS[:4]}
    assert len(tags) == 4
