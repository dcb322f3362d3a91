"""What a step of the workload is: it does what its plan says, and tells the truth about it as it happens.

What belongs here: doing and telling. What does not: plans (workload), and who listens (truth). This file is committed
to each repository of the campaign and run by a plain Python from a work tree, so it imports the standard library only.

    python3 step.py '{"step": 0, "writes": [["text", 100, 0.5]], "exits": [0]}'

Each of `writes` is a kind of output, so many bytes of it, and the seconds before. The bytes follow from who writes
them, so that whoever knows the plan can say what they must be. `exits` are the exit codes of the first, second and
further attempts; the last one stands for all later ones. Nothing is written before the truth knows that the step
began, and the step does not end before the truth knows how.
"""

import functools
import hashlib
import json
import os
import random
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

PATIENCE_S = 30.0
PIECE_BYTES = 64 * 1024


def output(plan: dict[str, Any], build: int, job: str, attempt: int) -> Iterator[bytes]:
    """All that this step is to write, one piece for each of its `writes`."""
    for index, (kind, size, _) in enumerate(plan["writes"]):
        yield piece(kind, size, f"{build}/{job}#{attempt}.{plan['step']}.{index}")


@functools.lru_cache(maxsize=1024)  # Whoever judges wants to know several times.
def piece(kind: str, size: int, seed: str) -> bytes:
    """So many bytes of a kind: lines of `text`, `binary`, one `line` without an end, or `crlf` and colours."""
    if kind == "binary":
        return random.Random(seed).randbytes(size)
    if kind == "line":
        return (seed.encode() + b" ").ljust(size, b"x")[:size]
    end = b"\r\n" if kind == "crlf" else b"\n"
    mark = b"\x1b[32m%s\x1b[0m " % seed.encode() if kind == "crlf" else seed.encode() + b" "
    lines: list[bytes] = []
    length = 0
    while length < size:
        line = mark + str(len(lines)).encode() + end
        lines.append(line)
        length += len(line)
    return b"".join(lines)[:size]


def exit_code(plan: dict[str, Any], attempt: int) -> int:
    """How this attempt of the step is to end."""
    exits = plan["exits"]
    return int(exits[min(attempt, len(exits)) - 1])


class Teller:
    """The line to the truth."""

    def __init__(self) -> None:
        host, _, port = os.environ["TRUTH"].rpartition(":")
        self._line = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self._answers = self._line.makefile("rb")

    def tell(self, what: str, **about: Any) -> None:
        """Say something, and wait until it is known."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self._line.sendall(json.dumps({"what": what, "at": now, **about}).encode() + b"\n")
        if self._answers.readline() != b"known\n":
            raise ConnectionError("the truth does not answer")


def main() -> None:
    """Do what the plan says."""
    plan = json.loads(sys.argv[1])
    build, attempt = int(os.environ["SURVEIL_BUILD"]), int(os.environ["SURVEIL_ATTEMPT"])
    job, runner = os.environ["SURVEIL_JOB"], os.environ["SURVEIL_RUNNER"]
    nonce, exits = os.urandom(8).hex(), exit_code(plan, attempt)
    teller = Teller()
    teller.tell("begin", nonce=nonce, build=build, job=job, attempt=attempt, runner=runner, plan=plan)
    digest, wrote = hashlib.sha256(), 0
    pieces = output(plan, build, job, attempt)
    for (_, _, pause_s), data in zip(plan["writes"], pieces, strict=True):
        time.sleep(pause_s)
        for at in range(0, len(data), PIECE_BYTES):
            part = data[at : at + PIECE_BYTES]
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(1, rest) :]
            digest.update(part)
            wrote += len(part)
        teller.tell("wrote", wrote=wrote)
    time.sleep(plan.get("rest_s", 0))
    teller.tell("end", wrote=wrote, sha256=digest.hexdigest(), exit=exits)
    os._exit(exits)


if __name__ == "__main__":
    main()
