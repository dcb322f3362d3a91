"""The documents of builds and of all that belongs to one: jobs, attempts, steps, tests, stories, artifacts, lines.

What belongs here: their keys. What does not: the installation and what it keeps (`keeping`), and making them
(`surveil.answer.views`, `cases`, `story`, `kept_files`, `outlook`).
"""

from __future__ import annotations

from typing import Final, get_args

from surveil.answer.shapes.kinds import Shape, a, by_name, flag, many, maybe, one_of, record, text, time, whole
from surveil.core.model import AttemptState, Status
from surveil.protocol import CaseState, StepState

_JOB_ID: Final = "the job's `BUILD/NAME`"
_NEEDS_STATES: Final = f"one of {' '.join(f'`{state}`' for state in Status)}"
_REASON: Final = "why it is in this state, a sentence; may be empty"
_SUITE: Final = "its class, module or suite, as its test runner calls it"

STEP: Final = Shape(
    "Step",
    {
        "name": text("its name, or its script's first line"),
        "state": one_of(get_args(StepState), f"one of {' '.join(f'`{state}`' for state in get_args(StepState))}"),
        "exit_code": maybe(whole("that of its script", least=None)),
        "started_at": maybe(time("when it began")),
        "finished_at": maybe(time("when it ended")),
        "log_at": maybe(whole("the byte of the attempt's log at which its output begins")),
        "image": maybe(text("of a service the digest by which its very image is found again")),
        "remarks": many(
            record(
                at=whole("the byte behind which it stands"),
                time=maybe(time("when it was made")),
                about=one_of(("step", "attempt"), "what it is of"),
                text=text("the sentence"),
            ),
            "what surveil itself has to say of its output, which the log does not hold: `at` (the byte behind which it "
            "stands), `time`, `about` (`step`, or `attempt` where it is of what was kept after all steps), `text`",
        ),
    },
)
ATTEMPT: Final = Shape(
    "Attempt",
    {
        "number": whole("1 for the first", least=1),
        "runner": text("the name of its runner"),
        "state": one_of(AttemptState, f"one of {' '.join(f'`{state}`' for state in AttemptState)}"),
        "reason": text(_REASON),
        "assigned_at": time("when it was given to its runner"),
        "started_at": maybe(time("when its first step began")),
        "finished_at": maybe(time("when it ended, or was given up")),
        "exit_code": maybe(whole("that of the step which decided", least=None)),
        "log_bytes": whole("how long its log is known to be; while it runs, how much of it is kept so far"),
        "log_kept_bytes": maybe(whole("how much of it the dispatcher has")),
        "log_complete": maybe(flag("whether that is all of it; null while nobody can know")),
        "log_missing": maybe(
            text("what of it is not here, and with which runner it may be or was lost, a sentence; null if nothing")
        ),
        "isolation": maybe(text("what kept its steps apart from the machine")),
        "image": maybe(
            record(
                "of a job with an image its `name`, and the `digest` by which the very same one is found again, once "
                "that is known",
                name=text("as the pipeline has it"),
                digest=maybe(text("once it is known")),
            )
        ),
        "steps": many(STEP, "its steps, in order"),
    },
)
TALLY: Final = Shape(
    "Tests of a job",
    {
        "job": text(_JOB_ID),
        "attempt": whole("the newest attempt that the results are of"),
        "total": whole(
            "how many tests its reports have; of a shard also what earlier attempts passed, and what it told itself "
            "where there is no report"
        ),
        "passed": whole("of these"),
        "failed": whole("of these"),
        "errored": whole("those that broke outside of what they check: in what sets them up, or by an error of their "
                         "own"),
        "skipped": whole("of these; those that were expected to fail and did are among them"),
        "new": maybe(
            whole("how many failed or errored and did not in the build before; `null` where there is none")
        ),
        "flaky": whole("how many went wrong in an earlier attempt and passed in this one"),
        "duration_ms": whole("of all tests together", least=None),
        "problems": many(text("a sentence"), "a sentence for each thing that is wrong with the reports"),
    },
)  # fmt: skip
JOB: Final = Shape(
    "Job",
    {
        "id": text("`BUILD/NAME`"),
        "name": text("its name, with the values of its matrix"),
        "state": one_of(Status, _NEEDS_STATES),
        "reason": text(_REASON),
        "waiting": maybe(text("what a queued, blocked or held job waits for, as a sentence, else `null`")),
        "needs": many(text("a job"), "names of the jobs that must have ended before it begins"),
        "artifacts_from": many(text("an artifact"), "the artifacts that it finds in its work tree, as `JOB/NAME`"),
        "labels": many(text("a label"), "labels that its runner must have"),
        "matrix": by_name(text("a value"), "its values of the matrix"),
        "when": text("its condition: `passed`, `failed`, `always` or an expression"),
        "priority": whole("how much more urgent it is than others, or less where it is negative", least=None),
        "concurrency": maybe(text("its concurrency group; `null` where it is in none")),
        "continue_on_error": flag(
            "whether a failure of it counts as passed for the build and for those that need it"
        ),
        "outputs": by_name(text("a value"), "what it put out for the jobs that need it: values by name"),
        "created_at": time("when its build was made"),
        "started_at": maybe(time("when its first attempt began")),
        "finished_at": maybe(time("when it got its verdict")),
        "tests": maybe(
            a(TALLY, "what its tests came to; `null` where there are no reports of them, and in a list of builds")
        ),
        "attempt": whole("the number of the newest attempt, 0 before the first"),
        "attempts": many(ATTEMPT, "all attempts, oldest first"),
    },
)  # fmt: skip
BUILD: Final = Shape(
    "Build",
    {
        "id": whole("its number", least=1),
        "repo": text("the repository's address"),
        "ref": text("the ref that it counts for, in full"),
        "sha": text("the commit"),
        "message": text("the commit's message"),
        "author": text("the commit's author"),
        "event": text("what it was made for: `push` (a tag's as well), `pull_request`, `schedule` or `manual`"),
        "base": maybe(text("the branch that the repository's HEAD names, as far as it is known")),
        "trusted": flag("whether only people of the repository can have written its commit"),
        "approved": maybe(text("who let an untrusted build run, a sentence; `null` while nobody did")),
        "inputs": maybe(by_name(text("a value"), "what was typed with `submit --input`, by name")),
        "state": one_of(Status, _NEEDS_STATES),
        "reason": text(_REASON),
        "waiting": maybe(text("what keeps a queued build from running, as a sentence, else `null`")),
        "created_at": time("when the commit was reported"),
        "started_at": maybe(time("when its first job began")),
        "finished_at": maybe(time("when it got its verdict")),
        "pipeline_file": maybe(text("the name of the pipeline file")),
        "rule": maybe(text("what zero-configuration recognised, where there is no pipeline file")),
        "complaints": many(
            text("a complaint"), "what is wrong with the pipeline, `FILE:LINE:COLUMN: message` each"
        ),
        "retry_of": maybe(whole("the build that this one repeats", least=1)),
        "jobs": many(JOB, "its jobs, in the order of the pipeline file"),
    },
)  # fmt: skip
CASE: Final = Shape(
    "Test result",
    {
        "job": text(_JOB_ID),
        "attempt": whole("the attempt"),
        "suite": text(_SUITE),
        "name": text("its own name"),
        "state": one_of(get_args(CaseState), "`passed`, `failed`, `errored` or `skipped`"),
        "new": maybe(
            flag(
                "whether it went wrong and did not in the build before; `null` where it did not, or where there is none"
            )
        ),
        "duration_ms": whole("how long it took", least=None),
        "message": text("why it failed or was skipped, in one line"),
        "output": text("of a test that went wrong: its traceback and what it printed, the first 8000 characters"),
    },
)
FLAKY: Final = Shape(
    "Flaky test",
    {
        "job": text("the `BUILD/NAME` of the job where it passed"),
        "suite": text(_SUITE),
        "name": text("its own name"),
        "failed_attempt": whole("the last attempt in which it went wrong"),
        "passed_attempt": whole("the attempt in which it passed"),
        "message": text("why it had failed, in one line"),
    },
)
TESTS: Final = Shape(
    "Tests of a build",
    {
        "build": whole("its number", least=1),
        "before": maybe(
            whole("what failures are compared with: the last build of the ref, of another commit, that has results")
        ),
        "jobs": many(TALLY, "what the tests of each job came to; jobs without results are left out"),
        "flaky": many(FLAKY, "the tests that went wrong in an attempt and passed in a later one at the same job"),
        "cases": many(
            CASE,
            "the results: first those that went wrong, then the slowest; behind them those of shards without a report",
        ),
    },
)
STORY: Final = Shape(
    "Line of a story",
    {
        "at": time("when it happened"),
        "after_ms": whole("how long after the story's first line", least=None),
        "what": text(
            "`seen`, `queued`, `blocked`, `held`, `given`, `accepted`, `back`, `refused`, `step`, `fenced`, a state in "
            "which an attempt or job ended, `runner`, `dispatcher` or `build`; more may come"
        ),
        "job": maybe(text("`BUILD/NAME`; `null` for what is of no job")),
        "attempt": maybe(whole("the attempt's number, or `null`")),
        "runner": maybe(text("the runner's name, or `null`")),
        "text": text("the sentence"),
    },
)
NOTE: Final = Shape(
    "Journal line",
    {
        "position": whole("its place in the journal; `watch --since` takes it"),
        "at": time("when it happened"),
        "what": one_of(
            ("build", "job", "attempt", "runner", "dispatcher"), "`build`, `job`, `attempt`, `runner` or `dispatcher`"
        ),
        "id": text("of what: `12`, `12/test`, `12/test#1`, or a runner's key"),
        "name": maybe(text("a runner's name; `null` for everything else")),
        "build": maybe(whole("the build that it belongs to")),
        "state": text(
            "the state from then on, or what happened that is no state: `fenced` an attempt whose runner came back too "
            "late, `tail` one of which it delivers the rest of the log, `suspect` `restarted` `copied` a runner, "
            "`started` `stalled` `doubtful` the dispatcher"
        ),
        "reason": text("why, a sentence; may be empty"),
    },
)
ARTIFACT: Final = Shape(
    "Artifact",
    {
        "job": text("the job that kept it, as `BUILD/NAME`"),
        "attempt": whole("the attempt that kept it", least=1),
        "name": text("what it is called"),
        "files": whole("how many files it holds"),
        "size": whole("bytes of its archive"),
        "sha256": text("the SHA-256 of its archive"),
        "kept_at": time("since when it is kept"),
        "expires_at": time("when it goes, unless the room is needed before"),
        "folder": text("where it was put; of `artifacts get` only"),
    },
    frozenset({"folder"}),
)
REPOSITORY: Final = Shape(
    "Repository",
    {
        "repo": text("its address"),
        "median_ms": maybe(
            whole("how long a build of it that passes usually takes; `null` where fewer than three did", least=None)
        ),
        "lately": many(
            record(id=whole("its number", least=1), ref=text("its ref"), state=one_of(Status, "how it stands")),
            "its newest builds, newest first: `id`, `ref` and `state`",
        ),
        "refs": many(
            record(
                ref=text("its name in full"),
                build=whole("the newest build of it", least=1),
                state=one_of(Status, "how that stands"),
                created_at=time("when that was made"),
                started_at=maybe(time("when its first job began")),
                finished_at=maybe(time("when it got its verdict")),
                verdict=maybe(
                    record(
                        "the newest build of the ref that has one",
                        build=whole("its number", least=1),
                        state=one_of(Status, "the verdict"),
                        at=time("when"),
                    )
                ),
                broken_since=maybe(
                    record(
                        "the first of the builds that went wrong until now",
                        build=whole("its number", least=1),
                        at=time("when that was made"),
                    )
                ),
            ),
            "how its branches and tags stand, the one that was built last first: `ref`; the newest `build`, its "
            "`state`, `created_at`, `started_at` and `finished_at`; the newest `verdict` (`build`, `state`, `at`), and "
            "since when it is broken (`broken_since`: `build`, `at`); both may be `null`",
        ),
    },
)  # fmt: skip
ROW: Final = Shape(
    "Row of a log",
    {
        "at": whole("its first byte"),
        "end": whole("the byte after its last one"),
        "text": text("its text without the line's end, as UTF-8; what is not UTF-8 is replaced"),
        "begins": flag("whether a line begins with it; else it goes on with the one before"),
        "open": flag("whether more may come of it"),
    },
)
