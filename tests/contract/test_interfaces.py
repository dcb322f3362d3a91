"""What users and their scripts rely on, word for word: whoever changes one of these breaks somebody's script.

The reference is made from the code and changes with it; these lines do not.
"""

from __future__ import annotations

import click
import pytest

from surveil.cli.grammar import root
from surveil.config import DispatcherConfig, ObserverConfig, RunnerConfig, UpConfig
from surveil.config.roles import settings_of
from surveil.core.policy import Policy
from surveil.errors import ExitCode
from surveil.execute.process import LOG_BYTES_MAX
from surveil.hands.observing import LOCAL_INTERVAL_MS, REMOTE_INTERVAL_MS
from surveil.pipeline import Invalid, load
from surveil.pipeline.values import TIMEOUT_MS_DEFAULT
from surveil.protocol import CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX, PIPELINE_BYTES_MAX

COMMANDS = {
    "up": "[REPO ...] --data --runners --listen --http --interval --once",
    "dispatcher": "--data --listen --database --spawn",
    "observer": "[REPO ...] --dispatcher --data --interval --ref --join",
    "runner": "--dispatcher --data --name --slots --label --join",
    "token create": "--role --label --expires --uses --json",
    "token list": "--json",
    "token revoke": "ID",
    "submit": "SHA --repo --ref --wait --json",
    "status": "--json",
    "builds": "--repo --ref --limit --json",
    "show": "BUILD --json",
    "logs": "BUILD JOB -f --attempt --json",
    "watch": "BUILD --json",
    "retry": "BUILD [JOB ...] --failed --json",
    "cancel": "BUILD [JOB ...] --json",
    "runners": "--json",
    "runner drain": "NAME",
    "runner cordon": "NAME",
    "runner uncordon": "NAME",
    "runners drain": "NAME",
    "runners cordon": "NAME",
    "runners uncordon": "NAME",
    "run": "[JOB ...] --json",
    "validate": "[FILE] --json",
    "explain": "[FILE] --json",
    "init": "",
    "doctor": "--json",
    "config show": "--origin --json",
    "completion": "SHELL",
    "db check": "--json",
    "db backup": "DESTINATION",
}


def command_of(words: str) -> click.Command:
    found: click.Command = root
    for word in words.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, f"`surveil {words}` is gone"
        found = inner
    return found


@pytest.mark.parametrize(("words", "taken"), COMMANDS.items(), ids=list(COMMANDS))
def test_every_command_takes_what_it_was_said_to_take(words: str, taken: str) -> None:
    command = command_of(words)
    known = {name for each in command.params for name in (*each.opts, each.human_readable_name)}
    assert set(taken.replace("[REPO ...]", "[REPO_...]").replace("[JOB ...]", "[JOB_...]").split()) <= {
        name.replace(" ", "_") for name in known
    }


def test_what_commands_say_by_their_exit_code_stays() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0, "BUILD_FAILED": 1, "USAGE": 2, "INVALID": 3, "UNREACHABLE": 4, "NOT_ALLOWED": 5, "NOT_FOUND": 6,
        "INFRASTRUCTURE": 7, "CANCELLED": 8, "TIMED_OUT": 124, "INTERRUPTED": 130,
    }  # fmt: skip


def test_the_numbers_by_default_stay() -> None:
    policy = Policy()
    assert (policy.heartbeat_ms, policy.lease_ms, policy.restart_grace_ms) == (2_000, 8_000, 20_000)
    assert (policy.lost_max, policy.poison_runners, policy.poison_ms) == (3, 2, 60_000)
    assert (LOCAL_INTERVAL_MS, REMOTE_INTERVAL_MS) == (2_000, 10_000)
    assert (LOG_BYTES_MAX, PIPELINE_BYTES_MAX, MESSAGE_BYTES_MAX, CHUNK_BYTES_MAX) == (
        1024**3, 256 * 1024, 1024**2, 256 * 1024,
    )  # fmt: skip
    assert policy.lease_ms + policy.margin_ms < 10_000, "a dead machine's job runs elsewhere within ten seconds"


def test_a_pipeline_that_says_nothing_more_means_what_it_was_said_to_mean() -> None:
    loaded = load("version: 1\njobs: {test: {steps: [{run: make test}]}}\n", ".surveil.yml")
    assert not isinstance(loaded, Invalid)
    (job,) = loaded.jobs
    assert (job.timeout_ms, TIMEOUT_MS_DEFAULT) == (3_600_000, 3_600_000)
    assert (job.retry, job.on_runner_loss, job.when, job.labels, job.needs) == (0, "retry", "passed", (), ())
    (step,) = job.steps
    assert (step.shell, step.timeout_ms, step.continue_on_error) == ("", 0, False)


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        (UpConfig, "DATA LISTEN INTERVAL RUNNERS ONCE"),
        (DispatcherConfig, "DATA LISTEN DATABASE SPAWN"),
        (ObserverConfig, "DATA DISPATCHER JOIN INTERVAL REFS"),
        (RunnerConfig, "DATA DISPATCHER JOIN NAME SLOTS LABELS"),
    ],
)
def test_every_setting_has_the_variable_that_it_was_said_to_have(role: type, variables: str) -> None:
    known = {setting.variable for setting in settings_of(role).values()}
    assert {f"SURVEIL_{name}" for name in variables.split()} <= known
