"""Asks for a commit that this machine cannot get from its repository, piece by piece, until it is all here.

What belongs here: the runner's side of a transfer, that is when it is needed, what is asked for when, and when to give
up. What does not: what is in a bundle (`mirror.bundle`), and who gives it (`hands.supplying`, by way of `hands.relay`).

A transfer lives in the thread that waits for it. The loop only hands it what is heard, so that no disk delays a
heartbeat. Whatever is lost on the way is asked for again; nothing is promised by anybody.
"""

from __future__ import annotations

import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from queue import Empty, Queue
from typing import IO, Final, Protocol, TypeAlias, assert_never

from surveil.errors import InfrastructureError
from surveil.execute.transfer.inbox import put_newest
from surveil.mirror.bundle import BUNDLE_BYTES_MAX, take_bundle, tips
from surveil.mirror.command import FETCH_TIMEOUT_S
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import CHUNK_BYTES_MAX, Assign, Pack, Want
from surveil.say import Voice

WINDOW: Final = 4
"""So many pieces are asked for at once: a mebibyte on its way keeps a line busy, and delays nobody else for long."""
ASK_AGAIN_S: Final = 5.0
SILENCE_S: Final = 120.0
"""A dispatcher or an observer that starts anew is back long before."""
ABSENT_S: Final = 20.0
"""How long to hope that what keeps an observer from answering goes away."""
TRANSFER_S: Final = FETCH_TIMEOUT_S
RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
RESTARTS_MAX: Final = 3
PROGRESS_S: Final = 5.0
_INBOX_MAX: Final = 4 * WINDOW
_FIRST_ID_BITS: Final = 40

_OURS: Final = frozenset({Trouble.HALTED, Trouble.NO_GIT, Trouble.NO_SPACE})
"""Troubles of this machine, for which no supply is a remedy."""

voice = Voice("execute")


class SupplyError(InfrastructureError):
    """A commit could not be supplied; the text is a sentence for people. `denied` where somebody said no."""

    def __init__(self, sentence: str, *, denied: bool = False) -> None:
        super().__init__(sentence)
        self.denied = denied


class Supply(Protocol):
    """Brings what somebody who has all of `have` lacks of commit `sha` into `file`. Blocks.

    Raises SupplyError, or OSError when the file does not take it.
    """

    def __call__(self, repo: str, sha: str, have: Sequence[str], file: IO[bytes]) -> None:
        """Do it."""


class _Word(Enum):
    """What a transfer is told beside what comes for it."""

    AGAIN = auto()
    STOP = auto()


_Item: TypeAlias = Pack | _Word


class Supplies:
    """All transfers of a runner. `ask` says a `Want` from any thread, and may lose it."""

    def __init__(self, ask: Callable[[Want], None]) -> None:
        self._ask = ask
        # Whatever is still on its way for a runner that was here before us has another number.
        self._ids = itertools.count(secrets.randbits(_FIRST_ID_BITS))
        self._inboxes: dict[int, Queue[_Item]] = {}
        self._closed = False

    def hear(self, pack: Pack) -> None:
        """Take what came for a transfer. Called in the loop; never waits."""
        inbox = self._inboxes.get(pack.id)
        if inbox is not None:
            put_newest(inbox, pack)

    def restart(self) -> None:
        """Ask again for all that is on its way: there is a new connection, and what was said on an old one is lost."""
        self._tell(_Word.AGAIN)

    def close(self) -> None:
        """End all transfers, and let none begin."""
        self._closed = True
        self._tell(_Word.STOP)

    def _tell(self, word: _Word) -> None:
        for inbox in list(self._inboxes.values()):
            put_newest(inbox, word)

    def bring(self, repo: str, sha: str, have: Sequence[str], file: IO[bytes]) -> None:
        """Keep the promise of `Supply`."""
        number = next(self._ids)
        inbox: Queue[_Item] = Queue(_INBOX_MAX)
        self._inboxes[number] = inbox
        try:
            if self._closed:
                raise SupplyError("the runner stops")
            want = Want(id=number, repo=repo, sha=sha, have=tuple(have), at=0)
            _Transfer(want, file, inbox, self._ask).run()
        finally:
            del self._inboxes[number]


