"""The observer's hands, mind and mirrors with real repositories, a real dispatcher's socket and real files."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from surveil.config import ObserverConfig
from surveil.core.observe_model import Record
from surveil.errors import InfrastructureError, UsageError
from surveil.hands.records import Records
from surveil.mirror.address import parse
from surveil.mirror.bundle import take_bundle
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import CHUNK_BYTES_MAX, CommitSeen, Want
from tests.integration.desk import PIPELINE, Desk, configure, desk, observing, run
from tests.mirror.repositories import Repository, make_repository, serve_git
from tests.mirror.servers import SshServer, backend, needs_sshd, serve_ssh
from tests.mirror.servers import serving as serving_http
from tests.net.stage import PATIENCE_MS


def test_commits_are_reported_with_their_pipeline_and_remembered_when_acknowledged(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path), interval_ms=60_000)
            first = repository.git("rev-parse", "HEAD")
            async with observing(config):
                said = await at_desk.hears(first)
                assert said == CommitSeen(
                    mid=f"push:{repository.path}:refs/heads/main:{first}",
                    repo=str(repository.path),
                    ref="refs/heads/main",
                    sha=first,
                    event="push",
                    message="First",
                    author="Ada",
                    pipeline=PIPELINE,
                    pipeline_file=".surveil.yml",
                    base="refs/heads/main",
                )
                # The next poll in its turn is a minute away: only the files can tell.
                second = repository.commit("Second")
                await at_desk.hears(second)
                repository.git("branch", "group/member")
                await at_desk.hears(second, ref="refs/heads/group/member")
                repository.commit("Third")
                repository.git("branch", "--force", "group/member")
                third = repository.git("rev-parse", "HEAD")
                await at_desk.hears(third, ref="refs/heads/group/member")
                await at_desk.hears(third)
                records = Records(tmp_path / "data" / "refs")
                wanted = {"refs/heads/main": third, "refs/heads/group/member": third}
                async with asyncio.timeout(PATIENCE_MS / 1000):
                    # Nothing tells of a file but a look at it.
                    while (known := records.read(str(repository.path))) is None or dict(known.refs) != wanted:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            assert at_desk.watching[0].repos[0].repo == str(repository.path)

    run(story())


def test_a_hint_shows_a_push_without_waiting_for_the_poll(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "source")
    repository.commit("First")

    async def story(address: str) -> None:
        async with desk() as at_desk:
            repo = f"{address}/source/.git"
            async with observing(configure(at_desk, tmp_path / "data", repo, interval_ms=3_600_000)):
                await at_desk.hears(repository.git("rev-parse", "HEAD"))
                await at_desk.hints("https://example.org/of/nobody")
                second = repository.commit("Second")
                await at_desk.hints(repo)
                await at_desk.hears(second)
            assert at_desk.watching[0].looks

    with serve_git(tmp_path) as address:
        run(story(address))


def test_a_commit_is_given_to_runners_even_after_it_was_forced_away(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "source")
    (repository.path / ".surveil.yml").write_text(PIPELINE)
    (repository.path / "noise").write_bytes(os.urandom(CHUNK_BYTES_MAX))
    repository.commit("First")

    async def story(address: str) -> None:
        async with desk() as at_desk:
            repo = f"{address}/source/.git"
            async with observing(configure(at_desk, tmp_path / "data", repo)):
                sha = repository.git("rev-parse", "HEAD")
                await at_desk.hears(sha)
                repository.git("commit", "--quiet", "--amend", "--message=Rewritten")
                repository.git("reflog", "expire", "--expire=now", "--all")
                repository.git("gc", "--quiet", "--prune=now")
                want = Want(id=5, runner="k" * 40, repo=repo, sha=sha, have=(), at=0)
                first = await at_desk.asks(want)
                second = await at_desk.asks(replace(want, at=CHUNK_BYTES_MAX))
                assert (first.id, first.runner, first.problem) == (5, "k" * 40, "")
                here = Mirror(tmp_path / "here", parse("/nowhere", "/"))
                with TemporaryFile() as file:
                    assert file.write(first.data + second.data) == first.total
                    file.flush()
                    await asyncio.to_thread(take_bundle, here, sha, file)
                assert here.read(sha).message == "First"
                other = await at_desk.asks(replace(want, repo="/srv/other"))
                assert other.problem == "this observer does not watch /srv/other"

    with serve_git(tmp_path) as address:
        run(story(address))


def test_a_ref_that_left_its_history_is_told_from_one_that_grew(
    repository: Repository, tmp_path: Path, said: Callable[[str], list[str]]
) -> None:
    async def story() -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", str(repository.path))):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            await at_desk.hears(repository.commit("Second"))
            repository.git("commit", "--quiet", "--amend", "--allow-empty", "--message=Rewritten")
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            await at_desk.until(lambda: len(said("ref ")) == 3)
        assert said("ref ") == ["ref new", "ref moved", "ref forced"]

    run(story())


def test_mirrors_are_tidied_again_and_again_and_a_failure_is_no_misfortune(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidied: list[str] = []

    def tidy(mirror: Mirror) -> None:
        tidied.append(mirror.address.key)
        if len(tidied) == 1:
            raise MirrorError("a mirror in use", Trouble.TIMEOUT)

    monkeypatch.setattr(Mirror, "tidy", tidy)
    monkeypatch.setattr("surveil.observer.TIDY_MS", 50)

    async def story() -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", str(repository.path))):
            async with asyncio.timeout(PATIENCE_MS / 1000):
                while len(tidied) < 2:  # noqa: ASYNC110  # Tidying has no event.
                    await asyncio.sleep(0.02)
            await at_desk.hears(repository.commit("After that"))
        assert set(tidied) == {str(repository.path)}

    run(story())


def test_what_could_not_be_written_down_is_written_down_later(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refusals = Records.write, iter([True, True])

    def refusing(records: Records, known: Record) -> None:
        if next(refusals, False):
            raise InfrastructureError("the disk is full")
        write(records, known)

    monkeypatch.setattr(Records, "write", refusing)
    monkeypatch.setattr("surveil.hands.remembering.WRITE_AGAIN_MS", 50)

    async def story() -> None:
        async with desk() as at_desk:
            sha = repository.git("rev-parse", "HEAD")
            async with observing(configure(at_desk, tmp_path / "data", str(repository.path))):
                await at_desk.hears(sha)
                records = Records(tmp_path / "data" / "refs")
                async with asyncio.timeout(PATIENCE_MS / 1000):
                    # Nothing tells of a file but a look at it.
                    while (known := records.read(str(repository.path))) is None or known.refs != {  # noqa: ASYNC110
                        "refs/heads/main": sha
                    }:
                        await asyncio.sleep(0.02)

    run(story())


def test_after_a_restart_only_what_is_new_is_reported(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            first = repository.git("rev-parse", "HEAD")
            async with observing(config):
                await at_desk.hears(first)
                records = Records(tmp_path / "data" / "refs")
                await at_desk.until(
                    lambda: (
                        (known := records.read(str(repository.path))) is not None
                        and known.refs == {"refs/heads/main": first}
                    )
                )
            second = repository.commit("While nobody looked")
            at_desk.heard.clear()
            async with observing(config):
                await at_desk.hears(second)
            assert {said.sha for said in at_desk.heard} == {second}

    run(story())


def test_what_was_not_acknowledged_is_reported_again_by_the_next_observer(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            at_desk.answers = False
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            sha = repository.git("rev-parse", "HEAD")
            for _ in range(2):
                at_desk.heard.clear()
                async with observing(config):
                    await at_desk.hears(sha)

    run(story())


def test_a_report_is_repeated_until_it_is_acknowledged(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            at_desk.answers = False
            sha = repository.git("rev-parse", "HEAD")
            async with observing(configure(at_desk, tmp_path / "data", str(repository.path))):
                await at_desk.hears(sha)
                # A commit that was reported stays reported, even when it is forced away and gone.
                repository.git("commit", "--quiet", "--amend", "--message=Rewritten")
                repository.git("reflog", "expire", "--expire=now", "--all")
                repository.git("gc", "--quiet", "--prune=now")
                at_desk.heard.clear()
                await at_desk.hears(sha)

    run(story())


def test_a_pipeline_is_made_up_where_there_is_none_and_its_problems_are_told(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", str(repository.path))):
            (repository.path / ".surveil.yml").unlink()
            nothing = await at_desk.hears(repository.commit("Nothing to go by"))
            assert (nothing.pipeline, bool(nothing.problem)) == (None, True)
            made_up = await at_desk.hears(repository.commit("Make", Makefile="test:\n\ttrue\n"))
            assert made_up.pipeline is not None
            assert "make" in made_up.rule.lower()
            huge = await at_desk.hears(repository.commit("Huge", narwhal__yml="# " + "x" * 300_000))
            assert (huge.pipeline, huge.pipeline_file) == (None, "narwhal.yml")
            assert "300002" in huge.problem
            (repository.path / ".surveil.yml").write_bytes(b"\xff\xfe")
            binary = await at_desk.hears(repository.commit("Binary"))
            assert "UTF-8" in binary.problem
            (repository.path / ".surveil.yml").unlink()
            (repository.path / ".surveil.yml").symlink_to("/etc/passwd")
            link = await at_desk.hears(repository.commit("Link"))
            assert "link" in link.problem

    run(story())


def test_tags_become_their_commits_and_a_tag_of_a_file_becomes_nothing(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path), refs=("main", "tags/*"))
            sha = repository.git("rev-parse", "HEAD")
            async with observing(config):
                await at_desk.hears(sha)
                repository.git("tag", "file", "HEAD:.surveil.yml")
                repository.git("tag", "--annotate", "--message=One", "v1")
                said = await at_desk.hears(sha, ref="refs/tags/v1")
                assert said.mid.endswith(repository.git("rev-parse", "refs/tags/v1"))
                records = Records(tmp_path / "data" / "refs")

                def remembered() -> set[str]:
                    known = records.read(str(repository.path))
                    return set() if known is None else set(known.refs)

                await at_desk.until(lambda: {"refs/tags/file", "refs/tags/v1"} <= remembered())
            assert "refs/tags/file" not in {said.ref for said in at_desk.heard}

    run(story())


@pytest.mark.parametrize("remote", [False, True])
def test_a_pull_request_comes_with_the_pipeline_of_the_base_branch(
    repository: Repository, tmp_path: Path, *, remote: bool
) -> None:
    ours = PIPELINE + "# changed\n"
    base = repository.commit("Ours", **{".surveil__yml": ours})
    repository.git("checkout", "--quiet", "-b", "fork")
    fork = repository.commit("Theirs", **{".surveil__yml": PIPELINE.replace("true", "env"), "theirs__txt": "t"})
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "--quiet", "-D", "fork")

    async def story(repo: str) -> None:
        async with desk() as at_desk:
            refs = ("main", "refs/pull/*/head")
            async with observing(configure(at_desk, tmp_path / "data", repo, refs=refs)):
                known = await at_desk.hears(base)
                assert (known.trusted, known.base, known.event) == (True, "refs/heads/main", "push")
                repository.git("update-ref", "refs/pull/5/head", fork)
                said = await at_desk.hears(fork, ref="refs/pull/5/head")
        assert said == replace(
            known,
            mid=f"push:{repo}:refs/pull/5/head:{fork}",
            ref="refs/pull/5/head",
            sha=fork,
            message="Theirs",
            event="pull_request",
            trusted=False,
            paths=(".surveil.yml", "theirs.txt"),
        )
        assert said.pipeline == ours

    with serve_git(tmp_path) as address:
        run(story(f"{address}/source/.git" if remote else str(repository.path)))


@needs_sshd
def test_commits_are_seen_over_every_transport(repository: Repository, tmp_path: Path) -> None:
    async def story(ssh: SshServer, http: str, plain: str) -> None:
        login = tmp_path / "credentials"
        login.write_text(http.replace("//", "//ada:s%40cret@") + "\n")
        login.chmod(0o600)
        repos = [f"{ssh.address}{repository.path}", f"{http}/source/.git", f"{plain}/source/.git", str(repository.path)]
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", *repos)
            async with observing(replace(config, ssh_config=ssh.access.ssh_config, credentials=login)):
                first = repository.git("rev-parse", "HEAD")
                await at_desk.until(lambda: _seen(at_desk, first) == set(repos))
                second = repository.commit("Second")
                await at_desk.until(lambda: _seen(at_desk, second) == set(repos))
                assert {said.pipeline for said in at_desk.heard} == {PIPELINE}
        assert [
            problem for watching in at_desk.watching for watched in watching.repos if (problem := watched.problem)
        ] == []

    with (
        serve_ssh(tmp_path / "ssh") as ssh,
        serving_http(backend(tmp_path, login="Basic YWRhOnNAY3JldA==")) as http,
        serve_git(tmp_path) as plain,
    ):
        run(story(ssh, http, plain))


def _seen(at_desk: Desk, sha: str) -> set[str]:
    """The repositories whose report of the commit was heard."""
    return {said.repo for said in at_desk.heard if said.sha == sha}


def test_a_remote_that_hangs_delays_neither_another_repository_nor_the_end(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hanging = [f"git://127.0.0.1:{silent.getsockname()[1]}/{number}" for number in range(20)]
            async with desk() as at_desk:
                config = configure(at_desk, tmp_path / "data", *hanging, str(repository.path))
                async with observing(config):
                    await at_desk.hears(repository.git("rev-parse", "HEAD"))
                    await at_desk.hears(repository.commit("Second"))

    run(story())


def test_a_repository_that_goes_and_comes_back_is_told_and_watched_again(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", str(repository.path))):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
            repository.path.rename(tmp_path / "away")
            await at_desk.until(lambda: bool(at_desk.watching[-1].repos[0].problem))
            (tmp_path / "away").rename(repository.path)
            await at_desk.until(lambda: at_desk.watching[-1].repos[0].problem is None)
            await at_desk.hears(repository.commit("Back"))

    run(story())


def test_a_remote_is_watched_through_its_address(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        with serve_git(tmp_path) as daemon:
            async with desk() as at_desk:
                config = configure(at_desk, tmp_path / "data", f"{daemon}/source/.git")
                async with observing(config):
                    await at_desk.hears(repository.git("rev-parse", "HEAD"))
                    said = await at_desk.hears(repository.commit("Second"))
                    assert said.pipeline == PIPELINE
                    repository.git("update-ref", b"refs/heads/caf\xe9", said.sha)
                    await at_desk.hears(said.sha, ref=r"refs/heads/caf\xe9")

    run(story())


def test_damaged_records_are_put_aside_and_the_repository_is_met_anew(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            path = Records(tmp_path / "data" / "refs").path(str(repository.path))
            for damage in (b"", b"{", b'{"version": 99}', b"[]", b'{"version": 1, "repo": 3}'):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(damage)
                at_desk.heard.clear()
                async with observing(config):
                    await at_desk.hears(repository.git("rev-parse", "HEAD"))
                assert path.with_suffix(".damaged").read_bytes() == damage

    run(story())


def test_what_is_said_of_all_repositories_fits_in_one_message(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        gone = [make_repository(tmp_path / f"gone-{number}").path for number in range(9)]
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path), *map(str, gone))
            async with observing(config):
                await at_desk.hears(repository.git("rev-parse", "HEAD"))
                assert len(at_desk.watching[-1].repos) == 1 + len(gone)
                monkeypatch.setattr("surveil.observer.WATCHING_BYTES_MAX", 3 * len(str(gone[0])) + 200)
                for path in gone:
                    path.rename(path.with_suffix(".away"))
                await at_desk.until(lambda: any(watched.problem for watched in at_desk.watching[-1].repos))
                await at_desk.until(lambda: len(at_desk.watching[-1].repos) <= 3)
                assert at_desk.watching[-1].repos[0].repo == str(repository.path)

    run(story())


def test_two_observers_do_not_share_a_data_folder(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            async with observing(config):
                with pytest.raises(InfrastructureError, match="is used by an observer"):
                    async with observing(config):
                        pass

    run(story())


def test_an_observer_of_nothing_is_told_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            with pytest.raises(UsageError, match="needs at least one repository"):
                async with observing(configure(at_desk, tmp_path / "data")):
                    pass

    run(story())


def start(config: ObserverConfig) -> "subprocess.Popen[bytes]":
    program = (
        "import sys, pathlib; from surveil.config import ObserverConfig; from surveil.observer import main;"
        "sys.exit(main(ObserverConfig(data=pathlib.Path(sys.argv[1]), repos=(sys.argv[2],), interval_ms=100)))"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(config.data), config.repos[0]], start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_everything_acknowledged_on_disk(
    repository: Repository, tmp_path: Path, number: signal.Signals
) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            sha = repository.git("rev-parse", "HEAD")
            process = start(config)
            try:
                await at_desk.hears(sha)
                os.kill(process.pid, number)
                assert await asyncio.to_thread(process.wait, 10) == 0
            finally:
                process.kill()
                process.wait(10)
            known = Records(tmp_path / "data" / "refs").read(str(repository.path))
            assert known is not None

    run(story())


def test_a_killed_observer_loses_no_commit(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk:
            config = configure(at_desk, tmp_path / "data", str(repository.path))
            sha = repository.git("rev-parse", "HEAD")
            for number in range(5):
                process = start(config)
                try:
                    await at_desk.hears(sha)
                    sha = repository.commit(f"Number {number}")
                finally:
                    process.kill()
                    process.wait(10)
            process = start(config)
            try:
                await at_desk.hears(sha)
            finally:
                process.kill()
                process.wait(10)

    run(story())


def test_the_data_folder_is_what_is_left(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with desk() as at_desk, observing(configure(at_desk, tmp_path / "data", str(repository.path))):
            await at_desk.hears(repository.git("rev-parse", "HEAD"))
        assert {path.name for path in (tmp_path / "data").iterdir()} == {
            "keys",
            "dispatcher.json",
            "lock",
            "refs",
            "mirrors",
        }
        assert [path for path in (tmp_path / "data" / "refs").iterdir() if path.suffix != ".json"] == []

    run(story())
