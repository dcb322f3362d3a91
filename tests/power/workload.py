"""What the three roles do to their disks, in a process of its own, each promise marked at the moment at which it is
made.

    python -m tests.power.workload FOLDER SEED STEPS [lying]

On a `lying` machine nothing that Python syncs reaches the platter: its promises must turn out broken.

What belongs here: the work. What does not: what it promises (`promises`).
"""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path
from zlib import crc32

from surveil.core.model import AttemptState, Status
from surveil.core.observe_model import Record
from surveil.core.state import Changes
from surveil.disk import make_folder
from surveil.execute import files
from surveil.execute.identity import Tombstones, begin_incarnation
from surveil.execute.logs.spool import SpoolWriter
from surveil.hands.records import Records
from surveil.net.keys import load_or_make_keys
from surveil.places import KEYS, LOGS
from surveil.store.backup import backup
from surveil.store.logs import LogClosed, LogStore
from surveil.store.sqlite import open_store
from tests.disks.mounted import mark
from tests.power.promises import BACKUP, BEHIND, DISPATCHER, OBSERVER, PIECE_BYTES_MAX, REPO, RUNNER, SPOOL, body
from tests.store.records import make_attempt, make_build, make_job, make_note, make_token

SPOOLS_MAX = 3
LOGS_MAX = 4


