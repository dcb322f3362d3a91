"""What is printed while much happens: whose words go where, prefixes, and what a terminal must not obey."""

import asyncio
import contextlib
import io
import os
import threading

import pytest

from surveil.screen.live import LINE_BYTES_MAX, JobOutput, Screen


class Stream(io.TextIOWrapper):
    """A stream in memory that may claim to be a terminal."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def written(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("utf-8", "backslashreplace")


def printed(pieces: list[bytes], name: str, *, terminal: bool = False, number: int = 0) -> str:
    async def scene() -> str:
        out = Stream(terminal=terminal)
        output = JobOutput(Screen(out, Stream()), name, number)
        for piece in pieces:
            await output.put(piece)
        await output.finish()
        return out.written()

    return asyncio.run(scene())


def test_the_bytes_of_a_lone_job_pass_as_they_are() -> None:
    assert printed([b"a\x1b[2J\r", b"\xff half"], "") == "a\x1b[2J\r\\xff half"


def test_each_line_of_one_of_several_jobs_says_whose_it_is() -> None:
    assert printed([b"one\ntw", b"o\n\nlast"], "lint") == "lint | one\nlint | two\nlint | \nlint | last\n"


def test_a_job_is_called_by_its_name_as_soon_as_others_print_too() -> None:
    async def scene() -> str:
        out = Stream()
        output = JobOutput(Screen(out, Stream()))
        await output.put(b"one\ntw")
        await output.call("a")
        await output.put(b"o\nthr")
        await output.call("7/a")
        await output.put(b"ee\n")
        await output.call("7/a")
        await output.call("")
        await output.put(b"four\n")
        await output.call("a")
        await output.finish()
        return out.written()

    assert asyncio.run(scene()) == "one\ntw\na | o\na | thr\n7/a | ee\nfour\n"


def test_an_endless_line_is_cut_and_nothing_of_it_is_lost() -> None:
    lines = printed([b"x" * (2 * LINE_BYTES_MAX + 5)], "a").splitlines()
    assert [len(line) for line in lines] == [LINE_BYTES_MAX + 4, LINE_BYTES_MAX + 4, 9]


def test_a_terminal_gets_colours_and_obeys_nothing_else() -> None:
    assert printed([b"\x1b[31mred\x1b[0m\tand\x1b[2J\x1b]0;title\x07 50 %\r100 %\r\n"], "", terminal=True) == (
        "\x1b[31mred\x1b[0m\tand 50 %\n100 %\n\x1b[0m"
    )


def test_a_colour_of_one_job_ends_with_its_line_where_others_print_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed([b"\x1b[31mred\nstill"], "a", terminal=True) == "a | \x1b[31mred\x1b[0m\na | still\x1b[0m\n"


def test_jobs_that_print_at_the_same_time_are_told_apart_by_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = [printed([b"x\n"], name, terminal=True, number=number) for number, name in enumerate("ab")]
    assert lines == ["\x1b[36ma |\x1b[0m x\n", "\x1b[33mb |\x1b[0m x\n"]


def test_a_character_that_is_cut_in_two_arrives_whole() -> None:
    assert printed(["ü".encode()[:1], "ü".encode()[1:]], "", terminal=True) == "ü"


def test_verdicts_are_data_and_everything_else_is_not() -> None:
    async def scene() -> tuple[str, str]:
        out, err = Stream(), Stream()
        screen = Screen(out, err)
        await screen.say("build 1: begins\n--- build 1: ends ---\x1b", "running")
        await screen.say_all(["two", "lines"])
        await screen.tell_verdict("passed build 1", "passed")
        return out.written(), err.written()

    out, err = asyncio.run(scene())
    told = "build 1: begins\N{REPLACEMENT CHARACTER}--- build 1: ends ---\N{REPLACEMENT CHARACTER}"
    assert (out, err.splitlines()) == ("passed build 1\n", [told, "two", "lines"])


def test_verdicts_have_colours_on_a_terminal_unless_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> str:
        out = Stream(terminal=True)
        await Screen(out, Stream()).tell_verdict("failed", "failed")
        return out.written()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert asyncio.run(scene()) == "\x1b[31mfailed\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert asyncio.run(scene()) == "failed\n"


def a_full_pipe() -> tuple[io.BufferedReader, io.TextIOWrapper]:
    """A pipe whose reader reads nothing, until it takes no byte more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return os.fdopen(reading, "rb"), os.fdopen(writing, "w")


def test_a_reader_that_reads_nothing_keeps_nobody_from_ending() -> None:
    """The end of `asyncio.run` waits for all threads, also for those that nobody waits for any more."""
    reading, writing = a_full_pipe()

    async def scene() -> str:
        screen = Screen(writing, Stream())
        telling = asyncio.create_task(screen.tell_verdict("passed build 1", "passed"))
        await asyncio.sleep(0.3)
        assert not telling.done()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        screen.end()
        await screen.tell_verdict("passed build 2", "passed")
        return "ended"

    with reading, writing:
        ended: list[str] = []
        thread = threading.Thread(target=lambda: ended.append(asyncio.run(scene())), daemon=True)
        thread.start()
        thread.join(20)
        assert ended == ["ended"]


def test_a_reader_that_comes_back_has_missed_nothing() -> None:
    reading, writing = a_full_pipe()

    async def scene() -> bytes:
        telling = asyncio.create_task(Screen(writing, Stream()).put(b"y" * 200_000))
        read = bytearray()
        while read.count(b"y") < 200_000:
            read += await asyncio.to_thread(os.read, reading.fileno(), 65536)
        await telling
        return bytes(read)

    with reading, writing:
        assert asyncio.run(scene()).lstrip(b"x") == b"y" * 200_000


def test_who_goes_on_without_room_says_what_was_missed_when_there_is_some() -> None:
    async def scene(*, goes_on: bool) -> str:
        err = Stream()
        with os.fdopen(os.open("/dev/full", os.O_WRONLY), "w") as full:
            screen = Screen(full, err, goes_on=goes_on)
            await screen.tell_verdict("passed build 1", "passed")
        await screen.say("build 2: begins")
        return err.written()

    told = asyncio.run(scene(goes_on=True)).splitlines()
    assert told[1:] == ["build 2: begins"]
    assert "found no room (No space left on device)" in told[0]
    assert "`surveil builds`" in told[0]
    with pytest.raises(OSError, match="No space left"):
        asyncio.run(scene(goes_on=False))
