"""The runner's side of a transfer, against an observer that is played and a line that loses, delays and doubles."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO

import pytest

from surveil.execute.transfer import supply
from surveil.execute.transfer.supply import WINDOW, Supplies, SupplyError
from surveil.protocol import CHUNK_BYTES_MAX, Pack, Want

REPO, SHA, KEY = "/srv/repo", "a" * 40, "k" * 40
CONTENT = random.Random(1).randbytes(7 * CHUNK_BYTES_MAX + 5)


class Line:
    """What answers a runner: `answer` makes packs of each want, which are heard at once."""

    def __init__(self, answer: Callable[[Want], list[Pack]]) -> None:
        self.answer = answer
        self.wants: list[Want] = []
        self.supplies = Supplies(self.ask)

    def ask(self, want: Want) -> None:
        self.wants.append(want)
        for pack in self.answer(want):
            self.supplies.hear(pack)

    def bring(self, file: IO[bytes], *have: str) -> bytes:
        self.supplies.bring(REPO, SHA, have, file)
        file.seek(0)
        return file.read()


def piece(want: Want, content: bytes = CONTENT, *, made: int = 1, length: int = CHUNK_BYTES_MAX) -> Pack:
    data = content[want.at : want.at + length]
    return Pack(id=want.id, runner=KEY, made=made, at=want.at, total=len(content), data=data)


def denial(want: Want, problem: str = "", retry_ms: int = 0) -> Pack:
    return Pack(id=want.id, runner=KEY, at=want.at, problem=problem, retry_ms=retry_ms)


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as made:
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are spent by failures only, or on purpose."""
    for name, seconds in {"ASK_AGAIN_S": 0.05, "RETRY_MIN_S": 0.001, "SILENCE_S": 30.0, "ABSENT_S": 30.0}.items():
        monkeypatch.setattr(supply, name, seconds)


def test_all_pieces_are_asked_for_once_and_come_together(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "ASK_AGAIN_S", 60.0)
    line = Line(lambda want: [piece(want)])
    assert line.bring(file, "b" * 40) == CONTENT
    assert sorted(want.at for want in line.wants) == list(range(0, len(CONTENT), CHUNK_BYTES_MAX))
    assert {(want.repo, want.sha, want.have, want.runner) for want in line.wants} == {(REPO, SHA, ("b" * 40,), "")}
    assert len({want.id for want in line.wants}) == 1


def test_no_more_is_on_its_way_than_the_window(file: IO[bytes]) -> None:
    on_its_way: set[int] = set()
    most = 0

    def answer(want: Want) -> list[Pack]:
        nonlocal most
        on_its_way.add(want.at)
        most = max(most, len(on_its_way))
        if len(on_its_way) < WINDOW and want.at and want.at < len(CONTENT) - CHUNK_BYTES_MAX:
            return []
        packs = [piece(replace(want, at=at)) for at in on_its_way]
        on_its_way.clear()
        return packs

    assert Line(answer).bring(file) == CONTENT
    assert most == WINDOW


