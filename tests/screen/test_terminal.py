"""What a job's output may do to a terminal: colours, and nothing else."""

import random

import pytest

from surveil.screen.terminal import SEQUENCE_CHARACTERS_MAX, SafeOutput


def shown(*pieces: bytes) -> bytes:
    safe = SafeOutput()
    return b"".join(safe.feed(piece) for piece in pieces) + safe.finish()


@pytest.mark.parametrize(
    ("output", "safe"),
    [
        (b"plain\ttext\n", b"plain\ttext\n"),
        ("snow ☃\n".encode(), "snow ☃\n".encode()),
        (b"\x1b[31mred\x1b[0m\n", b"\x1b[31mred\x1b[0m\n\x1b[0m"),
        (b"\x1b[38;2;1;2;3mtrue", b"\x1b[38;2;1;2;3mtrue\x1b[0m"),
        (b"\x1b[2J\x1b[H\x1b[1A\x1b[Kgone", b"gone"),
        (b"\x1b]0;title\x07a", b"a"),
        (b"\x1b]52;c;aGVsbG8=\x1b\\a", b"a"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", b"link"),
        (b"\x1bP+q544e\x1b\\a", b"a"),
        (b"\x1b(0\x1bc\x1b7\x1b8a", b"a"),
        (b"\x1b[?1049h\x1b[6nq", b"q"),
        (b"50%\r100%\r\n", b"50%\n100%\n"),
        (b"bell\x07back\x08\x00nul\x7f", b"bellbacknul"),
        ("c1 \x9b2J \x85".encode(), b"c1 2J "),
        ("abc\u202edef".encode(), "abc\N{REPLACEMENT CHARACTER}def".encode()),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}".encode() * 2),
        (b"end\x1b", "end\N{SYMBOL FOR ESCAPE}".encode()),
        (b"end\x1b[31", "end\N{SYMBOL FOR ESCAPE}[31".encode()),
        (b"end\r", b"end\n"),
    ],
)
def test_only_colours_pass(output: bytes, safe: bytes) -> None:
    assert shown(output) == safe


def test_pieces_of_any_size_make_no_difference() -> None:
    output = (
        b"a\x1b[31mb\x1b]0;t\x07c\r\nd\re\x1b[2Jf\x1b]8;;x\x1b\\g" + "☃\u202e".encode() + b"\x1b(0h\x1bPq\x1b\\i\xff"
    )
    whole = shown(output)
    dice = random.Random(7)
    for _ in range(300):
        cuts = sorted(dice.sample(range(len(output)), dice.randint(1, 12)))
        pieces = [output[start:end] for start, end in zip([0, *cuts], [*cuts, len(output)], strict=True)]
        assert shown(*pieces) == whole


def test_a_sequence_that_never_ends_is_shown_and_not_kept() -> None:
    safe = SafeOutput()
    endless = b"\x1b]0;" + b"x" * (3 * SEQUENCE_CHARACTERS_MAX)
    first = safe.feed(endless)
    assert first.startswith("\N{SYMBOL FOR ESCAPE}]0;xxx".encode())
    assert len(first) + len(safe.finish()) >= len(endless)


def test_whatever_comes_no_escape_but_a_colour_gets_through() -> None:
    dice = random.Random(11)
    alphabet = [b"\x1b", b"[", b"]", b"m", b"0", b";", b"\x07", b"\\", b"P", b"J", b"\r", b"a", b"\x9b", b"\xc2\x9d"]
    for _ in range(2000):
        output = b"".join(dice.choice(alphabet) for _ in range(dice.randint(1, 40)))
        cut = dice.randint(0, len(output))
        for part in shown(output[:cut], output[cut:]).split(b"\x1b")[1:]:
            head, m, _ = part.partition(b"m")
            assert head[:1] == b"["
            assert m == b"m"
            assert head[1:].strip(b"0123456789;:") == b""
