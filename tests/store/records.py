"""Records to store, with every field filled in, so that a field that is lost on the way is noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from surveil.core.kept import Artifact, Cache
from surveil.core.model import Attempt, AttemptState, Build, Job, Note, Record, Runner, Status
from surveil.core.peers import Peer, Role
from surveil.core.scopes import Scope, Secret, Source
from surveil.core.state import Changes
from surveil.core.timetable import Entry, Timetable
from surveil.protocol import CommitSeen, IncludedFile, JobOutput, JobSpec, StepReport, StepSpec
from surveil.store import Token

KEY = "k" * 40
NASTY = "a'b\"c\\d%e_f\n\t\N{SNOWMAN}\N{RIGHT-TO-LEFT OVERRIDE}{0} NULL -- ;"


def make_spec(name: str = "test", script: str = "make test") -> JobSpec:
    step = StepSpec(name="Tests", run=script, shell="bash", timeout_ms=5000, continue_on_error=True, env={"A": "b"})
    return JobSpec(
        name=name,
        needs=("build",),
        when="always",
        labels=("linux", "big"),
        env={"C": NASTY},
        timeout_ms=60_000,
        retry=2,
        on_runner_loss="hold",
        steps=(step, StepSpec(name="", run="true", env={})),
        matrix={"python": "3.12"},
        continue_on_error=True,
        fail_fast=True,
        priority=-3,
        concurrency="deploy",
        cancel_superseded=True,
    )


def make_build(build: int = 1, jobs: tuple[str, ...] = ("test",), **fields: Any) -> Build:
    values: dict[str, Any] = {
        "mid": f"push:repo:{build}",
        "repo": "/srv/repo",
        "ref": "refs/heads/main",
        "sha": "a" * 40,
        "event": "push",
        "base": "refs/heads/trunk",
        "trusted": False,
        "paths": ("docs/a.md", NASTY),
        "inputs": {"target": NASTY},
        "approved": "approved by ann",
        "message": NASTY,
        "author": "Ann <ann@example.org>",
        "pipeline_file": ".surveil.yml",
        "rule": "python",
        "complaints": ("one", NASTY),
        "retry_of": None,
        "state": Status.QUEUED,
        "reason": "",
        "created_at": 1000 + build,
    }
    return Build(id=build, jobs=tuple(f"{build}/{name}" for name in jobs), **(values | fields))


def make_job(build: int = 1, name: str = "test", **fields: Any) -> Job:
    values: dict[str, Any] = {
        "position": 0,
        "repo": "/srv/repo",
        "spec": make_spec(name),
        "state": Status.QUEUED,
        "reason": "",
        "created_at": 1000 + build,
        "outputs": (JobOutput(name="version", value=NASTY), JobOutput(name="empty", value="")),
    }
    return Job(id=f"{build}/{name}", build=build, **(values | fields))


def make_attempt(build: int = 1, name: str = "test", number: int = 1, **fields: Any) -> Attempt:
    values: dict[str, Any] = {
        "runner": KEY,
        "runner_name": "spare-2",
        "incarnation": 3,
        "state": AttemptState.ASSIGNED,
        "reason": "",
        "assigned_at": 2000,
    }
    return Attempt(job=f"{build}/{name}", number=number, **(values | fields))


def make_artifact(**fields: Any) -> Artifact:
    values: dict[str, Any] = {
        "job": f"1/{NASTY}",
        "attempt": 2,
        "name": NASTY,
        "blob": "a" * 64,
        "size": 10,
        "files": 3,
        "kept_at": 1_000,
        "expires_at": 5_000,
    }
    return Artifact(**(values | fields))


def make_cache(**fields: Any) -> Cache:
    values: dict[str, Any] = {
        "repo": "/srv/repo",
        "scope": "refs/pull/7/head",
        "paths": NASTY,
        "key": NASTY,
        "blob": "c" * 64,
        "size": 10,
        "kept_at": 1_000,
        "used_at": 5_000,
    }
    return Cache(**(values | fields))


def make_runner(name: str = "spare-2", **fields: Any) -> Runner:
    values: dict[str, Any] = {"host": "h", "software": "surveil 1", "labels": ("linux",), "slots": 4, "online": True}
    return Runner(id=name.ljust(40, "x"), name=name, **(values | fields))


def make_note(what: str = "build", name: str = "1", **fields: Any) -> Note:
    values: dict[str, Any] = {"at": 1000, "build": 1, "state": "queued", "reason": NASTY}
    return Note(what=what, id=name, **(values | fields))


def make_peer(name: str = "spare-2", **fields: Any) -> Peer:
    values: dict[str, Any] = {
        "key": name.ljust(40, "x"),
        "role": Role.RUNNER,
        "labels": ("linux",),
        "created_at": 5,
    }
    return Peer(name=name, **(values | fields))


def make_token(name: str = "t1", **fields: Any) -> Token:
    values: dict[str, Any] = {
        "digest": name.encode().ljust(32, b"\0"),
        "role": Role.RUNNER,
        "labels": ("linux",),
        "uses_left": 1,
        "created_at": 5,
        "expires_at": 1000,
    }
    return Token(id=name, **(values | fields))


def make_secret(name: str = "TOKEN", **fields: Any) -> Secret:
    values: dict[str, Any] = {
        "scope": Scope(repo="https://example.org/*", ref="refs/heads/main", job="deploy"),
        "source": Source.HERE,
        "key": "0123456789abcdef",
        "encrypted": b"\0encrypted\xff",
        "created_at": 5,
        "changed_at": 6,
    }
    return Secret(name=name, **(values | fields))


def new(*records: Record, notes: tuple[Note, ...] = ()) -> Changes:
    return Changes(new=records, changed=(), notes=notes)


def changed(*records: Record, notes: tuple[Note, ...] = ()) -> Changes:
    return Changes(new=(), changed=records, notes=notes)


def finished(attempt: Attempt) -> Attempt:
    """The attempt with everything that a runner can say about it."""
    step = StepReport(name="Tests", state="passed", exit_code=0, started_after_ms=5, finished_after_ms=90, log_at=17)
    return replace(
        attempt,
        incarnation=4,
        state=AttemptState.PASSED,
        reason="all steps passed",
        accepted_at=2001,
        started_at=2002,
        finished_at=2100,
        exit_code=0,
        log_bytes=4096,
        steps=(step, StepReport(name=NASTY, state="skipped")),
        isolation="process",
        released=True,
    )


def make_timetable(repo: str = "/srv/repo", since_at: int = 5) -> Timetable:
    commit = CommitSeen(
        mid=f"push:{repo}:refs/heads/main:{'a' * 40}", repo=repo, ref="refs/heads/main", sha="a" * 40, event="push",
        message=NASTY, author="Ann", pipeline=NASTY, pipeline_file=".surveil.yml", base="refs/heads/main",
        includes=(IncludedFile(path="ci/a.yml", text=NASTY),), paths=("a",),
    )  # fmt: skip
    entries = (Entry(cron="30 2 * * *", timezone="Europe/Berlin", since_at=since_at),)
    return Timetable(repo=repo, commit=commit, entries=entries)
