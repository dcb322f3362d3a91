"""A supervisor and real processes: started, replaced, given up, stopped in order."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from surveil.errors import UnreachableError
from surveil.fleet.supervise import Change, News, Part, Supervisor, how_it_ended, last_sentence

FOREVER = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


def part(name: str, script: str, prepare: Callable[[], Awaitable[Mapping[str, str]]] | None = None) -> Part:
    command = ("/bin/sh", "-c", script)
    return Part(name=name, command=command) if prepare is None else Part(name=name, command=command, prepare=prepare)


class Stage:
    """A supervisor, what it told, and waiting for it to tell more."""

    def __init__(self, *parts: Part) -> None:
        self.news: list[News] = []
        self.lines: list[tuple[str, str]] = []
        self._more = asyncio.Event()
        self.supervisor = Supervisor(on_line=self._line, on_news=self._tell)
        for each in parts:
            self.supervisor.want(each)
        self.running = asyncio.create_task(self.supervisor.run())

    def _tell(self, news: News) -> None:
        self.news.append(news)
        self._more.set()

    def _line(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._more.clear()
                await self._more.wait()

    async def stop(self, *order: list[str]) -> None:
        await self.supervisor.stop(*order)
        await self.running

    def changes(self) -> list[tuple[str, Change]]:
        return [(news.part, news.change) for news in self.news]


def test_a_part_that_dies_is_started_again_and_everybody_is_told() -> None:
    async def scene() -> list[News]:
        stage = Stage(part("a", FOREVER))
        await stage.until(lambda: ("a", "ready") in stage.lines)
        first = stage.supervisor.pid_of("a")
        assert first is not None
        signal.pidfd_send_signal(_pidfd(first), signal.SIGKILL)
        await stage.until(lambda: stage.lines.count(("a", "ready")) == 2)
        second = stage.supervisor.pid_of("a")
        await stage.stop()
        assert stage.supervisor.pid_of("a") is None
        assert [news.pid for news in stage.news] == [first, first, second, second]
        return stage.news

    news = asyncio.run(scene())
    assert [each.change for each in news] == [Change.STARTED, Change.ENDED, Change.STARTED, Change.STOPPED]
    assert (news[1].exit_code, news[1].again_ms, news[1].sentence) == (-signal.SIGKILL, 200, "ready")
    assert news[3].exit_code == 0


def test_what_a_part_left_running_does_not_meet_its_successor(tmp_path: Path) -> None:
    """As the group of a dispatcher that was killed could hold on to its port."""
    script = f"[ -e {tmp_path}/pid ] && exec sleep 600; sleep 600 > /dev/null 2>&1 & echo $! > {tmp_path}/pid; exit 1"

    async def scene() -> None:
        stage = Stage(part("a", script))
        await stage.until(lambda: ("a", Change.STARTED) in stage.changes()[1:])
        state = state_of(tmp_path / "pid")
        await stage.stop()
        # A zombie whose new parent has not reaped it yet holds on to nothing.
        assert state in {"gone", "Z", "X"}

    asyncio.run(scene())


def state_of(note: Path) -> str:
    """How the process stands whose number is in the file."""
    try:
        return Path(f"/proc/{note.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def test_a_part_that_is_wrongly_used_is_given_up_with_its_own_sentence() -> None:
    async def scene() -> list[News]:
        stage = Stage(part("a", "echo 'surveil: There is no such thing.' >&2; echo later; exit 2"))
        await stage.until(lambda: ("a", Change.GIVEN_UP) in stage.changes())
        await stage.stop()
        return stage.news

    news = asyncio.run(scene())
    assert [each.change for each in news] == [Change.STARTED, Change.GIVEN_UP]
    assert (news[1].exit_code, news[1].sentence, news[1].again_ms) == (2, "There is no such thing.", None)


def test_the_pauses_between_tries_grow() -> None:
    async def scene() -> list[int | None]:
        stage = Stage(part("a", "exit 7"))
        await stage.until(lambda: stage.changes().count(("a", Change.ENDED)) == 3)
        await stage.stop()
        return [news.again_ms for news in stage.news if news.change is Change.ENDED]

    assert asyncio.run(scene()) == [200, 400, 800]


def test_a_preparation_that_fails_is_a_start_that_failed() -> None:
    tries: list[int] = []

    async def prepare() -> Mapping[str, str]:
        tries.append(1)
        if len(tries) == 1:
            raise UnreachableError("Nobody is there.")
        return {"SURVEIL_JOIN": "token"}

    async def scene() -> tuple[list[tuple[str, Change]], News]:
        stage = Stage(part("a", "echo got $SURVEIL_JOIN; " + FOREVER, prepare))
        await stage.until(lambda: ("a", "got token") in stage.lines)
        await stage.stop()
        return stage.changes(), stage.news[0]

    changes, first = asyncio.run(scene())
    assert changes == [("a", Change.ENDED), ("a", Change.STARTED), ("a", Change.STOPPED)]
    assert (first.sentence, first.exit_code, first.pid) == ("Nobody is there.", 4, None)


def test_parts_stop_in_the_order_that_was_asked_for() -> None:
    async def scene() -> list[tuple[str, Change]]:
        stage = Stage(part("a", FOREVER), part("b", FOREVER), part("c", FOREVER))
        await stage.until(lambda: len(stage.lines) == 3)
        await stage.stop(["b"], ["a"])
        return [change for change in stage.changes() if change[1] is Change.STOPPED]

    assert asyncio.run(scene()) == [("b", Change.STOPPED), ("a", Change.STOPPED), ("c", Change.STOPPED)]


def test_a_part_that_is_stopped_alone_stays_down_and_the_others_go_on() -> None:
    async def scene() -> list[tuple[str, Change]]:
        stage = Stage(part("a", FOREVER), part("b", FOREVER))
        await stage.until(lambda: len(stage.lines) == 2)
        await stage.supervisor.stop_only("a")
        await stage.supervisor.stop_only("unknown")
        assert stage.supervisor.pid_of("a") is None
        assert stage.supervisor.pid_of("b") is not None
        await stage.stop(["a"], ["b"])
        return stage.changes()

    assert asyncio.run(scene())[2:] == [("a", Change.STOPPED), ("b", Change.STOPPED)]


def test_what_is_killed_at_the_end_is_not_started_again() -> None:
    async def scene() -> list[tuple[str, Change]]:
        stage = Stage(part("a", FOREVER))
        await stage.until(lambda: ("a", "ready") in stage.lines)
        stage.supervisor.kill()
        await stage.until(lambda: len(stage.news) > 1)
        await stage.stop()
        return stage.changes()

    assert asyncio.run(scene()) == [("a", Change.STARTED), ("a", Change.STOPPED)]


def test_a_mistake_in_the_life_of_a_part_is_not_kept_quiet() -> None:
    async def prepare() -> Mapping[str, str]:
        raise LookupError("a mistake")

    async def scene() -> None:
        stage = Stage(part("a", FOREVER, prepare))
        await stage.running

    with pytest.raises(LookupError, match="a mistake"):
        asyncio.run(scene())


def test_stopping_is_quick_for_a_part_that_waits_for_its_next_try() -> None:
    async def scene() -> list[tuple[str, Change]]:
        stage = Stage(part("a", "exit 7"))
        await stage.until(lambda: ("a", Change.ENDED) in stage.changes())
        await stage.stop(["a", "unknown"])
        return stage.changes()

    assert asyncio.run(scene())[:2] == [("a", Change.STARTED), ("a", Change.ENDED)]


def test_a_part_that_is_wanted_anew_starts_the_new_way_next_time(tmp_path: Path) -> None:
    async def scene() -> list[tuple[str, str]]:
        stage = Stage(part("a", f"echo old; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 7"))
        await stage.until(lambda: ("a", "old") in stage.lines)
        stage.supervisor.want(part("a", "echo new; " + FOREVER))
        (tmp_path / "go").touch()
        await stage.until(lambda: ("a", "ready") in stage.lines)
        await stage.stop()
        return stage.lines

    assert asyncio.run(scene()) == [("a", "old"), ("a", "new"), ("a", "ready")]


def test_ends_are_told_in_words() -> None:
    assert how_it_ended(-9) == "was ended by SIGKILL"
    assert how_it_ended(-200) == "was ended by signal 200"
    assert how_it_ended(7) == "ended with exit code 7"
    assert how_it_ended(None) == "did not start"


def test_the_last_words_of_a_part_are_its_last_sentence() -> None:
    assert last_sentence([]) == ""
    assert last_sentence(["surveil: first", "surveil: sec\x1bond", "noise"]) == "sec\N{REPLACEMENT CHARACTER}ond"
    assert last_sentence(["one", "two"]) == "two"


def _pidfd(pid: int) -> int:
    return os.pidfd_open(pid)
