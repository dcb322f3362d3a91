"""Questions that act: what they become, and what is refused before anything happens."""

from dataclasses import replace
from typing import Any

import pytest

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SubmitWish,
    TokenWish,
)
from surveil.core.events import ApprovalWanted, CancelWanted, Carried, RunnerOrder, RunnerWanted, UnholdWanted
from surveil.core.model import Job, Status
from surveil.core.peers import Peer, Role
from surveil.errors import NotAllowedError, NotFoundError, SurveilError, UsageError
from surveil.protocol import CommitSeen, JobOutput, JobSpec
from tests.answer.desk import Desk
from tests.store.records import make_build, make_job, make_runner, make_token, new

MID = "manual:0b3a0e8e-0000-4000-8000-000000000000"
COMMIT: dict[str, Any] = {
    "mid": MID,
    "repo": "/srv/one",
    "ref": "refs/heads/main",
    "sha": "a" * 40,
    "message": "m",
    "author": "Ann",
    "pipeline": "jobs: {}",
    "pipeline_file": ".surveil.yml",
    "rule": "",
    "problem": "",
}


def job(name: str, state: Status, *needs: str, position: int = 0) -> Job:
    spec = JobSpec(name=name, needs=needs, env={}, timeout_ms=1, steps=(), matrix={})
    return make_job(1, name, spec=spec, state=state, position=position)


def desk_with(state: Status, *jobs: Job) -> Desk:
    desk = Desk()
    names = tuple(known.spec.name for known in jobs)
    desk.store.commit(new(make_build(jobs=names, state=state, complaints=()), *jobs))
    return desk


MIXED = (
    job("build", Status.PASSED, position=0),
    job("lint", Status.PASSED, position=1),
    job("test", Status.FAILED, "build", position=2),
    job("ship", Status.SKIPPED, "test", position=3),
)


def test_a_submitted_commit_becomes_what_an_observer_would_have_said() -> None:
    wish = Desk().reply("submit", **COMMIT)
    assert wish == SubmitWish(commit=CommitSeen(event="manual", **COMMIT), by="submitted by a person")
    assert isinstance(wish, SubmitWish)
    assert wish.reply(7) == Reply(body={"build": 7})


def test_whoever_submits_can_distrust_a_commit_and_never_trust_it_more() -> None:
    wish = Desk().reply("submit", untrusted=True, **COMMIT | {"base": "refs/heads/trunk"})
    assert isinstance(wish, SubmitWish)
    assert (wish.commit.trusted, wish.commit.base) == (False, "refs/heads/trunk")
    with pytest.raises(UsageError, match="takes no argument `trusted`"):
        Desk().reply("submit", trusted=True, **COMMIT)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha": "abc"}, "`sha` is `abc`, and must be a commit's full name"),
        ({"sha": "--upload-pack=x"}, "`sha`"),
        ({"mid": "push:1"}, "`mid`"),
        ({"pipeline": None}, "needs its `pipeline`, or the `problem`"),
        ({"pipeline": "x" * (256 * 1024 + 1)}, "must be a text of at most"),
        ({"repo": None}, "`repo`"),
    ],
)
def test_a_commit_that_cannot_be_one_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Desk().reply("submit", **(COMMIT | change))


def carried(**about: Any) -> list[str]:
    wish = desk_with(Status.FAILED, *MIXED).reply("retry", build=1, mid=MID, **about)
    assert isinstance(wish, RetryWish)
    assert [spec.name for spec in wish.event.jobs] == ["build", "lint", "test", "ship"]
    assert (wish.event.retry_of, wish.event.sha, wish.event.mid) == (1, "a" * 40, MID)
    return list(wish.event.carried)


def test_a_retry_carries_nothing_over_unless_asked() -> None:
    assert carried() == []


def test_a_retry_of_what_failed_carries_over_what_passed() -> None:
    assert carried(failed=True) == ["build", "lint"]


def test_what_is_carried_over_keeps_what_it_put_out() -> None:
    outputs = (JobOutput(name="version", value="1.2"),)
    wish = desk_with(Status.FAILED, replace(MIXED[0], outputs=outputs), *MIXED[1:]).reply(
        "retry", build=1, mid=MID, failed=True
    )
    assert isinstance(wish, RetryWish)
    assert wish.event.carried["build"] == Carried(reason="carried over from build 1, where it passed", outputs=outputs)


def test_a_retry_by_name_runs_what_needs_the_job_again_as_well() -> None:
    assert carried(jobs=["build"]) == ["lint"]
    assert carried(jobs=["lint"]) == ["build"]


