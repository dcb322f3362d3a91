"""Test reports and shards with real processes: from what steps write to what people are shown."""

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


def test_reports_are_read_and_shown_and_change_no_verdict(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=REPORTS)
    done = place.run("up", "--once", "--data", str(place.data), str(repo))
    assert done.returncode == 1, done.stderr
    listen = f"tcp://127.0.0.1:{free_ports()}"
    with place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        shown = place.ask("tests", "1")
    states = {(case["job"], case["name"]): case["state"] for case in shown["cases"]}
    assert states == {
        ("1/unit", "bad"): "failed", ("1/unit", "ok"): "passed", ("1/tap", "a"): "passed", ("1/tap", "b"): "skipped",
        ("1/broken", "half"): "passed",
    }  # fmt: skip
    problems = {job["job"]: job["problems"] for job in shown["jobs"]}
    assert problems["1/unit"] == problems["1/tap"] == []
    assert "ends in the middle" in problems["1/broken"][0]
    assert place.processes() == []


def test_shards_run_everything_once_and_one_that_never_asked_fails(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=SHARDS)
    done = place.run("up", "--once", "--slots", "4", "--data", str(place.data), str(repo))
    assert done.returncode == 1, done.stderr
    ran = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if " | ran-" in line]
    assert sorted(ran) == sorted(f"ran-{number}" for number in range(1, 41))
    assert "its steps took nothing of what these share" in done.stdout + done.stderr
    with place.start(
        "dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}"
    ) as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        shown = place.ask("tests", "1")
    assert sorted(int(case["name"]) for case in shown["cases"]) == list(range(1, 41)), "shards tell without a report"
    assert {case["state"] for case in shown["cases"]} == {"passed"}
    assert place.processes() == []
