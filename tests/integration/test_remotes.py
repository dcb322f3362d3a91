"""Remotes that misbehave: each is told of once, with what to type; nobody else waits for it, and it is taken back."""

import asyncio
import logging
import shutil
import socket
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.integration.desk import PIPELINE, Desk, configure, desk, observing, run
from tests.mirror.leaks import nothing_left
from tests.mirror.moody import Moody
from tests.mirror.repositories import Repository, make_repository, serve_git
from tests.mirror.servers import serving

MANY_REFS = 100_000


def problem(at_desk: Desk, repo: str) -> str:
    """What the observer said last of a repository."""
    if not at_desk.watching:
        return ""
    return next(watched.problem or "" for watched in at_desk.watching[-1].repos if watched.repo == repo)


HANG_S = 6
"""Enough for an honest look on a busy machine."""
HANGING = {"silent", "hangs in the list", "endless"}
MOODS = {
    "hangs in the list": "gave no answer within 6 s (git ls-remote); type `git ls-remote -- ",
    "hangs in a pack": "gave no answer within 3 s (git fetch); type `git ls-remote -- ",
    "endless": "gave no answer within 6 s (git ls-remote); type `git ls-remote -- ",
    "lies": "no longer gives out ",
    "silent": "gave no answer within 6 s (git ls-remote); type `git ls-remote -- ",
    "401": "asks for credentials, and none are set; write `https://USER:TOKEN@HOST` to a file",
    "403": "may not be read by us (HTTP 403); type `git ls-remote -- ",
    "404": "is not there, or not to be seen by us (HTTP 404); type `git ls-remote -- ",
    "429": "wants to be asked less often (HTTP 429); give a longer --interval",
    "500": "cannot be served at the moment (HTTP 500); type `git ls-remote -- ",
    "loop": "leads from one address to the next without end; type `curl -sIL ",
    "page": "lists no refs any more; was it emptied, or does another answer? Type `git ls-remote -- ",
    "wrong type": "protocol error: bad line length character: ",
    "dies in a pack": "was cut off in the middle of its answer; type `git ls-remote -- ",
}


@pytest.mark.parametrize("mood", ["page", "wrong type", "dies in a pack", "lies"])
def test_no_mood_of_a_server_is_taken_for_a_damaged_commit(repository: Repository, tmp_path: Path, mood: str) -> None:
    sha = repository.git("rev-parse", "HEAD")
    moody = Moody(tmp_path)
    with serving(moody.handler) as server:
        mirror = Mirror(tmp_path / "mirrors", parse(f"{server}/source/.git", "/"))
        moody.mood = mood
        for wanted in (sha, "1" * 40) if mood != "lies" else ("1" * 40,):
            with pytest.raises(MirrorError) as refused:
                mirror.fetch(wanted, "refs/heads/main")
            # A commit that is damaged gets a verdict for good; the server may be well the next time.
            assert refused.value.trouble not in {Trouble.CORRUPT, Trouble.TOO_LARGE}
        moody.mend()
        mirror.fetch(sha, "refs/heads/main")
        assert mirror.read(sha).message == "First"


