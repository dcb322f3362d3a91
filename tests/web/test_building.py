"""Builds that are asked for over HTTP: which repository is meant, who may, and that one wish is one build."""

from pathlib import Path
from typing import Any

import pytest

from surveil.pipeline import Pipeline, load
from surveil.protocol import WatchedRepo
from surveil.web.ids import uuid_of
from tests.cli.test_acting import PIPELINE, git
from tests.web.stage import CLUSTER, Stage

API = "/api/v1/builds"


@pytest.fixture
def repo(tmp_path: Path, stage: Stage) -> Path:
    """A watched repository with a branch, and a pull request that somebody else has written."""
    here = tmp_path / "src" / "lib"
    here.mkdir(parents=True)
    git("init", "-q", cwd=here)
    (here / ".surveil.yml").write_text(PIPELINE)
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Add a pipeline", cwd=here)
    strange = git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "Theirs", cwd=here)
    git("update-ref", "refs/pull/5/head", strange, cwd=here)
    stage.desk.live.watching["eye"] = (WatchedRepo(repo=str(here)),)
    return here


def submitted(stage: Stage) -> dict[str, Any]:
    ((what, commit),) = stage.dispatcher.wishes
    assert what == "submit"
    return commit


@pytest.mark.parametrize("named", ["{}", "lib", "src/lib"])
def test_a_watched_repositorys_commit_is_built_by_who_may_run(stage: Stage, repo: Path, named: str) -> None:
    answer = stage.post(API, stage.token("run"), json={"repo": named.format(repo), "ref": "main"})
    name = uuid_of(99, CLUSTER)
    assert (answer.status_code, answer.headers["location"]) == (201, f"{API}/99")
    assert answer.json() == {"id": 99, "build": 99, "uuid": name, "state": "queued"}
    commit = submitted(stage)
    assert (commit["repo"], commit["ref"], commit["pipeline"]) == (str(repo), "refs/heads/main", PIPELINE)
    assert commit["sha"] == git("rev-parse", "HEAD", cwd=repo)


def test_a_bare_command_becomes_a_pipeline_of_one_step_and_the_answer_is_a_uuid(stage: Stage, repo: Path) -> None:
    wanted = {"repo_url": str(repo), "ref": "main", "command": "make test\n: \"'\u2028 #\x85 \ufeff \x7f \U0001f600"}
    refused = stage.post(API, stage.token("run"), json=wanted)
    assert (refused.status_code, stage.dispatcher.wishes) == (403, [])
    assert stage.post(API, stage.token("admin"), json=wanted).json()["id"] == uuid_of(99, CLUSTER)
    commit = submitted(stage)
    loaded = load(commit["pipeline"], commit["pipeline_file"])
    assert isinstance(loaded, Pipeline)
    (job,) = loaded.jobs
    assert [step.run for step in job.steps] == [wanted["command"]]


def test_whoever_asks_again_with_the_same_key_wishes_the_same(stage: Stage, repo: Path) -> None:
    for headers in (stage.token("run"), stage.token("run")):
        for key in ("one", "one", "two", ""):
            stage.post(API, {**headers, "idempotency-key": key}, json={"repo": "lib"})
    mids = [commit["mid"] for _, commit in stage.dispatcher.wishes]
    assert mids[0] == mids[1]
    assert len({*mids}) == 7 - 1, "a key is its holder's own, and chance differs"
    assert (
        stage.post(API, {**stage.token("run"), "idempotency-key": "x" * 256}, json={"repo": "lib"}).status_code == 422
    )


def test_a_key_that_is_taken_for_something_else_is_another_wish(stage: Stage, repo: Path) -> None:
    headers = {**stage.token("admin"), "idempotency-key": "mine"}
    wanted: list[tuple[str, dict[str, Any]]] = [
        (API, {"repo": "lib"}), (API, {"repo": "lib", "ref": "main"}), (API, {"repo": "lib", "command": "make"}),
        (f"{API}/1/retry", {}), (f"{API}/1/retry", {"failed": True}), (f"{API}/1/retry", {"jobs": ["test"]}),
    ]  # fmt: skip
    for path, body in (*wanted, *reversed(wanted)):
        assert stage.post(path, headers, json=body).status_code == 201, body
    mids = [about["mid"] for _, about in stage.dispatcher.wishes]
    assert mids[: len(wanted)] == mids[: len(wanted) - 1 : -1], "and the same wish is the same"
    assert len({*mids}) == len(wanted)


