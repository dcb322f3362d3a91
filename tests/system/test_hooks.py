"""What is pushed is built at once, over real processes: by a webhook, and by the hook of a bare repository. What comes
from a fork waits for a person, and its forge is told so at its very commit.
"""

import contextlib
import hmac
import json

import httpx2
import pytest

from surveil.web.whereabouts import address_of
from tests.forge.played import PlayedForge
from tests.mirror.repositories import serve_git
from tests.system.processes import Place, eventually
from tests.system.repository import commit, git, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)


def test_a_push_is_built_without_waiting_for_the_poll(place: Place) -> None:
    place.settings["SURVEIL_HTTP"] = "127.0.0.1:0"
    work = make_repository(place.folder / "work", __surveil__yml=pipeline("true"))
    bare = place.folder / "bare.git"
    forge = PlayedForge()
    git(place.folder, "clone", "-q", "--bare", str(work), str(bare))
    with serve_git(place.folder) as address, contextlib.closing(forge):
        repo = f"{address}/bare.git"
        tell(place, forge, repo)
        # Within this test nobody looks by themselves but once.
        with place.up("--interval", "1h", "--ref", "*", "--ref", "refs/pull/*/head", repo) as up:
            up.wait_for("passed    build 1: ")
            made = place.typed("hook", "secret", repo, "--make", "--data", str(place.data))
            assert made.returncode == 0, made.stderr
            place.wait_for_pages()

            def push(subject: str) -> str:
                sha = commit(work, subject)
                git(work, "push", "-q", str(bare), "HEAD:main")
                return sha

            def deliver(secret: str, event: str = "push") -> httpx2.Response:
                # The forge serves the same repository by https, and tells of a commit that is not there.
                payload = {"ref": "refs/heads/main", "after": "f" * 40, "event": event}
                body = json.dumps({**payload, "repository": {"clone_url": "https://127.0.0.1/bare.git"}}).encode()
                signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
                headers = {"x-gitea-event": event, "x-gitea-delivery": event, "x-gitea-signature": signature}
                return httpx2.post(f"{address_of(place.data)}/hooks/gitea", content=body, headers=headers)

            second = push("Second")
            assert deliver("not the secret that was set").status_code == 401
            answer = deliver(made.stdout.strip())
            assert (answer.status_code, answer.json()) == (202, {"repo": repo, "heard": "a hint", "observers": 1})
            up.wait_for("passed    build 2: ")
            installed = place.run("hook", "install", str(bare), "--as", repo, "--data", str(place.data))
            assert installed.returncode == 0, installed.stderr
            third = push("Third")
            up.wait_for("passed    build 3: ")
            assert [build["sha"] for build in place.ask("builds")][:2] == [third, second]
            assert deliver(made.stdout.strip()).status_code == 409
            theirs = commit(work, "Theirs", __surveil__yml=pipeline("echo stolen"))
            git(work, "push", "-q", str(bare), "HEAD:refs/pull/5/head")
            assert deliver(made.stdout.strip(), "pull_request").status_code == 202
            assert eventually(lambda: ("surveil/pull_request", "pending", theirs) in heard(forge))
            [held] = [build for build in place.ask("builds") if build["sha"] == theirs]
            assert (held["id"], held["state"], held["ref"]) == (4, "held", "refs/pull/5/head")
    # Nobody waits for what the last push began, and it asks for a while after a dispatcher that is gone.
    assert eventually(lambda: place.processes() == [])


def tell(place: Place, forge: PlayedForge, repo: str) -> None:
    """Have the forge told of the repository's builds."""
    place.data.mkdir(parents=True, exist_ok=True)
    (place.data / "token").write_text("hush-hush")
    (place.data / "notify.toml").write_text(
        f'[[forge]]\nkind = "gitea"\nurl = "{forge.url}"\ntoken_file = "token"\nprojects = {{"{repo}" = "acme/it"}}\n'
    )


def heard(forge: PlayedForge) -> list[tuple[str, str, str]]:
    """Context, state and commit of all that it was told."""
    return [(told.document["context"], told.document["state"], told.path.rpartition("/")[2]) for told in forge.told]
