"""The keeper: a small process that runs one attempt's steps to their end, whatever becomes of the agent.

What belongs here: the order of steps, their time, their verdict. What does not: starting and killing processes (`site`,
`contained`), their output (`steplog`), the services beside them (`services`), sentences (`endings`), the shape of files
(`files`, `logs.spool`), and everything that an agent decides. Imports only the standard library, and little of it: a
keeper is forked for each attempt.

It reads `order.json`, obeys the named pipe `control` (lines `cancel GRACE_MS` and `lease UNTIL_BOOT_MS`), appends to
`spool`, keeps `status.json` current, and rings `bell`. It has one thread and one loop, and ends after all below it.
"""

# ruff: noqa: PTH108, PTH118, PTH119  # A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable
from typing import Final

from surveil.clock import boot_ms
from surveil.execute import files
from surveil.execute.files import Order, OutputStatus, RemarkStatus, Status, StepOrder, StepStatus
from surveil.execute.keeper import entrusted, offspring
from surveil.execute.keeper.bell import Bell
from surveil.execute.keeper.contained import Contained
from surveil.execute.keeper.endings import GOES_ON, End, disk_words, failure_words, timeout_words
from surveil.execute.keeper.entrusted import NOTHING, Entrusted, unpacked
from surveil.execute.keeper.following import OVERTIME_MS, OVERTIME_WORDS, is_next, together, why_not
from surveil.execute.keeper.gauge import Gauge
from surveil.execute.keeper.masking import Cover, Forms
from surveil.execute.keeper.outputs import put_out
from surveil.execute.keeper.services import Services
from surveil.execute.keeper.site import OwnProcesses, Site
from surveil.execute.keeper.steplog import StepLog
from surveil.execute.logs.spool import SpoolWriter

