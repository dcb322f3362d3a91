"""Local runners kept alive: how they are started, enrolled and replaced. The runner is played by a shell script."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from surveil.fleet import spawner
from surveil.fleet.spawner import Spawner
from surveil.fleet.supervise import Change, News

# Says how it was started, and keeps a key as an enrolled runner does.
RUNNER = """
trap 'echo detached; exit 0' TERM
trap 'now=${now}x; [ "$now" != xx ] || { echo stopped; exit 0; }' INT
while [ "$1" != --data ]; do shift; done
mkdir -p "$2/keys"
echo "$4 join=$SURVEIL_JOIN at=$SURVEIL_DISPATCHER level=$SURVEIL_LOG_LEVEL $5 $6 $7 $8"
touch "$2/dispatcher.json" "$2/keys/runner.key"
[ ! -e "$2/refused" ] || { rm "$2/refused"; echo 'surveil: The key is not known.'; exit 5; }
[ ! -e "$2/die" ] || { rm "$2/die"; exit 7; }
while :; do sleep 0.05; done
"""


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: Path, wanted: int = 1) -> None:
        monkeypatch.setattr(spawner, "surveil_command", lambda *words: ("/bin/sh", "-c", RUNNER, *words))
        self.lines: list[str] = []
        self.news: list[News] = []
        self.tokens = 0
        self._more = asyncio.Event()
        self.spawner = Spawner(
            wanted,
            data,
            "tcp://127.0.0.1:7300",
            self._token,
            2,
            labels=["fast"],
            settings={"SURVEIL_LOG_LEVEL": "debug"},
            on_line=self._line,
            on_news=self._tell,
        )
        self.running = asyncio.create_task(self.spawner.run())

    async def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"

    def _line(self, _name: str, line: str) -> None:
        self.lines.append(line)
        self._more.set()

    def _tell(self, news: News) -> None:
        self.news.append(news)
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def stop(self, *, end_jobs: bool = False) -> None:
        await self.spawner.stop(end_jobs=end_jobs)
        await self.running


def test_each_runner_has_its_own_name_folder_and_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene() -> tuple[list[str], tuple[str, ...]]:
        stage = Stage(monkeypatch, tmp_path, wanted=2)
        await stage.until(lambda: len(stage.lines) == 2)
        names = stage.spawner.names
        await stage.stop()
        return stage.lines, names

    lines, names = asyncio.run(scene())
    assert names == ("local-1", "local-2")
    assert sorted(line.split(" join=")[0] for line in lines[:2]) == ["local-1", "local-2"]
    assert {line.split()[1] for line in lines[:2]} == {"join=token-1", "join=token-2"}
    assert {line.split(" at= ")[1] for line in lines[:2]} == {"level=debug --slots 2 --label fast"}
    assert lines[2:] == ["detached", "detached"]
    assert sorted(path.name for path in (tmp_path / "runners").iterdir()) == ["local-1", "local-2"]


def test_a_runner_that_is_enrolled_starts_again_without_a_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scene() -> tuple[list[str], int]:
        folder = tmp_path / "runners" / "local-1"
        folder.mkdir(parents=True)
        (folder / "die").touch()
        stage = Stage(monkeypatch, tmp_path)
        await stage.until(lambda: len(stage.lines) == 2)
        await stage.stop()
        return stage.lines, stage.tokens

    lines, tokens = asyncio.run(scene())
    assert tokens == 1
    assert lines[0].startswith("local-1 join=token-1 at= ")
    assert lines[1].startswith("local-1 join= at=tcp://127.0.0.1:7300 ")


def test_a_runner_whose_key_is_not_known_any_more_enrols_anew_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "runners" / "local-1"

    async def scene() -> tuple[list[str], list[Change]]:
        folder.mkdir(parents=True)
        (folder / "keys").mkdir()
        for name in ("refused", "dispatcher.json", "keys/runner.key"):
            (folder / name).write_text("of the first")
        stage = Stage(monkeypatch, tmp_path)
        await stage.until(lambda: len([line for line in stage.lines if "join=" in line]) == 2)
        await stage.stop()
        return stage.lines, [news.change for news in stage.news]

    lines, changes = asyncio.run(scene())
    assert lines[0].startswith("local-1 join= at=tcp://127.0.0.1:7300 ")
    assert lines[2].startswith("local-1 join=token-1 ")
    assert (folder / "dispatcher.json").read_text() == "of the first", "what it joins may be another installation"
    assert changes == [Change.STARTED, Change.ENDED, Change.STARTED, Change.STOPPED]


def test_jobs_end_with_their_runner_when_that_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scene() -> str:
        stage = Stage(monkeypatch, tmp_path)
        await stage.until(lambda: len(stage.lines) == 1)
        await stage.stop(end_jobs=True)
        return stage.lines[-1]

    assert asyncio.run(scene()) == "stopped"
