"""The text that Prometheus reads: each metric with its name, its unit and what it means.

What belongs here: names and meanings, which dashboards and alerts rely on. What does not: where numbers come from
(`gathering`, `counting`).

What is not known is left out, and never shown as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from surveil import __version__
from surveil.core.model import VERDICTS
from surveil.web.metrics.counting import TOOK_S, JournalSums, Took, WebSums
from surveil.web.metrics.gathering import Gathered, Gatherer, Owed, Told

_VERDICTS: Final = tuple(verdict.value for verdict in sorted(VERDICTS))
_ATTEMPTS: Final = ("cancelled", "errored", "failed", "fenced", "lost", "running")
_CHANGES: Final = ("cordoned", "draining", "offline", "online", "suspect")
_RUNNERS: Final = ("cordoned", "draining", "offline", "online", "suspect")
_FOLLOWERS: Final = {"log": ("/log/follow", "/log/rows/follow"), "events": ("/events",)}
"""What is followed, by how the addresses of its routes end."""


async def expose(gatherer: Gatherer, accept: str) -> tuple[bytes, str]:
    """The text of now and its media type, in the form that whoever collects `accept`s."""
    gathered = await gatherer.gathered()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(_families(gathered, gatherer.journal, gatherer.web)))
    ProcessCollector(registry=registry)
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Given(Collector):
    """What was found before; asked only once."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return self._families


