"""The shared options and hooks, tried out in a pytest of their own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SEEDS_DEFAULT, SEEDS_PER_TEST, SEEDS_SHORT, dealt, seed_blocks, share

ROOT = Path(__file__).parent.parent
SKIPPING = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no docker here")

@pytest.mark.xfail
def test_is_known_to_fail():
    assert False
"""


def run_pytest(folder: Path, text: str, *, skips: str = "", options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run `text` as the only test module of a fresh folder; return pytest's code and what it printed."""
    (folder / "test_inner.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:schemathesis", "-ra", *options, str(folder)],
        cwd=folder,
        env={**os.environ, "CI": "true", "SKIPS": skips, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout


def test_a_skip_stays_a_skip_where_nobody_says_otherwise(tmp_path: Path) -> None:
    code, printed = run_pytest(tmp_path, SKIPPING)
    assert code == 0
    assert "1 passed, 1 skipped, 1 xfailed" in printed


def test_a_skip_can_be_a_failure_with_its_reason_while_an_expected_failure_is_none(tmp_path: Path) -> None:
    code, printed = run_pytest(tmp_path, SKIPPING, skips="fail")
    assert code == 1
    assert "1 failed, 1 passed, 1 xfailed" in printed
    assert "no docker here" in printed


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_has_failed_is_said_before_the_others_are_done(tmp_path: Path, workers: str) -> None:
    text = "def test_bad():\n    assert 1 == 2\ndef test_good():\n    pass\n"
    code, printed = run_pytest(tmp_path, text, options=("-p", "no:randomly", workers))
    assert code == 1
    said = printed.index("failed: test_inner.py::test_bad: assert 1 == 2\n")
    assert said < printed.index("= FAILURES =")
    assert printed.count("failed: test_inner.py::test_bad") == 1


def test_a_module_that_skips_itself_can_be_a_failure(tmp_path: Path) -> None:
    text = 'import pytest\npytest.skip("needs the moon", allow_module_level=True)\n'
    code, printed = run_pytest(tmp_path, text, skips="fail")
    assert code != 0
    assert "1 error" in printed
    assert "needs the moon" in printed


def test_a_test_with_seeds_is_called_once_for_each_block(tmp_path: Path) -> None:
    text = "def test_world(seeds):\n    assert 5 in seeds\n"
    code, printed = run_pytest(tmp_path, text, options=("--seed=5", "-v"))
    assert code == 0
    assert "test_world[5-5] PASSED" in printed


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (None, None, list(range(SEEDS_DEFAULT))),
        (7, None, [7]),
        (None, 3, [0, 1, 2]),
        (10, SEEDS_PER_TEST + 1, list(range(10, 11 + SEEDS_PER_TEST))),
        (None, 0, []),
    ],
)
def test_blocks_hold_each_wanted_seed_once(first: int | None, count: int | None, expected: list[int]) -> None:
    blocks = seed_blocks(first, count)
    assert [seed for block in blocks for seed in block] == expected
    assert all(0 < len(block) <= SEEDS_PER_TEST for block in blocks)


def test_the_first_of_the_usual_worlds_are_of_the_short_tests_and_whoever_asks_for_seeds_gets_all(
    tmp_path: Path,
) -> None:
    text = "def test_world(seeds):\n    assert len(seeds)\n"
    blocks = SEEDS_DEFAULT // SEEDS_PER_TEST
    short = SEEDS_SHORT // SEEDS_PER_TEST
    code, printed = run_pytest(tmp_path, text, options=("-m", "not long"))
    assert (code, f"{short} passed, {blocks - short} deselected" in printed) == (0, True), printed
    code, printed = run_pytest(tmp_path, text, options=("-m", "long"))
    assert (code, f"{blocks - short} passed, {short} deselected" in printed) == (0, True), printed
    code, printed = run_pytest(tmp_path, text, options=("-m", "not long", f"--seeds={SEEDS_DEFAULT}"))
    assert (code, f"{blocks} passed" in printed) == (0, True), printed


