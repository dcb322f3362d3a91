"""Passes on what the shards of a suite ask, from a folder of their workspace to the dispatcher and back.

What belongs here: the runner's side of that folder, and the look at what a shard left undone. What does not: the
steps' side of it (`surveil.shards`), and who gets what (`core.shards`).

Questions and answers are files, so that steps without a network can ask, in a container too, and so that nothing is
lost when the agent dies: the next one finds each question that has no answer. One thread looks after each shard.

The folder is the steps' own: links are not followed, and what is read of it is bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, get_args

from surveil.core.model import AttemptId
from surveil.core.shared_lists import is_plain, pack, wrong_with
from surveil.execute.collect.collecting import Collection, Work
from surveil.protocol import BATCH_MAX, CaseState, ShardAsk, ShardResult, ShardTell
from surveil.say import Voice

ASK_BYTES_MAX: Final = 32 * 1024 * 1024
DURATION_MS_MAX: Final = 10**10
LOOK_S: Final = 0.02
LOOK_SLOW_S: Final = 0.1
LOOK_LEAST_S: Final = 0.002
LOOK_SHARE: Final = 0.02
"""A shard that asked a while ago works on something long: it is looked for its next question ever more seldom, so that
nobody waits for more than this share of its work, and a thousand shards cost nothing while they are busy.
"""
AGAIN_S: Final = 5.0
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STATES: Final = frozenset(get_args(CaseState))
NO_RESULTS: Final = "what a shard has done is to be a list of item, state and milliseconds"
NEVER_ASKED: Final = (
    "it is one of several shards, and its steps took nothing of what these share: type "
    "`PYTHONPATH=$SURVEIL_SHARDS python -m pytest -p surveil_shards`, or see `$SURVEIL_SHARDS/surveil_shards.py`"
)

Say = Callable[[ShardAsk], None]
voice = Voice("execute")


class Shards:
    """The shards on this machine. `say` says a `ShardAsk` from any thread, and may lose it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._clerks: dict[AttemptId, Clerk] = {}
        self._talks: dict[AttemptId, _Talk] = {}

    def begin(self, attempt: AttemptId, folder: Path) -> None:
        """Look after a shard, from its beginning or from wherever it is."""
        if attempt not in self._clerks:
            clerk = self._clerks[attempt] = Clerk(attempt, folder, self._say)
            clerk.start()

    def end(self, attempt: AttemptId) -> None:
        """Its steps have ended. Never waits."""
        if (clerk := self._clerks.pop(attempt, None)) is not None:
            clerk.over.set()

    def close(self) -> None:
        """Look after none any more."""
        for attempt in list(self._clerks):
            self.end(attempt)

    def hear(self, tell: ShardTell) -> None:
        """Take what came. Called in the loop; never waits."""
        attempt = (tell.job, tell.attempt)
        clerk = self._clerks.get(attempt)
        for talk in (None if clerk is None else clerk.talk, self._talks.get(attempt)):
            if talk is not None:
                talk.inbox.put(tell)

    def restart(self) -> None:
        """Say again what is on its way: there is a new connection, and what was said on an old one is lost."""
        for talk in [*(clerk.talk for clerk in self._clerks.values()), *self._talks.values()]:
            talk.inbox.put(None)

    def __call__(self, work: Work) -> Collection:
        """See, as a collector, that whoever passed has left nothing undone."""
        if not work.assign.spec.shards or work.outcome != "passed":
            return Collection()
        notes = _Notes(work.workspace.shards)
        first = None if notes.folder is None else notes.read(1)
        if first is None:
            return Collection(missing=NEVER_ASKED)
        talk = self._talks[work.id] = _Talk(work.id, self._say)
        talk.know(first.get("items"))
        try:
            told = talk.ask(0, (), work.unwanted, final=True)
        finally:
            del self._talks[work.id]
            notes.close()
        work.check()
        if told is None or not told.left:
            return Collection()
        return Collection(missing=f"{told.left} of the tests that its suite shares were run by no shard")


class _Talk:
    """One conversation with the dispatcher, about one list."""

    def __init__(self, attempt: AttemptId, say: Say) -> None:
        self._attempt = attempt
        self._say = say
        self.inbox: SimpleQueue[ShardTell | None] = SimpleQueue()
        self.items: list[str] = []
        self._digest = ""
        self._data = b""

    def know(self, items: Any) -> str:
        """Take the list that the steps share; what is wrong with it, or nothing."""
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            return "the first question of a shard has to hold the list of what is shared, `items`"
        try:
            self._digest, self._data = pack(items)
        except UnicodeEncodeError:
            return "an item of what is shared is no text"
        self.items = items
        return wrong_with(items)

    def ask(
        self, seq: int, done: tuple[ShardResult, ...], unwanted: Callable[[], bool], *, final: bool = False
    ) -> ShardTell | None:
        """Ask until there is an answer, or nobody wants it any more."""
        said = ShardAsk(
            job=self._attempt[0], attempt=self._attempt[1], seq=seq, digest=self._digest, done=done, final=final
        )
        data = b""
        again_at = 0.0
        while not unwanted():
            if time.monotonic() >= again_at:
                self._say(ShardAsk(**{**_fields(said), "data": data}))
                again_at = time.monotonic() + AGAIN_S
            try:
                told = self.inbox.get(timeout=LOOK_S)
            except Empty:
                continue
            if told is None:
                again_at = 0.0
            elif told.seq == seq and told.wants_list:
                again_at = again_at if data else 0.0
                data = self._data
            elif told.seq == seq:
                return told
        return None


