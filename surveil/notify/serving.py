"""Opens the parts of the role, delivers to every target, and stops in order.

What belongs here: opening, signals, closing. What does not: delivering (`delivering`), reading rules (`rules`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Final

from surveil.calling import Caller
from surveil.clock import Clock
from surveil.config import NotifyConfig
from surveil.errors import ExitCode
from surveil.lasting import settle
from surveil.notify.carriers import gatherer_of, opened_carrier, opened_exchange
from surveil.notify.channels import Channel
from surveil.notify.checks import CheckRule, CheckRuns
from surveil.notify.delivering import Delivery
from surveil.notify.rules import load_rules
from surveil.notify.statuses import Rule, Statuses
from surveil.notify.targets import Target
from surveil.notify.traces import Traces, tracer_of
from surveil.places import RULES, Hold
from surveil.say import Voice
from surveil.store import Reader
from surveil.store.outbox import open_outbox
from surveil.store.sqlite import open_reader
from surveil.tasks import Tasks

LOCK: Final = "notify.lock"
"""Of several processes each would tell everything."""

voice = Voice("notify")


async def serve(config: NotifyConfig) -> ExitCode:
    """Open the parts, deliver until a signal comes, and close them.

    Raises:
        SurveilError: the rules or the data folder cannot be used; the sentence says what to do.
    """
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    async with opened(config) as deliveries:
        settle()
        tasks = Tasks(lambda _: ending.set())
        for delivery in deliveries:
            tasks.start(delivery.run())
        await ending.wait()
        for delivery in deliveries:
            delivery.stop()
        await tasks.wait()
        tasks.check()
    voice.info("notify stopped")
    return ExitCode.OK


@contextlib.asynccontextmanager
async def opened(config: NotifyConfig) -> AsyncIterator[Sequence[Delivery]]:
    """A delivery for each target of the rules, between start and end. Raises SurveilError."""
    rules = await asyncio.to_thread(load_rules, config.rules or config.data / RULES)
    clock = Clock()
    async with contextlib.AsyncExitStack() as stack:
        reader = open_reader(config.data, database=config.database or "")
        stack.callback(reader.close)
        stack.enter_context(Hold(config.data, "a `notify`", lock=LOCK))
        outbox = open_outbox(config.data)
        stack.callback(outbox.close)
        targets: list[Target] = []
        for rule in rules.forges:
            caller = await stack.enter_async_context(Caller(private=rule.private))
            targets.append(_target(rule.told, config, reader=reader, caller=caller, clock=clock))
        if rules.channels or rules.exchanges:
            gatherer = gatherer_of(config, reader, stack)
            cluster = (await asyncio.to_thread(reader.cluster)).id
            for channel in rules.channels:
                carrier = await opened_carrier(channel, cluster, clock.now, stack)
                targets.append(Channel(channel.name, channel.wanted, carrier, gatherer))
            targets += [await opened_exchange(exchange, gatherer, cluster, stack) for exchange in rules.exchanges]
        for collector in rules.traces:
            caller = await stack.enter_async_context(Caller(private=collector.private))
            tracer = tracer_of((await asyncio.to_thread(reader.cluster)).id, config.public_url)
            targets.append(Traces(collector, reader=reader, caller=caller, tracer=tracer))
        for gone in await asyncio.to_thread(outbox.keep_only, [target.name for target in targets]):
            voice.warning("nobody is told any more what waited for a target without rules", target=gone)
        voice.info("notify tells", targets=", ".join(target.name for target in targets), data=config.data)
        yield [Delivery(target, reader=reader, outbox=outbox, now=clock.now) for target in targets]


def _target(told: Rule | CheckRule, config: NotifyConfig, *, reader: Reader, caller: Caller, clock: Clock) -> Target:
    public_url = config.public_url
    if isinstance(told, Rule):
        return Statuses(told, reader=reader, caller=caller, public_url=public_url, now=clock.now)
    cluster = reader.cluster().id
    return CheckRuns(told, reader=reader, caller=caller, public_url=public_url, now=clock.now, cluster=cluster)
