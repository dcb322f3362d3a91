"""Commands that look after an installation: config show, db check, db backup, completion, version.

What belongs here: what these print. What does not: settings (`surveil.config`) and the database (`surveil.store`).
"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

import click

from surveil import __version__
from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, config_flag, example, json_flag
from surveil.screen.printing import print_facts, print_json, print_line, print_table, tell
from surveil.screen.table import Column

PACKAGES: Final = ("click", "gitpython", "msgpack", "pydantic", "pyyaml", "pyzmq", "sqlalchemy")


@click.group(cls=NearGroup, epilog=example("surveil config show", "surveil config show --role runner --origin"))
def config() -> None:
    """Show the settings and where each one comes from."""


@config.command(
    epilog=example("surveil config show --origin", "SURVEIL_SLOTS=2 surveil config show --role runner --origin --json")
)
@click.option(
    "--role",
    type=click.Choice(["dispatcher", "observer", "runner", "up", "client"]),
    default="up",
    show_default=True,
    help="Whose settings.",
)
@click.option("--origin", is_flag=True, help="Also show where each value came from.")
@config_flag
@json_flag
def show(role: str, *, origin: bool, config: str | None, as_json: bool) -> None:
    """Show every setting of a role as it would be used; secrets are covered."""
    from surveil.config import ROLES, load

    shown = load(ROLES[role], {}, config_file=config).shown()
    if as_json:
        print_json([{"key": each.key, "value": each.value, "origin": each.origin} for each in shown])
    elif origin:
        print_table(
            [Column(name="key"), Column(name="value", folds=True), Column(name="origin", folds=True)],
            [[each.key, each.value, each.origin] for each in shown],
        )
    else:
        print_table([Column(name="key"), Column(name="value", folds=True)], [[each.key, each.value] for each in shown])


@click.group(cls=NearGroup, epilog=example("surveil db check", "surveil db backup /var/backups/surveil-friday"))
def db() -> None:
    """Check and back up the dispatcher's data."""


@db.command(epilog=example("surveil db backup /var/backups/surveil-friday"))
@click.argument("destination", type=click.Path(path_type=Path))
@client_flags
@json_flag
def backup(destination: Path, *, as_json: bool, **where: str | None) -> None:
    """Copy the data folder, also while the dispatcher runs.

    The copy holds the database as it was at one moment, the logs that it speaks of, people with their roles and tokens,
    webhooks, what is still to be told, who did what, and the keys: guard it like the folder itself. What is left out
    (`blobs`, and what you wrote yourself) is named. DESTINATION is a new folder; with --dispatcher, on the dispatcher's
    machine.
    """
    from surveil.cli.database import back_up

    document = back_up(destination, where)
    if as_json:
        print_json(document)
    else:
        tell(f"Wrote {document['path']}: {document['bytes']} bytes.")
        if left_out := document.get("left_out"):
            tell(f"Not in it, so copy them yourself where they matter: {', '.join(left_out)}.")


@db.command(epilog=example("surveil db check --data /var/lib/surveil"))
@click.option("--data", metavar="DIR", help="The dispatcher's data folder.  [env: SURVEIL_DATA]")
@config_flag
@json_flag
def check(data: str | None, config: str | None, *, as_json: bool) -> int:
    """Look for damage in the data folder.

    Reads the database, the files beside it and every log, also while the dispatcher runs; exit code 7 where something
    is damaged.
    """
    from surveil.cli.database import find_problems
    from surveil.errors import ExitCode

    path, report = find_problems({"data": data, "config": config})
    counted = {"builds": report.builds, "jobs": report.jobs, "attempts": report.attempts, "logs": report.logs}
    if as_json:
        print_json({"path": str(path), "problems": list(report.problems), **counted, "log_bytes": report.log_bytes})
        return int(ExitCode.OK if report.sound else ExitCode.INFRASTRUCTURE)
    for problem in report.problems:
        print_line(problem)
    if not report.sound:
        tell(
            f"{path} is damaged: stop the dispatcher, keep a copy of the folder, and restore your newest backup.",
            "broken",
        )
        return int(ExitCode.INFRASTRUCTURE)
    print_line(f"{path}: sound; " + ", ".join(f"{name}: {number}" for name, number in counted.items()))
    return int(ExitCode.OK)


@click.command(
    epilog=example(
        "surveil completion bash > ~/.local/share/bash-completion/completions/surveil",
        "surveil completion zsh > ~/.zfunc/_surveil",
        "surveil completion fish > ~/.config/fish/completions/surveil.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
def completion(shell: str) -> None:
    """Print what makes your shell complete surveil's commands."""
    from surveil.cli.grammar import root
    from surveil.cli.shells import script_for

    script = script_for(shell, root)
    if script is None:
        raise click.UsageError(f"This version of click ({version_of('click')}) does not know {shell}; update it.")
    click.echo(script, nl=False)


@click.command(epilog=example("surveil version", "surveil version --json"))
@json_flag
def version(*, as_json: bool) -> None:
    """Print the versions of surveil and of what it stands on."""
    from surveil.protocol import VERSION

    versions = {
        "surveil": __version__,
        "protocol": str(VERSION),
        "python": platform.python_version(),
        **{package: _installed(package) for package in PACKAGES},
    }
    if as_json:
        print_json({**versions, "protocol": VERSION, "executable": sys.executable})
    else:
        print_facts(list(versions.items()))


def _installed(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "missing"
