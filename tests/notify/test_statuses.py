"""Statuses of commits: from the journal to a forge on loopback."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from surveil.calling import Caller
from surveil.core.model import Job, Status
from surveil.forge import Words
from surveil.forge.gitea import Gitea
from surveil.forge.speaking import Forge
from surveil.frozen import replace
from surveil.notify.delivering import Delivery
from surveil.notify.statuses import Rule, Statuses
from surveil.store.outbox import Outbox
from tests.forge.played import Mood, PlayedForge
from tests.store.memory import MemoryStore
from tests.store.records import changed, make_build, make_job, make_note, make_spec, new

NOW = 1_750_000_000_000
SHA = "a" * 40
BUILD = {"repo": "/srv/repo", "sha": SHA, "reason": "", "trusted": True}


def strict(build: int, name: str = "test", **fields: Any) -> Job:
    """A job that may not fail."""
    return make_job(build, name, **({"spec": replace(make_spec(name), continue_on_error=False)} | fields))


class Scene:
    """A store whose builds a forge is told of."""

    def __init__(
        self, folder: Path, forge: PlayedForge, token: Path, *, words: Words | None = None, **rule: Any
    ) -> None:
        self.store = MemoryStore()
        self.outbox = Outbox(folder)
        self.forge = forge
        self.now = NOW
        told = Forge(url=forge.url, words=words or Gitea(), token=token)
        fields: dict[str, Any] = {"name": "forge", "forge": told, "projects": (("/srv/repo", "acme/it"),)}
        self.rule = Rule(**(fields | rule))
        self.run()

    def build(self, number: int, state: Status, *jobs: Job, **fields: Any) -> None:
        """What a build and its jobs are now, with the lines of the journal that there are then."""
        notes = [make_note("build", str(number), build=number, at=self.now, state=state)]
        told = [job for job in jobs if job.state not in {Status.BLOCKED, Status.QUEUED}]
        notes += [make_note("job", job.id, build=number, at=self.now, state=job.state) for job in told]
        names = tuple(job.spec.name for job in jobs) or ("test",)
        record = make_build(number, names, **(BUILD | {"state": state} | fields))
        write = changed if number in self.store.builds else new
        self.store.commit(write(record, *jobs, notes=tuple(notes)))

    def run(self, turns: int = 20) -> None:
        """Deliver all that can be, as time goes on."""

        async def deliver() -> None:
            async with Caller() as caller:
                statuses = Statuses(
                    self.rule, reader=self.store.reader, caller=caller, public_url="https://ci.example.org",
                    now=lambda: self.now,
                )  # fmt: skip
                delivery = Delivery(statuses, reader=self.store.reader, outbox=self.outbox, now=lambda: self.now)
                for _ in range(turns):
                    self.now += await delivery.step()

        asyncio.run(deliver())

    def heard(self) -> list[tuple[str, str]]:
        return [(each.document["context"], each.document["state"]) for each in self.forge.told]


@pytest.fixture
def scene(tmp_path: Path, forge: PlayedForge, token: Path) -> Scene:
    return Scene(tmp_path, forge, token)


def test_a_forge_hears_how_a_commit_stands_with_a_link_and_our_token(scene: Scene) -> None:
    scene.build(1, Status.FAILED, reason="test failed")
    scene.run()
    [told] = scene.forge.told
    assert told.path == f"/api/v1/repos/acme/it/statuses/{SHA}"
    assert told.headers["authorization"] == "token hush-hush"
    assert told.document == {
        "state": "failure",
        "context": "surveil/push",
        "description": "failed: test failed",
        "target_url": "https://ci.example.org/builds/1",
    }


def test_a_build_is_told_from_its_beginning_to_its_end_and_nothing_is_told_twice(scene: Scene) -> None:
    job = make_job(1, state=Status.QUEUED)
    scene.build(1, Status.QUEUED, job)
    scene.run()
    scene.build(1, Status.RUNNING, replace(job, state=Status.RUNNING, attempt=1))
    scene.run()
    scene.build(1, Status.RUNNING, replace(job, state=Status.RUNNING, attempt=1))
    scene.run()
    scene.build(1, Status.PASSED, replace(job, state=Status.PASSED, attempt=1))
    scene.run()
    assert scene.heard() == [
        ("surveil/push", "pending"),
        ("surveil/push/test", "pending"),
        ("surveil/push", "pending"),
        ("surveil/push/test", "success"),
        ("surveil/push", "success"),
    ]
    begun, ended = scene.forge.told[1].document, scene.forge.told[3].document
    assert begun["target_url"] == "https://ci.example.org/builds/1/jobs/test"
    assert ended["target_url"] == "https://ci.example.org/builds/1/jobs/test/attempts/1"


def test_what_happens_while_the_forge_is_away_is_told_as_it_stands_then(scene: Scene) -> None:
    scene.forge.moods = [Mood(status=503), Mood(cut=True), Mood(status=502)]
    scene.build(1, Status.QUEUED)
    scene.run(2)
    scene.build(1, Status.RUNNING)
    scene.run(2)
    scene.build(1, Status.PASSED)
    scene.run(80)
    assert scene.heard()[-1] == ("surveil/push", "success")
    assert [state for _, state in scene.heard()].count("success") <= 3
    assert scene.outbox.waiting() == {}


def test_an_older_build_of_the_same_commit_says_nothing_after_a_newer_one(scene: Scene) -> None:
    scene.build(1, Status.RUNNING)
    scene.build(2, Status.PASSED, mid="again")
    scene.run()
    scene.build(1, Status.CANCELLED)
    scene.run()
    assert scene.heard() == [("surveil/push", "success")]


def test_a_retry_takes_back_what_was_said_of_the_jobs_before_it(scene: Scene) -> None:
    scene.build(1, Status.FAILED, strict(1, state=Status.FAILED, attempt=1))
    scene.run()
    scene.build(2, Status.QUEUED, strict(2, state=Status.BLOCKED), mid="again")
    scene.run()
    assert scene.heard() == [
        ("surveil/push/test", "failure"),
        ("surveil/push", "failure"),
        ("surveil/push/test", "pending"),
        ("surveil/push", "pending"),
    ]


@pytest.mark.parametrize(
    ("jobs", "heard"),
    [
        ("all", ["surveil/push/bad", "surveil/push/good", "surveil/push"]),
        ("wrong", ["surveil/push/bad", "surveil/push"]),
        ("none", ["surveil/push"]),
    ],
)
def test_of_jobs_a_forge_hears_what_was_asked_for(
    tmp_path: Path, forge: PlayedForge, token: Path, jobs: str, heard: list[str]
) -> None:
    scene = Scene(tmp_path, forge, token, jobs=jobs)
    bad = strict(1, "bad", state=Status.FAILED)
    good = make_job(1, "good", state=Status.FAILED, position=1)  # which it may
    scene.build(1, Status.FAILED, bad, good)
    scene.run()
    assert [context for context, _ in scene.heard()] == heard
    assert dict(scene.heard()).get("surveil/push/good", "success") == "success"


def test_builds_of_elsewhere_are_nobodys_business(scene: Scene) -> None:
    scene.build(1, Status.PASSED, repo="https://example.org/acme/it.git")
    scene.run()
    assert scene.forge.told == []


def test_what_strangers_wrote_stays_text_of_bounded_length(scene: Scene) -> None:
    scene.build(1, Status.FAILED, reason="\x1b[2J" + "\N{RIGHT-TO-LEFT OVERRIDE}evil\n" * 200)
    scene.run()
    [told] = scene.forge.told
    description = told.document["description"]
    assert description.isprintable()
    assert len(description) <= 250


def test_a_request_from_a_fork_is_told_of_at_its_own_commit_and_apart_from_pushes(scene: Scene) -> None:
    head = "f" * 40
    request = {"ref": "refs/pull/7/head", "event": "pull_request", "sha": head, "trusted": False}
    scene.build(1, Status.PASSED)
    scene.build(2, Status.HELD, mid="pull", reason="strangers may have written it", **request)
    scene.run()
    ours, theirs = scene.forge.told
    assert ours.path == f"/api/v1/repos/acme/it/statuses/{SHA}"
    assert theirs.path == f"/api/v1/repos/acme/it/statuses/{head}"
    said = {name: theirs.document[name] for name in ("context", "state", "description")}
    assert said == {
        "context": "surveil/pull_request",
        "state": "pending",
        "description": "waits for a person: strangers may have written it",
    }
