"""The services of an attempt: started before its steps, watched while these run, and ended with them.

What belongs here: when a service is ready, what is said when it is not or when it ends too early, and its log until the
attempt ends. What does not: how anything runs in a container (`contained`), and the steps (`keeper`). Imports only what
a keeper may import.

A service is the first step of a container of its own, and each look at whether it is ready is a further one. Its output
is masked like that of steps, and kept in files beside the spool, so that it is never in the way of theirs; when all has
ended it is put behind it.
"""

# A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from surveil.clock import boot_ms
from surveil.execute.files import Order, RemarkStatus, ServiceOrder, StepOrder, StepStatus
from surveil.execute.keeper.contained import Contained
from surveil.execute.keeper.endings import End, duration_words, failure_words
from surveil.execute.keeper.intake import PIPE_BYTES, READ_BYTES
from surveil.execute.keeper.masking import Cover, Forms
from surveil.execute.keeper.servicelog import WORDS_BYTES, ServiceLog, last_lines, path_of

SERVER: Final = 1
"""The number of the step that is the service itself."""
LOOK_MS_MAX: Final = 10_000
"""How long one look at whether a service is ready may take; another follows."""

# What the kernel tells is read by words of the shell alone, as an image needs to have nothing else. 0A is "listens".
_LISTENS: Final = """\
for table in /proc/net/tcp /proc/net/tcp6; do
	[ -r "$table" ] || continue
	while read -r number here there state rest; do
		case $here/$state in %s) exit 0 ;; esac
	done <"$table"
done
exit 1
"""


