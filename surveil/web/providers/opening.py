"""Opens the providers that the data folder names.

What belongs here: which conversation each has, and where people come back to. What does not: the conversations
(`openid`, `forges`), and the file (`rules`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from surveil.errors import UsageError
from surveil.web.providers import Provider
from surveil.web.providers.rules import FILE, Kind, load_providers


@contextlib.asynccontextmanager
async def opened_providers(
    data: Path, public_url: str | None, now: Callable[[], int]
) -> AsyncIterator[Mapping[str, Provider]]:
    """The providers that the data folder names, by name.

    Raises:
        InvalidError: its file says what cannot be.
        UsageError: nobody could come back from them.
    """
    rules = await asyncio.to_thread(load_providers, data)
    if rules and public_url is None:
        raise UsageError(
            f"{data / FILE} says where people sign in, and they come back to the address of the pages: say it with "
            "--public-url."
        )
    if not rules:
        yield {}
        return
    # Conversations take a client of HTTP, and most installations have nobody to talk to.
    from surveil.calling import Caller  # noqa: PLC0415
    from surveil.web.providers.forges import ANSWER_BYTES_MAX, ForgeProvider  # noqa: PLC0415
    from surveil.web.providers.openid import OpenID  # noqa: PLC0415

    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Provider] = {}
        for rule in rules:
            back = f"{public_url}/login/{rule.name}/back"
            if rule.kind is Kind.OIDC:
                caller = await stack.enter_async_context(Caller(private=rule.private))
                found[rule.name] = OpenID(rule, caller, back=back, now=now)
            else:
                caller = await stack.enter_async_context(
                    Caller(private=rule.private, answer_bytes_max=ANSWER_BYTES_MAX)
                )
                found[rule.name] = ForgeProvider(rule, caller, back=back)
        yield found
