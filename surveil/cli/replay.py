"""`replay`: a past attempt, run again on this machine.

What belongs here: the command, what is said of it, and its verdict. What does not: getting the attempt here (`past`),
and running it (`surveil.execute.local`).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
)
from surveil.cli.flags import role_flags
from surveil.cli.options import JOB, Number, example, json_flag, offered
from surveil.cli.own_secrets import secrets_at_hand
from surveil.cli.settings import load_flags
from surveil.config import ReplayConfig
from surveil.core.declared import CONTAINERS
from surveil.errors import InfrastructureError, UsageError
from surveil.execute.collect.collecting import Restore
from surveil.execute.collect.keeping import required
from surveil.execute.collect.results_here import ResultsHere
from surveil.execute.collect.shared_here import SharedAgain
from surveil.execute.collect.taking import taking
from surveil.execute.isolation.isolating import OFF, Isolation
from surveil.execute.keeper.entrusted import NOTHING, Entrusted
from surveil.execute.local import LocalRun
from surveil.execute.scene import Beside, Scene
from surveil.execute.scratch import scratch
from surveil.frozen import replace
from surveil.protocol import Finished, JobSpec
from surveil.screen.printing import print_json, tell
from surveil.screen.words import SHA_DIGITS, counted, short_repo

if TYPE_CHECKING:
    from surveil.cli.past import Past


@click.command(
    epilog=example(
        "surveil replay 12/test", "surveil replay 12/test --shell", "surveil replay '12/test[python=3.12]' --json"
    )
)
@click.argument("job", type=JOB, metavar="BUILD[/JOB]")
@click.option("--attempt", type=Number(1), metavar="N", help="Run this attempt again instead of the newest.")
@click.option(
    "--shell",
    is_flag=True,
    help="When the steps have ended, open a shell where they stood: at the step that failed, or after the last.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path),
    shell_complete=offered("folders"),
    help="Make the work tree in DIR, which is not there yet, and leave it there.",
)
@role_flags(ReplayConfig)
@json_flag
@putting_away()
def replay(
    job: tuple[int, str], *, attempt: int | None, shell: bool, keep: Path | None, as_json: bool, **flags: Any
) -> int:
    """Run a past attempt again on this machine.

    The job runs on the attempt's commit, with its image, environment, matrix values and, of a shard, its tests, by the
    same executor as on a runner; what cannot be as it was is said. Secrets are not fetched: a job finds those that are
    set in your own environment under their names. Without JOB, the only job of the build that went wrong. Ends with the
    exit code that a build of this job would; nothing of it is left, but for the work tree with --keep.
    """
    from surveil.cli.blocking import Dispatcher
    from surveil.cli.connecting import way_to
    from surveil.cli.past import bring, bring_artifacts, find

    config = load_flags(ReplayConfig, flags).value
    if shell and (as_json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        raise UsageError("--shell needs a terminal to type at, and no --json: leave it out here.")
    if keep is not None and keep.exists():
        raise UsageError(f"{keep} exists already: name a folder with --keep that does not.")
    with scratch("replay-") as root:
        tree = root / "work" if keep is None else keep.absolute()
        with Dispatcher(way_to(config, typed=flags["dispatcher"])) as dispatcher:
            past = find(dispatcher, *job, attempt)
            isolation = isolation_of(config)
            _refuse_strangers(past, isolation, config)
            bring(dispatcher, past, tree, config)
            spec, taken = bring_artifacts(dispatcher, past, root / "taken")
        played = _Replay(replace(past, spec=spec), tree, isolation, config.engine, taking(taken))
        played.run(as_json=as_json, shell=shell)
    if as_json:
        print_json(played.document())
    else:
        _conclude(played, keep)
    return int(code_of(played.state, interrupted=played.interrupted))


def _refuse_strangers(past: Past, isolation: Isolation, config: ReplayConfig) -> None:
    """What strangers wrote does not see this person's files without their say. Raises InfrastructureError."""
    if past.told.trusted or past.spec.image is not None or isolation.sandbox is not None or config.sandbox == OFF:
        return
    raise InfrastructureError(
        f"{past.id} is of a commit that strangers may have written, and without a sandbox it would see what you see; "
        "`surveil doctor` says how to get one, and `--sandbox off` runs it as it is."
    )


