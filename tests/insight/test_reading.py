"""From a work tree to its test results: which files are read, how much of them is kept, and what strangers may do."""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from surveil.core.declared import REPORTS_USUAL
from surveil.errors import ProtocolError
from surveil.frozen import replace
from surveil.insight import finding, gathering
from surveil.insight.gathering import Gathering
from surveil.insight.reading import line_of, part_of, read_reports
from surveil.protocol import CASES_MAX, PROBLEMS_MAX, Case, Tally

# A reader that hangs is ended; a million cases take a machine that has much else to do a minute and more.
HANGS_S = 280
pytestmark = pytest.mark.timeout(300)

PASSED = Case(suite="s", name="n", state="passed", duration_ms=2)
ONE = '<testsuite><testcase classname="s" name="{}" time="0.002"/></testsuite>'


def write(root: Path, path: str, content: str = "", name: str = "n") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content or ONE.format(name))
    return file


def read(root: Path, *patterns: str, since_ns: int = 0) -> tuple[list[str], Tally]:
    """The names of the cases, in order, and the tally."""
    *parts, tally = read_reports(root, patterns or REPORTS_USUAL, since_ns)
    assert isinstance(tally, Tally)
    return [case.name for part in parts if isinstance(part, list) for case in part], tally


def test_reports_at_the_usual_places_are_found_and_nothing_else(tmp_path: Path) -> None:
    usual = [
        "TEST-all.xml", "a/target/surefire-reports/TEST-x.xml", "build/test-results/test/x.xml", "junit.xml",
        "report.xml", "reports/unit.xml", "target/nextest/ci/junit.xml", "test-reports/deep/x.xml",
    ]  # fmt: skip
    for path in usual:
        write(tmp_path, path, name=path)
    for path in ("pom.xml", "src/report.xml", "node_modules/x/junit.xml", ".git/junit.xml", "venv/lib/junit.xml"):
        write(tmp_path, path, name=path)
    write(tmp_path, "out/all.tap", "ok 1 - tapped\n1..1\n")
    names, tally = read(tmp_path)
    assert sorted(names) == sorted([*usual, "tapped"])
    assert tally == Tally(passed=9, failed=0, errored=0, skipped=0, duration_ms=16)


def test_what_only_looks_like_a_report_by_its_name_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "reports/coverage.xml", "<coverage/>")
    write(tmp_path, "reports/page.xml", "no XML")
    assert read(tmp_path) == ([], Tally(passed=0, failed=0, errored=0, skipped=0, duration_ms=0))


def test_patterns_choose_and_whatever_is_wrong_with_what_they_name_is_said(tmp_path: Path) -> None:
    write(tmp_path, "out/a.xml", name="a")
    write(tmp_path, "out/b.xml", "<coverage/>")
    write(tmp_path, "out/c.xml", "<testsuite/>")
    write(tmp_path, "out/d.xml", name="d")
    write(tmp_path, "junit.xml", name="usual")
    names, tally = read(tmp_path, "out/*.xml", "!out/d.xml", "gone/**")
    assert names == ["a"]
    assert tally.problems == (
        "out/b.xml:1: it is no JUnit report: its outermost element is `coverage`",
        "out/b.xml: it has no test results",
        "out/c.xml: it has no test results",
        "gone/**: no file matches this pattern of `reports`",
    )


def test_a_report_from_before_the_first_step_is_not_the_attempts(tmp_path: Path) -> None:
    """It came with the commit or out of a cache, and would show yesterday's results as today's."""
    old, new = write(tmp_path, "junit-old.xml", name="old"), write(tmp_path, "junit-new.xml", name="new")
    os.utime(old, ns=(10**18, 10**18))
    os.utime(new, ns=(10**18 + 2, 10**18 + 2))
    assert read(tmp_path, since_ns=10**18 + 1)[0] == ["new"]
    names, tally = read(tmp_path, "*.xml", since_ns=10**18 + 1)
    assert names == ["new"]
    assert tally.problems == ("junit-old.xml: it is older than the job's first step, so this attempt did not write it",)