def _families(gathered: Gathered, journal: JournalSums, web: WebSums) -> Iterator[Metric]:
    info = GaugeMetricFamily("surveil_web_info", "The version of this process.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield _gauge("surveil_store_up", "Whether the database could be read.", int(gathered.counts is not None))
    yield _gauge("surveil_dispatcher_up", "Whether the dispatcher answers.", int(gathered.told is not None))
    yield from _of_queue(gathered)
    if gathered.told is not None:
        yield from _of_dispatcher(gathered.told)
    yield from _of_journal(journal)
    if gathered.owed is not None:
        yield from _of_outbox(gathered.owed, gathered.at)
    yield from _of_web(web)
    if gathered.disk is not None:
        yield _gauge("surveil_data_free_bytes", "Bytes free on the disk of the data folder.", gathered.disk[0])
        yield _gauge("surveil_data_size_bytes", "Bytes that the disk of the data folder has.", gathered.disk[1])


def _of_queue(gathered: Gathered) -> Iterator[Metric]:
    counts = gathered.counts
    if counts is None:
        return
    states = {"blocked": counts.blocked, "held": counts.held, "queued": counts.queued, "running": counts.running}
    yield _gauges("surveil_jobs", "Jobs of builds that are not over, by state.", "state", states)
    waits_ms = 0 if gathered.queued_since is None else max(0, gathered.at - gathered.queued_since)
    yield _gauge(
        "surveil_queue_oldest_wait_seconds",
        "How long the queued job has waited for a runner that has waited for longest; 0 where none waits.",
        waits_ms / 1000,
    )


def _of_dispatcher(told: Told) -> Iterator[Metric]:
    about, pool = told.status["dispatcher"], told.status["runners"]
    yield _gauge("surveil_dispatcher_uptime_seconds", "For how long the dispatcher runs.", about["uptime_ms"] / 1000)
    yield _gauge("surveil_dispatcher_epoch", "How often a dispatcher was started on this data.", about["epoch"])
    runners = {state: told.runners.get(state, 0) for state in _RUNNERS}
    yield _gauges("surveil_runners", "Runners by state.", "state", runners)
    yield _gauge("surveil_slots", "Slots of runners that are online.", pool["slots"])
    yield _gauge("surveil_slots_busy", "Slots that hold an attempt.", pool["busy"])
    yield _gauge("surveil_builds_awaiting_approval", "Builds that await approval.", len(told.status["approvals"]))
    watching = told.status["watching"]
    troubled = sum(1 for each in watching if each["problem"])
    stand = {"watched": len(watching) - troubled, "unreachable": troubled}
    yield _gauges("surveil_repositories", "Repositories that observers look at, by how that goes.", "state", stand)
    troubles = {each["trouble"]: each["count"] for each in told.status["ports"]}
    yield _counters("surveil_port_troubles", "What strangers did at the ports, by kind.", ("trouble",), {
        (name,): count for name, count in troubles.items()
    })  # fmt: skip


def _of_journal(journal: JournalSums) -> Iterator[Metric]:
    for name, meaning, label, what, states in (
        ("surveil_builds", "Builds that were over, by what they came to.", "verdict", "build", _VERDICTS),
        ("surveil_jobs_ended", "Jobs that were over, by what they came to.", "verdict", "job", _VERDICTS),
        ("surveil_attempts", "Attempts that a runner took (`running`), and how those ended that did not pass.",
         "state", "attempt", _ATTEMPTS),
        ("surveil_runner_changes", "How often runners came, went and changed otherwise, by what they became.",
         "state", "runner", _CHANGES),
    ):  # fmt: skip
        sums: dict[tuple[str, ...], float] = {(state,): journal.lines.get((what, state), 0) for state in states}
        yield _counters(name, meaning, (label,), sums)
    took = HistogramMetricFamily(
        "surveil_build_duration_seconds", "From a build's creation to its verdict.", labels=["verdict"]
    )
    for verdict, each in journal.took.items():
        took.add_metric([verdict], _buckets(each), each.sum_ms / 1000)
    yield took


def _of_outbox(owed: Owed, now: int) -> Iterator[Metric]:
    names = [each.name for each in owed.followings]
    waiting = {name: owed.waiting.get(name, (0, now)) for name in names}
    yield _gauges("surveil_outbox_waiting", "What waits to be told to a target.", "target", {
        name: waiting[name][0] for name in names
    })  # fmt: skip
    yield _gauges(
        "surveil_outbox_oldest_wait_seconds", "How long the oldest of it has waited.", "target",
        {name: max(0, now - waiting[name][1]) / 1000 for name in names},
    )  # fmt: skip
    for name, meaning, values in (
        ("surveil_outbox_behind_lines", "Lines of the journal that were not read for a target yet.",
         {each.name: max(0, owed.newest - each.position) for each in owed.followings}),
        ("surveil_outbox_failures", "How often in a row a target could not be told anything.",
         {each.name: each.failures for each in owed.followings}),
    ):  # fmt: skip
        yield _gauges(name, meaning, "target", values)
    yield _counters("surveil_outbox_delivered", "What a target was told.", ("target",), {
        (each.name,): each.delivered for each in owed.followings
    })  # fmt: skip
    yield _counters("surveil_outbox_given_up", "What a target never took.", ("target",), {
        (each.name,): each.given_up for each in owed.followings
    })  # fmt: skip


def _of_web(web: WebSums) -> Iterator[Metric]:
    yield _counters("surveil_web_answers", "Answers of this process, by address and status.", ("route", "status"), {
        (route, str(status)): count for (route, status), count in sorted(web.answers.items())
    })  # fmt: skip
    yield _counters("surveil_webhooks", "Webhooks, by forge and what they were answered.", ("forge", "status"), {
        (forge, str(status)): count for (forge, status), count in sorted(web.webhooks.items())
    })  # fmt: skip
    followers = {
        kind: sum(count for route, count in web.open.items() if route.endswith(ends))
        for kind, ends in _FOLLOWERS.items()
    }
    yield _gauges("surveil_followers", "Who follows something now, by what it is.", "kind", followers)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def _counters(name: str, meaning: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def _buckets(took: Took) -> list[tuple[str, float]]:
    """As they are asked for: each holds those before it as well, and the last holds all."""
    found: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*(f"{seconds:.1f}" for seconds in TOOK_S), "+Inf"), took.buckets, strict=True):
        total += count
        found.append((bound, total))
    return found
