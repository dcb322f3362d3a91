"""What a runner that was broken into may say with its real key, as one table: each word, and what must come of it.

`OTHERS` holds words about what is not its own, on the control connection; `BULK` those on the other one; `OWN` are lies
about its own work, once that has ended.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, TypeAlias

import msgpack

from surveil.protocol import (
    Accepted,
    Answer,
    Ask,
    Assign,
    Beat,
    Bye,
    Cancel,
    CommitSeen,
    Drain,
    Enrol,
    Enrolled,
    Finished,
    Heartbeat,
    Held,
    Hello,
    JobSpec,
    Kept,
    Message,
    Output,
    Pack,
    Progress,
    Rejected,
    Release,
    Seen,
    StepReport,
    Want,
    Watching,
    encode,
)

Said: TypeAlias = Message | list[bytes]

JOB: Final = "1/test"
"""The honest runner's job, whose first attempt it has."""
OVER: Final = "1/over"
"""A job of the same build that the honest runner has finished."""
BAIT: Final = "1/bait"
"""The forger's own job."""
SHA: Final = "a" * 40
MANY: Final = 20_000
UGLY: Final = "\x1b[2J\x1b]0;owned\x07\u202egnissap\r\n[surveil: all is well]\x9b31m\0"
"""What a terminal would obey, what turns a line around, and what looks like a line of our own."""


def finished(outcome: str, job: str = JOB, attempt: int = 1, **said: Any) -> Finished:
    fields: dict[str, Any] = {
        "job": job, "attempt": attempt, "outcome": outcome, "reason": "so I say", "exit_code": 0, "started_after_ms": 0,
        "finished_after_ms": 1, "log_bytes": 0, "steps": (),
    } | said  # fmt: skip
    return Finished(**fields)


def hello(**said: Any) -> Hello:
    fields: dict[str, Any] = {
        "name": "mallory", "software": "1", "host": "there", "cluster": "", "incarnation": 1, "birth": 9, "seq": 1,
        "labels": ("bait",), "slots": 1, "held": (),
    } | said  # fmt: skip
    return Hello(**fields)


def beat(**said: Any) -> Heartbeat:
    fields: dict[str, Any] = {
        "incarnation": 1, "seq": 1_000, "held": (), "free": 0, "load_percent": 0, "disk_free_mib": 1_000,
    } | said  # fmt: skip
    return Heartbeat(**fields)


def output(data: bytes = b"x", **said: Any) -> Output:
    fields: dict[str, Any] = {
        "job": JOB, "attempt": 1, "at": 0, "crc": zlib.crc32(data), "after_ms": 0, "data": data,
    } | said  # fmt: skip
    return Output(**fields)


def holds(*ids: tuple[str, int], finished: bool = False) -> tuple[Held, ...]:
    return tuple(Held(job=job, attempt=number, finished=finished, log_bytes=0) for job, number in ids)


def raw(header: bytes, *rest: bytes) -> list[bytes]:
    return [header, *rest]


def with_fields(message: Message, **changed: Any) -> list[bytes]:
    """A message with values that no honest program could send."""
    header, packed, *rest = encode(message)
    return [header, msgpack.packb(msgpack.unpackb(packed) | changed), *rest]


COMMIT: Final = CommitSeen(
    mid="forged", repo="/repo", ref="refs/heads/main", sha=SHA, event="push", message="", author="", pipeline=None,
    pipeline_file="", problem="p",
)  # fmt: skip
SPEC: Final = JobSpec(name="x", env={}, timeout_ms=1, steps=(), matrix={})
ASSIGN: Final = Assign(
    epoch=99, incarnation=1, anchor=1, job=JOB, attempt=1, build=1, repo="/r", ref="r", sha=SHA, spec=SPEC,
)  # fmt: skip

