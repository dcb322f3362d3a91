"""What is wrong with a request is said in a sentence that names the part, and the keys that there are."""

import json
from typing import Any

import pytest

from surveil.answer.arguments import NAMES_MAX
from surveil.web.api.wrongly import COMPLAINTS_MAX
from tests.web.stage import Stage

API = "/api/v1"
CANCEL, RETRY, GRACE = "POST builds/2/cancel", "POST builds/2/retry", "PUT users/grace"
SOME = "the keys there are `jobs` and `reason`."
GIVEN = "the keys there are `role` and `repo`."


@pytest.mark.parametrize(
    ("route", "body", "sentence"),
    [
        (CANCEL, {"job": []}, f"`job` in the body is unknown: {SOME}"),
        (CANCEL, [1], f"The body must be an object: {SOME}"),
        (CANCEL, {"jobs": "test"}, "`jobs` in the body must be a list."),
        (CANCEL, {"jobs": [1]}, "`jobs/0` in the body must be a text."),
        (CANCEL, {"jobs": [""]}, "`jobs/0` in the body may not be empty."),
        (CANCEL, {"jobs": ["x"] * (NAMES_MAX + 1)}, f"`jobs` in the body may have at most {NAMES_MAX} entries."),
        (CANCEL, {"reason": "x" * 501}, "`reason` in the body may have at most 500 characters."),
        ("POST runners/local-1/drain", {"why": "x"}, "`why` in the body is unknown: the only key there is `reason`."),
        (RETRY, {"failed": "so"}, "`failed` in the body must be `true` or `false`."),
        ("POST builds", {}, "The body cannot be used: name the repository as `repo` or as `repo_url`, one of them."),
        ("POST builds", {"repo": "lib", "inputs": []}, "`inputs` in the body must be an object."),
        ("POST join-tokens", {"uses": 1.5}, "`uses` in the body must be a whole number."),
        (
            "PUT hooks",
            '{"repo": "lib", "secret": "", "overlap_ms": NaN}',
            "`overlap_ms` in the body must be a whole number.",
        ),
        ("POST join-tokens", {"uses": 0}, "`uses` in the body must be at least 1."),
        (GRACE, {}, "`roles` in the body is missing: the keys there are `roles` and `was`."),
        (GRACE, {"roles": [{"repo": "lib"}]}, f"`roles/0/role` in the body is missing: {GIVEN}"),
        (GRACE, {"roles": [{"role": "run", "\x1brol": 1}]}, f"`roles/0/�rol` in the body is unknown: {GIVEN}"),
        (GRACE, {"roles": [{"role": "all"}]}, "`roles/0/role` in the body must be `read`, `run` or `admin`."),
        ("GET builds?limit=all", None, "`limit` in the query must be a whole number."),
        (
            "GET audit?since=20806",
            None,
            "`since` in the query cannot be used: write a time, as in `2026-11-22T17:00:00Z`.",
        ),
        ("GET builds/1/jobs/test/attempts/x", None, "`attempt` in the address must be a whole number."),
    ],
)
def test_a_wrong_part_is_named_with_what_it_must_be(stage: Stage, route: str, body: Any, sentence: str) -> None:
    method, path = route.split(" ")
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    about = {} if content is None else {"content": content}
    headers = {**stage.token("admin"), "content-type": "application/json"}
    answer = stage.request(method, f"{API}/{path}", headers, **about)
    document = answer.json()
    assert (answer.status_code, document["detail"]) == (422, sentence)
    assert document["complaints"][0]["because"] == sentence
    assert stage.dispatcher.wishes == []


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        ("", "", "The body is missing: the keys there are `roles` and `was`. Send a JSON object with the header"),
        (
            "roles=",
            "text/plain",
            "The body must be an object: the keys there are `roles` and `was`. Send a JSON object",
        ),
        (
            '{"roles": [{"role": "run", "repo": "\\ud800"}]}',
            "application/json",
            "`roles/0/repo` in the body must be a text",
        ),
        ("{,", "application/json", "The body is no JSON: Expecting property name enclosed in double quotes."),
    ],
)
def test_what_is_no_json_is_told_what_to_send(stage: Stage, content: str, kind: str, sentence: str) -> None:
    headers = {**stage.token("admin"), **({"content-type": kind} if kind else {})}
    answer = stage.request("PUT", f"{API}/users/grace", headers, content=content)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(sentence)


