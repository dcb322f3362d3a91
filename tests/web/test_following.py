"""Pieces of a log as events: whole characters, every byte once."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.client import LogPiece
from surveil.web.api.following import _pieces
from surveil.web.events import Event
from tests.web.stage import Stage


async def _cut(data: bytes, cuts: list[int]) -> AsyncIterator[LogPiece]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        yield LogPiece(attempt=1, at=start, data=data[start:stop], runner="spare-2")


def events_of(pieces: AsyncIterator[LogPiece]) -> list[Event]:
    async def gather() -> list[Event]:
        return [event async for event in _pieces(pieces)]

    return asyncio.run(gather())


@given(st.text(alphabet="aé€😀\n", max_size=40), st.lists(st.integers(0, 200), max_size=10))
def test_text_comes_whole_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    *pieces, end = events_of(_cut(data, cuts))
    assert end.kind == "end"
    assert "".join(piece.body["text"] for piece in pieces) == text
    reached = 0
    for piece in pieces:
        assert piece.body["at"] == reached
        reached = piece.body["next"]
        assert piece.id == f"1.{reached}"
        assert data[piece.body["at"] : reached].decode() == piece.body["text"]
    assert reached == len(data)


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=10))
def test_no_byte_is_told_twice_or_left_out_whatever_they_are(data: bytes, cuts: list[int]) -> None:
    *pieces, _ = events_of(_cut(data, cuts))
    places = [(piece.body["at"], piece.body["next"]) for piece in pieces]
    assert all(before[1] == after[0] for before, after in pairwise(places))
    # What is no text and comes last may be the beginning of a character; nobody is told of half of one.
    reached = places[-1][1] if places else 0
    assert len(data) - 3 <= reached <= len(data)


@pytest.mark.parametrize("path", ["jobs/none/log/follow", "jobs/test/log/rows/follow?attempt=9"])
def test_who_follows_what_there_is_not_is_told_so_by_the_status(stage: Stage, path: str) -> None:
    told = stage.get(f"/api/v1/builds/1/{path}", stage.token())
    assert told.status_code == 404
    assert told.json()["detail"].startswith("There is no ")


@pytest.mark.parametrize("path", ["jobs/none/log/follow", "jobs/test/log/rows/follow"])
def test_who_is_told_of_a_problem_keeps_the_place_of_what_came_before(stage: Stage, path: str) -> None:
    """An empty id would have a browser forget the one that it asks again with (WHATWG HTML, 9.2.6)."""
    told = stage.get(f"/api/v1/builds/1/{path}", {**stage.token(), "Last-Event-ID": "9.0"}).text
    assert told.startswith('retry: 1000\n\nevent: problem\ndata: {"detail": "There is no ')
    assert "\nid:" not in told


def test_there_is_no_build_zero_for_who_comes_back_either(stage: Stage) -> None:
    path = "/api/v1/builds/0/jobs/test/log/rows/follow"
    assert stage.get(path, {**stage.token(), "Last-Event-ID": "1.5"}).status_code == 404


def test_a_new_attempt_begins_at_its_own_first_byte() -> None:
    async def two() -> AsyncIterator[LogPiece]:
        yield LogPiece(attempt=1, at=0, data="a€".encode()[:2])
        yield LogPiece(attempt=2, at=0, data=b"again")

    first, second, _ = events_of(two())
    assert (first.body["attempt"], first.body["text"], first.id) == (1, "a", "1.1")
    assert (second.body["attempt"], second.body["at"], second.body["text"]) == (2, 0, "again")
