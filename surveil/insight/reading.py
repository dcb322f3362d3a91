"""Reads the reports of one attempt, in a process of its own: `python -m surveil.insight.reading`.

What belongs here: which reader takes which file, and the words with whoever started the process. What does not: formats
(`junit`, `tap`), places (`finding`), limits on what is kept (`gathering`).

The files were written by strangers. Whatever they do to this process (eat its memory, its time, or find a mistake in
it) ends here: it has limits that the kernel keeps, and an end that is told as a sentence.

It takes one JSON document on its standard input (`root`, `patterns`, `since_ns`), and prints a line of JSON for each
part of the results, then one with their tally.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from surveil.insight import Problem
from surveil.insight.finding import find, is_usual, pieces
from surveil.insight.gathering import Gathering
from surveil.insight.junit import read_junit
from surveil.insight.tap import read_tap
from surveil.protocol import Case, Tally, pack_part, unpack_part

MEMORY_BYTES: Final = 1024**3
CPU_S: Final = 300
NICE: Final = 5
"""What else runs on the machine is what it is for."""
Reader: TypeAlias = Callable[[Iterable[bytes]], Iterator[Case | Problem]]


def read_reports(root: Path, patterns: tuple[str, ...], since_ns: int) -> Iterator[list[Case] | Tally]:
    """The results of all reports, in parts; the last part is the tally of all."""
    gathering = Gathering()
    try:
        for report in find(root, patterns, since_ns=since_ns):
            if report.problem is not None:
                gathering.complain(report.path, report.problem)
            if report.file is not None:
                reader: Reader = read_junit if report.path.endswith(".xml") else read_tap
                yield from _read(gathering, report.path, reader(pieces(report.file)), quiet=is_usual(patterns))
    except (OSError, ValueError) as error:
        gathering.say(f"the work tree's reports were not all read: {error}")
    except MemoryError:
        gathering.say(f"reading the reports took more than {MEMORY_BYTES // 1024**2} MiB of memory, so not all were")
    if rest := gathering.rest():
        yield rest
    yield gathering.tally()


def _read(gathering: Gathering, path: str, found: Iterator[Case | Problem], *, quiet: bool) -> Iterator[list[Case]]:
    """Read one report; `quiet` where only its name says that it could be one."""
    before = gathering.count
    for one in found:
        if isinstance(one, Case):
            yield from gathering.take(one)
        elif not (quiet and one.foreign):
            gathering.complain(path, one)
    if gathering.count == before and not quiet:
        gathering.complain(path, Problem("it has no test results"))


def line_of(part: list[Case] | Tally) -> str:
    """A part as it is printed."""
    if isinstance(part, Tally):
        return json.dumps({"tally": pack_part(part)})
    return json.dumps({"cases": [pack_part(case) for case in part]})


def part_of(line: bytes) -> list[Case] | Tally:
    """A part as it was printed.

    Raises:
        ValueError, ProtocolError: nobody who keeps the promise printed this.
    """
    fields = json.loads(line)
    if not isinstance(fields, Mapping):
        raise ValueError("a part of the results is no object")
    if (tally := fields.get("tally")) is not None:
        return unpack_part(Tally, tally)
    return [unpack_part(Case, case) for case in fields["cases"]]


def main() -> None:
    """Answer the one question on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    asked: dict[str, Any] = json.load(sys.stdin)
    # Where Python is told to buffer nothing, as all of ours are, `print` loses the rest of a line whose writing is cut
    # short: by a machine that was suspended, say. A writer with a buffer writes it.
    with open(sys.stdout.fileno(), "wb", closefd=False) as answer:  # A descriptor.
        for part in read_reports(Path(asked["root"]), tuple(asked["patterns"]), int(asked["since_ns"])):
            answer.write(f"{line_of(part)}\n".encode())
            answer.flush()


if __name__ == "__main__":
    main()
