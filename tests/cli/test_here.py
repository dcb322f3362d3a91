"""`run`: the pipeline of a work tree through real keepers, with the codes and words of a build."""

import json
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
    assert sorted(ended.out.splitlines()) == ["building", "try 1 of 0", "try 1 of 1", "try 1 of 1", "uncommitted"]
    summary = [line.split()[:2] for line in ended.err.splitlines() if not line.startswith("---")]
    assert summary == [
        ["passed", "build"],
        ["passed", "test[v=0]"],
        ["failed", "test[v=1]"],
        ["skipped", "ship"],
        ["passed", "report"],
    ]
    assert "--- ship skipped: needs test[v=1], which failed ---" in ended.err


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
        [{"name": "echo building", "state": "passed", "exit_code": 0, "remarks": []}],
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
    with pytest.raises(NotFoundError):
        choose(loaded.jobs, ["te"])


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
    (here / ".surveil.yml").write_text(
        "jobs: {a: {steps: [{run: 'echo $$ > pid; exec sleep 600.75'}]}, b: {steps: [{run: touch b}]}}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "surveil", "run"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 30
        while not ((here / "pid").exists() and (here / "pid").read_text().strip()):
            assert time.monotonic() < deadline, "the step did not begin"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "--- a attempt 1 cancelled: interrupted ---" in err
    assert "cancelled b" in err
    assert not (here / "b").exists()
    assert [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", "600.75"]] == []


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
  build: {image: "probe:1", steps: [{run: "echo version=$FROM_IMAGE >> $SURVEIL_OUTPUT; cat note; touch made"}]}
  use:
    image: {name: "probe:1", memory: 64MiB}
    needs: [build]
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