@pytest.mark.parametrize("mood", MOODS)
def test_a_mood_is_told_once_hurts_nobody_else_and_passes(
    repository: Repository, tmp_path: Path, mood: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("surveil.mirror.refs.REMOTE_TIMEOUT_S", HANG_S if mood in HANGING else 60)
    if mood == "hangs in a pack":
        monkeypatch.setattr("surveil.mirror.mirror.FETCH_TIMEOUT_S", 3)
    monkeypatch.setattr("surveil.core.observe.REPEAT_MS", 100)
    other = make_repository(tmp_path / "other")
    other.commit("Other", __surveil__yml=PIPELINE)
    moody = Moody(tmp_path)
    caplog.set_level(logging.WARNING, "surveil")

    def reasons() -> list[str]:
        """Why something could not be read, each time that the log said it."""
        keys = [getattr(record, "surveil_keys", {}) for record in caplog.records]
        return [str(each["reason"]) for each in keys if "reason" in each]

    async def story(repo: str) -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", repo, str(other.path))):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            moody.mood = mood
            missed = repository.commit("While it was moody")
            # What it was about to answer when its mood changed may be told as well, but not again.
            await at_desk.until(lambda: any(MOODS[mood] in reason for reason in reasons()))
            assert all(repo in reason for reason in reasons())
            asked = moody.asked
            # It is tried again, ever more seldom, and nothing more is said of it.
            await at_desk.until(lambda: moody.asked > asked + 1)
            await at_desk.hears(other.commit("Meanwhile"))
            assert len(reasons()) == len(set(reasons()))
            assert sum(MOODS[mood] in reason for reason in reasons()) == 1
            await at_desk.until(lambda: problem(at_desk, repo) in reasons())
            moody.mend()
            await at_desk.hears(missed)
            await at_desk.until(lambda: not problem(at_desk, repo))

    with serving(moody.handler) as server, nothing_left():
        run(story(f"{server}/source/.git"))


def test_what_is_forced_away_replaced_or_gone_for_a_while_is_followed(repository: Repository, tmp_path: Path) -> None:
    async def story(repo: str) -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", repo)):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            repository.git("checkout", "--quiet", "--orphan", "anew")
            repository.commit("Another history")
            repository.git("branch", "--quiet", "--force", "main", "anew")
            rewritten = repository.git("rev-parse", "main")
            await at_desk.hears(rewritten)

            repository.path.rename(tmp_path / "away")
            await at_desk.until(lambda: bool(problem(at_desk, repo)))
            assert f"type `git ls-remote -- {repo}` to ask it by hand" in problem(at_desk, repo)
            replaced = make_repository(tmp_path / "source", "--object-format=sha256")
            await at_desk.hears(replaced.commit("Another repository", __surveil__yml=PIPELINE))
            await at_desk.until(lambda: not problem(at_desk, repo))

            shutil.rmtree(replaced.path)
            (tmp_path / "away").rename(repository.path)
            repository.git("checkout", "--quiet", "main")
            await at_desk.hears(repository.commit("Back again"))

    with serve_git(tmp_path) as server, nothing_left():
        run(story(f"{server}/source/.git"))


def test_remotes_that_hang_again_and_again_keep_no_other_remote_waiting(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveil.mirror.refs.REMOTE_TIMEOUT_S", 1)

    async def story(port: int, server: str) -> None:
        hanging = [f"git://127.0.0.1:{port}/{number}" for number in range(40)]
        repo = f"{server}/source/.git"
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", *hanging, repo)):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            await at_desk.until(lambda: all(problem(at_desk, each) for each in hanging))
            # None of these may take as long as those that hang: were it to wait for one, it would take a minute.
            monkeypatch.setattr("surveil.mirror.refs.REMOTE_TIMEOUT_S", 60)
            await asyncio.sleep(2)
            for number in range(3):
                await at_desk.hears(repository.commit(f"Commit {number}"))

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, serve_git(tmp_path) as server, nothing_left():
        run(story(silent.getsockname()[1], server))


def test_a_server_that_hangs_keeps_no_other_server_waiting(repository: Repository, tmp_path: Path) -> None:
    async def story(port: int, server: str) -> None:
        hanging = [f"git://127.0.0.1:{port}/{number}" for number in range(60)]
        async with (
            desk() as at_desk,
            observing(configure(at_desk, tmp_path / "data", *hanging, f"{server}/source/.git")),
        ):
            # Those that hang do so for a minute.
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            await at_desk.hears(repository.commit("Second"))

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, serve_git(tmp_path) as server, nothing_left():
        run(story(silent.getsockname()[1], server))


def test_a_hundred_thousand_refs_are_watched(repository: Repository, tmp_path: Path) -> None:
    sha = repository.git("rev-parse", "HEAD")
    lines = "".join(f"{sha} refs/heads/many/{number:06d}\n" for number in range(MANY_REFS))
    (repository.path / ".git" / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted\n" + lines)
    other = make_repository(tmp_path / "other")
    other.commit("Other", __surveil__yml=PIPELINE)

    async def story(repo: str) -> None:
        config = configure(at_desk := here[0], tmp_path / "data", repo, str(other.path))
        async with observing(config):
            await at_desk.hears(sha)
            await at_desk.hears(repository.commit("One of very many"))
            repository.git("branch", "--force", "many/050000", "main")
            await at_desk.hears(repository.git("rev-parse", "main"), ref="refs/heads/many/050000")
            await at_desk.hears(other.commit("Meanwhile"))
        assert len(at_desk.heard) == 5

    here: list[Desk] = []

    async def with_desk(repo: str) -> None:
        async with desk() as at_desk:
            here.append(at_desk)
            await story(repo)

    with serve_git(tmp_path) as server, nothing_left():
        run(with_desk(f"{server}/source/.git"))
