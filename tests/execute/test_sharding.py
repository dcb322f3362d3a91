"""A shard's folder of questions: answered by whoever is there, and whatever steps put into it does no harm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from surveil import shards
from surveil.execute.collect import sharding
from surveil.execute.collect.collecting import Collection, Work
from surveil.execute.collect.sharding import NEVER_ASKED, NO_RESULTS, Shards
from surveil.execute.collect.shared_here import SharedHere
from surveil.execute.workspace import SHARDS_CLIENT, Workspace
from surveil.frozen import replace
from surveil.protocol import JobSpec, ShardAsk, ShardTell
from tests.execute.conftest import job
from tests.execute.test_cases import ASSIGN

ID = (ASSIGN.job, ASSIGN.attempt)
PATIENCE_S = 60
PAGE = Path(__file__).parents[2] / "docs/how-to/shards.md"
FENCE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SUITE = """
import pytest, time
log = open("ran", "a")

@pytest.fixture(scope="session")
def once():
    log.write("once\\n")

@pytest.mark.parametrize("n", range(12))
def test_it(n, once):
    log.write(f"{n}\\n")
    log.flush()
    assert n != 5
"""


def spec(shard: int = 1, count: int = 2) -> JobSpec:
    plain = job("true")
    return replace(plain, name=f"t[shard={shard}]", shards=count, matrix={"shard": str(shard)})


class Line:
    """Between the shards of a machine and whoever answers; every item is given in its turn unless `answer` is given."""

    def __init__(self, answer: Callable[[ShardAsk], ShardTell | None] | None = None) -> None:
        self.said: list[ShardAsk] = []
        self._answer = answer or self._in_turn
        self.shards = Shards(self._say)

    def _say(self, said: ShardAsk) -> None:
        self.said.append(said)
        if (told := self._answer(said)) is not None:
            self.shards.hear(told)

    def _in_turn(self, said: ShardAsk) -> ShardTell:
        if said.seq == 1 and not said.data:
            return tell(said, wants_list=True)
        return tell(said, batch=(said.seq - 1,) if said.seq <= 3 else ())


def tell(said: ShardAsk, **more: Any) -> ShardTell:
    return ShardTell(job=said.job, attempt=said.attempt, seq=said.seq, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Workspace.below(tmp_path / "space")
    made.make(spec())
    made.work.mkdir()
    return made.shards


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.shards.close()


def soon(path: Path) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} does not come"
        time.sleep(0.01)
    return json.loads(path.read_text())


def put(folder: Path, number: int, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "draft").write_text(text)
    (folder / "draft").rename(folder / f"ask.{number}")


def test_questions_are_passed_on_and_answered_in_their_order(folder: Path, line: Line) -> None:
    line.shards.begin(ID, folder)
    put(folder, 1, {"items": ["a", "b", "c"], "done": []})
    assert soon(folder / "tell.1") == {"batch": ["a"]}
    put(folder, 2, {"done": [["a", "failed", 12]]})
    assert soon(folder / "tell.2") == {"batch": ["b"]}
    assert [(said.seq, bool(said.data)) for said in line.said] == [(1, False), (1, True), (2, False)]
    assert [(one.item, one.state, one.duration_ms) for one in line.said[-1].done] == [(0, "failed", 12)]


def test_the_next_agent_answers_what_the_last_one_did_not(folder: Path) -> None:
    deaf = Line(lambda said: tell(said, batch=(0,)) if said.seq == 1 else None)
    deaf.shards.begin(ID, folder)
    put(folder, 1, {"items": ["a", "b", "c"], "done": []})
    soon(folder / "tell.1")
    put(folder, 2, {"done": [["a", "passed", 1]]})
    end = time.monotonic() + PATIENCE_S
    while len(deaf.said) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    deaf.shards.close()
    assert not (folder / "tell.2").exists()
    (folder / "tell.2.new").write_text("half of an answ")
    line = Line()
    line.shards.begin(ID, folder)
    assert soon(folder / "tell.2") == {"batch": ["b"]}
    assert [said.seq for said in line.said] == [2]
    line.shards.close()


def test_what_is_lost_on_the_way_is_said_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "AGAIN_S", 0.02)
    lossy = Line(lambda said: tell(said, batch=(0,)) if len(lossy.said) > 2 else None)
    lossy.shards.begin(ID, folder)
    put(folder, 1, {"items": ["a"], "done": []})
    assert soon(folder / "tell.1") == {"batch": ["a"]}
    assert len(lossy.said) == 3
    lossy.shards.close()


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("no JSON", "the first question of a shard has to hold the list"),
        ([], "the first question of a shard has to hold the list"),
        ({"items": "a", "done": []}, "the first question of a shard has to hold the list"),
        ({"items": ["b", "a"], "done": []}, "is not sorted, or has an item twice"),
        ({"items": ["\ud800"], "done": []}, "sorted"),
        ({"items": ["a"], "done": 7}, NO_RESULTS),
        ({"items": ["a"], "done": [["b", "passed", 1]]}, NO_RESULTS),
        ({"items": ["a"], "done": [["a", "perfect", 1]]}, NO_RESULTS),
        ({"items": ["a"], "done": [["a", "passed", "1"]]}, NO_RESULTS),
        ("[" * 100_000, "the first question of a shard has to hold the list"),
    ],
)
def test_a_question_that_is_none_is_answered_with_a_sentence(
    folder: Path, line: Line, question: Any, sentence: str
) -> None:
    line.shards.begin(ID, folder)
    put(folder, 1, question)
    told = soon(folder / "tell.1")
    if sentence == "sorted":
        assert told == {"batch": ["\ud800"]}
    else:
        assert sentence in told["problem"]
        assert line.said == []


def test_no_link_is_followed_and_no_pipe_is_waited_for(folder: Path, line: Line, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({"items": ["s3cret"], "done": []}))
    victim = tmp_path / "victim"
    victim.write_text("whole")
    (folder / "ask.1").symlink_to(secret)
    (folder / "tell.1.new").symlink_to(victim)
    line.shards.begin(ID, folder)
    time.sleep(0.1)
    assert line.said == []
    (folder / "ask.1").unlink()
    os.mkfifo(folder / "ask.1")
    assert "problem" in soon(folder / "tell.1")
    assert victim.read_text() == "whole"
    assert line.said == []


def test_a_folder_that_is_not_there_or_a_link_is_none_of_ours(tmp_path: Path, line: Line) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put(tmp_path / "real", 1, {"items": ["a"], "done": []})
    for number, name in enumerate(("gone", "link")):
        line.shards.begin((ASSIGN.job, number + 10), tmp_path / name)
    time.sleep(0.1)
    assert line.said == []


# ---- the look at what was left ---------------------------------------------------------------------------------------


def work(folder: Path, outcome: Any = "passed") -> Work:
    return Work(
        assign=replace(ASSIGN, spec=spec()), outcome=outcome, workspace=Workspace.below(folder.parent), since_ns=0,
        unwanted=lambda: False,
    )  # fmt: skip


def test_a_shard_that_never_asked_fails_and_learns_how(folder: Path, line: Line) -> None:
    assert line.shards(work(folder)) == Collection(missing=NEVER_ASKED)
    assert line.shards(work(folder, "failed")) == Collection()


@pytest.mark.parametrize(
    ("left", "missing"), [(0, ""), (3, "3 of the tests that its suite shares were run by no shard")]
)
def test_what_nobody_ran_makes_a_shard_fail(folder: Path, left: int, missing: str) -> None:
    made = Line(lambda said: tell(said, left=left))
    put(folder, 1, {"items": ["a"], "done": []})
    assert made.shards(work(folder)) == Collection(missing=missing)
    assert [said.final for said in made.said] == [True]


# ---- the steps' side -------------------------------------------------------------------------------------------------


class Here:
    """Shards one after the other, as `surveil run` has them."""

    def __init__(self, tmp_path: Path) -> None:
        self.here = SharedHere()
        self.root = tmp_path
        self.count = 0

    def run(self, *argv: str, stdin: str = "", env: dict[str, str] | None = None) -> tuple[int, str]:
        self.count += 1
        workspace = Workspace(root=self.root / f"space{self.count}", work=self.root)
        workspace.make(spec(self.count))
        with self.here.looking_after(spec(self.count), workspace):
            ran = subprocess.run(
                [each.replace("CLIENT", str(workspace.shards / SHARDS_CLIENT)) for each in argv],
                env=os.environ | {"SURVEIL_SHARDS": str(workspace.shards), "PYTHONPATH": str(workspace.shards)}
                | (env or {}),
                cwd=self.root, input=stdin.encode(), capture_output=True, check=False, timeout=PATIENCE_S,
            )  # fmt: skip
        return ran.returncode, (ran.stdout + ran.stderr).decode()


# What else is installed here has no part in it, and takes three quarters of the time in which it starts.
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "surveil_shards", "-p", "no:cacheprovider", "-p", "no:randomly",
          "-p", "no:xdist", "-p", "no:schemathesis", "-p", "no:hypothesispytest", "-c", "/dev/null", "--rootdir", ".",
          "test_suite.py")  # fmt: skip


def test_pytest_runs_what_it_is_given_with_its_fixtures_and_the_next_shard_finds_the_rest_done(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    here = Here(tmp_path)
    code, out = here.run(*PYTEST)
    assert (code, "1 failed, 11 passed" in out) == (1, True), out
    ran = (tmp_path / "ran").read_text().split()
    assert sorted(ran) == sorted([*map(str, range(12)), "once"])
    code, out = here.run(*PYTEST)
    assert "no tests ran" in out
    assert code == 0, "whoever comes too late has nothing to complain about"
    (tmp_path / "test_suite.py").write_text("")
    assert Here(tmp_path / "space1").run(*PYTEST[:-1], str(tmp_path / "test_suite.py"))[0] == 5, (
        "a suite without tests is what it is"
    )


def test_where_surveil_is_installed_pytest_needs_no_flag_and_may_be_told_to_leave_it_out(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    here = Here(tmp_path)
    unaided = (*PYTEST[:4], *PYTEST[6:])
    assert not any("surveil" in each for each in unaided[1:])
    code, out = here.run(*unaided)
    assert (code, "1 failed, 11 passed" in out) == (1, True), out
    code, out = here.run(*unaided)
    assert (code, "no tests ran" in out) == (0, True), "a shard that finds all of them done"
    code, out = here.run(*unaided[:-1], "-p", "no:surveil", unaided[-1])
    assert (code, "1 failed, 11 passed" in out) == (1, True), out


def test_the_plugin_beside_the_work_is_taken_whatever_is_installed_and_only_one_of_both_runs(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    code, out = Here(tmp_path).run(*PYTEST[:-1], "--trace-config", PYTEST[-1])
    assert (code, "1 failed, 11 passed" in out) == (1, True), out
    assert f"{tmp_path}/space1/shards/surveil_shards.py" in out
    assert len(re.findall(r"^PLUGIN registered: <surveil[._]shards\.Plugin ", out, re.MULTILINE)) == 1


def test_without_a_runner_pytest_runs_everything(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    code, out = Here(tmp_path).run(*PYTEST, env={"SURVEIL_SHARDS": ""})
    assert (code, "1 failed, 11 passed" in out) == (1, True), out


def test_tests_that_cannot_be_collected_fail_the_shard(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text("import no_such_module")
    code, out = Here(tmp_path).run(*PYTEST)
    assert code == 2
    assert "no_such_module" in out


def test_a_command_runs_batch_after_batch_and_its_failure_counts(tmp_path: Path) -> None:
    here = Here(tmp_path)
    script = 'for one in "$@"; do echo "got $one"; done; case "$*" in *c*) exit 3;; esac'
    code, out = here.run(sys.executable, "CLIENT", "run", "sh", "-c", script, "x", stdin="d\nb\n\na\nc\nb\n")
    assert code == 1
    assert sorted(line for line in out.splitlines() if line.startswith("got")) == ["got a", "got b", "got c", "got d"]
    code, out = here.run(sys.executable, "CLIENT", "run", "sh", "-c", script, "x", stdin="a\nb\nc\nd\n")
    assert (code, out) == (0, "")
    code, out = here.run(sys.executable, "CLIENT", "run", "true", stdin="other\n")
    assert code == 1
    assert "do not have the same list" in out


def test_the_example_for_unittest_is_as_the_page_says(tmp_path: Path) -> None:
    pipeline = yaml.safe_load(next(text for text in FENCE.findall(PAGE.read_text()) if "unittest" in text))
    (step,) = pipeline["jobs"]["test"]["steps"]
    (tmp_path / "tests").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "tests" / f"test_{name}.py").write_text(
            "import unittest\nclass Some(unittest.TestCase):\n"
            f"    def test_it(self):\n        print('ran {name}'); self.assertNotEqual('{name}', 'two')\n"
        )
    here = Here(tmp_path)
    code, out = here.run("sh", "-eu", "-c", step["run"])
    assert code == 1
    assert sorted(line for line in out.splitlines() if line.startswith("ran")) == ["ran one", "ran three", "ran two"]
    code, out = here.run("sh", "-eu", "-c", step["run"])
    assert (code, out) == (0, ""), "the other shard has answered for all of them"


def test_the_client_explains_itself(tmp_path: Path) -> None:
    code, out = Here(tmp_path).run(sys.executable, "CLIENT")
    assert code == 2
    assert shards.__doc__ is not None
    assert shards.__doc__.splitlines()[0] in out


def test_no_thread_is_left(tmp_path: Path) -> None:
    Here(tmp_path).run("true")
    assert [thread for thread in threading.enumerate() if thread.name == "shard"] == []