def test_links_pipes_and_folders_are_not_read(tmp_path: Path) -> None:
    outside = write(tmp_path, "outside/secret.xml", name="secret")
    root = tmp_path / "work"
    write(root, "r/real.xml", name="real")
    (root / "r" / "link.xml").symlink_to(outside)
    (root / "r" / "folder").symlink_to(outside.parent)
    (root / "r" / "inner.xml").mkdir()
    os.mkfifo(root / "r" / "pipe.xml")
    names, tally = read(root, "r/**")
    assert names == ["real"]
    assert [problem.partition(":")[0] for problem in tally.problems] == ["r/folder", "r/link.xml", "r/pipe.xml"]
    assert "secret" not in str(tally)


def test_names_that_are_no_text_are_shown_as_far_as_they_are(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"junit-\xff.xml")).write_bytes(b"<testsuite><testcase name='a'/>")
    names, tally = read(tmp_path)
    assert names == ["a"]
    assert tally.problems == (
        "junit-�.xml:1: it ends in the middle, as if whoever wrote it was ended; what stands before was read",
    )
    assert part_of(line_of(tally).encode()) == tally


def test_a_report_that_is_too_large_is_read_as_far_as_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "REPORT_BYTES_MAX", 5000)
    cases = "".join(f'<testcase name="case {number}"/>' for number in range(10_000))
    size = write(tmp_path, "junit.xml", f"<testsuite>{cases}</testsuite>").stat().st_size
    names, tally = read(tmp_path)
    assert names[:2] == ["case 0", "case 1"]
    assert 100 < len(names) < 300
    assert tally.problems[0] == f"junit.xml: it has {size} bytes, and only the first 0 MiB are read"


def test_more_reports_than_anybody_reads_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "REPORTS_MAX", 2)
    for number in range(4):
        write(tmp_path, f"r/{number}.xml", name=str(number))
    names, tally = read(tmp_path, "r/*.xml")
    assert names == ["0", "1"]
    assert tally.problems == ("r/2.xml: it is one of more than 2 reports, and was not read",)


def test_folders_in_folders_without_end_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(finding.DEPTH_MAX + 5):
        deep /= "d"
    write(deep, "junit.xml", name="deep")
    write(tmp_path, "d/junit.xml", name="near")
    assert read(tmp_path)[0] == ["near"]


# ---- how much is kept ------------------------------------------------------------------------------------------------


def gathered(cases: Iterable[Case]) -> tuple[list[list[Case]], Tally]:
    gathering = Gathering()
    parts = [part for case in cases for part in gathering.take(case)]
    return [*parts, gathering.rest()], gathering.tally()


def test_everything_is_counted_and_failures_are_kept_beyond_what_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "KEPT_MAX", 3)
    monkeypatch.setattr(gathering, "WRONG_KEPT_MAX", 2)
    cases = [replace(PASSED, name=str(number), state="failed" if number > 4 else "passed") for number in range(9)]
    (part,), tally = gathered(cases)
    assert [case.name for case in part] == ["0", "1", "2", "5", "6"]
    assert tally == Tally(
        passed=5, failed=4, errored=0, skipped=0, duration_ms=18,
        problems=("of 9 test results 5 are kept, which is the limit",),
    )  # fmt: skip


def test_parts_fit_into_a_message_and_hold_everything_in_order() -> None:
    cases = [replace(PASSED, name=str(number), output="x" * 8000, state="failed") for number in range(60)]
    parts, _ = gathered(cases)
    assert [case for part in parts for case in part] == cases
    assert {len(part) for part in parts[:-1]} == {14}
    parts, _ = gathered([PASSED] * 2500)
    assert [len(part) for part in parts] == [CASES_MAX, CASES_MAX, 500]


def test_what_failures_printed_is_kept_up_to_a_limit_and_their_messages_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PRINTED_MAX", 10)
    wrong = replace(PASSED, state="failed", message="why", output="six...")
    (part,), _ = gathered([wrong, wrong])
    assert [(case.message, case.output) for case in part] == [("why", "six..."), ("why", "")]


def test_sentences_about_reports_are_said_once_and_not_without_end(tmp_path: Path) -> None:
    for number in range(50):
        write(tmp_path, f"junit-{number:02}.xml", "<testsuite>")
    tally = read(tmp_path)[1]
    assert len(tally.problems) == PROBLEMS_MAX - 1
    assert len(set(tally.problems)) == len(tally.problems)


# ---- the process -----------------------------------------------------------------------------------------------------


