"""Limits of forges: nobody is asked before the time that they name, and nothing is lost by waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from surveil.core.model import Status
from surveil.forge import Words
from surveil.forge.gitea import Gitea
from surveil.forge.github import GitHub
from surveil.forge.gitlab import GitLab
from surveil.forge.speaking import BUSY_MS
from tests.forge.played import Mood, PlayedForge, Told
from tests.notify.test_statuses import Scene

HOUR_MS = 3_600_000
COMMITS = 12
Refusal = Callable[[int], Mood]
"""What is answered to who is to come back after so many milliseconds."""


class Miser(PlayedForge):
    """Takes so many things within a window, and remembers whoever asks for more before it is over. With `telling` each
    good answer says how many are left.
    """

    def __init__(self, most: int, window_ms: int, refusal: Refusal, *, telling: str = "") -> None:
        self.now: Callable[[], int] = lambda: 0
        self.most, self.window_ms, self.refusal, self.telling = most, window_ms, refusal, telling
        self.taken: list[int] = []
        self.refused: list[int] = []
        self.impatient: list[int] = []
        super().__init__()

    def good(self, told: Told) -> Mood:
        del told
        now = self.now()
        within = [at for at in self.taken if now < at + self.window_ms]
        if len(within) >= self.most:
            if self.refused and self.refused[-1] >= within[0]:
                self.impatient.append(now)
            self.refused.append(now)
            return self.refusal(within[0] + self.window_ms - now)
        self.taken.append(now)
        left = self.most - len(within) - 1
        resets = (self.taken[-len(within) - 1] + self.window_ms) // 1000 + 1
        headers = ((f"{self.telling}-Remaining", str(left)), (f"{self.telling}-Reset", str(resets)))
        return Mood(status=201, headers=headers if self.telling else ())


def later(status: int, message: str = "") -> Refusal:
    """To come back after a time that is named."""

    def refusal(wait_ms: int) -> Mood:
        body = f'{{"message": "{message}"}}'.encode()
        return Mood(status=status, headers=(("Retry-After", str(-(-wait_ms // 1000))),), body=body)

    return refusal


def silent(status: int, message: str) -> Refusal:
    """To come back some time."""
    return lambda _: Mood(status=status, body=f'{{"message": "{message}"}}'.encode())


def told(folder: Path, miser: Miser, token: Path, words: Words) -> Scene:
    """Everything that a miser was told of many commits."""
    scene = Scene(folder, miser, token, words=words)
    miser.now = lambda: scene.now
    for number in range(1, COMMITS + 1):
        scene.build(number, Status.PASSED, sha=f"{number:040x}", mid=f"push:{number}")
    for _ in range(200):
        scene.run(20)
        if not scene.outbox.waiting():
            break
        # Nothing happens before that.
        [following] = scene.outbox.followings()
        scene.now = max(scene.now, following.not_before_at)
    return scene


@pytest.fixture
def misers() -> Iterator[Callable[..., Miser]]:
    made: list[Miser] = []

    def make(*arguments: object, **more: object) -> Miser:
        made.append(Miser(*arguments, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(("telling", "words"), [("X-RateLimit", GitHub()), ("RateLimit", GitLab())])
def test_who_says_how_much_is_left_is_never_asked_for_more(
    tmp_path: Path, token: Path, misers: Callable[..., Miser], telling: str, words: Words
) -> None:
    miser = misers(5, HOUR_MS, later(403), telling=telling)
    scene = told(tmp_path, miser, token, words)
    assert (len(miser.taken), miser.refused) == (COMMITS, [])
    assert scene.now - miser.taken[0] >= 2 * HOUR_MS, "twelve take three windows"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (later(403, "You have exceeded a secondary rate limit"), GitHub()),
        (later(429), GitHub()),
        (later(429, "Retry later"), GitLab()),
        (later(503), Gitea()),
    ],
)
def test_who_names_a_time_is_not_asked_before_it(
    tmp_path: Path, token: Path, misers: Callable[..., Miser], refusal: Refusal, words: Words
) -> None:
    miser = misers(4, 10 * 60_000, refusal)
    told(tmp_path, miser, token, words)
    assert (len(miser.taken), miser.impatient) == (COMMITS, [])
    assert miser.refused


@pytest.mark.parametrize(
    "message", ["You have exceeded a secondary rate limit", "You have triggered an abuse detection mechanism"]
)
def test_who_names_no_time_is_asked_less_and_less_often(
    tmp_path: Path, token: Path, misers: Callable[..., Miser], message: str
) -> None:
    miser = misers(4, HOUR_MS, silent(403, message))
    told(tmp_path, miser, token, GitHub())
    assert len(miser.taken) == COMMITS
    waits = [second - first for first, second in zip(miser.refused, miser.refused[1:], strict=False)]
    assert min(waits) >= BUSY_MS
    assert len(miser.refused) < 30, "an hour has sixty minutes"
