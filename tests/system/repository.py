"""Small repositories for tests with real processes."""

import json
import os
import subprocess
from pathlib import Path

IDENTITY = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org"}
IDENTITY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in IDENTITY.items()}
APART = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, whoever the user of this machine is; returns what it printed."""
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**os.environ, **IDENTITY, **APART},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def make_repository(folder: Path, **files: str) -> Path:
    """A new repository on branch main, with one commit if there are files."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    if files:
        commit(folder, "First", **files)
    return folder


def commit(folder: Path, message: str, **files: str) -> str:
    """Commit these files, whose names are written with `__` for dots; returns the SHA."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def pipeline(*commands: str, job: str = "test", more: str = "") -> str:
    """A `.surveil.yml` with one job of these steps."""
    steps = "".join(f"      - run: {json.dumps(command)}\n" for command in commands)
    return f"version: 1\njobs:\n  {job}:\n{more}    steps:\n{steps}"
