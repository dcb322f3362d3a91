"""Commands that show the state of things: status, builds, show.

What belongs here: what these print. What does not: the documents that they print, which the dispatcher makes
(`surveil.answer.views`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.noise import did_words, peer_words, trouble_words
from surveil.cli.options import BUILD, Number, client_flags, example, json_flag
from surveil.cli.settings import client_settings
from surveil.cli.tests import total_line
from surveil.core.spelling import did_you_mean, quoted
from surveil.core.states import WRONG
from surveil.screen.printing import print_facts, print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import SHA_DIGITS, age, at_time, first_line, person, short_ref, short_repo, span, took, why

if TYPE_CHECKING:
    from pathlib import Path

    from surveil.cli.blocking import Dispatcher

FAILURES_SHOWN: Final = 5
REMARKS_SHOWN: Final = 5
OUTPUTS_SHOWN: Final = 20
SERVICES_SHOWN: Final = 32
OUTPUT_CHARACTERS_SHOWN: Final = 200
NEAR_BUILDS: Final = 100
"""So many of the newest builds are looked through for a name that was meant."""
_WAITING: Final = frozenset({"queued", "held"})
BUILD_COLUMNS: Final = (
    Column(name="id"),
    Column(name="state", states=True),
    Column(name="repository", least=8, drop=2),
    Column(name="ref", least=8, drop=1),
    Column(name="commit", drop=3),
    Column(name="age", drop=4),
    Column(name="took", drop=5),
    Column(name="message", least=12),
    Column(name="reason", least=12),
)
_JOB_COLUMNS: Final = (
    Column(name="job", least=12),
    Column(name="state", states=True),
    Column(name="attempt", drop=3),
    Column(name="runner", least=8, drop=1),
    Column(name="isolation", drop=4),
    Column(name="took", drop=2),
    Column(name="reason", folds=True),
)
_ATTEMPT_COLUMNS: Final = (
    Column(name="job", least=12),
    Column(name="attempt"),
    Column(name="state", states=True),
    Column(name="runner", least=8),
    Column(name="isolation", drop=3),
    Column(name="began", drop=2),
    Column(name="took", drop=1),
    Column(name="reason", folds=True),
)


@click.command(epilog=example("surveil status", "surveil status --json | jq .queue"))
@client_flags
@json_flag
def status(*, as_json: bool, **where: str | None) -> None:
    """Show the dispatcher, its queue and its runners at a glance."""
    with connected(where) as dispatcher:
        document = dispatcher.ask("status").body
    document.setdefault("outbox", _outbox(client_settings(where).data, document["dispatcher"]["id"]))
    if as_json:
        print_json(document)
        return
    about, queue, pool = document["dispatcher"], document["queue"], document["runners"]
    counted = [f"{queue[name]} {name}" for name in ("queued", "running", "blocked", "held") if queue.get(name)]
    busy = f"{pool['busy']} of {pool['slots']} slots busy"
    print_facts(
        [
            ("dispatcher", f"{about['id']}, version {about['version']}, up {span(about['uptime_ms'], coarse=True)}"),
            ("jobs", ", ".join(counted) or "nothing to do"),
            ("runners", f"{pool['online']} online, {pool['offline']} offline; {busy}"),
            *((f"{waiting['jobs']} queued", waiting["reason"]) for waiting in document["waiting"]),
            *((f"build {each['build']}", _held(each)) for each in document.get("approvals", [])),
            *(("schedule", _scheduled(each)) for each in document.get("schedules", [])),
            # A dispatcher of an older version does not tell.
            *(("its ports", trouble_words(**trouble)) for trouble in document.get("ports", [])),
            *((peer_words(**each), did_words(each["did"])) for each in document.get("offenders", [])),
            *(
                ("put aside", f"{name} is damaged; `surveil doctor` says more")
                for name in document.get("put_aside", [])
            ),
            *(("watching", _watched(watched["repo"], watched["problem"])) for watched in document["watching"]),
            *(("telling", _told(**target)) for target in document["outbox"] or []),
        ]
    )
    if not pool["online"] and not document["waiting"]:
        tell(
            "No runner is online: `surveil token create` makes a token, `surveil runner --join TOKEN` adds a machine.",
            "weak",
        )


def _held(approval: Mapping[str, Any]) -> str:
    """A build that somebody has to look at."""
    where = f"{short_repo(approval['repo'])} {short_ref(approval['ref'])} {approval['sha'][:SHA_DIGITS]}"
    return f"{where} by {approval['author']} is held: `surveil approve {approval['build']}` lets it run"


def _scheduled(schedule: Mapping[str, Any]) -> str:
    upcoming = f", next at {schedule['next_at']}" if schedule["next_at"] else ""
    return f"{short_repo(schedule['repo'])} {schedule['cron']} in {schedule['timezone']}{upcoming}"


def _outbox(data: Path, cluster: str) -> list[dict[str, Any]] | None:
    """Who is told of builds, by the dispatcher's folder where that is on this machine."""
    from surveil.answer.outboxes import targets_beside

    return targets_beside(data, cluster)


