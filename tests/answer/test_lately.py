"""What is kept of repositories is always what would be read anew."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from surveil.answer import lately
from surveil.answer.lately import LOOKED_BACK, Lately
from surveil.answer.outlook import repository_view
from surveil.core.model import VERDICTS, Build, Status
from surveil.frozen import replace
from surveil.store import Outline, StoreError
from tests.store.memory import MemoryReader, MemoryStore
from tests.store.records import changed, make_build, new

REPOS = ("/srv/a", "/srv/b", "/srv/c")


class Watched(MemoryReader):
    """Notes what it is asked, and of which open builds."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.outlined: list[str] = []
        self.looked_at: list[Sequence[int]] = []

    def outlines(self, repo: str, *, ref: str | None = None, limit: int = 200) -> list[Outline]:
        self.outlined.append(repo)
        return super().outlines(repo, ref=ref, limit=limit)

    def outlines_after(self, after: int, among: Sequence[int]) -> tuple[list[tuple[str, Outline]], dict[int, Outline]]:
        self.looked_at.append(among)
        return super().outlines_after(after, among)


def anew(store: MemoryStore, repos: Sequence[str]) -> list[dict[str, Any]]:
    return [repository_view(repo, store.reader.outlines(repo, limit=LOOKED_BACK)) for repo in repos]


def build(number: int, repo: str, state: Status, ref: str = "refs/heads/main") -> Build:
    ended = number * 1000 if state in VERDICTS else None
    return make_build(number, jobs=(), repo=repo, ref=ref, state=state, started_at=number, finished_at=ended)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_the_answer_is_that_of_one_who_reads_all_of_it(seed: int) -> None:
    dice, store = random.Random(seed), MemoryStore()
    kept, opened, number = Lately(store.reader, repository_view), list[Build](), 0
    for _ in range(300):
        for _ in range(dice.randrange(4)):
            number += 1
            state = dice.choice((Status.RUNNING, Status.QUEUED, Status.PASSED, Status.FAILED))
            made = build(number, dice.choice(REPOS), state, f"refs/heads/{dice.choice('xy')}")
            store.commit(new(made))
            if state not in VERDICTS:
                opened.append(made)
        dice.shuffle(opened)
        while len(opened) > 3:
            last = opened.pop()
            store.commit(changed(replace(last, state=Status.FAILED, finished_at=number * 1000)))
        asked = dice.sample(REPOS, dice.randrange(1, 4))
        assert kept.views(asked) == anew(store, asked)
    assert number > LOOKED_BACK


def test_after_the_first_look_only_what_is_new_or_was_open_is_read() -> None:
    store = MemoryStore()
    reader = Watched(store)
    kept = Lately(reader, repository_view)
    for number, state in enumerate((Status.PASSED, Status.RUNNING, Status.FAILED, Status.QUEUED), 1):
        store.commit(new(build(number, REPOS[number % 2], state)))
    first = kept.views(REPOS)
    assert reader.outlined == list(REPOS)
    again = kept.views(REPOS[:1])
    assert again[0] is first[0]
    assert kept.views(["/srv/none"]) == anew(store, ["/srv/none"])
    store.commit(new(build(5, REPOS[2], Status.PASSED)))
    assert kept.views(REPOS) == anew(store, REPOS)
    assert reader.outlined == [*REPOS, "/srv/none"]
    assert [sorted(each) for each in reader.looked_at] == [[], [2, 4], [], [2, 4]]


def test_after_a_long_time_without_questions_all_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    reader = Watched(store)
    kept = Lately(reader, repository_view)
    store.commit(new(build(1, REPOS[0], Status.RUNNING)))
    kept.views(REPOS)
    monkeypatch.setattr(lately, "ROWS_MAX", 3)
    for number in range(2, 5):
        store.commit(new(build(number, REPOS[0], Status.PASSED)))
    store.commit(changed(replace(build(1, REPOS[0], Status.RUNNING), state=Status.FAILED, finished_at=9)))
    monkeypatch.setattr("tests.store.memory.ROWS_MAX", 3)
    assert kept.views(REPOS) == anew(store, REPOS)
    assert reader.outlined == [*REPOS, *REPOS]


def test_what_could_not_be_read_once_is_read_when_it_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.commit(new(build(1, REPOS[0], Status.PASSED)))
    reader = MemoryReader(store)
    kept = Lately(reader, repository_view)
    with monkeypatch.context() as patch:

        def unreadable(*_: object, **__: object) -> None:
            raise StoreError("the disk does not do its part")

        patch.setattr(reader, "outlines", unreadable)
        with pytest.raises(StoreError):
            kept.views(REPOS)
    assert kept.views(REPOS) == anew(store, REPOS)


def test_only_so_many_repositories_are_kept_those_that_were_asked_for_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lately, "REPOS_MAX", 2)
    store = MemoryStore()
    store.commit(new(*(build(number, repo, Status.PASSED) for number, repo in enumerate(REPOS, 1))))
    reader = Watched(store)
    kept = Lately(reader, repository_view)
    assert kept.views(REPOS) == anew(store, REPOS)
    kept.views(REPOS[1:])
    assert reader.outlined == list(REPOS)
    kept.views(REPOS[:1])
    kept.views(REPOS[2:])
    assert reader.outlined == [*REPOS, REPOS[0]]