OTHERS: Final[dict[str, Said]] = {
    # Of attempts that another runner has, had, or will have.
    "another's attempt accepted": Accepted(job=JOB, attempt=1),
    "another's attempt rejected": Rejected(job=JOB, attempt=1, reason="no"),
    "another's attempt in progress": Progress(job=JOB, attempt=1, steps=(StepReport(name="s", state="failed"),)),
    "another's attempt passed": finished("passed"),
    "another's attempt failed": finished("failed"),
    "another's attempt lost": finished("lost"),
    "another's attempt ended with a log of one byte": finished("passed", log_bytes=1),
    "another's verdict changed": finished("failed", job=OVER),
    "another's verdict said again": finished("passed", job=OVER),
    "another's ended attempt in progress": Progress(job=OVER, attempt=1, steps=()),
    "an attempt that is still to come": finished("passed", attempt=2),
    "an attempt after a verdict": finished("failed", job=OVER, attempt=2),
    "attempt nought": finished("passed", attempt=0),
    "a job of a build that is not there": finished("passed", job="999/test"),
    "another's attempt held by a heartbeat": beat(held=holds((JOB, 1))),
    "another's attempt held by a hello": hello(seq=2_000, held=holds((JOB, 1))),
    "another's attempt held as finished": hello(seq=2_001, held=holds((JOB, 1), finished=True)),
    "four thousand attempts": hello(seq=2_004, held=holds(*((f"{n}/x", 1) for n in range(1, 4_001)))),
    # Of who it is.
    "another's name": hello(seq=2_100, name="played"),
    "a name that a terminal obeys": hello(seq=2_101, name=UGLY, host=UGLY, software=UGLY, labels=(UGLY,)),
    "another installation": hello(seq=2_102, cluster="another"),
    "another birth under the same incarnation": hello(seq=2_103, birth=8),
    "an incarnation that is over": hello(seq=2_104, incarnation=0),
    "an incarnation that is still to come": beat(incarnation=2**52, seq=3_000),
    "an old number": beat(seq=1),
    "a goodbye of another start": Bye(incarnation=77, returning=False),
    "a token's secret guessed": Enrol(secret=bytes(32), name="played"),
    # What is not a runner's to say, or not here.
    "output on the wrong connection": output(),
    "a client's question": Ask(id=1, what="token_create", about={"role": "client"}),
    "an observer's commit": COMMIT,
    "an observer's list": Watching(birth=1, repos=()),
    "an observer's pack for another runner": Pack(id=1, runner="k" * 40, at=0, data=b"x"),
    "a dispatcher's order": ASSIGN,
    "a dispatcher's cancellation": Cancel(job=JOB, attempt=1, grace_ms=0, reason="r"),
    "a dispatcher's release": Release(job=JOB, attempt=1, fate="recorded"),
    "a dispatcher's acknowledgement": Kept(job=JOB, attempt=1, upto=9),
    "a dispatcher's word on commits": Seen(mid="m", build=1),
    "a dispatcher's drain": Drain(stop=True),
    "a dispatcher's beat": Beat(epoch=99, seq=1, renewed=(), revoked=()),
    "a dispatcher's enrolment": Enrolled(cluster="c", name="n", role="client", labels=()),
    "a dispatcher's answer": Answer(id=1, body={}),
    # What is no message.
    "no header": raw(b"", b"\x80"),
    "a strange header": raw(b"GET ", b"\x80"),
    "an unknown version": raw(b"SV\x7f\x01", b"\x80"),
    "an unknown type": raw(b"SV\x01\xfe", b"\x80"),
    "no fields": raw(b"SV\x01\x02", b""),
    "fields that are no map": raw(b"SV\x01\x02", b"\x93\x01\x02\x03"),
    "a map without an end": raw(b"SV\x01\x02", b"\xdf\xff\xff\xff\xff"),
    "lists in lists": raw(b"SV\x01\x02", b"\x91" * 100_000),
    "a text for a number": with_fields(beat(), seq="9999"),
    "a number below nought": with_fields(beat(), seq=-1),
    "a number beyond all limits": with_fields(beat(), seq=2**63),
    "a fraction": with_fields(beat(), seq=float("nan")),
    "a log of less than no bytes": with_fields(finished("passed"), log_bytes=-1),
    "an outcome that there is not": with_fields(finished("passed"), outcome="perfect"),
    "nothing for a list": with_fields(beat(), held=None),
    "a job with a strange name": with_fields(finished("passed"), job="../../etc/passwd"),
    "a text beyond its limit": with_fields(hello(), name="x" * 300_000),
    "five frames": raw(b"SV\x01\x02", b"\x80", b"", b"", b""),
    "so many frames": raw(b"SV\x01\x02", *[b"x"] * MANY),
}
AWAY: Final = frozenset(
    {"another installation", "another birth under the same incarnation", "an incarnation that is over"}
)
"""Introductions of a process that is not the runner."""

BULK: Final[dict[str, Said]] = {
    "output of another's attempt": output(),
    "output of another's attempt with its place guessed": output(at=2**40),
    "output of another's ended attempt": output(job=OVER),
    "output of an attempt that is still to come": output(attempt=2),
    "output of a job that is not there": output(job="999/test"),
    "output with another checksum": output(crc=1),
    "a commit that is none of its business": Want(id=1, repo="/repo", sha=SHA, have=(), at=0),
    "a commit for another runner": Want(id=2, runner="k" * 40, repo="/repo", sha=SHA, have=(), at=0),
    "a commit of no repository": Want(id=2**53, repo=UGLY, sha="b" * 64, have=(SHA,) * 64, at=2**53),
    "a hello on the wrong connection": hello(seq=4_000),
    "a result on the wrong connection": finished("passed"),
    "a pack for another runner on this connection": Pack(id=1, runner="k" * 40, at=0, data=b"x"),
    "output without its bytes": encode(output())[:2],
    "output beyond its limit": [*encode(output())[:2], bytes(300_000)],
}

LOG: Final = b"\x1b[31mthe whole log\n"
OWN: Final[dict[str, Said]] = {
    "finished again with another verdict": finished("failed", job=BAIT),
    "finished again as lost": finished("lost", job=BAIT),
    "finished again with another log": finished("passed", job=BAIT, log_bytes=3),
    "progress after the end": Progress(job=BAIT, attempt=1, steps=(StepReport(name=UGLY, state="running"),)),
    "accepted after the end": Accepted(job=BAIT, attempt=1),
    "rejected after the end": Rejected(job=BAIT, attempt=1, reason=UGLY),
    "held after the end": beat(seq=5_000, held=holds((BAIT, 1))),
    "its next attempt, which nobody gave it": finished("failed", job=BAIT, attempt=2),
}
OWN_BULK: Final[dict[str, Said]] = {
    "output over what there is": output(b"another log", job=BAIT),
    "output after a gap": output(job=BAIT, at=len(LOG) + 7),
    "output far beyond the end": output(job=BAIT, at=2**53),
    "output with another checksum, of its own": output(job=BAIT, at=len(LOG), crc=7),
    "output of the next attempt, which nobody gave it": output(job=BAIT, attempt=2),
}
