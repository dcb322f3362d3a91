"""Edge repositories whose commits say odd things: in other alphabets, without a word, at times that never were."""

from functools import partial
from typing import Final

from tests.edge.bench import Bench
from tests.edge.fates import Built, Edge, Told, Unread

HUGE_BYTES: Final = 32 << 20
"""More than is read of a commit and its folder together."""


def _saying(message: bytes, headers: bytes, bench: Bench) -> None:
    bench.main(bench.commit(message=message, headers=headers))


def _written_by(author: bytes, bench: Bench) -> None:
    bench.main(bench.commit(author=author))


def _message(name: str, what: str, message: bytes, headers: bytes = b"") -> Edge:
    return Edge(f"message-{name}", what, partial(_saying, message, headers), Built())


def _author(name: str, what: str, author: bytes) -> Edge:
    return Edge(f"author-{name}", what, partial(_written_by, author), Built())


def _dated(name: str, what: str, when: bytes) -> Edge:
    return Edge(f"date-{name}", what, partial(_written_by, b"Ada <ada@example.org> " + when), Built())


def _bare_commit(bench: Bench) -> None:
    """A commit that names nobody."""
    bench.main(bench.object(b"commit", b"tree " + bench.tree(bench.sound()).encode() + b"\n\nBy nobody\n"))


def _no_end(bench: Bench) -> None:
    bench.main(bench.object(b"commit", b"tree " + bench.tree(bench.sound()).encode()))


def _huge(bench: Bench) -> None:
    bench.main(bench.commit(message=b"m" * HUGE_BYTES))


EDGES: Final = (
    _message("empty", "no message", b""),
    _message("blank", "a message of blanks", b" \n\t\r\n \n"),
    _message("nul", "a NUL in the message", b"before\0after\n"),
    _message("latin-1", "latin-1 that says so", b"Gr\xfc\xdfe\n", b"encoding ISO-8859-1\n"),
    _message("bytes", "bytes that are no text", b"\xff\xfe\x80 Gr\xfc\xdfe\n"),
    _message("shift-jis", "Shift-JIS that says so", b"\x93\xfa\x96{\x8c\xea\n", b"encoding Shift_JIS\n"),
    _message("no-alphabet", "an encoding that is a program", b"x\n", b"encoding zlib\n"),
    _message(
        "controls",
        "escapes, carriage returns, and letters that turn the text around",
        "\x1b]0;x\x07\x1b[2Jred\r\rgreen\u202e\u2066\ufeff\n".encode(),
    ),
    _message("long", "a line of a mebibyte", b"m" * (1 << 20)),
    Edge("message-huge", "a message of 32 MiB", _huge, Told("are larger than")),
    _author("latin-1", "an author in latin-1", b"J\xf6rg <j@example.org> 1700000000 +0000"),
    _author("without-name", "an author without a name", b"<ada@example.org> 1700000000 +0000"),
    _author("without-anything", "an author without name, address and date", b""),
    _author("long", "an author of 100 000 letters", b"A" * 100_000 + b" <a@example.org> 1700000000 +0000"),
    _author("brackets", "an author of many brackets", b"<<>> <script> <a@b> <c> 1 +0000"),
    Edge("author-absent", "nobody wrote it", _bare_commit, Built(), remote=Told("missingAuthor")),
    Edge(
        "commit-cut",
        "a commit that ends after its first line",
        _no_end,
        Told("bogus commit"),
        remote=Unread("no longer gives out"),
    ),
    _dated("1970", "the first second", b"0 +0000"),
    _dated("2106", "the last second of 32 bits", b"4294967295 +0000"),
    _dated("negative", "before 1970", b"-2208988800 +0000"),
    _dated("zone", "a zone of 99 hours", b"1700000000 +9999"),
    _dated("overflow", "a date of 25 digits", b"9" * 25 + b" +0000"),
    Edge(
        "date-words",
        "a date in words",
        partial(_written_by, b"Ada <ada@example.org> yesterday"),
        Built(),
        remote=Told("badDate"),
    ),
)