class Worker:
    """A dispatcher's, a runner's and an observer's disk work, one step after another."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder = folder
        self.dice = dice
        self.data = folder / DISPATCHER
        self.commits = 0
        self.tokens = 0
        self.backups = 0
        self.refs = 0
        self.said: dict[int, int] = {}
        """By build, how much of its log was appended; open ones only."""
        self.attempts = 0
        self.spool: SpoolWriter | None = None
        self.clock = 0

    def work(self, steps: int) -> None:
        often = [self.commit, self.append, self.append, self.flush, self.attempt, self.attempt]
        seldom = [
            self.token, self.finish, self.restart_dispatcher, self.restart_runner, self.entomb, self.remember,
            self.back_up,
        ]  # fmt: skip
        for _ in range(steps):
            self.dice.choice(often if self.dice.random() < 0.8 else seldom)()

    def say(self, **marks: object) -> None:
        mark(self.folder, json.dumps(marks))

    def start_dispatcher(self) -> None:
        self.key(f"{DISPATCHER}/{KEYS}/server.key")
        self.store = open_store(self.data, now=1)
        self.say(epoch=self.store.cluster.epoch)
        self.logs = LogStore(self.data / LOGS, unflushed_bytes_max=3 * PIECE_BYTES_MAX)

    def restart_dispatcher(self) -> None:
        # As a killed one does: nothing is closed in order but for the descriptors.
        self.logs.flush()
        self.store.close()
        self.start_dispatcher()

    def key(self, path: str) -> None:
        self.say(keys=[path, load_or_make_keys(self.folder / path).public])

    def commit(self) -> None:
        build = self.commits + 1
        self.say(begun=build)
        new = (
            make_build(build, created_at=build),
            make_job(build, state=Status.RUNNING, attempt=1),
            make_attempt(build),
        )
        done = build - BEHIND
        ended = (
            make_attempt(done, state=AttemptState.PASSED, exit_code=0),
            make_job(done, state=Status.PASSED, attempt=1),
        )
        changed = ended if done > 0 else ()
        self.store.commit(Changes(new=new, changed=changed, notes=(make_note(build=build),)))
        self.commits = build
        self.say(commits=build)

    def token(self) -> None:
        self.tokens += 1
        self.store.add_token(make_token(f"t{self.tokens}"))
        self.say(tokens=f"t{self.tokens}")

    def append(self) -> None:
        if not self.commits:
            return
        if len(self.said) < LOGS_MAX:
            self.said.setdefault(self.dice.randint(max(1, self.commits - LOGS_MAX), self.commits), 0)
        for build in self.dice.sample(sorted(self.said), self.dice.randint(1, len(self.said))):
            at = self.said[build]
            upto = at + self.dice.choice((1, 30, 700, PIECE_BYTES_MAX))
            data = body(f"log {build}", upto)[at:]
            reached = self._continue(f"{build}/test", at, data, after_ms=upto)
            self.said[build] = reached

    def _continue(self, job: str, at: int, data: bytes, *, after_ms: int) -> int:
        """As the dispatcher does it: a log that was closed is opened again for a runner that came back after all."""
        try:
            return self.logs.append(job, 1, at, data, crc=crc32(data), after_ms=after_ms)
        except LogClosed:
            self.logs.reopen(job, 1)
            return self.logs.append(job, 1, at, data, crc=crc32(data), after_ms=after_ms)

    def flush(self) -> None:
        for (job, _), upto in self.logs.flush().items():
            self.say(logs=[job.partition("/")[0], upto])

    def finish(self) -> None:
        if not self.said:
            return
        build = self.dice.choice(sorted(self.said))
        self.flush()
        self.say(closing=build)
        if self.logs.finish(f"{build}/test", 1, self.said[build]):
            # If it is chosen again, its runner came back after all.
            del self.said[build]
            self.commit()

    def start_runner(self) -> None:
        self.key(f"{RUNNER}/{KEYS}/runner.key")
        make_folder(self.folder / RUNNER / SPOOL)
        self.say(incarnation=begin_incarnation(self.folder / RUNNER).incarnation)
        self.tombstones = Tombstones(self.folder / RUNNER)

    def restart_runner(self) -> None:
        self.tombstones.close()
        self.start_runner()

    def entomb(self) -> None:
        wanted = [(f"{self.dice.randint(1, 30)}/test", self.dice.randint(1, 9)) for _ in range(3)]
        wanted = [(job, max(number, self.tombstones.known.get(job, 0))) for job, number in wanted]
        self.tombstones.write(wanted)
        for job, number in wanted:
            self.tombstones.known[job] = max(number, self.tombstones.known.get(job, 0))
            self.say(tombstones=[job, self.tombstones.known[job]])

    def attempt(self) -> None:
        """A keeper's way from its order to its verdict, a piece at a time."""
        if self.spool is None:
            self.attempts += 1
            self.attempt_folder.mkdir()
            self.spool = SpoolWriter(str(self.attempt_folder / files.SPOOL), lambda: self.clock)
        at = self.spool.log_bytes
        upto = at + self.dice.choice((1, 200, PIECE_BYTES_MAX))
        self.spool.append(body(f"spool {self.attempts}", upto)[at:], self.clock)
        self.clock += 1
        if self.dice.random() < 0.3:
            self.spool.sync()
            self.say(synced=[self.attempts, self.spool.log_bytes])
        if self.dice.random() < 0.2:
            self.spool.sync()
            self.say(ended=[self.attempts, self.spool.log_bytes])
            status = files.Status("passed", "", 0, 0, 1, self.spool.log_bytes, [], "process")
            files.write_status(str(self.attempt_folder), status, sync=True)
            self.spool.close()
            self.spool = None

    @property
    def attempt_folder(self) -> Path:
        return self.folder / RUNNER / SPOOL / str(self.attempts)

    def remember(self) -> None:
        self.refs += 1
        refs = {"refs/heads/main": f"{self.refs:040x}"}
        Records(self.folder / OBSERVER).write(Record(repo=REPO, patterns=("*",), head_owed=False, refs=refs))
        self.say(refs=self.refs)

    def back_up(self) -> None:
        if self.backups < 2:
            self.logs.flush()
            backup(self.data, self.folder / BACKUP / str(self.backups + 1), now=1)
            self.backups += 1
            self.say(backups=self.backups)


def main() -> None:
    """Work for so many steps."""
    folder, seed, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if "lying" in sys.argv:
        os.fsync = os.fdatasync = lambda _: None  # type: ignore[assignment]
    dice = random.Random(seed)
    worker = Worker(folder, dice)
    worker.start_dispatcher()
    worker.start_runner()
    worker.work(steps)


if __name__ == "__main__":
    main()