@pytest.mark.parametrize(
    ("route", "body", "twice"),
    [
        ("PUT users/grace", '{"roles": [{"role": "read"}], "roles": [{"role": "admin"}]}', "roles"),
        ("PUT users/grace", '{"roles": [{"role": "read", "ro\\u006ce": "admin"}]}', "role"),
        ("POST builds/2/cancel", '{"jobs": ["lint"], "jobs": []}', "jobs"),
        ("POST questions/cancel", '{"build": 1, "build": 2}', "build"),
    ],
)
def test_what_stands_twice_in_a_body_is_not_taken_for_either(stage: Stage, route: str, body: str, twice: str) -> None:
    method, path = route.split(" ")
    headers = {**stage.token("admin"), "content-type": "application/json"}
    answer = stage.request(method, f"{API}/{path}", headers, content=body)
    document = answer.json()
    assert (answer.status_code, document.get("exit_code")) == (400, 2), document
    assert document["detail"] == f"`{twice}` stands more than once in an object of the body: say it once."
    assert stage.dispatcher.wishes == []
    assert stage.passes.people.listed() == []


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"roles": "\xff"}', b'{"roles": ' + b"9" * 5000 + b"}"])
def test_what_no_reader_gets_to_the_end_of_is_told_what_to_send(stage: Stage, body: bytes) -> None:
    headers = {**stage.token("admin"), "content-type": "application/json"}
    answer = stage.request("PUT", f"{API}/users/grace", headers, content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("The body cannot be read: send JSON in UTF-8, ")


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [("GET /builds/2/cancel", "POST"), ("PUT /api/v1/builds/2/retry", "POST"), ("PATCH /api/v1/status", "GET")],
)
def test_an_address_that_is_asked_in_another_way_says_in_which(stage: Stage, asked: str, allowed: str) -> None:
    method, path = asked.split(" ")
    answer = stage.request(method, path, stage.token("admin"))
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["detail"].startswith(f"This address is asked in another way, with {allowed}: ")


@pytest.mark.parametrize(
    "path",
    [
        "builds?repo=/srv/a&repo=/srv/b", "builds?state=passed&state=", "builds?re%70o=&repo=a",
        "builds/1/jobs/test/log/rows/follow?behind=1.0&at=0&at=0",
    ],
)  # fmt: skip
def test_what_stands_twice_in_a_query_is_not_taken_for_either(stage: Stage, path: str) -> None:
    answer = stage.get(f"{API}/{path}", stage.token("admin"))
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith(" stands more than once in the query: say it once.")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("builds?autor=ada", "`autor` in the query is unknown: did you mean `author`?"),
        ("builds/1?x=1", "`x` in the query is unknown: this address takes no argument"),
        ("builds/1/story?<script>", "`<script>` in the query is unknown: known are `job`"),
    ],
)
def test_what_nobody_knows_in_a_query_is_not_passed_over(stage: Stage, path: str, hint: str) -> None:
    answer = stage.get(f"{API}/{path}", stage.token("admin"))
    assert (answer.status_code, answer.json()["detail"]) == (400, hint)


def test_a_list_in_a_query_is_said_entry_by_entry(stage: Stage) -> None:
    stage.app.state.stopping.set()
    places = "behind=1.0&behind=1.5"
    answer = stage.get(f"{API}/builds/1/jobs/test/log/rows/follow?{places}", stage.token("admin"))
    assert answer.status_code == 200


def test_of_many_mistakes_the_first_are_said_and_of_long_names_the_beginning(stage: Stage) -> None:
    body: dict[str, Any] = {"roles": [{"role": "all"}] * (COMPLAINTS_MAX + 1)}
    answer = stage.request("PUT", f"{API}/users/grace", stage.token("admin"), json=body).json()
    assert [each["at"] for each in answer["complaints"]] == [f"body/roles/{at}/role" for at in range(COMPLAINTS_MAX)]
    body = {"roles": [], "x" * 100_000: 1}
    answer = stage.request("PUT", f"{API}/users/grace", stage.token("admin"), json=body).json()
    assert [len(each["at"]) < 100 for each in answer["complaints"]] == [True]
    assert len(answer["detail"]) < 200
