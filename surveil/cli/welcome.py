"""What `surveil` alone says: where somebody stands who typed it for the first time, and what to type first.

What belongs here: a look at this folder, and three commands. What does not: the list of commands (`grammar`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from surveil import __version__

# The names are those of `surveil.pipeline.FILENAMES`, which would cost a tenth of a second here.
PIPELINE_FILES: Final = (".surveil.yml", ".runnerci.yml", "narwhal.yml")

_IN_A_REPOSITORY: Final = """\
  surveil explain      shows what would run, without running anything
  surveil run          runs it here and now, on the files as they are
  surveil up --once    tests HEAD in a fresh checkout, and ends with the verdict's exit code
  surveil up           tests each new commit, until Ctrl-C
"""
_ELSEWHERE: Final = """\
  cd PROJECT           goes to a git repository; then type surveil again
  surveil up --once URL-OR-PATH
                       tests the HEAD of a repository anywhere
  surveil status       asks a dispatcher that this machine knows
"""


def welcome() -> None:
    """Say on stderr what this folder is, and what to type first."""
    about, commands = _look(Path.cwd())
    click.echo(f"surveil {__version__} tests each commit of a repository, here and on other machines.", err=True)
    click.echo(f"\n{about}\n{commands}", err=True)
    click.echo("surveil --help lists all commands; surveil doctor looks for what is missing here.", err=True)


def _look(folder: Path) -> tuple[str, str]:
    """What the folder is, in a sentence, and the commands for it."""
    root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if root is None:
        return "This folder is in no git repository. What to type first:", _ELSEWHERE
    file = next((name for name in PIPELINE_FILES if (root / name).exists()), None)
    how = f"is described by {file}" if file else "has no pipeline file, so its own files say how it is tested"
    return f"The repository {click.format_filename(root.name)} {how}. What to type first:", _IN_A_REPOSITORY