class Service:
    """One service. `began_at` is when its attempt was accepted, by the keeper's clock."""

    def __init__(self, order: ServiceOrder, path: str, forms: Forms, began_at: int) -> None:
        self.order = order
        self.site = Contained(order)
        self.status = StepStatus(name=f"service {order.name}", state="pending", image=order.image)
        self.log = ServiceLog(path, Cover(forms, boot_ms) if forms else None)
        self.ready = False
        self.end = ""
        """How it ended, a sentence, once it did by itself."""
        self._forms = forms
        self._began_at = began_at
        self._env: dict[str, str] = {}
        self._give_up_at = 0
        self._output = -1
        self._look = 0
        """The number of the look that is being taken; 0 for none."""
        self._look_output = -1
        self._looks = 0
        self._heard = b""
        """The last that this look said."""
        self._looked = ""
        """The same of the one before."""
        self._look_at = 0
        """When the next look is due, or the one that is being taken is given up."""

    # ---- its life ----

    def open(self, secrets: Mapping[str, str]) -> None:
        """Start it. Raises End."""
        self.site.open()
        self._env = self.order.env | {name: secrets[name] for name in self.order.secrets if name in secrets}
        _, self._output = self.site.start(SERVER, self._step(self.order.argv))
        now = boot_ms()
        self._look_at, self._give_up_at = now, now + self.order.ready_ms
        self.ready = not (self.order.health or self.order.ports)
        self.status = self.status._replace(state="running", started_after_ms=self._after())

    def take(self, now: int) -> bool:
        """Take in what it says and whether it has ended; whether it has just now, and was ready before."""
        self.log.intake.release()
        if self._output >= 0 and not self.log.intake.read(self._output):
            self._close_output()
        self._hear()
        for number, exited in self.site.reap(now).items():
            if number == SERVER:
                self.end = failure_words(f"service '{self.order.name}'", exited.code, self.site.news())
                state = "failed" if exited.code else "passed"
                self.status = self.status._replace(state=state, exit_code=exited.code, finished_after_ms=self._after())
                return self.ready
            if number == self._look:
                self.ready = exited.code == 0
                self._end_look(now)
        return False

    def look(self, now: int) -> None:
        """Look whether it is ready, when it is time. Raises End if it is not in time, or has ended."""
        if self.ready:
            return
        if self.end:
            # Its own program ended, or else its container did: then the machine may be to blame.
            sentence = f"{self.end} before it was ready{self._last_words()}"
            raise End("errored", sentence, blameless=not self.site.trouble())
        if now >= self._give_up_at:
            within = duration_words(self.order.ready_ms)
            raise End("errored", f"service '{self.order.name}' was not ready within {within}{self._last_words()}")
        if now < self._look_at:
            return
        if self._look:
            self._end_look(now)
        self._looks += 1
        self._look = SERVER + self._looks
        _, self._look_output = self.site.start(self._look, self._step(self._health()))
        self._look_at = now + LOOK_MS_MAX

    def due_at(self) -> int | None:
        """When `take` and `look` are to be called at the latest."""
        looks = () if self.ready or self.end else (self._look_at, self._give_up_at)
        return min((at for at in (self.log.intake.due_at, self.site.due_at(), *looks) if at is not None), default=None)

    def close(self) -> None:
        """End it, and take the last that it said."""
        self._end_look(0)
        self.site.close()
        if self._output >= 0:
            self.log.intake.drain(self._output)
        self._close_output()
        self.log.close()
        if self.status.state == "running":
            state = "passed" if self.ready else "errored"
            self.status = self.status._replace(state=state, finished_after_ms=self._after())
        elif self.status.state == "pending":
            self.status = self.status._replace(state="skipped")

    def put_log(self, append: Callable[[bytes], None], at: Callable[[], int]) -> None:
        """Put its log behind all others. Raises OSError."""
        if self.status.state == "skipped":
            return
        begin = at()
        self.log.put(append)
        remarks = [RemarkStatus(begin, self._after(), text) for text in self.log.remarks()]
        self.status = self.status._replace(log_at=begin, remarks=remarks)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What has something to be read when there is news."""
        # What has ended would have news for ever.
        site = () if self.site.trouble() else self.site.descriptors
        return (*site, *(output for output in (self._output, self._look_output) if output >= 0))

    # ---- how ----

    def _health(self) -> list[str]:
        if self.order.health:
            return self.order.health
        return ["/bin/sh", "-c", _LISTENS % "|".join(f"*:{port:04X}/0A" for port in self.order.ports)]

    def _step(self, argv: Sequence[str]) -> StepOrder:
        return StepOrder(self.status.name, [*argv], self._env, 0, continue_on_error=False)

    def _end_look(self, now: int) -> None:
        """The look that was taken has ended, or takes too long."""
        self.site.forget(self._look)
        self._look = 0
        self._look_at = now + self.order.interval_ms
        for _ in range(PIPE_BYTES // READ_BYTES + 1):
            self._hear()
        self._looked, self._heard = last_lines(self._heard, 1), b""
        if self._look_output >= 0:
            os.close(self._look_output)
            self._look_output = -1

    def _hear(self) -> None:
        """Take what the look says: a check to which nobody listens would stand still when its pipe is full."""
        if self._look_output < 0:
            return
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._look_output, READ_BYTES)
            self._heard = (self._heard + data)[-WORDS_BYTES:]
            if not data:
                os.close(self._look_output)
                self._look_output = -1

    def _close_output(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _last_words(self) -> str:
        said = [("its check", self._forms.cover(self._looked)), ("its log ends with", self.log.last_words())]
        return "".join(f"; {what}: {words}" for what, words in said if words)

    def _after(self) -> int:
        return max(0, boot_ms() - self._began_at)


class Services:
    """All services of an attempt, whose news wake `poll`."""

    def __init__(self, order: Order, folder: str, forms: Forms, poll: select.poll) -> None:
        self._all = [
            Service(one, path_of(folder, number), forms, order.accepted_boot_ms)
            for number, one in enumerate(order.services)
        ]
        self._poll = poll
        self._watched: set[int] = set()

    @property
    def steps(self) -> list[StepStatus]:
        """How they stand, as steps behind those of the job."""
        return [service.status for service in self._all]

    @property
    def ready(self) -> bool:
        """Whether all are."""
        return all(service.ready for service in self._all)

    def open(self, secrets: Mapping[str, str]) -> None:
        """Start them. Raises End."""
        for service in self._all:
            service.open(secrets)
        self._watch()

    def take(self, now: int) -> list[str]:
        """Take in all news; those that have just ended and should not have, a sentence each."""
        ended = [service.end for service in self._all if service.take(now)]
        self._watch()
        return ended

    def look(self, now: int) -> bool:
        """Look whether they are ready, when it is time, and whether all are. Raises End."""
        for service in self._all:
            service.look(now)
        return self.ready

    def ended(self) -> str:
        """Which have ended too early, as clauses; empty where none has."""
        return "; ".join(service.end for service in self._all if service.end)

    def due_at(self) -> int | None:
        """When `take` and `look` are to be called at the latest."""
        return min((at for service in self._all if (at := service.due_at()) is not None), default=None)

    def close(self) -> None:
        """End them all."""
        for service in self._all:
            service.close()

    def put_logs(self, append: Callable[[bytes], None], at: Callable[[], int]) -> None:
        """Put their logs behind that of the steps. Raises OSError."""
        for service in self._all:
            service.put_log(append, at)

    def _watch(self) -> None:
        wanted = {descriptor for service in self._all for descriptor in service.descriptors}
        for descriptor in self._watched - wanted:
            self._poll.unregister(descriptor)
        for descriptor in wanted - self._watched:
            self._poll.register(descriptor, select.POLLIN)
        self._watched = wanted
