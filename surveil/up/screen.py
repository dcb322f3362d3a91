"""What `up` prints, so that lines of several writers stay whole.

What belongs here: where words go, their colours, and prefixes of jobs' output. What does not: which words.

What the steps print and the verdicts go to stdout, everything else that `up` has to say to stderr. Both are written in
a thread: a reader that stops reading must not stop the supervision.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO

from surveil.core.spelling import printable

LINE_BYTES_MAX: Final = 16 * 1024
"""A longer line of a job that needs a prefix is cut into several."""
_COLOURS: Final[Mapping[str, str]] = {
    "passed": "32",
    "failed": "31",
    "errored": "35",
    "cancelled": "33",
    "lost": "35",
    "running": "36",
    "weak": "33",
    "faint": "90",
}
_KEPT: Final = re.compile(r"(\x1b\[[0-9;:]{0,64}m|[\t\n]+)")


class Screen:
    """The two streams of this process."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._turn = asyncio.Lock()
        self._saying: set[asyncio.Task[None]] = set()

    @property
    def on_terminal(self) -> bool:
        """Whether what the steps print is looked at through a terminal."""
        return self._out.isatty()

    async def say(self, text: str, state: str = "") -> None:
        """Something that surveil has to say, a line on stderr."""
        await self._write(self._err, self._coloured(self._err, text, state))

    def say_soon(self, text: str, state: str = "") -> None:
        """The same, from where nobody can wait."""
        task = asyncio.create_task(self._say_anyway(text, state))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _say_anyway(self, text: str, state: str) -> None:
        # Whoever closed the stream is told so by those who can wait.
        with contextlib.suppress(OSError):
            await self.say(text, state)

    async def tell_verdict(self, text: str, state: str) -> None:
        """A verdict, a line on stdout."""
        await self._write(self._out, self._coloured(self._out, text, state))

    async def put(self, data: bytes) -> None:
        """Bytes of a step, on stdout."""
        if data:
            async with self._turn:
                await asyncio.to_thread(_write_bytes, self._out, data)

    async def _write(self, stream: TextIO, line: str) -> None:
        async with self._turn:
            await asyncio.to_thread(_write_bytes, stream, line.encode("utf-8", "replace") + b"\n")

    def _coloured(self, stream: TextIO, text: str, state: str) -> str:
        plain = "\n".join(printable(line) for line in text.split("\n"))
        if state not in _COLOURS or not stream.isatty() or os.environ.get("NO_COLOR"):
            return plain
        return f"\x1b[{_COLOURS[state]}m{plain}\x1b[0m"


class JobOutput:
    """The output of one job on its way to the screen.

    Alone and away from a terminal its bytes pass as they are. With a `prefix` they are put together to lines. For a
    terminal, everything but colours that it would obey is made visible instead.
    """

    def __init__(self, screen: Screen, prefix: str = "") -> None:
        self._screen = screen
        self._prefix = printable(prefix).encode()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = b""

    async def put(self, data: bytes) -> None:
        """The next bytes."""
        await self._screen.put(self._lines(self._safe(data)))

    async def finish(self) -> None:
        """Print what had no line end."""
        rest = self._lines(self._safe(b"", last=True))
        rest += self._prefix + self._held + b"\n" if self._held else b""
        self._held = b""
        await self._screen.put(rest)

    def _lines(self, data: bytes) -> bytes:
        """The whole lines that there are by now, each behind the prefix."""
        if not self._prefix:
            return data
        *lines, self._held = (self._held + data).split(b"\n")
        while len(self._held) > LINE_BYTES_MAX:
            lines.append(self._held[:LINE_BYTES_MAX])
            self._held = self._held[LINE_BYTES_MAX:]
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def _safe(self, data: bytes, *, last: bool = False) -> bytes:
        return safe(self._decoder.decode(data, last)).encode() if self._screen.on_terminal else data


def safe(text: str) -> str:
    """A stranger's text as a terminal may have it: colours, tabs and line ends, and nothing else that it would obey.

    A carriage return, which would let a text overwrite what is there, becomes the end of a line. A colour that is cut
    in two is shown as what it is made of.
    """
    parts = _KEPT.split(text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(part if at % 2 else printable(part) for at, part in enumerate(parts))


def commit_line(build: Mapping[str, Any]) -> str:
    """A build by its repository, ref and commit: `project main 1a2b3c4 Fix the thing`."""
    repo = build["repo"].rstrip("/").rpartition("/")[2].removesuffix(".git") or build["repo"]
    ref = build["ref"].removeprefix("refs/heads/").removeprefix("refs/tags/")
    subject = next(iter(build["message"].splitlines()), "")
    return f"{repo} {ref} {build['sha'][:7]} {subject}".rstrip()


def took(record: Mapping[str, Any]) -> str:
    """How long a build or job took, for people: ` in 2.3 s`; empty where it never started."""
    if not record["started_at"] or not record["finished_at"]:
        return ""
    lasted = datetime.fromisoformat(record["finished_at"]) - datetime.fromisoformat(record["started_at"])
    seconds = max(0.0, lasted.total_seconds())
    if seconds < 60:  # noqa: PLR2004  # A minute.
        return f" in {seconds:.1f} s"
    minutes = int(seconds // 60)
    return f" in {minutes} min {int(seconds) % 60} s" if minutes < 60 else f" in {minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def _write_bytes(stream: TextIO, data: bytes) -> None:
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        stream.write(data.decode("utf-8", "replace"))
    else:
        buffer.write(data)
    stream.flush()
