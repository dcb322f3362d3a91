"""`tests`: the results of a build's tests, failures first, then the slowest.

What belongs here: the command and how its answer looks. What does not: which results count and what is new
(`surveil.answer.cases`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.options import BUILD, Number, client_flags, example, json_flag
from surveil.core.states import WRONG
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import counted, span

MS_SHOWN: Final = 1_000
_COLUMNS: Final = (
    Column(name="slowest", least=8),
    Column(name="test", least=16),
    Column(name="suite", least=12, drop=1),
    Column(name="job", drop=2),
)


@click.command(epilog=example("surveil tests 12", "surveil tests 12 test --output", "surveil tests 12 --json"))
@click.argument("build", type=BUILD)
@click.argument("job", default="", metavar="[JOB]")
@click.option("--output", is_flag=True, help="Print what each failing test printed, too.")
@click.option("--slowest", type=Number(0, 1000), default=10, show_default=True, metavar="N", help="Show so many.")
@client_flags
@json_flag
def tests(build: int, job: str, *, output: bool, slowest: int, as_json: bool, **where: str | None) -> None:
    """List the test results of a build: failures first, then the slowest.

    The results are those of the reports that its jobs wrote (JUnit XML or TAP). A failure is marked as new if the same
    test did not fail in the last build of the ref. A test that failed in one attempt and passed in a later one is
    flaky.
    """
    with connected(where) as dispatcher:
        document = dispatcher.tests(build, job)
    if as_json:
        print_json(document)
        return
    jobs, cases = document["jobs"], document["cases"]
    if not jobs:
        tell(
            f"There are no test results of build {build}: its jobs wrote no reports where they are looked for; name "
            "them under `reports` in the pipeline file."
        )
        return
    print_line(total_line(jobs))
    for one in jobs:
        whose = f"  [{_name(one['job'])}]" if len(jobs) > 1 else ""
        for problem in one["problems"]:
            print_line(f"  {problem}{whose}")
    for case in (case for case in cases if case["state"] in WRONG):
        _print_failure(case, output=output, several=len(jobs) > 1)
    for case in document.get("flaky") or ():  # An older dispatcher knows none.
        _print_flaky(case, several=len(jobs) > 1)
    timed = [case for case in cases if case["duration_ms"]]
    timed.sort(key=lambda case: -case["duration_ms"])
    if rows := [_row(case, several=len(jobs) > 1) for case in timed[:slowest]]:
        print_line()
        print_table(_COLUMNS, rows)


def total_line(jobs: Iterable[Mapping[str, Any]]) -> str:
    """`312 tests: 2 failed (1 new), 1 flaky, 3 skipped, 307 passed, 41 s`; of what happened only. What is flaky
    passed.
    """
    found = list(jobs)
    sums = {name: sum(one[name] for one in found) for name in ("total", "failed", "errored", "skipped", "passed")}
    known = [one["new"] for one in found if one["new"] is not None]
    words = [f"{sums[name]} {name}" for name in ("failed", "errored") if sums[name]]
    if words and known and sum(known):
        words[-1] += f" ({sum(known)} new)"
    if flaky := sum(one.get("flaky", 0) for one in found):
        words.append(f"{flaky} flaky")
    words += [f"{sums[name]} {name}" for name in ("skipped", "passed") if sums[name]]
    words.append(duration_words(sum(one["duration_ms"] for one in found)))
    return f"{counted(sums['total'], 'test')}: {', '.join(words)}"


def _print_failure(case: Mapping[str, Any], *, output: bool, several: bool) -> None:
    new = "  new" if case["new"] else ""
    where = f"  [{_name(case['job'])}]" if several else ""
    print_line(f"{case['state']:<8} {_full(case)}{where}{new}", case["state"])
    if output and case["output"]:
        for line in case["output"].splitlines():
            print_line(f"    {line}")
    elif case["message"]:
        print_line(f"    {case['message']}")


def _print_flaky(case: Mapping[str, Any], *, several: bool) -> None:
    where = f"  [{_name(case['job'])}]" if several else ""
    print_line(f"{'flaky':<8} {_full(case)}{where}", "weak")
    print_line(f"    failed in attempt {case['failed_attempt']}, passed in attempt {case['passed_attempt']}")
    if case["message"]:
        print_line(f"    {case['message']}")


def _full(case: Mapping[str, Any]) -> str:
    return f"{case['suite']} {case['name']}" if case["suite"] else str(case["name"])


def _row(case: Mapping[str, Any], *, several: bool) -> Sequence[str]:
    return [duration_words(case["duration_ms"]), case["name"], case["suite"], _name(case["job"]) if several else ""]


def _name(job: str) -> str:
    return job.partition("/")[2]


def duration_words(duration_ms: int) -> str:
    """As elsewhere, but tests are quick, and which of them are the quicker ones matters."""
    return f"{duration_ms} ms" if duration_ms < MS_SHOWN else span(duration_ms)
