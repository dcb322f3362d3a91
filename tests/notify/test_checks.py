"""Check runs: from the journal to a GitHub on loopback, which believes nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from surveil.calling import Caller
from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.core.outbox import Fate, Parcel
from surveil.forge.app import App, Checks, signed
from surveil.forge.checks import CheckRun
from surveil.frozen import replace
from surveil.notify.checks import CheckRule, CheckRuns
from surveil.notify.delivering import Delivery
from surveil.protocol import Case, Tally
from surveil.store.outbox import Outbox
from tests.forge.github import PlayedGitHub
from tests.forge.played import Mood
from tests.store.memory import MemoryStore
from tests.store.records import changed, make_attempt, make_build, make_job, make_note, make_spec, new

NOW = 1_750_000_000_000
SHA = "a" * 40
KEY = RSAKey.generate_key(2048, private=True)


class Scene:
    """A store whose builds a GitHub is told of by an app."""

    def __init__(self, folder: Path, github: PlayedGitHub) -> None:
        self.store = MemoryStore()
        self.outbox = Outbox(folder)
        self.github = github
        self.key = folder / "app.pem"
        self.key.write_bytes(KEY.as_pem(private=True))
        app = App(url=github.url, id=github.app, key=self.key)
        self.rule = CheckRule(name="github", app=app, projects=(("/srv/repo", "acme/it"),))
        self.run()

    def build(self, number: int, state: Status, *jobs: Job, attempts: tuple[Attempt, ...] = (), **fields: Any) -> None:
        notes = [make_note("build", str(number), build=number, at=self.github.now, state=state)]
        notes += [make_note("job", job.id, build=number, at=self.github.now, state=job.state) for job in jobs]
        names = tuple(job.spec.name for job in jobs) or ("test",)
        said = {"repo": "/srv/repo", "sha": SHA, "reason": "", "trusted": True, "state": state} | fields
        write = changed if number in self.store.builds else new
        self.store.commit(write(make_build(number, names, **said), *jobs, *attempts, notes=tuple(notes)))

    def run(self, turns: int = 20) -> None:
        """Deliver all that can be, as time goes on."""

        async def deliver() -> None:
            async with Caller() as caller:
                target = CheckRuns(
                    self.rule, reader=self.store.reader, caller=caller, public_url="https://ci.example.org/",
                    now=lambda: self.github.now, cluster="c1",
                )  # fmt: skip
                delivery = Delivery(target, reader=self.store.reader, outbox=self.outbox, now=lambda: self.github.now)
                for _ in range(turns):
                    self.github.now += await delivery.step()

        asyncio.run(deliver())

    def problem(self) -> str:
        return self.outbox.followings()[0].problem or next(iter(self.outbox.queue("github").waiting.values())).problem


@pytest.fixture
def github() -> Iterator[PlayedGitHub]:
    played = PlayedGitHub(RSAKey.import_key(KEY.as_pem(private=False)), NOW)
    yield played
    played.close()


@pytest.fixture
def scene(tmp_path: Path, github: PlayedGitHub) -> Scene:
    return Scene(tmp_path, github)


def strict(build: int, name: str = "test", **fields: Any) -> Job:
    """A job that may not fail."""
    return make_job(build, name, **({"spec": replace(make_spec(name), continue_on_error=False)} | fields))


def test_a_check_run_goes_from_its_beginning_to_its_end_and_is_one(scene: Scene) -> None:
    scene.build(1, Status.QUEUED)
    scene.run()
    scene.build(1, Status.RUNNING, started_at=NOW)
    scene.run()
    scene.build(1, Status.PASSED, started_at=NOW, finished_at=NOW + 65_000)
    scene.run()
    [run] = scene.github.runs
    assert (run["name"], run["external_id"], run["head_sha"]) == ("surveil/push", "c1:1", SHA)
    assert (run["status"], run["conclusion"], run["output"]["title"]) == ("completed", "success", "passed in 1 min 5 s")
    assert (run["started_at"], run["completed_at"]) == ("2025-06-15T15:06:40Z", "2025-06-15T15:07:45Z")
    assert run["details_url"] == "https://ci.example.org/builds/1"
    said = [told.document["status"] for told in scene.github.told if "status" in told.document]
    assert said == ["queued", "in_progress", "completed"]


def test_an_answer_that_gets_lost_makes_no_second_check_run_and_no_annotation_twice(scene: Scene) -> None:
    fail(scene)
    whole = scene.github.good
    lost: list[str] = []

    def lose(told: Any) -> Mood:
        done = whole(told)
        if "status" in told.document and len(lost) < 2:
            lost.append(told.method)
            return Mood(cut=True)
        return done

    scene.github.good = lose  # type: ignore[method-assign]
    scene.run(60)
    assert lost == ["POST", "PATCH"]
    assert sorted(run["name"] for run in scene.github.runs) == ["surveil/push", "surveil/push/test"]
    [job] = [run for run in scene.github.runs if run["name"].endswith("test")]
    assert len(job["annotations"]) == 1


def fail(scene: Scene) -> None:
    """A job with three tests, of which two fail."""
    job = strict(1, state=Status.FAILED, attempt=2, reason="step 'Tests' ended with exit code 1")
    tried = [make_attempt(1, "test", 1, state=AttemptState.LOST, reason="runner `spare` is gone")]
    tried.append(make_attempt(1, "test", 2, state=AttemptState.FAILED, exit_code=1))
    scene.build(1, Status.FAILED, job, attempts=tuple(tried), reason="test failed")
    cases = [
        Case(
            suite="tests.test_it", name="test_a `[x]` @everybody", state="failed", duration_ms=3,
            message="assert 1 == 2", output="def test_a():\n>   assert 1 == 2\n\ntests/test_it.py:12: AssertionError",
        ),
        Case(suite="tests.test_it", name="test_b", state="errored", duration_ms=3, message="/usr/lib/x.py:3: no"),
        Case(suite="tests.test_it", name="test_c", state="passed", duration_ms=3),
    ]  # fmt: skip
    tally = Tally(passed=1, failed=1, errored=1, skipped=0, duration_ms=9)
    scene.store.add_cases((job.id, 2), 0, cases, tally)


def test_of_a_job_that_failed_it_says_its_attempts_its_tests_and_where_they_failed(scene: Scene) -> None:
    fail(scene)
    scene.run()
    job, build = scene.github.runs
    assert (job["name"], job["conclusion"], job["external_id"]) == ("surveil/push/test", "failure", "c1:1/test")
    assert job["output"]["summary"].splitlines() == [
        "Job `test` of build 1, failed: `step 'Tests' ended with exit code 1`.",
        "",
        "* attempt 1 on `spare-2`: lost: `` runner `spare` is gone ``",
        "* attempt 2 on `spare-2`: failed",
        "",
        "3 tests ran: 2 failed, 1 passed.",
        "",
        "* `` tests.test_it test_a `[x]` @everybody ``: `assert 1 == 2`",
        "* `tests.test_it test_b`: `/usr/lib/x.py:3: no`",
    ]
    assert job["annotations"] == [
        {
            "path": "tests/test_it.py", "start_line": 12, "end_line": 12, "annotation_level": "failure",
            "title": "tests.test_it test_a `[x]` @everybody", "message": "assert 1 == 2",
        }
    ]  # fmt: skip
    assert "* `test` failed: `step 'Tests' ended with exit code 1`" in build["output"]["summary"]


def test_a_retry_is_a_check_run_of_its_own_and_the_newest(scene: Scene) -> None:
    scene.build(1, Status.FAILED, strict(1, state=Status.FAILED, attempt=1))
    scene.run()
    scene.build(2, Status.RUNNING, strict(2, state=Status.RUNNING, attempt=1), mid="again")
    scene.run()
    newest = {run["name"]: (run["external_id"], run["status"]) for run in scene.github.runs}
    assert newest == {"surveil/push/test": ("c1:2/test", "in_progress"), "surveil/push": ("c1:2", "in_progress")}
    assert len(scene.github.runs) == 4


@pytest.mark.parametrize(
    ("state", "conclusion"),
    [
        (Status.PASSED, "success"),
        (Status.FAILED, "neutral"),  # which it may
        (Status.CANCELLED, "cancelled"),
        (Status.SKIPPED, "skipped"),
    ],
)
def test_a_job_that_ended_concludes_as_it_did(scene: Scene, state: Status, conclusion: str) -> None:
    scene.build(1, Status.PASSED, make_job(1, state=state, attempt=1))
    scene.run()
    assert [run["conclusion"] for run in scene.github.runs] == [conclusion, "success"]


def test_a_token_is_bought_once_an_hour_and_again_where_it_was_taken_back(scene: Scene) -> None:
    async def tell() -> list[str]:
        async with Caller() as caller:
            checks = Checks(scene.rule.app, caller)
            run = CheckRun(
                project="acme/it", sha=SHA, name="x", external_id="c1:9", state="queued", title="", summary="", url=""
            )
            fates = [(await checks.tell(run, now=scene.github.now)).fate]
            assert list(scene.github.tokens) == ["acme/it#0"]
            scene.github.now += 54 * 60_000
            fates.append((await checks.tell(run, now=scene.github.now)).fate)
            assert len(scene.github.tokens) == 1
            scene.github.now += 2 * 60_000  # It would be good for four minutes more.
            fates.append((await checks.tell(run, now=scene.github.now)).fate)
            assert len(scene.github.tokens) == 2
            scene.github.tokens = dict.fromkeys(scene.github.tokens, 0)
            fates.append((await checks.tell(run, now=scene.github.now)).fate)
            fates.append((await checks.tell(run, now=scene.github.now)).fate)
            return [fate.value for fate in fates]

    assert asyncio.run(tell()) == ["delivered", "delivered", "delivered", "unavailable", "delivered"]


def test_an_app_that_is_not_there_or_not_believed_is_told_of_in_a_sentence(scene: Scene) -> None:
    scene.github.installed = {}
    scene.build(1, Status.QUEUED)
    scene.run(3)
    assert "the app Iv23liTheApp is not installed for acme/it" in scene.problem()
    scene.github.installed = {"acme/it": 7}
    scene.key.write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
    scene.github.now += 60_000
    scene.run(3)
    assert "answers 401 for acme/it: A JSON web token could not be decoded" in scene.problem()
    for text in (b"", b"no key", RSAKey.import_key(KEY.as_pem(private=False)).as_pem(private=False)):
        scene.key.write_bytes(text)
        with pytest.raises(Exception, match="the private key of the app Iv23liTheApp cannot be used from"):
            signed(scene.rule.app, NOW)
    scene.key.write_bytes(KEY.as_pem(private=True))
    scene.github.now += 3_600_000
    scene.run(40)
    assert scene.outbox.waiting() == {}
    assert [run["status"] for run in scene.github.runs] == ["queued"]


def test_a_github_that_talks_nonsense_is_asked_again_later(scene: Scene) -> None:
    scene.build(1, Status.PASSED)
    scene.github.moods = [
        Mood(status=200, body=b"[]"),
        Mood(status=200, body=b'{"id": "7"}'),
        Mood(status=200, body=b"\xff"),
        Mood(status=403, headers=(("retry-after", "61"),), body=b'{"message": "a secondary rate limit"}'),
        Mood(cut=True),
    ]
    scene.run(500)
    assert [run["conclusion"] for run in scene.github.runs] == ["success"]
    assert scene.outbox.waiting() == {}


def test_what_was_kept_and_is_no_check_run_is_given_up(scene: Scene) -> None:
    parcel = Parcel(id=1, subject="s", slot="s", body='{"project": "x"}', made_at=NOW)

    async def tell() -> Fate:
        async with Caller() as caller:
            target = CheckRuns(
                scene.rule, reader=scene.store.reader, caller=caller, public_url=None, now=lambda: NOW, cluster="c1"
            )
            scene.build(7, Status.QUEUED)
            [draft] = target.drafts(scene.store.reader.journal())
            assert json.loads(draft.body)["url"] == "", "nobody said where the pages are"
            return (await target.tell(parcel)).fate

    assert asyncio.run(tell()) is Fate.HOPELESS
