"""Brings files to the dispatcher: pieces of blobs within a window, and notes about them, until they are on its disk.

What belongs here: the runner's side of a transfer, that is what is said when, and when to give up. What does not: what
is brought and why (`collect`), and who takes it (`hands.depot`).

A transfer lives in the thread that waits for it; the loop only says what it is given and hands on what is heard.
Whatever is lost on the way is said again. While the dispatcher is away a transfer waits: whoever asked for it says when
it is unwanted.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time
from collections.abc import Callable
from enum import Enum, auto
from queue import Empty, Queue
from typing import IO, Final, Generic, TypeAlias, TypeVar

from surveil.core.model import AttemptId
from surveil.errors import InfrastructureError
from surveil.execute.archives.packing import Packed
from surveil.execute.transfer.inbox import put_newest
from surveil.frozen import replace
from surveil.protocol import CHUNK_BYTES_MAX, Deposit, Deposited, Message, OnBulk

WINDOW_BYTES: Final = 8 * 1024 * 1024
"""So much may be on its way: half of it travels while the dispatcher writes the other half, and no heartbeat or log
waits long behind it.
"""
AGAIN_S: Final = 5.0
"""What was said and not answered for so long is said again."""
GO_BACK_S: Final = 0.5
"""So often a transfer goes back at the most to what the dispatcher has: each piece behind a gap brings that answer."""
LOOK_S: Final = 0.5
REFUSED_S: Final = 300.0
"""So long to hope that what keeps the dispatcher from taking it goes away."""
_INBOX_MAX: Final = 256
_FIRST_ID_BITS: Final = 40


class CourierError(InfrastructureError):
    """Something could not be brought; the text is a clause for people."""


class _Word(Enum):
    """What a transfer is told beside what the dispatcher says."""

    AGAIN = auto()
    """There is a new connection, or the old one took no more: what was on its way may be lost."""


ReplyT = TypeVar("ReplyT", bound=Message)
Say: TypeAlias = Callable[[OnBulk, Callable[[], None]], None]
"""Says something, from any thread; calls the function where it could not be said, after a while."""


class Courier:
    """All transfers of a runner."""

    def __init__(self, say: Say) -> None:
        self._say = say
        # What is still on its way for a runner that was here before us has another number.
        self._ids = itertools.count(secrets.randbits(_FIRST_ID_BITS))
        self._inboxes: dict[int, Queue[Message | _Word]] = {}

    # ---- in the loop ----

    def hear(self, number: int, message: Message) -> None:
        """Take what came for a transfer; never waits."""
        if (inbox := self._inboxes.get(number)) is not None:
            put_newest(inbox, message)

    def restart(self) -> None:
        """Say again all that is on its way: there is a new connection."""
        for inbox in list(self._inboxes.values()):
            put_newest(inbox, _Word.AGAIN)

    # ---- in threads ----

    def bring(self, attempt: AttemptId, file: IO[bytes], packed: Packed, check: Callable[[], None]) -> None:
        """Bring a blob, and return once it is on the dispatcher's disk. `check` is called often, and may raise.

        Raises:
            CourierError: it is not taken.
        """
        with Line(self, Deposited, check) as line:
            first = Deposit(
                id=line.number, job=attempt[0], attempt=attempt[1], blob=packed.digest, size=packed.size, at=0
            )
            _Bringing(line, first, file).run()

    def ask(self, question: Callable[[int], OnBulk], reply: type[ReplyT], check: Callable[[], None]) -> ReplyT:
        """Say something until it is answered, and return the answer; `question` makes it with its number.

        Raises:
            CourierError: the answer is that it cannot be.
        """
        with Line(self, reply, check) as line:
            numbered = question(line.number)
            patience = _Patience()
            while True:
                line.say(numbered)
                heard = line.hear(AGAIN_S)
                if isinstance(heard, _Word) or heard is None:
                    continue
                if not getattr(heard, "problem", ""):
                    return heard
                patience.lose(heard)
                line.pause(getattr(heard, "retry_ms", 0))

    def open(self) -> tuple[int, Queue[Message | _Word]]:
        """Begin a transfer: its number, and where what comes for it is put."""
        number, inbox = next(self._ids), Queue[Message | _Word](_INBOX_MAX)
        self._inboxes[number] = inbox
        return number, inbox

    def end(self, number: int) -> None:
        """Let go of a transfer."""
        del self._inboxes[number]

    def say(self, message: OnBulk, number: int) -> None:
        """Say something for a transfer; where that fails, it is told to say all again."""
        self._say(message, lambda: self.hear_word(number))

    def hear_word(self, number: int) -> None:
        """What was said for a transfer could not be said."""
        if (inbox := self._inboxes.get(number)) is not None:
            put_newest(inbox, _Word.AGAIN)


class Line(Generic[ReplyT]):
    """One transfer's way to the dispatcher, between `with` and its end."""

    def __init__(self, courier: Courier, reply: type[ReplyT], check: Callable[[], None]) -> None:
        self._courier = courier
        self._reply = reply
        self._check = check

    def __enter__(self) -> Line[ReplyT]:
        self.number, self._inbox = self._courier.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._courier.end(self.number)

    def say(self, message: OnBulk) -> None:
        """Say something for this transfer, if that can be."""
        self._courier.say(message, self.number)

    def hear(self, wait_s: float) -> ReplyT | _Word | None:
        """What comes next; None where nothing does for so long."""
        until = time.monotonic() + wait_s
        while True:
            self._check()
            left = until - time.monotonic()
            try:
                item = self._inbox.get(timeout=max(0.0, min(LOOK_S, left)))
            except Empty:
                if left <= 0:
                    return None
                continue
            if isinstance(item, _Word | self._reply):
                return item

    def pause(self, wait_ms: int) -> None:
        """Wait, whatever comes meanwhile."""
        until = time.monotonic() + min(wait_ms, AGAIN_S * 1000) / 1000
        while (left := until - time.monotonic()) > 0:
            self._check()
            time.sleep(min(LOOK_S, left))
        while not self._inbox.empty():
            self._inbox.get_nowait()


