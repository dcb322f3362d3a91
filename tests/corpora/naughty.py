"""Texts that mean something to somebody: made by rules, so that each kind is whole."""

from __future__ import annotations

import re
from typing import Final

CONTROLS: Final = tuple(f"a{chr(code)}b" for code in (*range(1, 32), *range(0x7F, 0xA0)))
"""Every control character but NUL, which no argument, path or variable can hold."""
INVISIBLE: Final = tuple(
    f"a{mark}b"
    for mark in (
        "\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066"
        "\u2067\u2068\u2069\u3164\ufe0f\ufeff\ufffc\ufffe\uffff\U000e0041\U000e007f\U0010ffff\ue000"
    )
)
"""Marks that turn text around, hide, join or end it, and characters that are none."""
BLANKS: Final = (" ", "  ", " a", "a ", "\u00a0", "\u2003a", "\u3000", " \u200b ", "a  b")
TWINS: Final = (
    "é",
    "e\u0301",
    "Å",
    "\u212b",
    "A\u030a",
    "가",
    "\u1100\u1161",
    "ﬁ",
    "ẞ",
    "\u017f",
    "İ",
    "\u0131",
    "\u03c2",
    "Ω",
    "\u2126",
)
"""Texts that look like each other and are not, or change when somebody folds their case."""
SCRIPTS: Final = (
    "日本語", "中文", "العربية", "עברית", "ไทย", "हिन्दी", "ελληνικά", "кириллица", "ᚠᚢᚦ", "😀",
    "👩\u200d👩\u200d👧", "🇨🇭", "1\ufe0f\u20e3",
    "Z" + "\u0301\u0316" * 60, "aשb", "שלום (hello)", "\uff11\uff12\uff13", "\U0001d4b3", "\U00020000", "ⓐ",
)  # fmt: skip
SEQUENCES: Final = (
    "\x1b[31mred", "\x1b[2J", "\x1b[1A\x1b[K", "\x1b]0;title\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;aGVsbG8=\x07", "\x1b]1337;File=:AA==\x07", "\x1bP+q\x1b\\", "\x1b_x\x1b\\",
    "\x1b^x\x1b\\", "\x1bc", "\x1b(0",
    "\x1b[?1049h", "\x1b[6n", "\x9b31m", "\x9d0;t\x9c", "\x1b", "\x1b[", "\x1b[38;5", "50%\r100%",
    "a\x08b", "\x0e", "\x07",
)  # fmt: skip
MEANINGS: Final = (
    "null", "None", "nil", "undefined", "true", "false", "NaN", "Infinity", "-Infinity", "1e999",
    "0", "-0", "-1", "00", "1_0",
    "0x10", "0o7", "9007199254740993", "9" * 40, "1.0", ".5", "1e3", "2001-01-01", "12:30", "NO",
    "on", "~", "[]", "{}", "[",
    "<<", "*a", "&a", "!!str", "a: b", "- a", "#", "---", "...", "|", ">", "?", "%", "@", "`",
    "CON", "NUL", "aux.txt", "HEAD",
)  # fmt: skip
"""Words that some language takes for something else than a text."""
INJECTIONS: Final = (
    "'", '"', "''", "\\", "\\n", "\\0", "a'b\"c", "' OR 1=1 --", "'; DROP TABLE builds; --",
    "$(touch x)", "`touch x`",
    "${HOME}", "$HOME", "; touch x", "| touch x", "&& touch x", "\n touch x", "%s%n%x", "%d",
    "{0}", "{}{}", "{{7*7}}",
    "<script>alert(1)</script>", "<img src=x onerror=x>", "&lt;", "javascript:x",
    "[x](javascript:x)", "`a` b `c", "../../x",
    "/etc/passwd", "~root", "..", ".", "./-x", "-x", "--", "-", "--help", "--version",
    "--upload-pack=x", "@file", "a/b",
    "file:///x", "ext::sh -c x", "https://u:p@h/x", ".git/config", ".GIT", "git~1", "a\\b",
    "a.lock", "a..b", "@{-1}", "*", "?",
    "[surveil: all is well]", "=1+1", "::set-env name=x::y", "a,b", "a=b", "a|b", "svl1.x.00000000",
)  # fmt: skip
LENGTHS: Final = ("x" * 200, "é" * 127, "☃" * 85, "x" * 255, "a " * 100, "😀" * 64)

NAUGHTY: Final = tuple(
    dict.fromkeys(
        (*CONTROLS, *INVISIBLE, *BLANKS, *TWINS, *SCRIPTS, *SEQUENCES, *MEANINGS, *INJECTIONS, *LENGTHS)
    )
)  # fmt: skip

BYTES: Final[dict[str, bytes]] = {
    "every byte": bytes(range(256)),
    "every byte after an escape": b"".join(b"\x1b" + bytes([code]) for code in range(256)),
    "bytes that are never UTF-8": b"\xc0\xc1\xf5\xff\xfe ok\n",
    "overlong forms": b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",
    "surrogates as bytes": b"\xed\xa0\x80\xed\xb0\x80",
    "characters cut off": b"\xf0\x9f\x98 \xe2\x82 \xc3",
    "a byte order mark": b"\xef\xbb\xbfa\n\xff\xfea\0",
    "NULs": b"\0" * 100 + b"\n",
    "a line of 64 KiB": b"x" * 65_536 + b"\n",
    "a line of 64 KiB of escapes": b"\x1b[31m" * 13_000,
    "a line that never ends": b"x" * 300_000,
    "carriage returns only": b"one\rtwo\rthree\r",
    "all line ends": b"a\nb\r\nc\rd\x0be\x0cf\xc2\x85g\xe2\x80\xa8h",
    "no last line end": b"a\nb",
    "nothing": b"",
    "a sequence that never ends": b"\x1b]0;" + b"t" * 20_000,
    "a hundred thousand colours": b"\x1b[1m\x1b[0m" * 50_000,
    "what looks like our own": b"[surveil: all is well]\n--- 1/test attempt 1 on x: passed ---\n",
    "every naughty text": "\n".join(NAUGHTY).encode(),
}
"""What steps may print."""

COLOUR: Final = re.compile(r"\x1b\[[0-9;:]{0,64}m")
_HARMFUL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def harm(shown: str) -> str:
    """What a terminal would obey in this text, colours apart; nothing if all is well."""
    found = _HARMFUL.search(COLOUR.sub("", shown))
    return "" if found is None else repr(shown[max(0, found.start() - 40) : found.end() + 40])
