"""What `up` says about its parts, and what it tells them."""

import asyncio
from pathlib import Path

import pytest

from surveil.client import exit_code_of
from surveil.config import UpConfig
from surveil.core.policy import Policy
from surveil.errors import ExitCode, UsageError
from surveil.fleet.supervise import Change, News
from surveil.up import main
from surveil.up.tree import Tree, sentence_about, settings_for_children, settings_of_dispatcher, written_of


@pytest.mark.parametrize(
    ("news", "sentence"),
    [
        (News(part="observer", change=Change.STARTED, pid=7), ""),
        (News(part="observer", change=Change.STOPPED, pid=7, exit_code=0), ""),
        (News(part="local-1", change=Change.STARTED, pid=7, again=True), "local-1 runs again (process 7)."),
        (
            News(part="dispatcher", change=Change.ENDED, pid=7, exit_code=-9, sentence="old words", again_ms=400),
            "dispatcher was ended by SIGKILL; it is started again in 0.4 s.",
        ),
        (
            News(part="local-1", change=Change.ENDED, pid=7, exit_code=7, sentence="The disk is full.", again_ms=200),
            "local-1 ended with exit code 7 (The disk is full.); it is started again in 0.2 s.",
        ),
        (
            News(part="local-1", change=Change.ENDED, exit_code=4, sentence="Nobody answers.", again_ms=200),
            "local-1 could not be started (Nobody answers.); it is started again in 0.2 s.",
        ),
        (
            News(part="local-1", change=Change.GIVEN_UP, pid=7, exit_code=5, sentence="The key was revoked."),
            "local-1 is given up: The key was revoked.",
        ),
    ],
)
def test_people_are_told_what_they_should_know_of_a_part(news: News, sentence: str) -> None:
    assert sentence_about(news) == sentence


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (News(part="observer", change=Change.STARTED, pid=7), "(started, process 7)"),
        (News(part="observer", change=Change.ENDED, pid=7, exit_code=0), "(ended, process 7, exit code 0)"),
        (News(part="local-1", change=Change.ENDED, exit_code=4, sentence="No."), "(ended, exit code 4) No."),
    ],
)
def test_of_each_part_is_written_down_what_is_known(news: News, line: str) -> None:
    assert written_of(news) == line


def test_the_parts_are_told_everything_and_read_no_file(tmp_path: Path) -> None:
    config = UpConfig(
        data=tmp_path, log_level="debug", policy=Policy(lease_ms=1500), database="sqlite:////x/y.db",
        sandbox="required", expose=(Path("/srv/a"), Path("/srv/b")), memory_bytes=512 * 1024**2, processes=100,
        ssh_config=Path("/srv/ssh"), credentials=Path("/srv/tokens"), engine="unix:///srv/engine.sock",
    )  # fmt: skip
    children = settings_for_children(config, tmp_path)
    assert {name: value for name, value in children.items() if name != "SURVEIL_CONFIG"} == {
        "SURVEIL_LOG_FORMAT": "auto",
        "SURVEIL_LOG_LEVEL": "debug",
        "SURVEIL_SANDBOX": "required",
        "SURVEIL_EXPOSE": "/srv/a\n/srv/b",
        "SURVEIL_MEMORY": "512MiB",
        "SURVEIL_PROCESSES": "100",
        "SURVEIL_SSH_CONFIG": "/srv/ssh",
        "SURVEIL_CREDENTIALS": "/srv/tokens",
        "SURVEIL_ENGINE": "unix:///srv/engine.sock",
    }
    assert Path(children["SURVEIL_CONFIG"]).read_text().startswith("#")
    dispatcher = settings_of_dispatcher(config)
    assert dispatcher["SURVEIL_POLICY_LEASE"] == "1500ms"
    assert dispatcher["SURVEIL_POLICY_HEARTBEAT"] == "2s"
    assert dispatcher["SURVEIL_DATABASE"] == "sqlite:////x/y.db"


@pytest.mark.parametrize(
    ("once", "news", "failed"),
    [
        # It will not help a single build: whoever waits for that would wait for ever.
        (True, News(part="local-1", change=Change.GIVEN_UP, pid=7, exit_code=5, sentence="No."), "stay up: local-1 is"),
        (True, News(part="local-1", change=Change.ENDED, pid=7, exit_code=7, again_ms=6_400), "stay up: local-1 ended"),
        (True, News(part="local-1", change=Change.ENDED, pid=7, exit_code=7, again_ms=3_200), ""),
        (False, News(part="local-1", change=Change.ENDED, pid=7, exit_code=7, again_ms=30_000), ""),
        (False, News(part="local-1", change=Change.GIVEN_UP, pid=7, exit_code=5), ""),
        (True, News(part="observer", change=Change.GIVEN_UP, pid=7, exit_code=5), ""),
        # A dispatcher that cannot be started says so itself, and with its own exit code.
        (False, News(part="dispatcher", change=Change.ENDED, exit_code=7, sentence="The port is taken."), "is taken"),
        # One that was killed says nothing, and is started again.
        (True, News(part="dispatcher", change=Change.ENDED, pid=7, exit_code=-9, again_ms=200), ""),
    ],
)
def test_what_cannot_be_kept_running_ends_what_waits_for_it(
    tmp_path: Path, *, once: bool, news: News, failed: str
) -> None:
    async def scene() -> str:
        said: list[str] = []
        config = UpConfig(data=tmp_path, once=once)
        tree = Tree(config, tmp_path, "tcp://127.0.0.1:0", lambda sentence, _: said.append(sentence))
        tree._tell(news)  # noqa: SLF001  # Its supervisor calls it.
        waiting = asyncio.create_task(tree.until_failed())
        done, _ = await asyncio.wait([waiting], timeout=0)
        if not done:
            done, _ = await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await tree.stop()
        return str(waiting.result()) if done else ""

    found = asyncio.run(scene())
    assert failed in found
    assert bool(failed) == bool(found)


def test_once_without_a_runner_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="--runners must be at least 1"):
        main(UpConfig(once=True, runners=0))


@pytest.mark.parametrize(
    ("state", "complaints", "code"),
    [
        ("passed", [], ExitCode.OK),
        ("failed", [], ExitCode.BUILD_FAILED),
        ("errored", [], ExitCode.INFRASTRUCTURE),
        ("errored", [".surveil.yml:1:1: no"], ExitCode.INVALID),
        ("cancelled", [], ExitCode.CANCELLED),
    ],
)
def test_each_verdict_has_its_exit_code(state: str, complaints: list[str], code: ExitCode) -> None:
    assert exit_code_of({"state": state, "complaints": complaints}) is code
