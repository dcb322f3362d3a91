"""Test reports of any kind: read in pieces of any size as they are read whole, into results and complaints that
can be said to the dispatcher.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from surveil.insight import Problem
from surveil.insight.gathering import Gathering
from surveil.insight.junit import read_junit
from surveil.insight.reading import line_of, part_of
from surveil.insight.tap import read_tap
from surveil.protocol import Case
from tests.fuzz.draw import Draw

READERS: Final = (read_junit, read_tap)
WRITTEN: Final = Path(__file__).parents[1] / "insight" / "reports"
"""What real tools wrote."""
XML: Final = (
    "<testsuites>", "</testsuites>", "<testsuite name='s'>", "</testsuite>", "<testcase name='a' time='1.5'>",
    "<testcase classname='c' name='b'/>", "</testcase>", "<failure message='m'>", "</failure>", "<error/>",
    "<skipped/>", "<system-out>", "</system-out>", "<![CDATA[", "]]>", "<!--", "-->", "<?xml version='1.0'?>",
    "<?xml version='1.0' encoding='utf-16'?>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&amp;", "&#0;", "&#x1b;",
    "time='1e309'", "time='nan'", "é", "\x1b[31m", "\u202e", "\ufffe", "x" * 3_000, "<a>" * 70, "\n", "\ufeff",
)  # fmt: skip
TAP: Final = (
    "TAP version 14\n", "1..3\n", "1..0 # skip\n", "ok 1 - a\n", "not ok 2 - b\n", "ok\n", "not ok # Todo\n",
    "ok 3 # skip\n", "    1..1\n", "    ok 1\n", "# Subtest: s\n", "  ---\n", "  duration_ms: 1.5\n",
    "  message: |-\n", "    m\n", "  ...\n", "Bail out! why\n", "pragma +strict\n", "1..99999999999999999999\n",
    "ok 99999999999999999999\n", "    " * 60 + "ok\n", "x" * 3_000 + "\n", "\r\n", "é\n", "\x1b[31m\n", "\\#", "\0",
)  # fmt: skip
PATIENCE_S: Final = 5
"""Of processor time for one report: a thousand times what the slowest takes."""


def check(data: bytes) -> None:
    """Write a report, and read it twice."""
    draw = Draw(data)
    read = draw.pick(READERS)
    match draw.byte() % 4:
        case 0:
            size, report = draw.byte() + 1, draw.rest()
        case 1:
            size, report = draw.byte() + 1, draw.edited(draw.pick(_written()))
        case _:
            size = draw.byte() + 1
            words = XML if read is read_junit else TAP
            report = draw.edited("".join(draw.many(lambda: draw.pick(words), 40)).encode())
    began = time.process_time()
    whole = list(read([report]))
    assert time.process_time() - began < PATIENCE_S, "a report takes too long"
    pieces = list(read(report[at : at + size] for at in range(0, len(report), size)))
    # What stands behind a mistake may have been looked at already, or not; of what stands before it nothing differs.
    assert _results(pieces) == _results(whole), "pieces have other results"
    assert (len(pieces) > len(_results(pieces))) == (len(whole) > len(_results(whole))), "pieces are wrong otherwise"
    gathering = Gathering()
    for one in whole:
        if isinstance(one, Problem):
            gathering.complain("report", one)
        else:
            assert part_of(line_of([one]).encode()) == [one], "a result that cannot be said to the dispatcher"
    # Complaints quote strangers; whoever shows one makes it inert, as the target of what is shown asks.
    tally = gathering.tally()
    assert part_of(line_of(tally).encode()) == tally, "a complaint that cannot be said to the dispatcher"


def seeds() -> Iterator[bytes]:
    """What real tools wrote, and a few of each kind."""
    for reader in range(len(READERS)):
        for report in _written():
            yield bytes([reader, 0, 64]) + report
        for start in range(0, 256, 8):
            yield bytes([reader, 2, start, 40]) + bytes((start + 7 * step) % 256 for step in range(60))


def _results(found: list[Case | Problem]) -> list[Case]:
    return [one for one in found if isinstance(one, Case)]


def _written() -> list[bytes]:
    return [path.read_bytes() for path in sorted(WRITTEN.glob("*.*")) if path.suffix in {".xml", ".tap"}]