@dataclass(slots=True)
class _Replay:
    """An attempt that is run again, and what came of it. `differs` says what cannot be as it was."""

    past: Past
    tree: Path
    isolation: Isolation
    engine: str
    restore: Restore
    state: str = "errored"
    reason: str = ""
    interrupted: bool = False
    finished: Finished | None = None
    differs: list[str] = field(default_factory=list)
    tested: ResultsHere = field(default_factory=ResultsHere)

    def run(self, *, as_json: bool, shell: bool) -> None:
        """Run it, and open a shell behind that where one is wanted."""
        from surveil.cli.past import with_images

        past = self.past
        number, state = past.told.attempt, past.attempt["state"]
        where = f"{short_repo(past.repo)} at {past.sha[:SHA_DIGITS]}"
        tell(f"--- {past.id} attempt {number} {state} on {past.attempt['runner']}; here it is run again: {where} ---",
             "running")  # fmt: skip
        shared = SharedAgain(past.batches, self._on_missing) if past.spec.shards else None
        with LocalRun(
            self.tree, repo=past.repo, ref=past.ref, sha=past.sha, told=past.told, isolation=self.isolation,
            engine=self.engine, shared=shared,
            beside=Beside(restore=self.restore, collectors=(required, self.tested)),
        ) as local:  # fmt: skip
            interrupts = Interrupts(local)
            with interrupts.heard():
                secrets = self._look_at(past.spec)
                find = partial(local.problem_with, spec=past.spec, login=secrets.registry)
                spec = with_images(past, find, self.differs)
                for difference in self.differs:
                    tell(f"--- not as it was: {difference} ---", "weak")
                self._run_it(local, spec, secrets, interrupts, as_json=as_json, shell=shell)
        self.interrupted = bool(interrupts.count)

    def _run_it(
        self,
        local: LocalRun,
        spec: JobSpec,
        secrets: Entrusted,
        interrupts: Interrupts,
        *,
        as_json: bool,
        shell: bool,
    ) -> None:
        output = Output(to_stderr=as_json)

        def afterwards(scene: Scene) -> None:
            output.finish()
            if interrupts.count <= 1:  # Whoever interrupts twice wants to be gone.
                self._open(scene, local)

        try:
            self.finished = local.run(
                spec, on_output=output.write, secrets=secrets, afterwards=afterwards if shell else None
            )
        except InfrastructureError as error:
            self.reason = str(error)
            return
        finally:
            output.finish()
        self.state = "errored" if self.finished.outcome == "lost" else self.finished.outcome
        self.reason = interrupts.words if self.state == "cancelled" else self.finished.reason
        tell_remarks(self.past.id, self.finished.steps)

    def _open(self, scene: Scene, local: LocalRun) -> None:
        from surveil.execute.shell import again_words, open_shell, stood_at

        step = scene.finished.steps[stood_at(scene)]
        tell(f"--- a shell where step '{step.name}' {step.state}; `exit` ends it, and this runs the step again: ---")
        tell(f"    {again_words(scene)}")
        try:
            open_shell(scene, local.containers, self.past.id)
        except InfrastructureError as error:
            tell(f"--- {error} ---", "errored")

    def _look_at(self, spec: JobSpec) -> Entrusted:
        """What of the attempt's surroundings is not here; and the secrets that are."""
        past, there = self.past, self.past.attempt
        isolation = there.get("isolation") or ""
        if spec.image is None and isolation and isolation != self.isolation.name:
            self.differs.append(f"its isolation was {isolation}, here it is {self.isolation.name}")
        if labels := [label for label in spec.labels if label != CONTAINERS]:
            self.differs.append(f"its runner had {', '.join(labels)}; {socket.gethostname()} is taken as one that has")
        if unknown := [service.name for service in spec.services if not past.had_by(service.name)]:
            self.differs.append(f"{counted(len(unknown), 'service')}: of the images that their names mean now")
        if spec.cache:
            self.differs.append(f"{counted(len(spec.cache), 'cache')} that it may have found: nothing is restored")
        if not spec.secrets:
            return NOTHING
        if not past.told.trusted:
            return NOTHING  # It had none there either.
        entrusted, missing = secrets_at_hand(spec, os.environb)
        if missing:
            how = " ".join(f"{name}=..." for name in missing)
            self.differs.append(
                f"the steps lack the secret{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which no dispatcher "
                f"gives away; type `{how} surveil replay {past.id}` to give your own"
            )
        return entrusted

    def _on_missing(self, names: list[str]) -> None:
        """Called in the thread that answers the shard, while its steps wait."""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        self.differs.append(f"of what the shard was handed, {names[0]}{more} is not in its list here")
        tell(f"--- not as it was: {self.differs[-1]} ---", "weak")

    @property
    def same(self) -> bool:
        """Whether it ended as it had."""
        code = None if self.finished is None else self.finished.exit_code
        return (self.state, code) == (self.past.attempt["state"], self.past.attempt["exit_code"])

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return replay_document(
            job=self.past.id, sha=self.past.sha, before=self.past.attempt, state=self.state, reason=self.reason,
            finished=self.finished, differs=self.differs, same=self.same,
        )  # fmt: skip


def replay_document(
    *,
    job: str,
    sha: str,
    before: Mapping[str, Any],
    state: str,
    reason: str,
    finished: Finished | None,
    differs: list[str],
    same: bool,
) -> dict[str, Any]:
    """What a replay came to, beside what the attempt had come to."""
    return {
        "job": job,
        "attempt": before["number"],
        "sha": sha,
        "state": state,
        "reason": reason,
        "exit_code": None if finished is None else finished.exit_code,
        "took_ms": 0 if finished is None else finished.finished_after_ms,
        "isolation": (finished.isolation or None) if finished is not None else None,
        "same": same,
        "before": {"state": before["state"], "reason": before["reason"], "exit_code": before["exit_code"],
                   "runner": before["runner"]},
        "differs": differs,
        "outputs": outputs_document(() if finished is None else finished.outputs),
        "steps": [step_document(step) for step in (() if finished is None else finished.steps)],
    }  # fmt: skip


def _conclude(played: _Replay, keep: Path | None) -> None:
    """How it ended, and how that compares."""
    past = played.past
    tell_tests([*played.tested.by_job.values()])
    because = f": {played.reason}" if played.reason else ""
    compared = "as it did there" if played.same else f"there it was {past.attempt['state']}"
    if not played.same and past.attempt["reason"]:
        compared += f" ({past.attempt['reason']})"
    tell(f"--- {past.id} attempt {past.told.attempt} {played.state}{because}; {compared} ---", played.state)
    if keep is not None:
        tell(f"--- its work tree is {keep} ---", "weak")
