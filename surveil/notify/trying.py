"""What a person looks at or tries before trusting it: the message about a build, and a message to a channel, now.

What belongs here: both, without the outbox, so that whatever runs beside them goes on. What does not: the role
(`serving`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack

from surveil.clock import Clock
from surveil.config import NotifyConfig
from surveil.core.outbox import Fate, Outcome
from surveil.core.spelling import did_you_mean, quoted
from surveil.core.turns import News
from surveil.errors import InfrastructureError, InvalidError, NotFoundError
from surveil.notify.carriers import gatherer_of, opened_carrier
from surveil.notify.channel_rules import ChannelRule
from surveil.notify.channels import Envelope
from surveil.notify.rules import load_rules
from surveil.notify.wording import Message, message_of, trial
from surveil.places import RULES
from surveil.store import Reader
from surveil.store.sqlite import FILE as DATABASE
from surveil.store.sqlite import open_reader


def message_about(config: NotifyConfig, build: int, event: str | None) -> Message:
    """What people would read about a build; with `event` as if it had meant that.

    Raises:
        NotFoundError: there is no such build, or it means nothing.
        SurveilError: the data folder cannot be read.
    """
    with _reader(config) as reader, ExitStack() as stack:
        summary = gatherer_of(config, reader, stack).about_build(build, None if event is None else News(event))
        if summary is not None:
            return message_of(summary)
        if not reader.details([build]):
            raise NotFoundError(f"There is no build {build}; `surveil builds` lists them.")
        raise NotFoundError(
            f"Build {build} is no news: it has not ended, or was cancelled, or a newer one of its ref ended before. "
            "`--event broken` shows one that has ended as if it were."
        )


def try_channel(config: NotifyConfig, name: str) -> None:
    """Send a message to a channel.

    Raises:
        NotFoundError: no channel has this name.
        InfrastructureError: it did not take the message; the sentence is its own.
        SurveilError: the rules or the data folder cannot be read.
    """
    channels = {rule.name: rule for rule in load_rules(config.rules or config.data / RULES).channels}
    if name not in channels:
        raise NotFoundError(f"There is no channel {quoted(name)}: {did_you_mean(name, channels) or 'there are none'}")
    with _reader(config) as reader:
        cluster = reader.cluster().id
    outcome = asyncio.run(_carried(channels[name], cluster))
    if outcome.fate is not Fate.DELIVERED:
        raise InfrastructureError(f"{name} took no message: {outcome.reason}")


async def _carried(rule: ChannelRule, cluster: str) -> Outcome:
    clock = Clock()
    now = clock.now()
    async with AsyncExitStack() as stack:
        carrier = await opened_carrier(rule, cluster, clock.now, stack)
        return await carrier.carry(trial(rule.name), Envelope(id=f"test-{now}", made_at=now))


@contextlib.contextmanager
def _reader(config: NotifyConfig) -> Iterator[Reader]:
    if not config.database and not (config.data / DATABASE).exists():
        raise InvalidError(f"{config.data} is not the folder of a dispatcher: name that with --data, on its machine.")
    reader = open_reader(config.data, database=config.database or "")
    try:
        yield reader
    finally:
        reader.close()