def test_what_cannot_be_retried_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no job `tset`; did you mean `test`"):
        carried(jobs=["tset"])
    with pytest.raises(NotAllowedError, match="Nothing of build 1 failed"):
        desk_with(Status.PASSED, MIXED[0]).reply("retry", build=1, mid=MID, failed=True)
    desk = desk_with(Status.PASSED, MIXED[0], job("never", Status.SKIPPED, position=1))
    with pytest.raises(NotAllowedError, match="Nothing of build 1 failed"):
        desk.reply("retry", build=1, mid=MID, failed=True)
    with pytest.raises(NotAllowedError, match="still running"):
        desk_with(Status.RUNNING, MIXED[0]).reply("retry", build=1, mid=MID)


def test_a_cancellation_becomes_an_event_and_of_a_settled_build_an_answer() -> None:
    wish = desk_with(Status.RUNNING, job("test", Status.RUNNING)).reply("cancel", build=1, jobs=["test"], reason="x")
    assert wish == JobsWish(event=CancelWanted(build=1, names=("test",), reason="x"))
    assert desk_with(Status.FAILED, *MIXED).ask("cancel", build=1) == {"build": 1, "state": "failed"}


def test_only_held_jobs_are_let_go() -> None:
    desk = desk_with(Status.RUNNING, job("test", Status.HELD), job("lint", Status.PASSED, position=1))
    wish = desk.reply("unhold", build=1, jobs=["test"])
    assert wish == JobsWish(event=UnholdWanted(build=1, names=("test",), reason="let go by a person"))
    with pytest.raises(NotAllowedError, match="only `test` of it is held"):
        desk.reply("unhold", build=1, jobs=["lint"])


def test_an_order_finds_the_runner_by_name_and_the_one_seen_last_where_two_had_it() -> None:
    desk = Desk()
    old = make_runner("spare", online=False, seen_at=1)
    fresh = replace(make_runner("other", online=False, seen_at=9), name="spare")
    desk.store.commit(new(old, fresh))
    wish = desk.reply("runner", name="spare", order="cordon", reason="disk")
    assert wish == RunnerWish(event=RunnerWanted(runner=fresh.id, order=RunnerOrder.CORDON, reason="disk"))
    with pytest.raises(NotFoundError, match="no runner `spore`; did you mean `spare`"):
        desk.reply("runner", name="spore", order="drain")


def test_a_token_is_made_within_limits() -> None:
    wish = Desk().reply("token_create", role="runner", labels=["gpu", "gpu"], expires_ms=5000, uses=3)
    assert wish == TokenWish(role="runner", labels=("gpu",), expires_ms=5000, uses=3)


@pytest.mark.parametrize(
    "about",
    [
        {"role": "admin"},
        {"role": "runner", "uses": 0},
        {"role": "runner", "uses": 1001},
        {"role": "runner", "expires_ms": 8 * 86_400_000},
        {"role": "runner", "labels": ["two words"]},
        {"role": "runner", "labels": ["x" * 65]},
        {"role": "runner", "labels": "gpu"},
    ],
)
def test_a_token_beyond_limits_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Desk().reply("token_create", **about)


def test_a_token_is_revoked_by_its_id_or_the_beginning_of_just_one() -> None:
    desk = Desk()
    for name in ("abc1", "abd2", "ab"):
        desk.store.add_token(make_token(name))
    assert desk.reply("token_revoke", id="abc") == RevokeTokenWish(token="abc1")
    assert desk.reply("token_revoke", id="ab") == RevokeTokenWish(token="ab")
    for wrong in ("a", "", "zz"):
        with pytest.raises(NotFoundError):
            desk.reply("token_revoke", id=wrong)


def test_a_backup_goes_to_an_absolute_path() -> None:
    assert Desk().reply("db_backup", destination="/var/b.db") == BackupWish(destination="/var/b.db")
    for wrong in ("b.db", "", "/a\0b"):
        with pytest.raises(SurveilError):
            Desk().reply("db_backup", destination=wrong)


def peer(name: str, role: Role, letter: str) -> Peer:
    return Peer(key=letter * 40, role=role, name=name, created_at=1)


def desk_with_peers() -> Desk:
    desk = Desk()
    for each in (peer("local", Role.CLIENT, "l"), peer("eye", Role.OBSERVER, "o"), peer("eye", Role.RUNNER, "r")):
        desk.store.add_peer(each)
    return desk


