"""What `--json` prints, described: examples made by the code itself, and what each key means.

What belongs here: sample records and the meanings of keys. What does not: the page around them (`reference`).
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
from surveil.answer.secrets import secret_view
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
from surveil.store import AttemptTally, StoredCase, Token
from surveil.store.acts import Act
from surveil.store.hooks import Hook
from surveil.store.outbox import Following
from surveil.store.people import Person
from surveil.store.people import Role as PersonsRole
from surveil.web.hooks.secrets import hook_view
from surveil.web.links import person_view

NOW: Final = 1_794_650_400_000
SHA: Final = "5f3a9c1e7b2d4f60818293a4b5c6d7e8f9012345"
KEY: Final = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of document: its name, where it is printed, an example, and what each of its keys means."""

    name: str
    printed_by: str
    example: Mapping[str, Any]
    meanings: Mapping[str, str]


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


def _facts(attempt: Attempt) -> LogFacts:
    return log_facts(attempt, attempt.log_bytes, NOW, Policy().log_wait_ms)


def shapes() -> list[Shape]:
    """All shapes, each with an example that the code itself made."""
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
        Shape("Build", waiting, build, BUILD),
        Shape("Job", "in a build's `jobs`", job, JOB),
        Shape("Attempt", "in a job's `attempts`", attempt_view(_ATTEMPT, _facts), ATTEMPT),
        Shape("Step", "in an attempt's `steps`", step, STEP),
        Shape("Tests of a build", "`tests`", tested_build, TESTS),
        Shape("Tests of a job", "in the `jobs` of `tests`, and as a job's `tests`", tested, TALLY),
        Shape("Test result", "in the `cases` of `tests`", case, CASE),
        Shape("Flaky test", "in the `flaky` of `tests`", flaky, FLAKY),
        Shape("Runner", "`runners` (a list)", runner, RUNNER),
        Shape("Status", "`status`", _status(), STATUS),
        Shape("Journal line", "`watch` (a line for each)", note_view(4711, _NOTE), NOTE),
        Shape("Line of a story", "`story` (a line for each)", story_view(_STORY_LINE, NOW - 8_100), STORY),
        Shape("Token", "`token list` (a list)", token_view(_TOKEN, NOW), TOKEN),
        Shape("Peer", "`peers` (a list)", peer_view(_PEER), PEER),
        Shape("Target", "`notify list` (a list)", target_view(_FOLLOWING, 4711, 2, NOW - 60_000), TARGET),
        Shape("News of a build", "`notify preview`", news_document(_NEWS), NEWS),
        Shape("Secret", "`secret ls` (a list)", secret_view(_SECRET), SECRET),
        Shape("Act", "`audit` (a list)", act_view(_ACT), ACT),
        Shape("Webhook", "`hook ls` (a list), `hook secret`", hook_view(_HOOK, NOW), HOOK),
        Shape("Person", "`user ls` (a list), `user add`, `user role`", person_view(_PERSON), PERSON),
        Shape("Artifact", "`artifacts ls` and `artifacts get` (lists)", _artifact(), ARTIFACT),
        Shape("Piece of a log", "`logs` (a line for each)", PIECE_EXAMPLE, PIECE),
        Shape("Replay", "`replay`", _replay(), REPLAY),
        Shape("Report of a drill", "`drill`", document(_DRILL), DRILL),
        Shape("Finding", "`doctor` (a list)", FINDING_EXAMPLE, FINDING),
    ]


def _artifact() -> dict[str, Any]:
    """As `artifacts get` prints it, which says where it is as well."""
    return Fetched(artifact=artifact_view(_ARTIFACT), folder=Path("artifacts-12/build/wheels")).document()


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
    )
    return found | {"outbox": [target_view(_FOLLOWING, 4711, 2, NOW - 60_000)]}


