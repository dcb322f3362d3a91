"""`run`: the pipeline of a work tree through real keepers, with the codes and words of a build."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from surveil.cli.here import choose, verdict
from surveil.errors import NotFoundError
from surveil.pipeline import Pipeline, load
from tests.cli.conftest import Type
from tests.engines.docker import Docker
from tests.engines.fixtures import docker_engine

__all__ = ["docker_engine"]

PIPELINE = """
jobs:
  build: {steps: [{run: echo building}]}
  test:
    needs: [build]
    matrix: {v: ["0", "1"]}
    retry: 1
    steps: [{run: "echo try $SURVEIL_ATTEMPT of $MATRIX_V; exit $MATRIX_V"}]
  ship: {needs: [test], steps: [{run: echo ship}]}
  report: {needs: [test], when: always, steps: [{run: cat note}]}
"""


@pytest.fixture
def here(home: Path) -> Path:
    folder = home / "here"
    (folder / ".surveil.yml").write_text(PIPELINE)
    (folder / "note").write_text("uncommitted\n")
    return folder


def test_jobs_run_after_what_they_need_and_a_failure_skips_what_needed_it(type_: Type, here: Path) -> None:
    ended = type_("run")
    assert (ended.code, here.exists()) == (1, True)
    assert sorted(ended.out.splitlines()) == ["building", "try 1 of 0", "try 1 of 1", "try 2 of 1", "uncommitted"]
    summary = [line.split()[:2] for line in ended.err.splitlines() if not line.startswith("---")]
    assert summary == [
        ["passed", "build"],
        ["passed", "test[v=0]"],
        ["failed", "test[v=1]"],
        ["skipped", "ship"],
        ["passed", "report"],
    ]
    assert "--- ship skipped: needs test[v=1], which failed ---" in ended.err


def test_steps_run_after_a_failure_where_they_ask_for_it_and_say_why_where_they_do_not(type_: Type, here: Path) -> None:
    steps = (
        "[{run: exit 3}, {run: echo never}, {run: echo tell, when: failed}, {run: echo on, when: event == 'schedule'}]"
    )
    (here / ".surveil.yml").write_text(f"jobs: {{test: {{steps: {steps}}}}}")
    ended = type_("run")
    assert (ended.code, ended.out) == (1, "tell\n"), ended.err
    assert "--- test: skipped: its `when` is false: event is `manual` ---" in ended.err


def test_modules_of_the_work_tree_are_none_of_ours(type_: Type, here: Path) -> None:
    """They would run outside of the sandbox, in the processes that keep steps in it and read what these left."""
    for name in ("json", "signal", "select", "expat", "msgpack"):
        (here / f"{name}.py").write_text(f"open({str(here / 'mark')!r}, 'w'); raise SystemExit('not yours')")
    report = "<testsuite><testcase name='a'/></testsuite>"
    steps = [{"run": f'echo "{report}" > a.xml'}]
    (here / ".surveil.yml").write_text(json.dumps({"jobs": {"test": {"reports": ["a.xml"], "steps": steps}}}))
    ended = type_("run")
    assert (ended.code, (here / "mark").exists()) == (0, False), ended.err
    assert "mark" not in ended.err


GRAPH = """
jobs:
  lint: {continue_on_error: true, steps: [{run: exit 1}]}
  build: {needs: [lint], steps: [{run: 'echo "version=1.2" >> "$SURVEIL_OUTPUT"'}]}
  use:
    needs: [build]
    when: needs.build.outputs.version == '1.2'
    env: {VERSION: "${{ needs.build.outputs.version }}"}
    steps: [{run: echo use $VERSION}]
  other: {needs: [build], when: needs.build.outputs.version == '1.3', steps: [{run: echo other}]}
  test:
    needs: [build]
    matrix: {v: ["1", "2"]}
    fail_fast: true
    steps: [{run: "exit $MATRIX_V"}]
  ship: {needs: ["test[v=2]"], steps: [{run: echo ship}]}
  rescue: {needs: [ship, test], when: failed, steps: [{run: echo rescue}]}
  idle: {needs: [build], when: failed, steps: [{run: echo idle}]}
  first: {priority: 3, steps: [{run: echo first}]}