KILL_GRACE_MS: Final = 5_000
"""How long a step that ran out of time may take to end by itself."""
LEAK_MS: Final = 2_000
"""How long the output stays open for processes that a step left behind, after its own has ended."""
REMARKS_MAX: Final = 100
"""So much is said of one attempt's output: the result has to fit into what is held back for it on a full disk."""
OTHERS_REMARKS_MAX: Final = 4
"""So much is said at one step of what is not its own doing: with its own remarks, it has to fit into a report."""
GONE_LOOK_MS: Final = 50
"""How often is looked whether what is left of a step in a sandbox has ended: nothing tells of it."""
LOOK_MS: Final = 1_000
"""A lease is looked at this often: after a suspended machine wakes, `poll` would sleep on for what was left."""


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
        self.overtime = ""  # What came of it from outside, once only what cleans up may run.
        self.kill_at: int | None = None
        self.asked = 0  # The process of the step that was asked to end.
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
        self.services = Services(order, folder, self.forms, self.poll)
        self.gauge = Gauge(order.disk, self.poll, self._remark_running) if order.disk else None

    def run(self) -> None:
        """Run the steps, and write the result."""
        end = End("passed", "", 0)
        try:
            self._tell()
            self.site.open()
            self.secrets = unpacked(self.order.secrets, self.entrusted)
            self._measure()
            self._start_services()
            end = self._run_steps()
            if end.outcome == "passed":
                self._measure()
        except End as early:
            end = self._with_limit(early)
        except OSError as error:
            end = End("errored", disk_words(error))
        if end.outcome == "failed" and (ended := self.services.ended()):
            end.reason += f"; {ended}"
        if self.gauge is not None:
            self.gauge.close()
        self.site.close()
        self.services.close()
        if self.order.secrets:
            entrusted.remove_files(self.order.secrets)
        if self.order.outputs and end.outcome in {"passed", "failed"}:
            self.outputs, end = put_out(self.order.outputs, self.forms.cover, end)
        self._finish(end)

    def _run_steps(self) -> End:
        """Run the steps, each after what became of those before it; return what they all came to."""
        so_far = End("passed", "", 0)
        for index, step in enumerate(self.order.steps):
            self._look()
            if self.ending is not None:  # It came between two steps.
                end = self.ending
                so_far = together(so_far, end)
                if not self._goes_on(end):
                    break
            if not is_next(step, so_far):
                if words := why_not(step, so_far):
                    self._remark(index, words)
                continue
            try:
                self._run_step(index, step)
            except End as early:
                so_far = together(so_far, self._with_limit(early))
                if not self._goes_on(early):
                    break
        return so_far

    def _with_limit(self, end: End) -> End:
        if end.outcome == "failed" and end.exit_code is None and (limit := self.site.news()):
            end.reason += f"; {limit}"
        return end

    def _goes_on(self, end: End) -> bool:
        """Whether steps may still run after this; where it came from outside, only what is left of a bounded time."""
        if self.ending is None or end.final or end.outcome not in {"failed", "cancelled"}:
            return end.outcome == "failed" and not end.final
        due = self.timeout_at is not None and self.now >= self.timeout_at
        if due or end.outcome == "cancelled":
            if self.overtime:
                return False
            self.overtime = end.outcome
            self.timeout_at = self.kill_at if end.outcome == "cancelled" else self.now + OVERTIME_MS
        self.exits |= self.site.kill()
        self.ending, self.kill_at, self.asked = None, None, 0
        return self.timeout_at is None or self.now < self.timeout_at

    def _start_services(self) -> None:
        """Have all services ready before the first step."""
        if not self.order.services:
            return
        self.services.open(self.secrets)
        self._tell()
        self._await(lambda: self.services.look(self.now))

    def _measure(self) -> None:
        """Know how much is written before the first step, and after the last: that hangs on nobody's speed."""
        if (gauge := self.gauge) is not None:
            self._await(lambda: not gauge.busy)
            gauge.begin(self.now)
            self._await(lambda: not gauge.busy)

    def _await(self, done: Callable[[], bool]) -> None:
        """Wait between steps, for as long as the attempt may go on. Raises End."""
        while not done():
            self._wait()
            self._look()
            if self.ending is None and self.timeout_at is not None and self.now >= self.timeout_at:
                raise End("failed", timeout_words(self.order.timeout_ms))
            if self.ending is not None:
                raise self.ending

    # ---- one step ----

    def _run_step(self, index: int, step: StepOrder) -> None:
        """Run one step to its end and everything's end that held its output. Raises End where that is no success."""
        self._step(index, state="running", started_after_ms=self._after(), log_at=self.spool.log_bytes)
        try:
            process, output = self.site.start(index + 1, step._replace(env=step.env | self.secrets))
        except End as end:
            self._step(index, state=end.outcome, finished_after_ms=self._after())
            raise
        try:
            exit_code = self._watch(index, step, process, output)
        finally:
            os.close(output)
        limit = self.site.news()
        if exit_code and not step.continue_on_error:
            raise End("failed", failure_words(f"step '{step.name}'", exit_code, limit), exit_code)

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
                self._wait(step_timeout_at, leak_at, log.intake.due_at)
                self._look()
                log.intake.release()
                if exited is None:
                    self._enforce(step, pid, step_timeout_at)
                if open_:
                    open_ = log.intake.read(output)
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
            self._wait(self.now + GONE_LOOK_MS)
            self._look()
        state = {"failed": "failed", "errored": "errored"}.get(self.ending.outcome, "cancelled")
        self._step(index, state=state, exit_code=exited.code, finished_after_ms=finished)
        raise self.ending

    def _end_leak(self, index: int, log: StepLog, output: int) -> None:
        """Processes that the step left behind still hold its output: end them, and say so."""
        self.site.kill()
        log.intake.drain(output)
        self._remark(index, "processes that the step left behind kept its output open, and were ended")

    def _enforce(self, step: StepOrder, pid: int, step_timeout_at: int | None) -> None:
        """End the running step when something says so; kill it when it does not end."""
        if self.ending is None:
            if self.timeout_at is not None and self.now >= self.timeout_at:
                if self.overtime:
                    self._remark_running(OVERTIME_WORDS)
                grace_ms = 0 if self.overtime else KILL_GRACE_MS
                self._end(End("failed", timeout_words(self.order.timeout_ms)), grace_ms)
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
        due = [*deadlines, self.kill_at, self.bell.due_at]
        due += [each.due_at() for each in (self.spool, self.site, self.services, self.gauge) if each is not None]
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
        for sentence in self.services.take(self.now):
            self._remark_running(sentence)
        if trouble := self.site.trouble():
            self._end(End("errored", trouble), 0)
        try:
            if self.gauge is not None:
                self.gauge.take(self.now)
        except End as end:
            self._end(end, 0)
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
        if (due := self.spool.due_at()) is not None and self.now >= due:
            self.spool.sync()
        self.bell.ring_if_due(self.now)

    def _obey(self, line: str) -> None:
        word, _, number = line.partition(" ")
        if not number.isdecimal():
            return
        if word == "cancel" and self.overtime == "cancelled":  # It is said until it is heard.
            self.timeout_at = min(self.timeout_at or self.now, self.now + int(number))
        elif word == "cancel":
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

    def _remark_running(self, sentence: str) -> None:
        """Say something at the place in the log that the running step has come to."""
        for index, step in enumerate(self.steps):
            if step.state == "running" and len(step.remarks) < OTHERS_REMARKS_MAX:
                self._remark(index, sentence)

    def _remark(self, index: int, sentence: str) -> None:
        """Say something of our own about a step's output: beside the log, with its place in it."""
        said = sum(len(step.remarks) for step in self.steps)
        if said >= REMARKS_MAX:
            return
        if said == REMARKS_MAX - 1:
            sentence = f"{sentence}; from here on no more is said of what becomes of output"
        remark = RemarkStatus(self.spool.log_bytes, self._after(), sentence)
        self._step(index, remarks=[*self.steps[index].remarks, remark])

    def _tell(self, end: End = GOES_ON) -> None:
        status = Status(
            outcome=end.outcome,
            reason=self.forms.cover(end.reason),
            exit_code=end.exit_code,
            started_after_ms=max(0, self.started_at - self.order.accepted_boot_ms),
            finished_after_ms=self._after(),
            log_bytes=self.spool.log_bytes,
            steps=[self._shown(step) if self.forms else step for step in (*self.steps, *self.services.steps)],
            isolation=self.order.isolation,
            outputs=self.outputs,
            blameless=end.blameless,
        )
        files.write_status(self.folder, status, sync=end is not GOES_ON)
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
            self.services.put_logs(self._append, lambda: self.spool.log_bytes)
            self.spool.sync()
        except OSError as error:
            end = End("errored", disk_words(error))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, files.RESERVE))
        self._tell(end)
        self.bell.flush()
        self.spool.close()
