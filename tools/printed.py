"""Documents that commands print and the HTTP API does not send, described.

What belongs here: their keys. What does not: documents that are sent as well (`surveil.answer.shapes`), and examples
(`shapes`).
"""

from __future__ import annotations

from typing import Final

from surveil.answer.shapes.building import ATTEMPT, STEP
from surveil.answer.shapes.kinds import Shape, a, by_name, flag, many, maybe, one_of, record, text, time, whole
from surveil.core.model import Status

_VERDICTS: Final = ("passed", "failed", "errored", "cancelled")
_COMMIT: Final = record(
    sha=text("its name"),
    author=text("whose it is"),
    subject=text("the first line of its message"),
    build=whole("the build of it"),
)

REPLAY: Final = Shape(
    "Replay",
    {
        "job": text("the job's `BUILD/NAME`"),
        "attempt": whole("the attempt that was run again", least=1),
        "sha": text("its commit"),
        "state": one_of(_VERDICTS, "what it came to here: `passed`, `failed`, `errored` or `cancelled`"),
        "reason": text("why, a sentence; may be empty"),
        "exit_code": maybe(whole("that of the step which decided", least=None)),
        "took_ms": whole("how long it ran"),
        "isolation": maybe(text("what kept its steps apart from the machine")),
        "same": flag("whether it ended in the same state and with the same exit code as it had"),
        "before": record(
            "what it had come to: `state`, `reason`, `exit_code`, `runner`",
            state=ATTEMPT.keys["state"],
            reason=ATTEMPT.keys["reason"],
            exit_code=ATTEMPT.keys["exit_code"],
            runner=ATTEMPT.keys["runner"],
        ),
        "differs": many(text("a sentence"), "a sentence for each thing that was not as it had been"),
        "outputs": by_name(text("a value"), "what it put out: values by name"),
        "steps": many(
            record(
                name=STEP.keys["name"],
                state=STEP.keys["state"],
                exit_code=STEP.keys["exit_code"],
                image=STEP.keys["image"],
                remarks=many(record(at=whole("the byte behind which it stands"), text=text("the sentence"))),
            ),
            "its steps: `name`, `state`, `exit_code`, `image`, `remarks` (`at`, `text`)",
        ),
    },
)
NEWS: Final = Shape(
    "News of a build",
    {
        "event": one_of(
            ("broken", "still failing", "fixed", "passed"), "`broken`, `still failing`, `fixed` or `passed`"
        ),
        "build": whole("its number", least=1),
        "repo": text("the repository"),
        "ref": text("the ref in full"),
        "asked_by": text("what asked for the build: `push`, `pull_request`, `schedule` or `manual`"),
        "commit": a(_COMMIT, "its commit: `sha`, `author`, `subject` and `build`"),
        "state": one_of(Status, "its verdict"),
        "reason": text("why, in a sentence; empty where all is well"),
        "url": maybe(text("its page; null where nobody said where the pages are")),
        "finished_at": maybe(time("when it ended")),
        "duration_ms": maybe(whole("how long it took; null where it never began", least=None)),
        "after": maybe(whole("the build of its ref that it is compared with; null for the first")),
        "broken_by": maybe(
            a(_COMMIT, "the commit with which it began to go wrong, where that is another one")
        ),
        "commits": many(
            _COMMIT, "what was built since `after`, newest first, at most 10; each like `commit`"
        ),
        "jobs": many(
            record(
                name=text("its name"), state=one_of(Status, "how it ended"), reason=text("why"),
                runner=text("where; may be empty"), url=text("its log; may be empty"),
                lines=many(text("a line"), "where the trouble begins"),
            ),
            "the first jobs that went wrong: `name`, `state`, `reason`, `runner`, `url`, and the `lines` of the log "
            "with which the trouble begins",
        ),
        "jobs_count": whole("how many went wrong"),
        "tests": many(
            record(
                job=text("the job"), suite=text("its suite"), name=text("its name"), message=text("why, in one line")
            ),
            "the first tests that fail now and did not before: `job`, `suite`, `name`, `message`",
        ),
        "tests_count": whole("how many these are"),
    },
)  # fmt: skip
PIECE: Final = Shape(
    "Piece of a log",
    {
        "job": text("`BUILD/NAME`"),
        "attempt": whole("the attempt's number", least=1),
        "at": whole("where in its log the piece begins, in bytes"),
        "bytes": whole("how many bytes it has"),
        "text": text("the bytes as UTF-8; what is not UTF-8 is replaced"),
        "missing": maybe(text("in the last piece, what of the log is not here, a sentence; null if nothing")),
        "remark": maybe(
            text(
                "what surveil itself says at this place, in a line without bytes; `null` where something was printed"
            )
        ),
    },
)  # fmt: skip
DRILL: Final = Shape(
    "Report of a drill",
    {
        "held": flag("whether all held that is promised; the exit code is 0 only then"),
        "kind": one_of(("runner", "dispatcher"), "`runner` or `dispatcher`"),
        "victim": text("the runner's name, or `dispatcher`"),
        "pid": whole("its process"),
        "build": whole("the drill's build"),
        "job": text("the job that was watched"),
        "died_at": time("when it was killed or stopped"),
        "stopped_ms": maybe(whole("how long the dispatcher was stopped; `null` for a runner")),
        "noticed_after_ms": maybe(
            whole("how long after that the dispatcher noticed; `null` where it did not", least=None)
        ),
        "noticed": maybe(text("what it noticed, a sentence")),
        "went_on_after_ms": maybe(
            whole("how long after that another attempt was accepted; `null` where none was needed", least=None)
        ),
        "went_on_runner": maybe(text("by which runner")),
        "verdict": maybe(text("the job's state in the end")),
        "verdict_after_ms": maybe(whole("how long after that it had its verdict", least=None)),
        "back_after_ms": maybe(whole("how long the runner was away; `null` where it is not back", least=None)),
        "started_again": flag("whether the drill had to start the runner"),
        "lines": whole("how many lines the job printed"),
        "lines_kept": whole("how many of them are in the log of the attempt that decided"),
        "attempts": many(
            record(number=ATTEMPT.keys["number"], state=ATTEMPT.keys["state"]), "`number` and `state` of each attempt"
        ),
        "others": many(text("a sentence"), "other jobs that ran there, a sentence each"),
        "faults": many(text("a sentence"), "what did not hold, a sentence each"),
    },
)  # fmt: skip
FINDING: Final = Shape(
    "Finding",
    {
        "name": text("what was looked at"),
        "health": one_of(("ok", "weak", "broken"), "`ok`, `weak` or `broken`"),
        "sentence": text("what was found"),
        "next": maybe(text("the command to type next; `null` where all is well")),
    },
)
