"""The keeper: a small process that runs one attempt's steps to their end, whatever becomes of the agent.

What belongs here: the order of steps, their time, their verdict. What does not: starting and killing processes
(`site`, `contained`), their output (`steplog`), sentences (`endings`), the shape of files (`files`, `spool`), and
everything that an agent decides. Imports only the standard library, and little of it: a keeper is forked for each
attempt.

It reads `order.json`, obeys the named pipe `control` (lines `cancel GRACE_MS` and `lease UNTIL_BOOT_MS`), appends
to `spool`, keeps `status.json` current, and rings `bell`. It has one thread and one loop, and ends when nothing is
left below it.
"""

# ruff: noqa: PTH108, PTH118, PTH119  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Final

from surveil.clock import boot_ms
from surveil.execute import entrusted, files, offspring
from surveil.execute.bell import Bell
from surveil.execute.contained import Contained
from surveil.execute.endings import End, disk_words, failure_words, secret_words, timeout_words
from surveil.execute.entrusted import NOTHING, Entrusted
from surveil.execute.files import Order, OutputStatus, RemarkStatus, Status, StepOrder, StepStatus
from surveil.execute.masking import Cover, Forms
from surveil.execute.outputs import OutputsError, read_outputs
from surveil.execute.site import OwnProcesses, Site
from surveil.execute.spool import SpoolWriter
from surveil.execute.steplog import StepLog

KILL_GRACE_MS: Final = 5_000
"""How long a step that ran out of time may take to end by itself."""
LEAK_MS: Final = 2_000
"""How long the output stays open for processes that a step left behind, after its own has ended."""
REMARKS_MAX: Final = 100
"""So much is said of one attempt's output: the result has to fit into what is held back for it on a full disk."""
LOOK_MS: Final = 1_000
"""A lease is looked at this often: after a suspended machine wakes, `poll` would sleep on for what was left before.
"""


