"""`run`: the pipeline of this work tree, here and now, through the same keeper as on any runner.

What belongs here: which jobs run, in which order, what is printed about them, and Ctrl-C. What does not: running one
job (`surveil.execute.local`), and finding the pipeline (`worktree`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from surveil.cli.flags import role_flags
from surveil.cli.options import example, input_flag, json_flag, offered
from surveil.cli.own_secrets import own_secrets
from surveil.cli.settings import load_flags
from surveil.cli.worktree import read_source, root_of
from surveil.config import RunConfig
from surveil.core.decisions import Need
from surveil.core.declared import CONTAINERS
from surveil.core.ending import ends_cell, fail_fast_words
from surveil.core.following import Commit, Look, facts_of, whether
from surveil.core.graph import in_order
from surveil.core.outputs import complete
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import ExitCode, NotFoundError, SurveilError
from surveil.execute import isolating
from surveil.execute.local import LocalRun
from surveil.pipeline import Invalid
from surveil.protocol import JobOutput, JobSpec, StepReport
from surveil.screen.colours import is_terminal
from surveil.screen.printing import print_json, tell
from surveil.screen.terminal import SafeOutput
from surveil.screen.words import span

CANCEL_GRACE_MS: Final = 10_000
"""How long the running job may take to end by itself after the first Ctrl-C."""


@dataclass(slots=True)
class _Result:
    """What became of a job."""

    spec: JobSpec
    state: str = "blocked"
    reason: str = ""
    attempt: int = 0
    exit_code: int | None = None
    took_ms: int = 0
    steps: tuple[StepReport, ...] = ()
    isolation: str = ""
    outputs: tuple[JobOutput, ...] = ()

    @property
    def tolerated(self) -> bool:
        """Whether it failed, and may."""
        return self.spec.continue_on_error and self.state in {"failed", "errored"}

    @property
    def need(self) -> Need:
        """How it looks to the jobs that need it."""
        outputs = {output.name: output.value for output in self.outputs}
        return Need(state=self.state, tolerated=self.tolerated, outputs=outputs)

    def document(self) -> dict[str, Any]:
        """For `--json`: the keys that a job of a build has, as far as there are such things here."""
        return {
            "name": self.spec.name,
            "state": self.state,
            "reason": self.reason,
            "needs": list(self.spec.needs),
            "matrix": dict(self.spec.matrix),
            "attempt": self.attempt,
            "exit_code": self.exit_code,
            "took_ms": self.took_ms,
            "isolation": self.isolation or None,
            "outputs": {output.name: output.value for output in self.outputs},
            "steps": [_step(step) for step in self.steps],
        }


def _step(step: StepReport) -> dict[str, Any]:
    remarks = [{"at": remark.at, "text": remark.text} for remark in step.remarks]
    return {"name": step.name, "state": step.state, "exit_code": step.exit_code, "remarks": remarks}


@dataclass(slots=True)
class _Interrupts:
    """Ctrl-C, once and twice: the first lets the running job end by itself, the second ends it at once."""

    running: LocalRun
    count: int = field(default=0)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Take the signals for as long as the block lasts."""
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.running.cancel(CANCEL_GRACE_MS if self.count == 1 else 0)


@click.command(
    epilog=example("surveil run", "surveil run test", "surveil run 'test[python=3.12]' --file ci/pipeline.yml")
)
@click.argument("jobs", nargs=-1, metavar="[JOB ...]")
@click.option(
    "--file",
    metavar="FILE",
    shell_complete=offered("files"),
    help="Read this pipeline file instead of the work tree's own.",
)
@input_flag
@role_flags(RunConfig)
@json_flag
def run(
    jobs: tuple[str, ...], *, file: str | None, inputs: tuple[tuple[str, str], ...], as_json: bool, **flags: Any
) -> int:
    """Run the pipeline of this work tree here and now.

    No dispatcher is needed. The steps see the files as they are, uncommitted changes included, and the environment
    that they would see on a runner; where there can be a sandbox, they see nothing else that is yours. With JOBs, only
    those and what they need run; a name without its matrix means all its cells. Ends with the exit code that a build
    would. The first Ctrl-C lets the running job end, the second ends it at once.
    """
    config = load_flags(RunConfig, flags).value
    source = read_source(file)
    loaded = source.load(dict(inputs))
    if isinstance(loaded, Invalid):
        print_json(loaded.as_json()) if as_json else click.echo(loaded.render(), err=True)
        return int(ExitCode.INVALID)
    if source.rule:
        tell(f"There is no pipeline file; by the files that are here: {source.rule}.")
    results = [_Result(spec) for spec in choose(loaded.jobs, jobs)]
    isolation = _isolation(config)
    interrupted = _run_all(root_of(Path.cwd()), results, isolation, config.engine, as_json=as_json)
    state = verdict(["passed" if result.tolerated else result.state for result in results])
    if as_json:
        print_json({"state": state, "jobs": [result.document() for result in results]})
    else:
        _summarise(results)
    if interrupted:
        return int(ExitCode.INTERRUPTED)
    codes = {
        "passed": ExitCode.OK,
        "skipped": ExitCode.OK,
        "failed": ExitCode.BUILD_FAILED,
        "cancelled": ExitCode.CANCELLED,
    }
    return int(codes.get(state, ExitCode.INFRASTRUCTURE))