def ask(root: Path, patterns: list[str]) -> list[Any]:
    asked = json.dumps({"root": str(root), "patterns": patterns or REPORTS_USUAL, "since_ns": 0})
    told = subprocess.run(
        [sys.executable, "-m", "surveil.insight.reading"], input=asked.encode(), capture_output=True,
        timeout=HANGS_S, check=False,
    )  # fmt: skip
    assert told.stderr == b""
    return [part_of(line) for line in told.stdout.splitlines()]


def test_the_process_answers_with_all_cases_and_the_tally(tmp_path: Path) -> None:
    write(tmp_path, "junit.xml", "<testsuite>" + "<testcase name='ä' time='1'/>" * 1500 + "</testsuite>")
    first, second, tally = ask(tmp_path, [])
    assert [len(first), len(second)] == [1000, 500]
    assert tally == Tally(passed=1500, failed=0, errored=0, skipped=0, duration_ms=1_500_000)


def test_a_line_whose_writing_is_cut_short_is_written_to_its_end(tmp_path: Path) -> None:
    """A process that stands still for a moment and goes on has written what the pipe could hold, and is told so."""
    write(tmp_path, "junit.xml", "<testsuite>" + f"<testcase name='{'n' * 90}' time='1'/>" * 1500 + "</testsuite>")
    asked = json.dumps({"root": str(tmp_path), "patterns": REPORTS_USUAL, "since_ns": 0})
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "surveil.insight.reading"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(asked.encode())
        reader.stdin.close()
        room = fcntl.fcntl(reader.stdout, fcntl.F_GETPIPE_SZ)
        while struct.unpack("i", fcntl.ioctl(reader.stdout, termios.FIONREAD, bytes(4)))[0] < room:
            time.sleep(0.01)
        reader.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, reader.pid, os.WSTOPPED)
        reader.send_signal(signal.SIGCONT)
        *parts, tally = [part_of(line) for line in reader.stdout.read().splitlines()]
    assert sum(len(part) for part in parts if isinstance(part, list)) == 1500
    assert tally == Tally(passed=1500, failed=0, errored=0, skipped=0, duration_ms=1_500_000)


@pytest.mark.long
def test_a_million_cases_are_counted(tmp_path: Path) -> None:
    with (tmp_path / "junit-many.xml").open("w") as file:
        file.write("<testsuite>")
        for _ in range(100):
            file.write("<testcase classname='a.b.c' name='d' time='0.001'/>" * 10_000)
        file.write("</testsuite>")
    *parts, tally = ask(tmp_path, ["*.xml"])
    assert sum(map(len, parts)) == gathering.KEPT_MAX
    assert tally == Tally(
        passed=1_000_000, failed=0, errored=0, skipped=0, duration_ms=1_000_000,
        problems=("of 1000000 test results 50000 are kept, which is the limit",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [("<testsuite><testcase name='", "'/></testsuite>"), ("<testsuite><!--", "--></testsuite>"), ("<a", "/>")],
    ids=["an attribute", "a comment", "a name"],
)
def test_what_never_ends_is_refused_in_bounded_time(tmp_path: Path, before: str, after: str) -> None:
    with (tmp_path / "junit.xml").open("w") as file:
        file.write(before)
        for _ in range(400):
            file.write("x" * 1024 * 1024)
        file.write(after)
    (tally,) = ask(tmp_path, [])
    assert tally.problems == ("junit.xml:1: it holds a tag of more than 4 MiB; it was not read further",)


@pytest.mark.long
def test_output_without_end_is_read_and_its_beginning_kept(tmp_path: Path) -> None:
    with (tmp_path / "junit.xml").open("w") as file:
        file.write("<testsuite><testcase name='a'><failure>")
        for _ in range(300):
            file.write("x" * 1024 * 1024)
        file.write("</failure></testcase></testsuite>")
    (case,), tally = ask(tmp_path, [])
    assert [len(case.output), tally.failed, tally.problems] == [8000, 1, ()]


def test_lines_that_nobody_of_ours_printed_are_refused() -> None:
    for line in (b"", b"[]", b"{}", b'{"cases": [{}]}', b'{"tally": {"passed": -1}}', b'{"cases": 3}'):
        with pytest.raises((ValueError, ProtocolError, KeyError, TypeError)):
            part_of(line)
