"""`artifacts`: what the jobs of a build kept, listed and fetched.

What belongs here: which artifacts are meant, and what is printed. What does not: bringing an archive here whole
(`fetching`), and taking it apart (`surveil.execute.unpacking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import BUILD, client_flags, example, json_flag, offered
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
        found = _artifacts(dispatcher, build, job)
    if as_json:
        print_json(found)
    elif found:
        print_table(_COLUMNS, [_row(each) for each in found])
    else:
        tell(f"Nothing is kept of {'build ' + str(build) if job is None else f'the job {quoted(job)}'}.")


@artifacts.command(
    epilog=example("surveil artifacts get 12", "surveil artifacts get 12 build --name wheels --to wheels")
)
@click.argument("build", type=BUILD)
@click.argument("job", required=False, shell_complete=offered("jobs"))
@click.option("--name", "names", metavar="NAME", multiple=True, help="Only this artifact; can be given several times.")
@click.option("--attempt", type=int, metavar="N", help="What this attempt kept, instead of the newest that kept any.")
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
        chosen = _newest(_artifacts(dispatcher, build, job), attempt)
        chosen = [each for each in chosen if not names or each["name"] in names]
        known = [each["name"] for each in chosen]
        for name in names:
            if name not in known:
                raise NotFoundError(
                    f"There is no artifact {quoted(name)}; `surveil artifacts ls {build}` lists those that there are."
                )
        if not chosen:
            raise NotFoundError(f"Nothing is kept of build {build}; `surveil show {build}` tells how its jobs ended.")
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


def _artifacts(dispatcher: Dispatcher, build: int, job: str | None) -> list[dict[str, Any]]:
    """All of a build, or of one of its jobs. Raises NotFoundError where there is no such build or job."""
    names = [known["name"] for known in dispatcher.build(build)["jobs"]]
    if job is not None and job not in names:
        raise NotFoundError(f"Build {build} has no job {quoted(job)}; {did_you_mean(job, names)}")
    found = dispatcher.listed("artifacts", {"build": build})
    return [each for each in found if job is None or each["job"] == f"{build}/{job}"]


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
