"""The HTTP API: the documents of `--json`, who gets them, and what is said where something is wrong."""

import json

import pytest

from surveil.core.model import Status
from surveil.web.ids import uuid_of
from tests.store.records import make_build, new
from tests.web.events import events_of
from tests.web.stage import CLUSTER, Stage

API = "/api/v1"
LOG = b"".join(b"line %d\n" % number for number in range(1000))
LOG_AT = f"{API}/builds/1/jobs/test/attempts/1/log"


def test_builds_are_listed_and_found_by_number_and_uuid(stage: Stage) -> None:
    headers = stage.token()
    listed = stage.get(f"{API}/builds", headers).json()
    assert [build["id"] for build in listed["builds"]] == [2, 1]
    one = stage.get(f"{API}/builds/1", headers).json()
    assert one["uuid"] == uuid_of(1, CLUSTER)
    assert one == stage.get(f"{API}/builds/{one['uuid']}", headers).json()
    assert {**stage.desk.ask("build", build=1), "uuid": one["uuid"]} == one
    assert stage.get(f"{API}/builds/1/jobs/test", headers).json() == one["jobs"][0]
    assert stage.get(f"{API}/builds/1/jobs/test/attempts/1", headers).json() == one["jobs"][0]["attempts"][0]


def test_a_list_has_the_builds_of_an_author(stage: Stage) -> None:
    ada = make_build(3, jobs=(), author="Ada <ada@example.org>", state=Status.PASSED)
    stage.desk.store.commit(new(ada))
    for author in ("ada", "ada@example.org", "Ada%20%3Cada@example.org%3E"):
        found = stage.get(f"{API}/builds?author={author}&jobs=false", stage.token()).json()
        assert [(build["id"], build["author"]) for build in found["builds"]] == [(3, ada.author)]


def test_a_list_turns_pages(stage: Stage) -> None:
    headers = stage.token()
    first = stage.get(f"{API}/builds?limit=1", headers).json()
    assert ([build["id"] for build in first["builds"]], first["next"]) == ([2], 2)
    second = stage.get(f"{API}/builds?limit=1&before={first['next']}", headers).json()
    assert ([build["id"] for build in second["builds"]], second["next"]) == ([1], None)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/builds/77", 404),
        ("/builds/nonsense", 404),
        ("/builds/1/jobs/nobody", 404),
        ("/builds/1/jobs/test/attempts/9", 404),
        ("/builds?limit=0", 422),
        ("/builds?limit=x", 422),
        ("/builds/1/jobs/test/attempts/x/log", 422),
        ("/nowhere", 404),
    ],
)
def test_what_is_wrong_is_a_problem_with_a_sentence(stage: Stage, path: str, status: int) -> None:
    answer = stage.get(API + path, stage.token())
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    document = answer.json()
    assert document["status"] == status
    assert document["detail"]


def test_the_installation_at_a_glance_says_who_cannot_be_told(stage: Stage) -> None:
    away = {"name": "ours", "waiting": 3, "waiting_since": None, "problem": "it answers 401"}
    stage.outbox = [away]
    headers = stage.token()
    assert stage.get(f"{API}/status", headers).json()["outbox"] == [away]
    asked = stage.post(f"{API}/questions/status", headers, json={}).json()
    assert asked["body"]["outbox"] == [away]
    shown = stage.get("/", {"cookie": f"surveil={stage.session()}"}).text
    assert "<bdi>ours</bdi>, for which 3 wait: <bdi>it answers 401</bdi>" in shown


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer svt_x"}, {"authorization": "Basic YTpi"}])
def test_nobody_unknown_reads_anything(stage: Stage, headers: dict[str, str]) -> None:
    routes = {path: ways["get"] for path, ways in stage.app.openapi()["paths"].items() if "get" in ways}
    assert len(routes) > 10
    for path, described in routes.items():
        taken = [each["name"] for each in described.get("parameters", []) if each["in"] == "query"]
        for name, value in (("{build}", "1"), ("{job}", "test"), ("{attempt}", "1"), ("{name}", "x")):
            path = path.replace(name, value)  # noqa: PLW2901
        params = {name: value for name, value in {"job": "test", "attempt": 1}.items() if name in taken}
        answer = stage.get(path, headers, params=params)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "script" not in answer.text


def test_a_token_allows_its_scope_and_no_more(stage: Stage) -> None:
    wish = f"{API}/builds/2/cancel"
    assert stage.post(wish, stage.token("read")).status_code == 403
    assert stage.dispatcher.wishes == []
    done = stage.post(wish, stage.token("run"), json={"reason": "not needed"})
    assert (done.status_code, done.json()) == (200, {"build": 2, "state": "queued"})
    assert stage.dispatcher.wishes == [("cancel", {"build": 2, "jobs": [], "reason": "not needed"})]


