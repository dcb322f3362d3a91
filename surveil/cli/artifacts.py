"""`artifacts`: what the jobs of a build kept, listed and fetched.

What belongs here: which artifacts are meant, and what is printed. What does not: bringing an archive here whole
(`fetching`), and taking it apart (`surveil.execute.archives.unpacking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import BUILD, Number, client_flags, example, json_flag, offered
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotFoundError, UsageError
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher

DIGEST_DIGITS: Final = 12
_COLUMNS: Final = (
    Column(name="job", least=12),
    Column(name="attempt", drop=3),
    Column(name="name", least=8),
    Column(name="files"),
    Column(name="size"),
    Column(name="sha256", drop=2),
    Column(name="age", drop=1),
)


@click.group(cls=NearGroup, epilog=example("surveil artifacts ls 12", "surveil artifacts get 12 build --name wheels"))
def artifacts() -> None:
    """List and fetch what the jobs of a build kept.

    What is kept says the key `artifacts` of a job in the pipeline file.
    """


@artifacts.command(epilog=example("surveil artifacts ls 12", "surveil artifacts ls 12 'test[python=3.12]' --json"))
@click.argument("build", type=BUILD)
@click.argument("job", required=False, shell_complete=offered("jobs"))
@client_flags
@json_flag
def ls(build: int, job: str | None, *, as_json: bool, **where: str | None) -> None:
    """List what the jobs of a build kept, of all attempts."""
    with connected(where) as dispatcher:
        _jobs(dispatcher, build, job)
        found = _kept_by(dispatcher, build, job)
    if as_json:
        print_json(found)
    elif found:
        print_table(_COLUMNS, [_row(each) for each in found])
    else:
        tell(f"{_nothing(build, job)}.")


@artifacts.command(
    epilog=example("surveil artifacts get 12", "surveil artifacts get 12 build --name wheels --to wheels")
)
@click.argument("build", type=BUILD)
@click.argument("job", required=False, shell_complete=offered("jobs"))
@click.option("--name", "names", metavar="NAME", multiple=True, help="Only this artifact; can be given several times.")
@click.option(
    "--attempt", type=Number(1), metavar="N", help="What this attempt kept, instead of the newest that kept any."
)
@click.option(
    "--to",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put them, as JOB/NAME/... below it.  [default: artifacts-BUILD]",
)
@client_flags
@json_flag
def get(
    build: int,
    job: str | None,
    *,
    names: tuple[str, ...],
    attempt: int | None,
    to: Path | None,
    as_json: bool,
    **where: str | None,
) -> None:
    """Fetch what the jobs of a build kept.

    Prints the folder of each artifact. What was fetched of an archive before an interruption is not fetched again, and
    all of it is compared with its SHA-256 before anything of it is unpacked; a folder is there whole or not at all.
    """
    from surveil.cli.fetching import Fetched, fetch

    folder = to or Path(f"artifacts-{build}")
    with connected(where) as dispatcher:
        jobs = _jobs(dispatcher, build, job)
        chosen = _newest(_kept_by(dispatcher, build, job), attempt)
        if attempt is not None and not chosen:
            raise NotFoundError(_without(build, jobs, attempt))
        chosen = [each for each in chosen if not names or each["name"] in names]
        known = [each["name"] for each in chosen]
        for name in names:
            if name not in known:
                raise NotFoundError(
                    f"There is no artifact {quoted(name)}; `surveil artifacts ls {build}` lists those that there are."
                )
        if not chosen:
            raise NotFoundError(f"{_nothing(build, job)}; `surveil show {build}` tells how its jobs ended.")
        fetched: list[Fetched] = []
        for each in chosen:
            target = folder / each["job"].partition("/")[2] / each["name"]
            if target.exists():
                raise UsageError(f"{target} exists already: name another folder with --to.")
            fetched.append(fetch(dispatcher, each, target))
            if not as_json:
                print_line(str(target))
    if as_json:
        print_json([one.document() for one in fetched])


def _jobs(dispatcher: Dispatcher, build: int, job: str | None) -> list[dict[str, Any]]:
    """All jobs of a build, or the one of them. Raises NotFoundError where there is no such build or job."""
    jobs: list[dict[str, Any]] = dispatcher.build(build)["jobs"]
    names = [known["name"] for known in jobs]
    if job is not None and job not in names:
        raise NotFoundError(f"Build {build} has no job {quoted(job)}; {did_you_mean(job, names)}")
    return [known for known in jobs if job in {None, known["name"]}]


def _kept_by(dispatcher: Dispatcher, build: int, job: str | None) -> list[dict[str, Any]]:
    """All of a build, or of one of its jobs."""
    found = dispatcher.listed("artifacts", {"build": build})
    return [each for each in found if job is None or each["job"] == f"{build}/{job}"]


def _nothing(build: int, job: str | None) -> str:
    return f"Nothing is kept of {f'build {build}' if job is None else f'the job {quoted(job)}'}"


def _without(build: int, jobs: Sequence[Mapping[str, Any]], attempt: int) -> str:
    """Why nothing of this attempt can be fetched: there was none, or it kept nothing."""
    newest = max(known["attempt"] for known in jobs)
    who = f"Job {quoted(jobs[0]['name'])}" if len(jobs) == 1 else f"Build {build}"
    if attempt > newest:
        return f"{who} has no attempt {attempt}; the newest is {newest}."
    return f"{who} kept nothing in attempt {attempt}; `surveil artifacts ls {build}` lists what others kept."


def _newest(found: Sequence[dict[str, Any]], attempt: int | None) -> list[dict[str, Any]]:
    """Of each job and name the one of the newest attempt, or those of the attempt that was asked for."""
    if attempt is not None:
        return [each for each in found if each["attempt"] == attempt]
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for each in found:
        key = (each["job"], each["name"])
        if key not in newest or newest[key]["attempt"] < each["attempt"]:
            newest[key] = each
    return list(newest.values())


def _row(artifact: Mapping[str, Any]) -> list[str]:
    return [
        artifact["job"].partition("/")[2],
        str(artifact["attempt"]),
        artifact["name"],
        str(artifact["files"]),
        size_words(artifact["size"]),
        artifact["sha256"][:DIGEST_DIGITS],
        age(artifact["kept_at"]),
    ]


def size_words(size: int) -> str:
    """A number of bytes for people."""
    for unit, count in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= count:
            return f"{size / count:.1f} {unit}"
    return f"{size} B"