def test_long_tests_are_at_the_beginning_of_each_workers_piece_and_a_module_is_never_in_two() -> None:
    short = [(f"tests/test_short.py::test_{number}", 0.0) for number in range(20)]
    middling = [(f"tests/test_{name}.py::test_{number}", 300.0) for name in "ab" for number in range(2)]
    long = [("tests/test_long.py::test_quick", 0.0), *((f"tests/test_long.py::test_{n}", 600.0) for n in range(3))]
    tests = [*short[:10], *middling, *short[10:], *long]
    order = [tests[place] for place in dealt(tests, 2)]
    assert sorted(order) == sorted(tests)
    first, second = order[:14], order[14:]
    assert first[:4] == [*long[1:], long[0]]
    assert sorted(second[:4]) == sorted(middling)
    assert set(first[4:] + second[4:]) == set(short)


@pytest.mark.parametrize("workers", [1, 2, 3, 50])
def test_tests_that_are_all_long_are_dealt_as_well(workers: int) -> None:
    tests = [(f"tests/test_{number // 3}.py::test_{number}", 300.0) for number in range(20)]
    assert sorted(dealt(tests, workers)) == list(range(20))


def test_workers_begin_with_tests_that_have_patience(tmp_path: Path) -> None:
    text = "import pytest\n@pytest.mark.parametrize('number', range(30))\ndef test_short(number):\n    pass\n"
    (tmp_path / "test_long.py").write_text("import pytest\n@pytest.mark.timeout(600)\ndef test_long(): pass\n")
    options = ("-p", "no:randomly", "-n2", "--dist=worksteal", "-v")
    code, printed = run_pytest(tmp_path, text, options=options)
    assert code == 0
    long = re.search(r"\[(gw[01])\].* PASSED \S*test_long", printed)
    assert long is not None
    assert re.findall(rf"\[{long[1]}\].* PASSED (\S+)", printed)[0].endswith("test_long")


def test_tests_can_interrupt_what_they_start_even_if_a_shell_started_them_in_the_background(tmp_path: Path) -> None:
    text = "import signal\ndef test_ctrl_c():\n    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN\n"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code, printed = run_pytest(tmp_path, text)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 0, printed


def test_each_module_is_compiled_by_one_worker(tmp_path: Path) -> None:
    modules = [tmp_path / folder / f"test_{name}.py" for folder in "ab" for name in "cde"]
    for module in modules:
        module.parent.mkdir(exist_ok=True)
        module.touch()
    named = [str(tmp_path / "b"), str(tmp_path), f"{modules[0]}::test_one"]
    shares = [share(named, worker, 4) for worker in range(4)]
    assert sorted(module for mine in shares for module in mine) == modules
    assert {len(mine) for mine in shares} == {1, 2}


def test_workers_compile_their_shares_before_anything_is_collected(tmp_path: Path) -> None:
    for name in "xyz":
        text = f"import os\nopen('order-' + os.environ['PYTEST_XDIST_WORKER'], 'a').write('{name}')\n"
        (tmp_path / f"test_{name}.py").write_text(text + "def test_one(): pass\n")
    (tmp_path / "test_broken.py").write_text("import there_is_no_such_module\n")
    code, printed = run_pytest(tmp_path, "def test_inner(): pass\n", options=("-n", "2", "-p", "no:randomly"))
    assert (code, "No module named 'there_is_no_such_module'" in printed) == (1, True), printed
    # Of broken, inner, x, y and z the first takes the first, third and fifth.
    assert [(tmp_path / f"order-gw{worker}").read_text() for worker in range(2)] == ["xzy", "yxz"]


def test_what_was_collected_is_never_garbage(tmp_path: Path) -> None:
    text = "import gc\ndef test_frozen():\n    assert gc.isenabled()\n    assert gc.get_freeze_count() > 10_000\n"
    assert run_pytest(tmp_path, text)[0] == 0


