"""Commits on their way into the mind, with a store that knows what a test tells it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from surveil import pipeline
from surveil.core.events import BuildWanted
from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.core.triggers import Schedule
from surveil.core.trust import read_trust
from surveil.hands.submitting import KEPT_CHARACTERS_MAX, PIPELINES_KEPT, READING_MAX, Submissions
from surveil.protocol import CommitSeen, IncludedFile, ShardResult
from surveil.store import Reader
from surveil.tasks import Tasks
from tests.store.memory import MemoryStore
from tests.store.records import make_build, make_runner, new

COMMIT = CommitSeen(
    mid="m1", repo="/r", ref="refs/heads/main", sha="a" * 40, event="push", message="m", author="a",
    pipeline="jobs: {test: {steps: [{run: 'true'}]}}", pipeline_file=".surveil.yml",
)  # fmt: skip


@dataclass
class Stage:
    """Submissions with what they put, and which builds the store holds."""

    known: dict[str, int] = field(default_factory=dict)
    put: list[BuildWanted] = field(default_factory=list)
    trusted: tuple[str, ...] = ()
    learnt: list[tuple[str, tuple[Schedule, ...] | None]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)
    tasks: Tasks = field(default_factory=lambda: Tasks(lambda _: None))

    def __post_init__(self) -> None:
        self.submissions = Submissions(
            cast("Reader", self),
            start=self.tasks.start,
            put=self.put.append,
            trust=read_trust(self.trusted),
            learn=self.learn,
        )

    async def learn(self, commit: CommitSeen, schedules: tuple[Schedule, ...] | None) -> None:
        self.learnt.append((commit.mid, schedules))

    def build_of_mid(self, mid: str) -> int | None:
        return self.known.get(mid)

    def submit(self, commit: CommitSeen | BuildWanted) -> bool:
        return self.submissions.submit(commit, lambda build: self.told.append((commit.mid, build)))

    async def settle(self) -> None:
        await self.tasks.wait()
        self.tasks.check()


def test_included_files_are_part_of_what_was_read_before() -> None:
    async def scene() -> None:
        stage = Stage()
        for number, name in enumerate(["one", "two", "one"]):
            text = f"jobs: {{{name}: {{steps: [{{run: x}}]}}}}"
            files = (IncludedFile(path="a.yml", text=text),)
            stage.submit(replace(COMMIT, mid=f"m{number}", pipeline="include: a.yml", includes=files))
            await stage.settle()
        assert [[job.name for job in wanted.jobs] for wanted in stage.put] == [["one"], ["two"], ["one"]]
        assert stage.put[0].jobs[0] is stage.put[2].jobs[0]

    asyncio.run(scene())


def test_a_commit_becomes_a_wish_with_its_jobs_and_is_told_its_build_once_that_is_on_disk() -> None:
    async def scene() -> None:
        stage = Stage()
        assert stage.submit(COMMIT)
        await stage.settle()
        (wanted,) = stage.put
        assert [job.name for job in wanted.jobs] == ["test"]
        assert (wanted.mid, wanted.sha, wanted.complaints) == ("m1", "a" * 40, ())
        assert stage.told == []
        stage.submissions.acknowledge("m1", 7)
        stage.submissions.acknowledge("m1", 7)
        assert stage.told == [("m1", 7)]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("commit", "complaint"),
    [
        (replace(COMMIT, pipeline="jobs: {test: {stepz: []}}"), ".surveil.yml:1:"),
        (replace(COMMIT, pipeline=None, problem="nothing tells what to run"), "nothing tells what to run"),
    ],
)
def test_what_cannot_be_run_becomes_a_wish_with_complaints(commit: CommitSeen, complaint: str) -> None:
    async def scene() -> None:
        stage = Stage()
        assert stage.submit(commit)
        await stage.settle()
        (wanted,) = stage.put
        assert wanted.jobs == ()
        assert wanted.complaints[0].startswith(complaint)

    asyncio.run(scene())


def test_a_fact_that_the_store_knows_is_answered_from_there_and_makes_nothing() -> None:
    async def scene() -> None:
        stage = Stage(known={"m1": 3})
        assert stage.submit(COMMIT)
        await stage.settle()
        assert (stage.put, stage.told) == ([], [("m1", 3)])

    asyncio.run(scene())


def test_a_repeated_fact_is_read_once_and_everybody_who_said_it_is_told() -> None:
    async def scene() -> None:
        stage = Stage()
        assert [stage.submit(COMMIT) for _ in range(3)] == [True] * 3
        await stage.settle()
        assert len(stage.put) == 1
        stage.submissions.acknowledge("m1", 7)
        assert stage.told == [("m1", 7)] * 3

    asyncio.run(scene())


def test_the_commits_of_a_ref_keep_their_order_however_long_one_is_read() -> None:
    async def scene() -> None:
        stage = Stage()
        long = replace(COMMIT, pipeline=f"{COMMIT.pipeline}\n" + "# a remark\n" * 5_000)
        assert stage.submit(long)
        assert stage.submit(replace(COMMIT, mid="m2"))
        assert stage.submit(replace(COMMIT, mid="m3"))
        await stage.settle()
        assert [wanted.mid for wanted in stage.put] == ["m1", "m2", "m3"]

    asyncio.run(scene())


def test_a_pipeline_is_read_once_and_its_jobs_are_shared_unless_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = pipeline.load

    def noted(text: bytes | str, *more: Any) -> Any:
        read.append(str(text))
        return load(text, *more)

    monkeypatch.setattr(pipeline, "load", noted)
    long = f"{COMMIT.pipeline}\n" + "#" * KEPT_CHARACTERS_MAX
    others = [f"{COMMIT.pipeline}  # {number}" for number in range(PIPELINES_KEPT)]

    async def scene() -> None:
        stage = Stage()
        for number, text in enumerate([COMMIT.pipeline, COMMIT.pipeline, long, long, *others, COMMIT.pipeline]):
            assert stage.submit(replace(COMMIT, mid=f"m{number}", pipeline=text))
            await stage.settle()
        assert stage.put[0].jobs is stage.put[1].jobs
        assert read == [COMMIT.pipeline, long, long, *others, COMMIT.pipeline]

    asyncio.run(scene())


def test_more_than_may_be_read_at_once_is_not_taken() -> None:
    async def scene() -> None:
        stage = Stage()
        taken = [stage.submit(replace(COMMIT, mid=f"m{number}")) for number in range(READING_MAX + 1)]
        assert taken == [True] * READING_MAX + [False]
        await stage.settle()
        assert len(stage.put) == READING_MAX
        stage.submissions.acknowledge("m0", 1)
        assert stage.submit(replace(COMMIT, mid="another"))
        await stage.settle()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("ref", "said", "more", "trusted", "event"),
    [
        ("refs/heads/main", True, (), True, "push"),
        ("refs/tags/v1", True, (), True, "push"),
        ("refs/heads/main", False, (), False, "push"),
        ("refs/pull/5/head", False, (), False, "pull_request"),
        ("refs/merge-requests/5/head", False, ("refs/merge-requests/*",), False, "pull_request"),
        ("refs/merge-requests/5/head", True, ("refs/merge-requests/*",), True, "pull_request"),
    ],
)
def test_the_dispatcher_trusts_no_more_than_it_is_told_and_no_more_than_the_observer(
    ref: str, *, said: bool, more: tuple[str, ...], trusted: bool, event: str
) -> None:
    async def scene() -> None:
        stage = Stage(trusted=more)
        seen = replace(COMMIT, ref=ref, trusted=said, base="refs/heads/main", paths=("a",))
        assert stage.submissions.report(seen, lambda _: None, "seen by observer eye")
        await stage.settle()
        (wanted,) = stage.put
        assert (wanted.trusted, wanted.event, wanted.complaints) == (trusted, event, ())
        assert (wanted.base, wanted.paths, len(wanted.jobs)) == ("refs/heads/main", ("a",), 1)

    asyncio.run(scene())


@pytest.mark.parametrize(("ref", "more"), [("refs/pull/5/head", ()), ("refs/heads/bot/x", ("!refs/heads/bot/*",))])
@pytest.mark.parametrize("event", ["push", "manual"])
def test_an_untrusted_commit_that_came_with_its_own_pipeline_is_not_run_by_it(
    ref: str, more: tuple[str, ...], event: Any
) -> None:
    async def scene() -> None:
        stage = Stage(trusted=more)
        assert stage.submit(replace(COMMIT, ref=ref, event=event))
        await stage.settle()
        (wanted,) = stage.put
        assert (wanted.trusted, wanted.jobs) == (False, ())
        assert wanted.complaints[0].startswith(f"{ref} is no ref that this dispatcher trusts")

    asyncio.run(scene())


def wanted_of(commit: CommitSeen) -> BuildWanted:
    found: list[BuildWanted] = []

    async def scene() -> None:
        stage = Stage()
        assert stage.submit(commit)
        await stage.settle()
        found.extend(stage.put)

    asyncio.run(scene())
    (wanted,) = found
    return wanted


ON_MAIN = f"on: {{push: {{branches: [main], paths: [src/**]}}}}\n{COMMIT.pipeline}"


@pytest.mark.parametrize(
    ("commit", "reason"),
    [
        (replace(COMMIT, pipeline=ON_MAIN), ""),
        (replace(COMMIT, pipeline=ON_MAIN, ref="refs/heads/x"), "`on.push.branches` does not choose `x`"),
        (replace(COMMIT, pipeline=ON_MAIN, paths=("a",)), "`on.push.paths` does not choose the file that it changes"),
        (replace(COMMIT, pipeline=ON_MAIN, ref="refs/heads/x", event="manual"), ""),
        (replace(COMMIT, message="[skip ci]"), "its message says [skip ci]"),
        (replace(COMMIT, message="[skip ci]", pipeline="jobs: 3"), "its message says [skip ci]"),
        (replace(COMMIT, message="[skip ci]", event="manual"), ""),
    ],
)
def test_a_commit_that_its_rules_leave_out_is_skipped_for_a_reason(commit: CommitSeen, reason: str) -> None:
    wanted = wanted_of(commit)
    assert (wanted.skipped, bool(wanted.jobs), wanted.complaints) == (reason, not reason, ())


def test_inputs_count_where_a_person_submits_and_nowhere_else() -> None:
    text = f"on: {{push: , manual: {{inputs: {{n: {{type: number}}}}}}}}\n{COMMIT.pipeline}"
    by_hand = replace(COMMIT, pipeline=text, event="manual")
    assert wanted_of(replace(by_hand, inputs={"n": "7"})).jobs[0].env == {"INPUT_N": "7"}
    assert wanted_of(replace(by_hand, inputs={"n": "7"})).inputs == {"n": "7"}
    assert "the input `n` has no default" in wanted_of(by_hand).complaints[0]
    assert wanted_of(replace(COMMIT, pipeline=text, inputs={"n": "7"})).jobs[0].env == {"INPUT_N": ""}


def test_schedules_are_learnt_from_pushes_to_the_main_branch_alone() -> None:
    text = f"on: {{push: , schedule: [{{cron: 30 2 * * *, timezone: Europe/Berlin}}]}}\n{COMMIT.pipeline}"
    nightly = (Schedule(cron="30 2 * * *", timezone="Europe/Berlin"),)
    main = replace(COMMIT, mid="main", pipeline=text, base="refs/heads/main")
    commits = [
        main,
        replace(main, mid="broken", pipeline="jobs: 3"),
        replace(main, mid="none", pipeline=COMMIT.pipeline),
        replace(main, mid="skipped", message="[skip ci]"),
        replace(main, mid="branch", ref="refs/heads/x"),
        replace(main, mid="by hand", event="manual"),
        replace(main, mid="scheduled", event="schedule"),
        replace(main, mid="strange", trusted=False),
    ]

    async def scene() -> None:
        stage = Stage()
        for commit in commits:
            assert stage.submit(commit)
            await stage.settle()
        assert stage.learnt == [("main", nightly), ("broken", None), ("none", ()), ("skipped", nightly)]
        assert {wanted.mid: wanted.event for wanted in stage.put}["scheduled"] == "schedule"

    asyncio.run(scene())


def test_what_an_observer_saw_is_what_its_ref_says() -> None:
    async def scene() -> None:
        stage = Stage()
        for event in ("schedule", "manual", "push"):
            said = replace(COMMIT, mid=event, event=event, message="[skip ci]")
            assert stage.submissions.report(said, lambda _: None, "seen by observer eye")
            await stage.settle()
        assert [(wanted.event, wanted.skipped) for wanted in stage.put] == [("push", "its message says [skip ci]")] * 3

    asyncio.run(scene())


def test_how_many_shards_there_are_is_decided_before_there_is_a_build_by_what_earlier_ones_took() -> None:
    async def scene() -> None:
        store = MemoryStore()
        runners = (
            make_runner("takes it", slots=2),
            make_runner("busy, and takes it", labels=("linux", "gpu"), slots=1),
            make_runner("other", labels=(), slots=1),
            make_runner("away", slots=9, online=False),
            make_runner("leaving", slots=9, draining=True),
            make_runner("held", slots=9, cordoned="by a person"),
        )
        store.commit(new(replace(make_build(1, jobs=()), mid="m0", repo=COMMIT.repo, ref=COMMIT.ref), *runners))
        store.add_shard_list(1, "t", *pack(["a", "b", "c", "d"]))
        done = tuple(ShardResult(item=item, state="passed", duration_ms=60_000) for item in range(4))
        store.add_shard_ask(Asked(job="1/t[shard=1]", attempt=1, seq=2, done=done, given=()), "t")
        stage = Stage()
        stage.submissions = Submissions(
            store.reader, start=stage.tasks.start, put=stage.put.append, trust=read_trust(()), learn=stage.learn
        )
        text = "jobs: {t: {shards: SHARDS, labels: linux, steps: [{run: x}]}, u: {shards: auto, steps: [{run: x}]}}"
        for number, shards in enumerate(["auto", "{target: 1s}", "{target: 1s, most: 2}", "auto"]):
            stage.submit(replace(COMMIT, mid=f"m{number + 1}", pipeline=text.replace("SHARDS", shards)))
            await stage.settle()
        counts = [[job.shards for job in wanted.jobs if job.shards] for wanted in stage.put]
        assert counts == [[2, 2, 1], [3, 3, 3, 1], [2, 2, 1], [2, 2, 1]]
        assert stage.put[0].jobs[0] is stage.put[3].jobs[0], "what was read and decided before is kept"

    asyncio.run(scene())
