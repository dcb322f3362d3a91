"""Which artifacts are meant, and what is said where there are none."""

from __future__ import annotations

from surveil.core.model import Status
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_build, make_job, new


def test_what_cannot_be_fetched_is_told_with_its_reason(type_: Type, counter: Counter) -> None:
    lint = make_job(1, "lint", state=Status.PASSED, attempt=1, position=0)
    test = make_job(1, "test", state=Status.PASSED, attempt=2, position=1)
    counter.desk.store.commit(new(make_build(1), lint, test))
    for words, said in (
        (("--attempt", "7"), "Build 1 has no attempt 7; the newest is 2."),
        (("lint", "--attempt", "2"), "Job `lint` has no attempt 2; the newest is 1."),
        (("--attempt", "7", "--name", "wheels"), "Build 1 has no attempt 7; the newest is 2."),
        (("--attempt", "2"), "Build 1 kept nothing in attempt 2; `surveil artifacts ls 1` lists what others kept."),
        (("lint",), "Nothing is kept of the job `lint`; `surveil show 1` tells how its jobs ended."),
        (("--name", "wheels"), "There is no artifact `wheels`; `surveil artifacts ls 1` lists those that there are."),
    ):
        ended = type_("artifacts", "get", "1", *words)
        assert (ended.code, ended.out, ended.err) == (6, "", f"surveil: {said}\n")
    ended = type_("artifacts", "get", "1", "--attempt", "0")
    assert (ended.code, ended.out, "--attempt" in ended.err) == (2, "", True)