"""


def test_a_run_follows_the_rules_of_a_build(type_: Type, here: Path) -> None:
    (here / ".surveil.yml").write_text(GRAPH)
    ended = type_("run", "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["state"], here.exists()) == (1, "failed", True)
    assert [line for line in ended.err.splitlines() if not line.startswith("---")] == ["first", "use 1.2", "rescue"]
    assert {job["name"]: (job["state"], job["reason"]) for job in document["jobs"]} == {
        "first": ("passed", ""),
        "lint": ("failed", "step 'exit 1' ended with exit code 1"),
        "build": ("passed", ""),
        "use": ("passed", ""),
        "other": ("skipped", "its `when` is false: needs.build.outputs.version is `1.2`"),
        "test[v=1]": ("failed", "step 'exit $MATRIX_V' ended with exit code 1"),
        "test[v=2]": ("cancelled", "test[v=1] failed, and `fail_fast` ends the other cells"),
        "ship": ("skipped", "needs test[v=2], which was cancelled"),
        "rescue": ("passed", ""),
        "idle": ("skipped", "its `when` is false: nothing that it needs failed"),
    }
    assert document["jobs"][2]["outputs"] == {"version": "1.2"}


def test_a_failure_that_may_be_does_not_fail_a_run(type_: Type, here: Path) -> None:
    (here / ".surveil.yml").write_text("jobs: {lint: {continue_on_error: true, steps: [{run: exit 1}]}}\n")
    ended = type_("run")
    assert (ended.code, ended.out, here.exists()) == (0, "", True)
    assert "failed    lint" in ended.err


def test_inputs_are_typed_as_for_a_submission(type_: Type, here: Path) -> None:
    text = "on: {manual: {inputs: {target: {options: [staging, moon]}}}}\n"
    text += "jobs: {deploy: {steps: [{run: 'echo to ${{ inputs.target }} and $INPUT_TARGET'}]}}\n"
    (here / ".surveil.yml").write_text(text)
    ended = type_("run", "--input", "target=moon")
    assert (ended.code, ended.out) == (0, "to moon and moon\n")
    ended = type_("run")
    assert ended.code == 3
    assert "the input `target` has no default: type `--input target=VALUE`" in ended.err
    assert "`mars`, which is not one of `staging`, `moon`" in type_("run", "--input", "target=mars").err


def test_named_jobs_bring_what_they_need_and_nothing_else(type_: Type, here: Path) -> None:
    ended = type_("run", "test[v=0]")
    assert (ended.code, ended.out, here.exists()) == (0, "building\ntry 1 of 0\n", True)


def test_json_is_one_document_and_the_steps_output_goes_to_stderr(type_: Type, here: Path) -> None:
    ended = type_("run", "build", "--json")
    document = json.loads(ended.out)
    assert (ended.code, document["state"], here.exists()) == (0, "passed", True)
    (job,) = document["jobs"]
    assert job["isolation"] in {"bubblewrap", "process"}
    assert (job["name"], job["state"], job["attempt"], job["steps"]) == (
        "build",
        "passed",
        1,
        [{"name": "echo building", "state": "passed", "exit_code": 0, "image": None, "remarks": []}],
    )
    assert "building\n" in ended.err


def test_an_invalid_pipeline_is_exit_code_3_with_its_complaints(type_: Type, here: Path) -> None:
    (here / ".surveil.yml").write_text("jobs: {test: {steps: [{run: ls, runs: 2}]}}\n")
    ended = type_("run")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(".surveil.yml:1:33: unknown key `runs`")


def test_a_name_that_is_nobodys_is_answered_with_the_one_that_was_meant(type_: Type, here: Path) -> None:
    ended = type_("run", "biuld")
    assert (ended.code, here.exists()) == (6, True)
    assert "did you mean `build`?" in ended.err


def test_a_base_name_means_all_cells_and_needs_come_first() -> None:
    loaded = load(PIPELINE, ".surveil.yml")
    assert isinstance(loaded, Pipeline)
    assert [spec.name for spec in choose(loaded.jobs, ["test"])] == ["build", "test[v=0]", "test[v=1]"]
    assert len(choose(loaded.jobs, [])) == 5
    with pytest.raises(NotFoundError, match=r"no job `tset`; did you mean `test`\?"):
        choose(loaded.jobs, ["tset"])


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["passed", "skipped"], "passed"),
        (["errored", "failed"], "failed"),
        (["cancelled", "errored"], "errored"),
        (["passed", "cancelled"], "cancelled"),
        (["skipped", "skipped"], "skipped"),
    ],
)
def test_the_verdict_is_the_worst_and_a_failure_outweighs_an_error(states: list[str], state: str) -> None:
    assert verdict(states) == state


def test_ctrl_c_ends_the_running_job_and_leaves_nothing_behind(here: Path) -> None:
    sleep = f"600.{os.getpid()}"  # Nobody else's on this machine.
    (here / ".surveil.yml").write_text(
        f"jobs: {{a: {{steps: [{{run: 'echo $$ > pid; exec sleep {sleep}'}}]}}, b: {{steps: [{{run: touch b}}]}}}}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "surveil", "run"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 90
        while not ((here / "pid").exists() and (here / "pid").read_text().strip()):
            assert time.monotonic() < deadline, "the step did not begin"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "--- a attempt 1 cancelled: interrupted ---" in err
    assert "cancelled b" in err
    assert not (here / "b").exists()
    assert [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", sleep]] == []


def test_secrets_come_from_ones_own_environment_and_are_covered(
    type_: Type, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / ".surveil.yml").write_text(
        "jobs: {test: {secrets: [TOKEN, {name: KEY, file: KEY_FILE}], "
        "steps: [{run: 'echo it is $TOKEN and $(cat $KEY_FILE); echo $(wc -c < $KEY_FILE) ${OTHER-none}'}]}}"
    )
    monkeypatch.setenv("TOKEN", "hush-hush")
    monkeypatch.setenv("OTHER", "seen")
    ended = type_("run")
    assert (ended.code, ended.out) == (7, "")
    assert "`KEY=... surveil run`" in ended.err
    monkeypatch.setenv("KEY", "key-of-keys")
    before = set(Path("/dev/shm").iterdir())
    ended = type_("run")
    assert (ended.code, ended.out) == (0, "it is *** and ***\n11 none\n")
    assert "hush" not in ended.err
    assert not {path.name for path in set(Path("/dev/shm").iterdir()) - before if (path / "KEY_FILE").exists()}


HOUSED = """
jobs:
  build:
    image: "probe:1"
    artifacts: [made]
    steps: [{run: "echo version=$FROM_IMAGE >> $SURVEIL_OUTPUT; cat note; touch made"}]
  tidy: {needs: [build], steps: [{run: rm made}]}
  use:
    image: {name: "probe:1", memory: 64MiB}
    needs: [build, tidy]
    artifacts_from: [build]
    env: {VERSION: "${{ needs.build.outputs.version }}"}
    steps: [{run: "echo got $VERSION; ls made; exec dd if=/dev/zero of=/dev/null bs=200M count=1"}]
