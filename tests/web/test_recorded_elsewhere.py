"""Webhooks as GitLab was recorded to send them, and as Gitea and Forgejo say that they do.

GitLab's recordings are those of the package that Debian and Ubuntu make of its client for Go. Of Gitea and Forgejo no
registry of packages was found to have any: their payloads are written here by the fields that their own source gives
them (`modules/structs/hook.go` and `repo.go`, the same for both), with the headers of Gitea's
`services/webhook/deliver.go` and Forgejo's `services/webhook/shared/payloader.go`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from surveil.mirror.place import place_of
from surveil.web.hooks.forges import FORGES, addresses_in
from tests.web.stage import Stage
from tests.web.test_hooks import SECRET, deliver, mac

PACKAGE: Final = "golang-github-xanzy-go-gitlab-dev"
RECORDED: Final = Path("/usr/share/gocode/src/github.com/xanzy/go-gitlab/testdata/webhooks")
EVENTS: Final = {
    "push": "Push Hook", "tag_push": "Tag Push Hook", "merge_request": "Merge Request Hook", "build": "Job Hook",
    "deployment": "Deployment Hook", "issue": "Issue Hook", "note": "Note Hook", "pipeline": "Pipeline Hook",
    "release": "Release Hook", "wiki_page": "Wiki Page Hook",
}  # fmt: skip
"""What the header says, by what the payload says of its kind."""
MOVING: Final = {"push", "tag_push", "merge_request"}
PLACE: Final = "https://git.example.org/team/lib.git"
USER: Final = {
    "id": 1, "login": "ada", "login_name": "", "source_id": 0, "full_name": "Ada", "email": "ada@example.org",
    "avatar_url": "https://git.example.org/avatars/1", "html_url": "https://git.example.org/ada", "language": "",
    "is_admin": False, "active": True, "prohibit_login": False, "restricted": False, "location": "", "website": "",
    "description": "", "visibility": "public", "username": "ada",
}  # fmt: skip
COMMIT: Final = {
    "id": "b" * 40, "message": "Change it\n", "url": f"https://git.example.org/team/lib/commit/{'b' * 40}",
    "author": {"name": "Ada", "email": "ada@example.org", "username": "ada"},
    "committer": {"name": "Ada", "email": "ada@example.org", "username": "ada"}, "verification": None,
    "timestamp": "2026-11-20T10:00:00Z", "added": [], "removed": [], "modified": ["README.md"],
}  # fmt: skip


def repository(owner: str = "team") -> dict[str, Any]:
    url = f"https://git.example.org/{owner}/lib"
    return {
        "id": 7, "owner": USER, "name": "lib", "full_name": f"{owner}/lib", "description": "", "empty": False,
        "private": True, "fork": owner != "team", "template": False, "mirror": False, "size": 24, "language": "",
        "languages_url": f"{url}/languages", "html_url": url, "url": f"https://git.example.org/api/v1/repos/{owner}/lib",
        "link": "", "ssh_url": f"git@git.example.org:{owner}/lib.git", "clone_url": f"{url}.git", "original_url": "",
        "website": "", "default_branch": "main", "archived": False, "created_at": "2026-01-01T00:00:00Z",
        "object_format_name": "sha1", "internal": False, "permissions": {"admin": True, "push": True, "pull": True},
    }  # fmt: skip


def pull_request(action: str) -> dict[str, Any]:
    """Of a fork: who opened it says what is at its head, and at no other place."""
    base = {"label": "main", "ref": "main", "sha": "a" * 40, "repo_id": 7, "repo": repository()}
    head = {"label": "theirs", "ref": "theirs", "sha": "b" * 40, "repo_id": 8, "repo": repository("mallory")}
    pull = {
        "id": 3, "number": 5, "user": USER, "title": "Take it", "state": "open", "draft": False, "is_locked": False,
        "html_url": "https://git.example.org/team/lib/pulls/5", "mergeable": True, "merged": False, "base": base,
        "head": head, "merge_base": "a" * 40,
    }  # fmt: skip
    return {
        "action": action, "number": 5, "pull_request": pull, "requested_reviewer": None, "repository": repository(),
        "sender": USER, "commit_id": "", "review": None,
    }  # fmt: skip


def push(ref: str, after: str = "b" * 40) -> dict[str, Any]:
    return {
        "ref": ref, "before": "a" * 40, "after": after, "compare_url": "https://git.example.org/team/lib/compare/a...b",
        "commits": [COMMIT], "total_commits": 1, "head_commit": COMMIT, "repository": repository(), "pusher": USER,
        "sender": USER,
    }  # fmt: skip


GITEA: Final[list[tuple[str, str, dict[str, Any], bool]]] = [
    ("push", "push", push("refs/heads/main"), True),
    ("push", "push", push("refs/tags/v1"), True),
    ("push", "push", push("refs/heads/gone", "0" * 40), True),
    (
        "create", "create",
        {"sha": "b" * 40, "ref": "v1", "ref_type": "tag", "repository": repository(), "sender": USER}, True,
    ),
    ("pull_request", "pull_request", pull_request("opened"), True),
    ("pull_request", "pull_request_sync", pull_request("synchronized"), True),
    (
        "delete", "delete",
        {"ref": "x", "ref_type": "branch", "pusher_type": "user", "repository": repository(), "sender": USER}, False,
    ),
    ("pull_request_approved", "pull_request_review_approved", pull_request("reviewed"), False),
    ("repository", "repository", {"action": "created", "repository": repository(), "sender": USER}, False),
]  # fmt: skip
"""What `X-Gitea-Event` and `X-Gitea-Event-Type` say, what is sent, and whether a ref may have moved."""


def headers_of_gitea(body: bytes, event: str, kind: str, delivery: str, *, forgejo: bool) -> dict[str, str]:
    """All that they send: they also speak as Gogs and GitHub do, with the same proof by other names."""
    names = ("Gitea", "Gogs", "Forgejo") if forgejo else ("Gitea", "Gogs")
    made = {"content-type": "application/json", "x-hub-signature-256": f"sha256={mac(body)}"}
    made["x-hub-signature"] = f"sha1={mac(body, how='sha1')}"
    for name in names:
        made |= {f"X-{name}-Event": event, f"X-{name}-Event-Type": kind, f"X-{name}-Delivery": delivery}
        made[f"X-{name}-Signature"] = mac(body)
    made |= {"X-GitHub-Event": event, "X-GitHub-Event-Type": kind, "X-GitHub-Delivery": delivery}
    return made


@pytest.mark.parametrize("forge", ["gitea", "forgejo"])
def test_what_gitea_and_forgejo_send_is_heard_as_it_is_meant(stage: Stage, forge: str) -> None:
    stage.hooks.set(PLACE, SECRET, now=stage.now, overlap_ms=0)
    stage.hooks.set("https://git.example.org/mallory/lib", SECRET + "!", now=stage.now, overlap_ms=0)
    for number, (event, kind, payload, moves) in enumerate(GITEA):
        stage.dispatcher.wishes.clear()
        body = json.dumps(payload, indent=2).encode()
        headers = headers_of_gitea(body, event, kind, f"{forge}-{number}", forgejo=forge == "forgejo")
        answer = deliver(stage, forge, body, headers)
        assert (answer.status_code, answer.json()["repo"]) == (202, PLACE), (event, answer.text)
        assert stage.dispatcher.wishes == ([("look", {"repo": PLACE})] if moves else []), event
        assert deliver(stage, forge, body, headers).status_code == 409
        assert deliver(stage, forge, body + b" ", headers).status_code == 401


def test_gitea_names_the_repository_by_each_of_its_addresses() -> None:
    for _, _, payload, _ in GITEA:
        addresses = addresses_in(FORGES["gitea"], payload)
        assert {place_of(each) for each in addresses} == {place_of(PLACE)}
        assert len(addresses) == 3


# ---- GitLab


def recorded() -> dict[str, dict[str, Any]]:
    """All payloads of projects, by the names of their files."""
    if not RECORDED.is_dir():
        pytest.skip(f"type `sudo apt install {PACKAGE}`")
    found = {file.stem: json.loads(file.read_text()) for file in sorted(RECORDED.glob("*.json"))}
    return {name: payload for name, payload in found.items() if payload.get("object_kind") in EVENTS}


def test_every_payload_that_gitlab_was_recorded_to_send_is_heard_as_it_is_meant(stage: Stage) -> None:
    payloads = recorded()
    assert len(payloads) >= 14
    looked_at = []
    for name, payload in payloads.items():
        kind = payload["object_kind"]
        project = payload.get("project") or payload["repository"]
        # What a person would copy from the page of the project.
        repo = project["git_http_url"].replace("http://", "https://")
        stage.hooks.set(repo, SECRET, now=stage.now, overlap_ms=0)
        stage.dispatcher.wishes.clear()
        headers = {
            "content-type": "application/json", "x-gitlab-event": EVENTS[kind], "x-gitlab-token": SECRET,
            "x-gitlab-event-uuid": "13792a34-cac6-4fda-95a8-c58e00a3954e", "x-gitlab-instance": "https://example.com",
            "idempotency-key": name,
        }  # fmt: skip
        assert deliver(stage, "gitlab", payload, headers | {"x-gitlab-token": "another one"}).status_code == 401
        answer = deliver(stage, "gitlab", payload, headers)
        assert (answer.status_code, answer.json()["repo"]) == (202, repo), (name, answer.text)
        assert stage.dispatcher.wishes == ([("look", {"repo": repo})] if kind in MOVING else []), name
        assert deliver(stage, "gitlab", payload, headers).status_code == 409
        looked_at += [name] if kind in MOVING else []
    assert {"push", "tag_push", "merge_request", "group_merge_request"} <= set(looked_at)


def test_gitlab_names_the_project_of_each_recorded_payload_as_people_copy_it() -> None:
    for name, payload in recorded().items():
        project = payload.get("project") or payload["repository"]
        places = {place_of(each) for each in addresses_in(FORGES["gitlab"], payload)}
        assert place_of(project["git_http_url"]) in places, name