def choose(specs: Sequence[JobSpec], wanted: Sequence[str]) -> list[JobSpec]:
    """The jobs to run, each after all that it needs and the more urgent before others: those that were named and what
    they need, or all.

    Raises:
        NotFoundError: a name is nobody's.
    """
    by_name = {spec.name: spec for spec in specs}
    chosen: dict[str, None] = dict.fromkeys(() if wanted else by_name)
    ahead: list[str] = []
    for name in wanted:
        cells = [spec.name for spec in specs if spec.name == name or (spec.matrix and spec.name.startswith(f"{name}["))]
        if not cells:
            raise NotFoundError(f"The pipeline has no job {quoted(name)}; {did_you_mean(name, by_name)}")
        ahead += cells
    while ahead:
        name = ahead.pop()
        if name not in chosen:
            chosen[name] = None
            ahead += by_name[name].needs
    ranks = (sorted(rank, key=lambda name: -by_name[name].priority) for rank in in_order(specs))
    return [by_name[name] for rank in ranks for name in rank if name in chosen]


def verdict(states: Sequence[str]) -> str:
    """One state for many, as a build's: the worst one, where a failure outweighs an error."""
    best = "skipped" if set(states) == {"skipped"} else "passed"
    return next((state for state in ("failed", "errored", "cancelled") if state in states), best)


def _isolation(config: RunConfig) -> isolating.Isolation:
    """What the steps are kept in; that they are not is said. Raises InfrastructureError."""
    found = isolating.choose(
        config.sandbox, memory_bytes=config.memory_bytes, processes=config.processes, expose=config.expose
    )
    if found.complaint:
        tell(found.complaint, "weak")
    return found


def _run_all(
    root: Path, results: Sequence[_Result], isolation: isolating.Isolation, engine: str, *, as_json: bool
) -> bool:
    """Run job after job; true if somebody interrupted it."""
    ref, sha = _head(root)
    commit = Commit(event="manual", repo=str(root), ref=ref, sha=sha)
    by_name = {result.spec.name: result for result in results}

    def look(name: str) -> tuple[JobSpec, Need]:
        return by_name[name].spec, by_name[name].need

    with LocalRun(root, ref=ref, sha=sha, isolation=isolation, engine=engine) as local:
        interrupts = _Interrupts(local)
        with interrupts.heard():
            for result in results:
                if interrupts.count:
                    result.state, result.reason = "cancelled", "interrupted before it began"
                    continue
                _follow(result, results, commit, look)
                if result.state == "queued":
                    spec = complete(result.spec, facts_of(result.spec, commit, look))
                    _run_job(local, spec, result, interrupts, as_json=as_json)
        return bool(interrupts.count)


def _follow(result: _Result, results: Sequence[_Result], commit: Commit, look: Look) -> None:
    """Say whether a job runs, by the rules of a build."""
    failed = next((other for other in results if other.state == "failed" and ends_cell(other.spec, result.spec)), None)
    if failed is not None:
        result.state, result.reason = "cancelled", fail_fast_words(failed.spec)
    else:
        status, result.reason = whether(result.spec, commit, look)
        result.state = status.value
    if result.state != "queued":
        tell(f"--- {result.spec.name} {result.state}: {result.reason} ---", result.state)


def _run_job(local: LocalRun, spec: JobSpec, result: _Result, interrupts: _Interrupts, *, as_json: bool) -> None:
    """All attempts at one job: another one after each failure, as long as the pipeline allows it."""
    name = spec.name
    if labels := [label for label in spec.labels if label != CONTAINERS]:
        tell(f"--- {name} asks for a runner with {', '.join(labels)}; this machine is taken as one ---")
    while True:
        result.attempt += 1
        tell(f"--- {name} attempt {result.attempt} ---", "running")
        output = _Output(to_stderr=as_json)
        try:
            ended = local.run(spec, on_output=output.write, secrets=own_secrets(spec, os.environb))
        except SurveilError as error:
            result.state, result.reason = "errored", str(error)
        else:
            result.state, result.reason, result.exit_code = ended.outcome, ended.reason, ended.exit_code
            if ended.outcome == "cancelled":
                result.reason = "interrupted" if interrupts.count == 1 else "interrupted twice, so at once"
            result.took_ms += ended.finished_after_ms
            result.steps = ended.steps
            result.isolation = ended.isolation
            result.outputs = ended.outputs
        finally:
            output.finish()
        for remark in (each for step in result.steps for each in step.remarks):
            tell(f"--- {name}: {remark.text} ---", "weak")
        if result.state == "lost":
            result.state = "errored"
        because = f": {result.reason}" if result.reason else ""
        tell(f"--- {name} attempt {result.attempt} {result.state}{because} ---", result.state)
        if result.state != "failed" or result.attempt > spec.retry or interrupts.count:
            return


class _Output:
    """Where a job's bytes go: as they are to a file or program, made safe for a terminal."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._safe = SafeOutput() if is_terminal(self._stream) else None

    def write(self, data: bytes) -> None:
        """Write a piece at once."""
        self._put(data if self._safe is None else self._safe.feed(data))

    def finish(self) -> None:
        """Write what was held back."""
        if self._safe is not None:
            self._put(self._safe.finish())

    def _put(self, data: bytes) -> None:
        self._stream.flush()
        self._stream.buffer.write(data)
        self._stream.buffer.flush()


def _head(root: Path) -> tuple[str, str]:
    """The ref and commit that the work tree is at, for the steps' environment; empty where there is no repository."""
    from surveil.mirror.local import LocalRepository
    from surveil.mirror.trouble import MirrorError

    try:
        refs = LocalRepository(str(root)).refs()
    except MirrorError:
        # A folder without a repository can be tested as well.
        return "", ""
    return refs.head or "", refs.head_sha or ""


def _summarise(results: Sequence[_Result]) -> None:
    """The table at the end goes to stderr as all that surveil says about itself: stdout is the steps'."""
    for result in results:
        because = f"  {result.reason}" if result.reason and result.state != "passed" else ""
        tell(f"{result.state:<9} {result.spec.name}  {span(result.took_ms)}{because}", result.state)