def test_wishes_say_whose_they_are_where_no_reason_is_given(stage: Stage) -> None:
    stage.post(f"{API}/builds/2/cancel", stage.token("run"))
    again = stage.post(f"{API}/builds/1/retry", stage.token("run"), json={"failed": True})
    assert again.status_code == 201
    (_, cancel), (what, retry) = stage.dispatcher.wishes
    assert cancel["reason"] == "cancelled by ada"
    assert (what, retry["build"], retry["failed"]) == ("retry", 1, True)


def test_an_argument_may_be_anything_and_is_refused_in_a_sentence(stage: Stage) -> None:
    for what, about in (("build", {"build": {}}), ("builds", {"repo": [1]}), ("log", {"job": {}, "wait_ms": {}})):
        answer = stage.post(f"{API}/questions/{what}", stage.token(), json=about)
        assert (answer.status_code, "must be" in answer.json()["detail"]) == (400, True), what


def test_a_command_is_told_what_jobs_wait_for_by_who_alone_knows_it(stage: Stage) -> None:
    headers = stage.token()
    for what, about, known in (
        ("build", {"build": 1}, []), ("build", {"build": 2}, ["build"]), ("builds", {"limit": 5}, ["builds"]),
        ("builds", {"state": "failed"}, []), ("builds", {"brief": True}, []),
    ):  # fmt: skip
        stage.dispatcher.asked.clear()
        body = stage.post(f"{API}/questions/{what}", headers, json=about).json()["body"]
        assert stage.dispatcher.asked == known, about
        stage.dispatcher.away = True
        assert stage.post(f"{API}/questions/{what}", headers, json=about).json()["body"] == body
        stage.dispatcher.away = False


def test_a_key_that_nobody_knows_is_refused(stage: Stage) -> None:
    answer = stage.post(f"{API}/builds/2/cancel", stage.token("run"), json={"job": ["test"]})
    assert answer.status_code == 422
    assert stage.dispatcher.wishes == []


@pytest.mark.parametrize(
    ("wanted", "status", "found"),
    [
        ("", 200, LOG),
        ("bytes=0-4", 206, LOG[:5]),
        ("bytes=100-", 206, LOG[100:]),
        ("bytes=-7", 206, LOG[-7:]),
        ("bytes=8000-999999", 206, LOG[8000:]),
        (f"bytes={len(LOG)}-", 416, b""),
        ("lines=1-2", 200, LOG),
        ("bytes=9-4", 416, b""),
    ],
)
def test_a_log_is_read_whole_or_in_ranges(stage: Stage, wanted: str, status: int, found: bytes) -> None:
    answer = stage.get(LOG_AT, {**stage.token(), **({"range": wanted} if wanted else {})})
    assert (answer.status_code, answer.content) == (status, found)
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_last_lines_of_a_log(stage: Stage) -> None:
    assert stage.get(f"{LOG_AT}?tail=2", stage.token()).text == "line 998\nline 999\n"


def test_a_log_is_followed_to_its_end_and_again_from_the_last_event(stage: Stage) -> None:
    path = f"{API}/builds/1/jobs/test/log/follow?attempt=1"
    events = events_of(stage.get(path, stage.token()).text)
    assert "".join(each["text"] for kind, _, each in events if kind == "piece").encode() == LOG
    assert events[-1][0] == "end"
    rest = events_of(stage.get(path, {**stage.token(), "last-event-id": "1.8000"}).text)
    assert "".join(each["text"] for kind, _, each in rest if kind == "piece").encode() == LOG[8000:]
    assert stage.get(path, {**stage.token(), "last-event-id": "nonsense"}).status_code == 400


def test_reading_goes_on_while_the_dispatcher_is_away(stage: Stage) -> None:
    stage.dispatcher.away = True
    headers = stage.token("run")
    assert [build["id"] for build in stage.get(f"{API}/builds", headers).json()["builds"]] == [2, 1]
    assert stage.get(f"{API}/builds/2", headers).json()["state"] == "queued"
    assert stage.get(LOG_AT, headers).content == LOG
    gone = stage.post(f"{API}/builds/2/cancel", headers)
    assert (gone.status_code, gone.json()["exit_code"]) == (503, 4)
    assert stage.get("/readyz").status_code == 503
    assert stage.get("/healthz").status_code == 200


def test_reading_costs_the_dispatcher_nothing(stage: Stage) -> None:
    headers = stage.token()
    for path in ("/builds", "/builds/1", "/builds/1/story", "/builds/1/tests", "/builds/1/artifacts"):
        assert stage.get(API + path, headers).status_code == 200
    assert stage.dispatcher.asked == []


def test_the_description_names_every_route_and_is_what_openapi_is(stage: Stage) -> None:
    document = json.loads(stage.get(f"{API}/openapi.json").text)
    assert document["openapi"].startswith("3.")
    assert f"{API}/builds/{{build}}/retry" in document["paths"]
    for path, ways in document["paths"].items():
        for way, route in ways.items():
            assert list(route["responses"]["404"]["content"]) == ["application/problem+json"], (way, path)
            assert list(route["responses"]["422"]["content"]) == ["application/problem+json"], (way, path)
