"""What each kind of forge is told, by what it says of itself that it takes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from surveil.forge import CommitStatus, State, Words
from surveil.forge.gitea import Gitea
from surveil.forge.github import GitHub
from surveil.forge.gitlab import GitLab
from surveil.forge.projects import project_of

TEXT = {"type": "string"}
# `repos/create-commit-status` in GitHub's own description of its API (npm `@octokit/openapi` 23.0.2, the same for its
# cloud and for its server 3.17): these properties and no length. That descriptions end at 140 is said by its errors.
GITHUB = {
    "state": {"enum": ["error", "failure", "pending", "success"]},
    "target_url": TEXT,
    "description": TEXT | {"maxLength": 140},
    "context": TEXT,
}
# `CreateStatusOption` in the swagger file of Gitea and Forgejo; the words are those that all their versions know.
GITEA = {
    "state": {"enum": ["pending", "success", "error", "failure", "warning"]},
    "target_url": TEXT,
    "description": TEXT,
    "context": TEXT,
}
# "Set commit pipeline status" in GitLab's documentation of its API, but for `skipped`, which came late.
GITLAB = {
    "state": {"enum": ["pending", "running", "success", "failed", "canceled"]},
    "ref": TEXT,
    "name": TEXT | {"maxLength": 255},
    "target_url": TEXT | {"maxLength": 255},
    "description": TEXT | {"maxLength": 255},
    "coverage": {"type": "number"},
    "pipeline_id": {"type": "integer"},
}
KINDS: list[tuple[Words, dict[str, Any]]] = [(GitHub(), GITHUB), (Gitea(), GITEA), (GitLab(), GITLAB)]
STATUS = CommitStatus(
    project="acme/it", sha="a" * 40, context="surveil/push", state=State.FAILURE, description="d" * 250,
    url="https://ci.example.org/builds/1",
)  # fmt: skip


@pytest.mark.parametrize(("words", "properties"), KINDS)
@pytest.mark.parametrize("state", State)
def test_every_state_is_said_in_words_that_the_forge_knows(
    words: Words, properties: dict[str, Any], state: State
) -> None:
    fields = {name: getattr(STATUS, name) for name in CommitStatus.__slots__}
    for url in (STATUS.url, ""):
        request = words.request(CommitStatus(**(fields | {"state": state, "url": url})), "hush")
        schema = {"type": "object", "properties": properties, "required": ["state"], "additionalProperties": False}
        jsonschema.validate(request.document, schema)


def test_a_status_that_is_not_good_is_green_nowhere() -> None:
    fields = {name: getattr(STATUS, name) for name in CommitStatus.__slots__}
    for words, _ in KINDS:
        for state in set(State) - {State.SUCCESS, State.SKIPPED}:
            assert words.request(CommitStatus(**(fields | {"state": state})), "hush").document["state"] != "success"


def test_the_token_and_the_project_stand_where_the_forge_looks_for_them() -> None:
    github, gitea, gitlab = (words.request(STATUS, "hush") for words, _ in KINDS)
    assert github.headers["authorization"] == "Bearer hush"
    assert gitea.headers["authorization"] == "token hush"
    assert gitlab.headers["private-token"] == "hush"
    assert github.path == gitea.path == f"/repos/acme/it/statuses/{STATUS.sha}"
    assert gitlab.path == f"/projects/acme%2Fit/statuses/{STATUS.sha}"
    assert GitHub().api("https://github.com/") == "https://api.github.com"
    assert GitHub().api("https://ghe.example.org") == "https://ghe.example.org/api/v3"
    assert GitLab().api("https://example.org/gitlab/") == "https://example.org/gitlab/api/v4"
    assert Gitea().api("https://codeberg.org") == "https://codeberg.org/api/v1"


def test_a_status_that_gitlab_has_already_is_no_refusal() -> None:
    said = 'Cannot transition status via :run from :running (Reason(s): Status cannot transition via "run")'
    assert GitLab().known_already(400, said)
    assert not GitLab().known_already(404, said)
    assert not GitLab().known_already(400, "name is too long")
    assert not any(words.known_already(400, said) for words in (GitHub(), Gitea()))


@pytest.mark.parametrize(
    ("repo", "project"),
    [
        ("https://git.example.org/acme/it.git", "acme/it"),
        ("https://git.example.org/acme/it", "acme/it"),
        ("https://git.example.org/acme/it/", "acme/it"),
        ("ssh://git@git.example.org:2222/acme/it.git", "acme/it"),
        ("git@git.example.org:acme/it.git", "acme/it"),
        ("git.example.org:/acme/it.git", "acme/it"),
        ("/srv/it.git", "acme/copy"),
        ("/srv/other.git", None),
        ("https://git.example.org:8443/acme/it.git", None),
        ("https://git.example.org.evil.example/acme/it.git", None),
        ("https://evil.example/git.example.org/acme/it.git", None),
        ("git@evil.example:acme/it.git", None),
        ("ssh://git@evil.example/acme/it.git", None),
        ("https://git.example.org/acme/../../admin", None),
        ("https://git.example.org/acme/it%2F..%2F..%2Fadmin", None),
        ("https://git.example.org/acme/it?x=y", "acme/it"),
        ("https://git.example.org/acme", None),
        ("https://git.example.org/acme/group/it", None),
        ("https://git.example.org/ac%0Ame/it", None),
        ("https://git.example.org/%2E%2E/it", None),
    ],
)
def test_a_repository_is_a_project_of_its_own_forge_only(repo: str, project: str | None) -> None:
    named = {"/srv/it.git": "acme/copy"}
    assert project_of(repo, url="https://git.example.org", words=Gitea(), named=named) == project


def test_gitlab_has_groups_in_groups_and_forges_stand_below_a_path() -> None:
    repo = "https://example.org/lab/acme/group/it.git"
    assert project_of(repo, url="https://example.org/lab", words=GitLab(), named={}) == "acme/group/it"
    assert project_of(repo, url="https://example.org/la", words=GitLab(), named={}) is None
    assert project_of("git@example.org:acme/it", url="https://example.org/lab", words=GitLab(), named={}) == "acme/it"