def _told(*, name: str, waiting: int, waiting_since: str | None, problem: str | None, **_: object) -> str:
    """Who is told, what waits for them, and what to type where they cannot be told."""
    backlog = f", {waiting} wait since {age(waiting_since)}" if waiting else ""
    more = f"; {problem}; `surveil notify list` says more" if problem else ""
    return f"{name}{backlog}{more}" if backlog or more else f"{name} (ok)"


def _watched(repo: str, problem: str | None) -> str:
    """A repository and how it is; most problems name it themselves."""
    return problem if problem and repo in problem else f"{repo} ({problem or 'ok'})"


@click.command(epilog=example("surveil builds --repo surveil --ref refs/heads/main --limit 5"))
@click.option("--repo", metavar="REPO", help="Only this repository; the end of its address is enough.")
@click.option("--ref", metavar="REF", help="Only this ref; a branch's short name will do.")
@click.option("--author", metavar="WHO", help="Only commits of this person; a name or an address will do.")
@click.option("--limit", type=Number(1, 1000), metavar="N", default=20, show_default=True, help="At most so many.")
@client_flags
@json_flag
def builds(
    repo: str | None, ref: str | None, author: str | None, limit: int, *, as_json: bool, **where: str | None
) -> None:
    """List builds, newest first."""
    with connected(where) as dispatcher:
        found = dispatcher.builds(repo=repo, ref=ref, author=author, limit=limit)
        nothing = "" if found else _no_builds(dispatcher, repo, ref, author)
    if as_json:
        print_json(found)
        return
    if not found:
        tell(nothing)
        return
    print_table(BUILD_COLUMNS, [_build_row(build) for build in found])


def _no_builds(dispatcher: Dispatcher, repo: str | None, ref: str | None, author: str | None) -> str:
    """Why the list is empty: there are no builds at all, or a name has none, and another is near to it."""
    recent = dispatcher.ask("builds", {"limit": NEAR_BUILDS}).body
    if not recent:
        return "There are no builds yet: commit something, or type `surveil submit`."
    kinds = (
        (repo, "repo", short_repo, "repository"), (ref, "ref", short_ref, "ref"), (author, "author", person, "author"),
    )  # fmt: skip
    for typed, key, short, what in kinds:
        known = {short(build[key]) for build in recent}
        if typed is not None and short(typed) not in known:
            return f"There are no builds of the {what} {quoted(typed)}; {did_you_mean(typed, known)}"
    return "There are no builds of this kind; `surveil builds` lists what there is."


@click.command(
    epilog=example("surveil show 12", "surveil show 12 --json | jq -r '.jobs[] | select(.state == \"failed\").name'")
)
@click.argument("build", type=BUILD)
@client_flags
@json_flag
def show(build: int, *, as_json: bool, **where: str | None) -> None:
    """Show one build with its jobs and attempts."""
    with connected(where) as dispatcher:
        document = dispatcher.build(build)
    if as_json:
        print_json(document)
        return
    print_build(document)


def print_build(build: Mapping[str, Any]) -> None:
    """The whole build for people: its commit, its jobs, and what failed."""
    rule = f"none; by its files: {build['rule']}" if build["rule"] else ""
    print_facts(
        [
            ("build", str(build["id"])),
            ("state", build["state"]),
            ("reason", why(build)),
            ("repository", build["repo"]),
            ("ref", build["ref"]),
            ("event", build.get("event") or ""),
            ("trust", _trust(build)),
            ("inputs", ", ".join(f"{name}={value}" for name, value in (build.get("inputs") or {}).items())),
            ("commit", build["sha"]),
            ("message", first_line(build["message"])),
            ("author", build["author"]),
            ("pipeline", rule or build["pipeline_file"] or ""),
            ("retry of", str(build["retry_of"] or "")),
            ("created", f"{build['created_at']}, {age(build['created_at'])} ago"),
            ("took", took(build["started_at"], build["finished_at"])),
        ]
    )
    for complaint in build["complaints"]:
        if complaint != build["reason"]:
            print_line(f"  {complaint}")
    if build["jobs"]:
        print_line("")
        print_table(_JOB_COLUMNS, [_job_row(job) for job in build["jobs"]])
    for line in (*_services(build), *_outputs(build)):
        print_line(line)
    if tested := [job["tests"] for job in build["jobs"] if job.get("tests")]:
        print_line()
        print_line(f"{total_line(tested)}; `surveil tests {build['id']}` lists them")
    earlier = [_attempt_row(job, attempt) for job in build["jobs"] for attempt in _earlier(job)]
    if earlier:
        print_line()
        print_line("Earlier attempts")
        print_table(_ATTEMPT_COLUMNS, earlier)
    for line in _failed_steps(build):
        print_line(line)
    for line in _missing_logs(build):
        print_line(line)
    for line in _remarks(build):
        print_line(line)


def _trust(build: Mapping[str, Any]) -> str:
    """What is to be known of an untrusted build; an older dispatcher knows none."""
    if build.get("trusted", True):
        return ""
    base = f"; its pipeline file is that of {build['base']}" if build["base"] else ""
    return f"not trusted: strangers may have written the commit{base}"