class _Transfer:
    """One bundle on its way into a file."""

    def __init__(self, want: Want, file: IO[bytes], inbox: Queue[_Item], ask: Callable[[Want], None]) -> None:
        self._want = want
        self._file = file
        self._inbox = inbox
        self._ask = ask
        now = time.monotonic()
        self._heard_at = now
        self._end_at = now + TRANSFER_S
        self._say_at = now + PROGRESS_S
        self._absent_since: float | None = None
        self._restarts = 0
        self._begin()

    def _begin(self) -> None:
        os.ftruncate(self._file.fileno(), 0)
        self._due = {0: 0.0}
        """Pieces that are not here yet, by place, and when each is asked for (again)."""
        self._next_at = CHUNK_BYTES_MAX
        self._made = self._total = 0
        self._bytes = 0

    def run(self) -> None:
        """Ask until all is here."""
        while self._due:
            now = time.monotonic()
            self._give_up_if_late(now)
            for at, due in self._due.items():
                if due <= now:
                    self._due[at] = now + ASK_AGAIN_S
                    self._ask(_at(self._want, at))
            try:
                item = self._inbox.get(timeout=max(0.0, min(self._due.values()) - now))
            except Empty:
                continue
            match item:
                case Pack():
                    self._take(item, time.monotonic())
                case _Word.AGAIN:
                    self._due = dict.fromkeys(self._due, 0.0)
                case _Word.STOP:
                    raise SupplyError("the runner stops")
                case _:
                    assert_never(item)

    def _give_up_if_late(self, now: float) -> None:
        if now >= self._end_at:
            raise SupplyError(
                f"after {TRANSFER_S / 60:g} minutes only {self._bytes} of {self._total} bytes had been supplied"
            )
        if now - self._heard_at >= SILENCE_S:
            raise SupplyError(f"nothing was supplied for {SILENCE_S:g} s")

    def _take(self, pack: Pack, now: float) -> None:
        self._heard_at = now
        if not pack.data:
            self._postpone(pack, now)
            return
        self._absent_since = None
        if (pack.made, pack.total) != (self._made, self._total):
            if pack.at not in self._due or not 0 < pack.total <= BUNDLE_BYTES_MAX:
                return
            self._start_with(pack)
        end = pack.at + len(pack.data)
        if pack.at not in self._due or end > self._total:
            return
        os.pwrite(self._file.fileno(), pack.data, pack.at)
        del self._due[pack.at]
        self._bytes += len(pack.data)
        if end < min(self._total, pack.at + CHUNK_BYTES_MAX):
            self._due[end] = now  # Whoever gives shorter pieces is asked for the rest of each.
        self._fill_window(now)
        self._tell_progress(now)

    def _fill_window(self, now: float) -> None:
        while len(self._due) < WINDOW and self._next_at < self._total:
            self._due[self._next_at] = now
            self._next_at += CHUNK_BYTES_MAX

    def _start_with(self, pack: Pack) -> None:
        """This is the first piece, or one of a bundle that was made anew: pieces of two do not fit together."""
        if self._made:
            self._restarts += 1
            if self._restarts > RESTARTS_MAX:
                raise SupplyError(f"what is supplied changed {self._restarts} times on its way")
            self._begin()
        self._made, self._total = pack.made, pack.total

    def _postpone(self, pack: Pack, now: float) -> None:
        """Nothing came but a reason; ask again later, if that makes sense."""
        if pack.problem and not pack.retry_ms:
            raise SupplyError(pack.problem, denied=True)
        if not pack.problem:
            self._absent_since = None
        elif self._absent_since is None:
            self._absent_since = now
        elif now - self._absent_since >= ABSENT_S:
            raise SupplyError(pack.problem)
        if pack.at in self._due:
            self._due[pack.at] = now + max(RETRY_MIN_S, min(RETRY_MAX_S, pack.retry_ms / 1000))

    def _tell_progress(self, now: float) -> None:
        if now >= self._say_at:
            self._say_at = now + PROGRESS_S
            voice.info("commit is on its way", sha=self._want.sha, bytes=self._bytes, of=self._total)


def _at(want: Want, at: int) -> Want:
    return Want(id=want.id, repo=want.repo, sha=want.sha, have=want.have, at=at)


# ---- when it is used -------------------------------------------------------------------------------------------------


def get_commit(mirror: Mirror, assign: Assign, supply: Supply | None) -> None:
    """Bring the commit of an attempt into the mirror: from its repository, or else through `supply`. Blocks.

    Raises:
        InfrastructureError: it cannot be had; one sentence tells why each way failed.
    """
    try:
        mirror.fetch(assign.sha, assign.ref or None)
    except MirrorError as problem:
        if supply is None or problem.trouble in _OURS:
            raise
        with mirror.folder.lock_supply():
            if not mirror.has(assign.sha):
                voice.info("commit is asked for through the dispatcher", sha=assign.sha, reason=problem)
                _take_supply(mirror, assign, supply, str(problem))


def _take_supply(mirror: Mirror, assign: Assign, supply: Supply, direct: str) -> None:
    """Ask for what the mirror lacks; if that does not do, once more for everything, perhaps of another observer."""
    problem: InfrastructureError | None = None
    for have in (tips(mirror), ()):
        try:
            with tempfile.TemporaryFile(dir=mirror.path.parent) as file:
                supply(assign.repo, assign.sha, have, file)
                take_bundle(mirror, assign.sha, file, assign.ref or None)
        except (MirrorError, SupplyError) as found:
            if isinstance(found, MirrorError) and found.trouble in _OURS:
                raise
            problem = found
            if isinstance(found, SupplyError) and not found.denied:
                break
        else:
            voice.info("commit was supplied through the dispatcher", sha=assign.sha)
            return
    reasons = f"from its repository: {direct.rstrip('.')}; nor through the dispatcher: {str(problem).rstrip('.')}"
    raise SupplyError(f"commit {assign.sha} cannot be had, neither {reasons}") from problem
