"""What every test shares: the seed options of the simulator, Ctrl-C, which tests begin first, how they are found
without doing anything twice, and the rule that nothing is skipped where nobody would see it.

Fixtures that only one folder needs live in that folder's own conftest.
"""

import contextlib
import gc
import importlib
import itertools
import logging
import os
import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

# How many seeds one test replays. Small enough to spread over processors and to stay far below the timeout.
SEEDS_PER_TEST = 25
SEEDS_DEFAULT = 2000
# Of the default ones; who asks for seeds gets them at once.
SEEDS_SHORT = 500

# How long it takes to think of a case says how busy the machine is, and nothing of us. A verdict is about its commit:
# cases that nobody thought of before are found by whoever builds, and by `make fuzz`.
settings.register_profile(
    "surveil",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("surveil")

FAULT_LINES_MAX = 80

SomeReport = TypeVar("SomeReport", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption(
        "--seed",
        type=int,
        default=None,
        metavar="N",
        help="replay this one simulated world; with --seeds, the first of so many",
    )
    group.addoption(
        "--seeds",
        type=int,
        default=None,
        metavar="COUNT",
        help=f"how many simulated worlds to run, from --seed or 0 on (default: {SEEDS_DEFAULT})",
    )


def seed_blocks(first: int | None, count: int | None) -> list[range]:
    """Return the seeds that the options ask for, in blocks of at most SEEDS_PER_TEST."""
    if count is None:
        count = SEEDS_DEFAULT if first is None else 1
    if first is None:
        first = 0
    end = first + count
    return [range(at, min(at + SEEDS_PER_TEST, end)) for at in range(first, end, SEEDS_PER_TEST)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that has an argument `seeds: range` one call for each block of seeds."""
    if "seeds" not in metafunc.fixturenames:
        return
    options = metafunc.config.option
    blocks = seed_blocks(options.seed, options.seeds)
    asked = options.seed is not None or options.seeds is not None
    metafunc.parametrize("seeds", [
        pytest.param(
            block, id=f"{block.start}-{block.stop - 1}",
            marks=pytest.mark.long if block.start >= SEEDS_SHORT and not asked else (),
        )
        for block in blocks
    ])  # fmt: skip


def patience_s(item: pytest.Item) -> float:
    """How long a test says that it may take, if that is longer than what every test may; otherwise 0."""
    mark = item.get_closest_marker("timeout")
    said = 0.0 if mark is None else float(mark.args[0])
    return said if said > float(item.config.getini("timeout") or 0) else 0.0


def dealt(tests: Sequence[tuple[str, float]], workers: int) -> list[int]:
    """The places of tests, each with its name and its patience, in an order in which no worker comes upon a long one at
    the end while all others are done.

    xdist's `worksteal` cuts the list into one piece for each worker. At the beginning of each are put modules whose
    tests ask for more patience than others, as many of them as make the patience equal. A module stays together, so
    that what is dearest is not done several times at once.
    """
    modules: dict[str, list[int]] = {}
    for place, (name, _) in enumerate(tests):
        modules.setdefault(name.partition("::")[0], []).append(place)
    patience = {name: max(tests[place][1] for place in places) for name, places in modules.items()}
    hands: list[list[int]] = [[] for _ in range(workers)]
    loads = [0.0] * workers
    for name in sorted((name for name in modules if patience[name]), key=patience.__getitem__, reverse=True):
        lightest = loads.index(min(loads))
        hands[lightest] += sorted(modules[name], key=lambda place: tests[place][1], reverse=True)
        loads[lightest] += patience[name]
    short = (place for name, places in modules.items() if not patience[name] for place in places)
    order: list[int] = []
    for number, hand in enumerate(hands):
        piece = (len(tests) - len(order)) // (workers - number)
        order += [*hand, *itertools.islice(short, max(0, piece - len(hand)))]
    return [*order, *short]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Deal the tests out, after they were shuffled. Every worker does so for itself, and all come to the same."""
    yield
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = [items[place] for place in dealt([(item.nodeid, patience_s(item)) for item in items], workers)]


def share(paths: Sequence[str], worker: int, workers: int) -> list[Path]:
    """Which of the modules with tests that these paths name one of the workers compiles for all of them."""
    named = (Path(path.partition("::")[0]) for path in paths)
    modules = {module for path in named for module in (sorted(path.rglob("test_*.py")) if path.is_dir() else [path])}
    return sorted(modules)[worker::workers]


@pytest.hookimpl
def pytest_collectstart(collector: pytest.Collector) -> None:
    """Import a share of the modules before the others. Workers go through all of them abreast, so in a fresh clone each
    would compile every one; like this it finds what the others have compiled.
    """
    mine = getattr(collector.config, "workerinput", {})
    if not isinstance(collector, pytest.Session) or mine.get("workercount", 1) == 1:
        return
    here = collector.config.rootpath
    paths = [str(collector.config.invocation_params.dir / path) for path in collector.config.args]
    for path in share(paths, int(mine["workerid"].removeprefix("gw")), mine["workercount"]):
        with contextlib.suppress(Exception, pytest.skip.Exception):  # Who collects it tells what is wrong with it.
            importlib.import_module(".".join(path.relative_to(here).with_suffix("").parts))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is collected, which stays to the end, out of what Python looks through for garbage again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C be Ctrl-C: a shell that starts us in the background has it ignored, and so would the processes that
    tests start. And have it said what fails.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Faults())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AsTheyCome(config))


def _skips_fail(report: SomeReport) -> SomeReport:
    """Turn a skip into a failure where SKIPS=fail: what nobody sees missing stays missing.

    CI=true is no such place: surveil sets it for every step, also for the tests of its own repository on the machine of
    whoever types `make up`, who may be no root.
    """
    # An expected failure is reported as a skip as well; that one has been looked at.
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SKIPS") == "fail":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"SKIPS=fail, so nothing may be skipped. {reason}"
    return report


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Have pytest's own work done before anything else: what strikes there ends the worker instead of failing a test.

    The alarm of `pytest-timeout` rings for the next phase of the test. Garbage waits as well: what it does at its end
    may read code, as making a report does, and Python before 3.11.9 and 3.12.2 cannot do so while it does so.
    """
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s, 1))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of which no report can be made has failed; of which, and why, is said like of any other."""
    try:
        with undisturbed():
            return _skips_fail((yield))
    except Exception:  # noqa: BLE001  # Whatever it is.
        assert call.when != "collect", "that has a hook of its own"
        return pytest.TestReport(
            nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed", when=call.when,
            longrepr=f"No report can be made of {call!r}:\n{traceback.format_exc()}",
        )  # fmt: skip


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_logreport() -> Generator[None, None, None]:
    with undisturbed():
        yield


def sendable(said: object) -> Any:
    """The same with whatever half of a character is in it spelled out: no worker can send one."""
    match said:
        case str():
            return said.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {sendable(key): sendable(value) for key, value in said.items()}
        case list() | tuple():
            return type(said)(map(sendable, said))
        case _:
            return said


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    return sendable((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _skips_fail((yield))


class Faults:
    """Keeps what made pytest itself, or a worker of it, fail."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pytest_internalerror(self, excrepr: object) -> None:
        self.told.append(str(excrepr))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Say at the end what pytest else keeps to itself: which tests had failed, and the first fault once more;
        the end is what is seen of a long run.
        """
        yield
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if not self.told or reporter is None:
            return
        reporter.summary_failures()
        reporter.short_test_summary()
        reporter.section("the fault that ended the run")
        for line in self.told[0].splitlines()[-FAULT_LINES_MAX:]:
            reporter.write_line(line)


class AsTheyCome:
    """Says which test has failed when it has: all that is known of it comes at the end, a quarter of an hour later."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._plugins.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
            reporter.ensure_newline()
            reporter.write_line(f"failed: {report.nodeid}: {crash.partition(chr(10))[0]}")


@pytest.fixture
def own_log() -> Iterator[None]:
    """Let a test begin this process's own log, and have it afterwards as it was: later tests read what is said."""
    logger = logging.getLogger("surveil")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
