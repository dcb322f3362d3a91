"""`run`: the pipeline of this work tree, here and now, through the same keeper as on any runner.

What belongs here: which jobs run, in which order, and what is printed about them. What does not: running one job
(`surveil.execute.local`), what a replay does alike, Ctrl-C above all (`attending`), and finding the pipeline
(`worktree`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from surveil.cli.attending import (
    Interrupts,
    Output,
    code_of,
    isolation_of,
    outputs_document,
    putting_away,
    step_document,
    tell_remarks,
    tell_tests,
    tests_document,
)
from surveil.cli.flags import role_flags
from surveil.cli.options import example, input_flag, json_flag, offered
from surveil.cli.own_secrets import own_secrets
from surveil.cli.settings import load_flags
from surveil.cli.worktree import read_source, root_of
from surveil.config import RunConfig
from surveil.core.conditions import WORDS, path_patterns
from surveil.core.decisions import Need
from surveil.core.declared import CONTAINERS
from surveil.core.ending import ends_cell, fail_fast_words
from surveil.core.expressions import parse
from surveil.core.following import Commit, Look, facts_of, whether
from surveil.core.graph import in_order
from surveil.core.keeping import HOME
from surveil.core.outputs import complete
from surveil.core.spelling import did_you_mean, quoted
from surveil.core.states import WRONG
from surveil.core.taking import entries_of
from surveil.errors import ExitCode, NotFoundError, SurveilError
from surveil.execute.collect.artifacts_here import ArtifactsHere
from surveil.execute.collect.cupboard import CachesHere
from surveil.execute.collect.keeping import required
from surveil.execute.collect.results_here import ResultsHere
from surveil.execute.collect.taking import in_turn, taking
from surveil.execute.collect.taking_here import TakenHere
from surveil.execute.local import LocalRun
from surveil.execute.scene import Beside
from surveil.pipeline import Invalid
from surveil.places import RUN_CACHES
from surveil.protocol import JobOutput, JobSpec, StepReport
from surveil.screen.printing import print_json, tell
from surveil.screen.words import span


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
        return self.spec.continue_on_error and self.state in WRONG

    @property
    def need(self) -> Need:
        """How it looks to the jobs that need it."""
        outputs = {output.name: output.value for output in self.outputs}
        decided = self.attempt if self.state in {"passed", "failed"} else 0
        return Need(state=self.state, tolerated=self.tolerated, attempt=decided, outputs=outputs)

    def document(self, tested: ResultsHere) -> dict[str, Any]:
        """For `--json`: the keys that a job of a build has, as far as there are such things here."""
        results = tested.by_job.get(self.spec.name)
        return {
            "name": self.spec.name,
            "state": self.state,
            "reason": self.reason,
            "needs": list(self.spec.needs),
            "artifacts_from": entries_of(self.spec.artifacts_from),
            "matrix": dict(self.spec.matrix),
            "attempt": self.attempt,
            "exit_code": self.exit_code,
            "took_ms": self.took_ms,
            "isolation": self.isolation or None,
            "outputs": outputs_document(self.outputs),
            "tests": None if results is None else tests_document(results),
            "steps": [step_document(step) for step in self.steps],
        }


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
@click.option(
    "--artifacts",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    shell_complete=offered("folders"),
    help="Put what the jobs keep into DIR as well, as JOB/NAME/... below it.",
)
@input_flag
@role_flags(RunConfig)
@json_flag
@putting_away()
def run(
    jobs: tuple[str, ...],
    *,
    file: str | None,
    artifacts: Path | None,
    inputs: tuple[tuple[str, str], ...],
    as_json: bool,
    **flags: Any,
) -> int:
    """Run the pipeline of this work tree here and now.

    No dispatcher is needed. The steps see the files as they are, uncommitted changes included, and the environment
    that they would see on a runner; where there can be a sandbox, they see nothing else that is yours. What jobs cache
    of their homes is kept in the data folder for later runs; artifacts stay where they are. With JOBs, only those and
    what they need run; a name without its matrix means all its cells. Ends with the exit code that a build would. The
    first Ctrl-C lets the running job end, the second ends it at once.
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
    taken = TakenHere(result.spec for result in results)
    isolation, tested, root = isolation_of(config), ResultsHere(), root_of(Path.cwd())
    ref, sha = _head(root)
    with LocalRun(
        root, ref=ref, sha=sha, isolation=isolation, engine=config.engine,
        beside=_beside(config, root, artifacts, tested, taken),
    ) as local, contextlib.closing(taken):  # fmt: skip
        commit = Commit(event="manual", repo=str(root), ref=ref, sha=sha)
        interrupted = _run_all(local, commit, results, taken, as_json=as_json)
    state = verdict(["passed" if result.tolerated else result.state for result in results])
    if as_json:
        print_json({"state": state, "jobs": [result.document(tested) for result in results]})
    else:
        tell_tests([*tested.by_job.values()])
        _summarise(results)
    return int(code_of(state, interrupted=interrupted))


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
            known = dict.fromkeys([*(spec.declared_name for spec in specs), *by_name])
            raise NotFoundError(f"The pipeline has no job {quoted(name)}; {did_you_mean(name, known)}")
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


