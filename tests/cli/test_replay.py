"""`replay`: what is refused before anything runs, what is said to differ, and the verdict of a job that runs here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from surveil.core.model import AttemptState, Status
from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.execute.isolation import isolating
from surveil.execute.isolation.isolating import UNKEPT
from surveil.frozen import replace
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_attempt, make_build, make_job, make_spec, new
from tests.system.repository import git, make_repository


@pytest.fixture
def past(counter: Counter, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a build of a real commit be known whose job had these fields, and failed."""
    repo = make_repository(home / "repo", note="committed\n")
    (home / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))

    def know(script: str, *, trusted: bool = True, jobs: tuple[str, ...] = ("test",), **fields: Any) -> None:
        build = make_build(1, jobs=jobs, state=Status.FAILED)
        build = replace(build, repo=str(repo), sha=git(repo, "rev-parse", "HEAD"), trusted=trusted)
        made_spec = make_spec("test", script)
        steps = tuple(replace(step, continue_on_error=False) for step in made_spec.steps)
        spec = replace(made_spec, steps=steps, needs=(), labels=(), cache=(), secrets=(), **fields)
        made = [
            replace(make_job(1, name=name, position=at, state=Status.FAILED), spec=replace(spec, name=name), attempt=1)
            for at, name in enumerate(jobs)
        ]
        tried = [replace(make_attempt(1, name), state=AttemptState.FAILED, exit_code=3) for name in jobs]
        counter.desk.store.commit(new(build, *made, *tried))

    return know


def test_a_job_runs_on_its_commit_and_ends_as_it_had(type_: Type, past: Any, home: Path) -> None:
    past("cat note; echo '<testsuite><testcase name=\"x\"/></testsuite>' > r.xml; exit 3", reports=("r.xml",))
    (home / "repo" / "note").write_text("not committed\n")
    ended = type_("replay", "1")
    assert (ended.code, ended.out) == (1, "committed\n"), ended.err
    assert "ended with exit code 3; as it did there ---" in ended.err
    assert "\n1 test: 1 passed, 0 ms\n" in ended.err
    document = json.loads(type_("replay", "1/test", "--json").out)
    assert (document["same"], document["before"]["exit_code"], document["exit_code"]) == (True, 3, 3)
    assert list((home / "tmp").iterdir()) == []


def test_another_end_is_told_beside_the_one_that_it_had(type_: Type, past: Any) -> None:
    past("true")
    ended = type_("replay", "1/test")
    assert ended.code == 0
    assert "attempt 1 passed; there it was failed" in ended.err
    assert json.loads(type_("replay", "1/test", "--json").out)["same"] is False


def test_a_shard_is_handed_what_is_left_of_what_it_was_handed(type_: Type, past: Any, counter: Counter) -> None:
    words = "printf 'a\\nb\\nc\\n' | python3 $SURVEIL_SHARDS/surveil_shards.py run echo"
    past(words, shards=2, matrix={"shard": "1"})
    digest, items = pack(["a", "b", "c", "gone"])
    counter.desk.store.add_shard_list(1, "test", digest, items)
    for seq, given in ((1, (2, 3)), (2, (3,)), (3, (0,))):
        counter.desk.store.add_shard_ask(Asked(job="1/test", attempt=1, seq=seq, done=(), given=given), "test")
    ended = type_("replay", "1")
    assert (ended.code, ended.out) == (0, "c\na\n"), ended.err
    assert "not as it was: of what the shard was handed, gone and 1 more is not in its list here" in ended.err


def test_what_strangers_wrote_is_not_run_beside_a_persons_files_unasked(
    type_: Type, past: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    past("echo ran", trusted=False)
    monkeypatch.setattr(isolating, "find", lambda **_: UNKEPT)
    ended = type_("replay", "1")
    assert (ended.code, ended.out) == (7, "")
    assert "strangers may have written" in ended.err
    assert type_("replay", "1", "--sandbox", "off").out == "ran\n"


def test_what_cannot_be_is_said_before_anything_runs(type_: Type, past: Any, home: Path) -> None:
    past("echo ran", jobs=("test", "lint"))
    assert "2 jobs of build 1 went wrong: name one as in `surveil replay 1/NAME`; there are" in type_("replay", "1").err
    shell = type_("replay", "1/test", "--shell")
    assert (shell.code, shell.out) == (2, "")
    assert "--shell needs a terminal" in shell.err
    (home / "here" / "there").mkdir()
    kept = type_("replay", "1/test", "--keep", "there")
    assert (kept.code, kept.out) == (2, "")
    assert list((home / "tmp").iterdir()) == []


def test_a_folder_to_keep_is_left_only_where_the_commit_came(
    type_: Type, past: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past("cat note; exit 3")
    with monkeypatch.context() as patched:
        patched.setattr("surveil.cli.past.checkout", fail_to_check_out)
        ended = type_("replay", "1", "--keep", str(home / "deep" / "kept"))
        assert (ended.code, ended.err) == (7, f"surveil: {home / 'deep' / 'kept'} cannot be written: No space left.\n")
        assert not (home / "deep" / "kept").exists()
    assert type_("replay", "1", "--keep", str(home / "deep" / "kept")).code == 1
    assert (home / "deep" / "kept" / "note").read_text() == "committed\n"
    (home / "link").symlink_to(home / "nowhere")
    ended = type_("replay", "1", "--keep", str(home / "link"))
    assert (ended.code, ended.err) == (7, f"surveil: {home / 'link'} cannot be written: File exists.\n")
    assert not (home / "nowhere").exists()


def fail_to_check_out(_mirror: object, _sha: str, tree: Path, _ref: str) -> None:
    (tree / "note").write_text("half\n")
    raise OSError(28, "No space left")