class _Patience:
    """How long the dispatcher has refused without taking anything."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lose(self, answer: Message) -> None:
        """It refused once more. Raises CourierError where that is enough."""
        problem, now = str(getattr(answer, "problem", "")), time.monotonic()
        self._since = self._since or now
        if not getattr(answer, "retry_ms", 0) or now - self._since >= REFUSED_S:
            raise CourierError(problem)

    def gain(self) -> None:
        """It took something."""
        self._since = None


class _Bringing:
    """One blob on its way."""

    def __init__(self, line: Line[Deposited], first: Deposit, file: IO[bytes]) -> None:
        self._line = line
        self._first = first
        self._file = file
        self._sent = self._kept = 0
        self._back_at = 0.0
        self._patience = _Patience()

    def run(self) -> None:
        """Say pieces until the whole is there; it begins with a question, for it may all be there."""
        self._line.say(self._first)
        while True:
            heard = self._line.hear(AGAIN_S)
            if isinstance(heard, Deposited):
                if heard.whole:
                    return
                self._take(heard)
            else:
                self._sent = self._kept
                self._line.say(self._first)
            if not isinstance(heard, Deposited) or heard.problem:
                continue
            self._fill_window()

    def _take(self, answer: Deposited) -> None:
        if answer.problem:
            self._patience.lose(answer)
            self._line.pause(answer.retry_ms)
            self._sent = self._kept
            self._line.say(self._first)
        elif answer.upto > self._kept:
            self._patience.gain()
            self._kept = answer.upto
            self._sent = max(self._sent, answer.upto)
        elif answer.upto < self._kept or time.monotonic() - self._back_at >= GO_BACK_S:
            # It has less than it once had, or something on the way was lost.
            self._back_at = time.monotonic()
            self._kept = self._sent = answer.upto

    def _fill_window(self) -> None:
        while self._sent < min(self._first.size, self._kept + WINDOW_BYTES):
            data = os.pread(self._file.fileno(), min(CHUNK_BYTES_MAX, self._first.size - self._sent), self._sent)
            if not data:
                raise CourierError("what was packed became shorter")
            self._line.say(replace(self._first, at=self._sent, data=data))
            self._sent += len(data)