def _beside(config: RunConfig, root: Path, artifacts: Path | None, tested: ResultsHere, taken: TakenHere) -> Beside:
    """What is done beside each job's steps."""
    caches = CachesHere(config.data / RUN_CACHES, root)
    kept = required if artifacts is None else ArtifactsHere(artifacts.absolute())
    return Beside(restore=in_turn(caches.restore, taking(taken.bring)), collectors=(kept, taken, tested, caches))


def unheeded(spec: JobSpec) -> list[str]:
    """What of a job makes no difference here, with the reason where it is not plain."""
    found = []
    if spec.concurrency:
        found.append("`concurrency`, as nothing is known of other runs")
    if spec.on_runner_loss != "retry":
        found.append("`on_runner_loss`, as there is no runner to lose")
    whens = [when for when in (spec.when, *(step.when for step in spec.steps)) if when not in WORDS]
    if any(path for when in whens for path in path_patterns(parse(when))):
        found.append("changed paths in `when`: every path counts as changed")
    if any(not path.startswith(HOME) for cache in spec.cache for path in cache.paths):
        found.append("`cache` of what is in the work tree: it is there as earlier runs left it")
    return found


def _run_all(local: LocalRun, commit: Commit, results: Sequence[_Result], taken: TakenHere, *, as_json: bool) -> bool:
    """Run job after job; true if somebody interrupted it."""
    by_name = {result.spec.name: result for result in results}

    def look(name: str) -> tuple[JobSpec, Need]:
        return by_name[name].spec, by_name[name].need

    interrupts = Interrupts(local)
    with interrupts.heard():
        for result in results:
            if interrupts.count:
                result.state, result.reason = "cancelled", "interrupted before it began"
                continue
            _follow(result, results, commit, look)
            if result.state == "queued":
                spec = taken.without_missing(complete(result.spec, facts_of(result.spec, commit, look)))
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


def _run_job(local: LocalRun, spec: JobSpec, result: _Result, interrupts: Interrupts, *, as_json: bool) -> None:
    """All attempts at one job: another one after each failure, as long as the pipeline allows it."""
    name = spec.name
    if labels := [label for label in spec.labels if label != CONTAINERS]:
        tell(f"--- {name} asks for a runner with {', '.join(labels)}; this machine is taken as one ---")
    for words in unheeded(spec):
        tell(f"--- {name}: not heeded here: {words} ---", "weak")
    while True:
        result.attempt += 1
        tell(f"--- {name} attempt {result.attempt} ---", "running")
        output = Output(to_stderr=as_json)
        try:
            ended = local.run(
                spec, on_output=output.write, secrets=own_secrets(spec, os.environb), attempt=result.attempt
            )
        except SurveilError as error:
            result.state, result.reason = "errored", str(error)
        else:
            result.state, result.reason, result.exit_code = ended.outcome, ended.reason, ended.exit_code
            if ended.outcome == "cancelled":
                result.reason = interrupts.words
            result.took_ms += ended.finished_after_ms
            result.steps = ended.steps
            result.isolation = ended.isolation
            result.outputs = ended.outputs
        finally:
            output.finish()
        tell_remarks(name, result.steps)
        if result.state == "lost":
            result.state = "errored"
        because = f": {result.reason}" if result.reason else ""
        tell(f"--- {name} attempt {result.attempt} {result.state}{because} ---", result.state)
        if result.state != "failed" or result.attempt > spec.retry or interrupts.count:
            return


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
