"""Commands about pipeline files: validate, explain, init.

What belongs here: what these print and write. What does not: finding the file (`worktree`), and all that pipelines
mean (`surveil.pipeline`).
"""

from __future__ import annotations

from pathlib import Path

import click

from surveil.cli.options import example, json_flag, offered
from surveil.cli.worktree import detect_source, read_source, root_of
from surveil.errors import ExitCode, UsageError
from surveil.pipeline import FILENAMES, SCHEMA_FILE, Invalid
from surveil.screen.printing import print_json, tell


@click.command(
    epilog=example(
        "surveil validate", "surveil validate ci/pipeline.yml", "git show HEAD:.surveil.yml | surveil validate -"
    )
)
@click.argument("file", required=False, metavar="[FILE]", shell_complete=offered("files"))
@json_flag
def validate(file: str | None, *, as_json: bool) -> int:
    """Check a pipeline file.

    Each complaint is printed as FILE:LINE:COLUMN: message, with the line, a caret and a hint, and the exit code is 3.
    Without FILE the pipeline file of this work tree is checked, or what surveil would run where there is none; `-` is
    standard input.
    """
    source = read_source(file)
    loaded = source.load()
    if isinstance(loaded, Invalid):
        print_json(loaded.as_json()) if as_json else click.echo(loaded.render())
        return int(ExitCode.INVALID)
    if as_json:
        print_json({"file": loaded.filename, "complaints": []})
    else:
        steps = sum(len(job.steps) for job in loaded.jobs)
        click.echo(f"{loaded.filename}: valid; jobs: {len(loaded.jobs)}, steps: {steps}")
    return int(ExitCode.OK)


@click.command(epilog=example("surveil explain", "surveil explain --json | jq -r '.jobs[].name'"))
@click.argument("file", required=False, metavar="[FILE]", shell_complete=offered("files"))
@json_flag
def explain(file: str | None, *, as_json: bool) -> int:
    """Show what would run, and why.

    Prints the graph after expansion: its jobs in the order of their needs, with their steps. Where there is no
    pipeline file, says which rule recognised what is tested.
    """
    from surveil.pipeline import explain as words

    source = read_source(file)
    loaded = source.load()
    if isinstance(loaded, Invalid):
        if as_json:
            print_json(loaded.as_json())
        else:
            click.echo(loaded.render(), err=True)
        return int(ExitCode.INVALID)
    if as_json:
        print_json({**words.as_json(loaded), "rule": source.rule or None})
        return int(ExitCode.OK)
    if source.rule:
        tell(f"There is no pipeline file; by the files that are here: {source.rule}. `surveil init` writes it down.")
    click.echo(words.explain(loaded))
    return int(ExitCode.OK)


@click.command(epilog=example("surveil schema > .surveil.schema.json"))
def schema() -> None:
    """Print the JSON Schema of `.surveil.yml`, for editors.

    An editor that knows YAML offers the keys and explains them where the file's first line is
    `# yaml-language-server: $schema=.surveil.schema.json`. `surveil validate` says more: what the jobs mean together,
    and where.
    """
    click.echo(SCHEMA_FILE.read_text(encoding="utf-8"), nl=False)


@click.command(epilog=example("surveil init", "surveil init --print"))
@click.option("--print", "printed", is_flag=True, help="Print the text instead of writing the file.")
@click.option("--force", is_flag=True, help="Overwrite the file that is there.")
def init(*, printed: bool, force: bool) -> None:
    """Write down what surveil would run as a `.surveil.yml`.

    The file goes to the root of this work tree, and means the same as having none: a start to change from.
    """
    root = root_of(Path.cwd())
    source = detect_source(root)
    if printed:
        click.echo(source.text, nl=False)
        return
    path = root / FILENAMES[0]
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(source.text)
    except FileExistsError as error:
        raise UsageError(
            f"{path} is there already; `surveil init --print` shows what would be written, --force overwrites it."
        ) from error
    tell(f"Wrote {path}: {source.rule}. Look at it with `surveil explain`, try it with `surveil run`.")