class Keeper:
    """One attempt, from its first step to its result on disk."""

    def __init__(self, folder: str, order: Order, trusted_with: Entrusted = NOTHING) -> None:
        self.folder = folder
        self.order = order
        self.entrusted = trusted_with
        self.forms = Forms(trusted_with.secrets())
        self.secrets: dict[str, str] = {}
        """The variables by which steps find the secrets."""
        self.steps = [StepStatus(name=step.name, state="pending") for step in order.steps]
        self.outputs: list[OutputStatus] = []
        self.now = boot_ms()
        self.started_at = self.now
        self.spool = SpoolWriter(os.path.join(folder, files.SPOOL), boot_ms, note=os.path.join(folder, files.ACCEPTED))
        self.bell = Bell(order.bell, os.path.basename(folder))
        self.lease_until = order.lease_until_boot_ms
        self.timeout_at = self.now + order.timeout_ms if order.timeout_ms else None
        self.ending: End | None = None
        """Why the running step is being ended from outside, once it is."""
        self.kill_at: int | None = None
        self.asked = 0
        """The process of the step that was asked to end."""
        self.exits: dict[int, offspring.Exit] = {}
        self.site: Site = Contained(order) if order.container else OwnProcesses(order)
        self.poll = select.poll()
        self.control = os.open(os.path.join(folder, files.CONTROL), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.commands = b""
        self.wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.terminated = False
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        for descriptor in (self.control, self.wake, *self.site.descriptors):
            self.poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        """Run the steps, and write the result."""
        end = End("passed", "", 0)
        try:
            self._tell()
            self.site.open()
            self._unpack_secrets()
            for index, step in enumerate(self.order.steps):
                exit_code = self._run_step(index, step)
                limit = self.site.news()
                if exit_code and not step.continue_on_error:
                    raise End("failed", failure_words(step.name, exit_code, limit), exit_code)
        except End as early:
            end = early
            if end.outcome == "failed" and end.exit_code is None and (limit := self.site.news()):
                end.reason += f"; {limit}"
        except OSError as error:
            end = End("errored", disk_words(error))
        self.site.close()
        if self.order.secrets:
            entrusted.remove_files(self.order.secrets)
        self._finish(self._put_out(end))

    def _put_out(self, end: End) -> End:
        """Take what the steps put out. Whoever relies on it must not go on without, so what cannot be read is a
        failure.
        """
        if not self.order.outputs or end.outcome not in {"passed", "failed"}:
            return end
        try:
            found = read_outputs(self.order.outputs)
            self.outputs = [OutputStatus(*map(self.forms.cover, output)) for output in found]
        except OutputsError as error:
            return End("failed", str(error)) if end.outcome == "passed" else end
        return end

    def _unpack_secrets(self) -> None:
        try:
            paths = entrusted.write_files(self.order.secrets, self.entrusted)
        except OSError as error:
            raise End("errored", secret_words(error)) from error
        self.secrets = self.entrusted.variables | paths

    # ---- one step ----

    def _run_step(self, index: int, step: StepOrder) -> int:
        """Run one step to its end and everything's end that held its output; return its exit code."""
        self._look()
        if self.ending is not None:
            raise self.ending
        self._step(index, state="running", started_after_ms=self._after(), log_at=self.spool.log_bytes)
        try:
            process, output = self.site.start(index + 1, step._replace(env=step.env | self.secrets))
        except End as end:
            self._step(index, state=end.outcome, finished_after_ms=self._after())
            raise
        try:
            return self._watch(index, step, process, output)
        finally:
            os.close(output)

    def _watch(self, index: int, step: StepOrder, pid: int, output: int) -> int:
        cover = Cover(self.forms, boot_ms) if self.forms else None
        log = StepLog(self._append, self.order.log_bytes_max, lambda sentence: self._remark(index, sentence), cover)
        step_timeout_at = self.now + step.timeout_ms if step.timeout_ms else None
        exited: offspring.Exit | None = None
        leak_at: int | None = None
        self.poll.register(output, select.POLLIN)
        open_ = True
        try:
            while exited is None or open_:
                self._wait(step_timeout_at, leak_at, log.due_at)
                self._look()
                log.release()
                if exited is None:
                    self._enforce(step, pid, step_timeout_at)
                if open_:
                    open_ = log.read(output)
                    if not open_:
                        self.poll.unregister(output)
                if exited is None and pid in self.exits:
                    exited = self.exits.pop(pid)
                    leak_at = self.now + LEAK_MS
                if exited is not None and open_ and leak_at is not None and self.now >= leak_at:
                    self._end_leak(index, log, output)
                    break
        finally:
            if open_:
                self.poll.unregister(output)
        log.close()
        assert exited is not None, "it was watched to its end"
        return self._conclude(index, pid, exited)

    def _conclude(self, index: int, pid: int, exited: offspring.Exit) -> int:
        finished = self._after()
        if self.ending is None:
            state = "passed" if exited.code == 0 else "failed"
            self._step(index, state=state, exit_code=exited.code, finished_after_ms=finished)
            return exited.code
        # Whatever else was asked to end gets the rest of its grace.
        while self.kill_at is not None and self.now < self.kill_at and self.site.lives(pid):
            self._wait(None)
            self._look()
        state = {"failed": "failed", "errored": "errored"}.get(self.ending.outcome, "cancelled")
        self._step(index, state=state, exit_code=exited.code, finished_after_ms=finished)
        raise self.ending

    def _end_leak(self, index: int, log: StepLog, output: int) -> None:
        """Processes that the step left behind still hold its output: end them, and say so."""
        self.site.kill()
        log.drain(output)
        self._remark(index, "processes that the step left behind kept its output open, and were ended")

    def _enforce(self, step: StepOrder, pid: int, step_timeout_at: int | None) -> None:
        """End the running step when something says so; kill it when it does not end."""
        if self.ending is None:
            if self.timeout_at is not None and self.now >= self.timeout_at:
                self._end(End("failed", timeout_words(self.order.timeout_ms)), KILL_GRACE_MS)
            elif step_timeout_at is not None and self.now >= step_timeout_at:
                self._end(End("failed", timeout_words(step.timeout_ms, step.name)), KILL_GRACE_MS)
        if self.ending is None:
            return
        if self.asked != pid and pid not in self.exits:
            self.asked = pid
            self.site.ask(pid)
        if self.kill_at is not None and self.now >= self.kill_at:
            self.exits |= self.site.kill()

    # ---- what happens meanwhile ----

    def _wait(self, *deadlines: int | None) -> None:
        due = [*deadlines, self.kill_at, self.spool.due_at(), self.bell.due_at, self.site.due_at()]
        if self.ending is None:
            due.append(self.timeout_at)
        if self.lease_until is not None:
            due.append(self.now + LOOK_MS)
        earliest = min((at for at in due if at is not None), default=None)
        self.poll.poll(None if earliest is None else max(0, earliest - boot_ms()))
        self.now = boot_ms()

    def _look(self) -> None:
        """Take in signals, ended children, commands and the lease."""
        self.now = boot_ms()
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)
        self.exits |= self.site.reap(self.now)
        if trouble := self.site.trouble():
            self._end(End("errored", trouble), 0)
        with contextlib.suppress(BlockingIOError):
            self.commands += os.read(self.control, 4096)
        *lines, self.commands = self.commands.split(b"\n")
        for line in lines:
            self._obey(line.decode(errors="replace"))
        if self.terminated:
            self._end(End("lost", "the attempt's keeper was ended by a signal from outside"), 0)
        # Whoever is given a grace to end has no longer than the lease: another may run after that.
        if self.lease_until is not None and self.now >= self.lease_until:
            self._end(End("lost", "the attempt's lease ran out: nothing was heard of the dispatcher"), 0)
        due = self.spool.due_at()
        if due is not None and self.now >= due:
            self.spool.sync()
        self.bell.ring_if_due(self.now)

    def _obey(self, line: str) -> None:
        word, _, number = line.partition(" ")
        if not number.isdecimal():
            return
        if word == "cancel":
            self._end(End("cancelled", "cancelled"), int(number))
        elif word == "lease" and self.lease_until is not None:
            self.lease_until = max(self.lease_until, int(number))

    def _end(self, end: End, grace_ms: int) -> None:
        """End the attempt after `grace_ms`. The first reason stays; a shorter grace counts."""
        self.ending = self.ending or end
        kill_at = self.now + grace_ms
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)

    def _on_sigterm(self, *_: object) -> None:
        self.terminated = True

    # ---- what others see ----

    def _append(self, data: bytes) -> None:
        self.spool.append(data, max(0, self.now - self.order.accepted_boot_ms))
        self.bell.ring(self.now)

    def _after(self) -> int:
        return max(0, boot_ms() - self.order.accepted_boot_ms)

    def _step(self, index: int, **changes: object) -> None:
        self.steps[index] = self.steps[index]._replace(**changes)  # type: ignore[arg-type]
        if self.steps[index].state == "running":
            self._tell()

    def _remark(self, index: int, sentence: str) -> None:
        """Say something of our own about a step's output: beside the log, with its place in it."""
        said = sum(len(step.remarks) for step in self.steps)
        if said >= REMARKS_MAX:
            return
        if said == REMARKS_MAX - 1:
            sentence = f"{sentence}; from here on no more is said of what becomes of output"
        remark = RemarkStatus(self.spool.log_bytes, self._after(), sentence)
        self._step(index, remarks=[*self.steps[index].remarks, remark])

    def _tell(self, outcome: str = "", reason: str = "", exit_code: int | None = None, *, sync: bool = False) -> None:
        status = Status(
            outcome=outcome,
            reason=self.forms.cover(reason),
            exit_code=exit_code,
            started_after_ms=max(0, self.started_at - self.order.accepted_boot_ms),
            finished_after_ms=self._after(),
            log_bytes=self.spool.log_bytes,
            steps=[self._shown(step) for step in self.steps] if self.forms else self.steps,
            isolation=self.order.isolation,
            outputs=self.outputs,
        )
        files.write_status(self.folder, status, sync=sync)
        self.bell.ring(self.now)

    def _shown(self, step: StepStatus) -> StepStatus:
        """The same step without anything secret, which may stand in its very name."""
        remarks = [remark._replace(text=self.forms.cover(remark.text)) for remark in step.remarks]
        return step._replace(name=self.forms.cover(step.name), remarks=remarks)

    def _finish(self, end: End) -> None:
        self.steps = [step._replace(state="skipped") if step.state == "pending" else step for step in self.steps]
        closed = {"state": "errored", "finished_after_ms": self._after()}
        self.steps = [step._replace(**closed) if step.state == "running" else step for step in self.steps]  # type: ignore[arg-type]
        try:
            self.spool.sync()
        except OSError as error:
            end = End("errored", disk_words(error))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, files.RESERVE))
        self._tell(end.outcome, end.reason, end.exit_code, sync=True)
        self.bell.flush()
        self.spool.close()


def keep(folder: str, lock: int, handed_over: int | None = None) -> None:
    """Be the keeper of the attempt in `folder`. The lock file is locked already, and stays so while we live.
    `handed_over` is where secrets are read from, if there are any.
    """
    offspring.become_keeper()
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    trusted_with = NOTHING if handed_over is None else entrusted.take(handed_over)
    Keeper(folder, files.read_order(folder), trusted_with).run()
