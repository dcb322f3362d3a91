"""What a step finds in its environment: what the interface promises, what its author wrote, and nothing else of
ours.

What belongs here: pure functions from a job to variables and command lines. What does not: folders (`workspace`).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from surveil.execute.files import StepOrder
from surveil.execute.workspace import Workspace
from surveil.protocol import JobSpec, StepSpec

DEFAULT_SHELL: Final = ("sh", "-eu")
BARE_BASH: Final = ("bash", "--noprofile", "--norc", "-euo", "pipefail")
"""What `shell: bash` means: a failing command ends the step wherever it stands. With options of its own, none are
added.
"""
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def job_environment(
    spec: JobSpec,
    workspace: Workspace,
    *,
    build: str,
    job: str,
    attempt: int,
    repo: str,
    ref: str,
    sha: str,
    event: str,
    runner: str,
    contained: bool = False,
) -> dict[str, str]:
    """The environment of a job's steps. Authors may replace `PATH`, `HOME`, `TMPDIR` and `CI`; what begins with
    `SURVEIL` is ours.

    PATH is that of the runner's own process; what is `contained` has that of its image.
    """
    machine = {} if contained else {"PATH": os.environ.get("PATH", DEFAULT_PATH)}
    environment = machine | {
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.tmp),
        "CI": "true",
    }
    environment |= spec.env
    return environment | {
        "SURVEIL": "true",
        "SURVEIL_BUILD": build,
        "SURVEIL_JOB": job,
        "SURVEIL_ATTEMPT": str(attempt),
        "SURVEIL_REPO": repo,
        "SURVEIL_REF": ref,
        "SURVEIL_SHA": sha,
        "SURVEIL_EVENT": event,
        "SURVEIL_RUNNER": runner,
        "SURVEIL_WORKSPACE": str(workspace.work),
        "SURVEIL_OUTPUT": str(workspace.outputs),
        **({"SURVEIL_SHARDS": str(workspace.shards)} if spec.shards else {}),
    }


def step_orders(spec: JobSpec, workspace: Workspace, environment: Mapping[str, str]) -> list[StepOrder]:
    """What the keeper is to run, step by step; the scripts must be in the workspace when it does."""
    return [
        StepOrder(
            name=step.name,
            argv=[*_shell(step), str(workspace.script(index))],
            env=dict(environment) | {key: value for key, value in step.env.items() if not _ours(key)},
            timeout_ms=step.timeout_ms,
            continue_on_error=step.continue_on_error,
            when=step.when,
            skipped=step.skipped,
        )
        for index, step in enumerate(spec.steps)
    ]


def _shell(step: StepSpec) -> tuple[str, ...]:
    words = tuple(shlex.split(step.shell))
    return {(): DEFAULT_SHELL, ("bash",): BARE_BASH}.get(words, words)


def _ours(key: str) -> bool:
    return key == "SURVEIL" or key.startswith("SURVEIL_")
