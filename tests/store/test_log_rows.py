"""Rows of a log: the same from whichever side one comes, and counted once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.store import log_rows, log_search
from surveil.store.log_live import LogSlice
from surveil.store.log_rows import CUT_BYTES, STRIDE_BYTES, LineIndex, Read, Row, rows_before, rows_from, split
from surveil.store.log_search import ERROR, literal, search
from tests.corpora.naughty import BYTES

PARTS = st.one_of(
    st.sampled_from([b"\n", b"a\n", b"\r\n", "é".encode(), "😀\n".encode(), b"\x80", b"\x80\x80\x80\x80\x80"]),
    st.builds(
        lambda unit, count, end: unit * count + end,
        st.sampled_from([b"x", "é".encode(), "€".encode(), b"\x80"]),
        st.integers(CUT_BYTES // 3 - 4, 3 * CUT_BYTES + 4),
        st.sampled_from([b"", b"\n"]),
    ),
    st.builds(lambda end: b"y" * (CUT_BYTES - 2) + end, st.sampled_from([b"\n", b"", b"z\n", "€".encode()])),
)
LOGS = st.lists(PARTS, max_size=8).map(b"".join)


def reader(data: bytes) -> Read:
    return lambda at, limit: LogSlice(at=at, data=data[at : at + limit], length=len(data))


@given(LOGS, st.data())
def test_rows_are_the_same_from_whichever_side_one_comes(data: bytes, more: st.DataObject) -> None:
    read, whole = reader(data), list(split(data, 0, begins=True))
    assert b"".join(row.data for row in whole) == data
    assert all(len(row.data) <= 2 * CUT_BYTES + 3 for row in whole)
    at = more.draw(st.integers(0, len(data) + 2), "at")
    assert rows_from(read, at, 3).rows == tuple(row for row in whole if row.end > at)[:3]
    assert rows_before(read, None, 4).rows == tuple(whole[-4:])
    if whole:
        number = more.draw(st.integers(0, len(whole) - 1), "row")
        before = whole[number].at
        assert rows_before(read, before, 3).rows == tuple(whole[max(0, number - 3) : number])


@pytest.mark.parametrize(("limit", "most"), [(1, 40), (200, 40), (1000, 240)])
def test_no_more_is_read_than_what_is_looked_at(limit: int, most: int) -> None:
    data, read_bytes = b"".ljust(99, b"x").join([b"\n"] * 20_000), 0

    def read(at: int, limit: int) -> LogSlice:
        nonlocal read_bytes
        found = reader(data)(at, limit)
        read_bytes += len(found.data)
        return found

    page = rows_from(read, 1_000_050, limit)
    assert (len(page.rows), page.rows[0].at) == (limit, 1_000_001)
    assert read_bytes <= most * 1024


@given(LOGS, st.integers(0, 4 * CUT_BYTES))
def test_a_log_that_grows_keeps_the_rows_that_are_closed(data: bytes, cut: int) -> None:
    now, later = list(split(data[:cut], 0, begins=True)), list(split(data, 0, begins=True))
    closed = [row for row in now if not row.open]
    assert later[: len(closed)] == closed
    assert len(now) - len(closed) <= 1


@given(LOGS.filter(bool), LOGS)
def test_the_last_row_reaches_the_end_of_a_log_that_grows_meanwhile(data: bytes, more: bytes) -> None:
    lengths = iter([len(data)])

    def read(at: int, limit: int) -> LogSlice:
        now = (data + more)[: next(lengths, len(data + more))]
        return LogSlice(at=at, data=now[at : at + limit], length=len(now))

    page = rows_before(read, None, 4)
    assert page.rows[-1].end >= page.length == len(data)


def test_a_line_of_text_is_cut_between_characters() -> None:
    rows = list(split("€".encode() * CUT_BYTES, 0, begins=True))
    assert "".join(row.text for row in rows) == "€" * CUT_BYTES
    assert [row.begins for row in rows] == [True, *[False] * (len(rows) - 1)]


@pytest.mark.parametrize("name", BYTES)
def test_whatever_a_step_prints_has_rows(name: str) -> None:
    read = reader(BYTES[name])
    found: list[Row] = []
    while page := rows_from(read, found[-1].end if found else 0, 1000).rows:
        found += page
    assert b"".join(row.data for row in found) == BYTES[name]


@given(st.lists(st.integers(0, 3000), max_size=30), st.data())
def test_lines_have_the_numbers_that_counting_gives(lengths: list[int], more: st.DataObject) -> None:
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    with pytest.MonkeyPatch.context() as patched:
        for name in ("STRIDE_BYTES", "_STEP_BYTES"):
            patched.setattr(log_rows, name, 1000)
        index, read = LineIndex(), reader(data)
        while not index.extend(read, 2000):
            pass
        at = more.draw(st.integers(0, len(data)), "at")
        assert index.lines_before(read, at) == data[:at].count(b"\n")
        for number in range(1, len(lengths) + 1):
            start = index.start_of(read, number)
            assert start == sum(lengths[: number - 1]) + number - 1
        assert index.start_of(read, len(lengths) + 2) is None


def test_what_was_counted_is_not_read_again() -> None:
    data = b"line\n" * STRIDE_BYTES
    asked: list[int] = []

    def read(at: int, limit: int) -> LogSlice:
        asked.append(at)
        return reader(data)(at, limit)

    index = LineIndex()
    assert index.lines_before(read, len(data) - 1) is None
    assert index.extend(read, 10 * len(data))
    asked.clear()
    assert index.extend(read, 10 * len(data))
    assert index.lines_before(read, len(data)) == STRIDE_BYTES
    assert min(asked) >= len(data) - STRIDE_BYTES


@pytest.mark.parametrize("filler", [0, log_search._STEP_BYTES - 3])  # noqa: SLF001  # where two parts of a log meet
def test_a_search_finds_each_line_once_and_goes_on_where_it_was(filler: int) -> None:
    data = (
        b"x" * (filler % 2)
        + b"x\n" * (filler // 2)
        + b"Needle needle\n"
        + b"hay\n" * 10
        + "a [needle] é\n".encode()
        + b"NEEDLE"
    )
    texts: list[str] = []
    at: int | None = 0
    while at is not None:
        found = search(reader(data), literal("needle"), at, 1)
        texts += [row.text for row in found.rows]
        at = found.next
    assert texts == ["Needle needle", "a [needle] é", "NEEDLE"]
    assert not search(reader(data), literal("n.edle"), 0, 5).rows


def test_one_question_looks_through_a_bounded_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "SCAN_BYTES_MAX", 2 * log_search._STEP_BYTES)  # noqa: SLF001  # a small one
    data = b"hay\n" * log_search._STEP_BYTES + b"needle"  # noqa: SLF001
    found = search(reader(data), literal("needle"), 0, 5)
    assert (found.rows, found.next is not None) == ((), True)
    assert found.next is not None
    assert found.next < len(data)


ERRORS = (
    "main.c:3:5: error: expected ';'", "error[E0308]: mismatched types", "E   assert 1 == 2",
    "Traceback (most recent call last):", "ValueError: no", "::error file=a::b", "FAILED tests/test_a.py::test_b",
    "make: *** [Makefile:3: all] Error 2", "fatal: not a git repository", "panic: runtime error", "not ok 3 - adds",
    "--- FAIL: TestAdd (0.00s)", "sh: 1: pytest: command not found", "\x1b[31mERROR\x1b[0m no",
)  # fmt: skip
CALM = (
    "0 errors, 0 warnings", "test_error_handling ... ok", "collected 3 items", "no error", "src/error.c", "PASSED",
    "errors: 0", "all is well",
)  # fmt: skip


def test_the_first_error_is_what_tools_call_one() -> None:
    log = "\n".join((*CALM, *ERRORS, *CALM)).encode()
    assert tuple(row.text for row in search(reader(log), ERROR, 0, 100).rows) == ERRORS
