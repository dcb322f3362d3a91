"""What is told of an attempt to whoever runs it again: its order, its shard's batches, and never another's commit."""

from __future__ import annotations

import json
import zlib

import pytest

from surveil.answer import PackWish, Reply
from surveil.core.model import AttemptState, Status
from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.errors import NotFoundError, UsageError
from surveil.frozen import replace
from surveil.protocol import JobOutput, JobSpec, SecretUse, unpack_part
from tests.answer.desk import Desk
from tests.store.records import make_attempt, make_build, make_job, new


@pytest.fixture
def desk() -> Desk:
    """Build 1: `make` put something out, `test` needs it, and was tried twice; `idle` never ran."""
    desk = Desk()
    made = make_job(1, name="make", state=Status.PASSED)
    made = replace(made, spec=replace(made.spec, needs=()), outputs=(JobOutput(name="version", value="1.2"),))
    test = make_job(1, name="test", position=1, state=Status.FAILED)
    step = replace(test.spec.steps[0], run="echo ${{ needs.make.outputs.version }}", env={})
    spec = replace(
        test.spec, needs=("make",), steps=(step,), env={"V": "${{ needs.make.outputs.version }}"}, shards=2,
        secrets=(SecretUse(name="TOKEN", env="TOKEN"),),
    )  # fmt: skip
    test = replace(test, spec=spec, attempt=2)
    idle = make_job(1, name="idle", position=2, state=Status.SKIPPED)
    build = make_build(1, state=Status.FAILED, jobs=("make", "test", "idle"))
    tries = [make_attempt(1, "test", number, state=AttemptState.FAILED) for number in (1, 2)]
    desk.store.commit(new(build, made, test, idle, *tries))
    digest, items = pack(["a", "b", "c", "d"])
    desk.store.add_shard_list(1, spec.suite, digest, items)
    for seq, given in ((2, (1,)), (1, (3, 0))):
        desk.store.add_shard_ask(Asked(job="1/test", attempt=2, seq=seq, done=(), given=given), spec.suite)
    desk.store.add_shard_ask(Asked(job="1/test", attempt=1, seq=1, done=(), given=(2,)), spec.suite)
    return desk


def test_an_order_is_told_with_what_its_needs_put_out(desk: Desk) -> None:
    told = desk.ask("replay", job="1/test")
    spec = unpack_part(JobSpec, json.loads(json.dumps(told["spec"])))  # as it comes over the network
    assert (spec.env, spec.steps[0].run, spec.secrets[0].name) == ({"V": "1.2"}, "echo 1.2", "TOKEN")
    build = desk.ask("build", build=1)
    assert {key: told[key] for key in ("id", "build", "repo", "ref", "sha", "event", "trusted")} == {
        "id": "1/test", "build": 1, "repo": build["repo"], "ref": build["ref"], "sha": build["sha"],
        "event": build["event"], "trusted": build["trusted"],
    }  # fmt: skip
    assert told["attempt"]["number"] == 2
    assert desk.ask("replay", job="1/test", attempt=1)["attempt"]["number"] == 1


@pytest.mark.parametrize(("attempt", "batches"), [(2, [["d", "a"], ["b"]]), (1, [["c"]])])
def test_a_shard_is_told_what_it_was_handed_in_order(desk: Desk, attempt: int, batches: list[list[str]]) -> None:
    reply = desk.reply("replay_shard", job="1/test", attempt=attempt)
    assert isinstance(reply, Reply)
    assert json.loads(zlib.decompress(reply.data)) == batches


def test_a_pack_is_of_the_commit_of_the_job_whatever_else_is_asked_for(desk: Desk) -> None:
    have = ["a" * 40, "no commit", "A" * 40]
    wish = desk.reply("replay_pack", job="1/test", have=have, transfer=7, at=9, wait_ms=5)
    build = desk.ask("build", build=1)
    assert isinstance(wish, PackWish)
    assert (wish.want.repo, wish.want.sha, wish.want.have) == (build["repo"], build["sha"], ("a" * 40,))
    assert (wish.want.id, wish.want.at, wish.wait_ms) == (7, 9, 5)
    with pytest.raises(UsageError, match="takes no argument `sha`"):
        desk.reply("replay_pack", job="1/test", transfer=7, at=0, sha="b" * 40)


@pytest.mark.parametrize(
    ("job", "attempt", "words"),
    [
        ("1/tset", 0, "did you mean `test`"),
        ("1/idle", 0, "it was skipped before it ran"),
        ("1/test", 3, "the newest of 1/test is 2"),
        ("9/test", 0, "no build `9`"),
        ("test", 0, "no job `test`"),
    ],
)
def test_what_there_is_not_is_said(desk: Desk, job: str, attempt: int, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        desk.ask("replay", job=job, attempt=attempt)