def test_a_fault_of_pytest_itself_is_told_at_the_end_with_the_failures_before_it(tmp_path: Path) -> None:
    """By itself pytest ends then with a trace of the process that hands out tests, and names no failure at all."""
    text = """
class Broken:
    def pytest_runtest_logfinish(self):
        raise LookupError("the worker's own fault")

def test_fails():
    assert "moon" == "sun"

def test_breaks_its_worker(request):
    request.config.pluginmanager.register(Broken())

def test_never_begins():
    pass
"""
    code, printed = run_pytest(tmp_path, text, options=("-n", "1", "-p", "no:randomly"))
    assert code == 3
    told = printed.partition("INTERNALERROR>")[2].rpartition("INTERNALERROR>")[2]
    assert "FAILED test_inner.py::test_fails" in told
    assert "LookupError: the worker's own fault" in told.partition("the fault that ended the run")[2]


def test_a_failure_with_half_a_character_in_it_is_one_failure_and_ends_no_worker(tmp_path: Path) -> None:
    text = """
import logging

def test_says_it():
    assert "moon\\udcff" == "sun"

def test_logs_it():
    logging.warning("star\\udcff")
    assert False

def test_goes_on():
    pass
"""
    code, printed = run_pytest(tmp_path, text, options=("-n", "1", "-p", "no:randomly"))
    assert (code, "2 failed, 1 passed" in printed) == (1, True), printed
    assert "moon\\udcff" in printed
    assert "star\\udcff" in printed


def test_an_alarm_that_rings_while_pytest_tells_of_a_test_fails_that_test_and_ends_no_worker(tmp_path: Path) -> None:
    text = """
import time
import pytest

class Slow:
    def pytest_runtest_makereport(self, item, call):
        time.sleep(1.5 * (call.when == "call"))
    def pytest_runtest_logreport(self, report):
        time.sleep(1.5 * (report.when == "call"))

@pytest.fixture
def hanging():
    yield
    time.sleep(100)

@pytest.mark.timeout(1)
def test_is_told_of_slowly(request, hanging):
    request.config.pluginmanager.register(Slow(), "slow")

def test_goes_on(request):
    request.config.pluginmanager.unregister(name="slow")
"""
    code, printed = run_pytest(tmp_path, text, options=("-n", "1", "-p", "no:randomly"))
    assert (code, "2 passed, 1 error" in printed) == (1, True), printed
    assert "ERROR test_inner.py::test_is_told_of_slowly - Failed: Timeout" in printed


def test_garbage_that_reads_code_at_its_end_harms_no_report(tmp_path: Path) -> None:
    """As a warning about what was not closed does, where warnings are errors: its trace is made then."""
    text = """
import ast, gc

class Loud:
    def __init__(self):
        self.me = self
    def __del__(self):
        if going:
            ast.parse("a + b")
            Loud()

going = True

def test_fails(request):
    Loud()
    gc.set_threshold(1)
    assert "moon" == "sun"

def test_goes_on():
    global going
    going = False
    gc.set_threshold(700)
"""
    code, printed = run_pytest(tmp_path, text, options=("-n", "1", "-p", "no:randomly"))
    assert (code, "1 failed, 1 passed" in printed) == (1, True), printed
    assert "AssertionError: assert 'moon' == 'sun'" in printed


def test_a_test_of_which_no_report_can_be_made_has_failed_and_ends_no_worker(tmp_path: Path) -> None:
    text = """
class Broken:
    def pytest_runtest_makereport(self, call):
        if call.when == "call":
            raise LookupError("the plugin's own fault")

def test_breaks_its_report(request):
    request.config.pluginmanager.register(Broken(), "broken")
    assert "moon" == "sun"

def test_goes_on(request):
    request.config.pluginmanager.unregister(name="broken")
"""
    code, printed = run_pytest(tmp_path, text, options=("-n", "1", "-p", "no:randomly"))
    assert (code, "1 failed, 1 passed" in printed) == (1, True), printed
    assert "LookupError: the plugin's own fault" in printed
    assert "assert 'moon' == 'sun'" in printed
