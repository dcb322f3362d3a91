"""Frames and windows: every byte of a log arrives once, in order, whatever is lost in between."""

from __future__ import annotations

import random

import pytest

from surveil.execute.logs.output import (
    CHUNK_BYTES_MAX,
    HEADER_BYTES,
    WINDOW_BYTES,
    Window,
    is_sound,
    make_frame,
    read_header,
)


def test_a_frame_says_where_it_belongs_and_what_it_holds() -> None:
    frame = make_frame(7, 1_500, b"abc")
    header = read_header(frame, 7)
    assert header is not None
    assert (header.at, header.length, header.after_ms) == (7, 3, 1_500)
    assert is_sound(header, frame[HEADER_BYTES:])


@pytest.mark.parametrize("place", range(HEADER_BYTES + 3))
def test_a_flipped_bit_anywhere_in_a_frame_is_noticed(place: int) -> None:
    frame = bytearray(make_frame(7, 1_500, b"abc"))
    frame[place] ^= 0x10
    header = read_header(bytes(frame), 7)
    assert header is None or not is_sound(header, bytes(frame[HEADER_BYTES:]))


def test_a_piece_of_a_header_and_a_header_of_another_place_are_none() -> None:
    frame = make_frame(7, 0, b"abc")
    assert read_header(frame[: HEADER_BYTES - 1], 7) is None
    assert read_header(frame, 8) is None
    assert read_header(make_frame(7, 0, b""), 7) is None


def test_no_more_than_a_window_is_on_its_way() -> None:
    window = Window(ready=10 * WINDOW_BYTES)
    sent = 0
    while window.may_send:
        assert window.may_send <= CHUNK_BYTES_MAX
        sent += window.may_send
        window.advance(window.may_send, 0)
    assert sent == WINDOW_BYTES
    window.keep(100, 1, 500)
    assert int(window.may_send) == 100


def test_an_answer_without_news_means_a_gap_and_leads_back_once_in_a_while() -> None:
    window = Window(ready=100)
    window.advance(60, 0)
    window.keep(40, 10, 500)
    window.keep(40, 20, 500)
    assert window.sent == 60
    window.keep(40, 600, 500)
    assert (window.kept, window.sent) == (40, 40)


def test_what_is_not_acknowledged_for_long_is_sent_again() -> None:
    window = Window(ready=100)
    window.advance(60, 1_000)
    assert not window.repeat_if_late(10_999, 10_000)
    assert window.repeat_if_late(11_000, 10_000)
    assert (window.waits, window.may_send) == (False, 100)
    assert not window.repeat_if_late(99_000, 10_000)


def test_a_dispatcher_may_know_less_or_more_than_we_thought() -> None:
    window = Window(ready=100)
    window.advance(60, 0)
    window.keep(50, 0, 500)
    window.resume(20, 1)
    assert (window.kept, window.sent, window.may_send) == (20, 20, 80)
    window.keep(1_000, 2, 500)
    assert (window.kept, window.sent, window.may_send) == (100, 100, 0)


def test_a_dispatcher_that_lost_what_it_had_has_it_again_however_soon_it_answers() -> None:
    window = Window(ready=100)
    window.advance(60, 0)
    window.keep(60, 5, 500)
    window.advance(40, 10)
    window.keep(20, 15, 500)
    assert (window.kept, window.sent, window.may_send) == (20, 20, 80)


@pytest.mark.parametrize("seed", range(50))
def test_a_log_arrives_whole_over_a_connection_that_loses_and_delays(seed: int) -> None:
    dice = random.Random(seed)
    log = dice.randbytes(3 * WINDOW_BYTES // 2)
    window, stored, now = Window(), bytearray(), 0
    on_the_way: list[int] = []
    for _ in range(10_000):
        now += dice.randrange(1, 400)
        window.grow(min(len(log), window.ready + dice.randrange(0, 300_000)))
        window.repeat_if_late(now, 5_000)
        while count := window.may_send:
            if dice.random() > 0.3 and window.sent <= len(stored):  # What is behind a gap is not stored.
                stored += log[len(stored) : window.sent + count]
            on_the_way.append(len(stored))
            window.advance(count, now)
        for upto in on_the_way:
            if dice.random() > 0.3:
                window.keep(upto, now, 500)
        on_the_way.clear()
        if window.kept == len(log):
            break
    assert bytes(stored) == log
