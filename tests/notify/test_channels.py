"""From the journal to what people read: what is news for a channel, and what the message says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.core.outbox import Fate, Outcome
from surveil.core.patterns import read_patterns
from surveil.core.turns import News
from surveil.frozen import replace
from surveil.notify.channels import Channel, Envelope
from surveil.notify.delivering import Delivery
from surveil.notify.gathering import LINES_MAX, LOOKED_AT_BYTES, Gatherer
from surveil.notify.wanting import Wanted, read_repos
from surveil.notify.wording import Message, plain
from surveil.protocol import Case, StepReport, Tally
from surveil.store.logs import LogStore
from surveil.store.outbox import Outbox
from tests.store.memory import MemoryStore
from tests.store.records import make_attempt, make_build, make_job, make_note, make_runner, make_spec, new

NOW = 1_750_000_000_000
ALL = Wanted(news=frozenset(News))


class Noted:
    """A carrier that notes what it is given."""

    def __init__(self) -> None:
        self.carried: list[tuple[Message, Envelope]] = []
        self.moods: list[Outcome] = []

    async def carry(self, message: Message, envelope: Envelope) -> Outcome:
        self.carried.append((message, envelope))
        return self.moods.pop(0) if self.moods else Outcome(fate=Fate.DELIVERED)


class Scene:
    """A store whose builds a channel is told of."""

    def __init__(self, folder: Path, wanted: Wanted = ALL) -> None:
        self.store = MemoryStore()
        self.outbox = Outbox(folder)
        self.logs = LogStore(folder / "logs")
        self.gatherer = Gatherer(reader=self.store.reader, logs=self.logs, public_url="https://ci.example.org/")
        self.carrier = Noted()
        self.channel = Channel("team", wanted, self.carrier, self.gatherer)
        self.now = NOW
        self.run()

    def close(self) -> None:
        self.logs.close()
        self.outbox.close()

    def ends(self, number: int, state: Status, *records: Job | Attempt, **fields: Any) -> None:
        """A build that is over, as it came to be."""
        self.now += 1000
        jobs = tuple(each.spec.name for each in records if isinstance(each, Job)) or ("test",)
        values: dict[str, Any] = {
            "repo": "/srv/it.git", "sha": f"{number:040x}", "author": f"Ann {number}",
            "message": f"Change {number}\n\nx", "reason": "",
            "started_at": self.now - 62_000, "finished_at": self.now, "state": state,
        }  # fmt: skip
        note = make_note("build", str(number), build=number, at=self.now, state=state)
        self.store.commit(new(make_build(number, jobs, **(values | fields)), *records, notes=(note,)))

    def log(self, job: str, data: bytes) -> None:
        for at in range(0, len(data), 200_000):
            part = data[at : at + 200_000]
            self.logs.append(job, 1, at=at, data=part, crc=crc32(part), after_ms=0)
        self.logs.flush()

    def run(self, turns: int = 20) -> list[str]:
        """Tell all that is to be told; the titles of what was carried."""

        async def deliver() -> None:
            delivery = Delivery(
                self.channel, reader=self.store.reader, outbox=self.outbox, now=lambda: self.now
            )  # fmt: skip
            for _ in range(turns):
                self.now += await delivery.step()

        before = len(self.carrier.carried)
        asyncio.run(deliver())
        return [message.title for message, _ in self.carrier.carried[before:]]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def wrong(build: int, name: str = "test", state: Status = Status.FAILED, **fields: Any) -> Job:
    spec = replace(make_spec(name), continue_on_error=False)
    return make_job(build, name, **({"spec": spec, "state": state, "reason": "exit code 1", "attempt": 1} | fields))


def test_what_changed_for_a_ref_is_told_in_a_line_and_each_build_once(scene: Scene) -> None:
    scene.ends(1, Status.PASSED)
    scene.ends(2, Status.FAILED, wrong(2), wrong(2, "lint", position=1))
    scene.ends(3, Status.ERRORED, wrong(3, state=Status.ERRORED))
    scene.ends(4, Status.CANCELLED)
    scene.ends(5, Status.PASSED)
    scene.ends(6, Status.FAILED, wrong(6), ref="refs/heads/other")
    assert scene.run() == [
        "Passed: main of it (build 1)",
        "Broken: main of it: test, lint (build 2)",
        "Still failing: main of it: test (build 3)",
        "Fixed: main of it (build 5)",
        "Broken: other of it: test (build 6)",
    ]
    assert scene.run() == []
    assert len({envelope.id for _, envelope in scene.carrier.carried}) == 5


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(), [2, 3]),
        (Wanted(news=frozenset({News.FIXED})), [3]),
        (Wanted(refs=read_patterns(["release/*"])), []),
        (Wanted(refs=read_patterns(["main", "!main"])), []),
        (Wanted(repos=read_repos(["/srv/*.git"])), [2, 3]),
        (Wanted(repos=read_repos(["/srv/it", "https://*"])), []),
    ],
)
def test_a_channel_is_told_of_what_it_wants_alone(tmp_path: Path, wanted: Wanted, told: list[int]) -> None:
    scene = Scene(tmp_path, wanted)
    scene.ends(1, Status.PASSED)
    scene.ends(2, Status.FAILED, wrong(2))
    scene.ends(3, Status.PASSED)
    scene.run()
    scene.close()
    assert [message.document["build"] for message, _ in scene.carrier.carried] == told


def test_a_message_says_what_broke_whose_commits_it_has_and_where_to_look(scene: Scene) -> None:
    scene.ends(1, Status.PASSED)
    scene.ends(2, Status.CANCELLED)
    log = b"installing\n" * 3 + b"\x1b[31mE   assert 1 == 2\x1b[0m\n\nFAILED test_a.py::test_b\n"
    steps = (
        StepReport(name="install", state="passed", log_at=0),
        StepReport(name="test", state="failed", exit_code=1, log_at=22),
    )
    attempt = make_attempt(3, state=AttemptState.FAILED, steps=steps, runner_name="spare-2", log_bytes=len(log))
    scene.log("3/test", log)
    scene.ends(3, Status.FAILED, wrong(3), attempt, reason="test failed")
    cases = [
        Case(suite="test_a.py", name="test_b", state="failed", duration_ms=5, message="assert 1 == 2"),
        Case(suite="test_a.py", name="test_c", state="passed", duration_ms=5),
    ]
    scene.store.add_cases(("3/test", 1), 0, cases, Tally(passed=1, failed=1, errored=0, skipped=0, duration_ms=10))
    scene.run()
    message, _ = scene.carrier.carried[-1]
    assert plain(message) == (
        "Broken: main of it: test (build 3)\n"
        "https://ci.example.org/builds/3\n"
        "\n"
        "Build 3 of /srv/it.git at refs/heads/main failed after 1 min 2 s: test failed.\n"
        "Build 1 before it had passed.\n"
        "\n"
        "Commits since build 1\n"
        "  * 0000000 Change 3 (by Ann 3)\n"
        "  * 0000000 Change 2 (by Ann 2)\n"
        "\n"
        "test failed on spare-2: exit code 1\n"
        "  https://ci.example.org/builds/3/jobs/test/attempts/1\n"
        "  | E   assert 1 == 2\n"
        "  |\n"
        "  | FAILED test_a.py::test_b\n"
        "\n"
        "1 new failing test\n"
        "  * test_b (test_a.py): assert 1 == 2\n"
    )
    assert message.document["jobs"][0]["lines"] == ["E   assert 1 == 2", "", "FAILED test_a.py::test_b"]
    assert message.document["commits"][1] == {
        "sha": f"{2:040x}", "author": "Ann 2", "subject": "Change 2", "build": 2,
    }  # fmt: skip


def test_who_broke_it_is_said_until_it_is_mended(scene: Scene) -> None:
    for number, state in enumerate((Status.PASSED, Status.FAILED, Status.FAILED, Status.PASSED), start=1):
        scene.ends(number, state, wrong(number, state=state))
    scene.run()
    texts = [plain(message) for message, _ in scene.carrier.carried]
    assert "It is broken since build 2, 0000000 Change 2 (by Ann 2)." in texts[2]
    assert "It was broken since build 2, 0000000 Change 2 (by Ann 2)." in texts[3]


def test_of_a_log_without_end_the_first_trouble_is_shown_or_its_end(scene: Scene) -> None:
    noise = b"fine\n" * (LOOKED_AT_BYTES // 5 + 1000)
    scene.log("2/early", b"error: here\n" + noise)
    scene.log("2/late", noise + b"error: too late\nlast\n")
    attempts = [
        make_attempt(2, name, state=AttemptState.FAILED, steps=(StepReport(name="a", state="failed", log_at=0),))
        for name in ("early", "late")
    ]
    scene.ends(2, Status.FAILED, wrong(2, "early"), wrong(2, "late", position=1), *attempts)
    scene.run()
    early, late = scene.carrier.carried[0][0].document["jobs"]
    assert early["lines"] == ["error: here", *["fine"] * (LINES_MAX - 1)]
    assert late["lines"] == ["error: too late", "last"]


def test_what_waits_is_said_as_it_was_when_it_happened(scene: Scene) -> None:
    scene.carrier.moods = [Outcome(fate=Fate.UNAVAILABLE, reason="away")]
    scene.ends(1, Status.FAILED, wrong(1))
    scene.run(3)
    scene.ends(2, Status.PASSED)
    scene.run(40)
    titles = [message.title for message, _ in scene.carrier.carried]
    assert titles == ["Broken: main of it: test (build 1)"] * 2 + ["Fixed: main of it (build 2)"]


def lose(scene: Scene, reason: str) -> None:
    """A runner goes, with a job at work."""
    scene.now += 1000
    runner = make_runner("spare-2", online=False)
    attempt = make_attempt(1, runner=runner.id, state=AttemptState.LOST, reason="runner spare-2 stopped answering")
    job = wrong(1, state=Status.QUEUED, reason="")
    values: dict[str, Any] = {"repo": "/srv/it.git", "state": Status.RUNNING, "reason": ""}
    notes = (
        make_note("runner", runner.id, build=None, at=scene.now, state="offline", reason=reason),
        make_note("attempt", "1/test#1", build=1, at=scene.now, state="lost", reason=attempt.reason),
    )
    scene.store.commit(new(make_build(1, **values), job, attempt, runner, notes=notes))


def test_a_runner_that_is_lost_is_told_with_what_it_had_at_work(scene: Scene) -> None:
    lose(scene, "nothing was heard of it for 8.1 s: 4 heartbeats missed")
    assert scene.run() == ["Lost: runner spare-2 with test of build 1"]
    assert plain(scene.carrier.carried[0][0]).splitlines()[1:] == [
        "https://ci.example.org/runners",
        "",
        "Runner spare-2 counts as gone: nothing was heard of it for 8.1 s: 4 heartbeats missed.",
        "",
        "test of build 1: attempt 1 was lost, and the job is queued",
        "  https://ci.example.org/builds/1/jobs/test/attempts/1",
        "  * main of /srv/it.git",
        "  * runner spare-2 stopped answering",
    ]


def test_who_wants_some_repositories_hears_of_what_was_lost_there(tmp_path: Path) -> None:
    for repos, titles in (("/srv/*", ["Lost: runner spare-2 with test of build 1"]), ("/other", [])):
        (tmp_path / repos.strip("/*")).mkdir()
        scene = Scene(tmp_path / repos.strip("/*"), replace(ALL, repos=read_repos([repos])))
        lose(scene, "its connection closed and it has not come back; it was last heard 8.1 s ago")
        assert scene.run() == titles
        scene.close()


def test_a_runner_that_takes_its_leave_is_not_lost(scene: Scene) -> None:
    runner = make_runner("spare-2", online=False)
    notes = [
        make_note("runner", runner.id, build=None, at=NOW, state="offline", reason=reason)
        for reason in ("it said goodbye", "it was revoked: stolen")
    ]
    scene.store.commit(new(runner, notes=tuple(notes)))
    assert scene.run() == []


def test_what_is_not_kept_any_more_is_given_up(scene: Scene) -> None:
    scene.ends(1, Status.FAILED, wrong(1))
    scene.channel.drafts(scene.store.reader.journal())
    scene.carrier.moods = [Outcome(fate=Fate.UNAVAILABLE, reason="away")]
    scene.run(2)
    del scene.store.builds[1]
    scene.now += 10_000
    scene.run(3)
    assert scene.outbox.waiting() == {}
    assert scene.outbox.followings()[0].given_up == 1