@pytest.mark.parametrize(
    ("about", "letter"),
    [({"name": "eye", "role": "runner"}, "r"), ({"name": "eye", "role": "observer"}, "o"), ({"name": "o" * 40}, "o")],
)
def test_a_peer_is_revoked_by_name_and_role_or_by_key(about: dict[str, Any], letter: str) -> None:
    wish = desk_with_peers().reply("peer_revoke", **about, reason="stolen")
    assert isinstance(wish, RevokePeerWish)
    assert (wish.peer.key, wish.reason) == (letter * 40, "stolen")
    assert wish.reply().body == {"key": letter * 40, "role": wish.peer.role.value, "name": "eye"}


@pytest.mark.parametrize(
    ("about", "error", "sentence"),
    [
        ({"name": "eye"}, UsageError, "the name of an observer and a runner: say which one with --role"),
        ({"name": "eyes"}, NotFoundError, "eye"),
        ({"name": "eye", "role": "king"}, UsageError, "no role of a peer"),
        ({"name": "local"}, NotAllowedError, "own client cannot be revoked"),
    ],
)
def test_a_revocation_that_means_nobody_says_why(
    about: dict[str, Any], error: type[SurveilError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        desk_with_peers().reply("peer_revoke", **about)


def test_whoever_is_revoked_already_is_told_so() -> None:
    desk = desk_with_peers()
    desk.store.revoke_peer("o" * 40, now=5)
    with pytest.raises(NotAllowedError, match="revoked already"):
        desk.reply("peer_revoke", name="eye", role="observer")


def strangers(state: Status = Status.HELD, **build: Any) -> Desk:
    desk = Desk()
    held = job("test", Status.HELD if state == Status.HELD else state)
    about: dict[str, Any] = {
        "ref": "refs/pull/5/head",
        "trusted": False,
        "approved": "",
        "state": state,
        "complaints": (),
    }
    desk.store.commit(new(make_build(**(about | build)), held))
    return desk


def test_a_build_of_strangers_is_approved_by_whoever_asks_and_not_by_letting_its_jobs_go() -> None:
    wish = strangers().reply("approve", build=1)
    assert wish == JobsWish(event=ApprovalWanted(build=1, by="approved by a person"))
    with pytest.raises(
        NotAllowedError, match=r"strangers may write: read what it would run, and type `surveil approve"
    ):
        strangers().reply("unhold", build=1)


def test_an_approval_that_makes_no_difference_says_why() -> None:
    assert strangers(approved="approved by ann").reply("approve", build=1) == Reply(body={"build": 1, "state": "held"})
    with pytest.raises(NotAllowedError, match="refs/pull/5/head, which is trusted: nobody has to approve it"):
        strangers(trusted=True).reply("approve", build=1)
    with pytest.raises(NotAllowedError, match="Build 1 is over already: cancelled, build 2 is of a newer commit"):
        strangers(Status.CANCELLED, reason="build 2 is of a newer commit").reply("approve", build=1)


@pytest.mark.parametrize("approved", ["", "approved by ann"])
def test_a_retry_is_as_trusted_and_approved_as_what_it_repeats(approved: str) -> None:
    wish = strangers(Status.FAILED, approved=approved, event="pull_request").reply("retry", build=1, mid=MID)
    assert isinstance(wish, RetryWish)
    assert (wish.event.trusted, wish.event.approved, wish.event.event) == (False, approved, "pull_request")
    assert (wish.event.base, wish.event.inputs) == ("refs/heads/trunk", make_build().inputs)


def test_a_skipped_build_is_not_retried_but_submitted() -> None:
    desk = Desk()
    desk.store.commit(new(make_build(jobs=(), state=Status.SKIPPED, reason="its message says [skip ci]")))
    with pytest.raises(
        NotAllowedError, match=r"skipped, because its message says .skip ci.; `surveil submit --ref REF a"
    ):
        desk.reply("retry", build=1, mid=MID)


def test_a_look_takes_a_repository_and_nothing_else() -> None:
    assert Desk().reply("look", repo="/srv/one") == LookWish(repo="/srv/one")
    for about in ({}, {"repo": ""}, {"repo": "a\x00b"}, {"repo": "x" * 5_000}, {"repo": "/srv/one", "sha": "a" * 40}):
        with pytest.raises(UsageError):
            Desk().reply("look", **about)


def test_inputs_are_texts_by_name() -> None:
    wish = Desk().reply("submit", inputs={"target": "staging"}, **COMMIT)
    assert isinstance(wish, SubmitWish)
    assert wish.commit.inputs == {"target": "staging"}
    for wrong in ({"n": 3}, ["n"], {"n" * 300: "x"}, {"n": "x" * 5_000}):
        with pytest.raises(UsageError, match="`inputs` of the question `submit` must be a map"):
            Desk().reply("submit", inputs=wrong, **COMMIT)
