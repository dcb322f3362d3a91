"""Commands that change something: what is sent, what is printed, and the codes that scripts branch on."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from surveil.answer import JobsWish, LookWish, RetryWish, RevokePeerWish, RunnerWish, SubmitWish, TokenWish, Wish
from surveil.core.events import CancelWanted, RunnerOrder
from surveil.core.model import Status
from surveil.core.peers import Peer, Role
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import make_build, make_job, make_note, make_runner, new

PIPELINE = "jobs: {test: {steps: [{run: 'true'}]}}\n"


def git(*arguments: str, cwd: Path) -> str:
    who = {"NAME": "Ann", "EMAIL": "ann@example.org"}
    env = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env={"PATH": "/usr/bin:/bin"} | env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(home: Path) -> Path:
    """A repository with two commits, the newer one with a pipeline file."""
    here = home / "here"
    git("init", "-q", cwd=here)
    git("commit", "-q", "--allow-empty", "-m", "empty", cwd=here)
    git("tag", "v0", cwd=here)
    (here / ".surveil.yml").write_text(PIPELINE)
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Add a pipeline", cwd=here)
    return here


def submitted(counter: Counter) -> SubmitWish:
    (wish,) = counter.wishes
    assert isinstance(wish, SubmitWish)
    return wish


def test_submit_sends_head_with_its_pipeline_and_prints_the_builds_number_alone(
    type_: Type, counter: Counter, repository: Path
) -> None:
    ended = type_("submit")
    assert (ended.code, ended.out, ended.err) == (0, "12\n", "")
    commit = submitted(counter).commit
    assert (commit.repo, commit.ref, commit.event) == (str(repository), "refs/heads/main", "manual")
    assert (commit.sha, commit.message) == (git("rev-parse", "HEAD", cwd=repository), "Add a pipeline")
    assert (commit.pipeline, commit.pipeline_file, commit.problem) == (PIPELINE, ".surveil.yml", "")


def test_submit_of_a_tag_or_a_beginning_of_a_sha_counts_for_what_was_named(
    type_: Type, counter: Counter, repository: Path
) -> None:
    sha = git("rev-parse", "v0", cwd=repository)
    assert type_("submit", "--ref", "v0").code == 0
    assert type_("submit", sha[:9]).code == 0
    assert type_("submit", sha, "--ref", "main").code == 0
    commits = [wish.commit for wish in counter.wishes if isinstance(wish, SubmitWish)]
    assert [commit.sha for commit in commits] == [sha] * 3
    assert [commit.ref for commit in commits] == ["refs/tags/v0", "refs/tags/v0", "refs/heads/main"]
    assert commits[0].pipeline is None
    assert "write a .surveil.yml" in commits[0].problem


def test_submit_of_a_pull_request_takes_the_pipeline_of_the_main_branch(
    type_: Type, counter: Counter, repository: Path
) -> None:
    strange = git("commit-tree", "v0^{tree}", "-p", "HEAD", "-m", "Theirs", cwd=repository)
    git("update-ref", "refs/pull/5/head", strange, cwd=repository)
    assert type_("submit", "--ref", "pull/5/head").code == 0
    commit = submitted(counter).commit
    assert (commit.ref, commit.sha, commit.message) == ("refs/pull/5/head", strange, "Theirs")
    assert (commit.trusted, commit.base, commit.pipeline) == (False, "refs/heads/main", PIPELINE)


def test_submit_sends_inputs_that_the_pipeline_takes(type_: Type, counter: Counter, repository: Path) -> None:
    text = "on: {manual: {inputs: {target: {options: [staging, moon]}, note: {default: ''}}}}\n" + PIPELINE
    (repository / ".surveil.yml").write_text(text)
    git("commit", "-q", "-a", "-m", "Inputs", cwd=repository)
    assert type_("submit", "--input", "target=moon", "--input", "note=a=b").code == 0
    assert submitted(counter).commit.inputs == {"target": "moon", "note": "a=b"}
    for typed, sentence in (
        ("target=mars", "The input `target` is `mars`, which is not one of `staging`, `moon`."),
        ("tarket=moon", "The pipeline has no input `tarket`; did you mean `target`?"),
        ("target", "`target` is not of the form NAME=VALUE."),
    ):
        ended = type_("submit", "--input", typed)
        assert ended.code == 2
        assert sentence in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--ref", "mian"], 6, "has no ref `mian`; did you mean `main`?"),
        (["abc"], 2, "`abc` is not a commit's full name"),
        (["main"], 2, "`main` is a ref and no commit: type `surveil submit --ref main`."),
        (["a" * 40], 6, "a" * 40),
        (["--repo", "ext::sh -c x"], 2, "names a git remote helper"),
        (["--repo", "/nowhere/at/all"], 6, "no folder"),
        (["--timeout", "5s"], 2, "--timeout says how long to wait, so it needs --wait"),
        (["--wait", "--timeout", "soon"], 2, "`soon` is not a duration"),
    ],
)
@pytest.mark.usefixtures("repository")
def test_what_cannot_be_submitted_is_said_in_one_sentence(
    type_: Type, counter: Counter, arguments: list[str], code: int, sentence: str
) -> None:
    ended = type_("submit", *arguments)
    assert (ended.code, ended.out, counter.wishes) == (code, "", [])
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


def test_submit_outside_of_a_repository_says_what_to_do(type_: Type, counter: Counter) -> None:
    ended = type_("submit")
    assert (ended.code, counter.wishes) == (6, [])
    assert "is not in a git repository" in ended.err


@pytest.mark.parametrize(
    ("state", "complaints", "code"),
    [
        (Status.PASSED, (), 0),
        (Status.FAILED, (), 1),
        (Status.ERRORED, (".surveil.yml:1:1: no jobs",), 3),
        (Status.ERRORED, (), 7),
        (Status.CANCELLED, (), 8),
    ],
)
@pytest.mark.usefixtures("repository")
def test_waiting_ends_with_the_verdicts_code(
    type_: Type, counter: Counter, state: Status, complaints: tuple[str, ...], code: int
) -> None:
    def build(_wish: Wish) -> None:
        counter.desk.store.commit(new(make_build(12, state=Status.RUNNING, complaints=complaints), make_job(12)))

        def end() -> None:
            settled = make_build(12, state=state, complaints=complaints)
            counter.desk.store.builds[12] = settled
            counter.happen(make_note("build", "12", build=12, state=state.value, reason="so it is"))

        threading.Timer(0.2, end).start()

    counter.on_wish = build
    ended = type_("submit", "--wait", "--timeout", "30s")
    assert (ended.code, ended.out) == (code, "12\n")
    assert f"build 12  {state.value}  so it is" in ended.err


@pytest.mark.usefixtures("repository")
def test_a_wait_that_is_over_before_the_build_is_ends_with_124(type_: Type, counter: Counter) -> None:
    counter.on_wish = lambda _wish: counter.desk.store.commit(new(make_build(12, state=Status.RUNNING), make_job(12)))
    ended = type_("submit", "--wait", "--timeout", "300ms")
    assert (ended.code, ended.out) == (124, "12\n")
    assert "`surveil watch 12` shows it" in ended.err


def test_retry_and_cancel_name_what_they_mean(type_: Type, counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job(state=Status.RUNNING)))
    assert type_("retry", "1", "test").out == "12\n"
    ended = type_("cancel", "1", "test", "--reason", "wrong branch")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "Build 1 is running; running jobs get a moment to end.\n"
    retry, cancel = counter.wishes
    assert isinstance(retry, RetryWish)
    assert retry.event.retry_of == 1
    assert cancel == JobsWish(event=CancelWanted(build=1, names=("test",), reason="wrong branch"))
    assert json.loads(type_("cancel", "1", "--json").out) == {"build": 1, "state": "running"}


@pytest.mark.parametrize("group", ["runner", "runners"])
@pytest.mark.parametrize("order", list(RunnerOrder))
def test_orders_to_runners_stand_under_both_spellings(
    type_: Type, counter: Counter, group: str, order: RunnerOrder
) -> None:
    counter.desk.store.commit(new(make_runner()))
    ended = type_(group, order.value, "spare-2", "--reason", "new disk")
    assert ended.code == 0
    (wish,) = counter.wishes
    assert isinstance(wish, RunnerWish)
    assert (wish.event.order, wish.event.reason) == (order, "new disk")


def test_look_names_the_repository_around_this_folder_or_takes_an_address_at_its_word(
    type_: Type, counter: Counter, repository: Path
) -> None:
    ended = type_("look")
    assert (ended.code, ended.out, ended.err) == (0, "", f"1 observer looks at {repository} now.\n")
    assert json.loads(type_("look", "git@Example.org:lib.git", "--json").out)["repo"] == "git@example.org:lib.git"
    assert type_("look", "/on/another/machine").code == 0
    assert type_("look", "ext::sh -c x").code == 2
    assert counter.wishes == [
        LookWish(repo=repo) for repo in (str(repository), "git@example.org:lib.git", "/on/another/machine")
    ]


def test_a_token_stands_alone_on_stdout(type_: Type, counter: Counter) -> None:
    ended = type_("token", "create", "--label", "gpu", "--expires", "10m", "--uses", "2")
    assert (ended.code, ended.out) == (0, "svl1.token.00000000\n")
    assert "Good for 10m, 2 times" in ended.err
    assert counter.wishes == [TokenWish(role="runner", labels=("gpu",), expires_ms=600_000, uses=2)]


def test_tokens_are_listed_and_revoked(type_: Type, counter: Counter) -> None:
    assert type_("token", "list", "--json").out == "[]\n"
    ended = type_("token", "revoke", "nope")
    assert (ended.code, counter.wishes) == (6, [])


def test_peers_are_listed_and_revoked(type_: Type, counter: Counter) -> None:
    counter.desk.store.add_peer(Peer(key="o" * 40, role=Role.OBSERVER, name="eye", created_at=1))
    listed = json.loads(type_("peers", "--json").out)
    assert [(each["role"], each["revoked_at"]) for each in listed if each["name"] == "eye"] == [("observer", None)]
    assert "eye" in type_("peers").out
    for group in ("peer", "peers"):
        ended = type_(group, "revoke", "eye", "--reason", "lost")
        assert ended.code == 0
        assert "surveil token create --role observer" in ended.err
    assert {type(wish) for wish in counter.wishes} == {RevokePeerWish}
    assert type_("peer", "revoke", "nobody").code == 6
