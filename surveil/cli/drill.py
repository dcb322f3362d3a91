"""`drill`: end something of a live installation on purpose, under a harmless job, and report how it recovered.

What belongs here: the command, and the consent that it needs. What does not: the course of the drill (`drilling`), and
how the report looks (`surveil.screen.recovery`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.options import Duration, Number, client_flags, example, json_flag, offered
from surveil.errors import ExitCode, NotAllowedError, UsageError
from surveil.screen.printing import print_facts, print_json, tell
from surveil.screen.words import listed, span

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher
    from surveil.cli.drilling import Drill
    from surveil.cli.drilling_report import Seen

STOP_MS_DEFAULT: Final = 10_000
STOP_MS_MAX: Final = 60_000


@click.command(
    epilog=example("surveil drill", "surveil drill dispatcher --for 10s", "surveil drill --yes --json | jq .held")
)
@click.argument("what", type=click.Choice(["runner", "dispatcher"]), default="runner")
@click.option(
    "--for", "stop_ms", type=Duration(), metavar="DURATION", help="How long the dispatcher is stopped.  [default: 10s]"
)
@click.option(
    "--runner-data", metavar="DIR", shell_complete=offered("folders"),
    help="The data folder of the runner to kill; by default one of those below --data that gets the job.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
@click.option("--anyway", is_flag=True, help="Also where other jobs run on what is ended.")
@click.option(
    "--seconds", type=Number(10, 120), metavar="N", default=20, show_default=True,
    help="How long the harmless job counts.",
)  # fmt: skip
@client_flags
@json_flag
def drill(
    what: str, *, stop_ms: int | None, runner_data: str | None, yes: bool, anyway: bool, seconds: int, as_json: bool,
    **where: str | None,
) -> int:  # fmt: skip
    """Kill a runner under a harmless job, and report the recovery.

    Runs on the machine, and as the user, of what it ends. The job is a build of its own that counts seconds and does
    nothing else. Its runner is killed with all that it has of that job, as if the machine had lost its power; or the
    dispatcher's process is stopped for a while. Then the report: what died, when that was noticed, where the work went
    on, what was lost. Exit code 0 only if all held: one verdict, its whole log, no other job tried again.

    It asks first, and refuses where other jobs run on what it would end, unless --anyway. A killed runner comes back by
    its supervisor; one that has none is started again by the drill.
    """
    if stop_ms is not None and what != "dispatcher":
        raise click.UsageError("--for says how long the dispatcher is stopped: `surveil drill dispatcher --for 10s`.")
    stop_ms = STOP_MS_DEFAULT if stop_ms is None else stop_ms
    if not 0 < stop_ms <= STOP_MS_MAX:
        raise click.UsageError(f"--for is at most {span(STOP_MS_MAX)}, and more than nothing.")
    from surveil.cli.drilling import Drill
    from surveil.cli.drilling_report import document
    from surveil.cli.settings import client_settings
    from surveil.screen.recovery import recovery_facts

    data = client_settings(where).data
    with connected(where) as dispatcher:
        course = Drill(dispatcher, seconds=seconds, tell=lambda text: tell(f"--- {text} ---", "faint"))
        consent = _Consent(yes=yes, anyway=anyway, seconds=seconds)
        if what == "dispatcher":
            seen = _stop(dispatcher, course, data, stop_ms, consent)
        else:
            named = None if runner_data is None else Path(runner_data).absolute()
            seen = _kill(dispatcher, course, data, named, consent)
    report = document(seen)
    if as_json:
        print_json(report)
    else:
        print_facts(recovery_facts(report))
        tell(f"`surveil story {report['job']}` tells all of it.", "faint")
    return int(ExitCode.OK if seen.held else ExitCode.INFRASTRUCTURE)


class _Consent:
    """Asks a person, once, before anything is done."""

    def __init__(self, *, yes: bool, anyway: bool, seconds: int) -> None:
        self._yes = yes
        self.anyway = anyway
        self._seconds = seconds

    def get(self, what: str, busy: Sequence[str]) -> None:
        """Return where a person agrees to `what`, while the jobs `busy` run on it.

        Raises:
            NotAllowedError: jobs run there, or the person does not want it.
            UsageError: there is nobody to ask.
        """
        if busy and not self.anyway:
            raise NotAllowedError(
                f"{_run(busy)} there now: wait until it is idle, or type the "
                "command with --anyway, which is meant to harm none of them."
            )
        if self._yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("A drill ends something that is at work, and nobody can be asked here: say --yes.")
        running = f" Meanwhile {_run(busy)} there." if busy else " No other job runs there."
        tell(f"This builds a harmless job of {self._seconds} s on this installation, and then {what}.{running}")
        if not click.confirm("Do it?", default=False, err=True):
            raise NotAllowedError("Nothing was done.")


def _run(jobs: Sequence[str]) -> str:
    return f"{listed(jobs)} {'runs' if len(jobs) == 1 else 'run'}"


def _kill(dispatcher: Dispatcher, course: Drill, data: Path, named: Path | None, consent: _Consent) -> Seen:
    from surveil.cli.drilling import a_commit, local_runners, running_jobs

    local = local_runners(dispatcher, data, named)
    a_commit(dispatcher)
    busy = [f"{job} (on {runner})" for job, runner, _ in running_jobs(dispatcher) if runner in local]
    which = next(iter(local)) if len(local) == 1 else f"whichever of {listed(local)} gets it"
    consent.get(f"kills runner {which}, on this machine", busy)
    return course.kill_a_runner(local, anyway=consent.anyway)


def _stop(dispatcher: Dispatcher, course: Drill, data: Path, stop_ms: int, consent: _Consent) -> Seen:
    from surveil.cli.drilling import A_DISPATCHER, a_commit, running_jobs
    from surveil.execute.victims import find_victim

    victim = find_victim(data, A_DISPATCHER)
    a_commit(dispatcher)
    busy = [job for job, _, _ in running_jobs(dispatcher)]
    consent.get(f"stops the dispatcher (process {victim.pid}) for {span(stop_ms)}", busy)
    return course.stop_the_dispatcher(victim, stop_ms)
