"""What is printed while much happens at once, so that lines of several writers stay whole.

What belongs here: where words go, and the prefixes of jobs' output. What does not: which words.

What the steps print and the verdicts go to stdout, everything else to stderr. Both are written in a thread: a reader
that stops reading must not stop the supervision. Nor must it keep it from ending: whoever is not waited for any more is
let go of, in the middle of a line if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterable
from typing import Final, TextIO

from surveil.core.spelling import printable
from surveil.screen.colours import CODES, PREFIXES, colourful, is_terminal, paint
from surveil.screen.terminal import SafeOutput
from surveil.screen.unread import write_bytes

_ESCAPE: Final = b"\x1b["
_COLOURS_END: Final = b"\x1b[0m"
LINE_BYTES_MAX: Final = 16 * 1024
"""A longer line of a job that needs a prefix is cut into several."""
LAST_WORDS_S: Final = 2.0
"""So long a reader is waited for that reads nothing, once this process is to end."""


class Screen:
    """The two streams of this process.

    One that `goes_on` is not ended by a stream without room, which may be a file on the very disk that is full: what
    finds none is not printed, and that is said when there is room again. A reader that went away does end it.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, *, goes_on: bool = False) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._goes_on = goes_on
        self._missed = ""
        self._ending = False
        self._turn = asyncio.Lock()
        self._saying: set[asyncio.Task[None]] = set()

    @property
    def on_terminal(self) -> bool:
        """Whether what the steps print is looked at through a terminal."""
        return is_terminal(self._out)

    @property
    def in_colour(self) -> bool:
        """Whether what surveil adds to the output of the steps may have a colour."""
        return colourful(self._out)

    async def say(self, text: str, state: str = "") -> None:
        """Something that surveil has to say, a line on stderr: whatever stands in it, it begins no other."""
        await self._write(self._err, [text], state)

    async def say_all(self, lines: Iterable[str], state: str = "") -> None:
        """Several lines that belong together."""
        await self._write(self._err, lines, state)

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
        await self._write(self._out, [text], state)

    async def put(self, data: bytes) -> None:
        """Bytes of a step, on stdout."""
        if data:
            await self._pass_on(self._out, data)

    def end(self) -> None:
        """From now on a reader that reads nothing is waited for no longer than for last words."""
        self._ending = True

    async def _write(self, stream: TextIO, lines: Iterable[str], state: str) -> None:
        code = CODES.get(state, "") if colourful(stream) else ""
        text = "".join(paint(printable(line), code) + "\n" for line in lines)
        await self._pass_on(stream, text.encode("utf-8", "replace"))

    async def _pass_on(self, stream: TextIO, data: bytes) -> None:
        async with self._turn:
            try:
                if self._missed:
                    await self._until_written(self._err, self._missed.encode())
                    self._missed = ""
                await self._until_written(stream, data)
            except BrokenPipeError:
                raise
            except OSError as error:
                if not self._goes_on:
                    raise
                self._missed = (
                    f"--- some of what was to be printed here found no room ({error.strerror}); `surveil builds` and "
                    "`surveil logs` have all of it ---\n"
                )

    async def _until_written(self, stream: TextIO, data: bytes) -> None:
        over = threading.Event()
        try:
            # Nobody reads this by then, and nobody can be told.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S if self._ending else None):
                    await asyncio.to_thread(write_bytes, stream, data, over)
        finally:
            # A cancelled wait leaves its thread behind, for whose end the process would wait.
            over.set()


class JobOutput:
    """The output of one job on its way to the screen.

    Alone and away from a terminal its bytes pass as they are. With a `name` they are put together to lines that begin
    with it. On a terminal, whatever it would obey goes, but for colours. `number` chooses the colour of the name.
    """

    def __init__(self, screen: Screen, name: str = "", number: int = 0) -> None:
        self._screen = screen
        self._colour = PREFIXES[number % len(PREFIXES)] if screen.in_colour else ""
        self._prefix = self._prefix_for(name)
        self._safe = SafeOutput() if screen.on_terminal else None
        self._held = b""
        self._in_line = False

    async def call(self, name: str) -> None:
        """Begin the lines with another name from now on: what had none has one once others print as well."""
        prefix = self._prefix_for(name)
        if prefix == self._prefix:
            return
        if self._prefix:
            await self._end_line()
        elif self._in_line:
            await self._screen.put(b"\n")
        self._prefix, self._in_line = prefix, False

    async def put(self, data: bytes) -> None:
        """The next bytes."""
        await self._screen.put(self._lines(data if self._safe is None else self._safe.feed(data)))

    async def finish(self) -> None:
        """Print what had no line end."""
        await self._screen.put(self._lines(b"" if self._safe is None else self._safe.finish()))
        await self._end_line()

    async def _end_line(self) -> None:
        rest, self._held = self._held, b""
        if rest:
            await self._screen.put(self._line(rest))

    def _prefix_for(self, name: str) -> bytes:
        return paint(f"{printable(name)} |" if name else "", self._colour).encode()

    def _lines(self, data: bytes) -> bytes:
        """The whole lines that there are by now, each behind the prefix."""
        if not self._prefix:
            self._in_line = not data.endswith(b"\n") if data else self._in_line
            return data
        *lines, self._held = (self._held + data).split(b"\n")
        while len(self._held) > LINE_BYTES_MAX:
            lines.append(self._held[:LINE_BYTES_MAX])
            self._held = self._held[LINE_BYTES_MAX:]
        return b"".join(map(self._line, lines))

    def _line(self, line: bytes) -> bytes:
        # A colour that was not ended would go on in the lines of other jobs.
        end = _COLOURS_END if self._safe is not None and _ESCAPE in line and not line.endswith(_COLOURS_END) else b""
        return self._prefix + b" " + line + end + b"\n"
