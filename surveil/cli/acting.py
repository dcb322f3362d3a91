"""Commands that change something: submit, retry, cancel.

What belongs here: what is sent, and what is said about it. What does not: reading a commit from a repository
(`surveil.mirror`), and what the dispatcher makes of a wish.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.options import BUILD, check_wait, client_flags, example, input_flag, json_flag, offered, wait_flags
from surveil.cli.watching import follow
from surveil.errors import ExitCode
from surveil.places import MIRRORS
from surveil.screen.printing import print_json, print_line, tell

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher


@click.command(
    epilog=example(
        "surveil submit",
        "surveil submit --ref main --wait --timeout 30m",
        "surveil submit --repo https://example.org/lib.git 5f3a9c1e…",
        "surveil submit --input target=staging",
    )
)
@click.argument("sha", required=False)
@click.option("--repo", metavar="PATH|URL", help="The repository.  [default: the one around this folder]")
@click.option(
    "--ref", metavar="REF", help="The ref that the build counts for, and whose commit is tested where no SHA is given."
)
@click.option(
    "--ssh-config", metavar="FILE", help="A configuration of ssh instead of the user's.  [env: SURVEIL_SSH_CONFIG]"
)
@click.option("--credentials", metavar="FILE", help="Credentials for https.  [env: SURVEIL_CREDENTIALS]")
@input_flag
@wait_flags
@client_flags
@json_flag
def submit(
    sha: str | None,
    *,
    repo: str | None,
    ref: str | None,
    inputs: tuple[tuple[str, str], ...],
    ssh_config: str | None,
    credentials: str | None,
    wait: bool,
    timeout: int | None,
    as_json: bool,
    **where: str | None,
) -> int:
    """Test a commit now.

    Prints the build's number. The commit is SHA, or what REF points to, or HEAD. The work tree's uncommitted changes
    are not part of it: `surveil run` tests those.
    """
    from surveil.cli.settings import client_settings
    from surveil.client.access import ENROLLED_FOLDER
    from surveil.client.commits import checked_inputs, read_commit
    from surveil.core.trust import read_trust
    from surveil.mirror.access import Access
    from surveil.mirror.typed import resolve

    check_wait(wait=wait, timeout=timeout)
    settings = client_settings({**where, "ssh_config": ssh_config, "credentials": credentials})
    access = Access(ssh_config=settings.ssh_config, credentials=settings.credentials)
    trust = read_trust(settings.trusted_refs)
    mirrors = settings.data / ENROLLED_FOLDER / MIRRORS
    cwd = str(Path.cwd())
    address = resolve(cwd if repo is None else repo, cwd)
    commit = read_commit(address, ref, sha, mirrors=mirrors, access=access, trust=trust, strict=False)
    if inputs:
        commit["inputs"] = checked_inputs(commit, dict(inputs))
    with connected(where) as dispatcher:
        build = dispatcher.ask("submit", commit).body["build"]
        return _answer(dispatcher, build, as_json=as_json, wait=wait, timeout_ms=timeout)


@click.command(epilog=example("surveil retry 12", "surveil retry 12 --failed", "surveil retry 12 lint test"))
@click.argument("build", type=BUILD)
@click.argument("jobs", nargs=-1, metavar="[JOB ...]", shell_complete=offered("jobs"))
@click.option("--failed", is_flag=True, help="Run only the jobs that did not pass, and what needs them.")
@wait_flags
@client_flags
@json_flag
def retry(
    build: int,
    jobs: tuple[str, ...],
    *,
    failed: bool,
    wait: bool,
    timeout: int | None,
    as_json: bool,
    **where: str | None,
) -> int:
    """Build the same commit again.

    Prints the new build's number. With JOBs, only those run again, what did not pass, and what needs any of these;
    the others are carried over as they were.
    """
    check_wait(wait=wait, timeout=timeout)
    with connected(where) as dispatcher:
        about = {"build": build, "failed": failed, "jobs": list(jobs), "mid": f"manual:{uuid.uuid4()}"}
        new = dispatcher.ask("retry", about).body["build"]
        return _answer(dispatcher, new, as_json=as_json, wait=wait, timeout_ms=timeout)


_NOW: Final = {
    "running": "is running; running jobs get a moment to end",
    "queued": "is queued",
    "held": "is held",
}
"""How a build stands that goes on although some of its jobs were cancelled."""


@click.command(epilog=example("surveil cancel 12", "surveil cancel 12 'test[python=3.12]' --reason 'found it'"))
@click.argument("build", type=BUILD)
@click.argument("jobs", nargs=-1, metavar="[JOB ...]", shell_complete=offered("jobs"))
@click.option("--reason", default="", metavar="TEXT", help="A sentence for whoever wonders later.")
@client_flags
@json_flag
def cancel(build: int, jobs: tuple[str, ...], *, reason: str, as_json: bool, **where: str | None) -> None:
    """End a build, or some of its jobs."""
    with connected(where) as dispatcher:
        document = dispatcher.ask("cancel", {"build": build, "jobs": list(jobs), "reason": reason}).body
    if as_json:
        print_json(document)
    else:
        state = document["state"]
        tell(f"Build {build} {_NOW.get(state, f'is over: {state}')}.")


@click.command(epilog=example("surveil unhold 12", "surveil unhold 12 deploy --reason 'the runner is gone for good'"))
@click.argument("build", type=BUILD)
@click.argument("jobs", nargs=-1, metavar="[JOB ...]", shell_complete=offered("jobs"))
@click.option("--reason", default="", metavar="TEXT", help="A sentence for whoever wonders later.")
@client_flags
@json_flag
def unhold(build: int, jobs: tuple[str, ...], *, reason: str, as_json: bool, **where: str | None) -> None:
    """Let held jobs of a build be tried again.

    A job with `on_runner_loss: hold` is held when its runner is lost, because nobody knows how far it came.
    """
    with connected(where) as dispatcher:
        document = dispatcher.ask("unhold", {"build": build, "jobs": list(jobs), "reason": reason}).body
    if as_json:
        print_json(document)
    else:
        tell(f"Build {build} goes on.")


@click.command(epilog=example("surveil show 12", "surveil approve 12"))
@click.argument("build", type=BUILD)
@client_flags
@json_flag
def approve(build: int, *, as_json: bool, **where: str | None) -> None:
    """Let a build of an untrusted ref run.

    Strangers may have written its commit, so read that first. It runs with the pipeline file of the branch that it is
    meant for, and without secrets. The next commit of the same ref has to be approved anew.
    """
    with connected(where) as dispatcher:
        document = dispatcher.ask("approve", {"build": build}).body
    if as_json:
        print_json(document)
    else:
        tell(f"Build {build} is approved.")


def _answer(dispatcher: Dispatcher, build: int, *, as_json: bool, wait: bool, timeout_ms: int | None) -> int:
    """Print the build's number, and where wanted wait for its verdict."""
    if as_json and not wait:
        print_json({"build": build})
    elif not as_json:
        print_line(str(build))
    if not wait:
        return int(ExitCode.OK)
    code = follow(dispatcher, build, quiet=True, timeout_ms=timeout_ms)
    if as_json:
        print_json(dispatcher.build(build))
    elif code is not ExitCode.OK:
        tell(f"See `surveil show {build}` and `surveil logs {build}`.")
    return int(code)
