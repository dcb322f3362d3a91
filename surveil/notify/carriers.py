"""Makes of a channel's rule what carries its messages.

What belongs here: one carrier for each kind of rule, and what all of them read from. What does not: the rules
(`channel_rules`), and the carriers themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

from surveil.calling import Caller
from surveil.config import NotifyConfig
from surveil.errors import InvalidError
from surveil.notify.apprising import Apprised, require_library
from surveil.notify.channel_rules import AppriseRule, ChannelRule, ExchangeRule, HookRule
from surveil.notify.channels import Carrier
from surveil.notify.gathering import Gatherer
from surveil.notify.hooks import Hook
from surveil.notify.mail import Mail
from surveil.notify.targets import Target
from surveil.places import LOGS
from surveil.store import Reader
from surveil.store.logs import LogStore


async def opened_carrier(rule: ChannelRule, cluster: str, now: Callable[[], int], stack: AsyncExitStack) -> Carrier:
    """What carries the messages of this channel until `stack` ends.

    Raises:
        InvalidError: what it takes is not installed.
    """
    way = rule.way
    if isinstance(way, HookRule):
        caller = await stack.enter_async_context(Caller(private=way.private))
        return Hook(way, caller=caller, cluster=cluster, channel=rule.name, now=now)
    if isinstance(way, AppriseRule):
        require_library(rule.name)
        return Apprised(way.url_file)
    return Mail(way.server, sender=way.sender, to=way.to, channel=rule.name, cluster=cluster)


async def opened_exchange(rule: ExchangeRule, gatherer: Gatherer, cluster: str, stack: AsyncExitStack) -> Target:
    """The target that publishes to this exchange until `stack` ends.

    Raises:
        InvalidError: what speaks with it is not installed.
    """
    try:
        from surveil.notify.exchange import Exchange  # noqa: PLC0415  # Only who has the extra has what it needs.
    except ModuleNotFoundError as error:
        raise InvalidError(
            f"{rule.name} cannot be told: {error.name} is not installed; type `pip install 'surveil[amqp]'`."
        ) from error
    exchange = Exchange(rule, reader=gatherer.reader, logs=gatherer.logs, cluster=cluster)
    stack.push_async_callback(exchange.close)
    return exchange


def gatherer_of(config: NotifyConfig, reader: Reader, stack: ExitStack | AsyncExitStack) -> Gatherer:
    """What reads for messages until `stack` ends."""
    logs = LogStore(config.data / LOGS)
    stack.callback(logs.close)
    return Gatherer(reader=reader, logs=logs, public_url=config.public_url or "")
