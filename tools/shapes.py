"""What `--json` prints, in examples that the code itself makes.

What belongs here: sample records. What does not: what their keys mean (`surveil.answer.shapes`, and `printed` for what
only commands print), and the page around them (`reference`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from surveil.answer.auditing import act_view
from surveil.answer.cases import case_view, flaky_view, tally_view
from surveil.answer.kept_files import artifact_view
from surveil.answer.log_facts import LogFacts, log_facts
from surveil.answer.outboxes import target_view
from surveil.answer.outlook import repository_view
from surveil.answer.secrets import secret_view
from surveil.answer.shapes.building import (
    ARTIFACT,
    ATTEMPT,
    BUILD,
    CASE,
    FLAKY,
    JOB,
    NOTE,
    REPOSITORY,
    STEP,
    STORY,
    TALLY,
    TESTS,
)
from surveil.answer.shapes.keeping import ACT, HOOK, PASS, PEER, PERSON, RUNNER, SCHEDULE, SECRET, STATUS, TARGET, TOKEN
from surveil.answer.shapes.kinds import Shape
from surveil.answer.story import story_view
from surveil.answer.story_words import Line
from surveil.answer.views import (
    attempt_view,
    build_view,
    job_view,
    note_view,
    runner_view,
    status_view,
    step_view,
)
from surveil.answer.wishes import peer_view, token_view
from surveil.cli.drilling_report import Seen, document
from surveil.cli.fetching import Fetched
from surveil.cli.replay import replay_document
from surveil.core.images import isolation_by
from surveil.core.kept import Artifact
from surveil.core.model import Attempt, AttemptState, Build, Job, Note, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.core.policy import Policy
from surveil.core.scopes import Scope, Secret, Source
from surveil.core.state import Identity, Session, State
from surveil.core.turns import News
from surveil.frozen import replace
from surveil.notify.summary import BuildSummary, Commit, NewFailure, WrongJob
from surveil.notify.summary import document_of as news_document
from surveil.protocol import Case, Finished, ImageSpec, JobSpec, Remark, StepReport, StepSpec, Tally, WatchedRepo
from surveil.store import AttemptTally, Outline, StoredCase, Token
from surveil.store.acts import Act
from surveil.store.hooks import Hook
from surveil.store.outbox import Following
from surveil.store.passes import Kind, Pass
from surveil.store.people import Person
from surveil.store.people import Role as PersonsRole
from surveil.web.hooks.secrets import hook_view
from surveil.web.links import pass_view, person_view
from tools.printed import DRILL, FINDING, NEWS, PIECE, REPLAY

NOW: Final = 1_794_650_400_000
SHA: Final = "5f3a9c1e7b2d4f60818293a4b5c6d7e8f9012345"
KEY: Final = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


@dataclass(frozen=True, slots=True)
class Printed:
    """One kind of document, where it is printed, and an example of it."""

    shape: Shape
    printed_by: str
    example: Mapping[str, Any]


_SPEC: Final = JobSpec(
    name="test[python=3.12]",
    needs=("build",),
    labels=("linux",),
    env={},
    timeout_ms=600_000,
    steps=(StepSpec(name="Tests", run="pytest", env={}),),
    matrix={"python": "3.12"},
    image=ImageSpec(name="python:3.12"),
)
_STEP: Final = StepReport(
    name="Tests", state="passed", exit_code=0, started_after_ms=40, finished_after_ms=8040, log_at=0,
    remarks=(Remark(at=512, after_ms=8040, text="9 bytes of this step's log were dropped"),),
)  # fmt: skip
_ATTEMPT: Final = Attempt(
    job="12/test[python=3.12]",
    number=1,
    runner=KEY,
    runner_name="spare-2",
    incarnation=4,
    state=AttemptState.PASSED,
    reason="",
    assigned_at=NOW,
    accepted_at=NOW + 3,
    started_at=NOW + 43,
    finished_at=NOW + 8043,
    exit_code=0,
    log_bytes=18_204,
    steps=(_STEP,),
    isolation=isolation_by("python@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
)
_JOB: Final = Job(
    id="12/test[python=3.12]",
    build=12,
    position=1,
    repo="https://example.org/project.git",
    spec=_SPEC,
    state=Status.PASSED,
    reason="",
    attempt=1,
    created_at=NOW - 9000,
    started_at=NOW,
    finished_at=NOW + 8043,
)
_BUILD: Final = Build(
    id=12,
    mid="",
    repo="https://example.org/project.git",
    ref="refs/heads/main",
    sha=SHA,
    event="push",
    message="Let the parser say where",
    author="Ann Example <ann@example.org>",
    pipeline_file=".surveil.yml",
    rule="",
    complaints=(),
    retry_of=None,
    jobs=(_JOB.id,),
    state=Status.PASSED,
    reason="",
    created_at=NOW - 9000,
    started_at=NOW - 8900,
    finished_at=NOW + 8043,
)
_RUNNER: Final = Runner(
    id=KEY,
    name="spare-2",
    host="spare-2.example.org",
    software="0.1.0",
    labels=("linux", "gpu"),
    slots=4,
    incarnation=4,
    online=True,
    seen_at=NOW,
)
_SESSION: Final = Session(incarnation=4, seq=90, heard_at=NOW, load_percent=35, disk_free_mib=51_200)
_NOTE: Final = Note(
    at=NOW,
    what="attempt",
    id="12/test[python=3.12]#1",
    build=12,
    state="lost",
    reason="runner spare-2 stopped answering 8.1 s ago",
)
_CASE: Final = Case(
    suite="tests.test_parser",
    name="test_places",
    state="failed",
    duration_ms=12,
    message="AssertionError: assert 3 == 4",
    output="def test_places():\n>       assert 3 == 4\nE       assert 3 == 4",
)
_TALLY: Final = Tally(passed=307, failed=2, errored=0, skipped=3, duration_ms=41_250)
_DRILL: Final = Seen(
    kind="runner", victim="spare-2", pid=20151, build=13, job="drill", died_at="2026-11-14T10:00:00.000Z",
    noticed={"at": "2026-11-14T10:00:00.031Z",
             "text": "runner spare-2 may be gone: its connection closed; it has 2.0 s to come back"},
    went_on={"at": "2026-11-14T10:00:02.150Z", "runner": "spare-1"},
    verdict="passed", verdict_at="2026-11-14T10:00:22.410Z", back_after_ms=1_400, lines=20, lines_kept=20,
    attempts=[{"number": 1, "state": "lost"}, {"number": 2, "state": "passed"}],
)  # fmt: skip
_STORY_LINE: Final = Line(
    at=NOW,
    place=0,
    what="lost",
    job="12/test",
    attempt=1,
    runner="spare-2",
    text="attempt 1 was lost: runner spare-2 stopped answering 9.0 s ago; 512 bytes of its log are here",
)
_ARTIFACT: Final = Artifact(
    job="12/build",
    attempt=1,
    name="wheels",
    blob="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    size=1_204_224,
    files=2,
    kept_at=NOW,
    expires_at=NOW + 30 * 86_400_000,
)
_TOKEN: Final = Token(
    id="4f1c22ab",
    digest=b"",
    role=Role.RUNNER,
    labels=("linux",),
    uses_left=1,
    created_at=NOW,
    expires_at=NOW + 3_600_000,
)
_PEER: Final = Peer(
    key="A" * 40,
    role=Role.OBSERVER,
    name="eye",
    created_at=NOW,
)
_NEWS: Final = BuildSummary(
    news=News.BROKEN, build=12, repo="/srv/git/it.git", ref="refs/heads/main", event="push",
    commit=Commit(sha=SHA, author="Ada", subject="Add a parser", build=12), state="failed", reason="test failed",
    url="https://ci.example.org/builds/12", finished_at=NOW, duration_ms=62_000, after=11, broken_by=None,
    commits=(Commit(sha=SHA, author="Ada", subject="Add a parser", build=12),),
    jobs=(
        WrongJob(
            name="test", state="failed", reason="step 2 (Tests) ended with exit code 1", runner="spare-2",
            url="https://ci.example.org/builds/12/jobs/test/attempts/1", lines=("E   assert 1 == 2",),
        ),
    ),
    jobs_count=1, tests=(NewFailure(job="test", suite="tests/test_a.py", name="test_b", message="assert 1 == 2"),),
    tests_count=1,
)  # fmt: skip
_FOLLOWING: Final = Following(
    name="github", position=4709, at=NOW, not_before_at=NOW + 40_000, failures=3, delivered=1812, given_up=1,
    delivered_at=NOW - 61_000, problem="https://github.com cannot be reached (All connection attempts failed)",
)  # fmt: skip
_PERSON: Final = Person(
    name="grace@git",
    provider="git",
    subject="7",
    created_at=NOW,
    seen_at=NOW,
    issuer="https://git.example.org",
    roles=(PersonsRole(repo="https://example.org/project.git", scope="run"),),
)
_PASS: Final = Pass(
    id="4f1c09aa3b7e",
    kind=Kind.TOKEN,
    person="ada",
    scope="run",
    label="",
    created_at=NOW - 86_400_000,
    expires_at=NOW + 86_400_000,
    seen_at=NOW,
    ended_at=None,
    user=None,
)
_HOOK: Final = Hook(
    repo="https://example.org/project.git",
    place="example.org/project",
    key="0fd2aa4c9be31d57",
    current=b"",
    previous=None,
    previous_until=0,
    created_at=NOW - 86_400_000,
    changed_at=NOW,
    heard_at=NOW,
)
_ACT: Final = Act(
    position=311, at=NOW, person="ada", client="local", way="page", what="cancel", subject="build 12",
    detail="cancelled by ada",
)  # fmt: skip
_SECRET: Final = Secret(
    name="NPM_TOKEN",
    scope=Scope(repo="https://example.org/*", ref="refs/heads/main"),
    source=Source.HERE,
    key="0fd2aa4c9be31d57",
    encrypted=b"",
    created_at=NOW - 86_400_000,
    changed_at=NOW,
)

_PIECE: Final = {
    "job": "12/test", "attempt": 1, "at": 0, "bytes": 12, "text": "collected 3\n", "missing": None,
    "remark": None,
}  # fmt: skip
_FINDING: Final = {"name": "disk", "health": "ok", "sentence": "79.5 GiB free for data (/var/lib)", "next": None}


def _facts(attempt: Attempt) -> LogFacts:
    return log_facts(attempt, attempt.log_bytes, NOW, Policy().log_wait_ms)


def shapes() -> list[Printed]:
    """All documents, each with an example that the code itself made."""
    tested = tally_view(AttemptTally(job=_JOB.id, attempt=1, tally=_TALLY), 1, 1)
    stored = StoredCase(job=_JOB.id, attempt=1, case=_CASE)
    case = case_view(stored, ())
    flaky = flaky_view(stored, replace(stored, attempt=2))
    tested_build = {"build": 12, "before": 11, "jobs": [tested], "flaky": [flaky], "cases": [case]}
    job = job_view(_JOB, [_ATTEMPT]) | {"tests": tested}
    build = build_view(_BUILD, [job])
    step = step_view(_STEP, _ATTEMPT.accepted_at, _ATTEMPT.log_bytes)
    runner = runner_view(_RUNNER, _SESSION, 1)
    waiting = "`builds` (a list), `show`, `submit --wait`, `retry --wait`"
    return [
        Printed(BUILD, waiting, build),
        Printed(JOB, "in a build's `jobs`", job),
        Printed(ATTEMPT, "in a job's `attempts`", attempt_view(_ATTEMPT, _facts)),
        Printed(STEP, "in an attempt's `steps`", step),
        Printed(TESTS, "`tests`", tested_build),
        Printed(TALLY, "in the `jobs` of `tests`, and as a job's `tests`", tested),
        Printed(CASE, "in the `cases` of `tests`", case),
        Printed(FLAKY, "in the `flaky` of `tests`", flaky),
        Printed(RUNNER, "`runners` (a list)", runner),
        Printed(STATUS, "`status`", _status()),
        Printed(SCHEDULE, "in the `schedules` of `status`", dict(_status()["schedules"][0])),
        Printed(REPOSITORY, "in what `GET /api/v1/repositories` sends", _repository()),
        Printed(NOTE, "`watch` (a line for each)", note_view(4711, _NOTE)),
        Printed(STORY, "`story` (a line for each)", story_view(_STORY_LINE, NOW - 8_100)),
        Printed(TOKEN, "`token list` (a list)", token_view(_TOKEN, NOW)),
        Printed(PASS, "`login --list` (a list)", pass_view(_PASS)),
        Printed(PEER, "`peers` (a list)", peer_view(_PEER)),
        Printed(TARGET, "`notify list` (a list)", target_view(_FOLLOWING, 4711, 2, NOW - 60_000)),
        Printed(NEWS, "`notify preview`", news_document(_NEWS)),
        Printed(SECRET, "`secret ls` (a list)", secret_view(_SECRET)),
        Printed(ACT, "`audit` (a list)", act_view(_ACT)),
        Printed(HOOK, "`hook ls` (a list), `hook secret`", hook_view(_HOOK, NOW)),
        Printed(PERSON, "`user ls` (a list), `user add`, `user role`", person_view(_PERSON)),
        Printed(ARTIFACT, "`artifacts ls` and `artifacts get` (lists)", _artifact()),
        Printed(PIECE, "`logs` (a line for each)", _PIECE),
        Printed(REPLAY, "`replay`", _replay()),
        Printed(DRILL, "`drill`", document(_DRILL)),
        Printed(FINDING, "`doctor` (a list)", _FINDING),
    ]


def _artifact() -> dict[str, Any]:
    """As `artifacts get` prints it, which says where it is as well."""
    return Fetched(artifact=artifact_view(_ARTIFACT), folder=Path("artifacts-12/build/wheels")).document()


def _repository() -> dict[str, Any]:
    outlines = [
        Outline(id=number, ref=_BUILD.ref, state=state, created_at=at, started_at=at + 100, finished_at=at + 17_043)
        for number, state, at in ((12, Status.FAILED, NOW - 9000), (11, Status.PASSED, NOW - 99_000))
    ]
    return repository_view(_BUILD.repo, outlines)


def _replay() -> dict[str, Any]:
    finished = Finished(
        job=_JOB.id, attempt=1, outcome="failed", reason="step 'Tests' ended with exit code 1", exit_code=1,
        started_after_ms=40, finished_after_ms=8040, log_bytes=18_204, isolation="bubblewrap",
        steps=(replace(_STEP, state="failed", exit_code=1),),
    )  # fmt: skip
    before = attempt_view(replace(_ATTEMPT, state=AttemptState.FAILED, reason=finished.reason, exit_code=1))
    return replay_document(
        job=_JOB.id, sha=SHA, before=before, state="failed", reason=finished.reason, finished=finished,
        differs=["its isolation was process, here it is bubblewrap"], same=True,
    )  # fmt: skip


def _status() -> dict[str, Any]:
    state = State(identity=Identity(cluster="home", epoch=3, bulk_port=7301))
    state.put(_RUNNER, 0)
    found = status_view(
        state=state,
        now=NOW,
        cluster="b6b9f0d2-3f5c-4b6e-9d0e-0c8f3a1d2e4b",
        epoch=3,
        version="0.1.0",
        started_at=NOW - 86_400_000,
        watching={"eye": (WatchedRepo(repo="https://example.org/project.git"),)},
        waiting=[{"reason": "waits for a free slot: 4 of 4 busy", "jobs": 2, "oldest": "12/test[python=3.12]"}],
        schedules=[("https://example.org/project.git", "30 2 * * *", "Europe/Berlin", NOW + 3_600_000)],
        troubles=[("handshakes_refused", 2, "192.0.2.9")],
        offenders=[("runner", "spare-2", {"attempts_not_its_own": 3})],
        put_aside=["acts.db.damaged-1"],
    )
    return found | {"outbox": [target_view(_FOLLOWING, 4711, 2, NOW - 60_000)]}