def _fields(said: ShardAsk) -> dict[str, Any]:
    return {name: getattr(said, name) for name in ("job", "attempt", "seq", "digest", "done", "final")}


class Clerk(threading.Thread):
    """Looks after the folder of one shard."""

    def __init__(self, attempt: AttemptId, folder: Path, say: Say) -> None:
        super().__init__(name="shard", daemon=True)
        self._attempt = attempt
        self._folder = folder
        self.talk = _Talk(attempt, say)
        self.over = threading.Event()

    def run(self) -> None:
        """Answer one question after the other."""
        with contextlib.closing(_Notes(self._folder)) as notes:
            try:
                self._serve(notes)
            except OSError as error:
                voice.error("a shard's questions cannot be answered", job=self._attempt[0], reason=error)

    def _serve(self, notes: _Notes) -> None:
        number = 1
        answered_at = time.monotonic()
        numbers: dict[str, int] = {}
        while not self.over.is_set():
            asked = notes.read(number)
            if asked is None:
                busy_s = time.monotonic() - answered_at
                self.over.wait(min(LOOK_SLOW_S, max(LOOK_LEAST_S, busy_s * LOOK_SHARE)))
                continue
            problem = self.talk.know(asked.get("items")) if number == 1 else ""
            numbers = numbers or {item: place for place, item in enumerate(self.talk.items)}
            if not notes.answered(number):
                done = _results(asked.get("done"), numbers)
                if problem or done is None:
                    notes.write(number, {"problem": problem or NO_RESULTS})
                elif (told := self.talk.ask(number, done, self.over.is_set)) is not None:
                    batch = [self.talk.items[place] for place in told.batch if place < len(self.talk.items)]
                    notes.write(number, {"problem": told.problem} if told.problem else {"batch": batch})
                else:
                    return
            number += 1
            answered_at = time.monotonic()


def _results(done: Any, numbers: dict[str, int]) -> tuple[ShardResult, ...] | None:
    """What a shard says it has done, or None where that is not what it should be."""
    if not isinstance(done, list) or len(done) > BATCH_MAX:
        return None
    found: list[ShardResult] = []
    for one in done:
        match one:
            case [str(item), str(state), int(duration_ms)] if item in numbers and state in _STATES:
                ms = min(max(duration_ms, 0), DURATION_MS_MAX)
                found.append(ShardResult(item=numbers[item], state=state, duration_ms=ms))  # type: ignore[arg-type]
            case _:
                return None
    return tuple(found)


class _Notes:
    """The folder, held open: whatever its name comes to stand for, this is what is read and written."""

    def __init__(self, path: Path) -> None:
        self.folder: int | None = None
        with contextlib.suppress(OSError):
            self.folder = os.open(path, _FOLDER)

    def read(self, number: int) -> dict[str, Any] | None:
        """A question, None where there is none yet. What is no question is one that says nothing."""
        try:
            file = os.open(f"ask.{number}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                           dir_fd=self._open)  # fmt: skip
        except OSError:
            return None
        with os.fdopen(file, "rb") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return {}
            content = opened.read(ASK_BYTES_MAX + 1)
        try:
            asked = json.loads(content) if len(content) <= ASK_BYTES_MAX and is_plain(content) else None
        except (ValueError, RecursionError):
            asked = None
        return asked if isinstance(asked, dict) else {}

    def answered(self, number: int) -> bool:
        """Whether there is an answer already."""
        try:
            os.stat(f"tell.{number}", dir_fd=self._open, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def write(self, number: int, told: dict[str, Any]) -> None:
        """Give an answer, whole or not at all. Raises OSError."""
        draft = f"tell.{number}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=self._open)  # Of an agent that was killed.
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644,
                       dir_fd=self._open)  # fmt: skip
        with os.fdopen(file, "w") as opened:
            json.dump(told, opened)
        os.rename(draft, f"tell.{number}", src_dir_fd=self._open, dst_dir_fd=self._open)

    @property
    def _open(self) -> int:
        if self.folder is None:
            raise FileNotFoundError("there is no folder for questions")
        return self.folder

    def close(self) -> None:
        """Let go of it."""
        if self.folder is not None:
            os.close(self.folder)
            self.folder = None