def _services(build: Mapping[str, Any]) -> Iterator[str]:
    """The images of services of the newest attempts; an older dispatcher knows of none."""
    found = [
        f"{job['name']}: {step['name']} of {step['image']}"
        for job in build["jobs"]
        for step in (job["attempts"][-1]["steps"] if job["attempts"] else ())
        if step.get("image")
    ]
    if found:
        yield from ("", "Services")
    yield from found[:SERVICES_SHOWN]
    if len(found) > SERVICES_SHOWN:
        yield f"and {len(found) - SERVICES_SHOWN} more services"


def _outputs(build: Mapping[str, Any]) -> Iterator[str]:
    """What jobs put out for those that need them; an older dispatcher knows of none."""
    found = [
        f"{job['name']}: {name}={value}" for job in build["jobs"] for name, value in (job.get("outputs") or {}).items()
    ]
    if found:
        yield from ("", "Outputs")
    for line in found[:OUTPUTS_SHOWN]:
        yield line if len(line) <= OUTPUT_CHARACTERS_SHOWN else f"{line[:OUTPUT_CHARACTERS_SHOWN]}…"
    if len(found) > OUTPUTS_SHOWN:
        yield f"and {len(found) - OUTPUTS_SHOWN} more outputs"


def _missing_logs(build: Mapping[str, Any]) -> Iterator[str]:
    """What is not here of the attempts' logs, a line for each; an older dispatcher does not say."""
    missing = [
        f"{job['name']}: attempt {attempt['number']}: {attempt['log_missing']}"
        for job in build["jobs"]
        for attempt in job["attempts"]
        if attempt.get("log_missing")
    ]
    if missing:
        yield ""
    yield from missing[:FAILURES_SHOWN]
    if len(missing) > FAILURES_SHOWN:
        yield f"and {len(missing) - FAILURES_SHOWN} more logs with something missing"


def _remarks(build: Mapping[str, Any]) -> Iterator[str]:
    """What surveil itself has to say about the output of steps, which their logs do not hold."""
    said = [
        f"{job['name']}: attempt {attempt['number']}: {_of_step(step, remark)}{remark['text']}"
        for job in build["jobs"]
        for attempt in job["attempts"]
        for step in attempt["steps"]
        for remark in step.get("remarks") or ()  # An older dispatcher knows none.
    ]
    if said:
        yield ""
    yield from said[:REMARKS_SHOWN]
    if len(said) > REMARKS_SHOWN:
        yield f"and {len(said) - REMARKS_SHOWN} more remarks"


def _of_step(step: Mapping[str, Any], remark: Mapping[str, Any]) -> str:
    """Of which step it is said, if not of the whole attempt."""
    return "" if remark.get("about") == "attempt" else f"{first_line(step['name']) or 'a step'}: "


def _build_row(build: Mapping[str, Any]) -> list[str]:
    return [
        str(build["id"]),
        build["state"],
        short_repo(build["repo"]),
        short_ref(build["ref"]),
        build["sha"][:SHA_DIGITS],
        age(build["created_at"]),
        took(build["started_at"], build["finished_at"]),
        first_line(build["message"]),
        why(build),
    ]


def _job_row(job: Mapping[str, Any]) -> list[str]:
    newest = job["attempts"][-1] if job["attempts"] and job["state"] not in _WAITING else None
    return [
        job["name"],
        job["state"],
        str(job["attempt"] or ""),
        newest["runner"] if newest else "",
        (newest["isolation"] or "") if newest else "",
        took(job["started_at"], job["finished_at"]),
        why(job),
    ]


def _earlier(job: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The attempts that are over and did not decide: of a job that waits for its next one, all."""
    attempts: Sequence[Mapping[str, Any]] = job["attempts"]
    return attempts if job["state"] in _WAITING else attempts[:-1]


def _attempt_row(job: Mapping[str, Any], attempt: Mapping[str, Any]) -> list[str]:
    return [
        job["name"],
        str(attempt["number"]),
        attempt["state"],
        attempt["runner"],
        attempt["isolation"] or "",
        at_time(attempt["assigned_at"]),
        took(attempt["assigned_at"], attempt["finished_at"] or attempt["assigned_at"]),
        attempt["reason"],
    ]


def _failed_steps(build: Mapping[str, Any]) -> Iterator[str]:
    """For each job that went wrong: its failing step, and the command that shows its output."""
    wrong = [job for job in build["jobs"] if job["state"] in WRONG and job["attempts"]]
    for job in wrong[:FAILURES_SHOWN]:
        steps = [step for step in job["attempts"][-1]["steps"] if step["state"] in WRONG]
        yield ""
        for step in steps:
            code = f", exit code {step['exit_code']}" if step["exit_code"] is not None else ""
            yield f"{job['name']}: step '{first_line(step['name'])}' {step['state']}{code}"
        yield (
            f"{job['name']}: its output is shown by `surveil logs {build['id']} {shlex.quote(job['name'])}`, and "
            f"`surveil replay {shlex.quote(job['id'])}` runs it again here"
        )
    if len(wrong) > FAILURES_SHOWN:
        yield f"and {len(wrong) - FAILURES_SHOWN} more jobs"
