"""Values drawn from a fuzzer's bytes: the same bytes are the same values, and no bytes are too few.

A target asks for numbers, choices and texts instead of looking at the bytes, so that most inputs are nearly right,
which is where mistakes are. What lies behind the end reads as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

DEPTH_MAX: Final = 6
NUMBERS: Final = (
    0, 1, 2, 7, 63, 64, 127, 128, 255, 256, 4095, 4096, 4097, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -(2**31), -(2**53), -(2**53) - 1, -(2**63),
)  # fmt: skip
"""Numbers at which something ends."""
FRACTIONS: Final = (0.0, -0.0, 1.5, 1e308, -1e-308, float("inf"), float("-inf"), float("nan"))
TEXTS: Final = (
    "", " ", "a", "main", "1/test", "7/test", "refs/heads/main", "..", "../../etc/passwd", "-x", "--upload-pack=x",
    "\0", "\n", "\r", "\t", "a\nb", "\x1b[2J", "\x1b]0;t\x07", "\u202e", "\u200b", "\ufeff", "é", "e\u0301", "\u2028",
    "ᄀ", "\U0001d4b3", "\U0010ffff", "%s%n", "${x}", "`x`", "<b>", "'", '"', "\\", "0", "-1", "1e999", "NaN",
    "null", "true",
    "x" * 200, "x" * 201, "x" * 4_097, "☃" * 300, "0123456789abcdef" * 2 + "01234567", "k" * 40, "://", "a" * 64,
)  # fmt: skip
"""Texts that are empty, long, invisible, or something to somebody."""


class Draw:
    """Reads values from bytes, from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes nobody has read yet."""
        return max(0, len(self._data) - self._at)

    def byte(self) -> int:
        at, self._at = self._at, self._at + 1
        return self._data[at] if at < len(self._data) else 0

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        found = self.byte()
        # As many bytes as are needed, so that a small choice costs one.
        while count > 256:  # values of a byte
            found = found << 8 | self.byte()
            count = (count + 255) // 256
        return found % count if count <= 256 else found

    def at_most(self, most: int) -> int:
        """A number from 0 to `most`, from two bytes."""
        return (self.byte() << 8 | self.byte()) % (most + 1)

    def flag(self) -> bool:
        return self.byte() % 2 == 1

    def seldom(self, one_in: int = 16) -> bool:
        """Mostly False, and always False behind the end."""
        return self.byte() % one_in == 1

    def pick(self, choices: Sequence[Item]) -> Item:
        return choices[self.at_most(len(choices) - 1)] if len(choices) > 256 else choices[self.byte() % len(choices)]

    def rest(self) -> bytes:
        """All that is left."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]

    def some(self, most: int = 64) -> bytes:
        """Up to `most` bytes as they are."""
        count = min(self.at_most(most), self.left)
        at, self._at = self._at, self._at + count
        return self._data[at : at + count]

    def number(self) -> int:
        return self.pick(NUMBERS) + (self.byte() % 3 - 1 if self.seldom(4) else 0)

    def text(self) -> str:
        match self.byte() % 4:
            case 0:
                return self.pick(TEXTS)
            case 1:
                return self.pick(TEXTS) + self.pick(TEXTS)
            case _:
                return self.some(24).decode("utf-8", "replace")

    def many(self, make: Callable[[], Item], most: int = 4) -> list[Item]:
        return [make() for _ in range(self.byte() % (most + 1))]

    def value(self, depth: int = 0) -> Any:
        """Anything that JSON or msgpack could hold."""
        kind = self.byte() % (8 if depth >= DEPTH_MAX else 11)
        if kind < 8:  # leaves
            return (
                lambda: None, self.flag, self.number, lambda: self.pick(FRACTIONS), self.text, self.text, self.byte,
                self.number,
            )[kind]()  # fmt: skip
        if kind == 8:
            return self.many(lambda: self.value(depth + 1))
        return {self.text(): self.value(depth + 1) for _ in range(self.byte() % 4)}

    def edited(self, body: bytes, most: int = 4) -> bytes:
        """Bytes with a few places overwritten, taken out, repeated or cut off."""
        found = bytearray(body)
        for _ in range(self.byte() % (most + 1)):
            at = self.at_most(len(found))
            match self.byte() % 7:
                case 0:
                    found[at : at + 1] = bytes([self.byte()])
                case 1:
                    found[at : at + 1] = bytes([found[at] ^ 1 << self.byte() % 8]) if at < len(found) else b""
                case 2:
                    del found[at : at + self.at_most(64)]
                case 3:
                    found[at:at] = self.some(16)
                case 4:
                    # So often that what takes time by the square of a length is noticed.
                    found[at:at] = found[at : at + 1 + self.byte() % 8] * self.at_most(4096)
                case 5:
                    found[at:at] = found[at : at + self.at_most(64)]
                case _:
                    del found[at:]
        return bytes(found)
