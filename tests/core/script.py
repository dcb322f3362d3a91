"""Plays scenario files against the dispatcher's mind: each command line is followed, indented, by all that came
out of it.

The commands are listed in `Player.COMMANDS`. `pytest --rewrite-scenarios tests/core` writes the traces anew;
read the difference before you commit it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from surveil.core.consistency import check_state
from surveil.core.dispatch import handle, next_deadline
from surveil.core.effects import Acknowledge, Effect, Send, SendBack
from surveil.core.events import (
    ApprovalWanted,
    BuildWanted,
    CancelWanted,
    Carried,
    Event,
    Recovered,
    RunnerDisconnected,
    RunnerOrder,
    RunnerSaid,
    RunnerWanted,
    Stalled,
    Tick,
    UnholdWanted,
    Withheld,
)
from surveil.core.model import GIVEN_UP, VERDICTS, Attempt, Build, Record, Runner
from surveil.core.policy import Policy
from surveil.core.state import Changes, Identity, State
from surveil.protocol import (
    Accepted,
    Assign,
    Beat,
    Busy,
    Bye,
    Cancel,
    Finished,
    Heartbeat,
    Held,
    Hello,
    JobSpec,
    Message,
    Progress,
    Refused,
    Rejected,
    Release,
    StepReport,
    StepSpec,
    Welcome,
)

START_AT = 1_000_000_000


def job_spec(text: str) -> JobSpec:
    """Read `name<need+need(retry=1,loss=fail,labels=a+b,when=always)`; a name may have its matrix values behind it,
    `name[x=1]`.
    """
    match = re.fullmatch(r"([\w-]+(?:\[[\w=]+\])?)(?:<([\w+=\[\]-]+))?(?:\((.*)\))?", text)
    assert match is not None, f"{text!r} is no job"
    name, needs, options = match.groups()
    chosen = dict(option.split("=", 1) for option in options.split(",")) if options else {}
    known: dict[str, Any] = {
        "retry": int(chosen.pop("retry", "0")),
        "on_runner_loss": chosen.pop("loss", "retry"),
        "when": chosen.pop("when", "passed"),
        "labels": tuple(chosen.pop("labels", "").split("+")) if "labels" in (options or "") else (),
        "continue_on_error": chosen.pop("may_fail", "no") == "yes",
        "fail_fast": chosen.pop("fail_fast", "no") == "yes",
        "priority": int(chosen.pop("priority", "0")),
        "concurrency": chosen.pop("group", ""),
        "cancel_superseded": chosen.pop("supersede", "no") == "yes",
    }
    assert not chosen, f"{text!r} has unknown options {chosen}"
    step = StepSpec(name="step", run="true", env={})
    return JobSpec(
        name=name,
        needs=tuple(needs.split("+")) if needs else (),
        env={},
        timeout_ms=60_000,
        steps=(step,),
        matrix=dict([value[:-1].split("=")]) if (value := name.partition("[")[2]) else {},
        **known,
    )


@dataclass
class Player:
    """One dispatcher's mind with its store, a clock that a scenario moves, and runners as the scenario words them."""

    policy: Policy = field(default_factory=Policy)
    now: int = START_AT
    state: State = field(init=False)
    stored: dict[tuple[str, object], Record] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    incarnations: dict[str, int] = field(default_factory=dict)
    out: list[str] = field(default_factory=list)
    on_commit: Callable[[Changes], None] = lambda _changes: None

    def __post_init__(self) -> None:
        self.state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))

    def play(self, line: str) -> list[str]:
        """Do what one command line says; return what came out."""
        self.out = []
        word, *rest = shlex.split(line)
        options = dict(item.split("=", 1) for item in rest if re.match(r"\w+=", item))
        plain = [item for item in rest if not re.match(r"\w+=", item)]
        getattr(self, f"do_{word}")(*plain, **options)
        check_state(self.state)
        return self.out

    def feed(self, event: Event) -> None:
        """Let one event happen the way the hands do it: with a tick, a commit, and only then the effects."""
        effects = handle(self.state, event, self.now, self.policy)
        if not isinstance(event, Tick):
            effects += handle(self.state, Tick(), self.now, self.policy)
        changes = self.state.take_changes()
        self.on_commit(changes)
        for record in changes.new + changes.changed:
            self.stored[type(record).__name__, record.id] = record
        for note in changes.notes:
            reason = f": {note.reason}" if note.reason else ""
            self.out.append(f"{note.what} {note.id} {note.state}{reason}")
        self.out += [show(effect) for effect in effects]

    def hear(self, runner: str, message: Message) -> None:
        """Let a runner say something; `a@2` is another machine with the data folder of `a`."""
        key, _, machine = runner.partition("@")
        self.feed(RunnerSaid(runner=key, via=machine.encode(), message=message))  # type: ignore[arg-type]  # scenarios say runners' words only

    # ---- commands --------------------------------------------------------------------------------

    def do_hello(  # noqa: PLR0917  # words of a scenario line, given by name
        self,
        runner: str,
        inc: str = "1",
        slots: str = "1",
        labels: str = "",
        held: str = "",
        warm: str = "",
        cluster: str = "c",
    ) -> None:
        self.incarnations[runner] = int(inc)
        self.hear(
            runner,
            Hello(
                name=runner.partition("@")[0], software="1", host=runner, cluster=cluster, incarnation=int(inc),
                birth=int(inc) * 10 + int(runner.partition("@")[2] or "1"), seq=self.seq(runner),
                labels=tuple(labels.split(",")) if labels else (), slots=int(slots), held=held_list(held),
                mirrors=(warm,) if warm else (),
            ),
        )  # fmt: skip

    def do_beat(  # noqa: PLR0917  # words of a scenario line, given by name
        self, runner: str, held: str = "", free: str = "1", load: str = "0", seq: str = "", inc: str = ""
    ) -> None:
        number = int(seq) if seq else self.seq(runner)
        self.hear(
            runner,
            Heartbeat(
                incarnation=int(inc) if inc else self.incarnations[runner], seq=number, held=held_list(held),
                free=int(free), load_percent=int(load), disk_free_mib=10_000,
            ),
        )  # fmt: skip

    def do_accepted(self, runner: str, attempt: str) -> None:
        job, number = split(attempt)
        self.hear(runner, Accepted(job=job, attempt=number))

    def do_rejected(self, runner: str, attempt: str, reason: str = "no room") -> None:
        job, number = split(attempt)
        self.hear(runner, Rejected(job=job, attempt=number, reason=reason))

    def do_progress(self, runner: str, attempt: str) -> None:
        job, number = split(attempt)
        steps = (StepReport(name="step", state="running", started_after_ms=5),)
        self.hear(runner, Progress(job=job, attempt=number, steps=steps))

    def do_finished(  # noqa: PLR0917  # words of a scenario line, given by name
        self, runner: str, attempt: str, outcome: str, after: str = "100", log: str = "0", blameless: str = "no"
    ) -> None:
        job, number = split(attempt)
        self.hear(
            runner,
            Finished(
                job=job, attempt=number, outcome=outcome, reason=f"it {outcome}", exit_code=None,  # type: ignore[arg-type]
                started_after_ms=5, finished_after_ms=int(after), log_bytes=int(log), steps=(),
                blameless=blameless == "yes",
            ),
        )  # fmt: skip

    def do_bye(self, runner: str, returning: str = "no") -> None:
        self.hear(runner, Bye(incarnation=self.incarnations[runner], returning=returning == "yes"))

    def do_gone(self, runner: str) -> None:
        self.feed(RunnerDisconnected(runner=runner))

    def do_build(  # noqa: PLR0917  # words of a scenario line, given by name
        self,
        jobs: str,
        mid: str = "",
        repo: str = "r",
        carried: str = "",
        complaint: str = "",
        ref: str = "refs/heads/main",
        trusted: str = "yes",
        retry_of: str = "",
        approved: str = "",
        skipped: str = "",
    ) -> None:
        specs = tuple(job_spec(text) for text in jobs.split()) if jobs else ()
        self.feed(
            BuildWanted(
                mid=mid or f"m{self.state.next_build}", repo=repo, ref=ref, sha="a" * 40, event="push",
                trusted=trusted == "yes", retry_of=int(retry_of) if retry_of else None, approved=approved,
                skipped=skipped,
                message="", author="", pipeline_file=".surveil.yml", jobs=specs,
                complaints=(complaint,) if complaint else (),
                carried={name: Carried(reason="passed in build 1") for name in carried.split(",") if name},
            )
        )  # fmt: skip

    def do_cancel(self, build: str, *names: str) -> None:
        self.feed(CancelWanted(build=int(build), names=names, reason="cancelled by ann"))

    def do_unhold(self, build: str, *names: str) -> None:
        self.feed(UnholdWanted(build=int(build), names=names, reason="let go by ann"))

    def do_approve(self, build: str) -> None:
        self.feed(ApprovalWanted(build=int(build), by="approved by ann"))

    def do_withheld(self, attempt: str, reason: str, again: str = "no", told: str = "no") -> None:
        job, number = split(attempt)
        self.feed(Withheld(job=job, attempt=number, reason=reason, again=again == "yes", told=told == "yes"))

    def do_order(self, runner: str, order: str) -> None:
        self.feed(RunnerWanted(runner=runner, order=RunnerOrder(order), reason="ann says so"))

    def do_policy(self, **numbers: str) -> None:
        """Let the dispatcher live by other numbers from here on."""
        self.policy = replace(self.policy, **{name: int(number) for name, number in numbers.items()})

    def do_stalled(self, ms: str) -> None:
        self.now += int(ms)
        self.feed(Stalled(gap_ms=int(ms)))

    def do_wait(self, ms: str) -> None:
        """Let time go by, with a tick at every deadline."""
        until = self.now + int(ms)
        while (deadline := next_deadline(self.state, self.now)) is not None and deadline <= until:
            assert deadline > self.now or self.now == START_AT, "a deadline that is due was not taken"
            self.now = deadline
            self.feed(Tick())
        self.now = until

    def do_restart(self, downtime: str = "0") -> None:
        """Kill the dispatcher and start it on what it had stored."""
        self.now += int(downtime)
        final = {build.id for build in self.stored.values() if isinstance(build, Build) and build.state in VERDICTS}
        open_records = [
            record
            for record in self.stored.values()
            if isinstance(record, Runner)
            or owner(record) not in final
            or (isinstance(record, Attempt) and record.state in GIVEN_UP and not record.released)
        ]
        order = {"Runner": 0, "Build": 1, "Job": 2, "Attempt": 3}
        open_records.sort(key=lambda record: order[type(record).__name__])
        epoch = self.state.identity.epoch + 1
        self.state = State.load(
            open_records, identity=Identity(cluster="c", epoch=epoch, bulk_port=1), next_build=self.state.next_build
        )
        self.feed(Recovered())

    def seq(self, runner: str) -> int:
        """The runner's next heartbeat number."""
        self.seqs[runner] = self.seqs.get(runner, 0) + 1
        return self.seqs[runner]