def test_a_strangers_commit_cannot_be_passed_off_as_a_branchs(stage: Stage, repo: Path) -> None:
    strange = git("rev-parse", "refs/pull/5/head", cwd=repo)
    for wanted in ({"ref": "main", "sha": strange}, {"ref": "main", "sha": "0" * 40}):
        refused = stage.post(API, stage.token("run"), json={"repo": "lib", **wanted})
        assert (refused.status_code, "only an administrator" in refused.json()["detail"]) == (403, True)
    assert stage.dispatcher.wishes == []
    assert stage.post(API, stage.token("run"), json={"repo": "lib", "sha": strange}).status_code == 201
    commit = submitted(stage)
    assert (commit["ref"], commit["untrusted"], commit["base"]) == ("refs/pull/5/head", True, "refs/heads/main")


@pytest.mark.parametrize("scope", ["run", "admin"])
@pytest.mark.parametrize(
    "named",
    [
        "https://169.254.169.254/latest", "http://127.0.0.1:2375/x", "ssh://git@10.0.0.1/x", "git@[::1]:x",
        "ext::sh -c id", "--upload-pack=id", "git://2130706433/x", "https://0x7f.1/x", "file:///none",
        "nobody/knows/it", "\x00",
    ],
)  # fmt: skip
def test_nobody_is_sent_to_an_address_that_is_not_watched(stage: Stage, repo: Path, named: str, scope: str) -> None:
    answer = stage.post(API, stage.token(scope), json={"repo": named})
    assert answer.status_code in {400, 403, 404}
    assert (answer.json()["detail"] != "", stage.dispatcher.wishes) == (True, [])


def test_a_folder_that_is_not_watched_is_read_for_administrators_alone(stage: Stage, repo: Path) -> None:
    stage.desk.live.watching.clear()
    assert stage.post(API, stage.token("run"), json={"repo": str(repo)}).status_code == 403
    assert stage.post(API, stage.token("admin"), json={"repo": str(repo)}).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ({"repo": "lib", "repo_url": "lib"}, 422), ({"repo": "lib", "branch": "x"}, 422),
        ({"repo": "lib", "ref": "mian"}, 404), ({"repo": "lib", "sha": "xyz"}, 400),
        ({"repo": "lib", "inputs": {"a": "b"}}, 400), ([], 422),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said(stage: Stage, repo: Path, body: Any, status: int) -> None:
    answer = stage.post(API, stage.token("run"), json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert stage.dispatcher.wishes == []


def test_a_body_that_does_not_say_that_it_is_json_is_told_how_to(stage: Stage, repo: Path) -> None:
    forgotten = stage.token("run") | {"content-type": "application/x-www-form-urlencoded"}
    answer = stage.post(API, forgotten, content=b'{"repo": "lib"}')
    assert (answer.status_code, "`Content-Type: application/json`" in answer.json()["detail"]) == (422, True)


def test_narwhals_shapes_are_answered(stage: Stage, repo: Path) -> None:
    admin, sha = stage.token("admin"), git("rev-parse", "HEAD", cwd=repo)
    assert stage.get("/health").json() == {"status": "ok"}
    assert stage.get("/runner").status_code == 401
    assert stage.get("/runner", admin).json() == []
    built = stage.post("/commit", admin, json={"id": sha, "repository": {"name": "lib", "branch": "main"}})
    assert (built.status_code, built.json()) == (201, {"id": 99, "uuid": uuid_of(99, CLUSTER)})
    assert submitted(stage)["sha"] == sha
    assert stage.post("/runner", admin, json={"labels": ["gpu"]}).status_code == 201
    assert stage.post("/runner", stage.token("run")).status_code == 403
    assert stage.dispatcher.wishes[-1] == (
        "token_create", {"role": "runner", "labels": ["gpu"], "expires_ms": 3_600_000, "uses": 1},
    )  # fmt: skip
    unknown = stage.request("DELETE", "/runner", admin, json={"name": "nobody"})
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