"""


def test_jobs_with_an_image_run_in_containers_on_the_tree_as_it_is(
    type_: Type, here: Path, docker_engine: Docker
) -> None:
    (here / ".surveil.yml").write_text(HOUSED)
    ended = type_("run", "--engine", docker_engine.address)
    assert (ended.code, ended.out) == (1, "uncommitted\ngot yes\nmade\n"), ended.err
    assert "was killed because it went over its memory limit of 64 MiB" in ended.err
    assert "asks for a runner" not in ended.err
    assert docker_engine.names() == []
    ended = type_("run", "build", "--engine", "off")
    assert ended.code == 7
    assert "the job has an image, and containers are switched off there (`engine` is `off`)" in ended.err
    ended = type_("run", "build", "--engine", f"unix://{here}/nobody.sock")
    assert ended.code == 7
    assert "nothing answers at" in ended.err


KEEPING = """
jobs:
  test:
    concurrency: one
    on_runner_loss: fail
    when: changed('src/**')
    cache: [{key: "tool-${{ hash('note') }}", restore_keys: [tool-], paths: [~/.cache/tool, lib]}]
    artifacts: [{name: wheels, paths: ["out/**"]}]
    reports: [r.xml]
    steps:
      - run: cat ~/.cache/tool/made lib/made 2>/dev/null || true
      - run: mkdir -p out/deep lib ~/.cache/tool; cp note lib/made; cp note ~/.cache/tool/made; cp note out/deep/wheel
      - run: |
          echo '<testsuite><testcase classname="s" name="slow" time="2.5"/>' > r.xml
          echo '<testcase classname="s" name="bad"><failure message="why"/></testcase></testsuite>' >> r.xml
