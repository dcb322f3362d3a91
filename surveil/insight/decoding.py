"""Bytes that claim to be XML to text that is: in whatever encoding, and without the characters that XML forbids.

What belongs here: encodings and characters. What does not: elements (`junit`). Pure.

Test runners paste what a test printed into their reports: colours of a terminal, halves of characters, other encodings
than the file's own. Nobody wants to lose the report of a whole suite for that, so such characters are replaced, and
what was wrong is said once.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

HEAD_BYTES: Final = 1024
"""A declaration stands at the beginning."""
ENCODINGS: Final = frozenset(
    ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii", "gbk", "gb2312", "gb18030", "big5", "shift_jis", "cp932"]
    + ["euc_jp", "euc_kr", "koi8-r", "koi8-u", "cp437", "cp850", "cp852", "cp866", "mac-roman"]
    + [f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)]
    + [f"cp125{part}" for part in range(9)]
)
"""By Python's own names. There are codecs for much else, compression for one, and none of that is text."""
_DECLARED: Final = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,39})["']""")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BARE: Final = ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"), (b"<\0t\0", "utf-16-le"), (b"\0<\0t", "utf-16-be"))
"""How a file in UTF-16 begins that has no mark."""
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCE: Final = re.compile("&#(x[0-9A-Fa-f]{1,7}|[0-9]{1,8});")
_REFERENCE_CHARACTERS_MAX: Final = 12
_DECLARATION: Final = re.compile(r"^\s*<\?xml[^>]{0,300}\?>")
_CODE_MAX: Final = 0x10FFFF
REPLACEMENT: Final = "�"


class XmlText:
    """Turns the bytes of a file into text, piece by piece. What was `wrong` with them is known at the end."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._name = ""
        self._held = ""
        self._forbidden = False
        self._begun = False

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """The text of the next bytes; a character or reference that is not whole yet is held back."""
        if self._decoder is None:
            self._head += data
            if len(self._head) < HEAD_BYTES and not last:
                return ""
            data, self._head = self._begin(self._head), b""
        text = self._held + self._decoded(data, last=last)
        if not self._begun:
            # Its encoding is ours from here on, and a file of XML 1.1 is one of 1.0 for all that a report holds.
            text, self._begun = _DECLARATION.sub("", text, count=1), True
        at = text.rfind("&", max(0, len(text) - _REFERENCE_CHARACTERS_MAX))
        at = len(text) if last or at < 0 or ";" in text[at:] else at
        self._held = text[at:]
        return self._allowed(text[:at])

    def _begin(self, head: bytes) -> bytes:
        """Choose the encoding by the file's beginning, and return what follows its mark."""
        for mark, name in _MARKS:
            if head.startswith(mark):
                self._use(name)
                return head[len(mark) :]
        for beginning, name in _BARE:
            if head.startswith(beginning):
                self._use(name)
                return head
        declared = _DECLARED.match(head)
        named = "utf-8" if declared is None else declared[1].decode("ascii")
        try:
            name = codecs.lookup(named).name
        except LookupError:
            name = ""
        # What is not in UTF-16 by its first bytes is not, whatever it says of itself.
        if name not in ENCODINGS or name.startswith("utf-16"):
            self.wrong.append(f"its encoding `{named}` is not known, so it was read as UTF-8")
            name = "utf-8"
        self._use(name)
        return head

    def _use(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder(name)("strict")

    def _decoded(self, data: bytes, *, last: bool) -> str:
        assert self._decoder is not None, "the encoding is chosen by the first bytes"
        state = self._decoder.getstate()
        try:
            return self._decoder.decode(data, last)
        except UnicodeDecodeError:
            self.wrong.append(f"it holds bytes that are not {self._name.upper()}, which were replaced")
            self._decoder = codecs.getincrementaldecoder(self._name)("replace")
            self._decoder.setstate(state)
            return self._decoder.decode(data, last)

    def _allowed(self, text: str) -> str:
        if "&#" in text:
            text = _REFERENCE.sub(_checked, text)
        return _FORBIDDEN.sub(REPLACEMENT, text) if _FORBIDDEN.search(text) else text


def _checked(reference: re.Match[str]) -> str:
    """A reference to a character as it stands, or the replacement where XML forbids the character."""
    digits = reference[1]
    code = int(digits[1:], 16) if digits[0] == "x" else int(digits)
    return REPLACEMENT if code > _CODE_MAX or _FORBIDDEN.match(chr(code)) else reference[0]
