"""What these tests share."""

from pathlib import Path

import pytest

from surveil.core.model import AttemptState, Status
from tests.store.records import make_attempt, make_build, make_job, new
from tests.web.stage import Stage


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
