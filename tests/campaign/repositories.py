"""Repositories that people push to, by a real git.

What belongs here: making them and pushing. What does not: what is pushed (workload).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

STEP: Final = Path(__file__).with_name("step.py")
_APART: Final = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


class Repository:
    """A bare repository that is watched, and the clone of somebody who pushes to it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.path = folder / f"{name}.git"
        self.clone = folder.parent / "people" / name
        self.clone.mkdir(parents=True)
        folder.mkdir(exist_ok=True)
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.path))
        git(self.clone, "init", "-q", "-b", "main")
        git(self.clone, "remote", "add", "origin", str(self.path))
        git(self.clone, "config", "gc.auto", "0")
        (self.clone / "step.py").write_bytes(STEP.read_bytes())

    def push(self, branch: str, pipeline: dict[str, Any]) -> str:
        """Commit a pipeline and push it to a branch, which may be new; returns the SHA."""
        (self.clone / ".surveil.yml").write_text(json.dumps(pipeline, indent=1))
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "-q", "--allow-empty", "-m", f"Work on {branch}")
        git(self.clone, "push", "-q", "origin", f"+HEAD:refs/heads/{branch}")
        return git(self.clone, "rev-parse", "HEAD")

    def delete(self, branch: str) -> None:
        """Delete a branch that was pushed."""
        git(self.clone, "push", "-q", "origin", f":refs/heads/{branch}")


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, whoever the user of this machine is; what it printed."""
    done = subprocess.run(
        ["git", *words],
        cwd=folder,
        env={**os.environ, **_APART},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"git {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()
