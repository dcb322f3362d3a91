"""Questions that read: what they find, how they turn pages, and how they wait."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from surveil import __version__
from surveil.answer import Reply, RunnerWish
from surveil.answer.answers import answered, refusal
from surveil.core.events import RunnerOrder, RunnerWanted
from surveil.core.model import AttemptState, Note, Status
from surveil.errors import NotFoundError, UsageError
from surveil.protocol import Ask, StepReport, WatchedRepo, encode
from tests.answer.desk import Desk
from tests.store.records import make_attempt, make_build, make_job, make_note, make_peer, make_runner, make_token, new

SOON_S = 60
"""Longer than anything takes that is told of at once, and shorter than whoever waits would wait for nothing."""


def desk_with_builds(count: int) -> Desk:
    desk = Desk()
    for number in range(1, count + 1):
        ref = "refs/heads/main" if number % 2 else "refs/tags/v1"
        repo = "/srv/one" if number < 4 else "https://example.org/team/two.git"
        desk.store.commit(new(make_build(number, ref=ref, repo=repo), make_job(number)))
    return desk


def ids(builds: list[dict[str, Any]]) -> list[int]:
    return [build["id"] for build in builds]


def test_builds_come_newest_first_with_their_jobs() -> None:
    builds = desk_with_builds(3).ask("builds")
    assert ids(builds) == [3, 2, 1]
    assert [job["id"] for job in builds[0]["jobs"]] == ["3/test"]


def test_a_brief_list_has_all_of_a_build_but_its_jobs() -> None:
    desk = desk_with_builds(3)
    whole = desk.ask("builds")
    assert desk.ask("builds", brief=True) == [
        {name: value for name, value in build.items() if name != "jobs"} for build in whole
    ]


def test_builds_are_found_by_short_names_of_repository_and_ref() -> None:
    desk = desk_with_builds(8)
    assert ids(desk.ask("builds", repo="/srv/one")) == [3, 2, 1]
    assert ids(desk.ask("builds", repo="two")) == [8, 7, 6, 5, 4]
    assert ids(desk.ask("builds", repo="team/two", limit=2)) == [8, 7]
    assert ids(desk.ask("builds", repo="wo")) == []
    assert ids(desk.ask("builds", ref="v1", before=7)) == [6, 4, 2]
    assert ids(desk.ask("builds", repo="one", ref="main")) == [3, 1]
    assert ids(desk.ask("builds", ref="nothing")) == []
    desk.store.commit(new(make_build(9, jobs=(), ref="refs/heads/v1")))
    assert ids(desk.ask("builds", ref="v1")) == [9]
    # A branch goes before a tag, on its last page as on its first.
    assert ids(desk.ask("builds", ref="v1", before=9)) == []


def test_a_short_name_means_all_repositories_that_have_it_unless_it_is_the_whole_name_of_one() -> None:
    desk = desk_with_builds(8)
    assert ids(desk.ask("builds", repo="one")) == [3, 2, 1]
    desk.store.commit(new(make_build(9, repo="https://example.org/other/two.git", jobs=())))
    assert ids(desk.ask("builds", repo="two")) == [9, 8, 7, 6, 5, 4]
    assert ids(desk.ask("builds", repo="two", limit=2, before=9)) == [8, 7]
    desk.store.commit(new(make_build(10, repo="/srv/elsewhere/one", jobs=())))
    assert ids(desk.ask("builds", repo="one")) == [10, 3, 2, 1]
    assert ids(desk.ask("builds", repo="/srv/one")) == [3, 2, 1]


def test_builds_are_found_by_their_author_as_commits_have_it_or_by_name_or_address() -> None:
    desk = Desk()
    ada, other, grace, plain = "Ada <ada@example.org>", "ada <ada@work.example>", "Grace <g@example.org>", "Linus"
    for number, author in enumerate((ada, other, grace, plain, ada), 1):
        repo = "/srv/two" if number == 5 else "/srv/one"
        desk.store.commit(new(make_build(number, repo=repo, author=author, jobs=(), state=Status.FAILED)))
    assert ids(desk.ask("builds", author=ada)) == [5, 1]
    assert ids(desk.ask("builds", author="ADA")) == [5, 2, 1]
    assert ids(desk.ask("builds", author="g@example.org")) == [3]
    assert ids(desk.ask("builds", author="linus")) == [4]
    assert ids(desk.ask("builds", author="Ada", repo="one", state="failed", ref="main")) == [2, 1]
    assert ids(desk.ask("builds", author="Ada", among=["/srv/two"])) == [5]
    assert ids(desk.ask("builds", author="Ada", state="passed")) == []
    assert ids(desk.ask("builds", author="example.org")) == []
    # What somebody is called in a repository that is not seen changes nothing.
    desk.store.commit(new(make_build(6, repo="/srv/three", author="Ada", jobs=(), state=Status.FAILED)))
    assert ids(desk.ask("builds", author="Ada", among=["/srv/two"])) == [5]
    assert ids(desk.ask("builds", author="Ada", among=["/srv/two", "/srv/three"])) == [6]


def test_builds_are_found_by_their_state_and_by_what_made_them() -> None:
    desk = desk_with_builds(3)
    desk.store.commit(new(make_build(4, state=Status.FAILED, event="tag"), make_build(5, state=Status.FAILED)))
    assert ids(desk.ask("builds", state="failed")) == [5, 4]
    assert ids(desk.ask("builds", state="failed", event="tag", repo="repo")) == [4]
    assert ids(desk.ask("builds", state="queued", before=3)) == [2, 1]
    with pytest.raises(UsageError, match="must be one of"):
        desk.ask("builds", state="broken")


def test_pages_of_builds_end_where_a_message_would_grow_too_large_and_never_before_the_first() -> None:
    desk = Desk()
    for number in range(1, 4):
        desk.store.commit(new(*large_build(number, jobs=100)))
    first = desk.ask("builds")
    assert ids(first) == [3]
    assert len(encode(answered(Ask(id=1, what="builds", about={}), Reply(body=first)))[1]) < 900_000
    assert ids(desk.ask("builds", before=first[-1]["id"])) == [2]


def large_build(number: int, *, jobs: int) -> list[Any]:
    names = tuple(f"job-{at}" for at in range(jobs))
    steps = tuple(StepReport(name=f"step {at}" * 5, state="passed", log_at=at) for at in range(100))
    records: list[Any] = [make_build(number, jobs=names)]
    for position, name in enumerate(names):
        records.append(make_job(number, name, position=position, attempt=1))
        records.append(make_attempt(number, name, steps=steps))
    return records


def test_a_build_larger_than_a_message_comes_in_pages_that_miss_no_job() -> None:
    desk = Desk()
    desk.store.commit(new(*large_build(1, jobs=200)))
    names: list[str] = []
    pages: list[dict[str, Any]] = []
    while not pages or "jobs_next" in pages[-1]:
        page = desk.ask("build", build=1, jobs_at=pages[-1]["jobs_next"] if pages else 0)
        assert len(encode(answered(Ask(id=1, what="build", about={}), Reply(body=page)))[1]) < 900_000
        names += [job["name"] for job in page["jobs"]]
        pages.append(page)
    assert names == [f"job-{number}" for number in range(200)]
    assert len(pages) > 2


def test_what_does_not_exist_is_said_with_the_command_that_lists_what_does() -> None:
    with pytest.raises(NotFoundError, match="There is no build `7`; `surveil builds`"):
        Desk().ask("build", build=7)


@pytest.mark.parametrize(
    ("what", "about", "sentence"),
    [
        ("stauts", {}, "knows no question `stauts`; did you mean `status`"),
        ("builds", {"limt": 3}, "takes no argument `limt`; did you mean `limit`"),
        ("builds", {"limit": 0}, "`limit` of the question `builds` must be an integer from 1 to 200"),
        ("builds", {"limit": "3"}, "must be an integer"),
        ("builds", {"limit": True}, "must be an integer"),
        ("builds", {"repo": 3}, "must be a text"),
        ("build", {}, "`build` of the question `build` must be an integer"),
        ("journal", {"wait_ms": 30_001}, "must be an integer from 0 to 30000"),
        ("runner", {"name": "x", "order": "explode"}, "must be one of drain, cordon, uncordon, revoke"),
        ("status", {"verbose": True}, "takes no argument `verbose`"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(what: str, about: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Desk().ask(what, **about)


def test_status_counts_what_memory_holds() -> None:
    desk = Desk()
    desk.live.state.put(make_build(), 0)
    desk.live.state.put(make_job(state=Status.QUEUED), 0)
    desk.live.state.put(make_runner("a", slots=4), 0)
    desk.live.state.put(make_runner("b", online=False), 0)
    desk.live.watching["eye"] = (WatchedRepo(repo="/srv/one", problem="gone"),)
    status = desk.ask("status")
    assert status["queue"] == {"queued": 1, "running": 0, "blocked": 0, "held": 0}
    assert status["runners"] == {"online": 1, "offline": 1, "slots": 4, "busy": 0}
    assert status["watching"] == [{"repo": "/srv/one", "problem": "gone", "observer": "eye"}]
    assert (status["dispatcher"]["id"], status["dispatcher"]["uptime_ms"]) == ("c1", 5000)
    assert (status["dispatcher"]["epoch"], status["dispatcher"]["version"]) == (3, __version__)


def test_runners_are_shown_as_memory_knows_them_and_as_stored_where_it_does_not() -> None:
    desk = Desk()
    desk.store.commit(new(make_runner("a", online=False), make_runner("b", online=False)))
    desk.live.state.put(make_runner("a", cordoned="disk"), 0)
    shown = {runner["name"]: (runner["state"], runner["reason"]) for runner in desk.ask("runners")}
    assert shown == {"a": ("suspect", "disk"), "b": ("offline", None)}


def test_a_runner_that_was_revoked_is_listed_no_more_and_takes_no_orders() -> None:
    desk = Desk()
    old, younger = make_runner("a", seen_at=9), replace(make_runner("a"), id="n" * 40)
    desk.store.commit(new(old, younger))
    desk.store.add_peer(make_peer("a", key=old.id))
    desk.store.revoke_peer(old.id, now=2)
    desk.store.add_peer(make_peer("a", key=younger.id))
    assert [runner["id"] for runner in desk.ask("runners")] == [younger.id]
    wanted = RunnerWanted(runner=younger.id, order=RunnerOrder.DRAIN, reason="by a person")
    assert desk.reply("runner", name="a", order="drain") == RunnerWish(event=wanted)


def test_a_list_longer_than_a_message_comes_in_pages() -> None:
    desk = Desk()
    names = [f"runner-{number:04}" for number in range(1500)]
    labels = tuple(f"label-{number}" for number in range(10))
    desk.store.commit(new(*(make_runner(name, labels=labels, host="h" * 60) for name in names)))
    first = desk.ask("runners")
    assert len(encode(answered(Ask(id=1, what="runners", about={}), Reply(body=first)))[1]) < 900_000
    second = desk.ask("runners", at=len(first))
    assert sorted(runner["name"] for runner in first + second) == names


def test_tokens_and_peers_are_listed_without_any_secret() -> None:
    desk = Desk()
    desk.store.add_token(make_token(expires_at=desk.now + 1))
    desk.store.add_peer(make_peer())
    (token,) = desk.ask("tokens")
    assert (token["id"], token["usable"], "digest" in token) == ("t1", True, False)
    assert [peer["name"] for peer in desk.ask("peers")] == ["spare-2"]


def test_the_journal_is_read_from_a_position_on_and_for_one_build() -> None:
    desk = Desk()
    runner = make_runner()
    desk.live.state.put(runner, 0)
    notes = (make_note(), make_note("runner", runner.id, build=None), make_note("job", "1/test"))
    desk.store.commit(new(make_build(), make_job(), notes=notes))
    page = desk.ask("journal", after=0)
    assert [(note["position"], note["what"], note["name"]) for note in page["notes"]] == [
        (1, "build", None),
        (2, "runner", "spare-2"),
        (3, "job", None),
    ]
    assert page["position"] == 3
    assert [note["position"] for note in desk.ask("journal", after=1, build=1)["notes"]] == [3]
    assert desk.ask("journal") == {"notes": [], "position": 3}


def test_a_waiting_reader_of_the_journal_hears_of_a_commit_at_once_and_of_other_builds_not_at_all() -> None:
    desk = Desk()
    desk.store.commit(new(make_build(1), make_build(2)))

    async def scenario() -> tuple[bool, Reply]:
        answers = desk.answers()
        about = {"after": 0, "build": 1, "wait_ms": 30_000}
        waiting = asyncio.create_task(answers.answer(Ask(id=1, what="journal", about=about)))
        await asyncio.sleep(0.05)
        commit(desk, answers, make_note("job", "2/test", build=2))
        await asyncio.sleep(0.05)
        early = waiting.done()
        commit(desk, answers, make_note("job", "1/test", build=1))
        reply = await asyncio.wait_for(waiting, SOON_S)
        assert isinstance(reply, Reply)
        return early, reply

    early, reply = asyncio.run(scenario())
    assert not early
    assert [note["id"] for note in reply.body["notes"]] == ["1/test"]


def commit(desk: Desk, answers: Any, *notes: Note) -> None:
    desk.store.commit(new(notes=notes))
    answers.on_commit(notes)


def test_a_wait_without_news_ends_with_an_empty_page_and_at_the_end_of_the_dispatcher_at_once() -> None:
    desk = Desk()

    async def scenario() -> list[Any]:
        answers = desk.answers()
        short = await answers.answer(Ask(id=1, what="journal", about={"after": 0, "wait_ms": 10}))
        long = asyncio.create_task(answers.answer(Ask(id=2, what="journal", about={"after": 0, "wait_ms": 30_000})))
        await asyncio.sleep(0.05)
        answers.on_stop()
        return [short, await asyncio.wait_for(long, SOON_S)]

    assert [reply.body for reply in asyncio.run(scenario())] == [{"notes": [], "position": 0}] * 2


def test_a_refusal_carries_the_sentence_and_the_exit_code() -> None:
    told = refusal(Ask(id=9, what="build", about={}), NotFoundError("There is none."))
    assert (told.id, told.error, told.exit_code, told.body) == (9, "There is none.", 6, None)


def test_attempts_stand_under_their_job_oldest_first() -> None:
    desk = Desk()
    lost = replace(make_attempt(), state=AttemptState.LOST)
    desk.store.commit(new(make_build(), make_job(attempt=2), lost, make_attempt(number=2)))
    (job,) = desk.ask("build", build=1)["jobs"]
    assert [(attempt["number"], attempt["state"]) for attempt in job["attempts"]] == [(1, "lost"), (2, "assigned")]