"""


def test_a_run_has_caches_of_homes_artifacts_and_test_results(type_: Type, here: Path, home: Path) -> None:
    (here / ".surveil.yml").write_text(KEEPING)
    ended = type_("run", "--artifacts", "kept")
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert (here / "kept/test/wheels/out/deep/wheel").read_text() == "uncommitted\n"
    lines = ended.err.splitlines()
    at = lines.index("2 tests: 1 failed, 1 passed, 2.5 s")
    assert lines[at + 1 : at + 4] == ["failed   s bad", "    why", "slowest: slow 2.5 s"]
    for words in ("`concurrency`, as", "`on_runner_loss`, as", "changed paths in `when`", "`cache` of what is in the"):
        assert f"--- test: not heeded here: {words}" in ended.err
    (here / "lib/made").unlink()  # What is in the tree is as it is.
    assert type_("run").out == "uncommitted\n"
    (here / "note").write_text("changed\n")
    (here / "lib/made").unlink()
    assert type_("run", "--artifacts", "kept").out == "uncommitted\n"  # by the beginning of its key
    assert (here / "kept/test/wheels/out/deep/wheel").read_text() == "changed\n"
    (here / "lib/made").unlink()
    ended = type_("run", "--json")
    assert json.loads(ended.out)["jobs"][0]["tests"]["failed"] == 1
    assert "\nchanged\n" in ended.err
    blobs = list((home / "data" / "run-caches").glob("*.tar"))
    assert len(blobs) == 2
    for blob in blobs:
        blob.write_bytes(blob.read_bytes().replace(b"changed", b"damaged"))
    (here / "lib/made").unlink()
    ended = type_("run")
    assert (ended.code, ended.out) == (0, "")
    assert "is damaged" in ended.err


HANDED_ON = """
jobs:
  build:
    matrix: {v: ["0", "1"]}
    artifacts: [{name: app, paths: ["out/*"]}, {name: log, paths: [made.log]}]
    steps: [{run: 'mkdir -p out; echo app $MATRIX_V > out/$MATRIX_V; test $MATRIX_V = 0 || exit 1'}]
  meddle: {needs: [build], when: always, steps: [{run: echo meddled > out/0}]}
  use: {needs: [build, meddle], when: always, artifacts_from: [build/app], steps: [{run: cat out/0 out/1}]}
  lost: {needs: ["build[v=0]"], artifacts_from: ["build[v=0]/log"], steps: [{run: echo began}]}
"""


def test_a_job_gets_what_earlier_ones_of_the_run_kept(type_: Type, here: Path) -> None:
    (here / ".surveil.yml").write_text(HANDED_ON)
    ended = type_("run", "--json")
    jobs = {job["name"]: job for job in json.loads(ended.out)["jobs"]}
    assert {name: job["state"] for name, job in jobs.items()} == {
        "build[v=0]": "passed", "build[v=1]": "failed", "meddle": "passed", "use": "passed", "lost": "errored",
    }  # fmt: skip
    assert "app 0\napp 1\n" in ended.err
    assert jobs["use"]["artifacts_from"] == ["build[v=0]/app", "build[v=1]/app"]
    assert jobs["lost"]["reason"] == (
        "the artifact `log` of build[v=0] attempt 1 is not there: no file was kept under this name"
    )
    assert "began" not in ended.err