def owner(record: Any) -> int:
    """The number of the build that a record belongs to."""
    if hasattr(record, "mid"):
        return int(record.id)
    return int((record.id if isinstance(record.id, str) else record.job).partition("/")[0])


def split(attempt: str) -> tuple[str, int]:
    """Read `1/test#2`."""
    job, _, number = attempt.partition("#")
    return job, int(number)


def held_list(text: str) -> tuple[Held, ...]:
    """Read `1/test#1,2/lint#3!`, where `!` means finished."""
    pairs = [(split(item.rstrip("!")), item.endswith("!")) for item in text.split(",") if item]
    return tuple(Held(job=job, attempt=number, finished=done, log_bytes=0) for (job, number), done in pairs)


def show(effect: Effect) -> str:
    """One line for one effect, with what matters of it."""
    match effect:
        case Acknowledge():
            return f"seen {effect.mid} as {effect.build}"
        case Send(runner=runner, message=message) | SendBack(runner=runner, message=message):
            machine = f"@{effect.via.decode()}" if isinstance(effect, SendBack) and effect.via else ""
            text = f"-> {runner}{machine} {type(message).__name__}"
            if isinstance(message, Welcome | Beat):
                for name in ("renewed", "revoked"):
                    refs = [f"{ref.job}#{ref.attempt}" for ref in getattr(message, name)]
                    text += f" {name}={','.join(refs)}" if refs else ""
            elif isinstance(message, Assign):
                text += f" {message.job}#{message.attempt} anchor={message.anchor}"
            elif isinstance(message, Busy):
                text += f" retry={message.retry_ms}"
            elif isinstance(message, Cancel):
                text += f" {message.job}#{message.attempt}"
            elif isinstance(message, Release):
                text += f" {message.job}#{message.attempt} {message.fate}"
            elif isinstance(message, Refused):
                text += f": {message.reason.partition(';')[0]}"
            return text