PERSON: Final = {
    "name": "what they are called; `anybody` stands for whoever comes with nothing",
    "provider": "where they sign in; `null` for who comes with links",
    "issuer": "the address of that provider; `null` until they came from there",
    "subject": "what tells them from everybody else there, whatever they are called; `null` until they came",
    "roles": "what they may do: `role` is `read`, `run` or `admin`, `repo` a pattern of repositories, and `source` the "
    "provider that gave it, `null` where an administrator did",
    "created_at": "when they became known",
    "seen_at": "when they signed in last; `null` if they never did",
}
HOOK: Final = {
    "repo": "the repository, as its secret was set",
    "created_at": "when its first secret was set",
    "changed_at": "when the present one was",
    "previous_until": "until when the one before is good as well; `null` where it is not",
    "heard_at": "when a webhook came last that its secret proved; `null` if none did",
    "may": "what its webhooks may ask for: `look`, or `retry` as well",
}

STATES: Final = "`blocked` `held` `queued` `running` `passed` `failed` `errored` `cancelled` `skipped`"

BUILD: Final = {
    "id": "its number",
    "repo": "the repository's address",
    "ref": "the ref that it counts for, in full",
    "sha": "the commit",
    "message": "the commit's message",
    "author": "the commit's author",
    "event": "what it was made for: `push` (a tag's as well), `pull_request`, `schedule` or `manual`",
    "base": "the branch that the repository's HEAD names, as far as it is known",
    "trusted": "whether only people of the repository can have written its commit",
    "approved": "who let an untrusted build run, a sentence; `null` while nobody did",
    "inputs": "what was typed with `submit --input`, by name",
    "state": f"one of {STATES}",
    "reason": "why it is in this state, a sentence; may be empty",
    "waiting": "what keeps a queued build from running, as a sentence, else `null`",
    "created_at": "when the commit was reported",
    "started_at": "when its first job began",
    "finished_at": "when it got its verdict",
    "pipeline_file": "the name of the pipeline file",
    "rule": "what zero-configuration recognised, where there is no pipeline file",
    "complaints": "what is wrong with the pipeline, `FILE:LINE:COLUMN: message` each",
    "retry_of": "the build that this one repeats",
    "jobs": "its jobs, in the order of the pipeline file",
}
TESTS: Final = {
    "build": "its number",
    "before": "what failures are compared with: the last build of the ref, of another commit, that has results",
    "jobs": "what the tests of each job came to; jobs without results are left out",
    "flaky": "the tests that went wrong in an attempt and passed in a later one at the same job",
    "cases": "the results: first those that went wrong, then the slowest; behind them those of shards without a report",
}
TALLY: Final = {
    "job": "the job's `BUILD/NAME`",
    "attempt": "the newest attempt that the results are of",
    "total": "how many tests its reports have; of a shard also what earlier attempts passed, and what it told itself "
    "where there is no report",
    "passed": "of these",
    "failed": "of these",
    "errored": "those that broke outside of what they check: in what sets them up, or by an error of their own",
    "skipped": "of these; those that were expected to fail and did are among them",
    "new": "how many failed or errored and did not in the build before; `null` where there is none",
    "flaky": "how many went wrong in an earlier attempt and passed in this one",
    "duration_ms": "of all tests together",
    "problems": "a sentence for each thing that is wrong with the reports",
}
CASE: Final = {
    "job": "the job's `BUILD/NAME`",
    "attempt": "the attempt",
    "suite": "its class, module or suite, as its test runner calls it",
    "name": "its own name",
    "state": "`passed`, `failed`, `errored` or `skipped`",
    "new": "whether it went wrong and did not in the build before; `null` where it did not, or where there is none",
    "duration_ms": "how long it took",
    "message": "why it failed or was skipped, in one line",
    "output": "of a test that went wrong: its traceback and what it printed, the first 8000 characters",
}
FLAKY: Final = {
    "job": "the `BUILD/NAME` of the job where it passed",
    "suite": "its class, module or suite, as its test runner calls it",
    "name": "its own name",
    "failed_attempt": "the last attempt in which it went wrong",
    "passed_attempt": "the attempt in which it passed",
    "message": "why it had failed, in one line",
}
JOB: Final = {
    "id": "`BUILD/NAME`",
    "name": "its name, with the values of its matrix",
    "state": f"one of {STATES}",
    "reason": "why it is in this state, a sentence; may be empty",
    "waiting": "what a queued, blocked or held job waits for, as a sentence, else `null`",
    "needs": "names of the jobs that must have ended before it begins",
    "artifacts_from": "the artifacts that it finds in its work tree, as `JOB/NAME`",
    "labels": "labels that its runner must have",
    "matrix": "its values of the matrix",
    "when": "its condition: `passed`, `failed`, `always` or an expression",
    "priority": "how much more urgent it is than others, or less where it is negative",
    "concurrency": "its concurrency group; `null` where it is in none",
    "continue_on_error": "whether a failure of it counts as passed for the build and for those that need it",
    "outputs": "what it put out for the jobs that need it: values by name",
    "created_at": "when its build was made",
    "started_at": "when its first attempt began",
    "finished_at": "when it got its verdict",
    "tests": "what its tests came to; `null` where there are no reports of them, and in a list of builds",
    "attempt": "the number of the newest attempt, 0 before the first",
    "attempts": "all attempts, oldest first",
}
ATTEMPT: Final = {
    "number": "1 for the first",
    "runner": "the name of its runner",
    "state": "one of `assigned` `running` `passed` `failed` `errored` `cancelled` `lost`",
    "reason": "why it is in this state, a sentence; may be empty",
    "assigned_at": "when it was given to its runner",
    "started_at": "when its first step began",
    "finished_at": "when it ended, or was given up",
    "exit_code": "that of the step which decided",
    "log_bytes": "how long its log is known to be; while it runs, how much of it is kept so far",
    "log_kept_bytes": "how much of it the dispatcher has",
    "log_complete": "whether that is all of it; null while nobody can know",
    "log_missing": "what of it is not here, and with which runner it may be or was lost, a sentence; null if nothing",
    "isolation": "what kept its steps apart from the machine",
    "image": "of a job with an image its `name`, and the `digest` by which the very same one is found again, once that "
    "is known",
    "steps": "its steps, in order",
}
STEP: Final = {
    "name": "its name, or its script's first line",
    "state": "one of `pending` `running` `passed` `failed` `errored` `cancelled` `skipped`",
    "exit_code": "that of its script",
    "started_at": "when it began",
    "finished_at": "when it ended",
    "log_at": "the byte of the attempt's log at which its output begins",
    "image": "of a service the digest by which its very image is found again",
    "remarks": "what surveil itself has to say of its output, which the log does not hold: `at` (the byte behind which "
    "it stands), `time`, `about` (`step`, or `attempt` where it is of what was kept after all steps), `text`",
}
REPLAY: Final = {
    "job": "the job's `BUILD/NAME`",
    "attempt": "the attempt that was run again",
    "sha": "its commit",
    "state": "what it came to here: `passed`, `failed`, `errored` or `cancelled`",
    "reason": "why, a sentence; may be empty",
    "exit_code": "that of the step which decided",
    "took_ms": "how long it ran",
    "isolation": "what kept its steps apart from the machine",
    "same": "whether it ended in the same state and with the same exit code as it had",
    "before": "what it had come to: `state`, `reason`, `exit_code`, `runner`",
    "differs": "a sentence for each thing that was not as it had been",
    "outputs": "what it put out: values by name",
    "steps": "its steps: `name`, `state`, `exit_code`, `remarks`",
}
RUNNER: Final = {
    "id": "its key",
    "name": "its name",
    "state": "one of `online` `suspect` `offline` `draining` `cordoned`",
    "reason": "why it is cordoned, a sentence",
    "host": "its machine's name",
    "labels": "what jobs can ask for",
    "slots": "how many attempts it runs at once",
    "busy": "how many of these are taken",
    "incarnation": "how many times it was started",
    "last_seen_at": "when it was heard last",
    "load": "its machine's load in percent of its processors; `null` while it is not heard",
    "disk_free_mib": "free disk for work trees in MiB; `null` while it is not heard, and before its first heartbeat",
    "version": "its version of surveil",
}
STATUS: Final = {
    "dispatcher": "`id` of the installation, `epoch` (its starts so far), `version`, `uptime_ms`, `at` (its clock)",
    "queue": "how many jobs are `queued`, `running`, `blocked` and `held`",
    "waiting": "why queued jobs wait, the reason of the most jobs first: `reason`, `jobs` (how many), `oldest` (a job)",
    "approvals": "the oldest builds that await approval, at most 20: `build`, `repo`, `ref`, `sha`, `author`, "
    "`created_at`",
    "schedules": "what is built by the clock: `repo`, `cron`, `timezone`, `next_at`",
    "runners": "how many are `online` and `offline`; `slots` of those online, and how many of these are `busy`",
    "ports": "what came to the dispatcher's ports since its start and should not have: `trouble`, `count`, and "
    "`last_from`, an address or `null`",
    "offenders": "the peers that did most of what they should not since the dispatcher's start: "
    "`peer`, a name or `null` for strangers, `role`, and `did`, how often what",
    "watching": "for each repository `repo`, its `observer`, and the `problem` of the last look at it",
    "outbox": "who is told of builds, each as in `notify list`; `null` where that cannot be seen: `status` looks "
    "into the dispatcher's folder on its machine, and over HTTP the server does",
}
NOTE: Final = {
    "position": "its place in the journal; `watch --since` takes it",
    "at": "when it happened",
    "what": "`build`, `job`, `attempt`, `runner` or `dispatcher`",
    "id": "of what: `12`, `12/test`, `12/test#1`, or a runner's key",
    "name": "a runner's name; `null` for everything else",
    "build": "the build that it belongs to",
    "state": "the state from then on, or what happened that is no state: `fenced` an attempt whose runner came back "
    "too late, `tail` one of which it delivers the rest of the log, `suspect` `restarted` `copied` a runner, "
    "`started` `stalled` `doubtful` the dispatcher",
    "reason": "why, a sentence; may be empty",
}
STORY: Final = {
    "at": "when it happened",
    "after_ms": "how long after the story's first line",
    "what": "`seen`, `queued`, `blocked`, `held`, `given`, `accepted`, `back`, `refused`, `step`, `fenced`, a state in "
    "which an attempt or job ended, `runner`, `dispatcher` or `build`; more may come",
    "job": "`BUILD/NAME`; `null` for what is of no job",
    "attempt": "the attempt's number, or `null`",
    "runner": "the runner's name, or `null`",
    "text": "the sentence",
}
ARTIFACT: Final = {
    "job": "the job that kept it, as `BUILD/NAME`",
    "attempt": "the attempt that kept it",
    "name": "what it is called",
    "files": "how many files it holds",
    "size": "bytes of its archive",
    "sha256": "the SHA-256 of its archive",
    "kept_at": "since when it is kept",
    "expires_at": "when it goes, unless the room is needed before",
    "folder": "where it was put; of `artifacts get` only",
}
TOKEN: Final = {
    "id": "what `token revoke` takes",
    "role": "`runner`, `observer` or `client`",
    "labels": "labels that who joins may carry",
    "uses_left": "how many more may join with it",
    "usable": "whether it would let anybody in now",
    "created_at": "when it was made",
    "expires_at": "when it ends",
    "revoked_at": "when it was revoked",
}
PEER: Final = {
    "key": "its public key",
    "role": "`runner`, `observer` or `client`",
    "name": "what people call it; one live peer of a role has it",
    "labels": "labels that its token granted; none means that it may carry any",
    "created_at": "when it joined",
    "revoked_at": "when it was taken out; null while it is let in",
}
TARGET: Final = {
    "name": "what it is called in `notify.toml`",
    "delivered": "how many things it was told",
    "delivered_at": "when the last of these was",
    "waiting": "how many wait for it",
    "waiting_since": "when the oldest of these happened",
    "behind": "how many lines of the journal nobody has read for it yet",
    "given_up": "how many it was never told: it refused them, or they grew too old",
    "again_at": "when it is tried again, if it could not be told anything the last time",
    "problem": "why it could not",
}
ACT: Final = {
    "position": "its number; they have no gaps",
    "at": "when it was to be done",
    "person": "who did it, as the client says that asked for them; `null` where it says nothing",
    "client": "whose key asked the dispatcher: `local` is its own machine's; `null` for what it was not asked for",
    "way": "`page`, `api` or `command`",
    "what": "the kind of act, in a word",
    "subject": "what it was done to",
    "detail": "more about it: a reason, for how long, or why it was not done",
}
NEWS: Final = {
    "event": "`broken`, `still failing`, `fixed` or `passed`",
    "build": "its number",
    "repo": "the repository",
    "ref": "the ref in full",
    "asked_by": "what asked for the build: `push`, `pull_request`, `schedule` or `manual`",
    "commit": "its commit: `sha`, `author`, `subject` and `build`",
    "state": "its verdict",
    "reason": "why, in a sentence; empty where all is well",
    "url": "its page; null where nobody said where the pages are",
    "finished_at": "when it ended",
    "duration_ms": "how long it took; null where it never began",
    "after": "the build of its ref that it is compared with; null for the first",
    "broken_by": "the commit with which it began to go wrong, where that is another one",
    "commits": "what was built since `after`, newest first, at most 10; each like `commit`",
    "jobs": "the first jobs that went wrong: `name`, `state`, `reason`, `runner`, `url`, and the `lines` of the log "
    "with which the trouble begins",
    "jobs_count": "how many went wrong",
    "tests": "the first tests that fail now and did not before: `job`, `suite`, `name`, `message`",
    "tests_count": "how many these are",
}
SECRET: Final = {
    "name": "what pipelines call it",
    "repo": "the pattern for repositories, `null` for all",
    "ref": "the pattern for refs, `null` for all",
    "job": "the pattern for jobs, `null` for all",
    "source": "`here`, or `vault` where only the place in a Vault is kept here",
    "key": "the id of the key that it is encrypted with",
    "created_at": "when it was set for the first time",
    "changed_at": "when it was set last",
}
PIECE_EXAMPLE: Final = {
    "job": "12/test", "attempt": 1, "at": 0, "bytes": 12, "text": "collected 3\n", "missing": None,
    "remark": None,
}  # fmt: skip
PIECE: Final = {
    "job": "`BUILD/NAME`",
    "attempt": "the attempt's number",
    "at": "where in its log the piece begins, in bytes",
    "bytes": "how many bytes it has",
    "text": "the bytes as UTF-8; what is not UTF-8 is replaced",
    "missing": "in the last piece, what of the log is not here, a sentence; null if nothing",
    "remark": "what surveil itself says at this place, in a line without bytes; `null` where something was printed",
}
DRILL: Final = {
    "held": "whether all held that is promised; the exit code is 0 only then",
    "kind": "`runner` or `dispatcher`",
    "victim": "the runner's name, or `dispatcher`",
    "pid": "its process",
    "build": "the drill's build",
    "job": "the job that was watched",
    "died_at": "when it was killed or stopped",
    "stopped_ms": "how long the dispatcher was stopped; `null` for a runner",
    "noticed_after_ms": "how long after that the dispatcher noticed; `null` where it did not",
    "noticed": "what it noticed, a sentence",
    "went_on_after_ms": "how long after that another attempt was accepted; `null` where none was needed",
    "went_on_runner": "by which runner",
    "verdict": "the job's state in the end",
    "verdict_after_ms": "how long after that it had its verdict",
    "back_after_ms": "how long the runner was away; `null` where it is not back",
    "started_again": "whether the drill had to start the runner",
    "lines": "how many lines the job printed",
    "lines_kept": "how many of them are in the log of the attempt that decided",
    "attempts": "`number` and `state` of each attempt",
    "others": "other jobs that ran there, a sentence each",
    "faults": "what did not hold, a sentence each",
}
FINDING_EXAMPLE: Final = {"name": "disk", "health": "ok", "sentence": "79.5 GiB free for data (/var/lib)", "next": None}
FINDING: Final = {
    "name": "what was looked at",
    "health": "`ok`, `weak` or `broken`",
    "sentence": "what was found",
    "next": "the command to type next; `null` where all is well",
}
