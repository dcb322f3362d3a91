"""What these tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from surveil.core.model import AttemptState, Status
from surveil.web import allowing
from tests.answer.desk import OPENED
from tests.store.records import make_attempt, make_build, make_job, new
from tests.web.stage import Stage


@pytest.fixture(autouse=True)
def _logs_are_let_go() -> Iterator[None]:
    """A process may have so many files, and `select` knows the first 1024 of them alone: what a test opened, and did
    not share with others, is closed at its end.
    """
    shared = len(OPENED)
    yield
    while len(OPENED) > shared:
        OPENED.pop().close()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two builds: the first failed with a log, the second waits."""
    made = Stage(tmp_path)
    made.desk.store.commit(
        new(
            make_build(1, state=Status.FAILED, message="Break <script>alert(1)</script> it", reason="test failed"),
            make_job(1, state=Status.FAILED, attempt=1),
            make_attempt(1, state=AttemptState.FAILED),
            make_build(2, state=Status.QUEUED),
            make_job(2, state=Status.QUEUED),
        )
    )
    made.desk.log("1/test", 1, b"".join(b"line %d\n" % number for number in range(1000)))
    return made


@pytest.fixture
def nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody has used of an allowance is not given back, however long a test takes."""
    monkeypatch.setattr(allowing.Allowing.__init__, "__kwdefaults__", {"now": lambda: 0})
