"""`up --once` with real processes: one verdict, its exit code, and nothing left."""

import shutil
import signal

import pytest

from tests.system.processes import Place, eventually
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(180)


def test_a_commit_that_is_sound_ends_with_0_and_its_output_was_seen(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo hello from the step", "echo and bye"))
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["hello from the step", "and bye"]
    assert lines[-1].startswith("passed    build 1: repo main ")
    assert "build 1: repo main " in done.stderr
    assert place.processes() == []
    assert [path.name for path in place.folder.joinpath("home").iterdir()] == []


GRAPH = """
jobs:
  lint: {continue_on_error: true, steps: [{run: exit 1}]}
  build: {needs: [lint], steps: [{run: 'echo "version=1.2" >> "$SURVEIL_OUTPUT"'}]}
  use:
    needs: [build]
    when: branch == 'main' && needs.build.outputs.version != ''
    concurrency: {group: "use ${{ branch }}", cancel_superseded: true}
    env: {VERSION: "${{ needs.build.outputs.version }}"}
    steps: [{run: echo use $VERSION}]
  never: {needs: [use], when: failed, steps: [{run: echo never}]}
"""


def test_jobs_follow_each_other_by_conditions_and_outputs(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=GRAPH)
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 0, done.stderr
    assert "use | use 1.2" in done.stdout.splitlines()
    assert "never |" not in done.stdout
    assert place.processes() == []


def test_jobs_of_a_group_never_run_together(place: Place) -> None:
    alone = f"mkdir {place.folder}/taken; sleep 1; rmdir {place.folder}/taken"
    jobs = "".join(f"  {name}: {{concurrency: device, steps: [{{run: '{alone}'}}]}}\n" for name in "ab")
    repo = make_repository(place.folder / "repo", __surveil__yml=f"jobs:\n{jobs}")
    done = place.run("up", "--once", "--sandbox", "off", "--runners", "2", str(repo))
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.processes() == []


def test_a_commit_that_breaks_ends_with_1_and_says_where(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo before", "exit 7", "echo after"))
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0] == "before"
    assert "after" not in done.stdout
    assert done.stdout.splitlines()[-1].startswith("failed    build 1: repo main ")
    assert place.processes() == []


def test_a_pipeline_that_is_none_ends_with_3_and_its_complaints(place: Place) -> None:
    repo = make_repository(
        place.folder / "repo", __surveil__yml="version: 1\njobs:\n  test:\n    stepz:\n      - run: true\n"
    )
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 3
    assert ".surveil.yml:4:5: unknown key `stepz`" in done.stderr
    assert done.stdout == ""


def test_a_commit_that_nobody_knows_how_to_test_ends_with_3_and_what_to_write(place: Place) -> None:
    repo = make_repository(place.folder / "repo", README="Nothing to see.")
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 3
    assert "write a .surveil.yml" in done.stderr


def test_without_a_repository_or_a_commit_there_is_a_sentence(place: Place) -> None:
    unborn = make_repository(place.folder / "unborn")
    done = place.run("up", "--once", str(unborn))
    assert (done.returncode, done.stdout) == (6, "")
    assert "has no commit yet" in done.stderr
    done = place.run("up", "--once")
    assert (done.returncode, done.stdout) == (6, "")
    assert "is not in a git repository" in done.stderr


def test_a_label_that_no_runner_will_have_is_said_at_once(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true", more="    labels: [gpu]\n"))
    done = place.run("up", "--once", str(repo))
    assert done.returncode == 3
    assert "say so with --label gpu" in done.stderr
    assert place.run("up", "--once", "--label", "gpu", str(repo)).returncode == 0


def test_an_image_without_an_engine_is_said_at_once(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true", more="    image: busybox\n"))
    done = place.run("up", "--once", "--engine", "off", str(repo))
    assert (done.returncode, done.stdout) == (7, "")
    assert "a job with an image needs containers, and containers are switched off there" in done.stderr
    assert done.stderr.count("\n") == 1


def test_of_several_repositories_the_worst_verdict_counts(place: Place) -> None:
    sound = make_repository(place.folder / "sound", __surveil__yml=pipeline("echo one", job="a"))
    broken = make_repository(place.folder / "broken", __surveil__yml=pipeline("echo two", "false", job="b"))
    done = place.run("up", "--once", "--data", str(place.data), str(sound), str(broken))
    assert done.returncode == 1, done.stderr
    assert "one" in done.stdout
    assert "two" in done.stdout
    verdicts = [line.split()[0] for line in done.stdout.splitlines() if " build " in line]
    assert sorted(verdicts) == ["failed", "passed"]
    assert (place.data / "surveil.db").exists()
    assert place.processes() == []
    # What could not even begin is worse than what failed, and the others are tested all the same.
    invalid = make_repository(place.folder / "invalid", __surveil__yml="jobs: []")
    done = place.run("up", "--once", str(broken), str(invalid), str(sound))
    assert done.returncode == 3, done.stderr
    verdicts = [line.split()[0] for line in done.stdout.splitlines() if " build " in line]
    assert sorted(verdicts) == ["failed", "passed"]


def test_files_of_the_current_folder_are_not_taken_for_modules(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo fine"))
    for name in ("msgpack", "sqlalchemy", "surveil"):
        (place.folder / f"{name}.py").write_text("raise SystemExit('this is not the module that was meant')\n")
    # The installed script does not look there by itself; its children must not either.
    done = place.run("up", "--once", str(repo), PYTHONSAFEPATH="1")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "fine"), done.stderr


def test_a_reader_that_goes_away_ends_everything(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("while :; do echo more; sleep 0.1; done"))
    with place.start("up", "--once", "--data", str(place.data), str(repo)) as once:
        once.wait_for("more")
        once.stop_listening()
        # What a shell shows for a program that was ended by SIGPIPE.
        assert once.wait() == 141
    assert place.processes() == []


def test_ctrl_c_leaves_nothing_running(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo begun; sleep 600"))
    with place.start("up", "--once", "--data", str(place.data), str(repo)) as once:
        once.wait_for("begun")
        once.process.send_signal(signal.SIGINT)
        assert once.wait() == 130, once.text
    assert place.processes() == []


def without_bubblewrap(place: Place) -> dict[str, str]:
    """An environment in whose PATH everything is but the sandbox's program."""
    folder = place.folder / "programs"
    folder.mkdir()
    for name in ("sh", "env", "git"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(folder)}


def test_where_there_can_be_no_sandbox_up_says_so_once_and_goes_on(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo done"))
    done = place.run("up", "--once", str(repo), **without_bubblewrap(place))
    assert done.returncode == 0, done.stdout + done.stderr
    said = "Steps run without a sandbox, so they see what this user sees: bubblewrap is not installed; `"
    assert (done.stdout + done.stderr).count(said) == 1


def test_where_a_sandbox_is_required_and_there_can_be_none_up_ends_with_what_to_type(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo never"))
    done = place.run("up", "--once", "--sandbox", "required", str(repo), **without_bubblewrap(place))
    assert done.returncode == 7, done.stdout + done.stderr
    assert "Steps cannot be run in a sandbox: bubblewrap is not installed; type `" in done.stderr
    assert "never" not in done.stdout


def test_an_attempt_says_which_isolation_it_had(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo done"))
    with place.up("--sandbox", "off", str(repo)) as up:
        up.wait_for("done")
        assert eventually(lambda: place.ask("builds")[0]["state"] == "passed")
        (job,) = place.ask("show", "1")["jobs"]
        assert [attempt["isolation"] for attempt in job["attempts"]] == ["process"]
        assert "process" in place.run("show", "1", "--data", str(place.data)).stdout
