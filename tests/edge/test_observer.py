"""One observer watches all edge repositories at once: of each comes what the table says, and nobody else waits for it.

`EDGES=full python -m pytest tests/edge` takes the large ones as large as their names say, here and in `test_whole`.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surveil.mirror.command import run as run_git
from surveil.mirror.mirror import Mirror
from surveil.protocol import CommitSeen
from tests.edge.catalogue import EDGES, REPOSITORIES, Made, make_edges, nothing_touched
from tests.edge.fates import Edge, Fate, Unread
from tests.edge.outcomes import fate_of, fits, has_come
from tests.edge.watching import by_name, wanted_scale
from tests.integration.desk import PIPELINE, Desk, configure, desk, observing
from tests.mirror.leaks import nothing_left
from tests.mirror.repositories import make_repository, serve_git

PATIENCE_S = 150
JUDGES = 4
HANG_S = 4
"""The limit for repositories that hang; enough for an honest look on a busy machine."""

pytestmark = pytest.mark.timeout(400)


class Watch:
    """What an observer says of repositories, each known by the name that the observer has for it."""

    def __init__(self, at_desk: Desk, made: Mapping[str, Made], data: Path) -> None:
        self.at_desk = at_desk
        self.made = made
        self.data = data

    def problem(self, repo: str) -> str:
        if not self.at_desk.watching:
            return ""
        return next((each.problem or "" for each in self.at_desk.watching[-1].repos if each.repo == repo), "")

    def said(self, repo: str) -> list[CommitSeen]:
        return [seen for seen in self.at_desk.heard if seen.repo == repo]

    async def sees(self, wanted: Mapping[str, Fate]) -> None:
        """Wait for these fates, and find no other."""

        def missing() -> list[str]:
            return [
                self.made[repo].edge.name
                for repo, fate in wanted.items()
                if not has_come(fate, self.said(repo), self.problem(repo))
            ]

        try:
            async with asyncio.timeout(PATIENCE_S):
                while missing():  # noqa: ASYNC110 - two sources, of which none rings
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"nothing came of {missing()}")
        # Several at a time: as long as it takes, the observer goes on looking at all repositories again and again.
        with ThreadPoolExecutor(JUDGES) as judges:
            loop = asyncio.get_running_loop()
            judged = await asyncio.gather(*(loop.run_in_executor(judges, self.fate, repo) for repo in wanted))
        found = dict(zip(wanted, judged, strict=True))
        wrong = [
            f"{self.made[repo].edge.name}: {found[repo]}, and not {fate}"
            for repo, fate in wanted.items()
            if not fits(found[repo], fate)
        ]
        assert not wrong, "\n".join(wrong)

    def fate(self, repo: str) -> Fate:
        return fate_of(self.said(repo), self.problem(repo), self.data)


def chosen(*, hangs: bool, served: bool) -> list[Edge]:
    return [edge for edge in EDGES if edge.hangs is hangs and (edge.is_served or not served)]


async def guarded(folder: Path, edges: list[Edge], base: str) -> None:
    """Watch them; nothing outside is touched by it."""
    with nothing_touched(folder):
        await watch_all(folder, edges, base)


async def watch_all(folder: Path, edges: list[Edge], base: str) -> None:
    """Watch these repositories, by their paths or below the address `base`, and one more that is sound."""
    sound = make_repository(folder / REPOSITORIES / "a-sound-one")
    sound.commit("First", __surveil__yml=PIPELINE)
    made = by_name(make_edges(folder, edges, wanted_scale()), base)
    fates = {repo: each.edge.served if base else each.edge.local for repo, each in made.items()}
    async with desk() as at_desk:
        watch = Watch(at_desk, made, folder / "runner")
        own = f"{base}/{REPOSITORIES}/a-sound-one/.git" if base else str(sound.path)
        config = configure(
            at_desk, folder / "data", *made, own, interval_ms=10_000 if base else 2_000, refs=("*", "tags/*")
        )
        async with observing(config):
            await watch.sees(fates)
            at_desk.heard.clear()
            later = {}
            for repo, each in made.items():
                if each.edge.turn is not None and not isinstance(fates[repo], Unread):
                    each.edge.turn(each.bench)
                    assert each.edge.then is not None
                    later[repo] = each.edge.then
            await watch.sees(later)
            second = sound.commit("Second")
            await at_desk.hears(second)
            # Nothing more is said of anybody else.
            others = {seen.repo for seen in at_desk.heard} - later.keys() - {own}
            assert not others


def test_of_each_edge_repository_on_this_machine_comes_what_the_table_says(tmp_path: Path) -> None:
    edges = chosen(hangs=False, served=False)
    with nothing_left():
        asyncio.run(guarded(tmp_path, edges, ""))


def test_of_each_edge_repository_of_a_server_comes_what_the_table_says(tmp_path: Path) -> None:
    edges = chosen(hangs=False, served=True)
    with serve_git(tmp_path) as base, nothing_left():
        asyncio.run(guarded(tmp_path, edges, base))


@pytest.mark.parametrize("served", [False, True])
def test_a_repository_that_hangs_is_given_up_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool
) -> None:
    for call in (run_git, Mirror.git):
        assert call.__kwdefaults__ is not None
        monkeypatch.setitem(call.__kwdefaults__, "timeout_s", HANG_S)
    monkeypatch.setattr("surveil.mirror.refs.REMOTE_TIMEOUT_S", HANG_S)
    monkeypatch.setattr("surveil.mirror.mirror.FETCH_TIMEOUT_S", HANG_S)
    edges = chosen(hangs=True, served=served)
    assert len(edges) >= 3
    if served:
        with serve_git(tmp_path) as base:
            asyncio.run(guarded(tmp_path, edges, base))
    else:
        with nothing_left():
            asyncio.run(guarded(tmp_path, edges, ""))
