"""GitHub's buttons to run checks again: a wish for a retry, where somebody allowed it, and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from surveil.client import Answered
from surveil.core.model import Status
from surveil.errors import UnreachableError
from surveil.store.hooks import KEPT_MS
from tests.store.records import make_build, make_job, new
from tests.web.recorded import recorded
from tests.web.stage import CLUSTER, Stage
from tests.web.test_hooks import OTHER, REPO, SECRET, deliver, github

SHA: Final = "c" * 40
HTTPS: Final = "https://example.org/team/lib"
"""The same repository, as its observer watches it."""


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """Build 7 of the repository failed, and build 8 is of another one and the same commit."""
    for repo in (REPO, OTHER):
        stage.hooks.set(repo, SECRET, now=stage.now, overlap_ms=0)
    for number, repo in ((7, HTTPS), (8, OTHER)):
        stage.desk.store.commit(
            new(
                make_build(number, repo=repo, sha=SHA, state=Status.FAILED, mid=f"push:{number}"),
                make_job(number, state=Status.FAILED, repo=repo),
            )
        )
    stage.hooks.allow(REPO, retry=True)
    return stage


def pressed(stage: Stage, event: str = "check_run", *, delivery: str = "d-1", **fields: Any) -> tuple[int, str]:
    """Press the button of a check run, as it was recorded but for these fields; what is answered."""
    [payload, *_] = [each for each in recorded()[event] if each["action"] == "rerequested"]
    addresses = {"clone_url": "https://example.org/team/lib.git", "ssh_url": REPO, "git_url": None, "html_url": None}
    check = payload[event] | {"head_sha": SHA} | fields
    changed = {**payload, event: check, "repository": payload["repository"] | addresses}
    body = json.dumps(changed).encode()
    answer = deliver(stage, "github", body, github(body, event=event, delivery=delivery))
    return answer.status_code, answer.text


def wished(stage: Stage) -> list[tuple[int, list[str]]]:
    """Which builds were asked for again, and of these which jobs."""
    assert {what for what, _ in stage.dispatcher.wishes} <= {"retry"}
    return [(about["build"], about["jobs"]) for _, about in stage.dispatcher.wishes]


def test_a_check_run_of_a_job_is_built_again_in_the_name_of_who_pressed_the_button(stage: Stage) -> None:
    status, text = pressed(stage, external_id=f"{CLUSTER}:7/test")
    assert (status, json.loads(text)) == (202, {"repo": REPO, "heard": "a retry", "build": 99})
    assert wished(stage) == [(7, ["test"])]
    [behalf] = [each for each in stage.dispatcher.behalves if each is not None]
    assert behalf.person.endswith(" at GitHub")


def test_a_check_run_of_a_build_and_a_suite_of_them_are_built_again_whole(stage: Stage) -> None:
    assert pressed(stage, external_id=f"{CLUSTER}:7")[0] == 202
    assert pressed(stage, "check_suite", delivery="d-2")[0] == 202
    assert wished(stage) == [(7, []), (7, [])]


def test_without_leave_a_button_does_nothing_and_says_what_to_type(stage: Stage) -> None:
    stage.hooks.allow(REPO, retry=False)
    status, text = pressed(stage, external_id=f"{CLUSTER}:7/test")
    assert status == 403
    assert f"surveil hook allow {REPO} retry" in json.loads(text)["detail"]
    stage.hooks.allow(REPO, retry=True)
    assert pressed(stage, external_id=f"{CLUSTER}:7/test")[0] == 202, "nothing had come of it, so it may come again"
    stage.dispatcher.asked.clear()
    # What was set anew after it was forgotten has no rights of before.
    stage.hooks.forget(REPO)
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    assert pressed(stage, external_id=f"{CLUSTER}:7/test", delivery="d-2", name="x")[0] == 403
    assert stage.dispatcher.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        {"external_id": f"{CLUSTER}:8/test"},  # of another repository
        {"external_id": f"{CLUSTER}:7/test", "head_sha": "d" * 40},
        {"external_id": f"{CLUSTER}:7/deploy"},
        {"external_id": f"{CLUSTER}:77/test"},
        {"external_id": "another:7/test"},
        {"external_id": "7/test"},
        {"external_id": f"{CLUSTER}:7; rm/test"},
        {"external_id": f"{CLUSTER}:{'9' * 400}"},
        {"external_id": f"{CLUSTER}:-7"},
        {"external_id": f"{CLUSTER}:\N{ARABIC-INDIC DIGIT SEVEN}"},
    ],
)
def test_what_is_no_build_of_this_repository_and_commit_is_not_built(stage: Stage, fields: dict[str, Any]) -> None:
    assert pressed(stage, **fields)[0] == 404
    assert wished(stage) == []


@pytest.mark.parametrize(
    "fields",
    [{"external_id": ""}, {"external_id": None}, {"external_id": 7}, {"external_id": "c1:7", "head_sha": None}],
)
def test_a_check_run_of_somebody_else_is_of_no_interest(stage: Stage, fields: dict[str, Any]) -> None:
    status, text = pressed(stage, **fields)
    assert (status, json.loads(text)["heard"]) == (202, "nothing of interest")
    assert wished(stage) == []


def test_a_suite_of_a_commit_that_was_never_built_is_not_built(stage: Stage) -> None:
    assert pressed(stage, "check_suite", head_sha="e" * 40)[0] == 404
    assert wished(stage) == []


def test_a_delivery_makes_one_build_also_where_its_answer_was_lost(stage: Stage) -> None:
    stage.dispatcher.away = True
    assert pressed(stage, external_id=f"{CLUSTER}:7")[0] == 503
    stage.dispatcher.away = False
    assert pressed(stage, external_id=f"{CLUSTER}:7")[0] == 202
    assert pressed(stage, external_id=f"{CLUSTER}:7")[0] == 409
    stage.now += KEPT_MS + 1
    assert pressed(stage, external_id=f"{CLUSTER}:7")[0] == 202
    first, second = (about["mid"] for _, about in stage.dispatcher.wishes)
    assert first == second, "the dispatcher knows it for the same wish"


def test_a_retry_whose_answer_was_lost_is_the_same_one_under_whatever_id_it_is_sent_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody signs the id; the body is what is proved, and tells one press of the button from another."""
    asked = stage.dispatcher.ask

    async def lost(what: str, about: Mapping[str, Any] | None = None, **more: Any) -> Answered:
        answered = await asked(what, about, **more)
        if what == "retry":
            raise UnreachableError("The dispatcher is there but does not answer.")
        return answered

    with monkeypatch.context() as patch:
        patch.setattr(stage.dispatcher, "ask", lost)
        assert pressed(stage, external_id=f"{CLUSTER}:7", delivery="d-1")[0] == 503
    assert pressed(stage, external_id=f"{CLUSTER}:7", delivery="d-2")[0] == 202
    assert pressed(stage, external_id=f"{CLUSTER}:7", delivery="d-3")[0] == 409
    assert pressed(stage, external_id=f"{CLUSTER}:7", delivery="d-4", name="pressed again")[0] == 202
    first, again, another = (about["mid"] for _, about in stage.dispatcher.wishes)
    assert first == again, "the dispatcher knows it for the same wish"
    assert first != another
