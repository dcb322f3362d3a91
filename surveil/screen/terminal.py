"""Makes a job's output safe to look at: colours stay, everything else that a terminal would obey goes.

What belongs here: one filter from bytes to bytes. What does not: when it is used (`logs`): bytes that go to a file or
another program are never touched.

A step's output is a stranger's text. Escape sequences can retitle a window, fill the clipboard, hide or overwrite
lines and forge what surveil says; bidirectional marks can make a line read as another.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

SEQUENCE_CHARACTERS_MAX: Final = 4096
"""A sequence that has not ended by then is none, and what it was made of is shown."""

_ESCAPE: Final = "\x1b"
_SYMBOL: Final = "\N{SYMBOL FOR ESCAPE}"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]{0,64}m")
# CSI; strings of OSC, DCS, SOS, PM and APC with their end; two and three character escapes.
_WHOLE: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x1b\x07]*(?:\x07|\x1b\\)|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~]"
)
_BEGUN: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x1b\x07]*\x1b?|[ -/]*)?\Z")
_BIDI: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROLS: Final = {
    **{code: None for code in (*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)) if code != ord(_ESCAPE)},
    **{ord(mark): "\N{REPLACEMENT CHARACTER}" for mark in _BIDI},
}


class SafeOutput:
    """Takes the bytes as they come, in pieces of any size, and returns what may be written."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._coloured = False

    def feed(self, data: bytes) -> bytes:
        """The next piece; a sequence that it cuts in two is held back until its end comes."""
        return self._clean(self._decoder.decode(data), last=False)

    def finish(self) -> bytes:
        """What was held back, and the terminal's own colours again."""
        rest = self._clean(self._decoder.decode(b"", final=True), last=True)
        return rest + (b"\x1b[0m" if self._coloured else b"")

    def _clean(self, more: str, *, last: bool) -> bytes:
        text = self._held + more
        self._held = ""
        if not last:
            text = self._hold_back(text)
        shown: list[str] = []
        at = 0
        while (start := text.find(_ESCAPE, at)) >= 0:
            shown.append(_plain(text[at:start]))
            whole = _WHOLE.match(text, start)
            if whole is None:
                shown.append(_SYMBOL)
                at = start + 1
                continue
            if _COLOUR.fullmatch(whole[0]):
                shown.append(whole[0])
                self._coloured = True
            at = whole.end()
        shown.append(_plain(text[at:]))
        return "".join(shown).encode()

    def _hold_back(self, text: str) -> str:
        """Keep the begun sequence, or the carriage return that may become a line's end, at the end of `text` for the
        next piece.
        """
        begun = _BEGUN.search(text, max(0, len(text) - SEQUENCE_CHARACTERS_MAX))
        cut = begun.start() if begun is not None else len(text) - text.endswith("\r")
        self._held = text[cut:]
        return text[:cut]


def _plain(text: str) -> str:
    # A lone carriage return would let a line overwrite the one that is there: progress bars become lines instead.
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS)
