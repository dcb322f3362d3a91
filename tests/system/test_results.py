"""Test reports and shards with real processes: from what steps write to what people are shown."""

from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.net.stage import free_ports
from tests.system.processes import Place
from tests.system.repository import make_repository

pytestmark = pytest.mark.timeout(180)

REPORTS = """
jobs:
  unit:
    steps:
      - run: |
          echo '<testsuite><testcase classname="s" name="ok" time="0.5"/>' > report.xml
          echo '<testcase classname="s" name="bad"><failure message="why"/></testcase></testsuite>' >> report.xml
          exit 1
  tap:
    reports: [out/*.tap]
    steps: [{run: "mkdir out; printf '1..2\\\\nok 1 - a\\\\nok 2 - b # SKIP later\\\\n' > out/x.tap"}]
  broken:
    reports: [r.xml]
    steps: [{run: "echo '<testsuite><testcase name=\\"half\\"/>' > r.xml"}]
"""
SHARDS = """
jobs:
  shared:
    shards: 3
    steps: [{run: "seq 40 | python3 $SURVEIL_SHARDS/surveil_shards.py run sh -c 'for i; do echo ran-$i; done' x"}]
  forgot:
    shards: 1
    steps: [{run: "true"}]
"""


@pytest.fixture(scope="module")
def tested(common_place: Place) -> Iterator[tuple[Place, CompletedProcess[str]]]:
    """Where both were tested once, as builds of `reports` and of `shards`; and what was said of it."""
    repos = [
        make_repository(common_place.folder / name, __surveil__yml=text)
        for name, text in (("reports", REPORTS), ("shards", SHARDS))
    ]
    done = common_place.run("up", "--once", "--slots", "4", "--data", str(common_place.data), *map(str, repos))
    assert common_place.processes() == []
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with common_place.start("dispatcher", "--data", str(common_place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        yield common_place, done
    assert common_place.processes() == []


def build_of(place: Place, name: str) -> tuple[int, str]:
    """The one build of a repository, and its state."""
    ((number, state),) = [(each["id"], each["state"]) for each in place.ask("builds") if each["repo"].endswith(name)]
    return number, state


def test_reports_are_read_and_shown_and_change_no_verdict(tested: tuple[Place, CompletedProcess[str]]) -> None:
    place, done = tested
    assert done.returncode == 1, done.stderr
    build, state = build_of(place, "reports")
    assert state == "failed"
    shown = place.ask("tests", str(build))
    states = {(case["job"], case["name"]): case["state"] for case in shown["cases"]}
    assert states == {
        (f"{build}/unit", "bad"): "failed", (f"{build}/unit", "ok"): "passed", (f"{build}/tap", "a"): "passed",
        (f"{build}/tap", "b"): "skipped", (f"{build}/broken", "half"): "passed",
    }  # fmt: skip
    problems = {job["job"]: job["problems"] for job in shown["jobs"]}
    assert problems[f"{build}/unit"] == problems[f"{build}/tap"] == []
    assert "ends in the middle" in problems[f"{build}/broken"][0]


def test_shards_run_everything_once_and_one_that_never_asked_fails(
    tested: tuple[Place, CompletedProcess[str]],
) -> None:
    place, done = tested
    assert done.returncode == 1, done.stderr
    ran = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if " | ran-" in line]
    assert sorted(ran) == sorted(f"ran-{number}" for number in range(1, 41))
    assert "its steps took nothing of what these share" in done.stdout + done.stderr
    build, state = build_of(place, "shards")
    assert state == "failed"
    shown = place.ask("tests", str(build))
    assert sorted(int(case["name"]) for case in shown["cases"]) == list(range(1, 41)), "shards tell without a report"
    assert {case["state"] for case in shown["cases"]} == {"passed"}
