"""What every store promises, tried on each implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surveil.core.model import Attempt, AttemptState, LogEnd, Record, Status
from surveil.core.peers import Role
from surveil.core.scopes import Scope, Source
from surveil.core.shards import Asked
from surveil.core.state import Changes
from surveil.errors import NotAllowedError
from surveil.protocol import Tally
from surveil.store import BuildDetail, Counts, DefectError, Store
from surveil.store.happening import Happened
from surveil.store.sqlite import open_store
from tests.store.memory import MemoryStore
from tests.store.records import (
    KEY,
    changed,
    finished,
    make_attempt,
    make_build,
    make_job,
    make_note,
    make_peer,
    make_runner,
    make_secret,
    make_spec,
    make_timetable,
    make_token,
    new,
)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = open_store(tmp_path, now=1) if request.param == "sqlite" else MemoryStore()
    yield opened
    opened.close()


def test_an_empty_store_answers_every_question(store: Store) -> None:
    reader = store.reader
    assert store.load() == ([], 1)
    assert reader.cluster() == store.cluster
    assert reader.builds() == []
    assert reader.repositories() == []
    assert reader.outlines("/srv/repo") == []
    assert reader.history(1, "suite", "test") == []
    assert reader.incidents() == []
    assert reader.build(1) is None
    assert reader.build_of_mid("m") is None
    assert reader.journal() == []
    assert reader.journal_end() == 0
    assert reader.counts() == Counts(blocked=0, held=0, queued=0, running=0, online=0, offline=0, slots=0, busy=0)
    assert reader.owner("1/test", 1) is None
    assert (reader.runners(), reader.peers(), reader.tokens(), reader.secrets()) == ([], [], [], [])
    assert reader.peer(KEY) is None


def test_what_was_committed_comes_back_as_it_was(store: Store) -> None:
    build = make_build(jobs=("z", "a/b é"), retry_of=None)
    jobs = (make_job(name="z"), make_job(name="a/b é", position=1, lost_early=("x",), not_before_at=7))
    attempt = make_attempt(name="z")
    runner = make_runner(cordoned="too quick", probation_at=9, draining=True, quick_errors=2, seen_at=4, incarnation=1)
    note = make_note()
    store.commit(new(build, *jobs, attempt, runner, notes=(note,)))
    assert store.load() == ([build, *jobs, attempt, runner], 2)
    reader = store.reader
    assert reader.build(1) == BuildDetail(build=build, jobs=jobs, attempts=(attempt,))
    assert reader.builds() == [build]
    assert reader.build_of_mid(build.mid) == 1
    assert [(line.position, line.note) for line in reader.journal()] == [(1, note)]
    assert reader.runners() == [runner]
    assert reader.owner("1/z", 1) == attempt.runner
    assert reader.owner("1/z", 2) is None
    assert reader.attempt("1/z", 1) == attempt
    assert reader.attempt("1/z", 2) is None


def test_what_may_change_changes(store: Store) -> None:
    build, job, attempt, runner = make_build(), make_job(), make_attempt(), make_runner()
    store.commit(new(build, job, runner))
    running = replace(
        job, state=Status.RUNNING, attempt=1, started_at=5, failed=1, errored=2, lost=3, lost_early=("q",)
    )
    store.commit(Changes(new=(attempt,), changed=(running,), notes=()))
    passed = replace(running, state=Status.PASSED, reason="done", finished_at=6, not_before_at=3)
    settled = replace(build, state=Status.PASSED, reason="all passed", started_at=5, finished_at=6)
    gone = replace(runner, online=False, slots=9, name="other", labels=("x",))
    store.commit(changed(passed, finished(attempt), settled, gone))
    assert store.reader.build(1) == BuildDetail(build=settled, jobs=(passed,), attempts=(finished(attempt),))
    assert store.reader.runners() == [gone]
    assert store.load() == ([gone], 2)


@pytest.mark.parametrize(
    "wrong",
    [
        make_build(sha="b" * 40),
        make_build(retry_of=5),
        make_job(position=4),
        make_job(created_at=0),
        make_job(spec=make_spec("test", "make tess")),
        make_attempt(runner="s" * 40),
        make_attempt(assigned_at=0),
    ],
)
def test_only_what_may_change_changes(store: Store, wrong: Record) -> None:
    store.commit(new(make_build(), make_job(), make_attempt()))
    with pytest.raises(DefectError, match="1"):
        store.commit(changed(wrong))
    assert store.reader.build(1) == BuildDetail(build=make_build(), jobs=(make_job(),), attempts=(make_attempt(),))


def test_an_empty_batch_is_no_harm(store: Store) -> None:
    store.commit(new())
    assert store.load() == ([], 1)


def test_a_runner_that_the_mind_had_forgotten_is_taken_as_new_again(store: Store) -> None:
    store.commit(new(make_runner(slots=1)))
    store.commit(new(make_runner(slots=2)))
    assert store.reader.runners() == [make_runner(slots=2)]


@pytest.mark.parametrize("verdict", [Status.PASSED, Status.FAILED, Status.ERRORED, Status.CANCELLED, Status.SKIPPED])
def test_a_verdict_is_never_left(store: Store, verdict: Status) -> None:
    build, job = make_build(state=verdict), make_job(state=verdict, attempt=1)
    store.commit(new(build, job, make_runner()))
    late = make_note()
    for wrong in (replace(build, state=Status.RUNNING), replace(job, state=Status.QUEUED, attempt=2)):
        with pytest.raises(DefectError, match="1"):
            store.commit(Changes(new=(make_build(2),), changed=(make_runner(slots=77), wrong), notes=(late,)))
    assert store.reader.builds() == [build]
    assert store.reader.build(1) == BuildDetail(build=build, jobs=(job,), attempts=())
    assert store.reader.runners() == [make_runner()]
    assert store.reader.journal() == []


@pytest.mark.parametrize(
    "state", [AttemptState.PASSED, AttemptState.FAILED, AttemptState.ERRORED, AttemptState.CANCELLED]
)
def test_the_end_of_an_attempt_is_never_left_but_may_be_released(store: Store, state: AttemptState) -> None:
    attempt = make_attempt(state=state)
    store.commit(new(make_build(), make_job(), attempt))
    with pytest.raises(DefectError, match="attempt"):
        store.commit(changed(replace(attempt, state=AttemptState.LOST)))
    released = replace(attempt, released=True)
    store.commit(changed(released))
    assert store.reader.build(1) == BuildDetail(build=make_build(), jobs=(make_job(),), attempts=(released,))


def test_a_lost_attempt_may_come_back(store: Store) -> None:
    attempt = make_attempt(state=AttemptState.LOST)
    store.commit(new(make_build(), make_job(), attempt))
    back = replace(attempt, state=AttemptState.RUNNING, incarnation=9)
    store.commit(changed(back))
    assert store.reader.build(1) == BuildDetail(build=make_build(), jobs=(make_job(),), attempts=(back,))


def test_the_number_of_attempts_never_falls(store: Store) -> None:
    store.commit(new(make_build(), make_job(attempt=2)))
    with pytest.raises(DefectError):
        store.commit(changed(make_job(attempt=1)))
    assert store.load() == ([make_build(), make_job(attempt=2)], 2)


@pytest.mark.parametrize(
    "twice",
    [make_build(), make_build(2, mid=make_build().mid), make_job(), make_attempt()],
    ids=["build", "mid", "job", "attempt"],
)
def test_nothing_is_new_twice(store: Store, twice: object) -> None:
    store.commit(new(make_build(), make_job(), make_attempt()))
    with pytest.raises(DefectError):
        store.commit(Changes(new=(twice,), changed=(), notes=(make_note(),)))  # type: ignore[arg-type]
    assert store.load() == ([make_build(), make_job(), make_attempt()], 2)
    assert store.reader.journal() == []


def test_what_was_never_stored_cannot_change(store: Store) -> None:
    for record in (make_build(), make_job(), make_attempt()):
        with pytest.raises(DefectError):
            store.commit(changed(record))
    assert store.load() == ([], 1)


def test_builds_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    builds = [make_build(n, repo=f"/r{n % 2}", ref=f"refs/heads/b{n % 3}") for n in range(1, 13)]
    store.commit(new(*builds, *(make_job(n, repo=f"/r{n % 2}") for n in range(1, 13))))
    reader = store.reader

    def ids(**question: object) -> list[int]:
        return [build.id for build in reader.builds(**question)]  # type: ignore[arg-type]

    assert reader.builds() == builds[::-1]
    assert reader.builds(jobs=False, limit=2) == [replace(build, jobs=()) for build in builds[:-3:-1]]
    assert ids(limit=3) == [12, 11, 10]
    assert ids(limit=3, before=10) == [9, 8, 7]
    assert ids(limit=0) == []
    assert ids(repo="/r1") == [11, 9, 7, 5, 3, 1]
    assert ids(ref="refs/heads/b0") == [12, 9, 6, 3]
    assert ids(repo="/r0", ref="refs/heads/b0", limit=1) == [12]
    assert ids(repo="/none") == []
    assert [detail.build.id for detail in reader.details([3, 99, 12, 3])] == [3, 12]
    assert [detail.jobs[0].id for detail in reader.details([3, 12])] == ["3/test", "12/test"]


def test_settled_builds_stay_in_the_store_and_out_of_the_mind(store: Store) -> None:
    settled = make_build(5, state=Status.FAILED)
    store.commit(new(make_build(4), make_job(4), settled, make_job(5, state=Status.FAILED), make_attempt(5)))
    assert store.load() == ([make_build(4), make_job(4)], 6)
    assert store.reader.counts().queued == 1


def test_what_runners_may_still_come_back_with_is_in_the_mind_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("surveil.store.loading", "tests.store.memory"):
        monkeypatch.setattr(f"{module}.PAST_BUILDS_MAX", 3)
    lost = [make_attempt(n, state=AttemptState.LOST, reason="gone", finished_at=9) for n in range(7, 11)]
    cancelled = replace(lost[3], job="10/b", number=2, state=AttemptState.CANCELLED)
    over = (replace(lost[2], number=2, state=AttemptState.PASSED), replace(lost[2], number=3, released=True))
    opened = (make_build(11), make_job(11, attempt=2), replace(lost[0], job="11/test"))
    settled = [make_build(n, ("test", "b"), state=Status.FAILED) for n in range(7, 11)]
    store.commit(new(*settled, *opened, *lost[::-1], cancelled, *over, make_runner()))
    found, _ = store.load()
    assert found == [*opened, lost[2], cancelled, lost[3], make_runner()]


def test_the_journal_is_read_on_from_a_position(store: Store) -> None:
    notes = [make_note(name=str(n), build=n % 2 or None) for n in range(6)]
    store.commit(new(notes=tuple(notes[:4])))
    store.commit(new(notes=tuple(notes[4:])))
    lines = store.reader.journal()
    assert [line.note for line in lines] == notes
    assert [line.position for line in lines] == sorted({line.position for line in lines})
    assert store.reader.journal(after=lines[2].position, limit=2) == lines[3:5]
    assert store.reader.journal(after=lines[-1].position) == []
    assert [line.note for line in store.reader.journal(build=1)] == notes[1::2]
    assert store.reader.journal_end() == lines[-1].position


def test_what_happened_beside_a_build_is_found_by_runner_and_place(store: Store) -> None:
    about = [("runner", "a"), ("build", "1"), ("runner", "b"), ("dispatcher", ""), ("runner", "a"), ("runner", "a")]
    notes = [make_note(what, name, build=1 if what == "build" else None) for what, name in about]
    store.commit(new(notes=tuple(notes)))
    position = [line.position for line in store.reader.journal()]
    beside = store.reader.journal_beside
    assert [line.note for line in beside(["a"], after=position[0])] == [notes[3], notes[4], notes[5]]
    assert [line.note for line in beside(["a", "b"], after=0, before=position[4])] == [notes[0], notes[2], notes[3]]
    assert [line.position for line in beside([], after=0)] == [position[3]]
    assert [line.position for line in beside(["a"], after=0, limit=2)] == [position[0], position[3]]


def test_what_happened_is_counted_from_a_position_on(store: Store) -> None:
    builds = [make_build(n, created_at=1_000 * n) for n in (1, 2, 3)]
    ended = [make_note("build", str(n), build=n, state="passed", at=9_000) for n in (1, 2)]
    lost = [make_note("attempt", f"3/test#{n}", build=3, state="lost") for n in (1, 2)]
    store.commit(new(*builds, notes=(make_note("build", "3", build=3, state="queued"), *ended, *lost)))
    before = store.reader.journal()[0].position
    found = store.reader.happened(before)
    assert found.lines == {("build", "passed"): 2, ("attempt", "lost"): 2}
    assert found.took == (("passed", 8_000), ("passed", 7_000))
    assert found.position == store.reader.journal_end()
    assert store.reader.happened(found.position) == Happened(position=found.position, lines={}, took=())


def test_a_queued_job_waits_since_it_could_run(store: Store) -> None:
    assert store.reader.queued_since() is None
    waiting = [make_job(2, name, created_at=50, state=Status.QUEUED, position=at) for at, name in enumerate("ab")]
    over = make_job(1, state=Status.QUEUED, created_at=1)
    store.commit(
        new(make_build(1, state=Status.CANCELLED), over, make_build(2, ("a", "b")), *waiting, notes=(
            make_note("job", "2/a", build=2, state="queued", at=70),
            make_note("job", "2/a", build=2, state="queued", at=90),
            make_note("job", "2/b", build=2, state="queued", at=80),
        ))
    )  # fmt: skip
    assert store.reader.queued_since() == 80
    store.commit(new(make_build(3), make_job(3, created_at=60, state=Status.QUEUED)))
    assert store.reader.queued_since() == 60


def test_counts_say_what_waits_runs_and_serves(store: Store) -> None:
    states = [Status.BLOCKED, Status.HELD, Status.QUEUED, Status.QUEUED, Status.RUNNING, Status.PASSED]
    jobs = [make_job(name=f"j{at}", position=at, state=state) for at, state in enumerate(states)]
    build = make_build(jobs=tuple(f"j{at}" for at in range(len(states))))
    store.commit(new(build, *jobs, make_runner("a"), make_runner("b", slots=3), make_runner("c", online=False)))
    assert store.reader.counts() == Counts(blocked=1, held=1, queued=2, running=1, online=2, offline=1, slots=7, busy=1)


# ---- keys and tokens ------------------------------------------------------------------------------------------------


def test_a_token_lets_in_as_many_as_it_says(store: Store) -> None:
    token = make_token(uses_left=2)
    store.add_token(token)
    first = store.redeem(token.digest, key="1" * 40, name="one", now=10)
    assert first == make_peer("one", key="1" * 40, created_at=10)
    assert store.redeem(token.digest, key="2" * 40, name="two", now=10).name == "two"
    with pytest.raises(NotAllowedError):
        store.redeem(token.digest, key="3" * 40, name="three", now=10)
    assert [peer.name for peer in store.reader.peers()] == ["one", "two"]
    assert store.reader.tokens() == [replace(token, uses_left=0)]
    assert store.reader.peer("1" * 40) == first


def test_an_enrolment_that_is_repeated_costs_no_second_use(store: Store) -> None:
    token = make_token(uses_left=1)
    store.add_token(token)
    first = store.redeem(token.digest, key="1" * 40, name="one", now=10)
    assert store.redeem(token.digest, key="1" * 40, name="one", now=5000) == first
    assert store.reader.peers() == [first]


@pytest.mark.parametrize(
    ("fields", "now"),
    [({"expires_at": 10}, 10), ({"revoked_at": 3}, 5), ({"uses_left": 0}, 5)],
    ids=["expired", "revoked", "spent"],
)
def test_a_worthless_token_lets_nobody_in(store: Store, fields: dict[str, Any], now: int) -> None:
    token = make_token(**fields)
    store.add_token(token)
    with pytest.raises(NotAllowedError):
        store.redeem(token.digest, key=KEY, name="one", now=now)
    with pytest.raises(NotAllowedError):
        store.redeem(b"?" * 32, key=KEY, name="one", now=now)
    assert store.reader.peers() == []
    assert store.reader.tokens() == [token]


def test_a_token_is_not_spent_on_a_name_that_is_taken(store: Store) -> None:
    token = make_token()
    store.add_token(token)
    store.add_peer(make_peer("one"))
    with pytest.raises(NotAllowedError):
        store.redeem(token.digest, key=KEY, name="one", now=10)
    assert store.reader.tokens() == [token]
    assert store.redeem(token.digest, key=KEY, name="two", now=10).key == KEY


def test_a_name_is_taken_within_its_role_and_only_while_its_key_lives(store: Store) -> None:
    one = make_peer("one")
    store.add_peer(one)
    observer = make_peer("one", key="o" * 40, role=Role.OBSERVER)
    assert store.add_peer(observer) == observer
    successor = make_peer("one", key="s" * 40)
    with pytest.raises(NotAllowedError):
        store.add_peer(successor)
    assert store.revoke_peer(one.key, now=9)
    assert store.add_peer(successor) == successor
    assert store.reader.peer(one.key) == replace(one, revoked_at=9)


def test_a_revoked_key_never_comes_back(store: Store) -> None:
    token, peer = make_token(uses_left=5), make_peer("one")
    store.add_token(token)
    store.add_peer(peer)
    assert store.revoke_peer(peer.key, now=9)
    assert not store.revoke_peer(peer.key, now=10)
    assert not store.revoke_peer("?" * 40, now=10)
    with pytest.raises(NotAllowedError):
        store.add_peer(peer)
    with pytest.raises(NotAllowedError):
        store.redeem(token.digest, key=peer.key, name="one", now=9)
    assert store.reader.peers() == [replace(peer, revoked_at=9)]
    assert store.reader.tokens() == [token]


def test_a_key_has_one_role(store: Store) -> None:
    store.add_peer(make_peer("one"))
    with pytest.raises(NotAllowedError):
        store.add_peer(make_peer("one", role=Role.CLIENT))
    assert store.reader.peers() == [make_peer("one")]


def test_a_look_has_another_version_where_something_of_its_build_has_changed(store: Store) -> None:
    job, attempt = make_job(attempt=1), make_attempt(state=AttemptState.RUNNING)
    store.commit(new(make_build(), job, attempt, make_build(2, sha="b" * 40), make_job(2)))

    def versions() -> list[object]:
        looks = [*store.reader.looks([2, 77, 1]), *store.reader.looks([2, 1], tests=True)]
        assert [look.build for look in looks] == [2, 1, 2, 1]
        assert [look.detail() for look in looks[:2]] == store.reader.details([2, 1])
        return [look.version for look in looks]

    def differ(change: Callable[[], object]) -> list[bool]:
        before, mark = versions(), store.reader.mark()
        assert versions() == before
        change()
        assert store.reader.mark() != mark
        return [now != then for now, then in zip(versions(), before, strict=True)]

    of_first, of_second = [False, True, False, True], [True, False, True, False]
    passed = replace(attempt, state=AttemptState.PASSED, finished_at=9, log_bytes=7)
    one_more = make_attempt(number=2)
    tally = Tally(passed=1, failed=0, errored=0, skipped=0, duration_ms=1)
    assert differ(lambda: store.commit(changed(replace(job, reason="why")))) == of_first
    assert differ(lambda: store.commit(changed(passed))) == of_first
    assert differ(lambda: store.commit(new(one_more))) == of_first
    assert differ(lambda: store.commit(changed(make_build(2, sha="b" * 40, state=Status.RUNNING)))) == of_second
    assert differ(lambda: store.add_cases(("2/test", 1), 0, [], tally)) == [False, False, True, False]
    # The second one's tests are compared with those of the first.
    assert differ(lambda: store.add_cases(passed.id, 0, [], tally)) == [False, False, True, True]
    # What a shard tells without a report counts there as well.
    told = Asked(job="1/test", attempt=1, seq=1, done=(), given=())
    assert differ(lambda: store.add_shard_ask(told, "t")) == [False, False, True, False]
    assert [look.tested for look in store.reader.looks([1, 2], tests=True)] == [True, True]


def test_a_token_is_revoked_once(store: Store) -> None:
    store.add_token(make_token())
    assert store.revoke_token("t1", now=7)
    assert not store.revoke_token("t1", now=8)
    assert not store.revoke_token("t2", now=8)
    assert store.reader.tokens() == [make_token(revoked_at=7)]


def test_the_end_of_a_given_up_log_is_taken_once_from_its_runner_alone(store: Store) -> None:
    lost = make_attempt(state=AttemptState.LOST, log_bytes=7)
    passed = replace(lost, number=2, state=AttemptState.PASSED)
    store.commit(new(make_build(), make_job(attempt=2), lost, passed))

    def end(number: int, log_bytes: int, *, runner: str = lost.runner, job: str = lost.job) -> tuple[Attempt, ...]:
        said = LogEnd(job=job, number=number, runner=runner, log_bytes=log_bytes)
        store.commit(Changes(new=(), changed=(), notes=(), log_ends=(said,)))
        detail = store.reader.build(1)
        assert detail is not None
        return detail.attempts

    assert end(1, 99, runner="s" * 40) == (lost, passed)
    assert end(2, 99) == (lost, passed)
    assert end(1, 99, job="44/gone") == (lost, passed)
    told = replace(lost, released=True, log_bytes=5)
    assert end(1, 5) == (told, passed)
    assert end(1, 99) == (told, passed)


def test_secrets_come_back_as_they_were_and_take_the_place_of_their_kind(store: Store) -> None:
    narrow, wide = make_secret(), make_secret(scope=Scope(), encrypted=b"wide")
    store.put_secrets([narrow, wide, make_secret("OTHER")])
    assert store.reader.secrets() == [make_secret("OTHER"), wide, narrow]
    again = replace(wide, encrypted=b"again", key="other", changed_at=9, source=Source.VAULT)
    store.put_secrets([again])
    assert store.reader.secrets() == [make_secret("OTHER"), again, narrow]
    assert store.remove_secret("TOKEN", Scope())
    assert not store.remove_secret("TOKEN", Scope()), "it is gone already"
    assert not store.remove_secret("TOKEN", Scope(repo="https://example.org/*")), "no other scope is meant"
    assert store.reader.secrets() == [make_secret("OTHER"), narrow]


def test_a_timetable_takes_the_place_of_the_one_before_and_goes(store: Store) -> None:
    assert store.reader.timetables() == []
    store.put_timetable("/srv/b", make_timetable("/srv/b"))
    store.put_timetable("/srv/a", make_timetable("/srv/a"))
    assert store.reader.timetables() == [make_timetable("/srv/a"), make_timetable("/srv/b")]
    store.put_timetable("/srv/a", make_timetable("/srv/a", since_at=9))
    assert store.reader.timetables() == [make_timetable("/srv/a", since_at=9), make_timetable("/srv/b")]
    store.put_timetable("/srv/a", None)
    store.put_timetable("/srv/c", None)
    assert store.reader.timetables() == [make_timetable("/srv/b")]


def test_builds_are_found_by_state_and_event_together_with_all_else(store: Store) -> None:
    states = (Status.FAILED, Status.PASSED, Status.FAILED, Status.QUEUED, Status.FAILED)
    for number, state in enumerate(states, 1):
        repo, event = ("/srv/a", "push") if number < 4 else ("/srv/b", "schedule")
        store.commit(new(make_build(number, jobs=(), state=state, repo=repo, event=event)))

    def found(**wanted: Any) -> list[int]:
        return [build.id for build in store.reader.builds(**wanted)]

    assert found(state=Status.FAILED) == [5, 3, 1]
    assert found(state=Status.FAILED, repo="/srv/a", before=3) == [1]
    assert found(state=Status.FAILED, event="schedule") == [5]
    assert found(state=Status.QUEUED) == [4]
    assert found(event="push", limit=2) == [3, 2]
    assert found(state=Status.SKIPPED) == []
    assert store.reader.repositories() == ["/srv/a", "/srv/b"]
    lately = store.reader.outlines("/srv/a", limit=2)
    assert [(each.id, each.state, each.created_at) for each in lately] == [
        (3, Status.FAILED, 1003), (2, Status.PASSED, 1002),
    ]  # fmt: skip
    assert store.reader.outlines("/srv/a", ref="refs/heads/none") == []


def test_builds_are_found_by_who_wrote_the_commit_and_of_several_repositories_together(store: Store) -> None:
    ada, grace = "Ada <ada@example.org>", "Grace <grace@example.org>"
    for number in range(1, 9):
        author, repo = (ada, grace)[number % 2], f"/srv/{'abcd'[number % 4]}"
        state = Status.PASSED if number > 4 else Status.FAILED
        store.commit(new(make_build(number, jobs=(), author=author, repo=repo, state=state, event=f"e{number % 3}")))

    def found(**wanted: Any) -> list[int]:
        return [build.id for build in store.reader.builds(**wanted)]

    assert store.reader.authors() == [ada, grace]
    assert store.reader.authors(limit=1) == [ada]
    assert found(authors=[ada]) == [8, 6, 4, 2]
    assert found(authors=[ada, grace, ada], limit=3, before=8) == [7, 6, 5]
    assert found(authors=[ada], state=Status.FAILED) == [4, 2]
    assert found(authors=[ada], state=Status.PASSED, repo="/srv/a") == [8]
    assert found(authors=[grace], event="e1") == [7, 1]
    assert found(authors=[]) == found(authors=["Ada"]) == []
    assert found(among=["/srv/a", "/srv/b", "/srv/a"]) == [8, 5, 4, 1]
    assert found(among=["/srv/a", "/srv/c"], state=Status.FAILED, limit=1) == [4]
    assert found(among=["/srv/a", "/srv/d"], authors=[ada], ref="refs/heads/main") == [8, 4]
    assert found(among=["/srv/a"], repo="/srv/b") == [5, 1]
    assert found(among=[]) == []


def test_what_is_new_and_what_was_open_is_read_together(store: Store) -> None:
    for number, state in enumerate((Status.RUNNING, Status.PASSED, Status.QUEUED), 1):
        store.commit(new(make_build(number, jobs=(), state=state, repo=f"/srv/{number}")))
    new_ones, known = store.reader.outlines_after(1, [1, 99])
    assert [(repo, each.id, each.state) for repo, each in new_ones] == [
        ("/srv/2", 2, Status.PASSED), ("/srv/3", 3, Status.QUEUED),
    ]  # fmt: skip
    assert known == {1: store.reader.outlines("/srv/1")[0]}
    store.commit(changed(make_build(1, jobs=(), state=Status.FAILED, repo="/srv/1", finished_at=9)))
    assert store.reader.outlines_after(3, [1]) == ([], {1: store.reader.outlines("/srv/1")[0]})
    assert store.reader.outlines("/srv/1")[0].state is Status.FAILED


def test_incidents_are_the_newest_lines_of_no_build(store: Store) -> None:
    notes = [make_note("runner", "k", build=None), make_note(), make_note("dispatcher", "", build=None)]
    store.commit(new(notes=tuple(notes)))
    assert [line.note for line in store.reader.incidents()] == [notes[2], notes[0]]
    assert [line.note for line in store.reader.incidents(limit=1)] == [notes[2]]