@pytest.mark.parametrize("seed", range(8))
def test_a_line_that_loses_doubles_and_mixes_up_costs_time_alone(file: IO[bytes], seed: int) -> None:
    dice = random.Random(seed)
    late: list[Pack] = []

    def answer(want: Want) -> list[Pack]:
        if dice.random() < 0.3:
            return []
        late.extend([piece(want, length=dice.choice([CHUNK_BYTES_MAX, 100_000, CHUNK_BYTES_MAX // 2]))] * 2)
        dice.shuffle(late)
        said, late[:] = late[::2], late[1::2]
        return said

    assert Line(answer).bring(file) == CONTENT


def test_pieces_of_two_makings_are_never_put_together(file: IO[bytes]) -> None:
    other = CONTENT[::-1][:-1_000]

    def answer(want: Want) -> list[Pack]:
        return [piece(want)] if len(line.wants) < 4 else [piece(want, other, made=2)]

    line = Line(answer)
    assert line.bring(file) == other


def test_what_changes_all_the_time_is_given_up(file: IO[bytes]) -> None:
    line = Line(lambda want: [piece(want, made=len(line.wants))])
    with pytest.raises(SupplyError, match="changed 4 times on its way"):
        line.bring(file)


def test_what_belongs_to_no_transfer_or_lies_outside_changes_nothing(file: IO[bytes]) -> None:
    def answer(want: Want) -> list[Pack]:
        right = piece(want)
        return [
            replace(right, id=want.id + 1, data=b"x" * len(right.data)),
            replace(right, at=want.at + 1),
            replace(right, data=right.data + b"x") if want.at + len(right.data) == len(CONTENT) else right,
            right,
        ]

    line = Line(answer)
    assert line.bring(file) == CONTENT
    line.supplies.hear(piece(line.wants[0]))


def test_a_size_beyond_all_reason_is_not_believed(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "TRANSFER_S", 0.3)
    line = Line(lambda want: [replace(piece(want), total=2**53)])
    with pytest.raises(SupplyError, match="only 0 of 0 bytes"):
        line.bring(file)


def test_a_denial_ends_it_with_its_sentence(file: IO[bytes]) -> None:
    line = Line(lambda want: [denial(want, "it is secret")])
    with pytest.raises(SupplyError, match=r"^it is secret$") as denied:
        line.bring(file)
    assert denied.value.denied
    assert len(line.wants) == 1


def test_a_bundle_that_is_being_made_is_waited_for(file: IO[bytes]) -> None:
    line = Line(lambda want: [denial(want, retry_ms=1)] if len(line.wants) < 5 else [piece(want)])
    assert line.bring(file) == CONTENT


def test_an_observer_that_comes_back_in_time_is_good_enough(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Line(lambda want: [denial(want, "nobody is there", 1)] if len(absent.wants) < 5 else [piece(want)])
    assert absent.bring(file) == CONTENT
    monkeypatch.setattr(supply, "ABSENT_S", 0.1)
    for_good = Line(lambda want: [denial(want, "nobody is there", 1)])
    with pytest.raises(SupplyError, match=r"^nobody is there$") as failed:
        for_good.bring(file)
    assert not failed.value.denied


def test_silence_is_borne_for_a_while(file: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "SILENCE_S", 1.0)
    line = Line(lambda want: [])
    with pytest.raises(SupplyError, match=r"nothing was supplied for 1 s"):
        line.bring(file)
    assert 2 <= len(line.wants) <= 1.0 / supply.ASK_AGAIN_S


def test_after_a_new_connection_all_that_is_lacking_is_asked_for_at_once(
    file: IO[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "ASK_AGAIN_S", 60.0)
    asked = threading.Event()

    def answer(want: Want) -> list[Pack]:
        asked.set()
        return [piece(want)] if len(line.wants) > 1 else []

    line = Line(answer)

    def reconnect() -> None:
        assert asked.wait(30)
        line.supplies.restart()

    reconnecting = threading.Thread(target=reconnect)
    reconnecting.start()
    assert line.bring(file) == CONTENT
    reconnecting.join()


def test_closing_ends_what_is_under_way_and_what_comes_later(file: IO[bytes]) -> None:
    line = Line(lambda want: [])
    closing = threading.Timer(0.1, line.supplies.close)
    closing.start()
    with pytest.raises(SupplyError, match="the runner stops"):
        line.bring(file)
    closing.join()
    with pytest.raises(SupplyError, match="the runner stops"):
        line.bring(file)


def test_a_thread_that_is_slow_loses_pieces_and_not_memory(file: IO[bytes]) -> None:
    def answer(want: Want) -> list[Pack]:
        # Far more than the transfer takes in at once; the newest ones count.
        return [piece(want)] * 100

    assert Line(answer).bring(file) == CONTENT
