"""The dispatcher's mind and a runner that says anything: nothing is raised, and nothing of another runner's changes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, get_args

from surveil.core.consistency import check_state
from surveil.core.model import OPEN
from surveil.errors import ProtocolError
from surveil.protocol import FromRunner, Heartbeat, Held, Hello, Message, Output, Want, decode
from tests.core.script import Player
from tests.fuzz.draw import Draw
from tests.fuzz.messages import made_message
from tests.wire.samples import SAMPLES

SAID: Final = tuple(kind for kind in get_args(FromRunner) if kind not in {Output, Want})
JOBS: Final = ("1/fair", "1/over", "1/bait", "1/more", "2/x", "1/none")
SCENE: Final = (
    "hello honest labels=fair slots=2", "hello forger labels=bait slots=2",
    "build 'jobs=over(labels=fair) fair(labels=fair) bait(labels=bait,retry=2) more(labels=bait,loss=hold)'",
    "accepted honest 1/over#1", "accepted honest 1/fair#1", "finished honest 1/over#1 passed",
    "accepted forger 1/bait#1",
)  # fmt: skip
WORDS_MAX: Final = 12
SAMPLE_OF: Final = {type(sample): sample for sample in SAMPLES}


def check(data: bytes) -> None:
    """Let a runner say some words; the other one beats on."""
    draw, player = Draw(data), Player()
    for line in SCENE:
        player.play(line)
    before = _honest(player)
    for _ in range(1 + draw.byte() % WORDS_MAX):
        message = _said(draw)
        player.now += 1
        trusted_until_at = player.state.leases.get(("1/fair", 1))
        player.hear("forger", message)
        check_state(player.state)
        assert player.state.leases.get(("1/fair", 1)) == trusted_until_at, f"{message} renewed another's lease"
        player.play("beat honest held=1/fair#1 free=1")
        if draw.seldom(4):
            player.play(f"wait {draw.at_most(3_000)}")
        assert _honest(player) == before, f"{message} changed what is another's"
    player.play("finished honest 1/fair#1 passed")
    assert player.state.jobs["1/fair"].state == "passed" or "1/fair" not in player.state.jobs


def seeds() -> Iterator[bytes]:
    """Words by chance, the same at each time."""
    for number in range(150):
        yield random.Random(number).randbytes(500)


def _honest(player: Player) -> Any:
    """All of the honest runner's, apart from when it was heard last."""
    state = player.state
    own = [attempt for attempt in state.attempts.values() if attempt.runner == "honest"]
    return (
        sorted(map(repr, own)), [state.jobs[job] for job in ("1/over", "1/fair")],
        replace(state.runners["honest"], seen_at=0), [a.id for a in state.attempts_of("honest") if a.state in OPEN],
    )  # fmt: skip


def _said(draw: Draw) -> Message:
    """A word of a runner as it comes through the edge: mostly of attempts that there are, in this incarnation."""
    kind, job, number = draw.pick(SAID), draw.pick(JOBS), draw.byte() % 4
    try:
        message = decode(made_message(kind, draw))
    except ProtocolError:
        message = SAMPLE_OF[kind]
    changes: dict[str, Any] = {}
    if hasattr(message, "job"):
        changes |= {"job": job, "attempt": number}
    if isinstance(message, Hello | Heartbeat):
        held = tuple(
            Held(job=draw.pick(JOBS), attempt=draw.byte() % 4, finished=draw.flag(), log_bytes=0) for _ in "123"
        )
        changes |= {"seq": 10 + draw.byte(), "incarnation": 1 + draw.byte() % 2, "held": held}
    return replace(message, **changes)
