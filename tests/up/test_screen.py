"""What `up` prints: whose words go where, prefixes, and what a terminal must not obey."""

import asyncio
import io

import pytest

from surveil.up.screen import LINE_BYTES_MAX, JobOutput, Screen, commit_line, safe, took


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


def printed(pieces: list[bytes], prefix: str, *, terminal: bool = False) -> str:
    async def scene() -> str:
        out = Stream(terminal=terminal)
        output = JobOutput(Screen(out, Stream()), prefix)
        for piece in pieces:
            await output.put(piece)
        await output.finish()
        return out.written()

    return asyncio.run(scene())


def test_the_bytes_of_a_lone_job_pass_as_they_are() -> None:
    assert printed([b"a\x1b[2J\r", b"\xff half"], "") == "a\x1b[2J\r\\xff half"


def test_each_line_of_one_of_several_jobs_says_whose_it_is() -> None:
    assert printed([b"one\ntw", b"o\n\nlast"], "lint | ") == "lint | one\nlint | two\nlint | \nlint | last\n"


def test_an_endless_line_is_cut_and_nothing_of_it_is_lost() -> None:
    lines = printed([b"x" * (2 * LINE_BYTES_MAX + 5)], "a | ").splitlines()
    assert [len(line) for line in lines] == [LINE_BYTES_MAX + 4, LINE_BYTES_MAX + 4, 9]


def test_a_terminal_gets_colours_and_obeys_nothing_else() -> None:
    assert safe("\x1b[31mred\x1b[0m\tand\x1b[2J\x1b]0;title\x07") == (
        "\x1b[31mred\x1b[0m\tand\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}]0;title\N{REPLACEMENT CHARACTER}"
    )
    assert safe("50 %\r100 %\r\nright\u202eleft") == "50 %\n100 %\nright\N{REPLACEMENT CHARACTER}left"


def test_a_character_that_is_cut_in_two_arrives_whole() -> None:
    assert printed(["ü".encode()[:1], "ü".encode()[1:]], "", terminal=True) == "ü"


def test_verdicts_are_data_and_everything_else_is_not() -> None:
    async def scene() -> tuple[str, str]:
        out, err = Stream(), Stream()
        screen = Screen(out, err)
        await screen.say("build 1: begins\nwith two\x1b lines", "running")
        await screen.tell_verdict("passed build 1", "passed")
        return out.written(), err.written()

    assert asyncio.run(scene()) == ("passed build 1\n", "build 1: begins\nwith two\N{REPLACEMENT CHARACTER} lines\n")


def test_verdicts_have_colours_on_a_terminal_unless_nobody_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> str:
        out = Stream(terminal=True)
        await Screen(out, Stream()).tell_verdict("failed", "failed")
        return out.written()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert asyncio.run(scene()) == "\x1b[31mfailed\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert asyncio.run(scene()) == "failed\n"


def test_a_commit_is_named_by_what_people_call_it() -> None:
    build = {"repo": "/src/project.git", "ref": "refs/heads/main", "sha": "1a2b3c4d5e", "message": "Fix it\n\nlong"}
    assert commit_line(build) == "project main 1a2b3c4 Fix it"
    assert commit_line({**build, "message": "", "ref": "HEAD", "repo": "x"}) == "x HEAD 1a2b3c4"


@pytest.mark.parametrize(
    ("finished_at", "words"),
    [
        ("2026-01-01T00:00:02.345Z", " in 2.3 s"),
        ("2026-01-01T00:03:05.000Z", " in 3 min 5 s"),
        ("2026-01-01T02:10:59.000Z", " in 2 h 10 min"),
        (None, ""),
    ],
)
def test_durations_are_for_people(finished_at: str | None, words: str) -> None:
    assert took({"started_at": "2026-01-01T00:00:00.000Z", "finished_at": finished_at}) == words
