"""Carries messages to others' webhooks: Slack's, Discord's, and those of any program, which can tell that it was us.

What belongs here: asking, proving, and what an answer means. What does not: the forms (`chats`), and which addresses
may be asked (`surveil.calling`).

What is signed is signed as Standard Webhooks says (https://www.standardwebhooks.com), for which there are libraries:
the id, the time and the body, so that none of them can be another one's.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from surveil.answer.views import time_text
from surveil.calling import Answer, Caller, CallError, read_credential
from surveil.core.outbox import Fate, Outcome
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError
from surveil.notify.channel_rules import HookRule
from surveil.notify.channels import Envelope
from surveil.notify.chats import discord, program, slack
from surveil.notify.wording import Message

BUSY_MS: Final = 60_000
"""So long a server is left alone that says that it is asked too often, and not until when."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # It is written before secrets, and is none.
SECRET_BYTES_MIN: Final = 16
SAID_CHARACTERS_MAX: Final = 200
_GOOD: Final = range(200, 300)
_MINDS_THIS: Final = frozenset({400, 409, 413, 415, 422})
_TOO_OFTEN: Final = 429
_DIGITS_MAX: Final = 9


class Hook:
    """See `surveil.notify.channels.Carrier`."""

    def __init__(self, rule: HookRule, *, caller: Caller, cluster: str, channel: str, now: Callable[[], int]) -> None:
        self._rule = rule
        self._caller = caller
        self._id_of = f"{cluster}-{channel}"
        self._now = now

    async def carry(self, message: Message, envelope: Envelope) -> Outcome:
        """Ask the server to take it."""
        try:
            url = self._rule.url or await asyncio.to_thread(
                read_credential, self._rule.url_file, "the webhook's address"
            )
            where = urlsplit(url).hostname or "the webhook"
        except (InfrastructureError, ValueError) as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        try:
            content, headers = await asyncio.to_thread(self._written, message, envelope)
            answer = await self._caller.call("POST", url, headers=headers, content=content)
        except CallError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"{where} {error}")
        except InfrastructureError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        return judged(answer, where)

    def _written(self, message: Message, envelope: Envelope) -> tuple[bytes, Mapping[str, str]]:
        match self._rule.kind:
            case "slack":
                return json.dumps(slack(message)).encode(), {}
            case "discord":
                return json.dumps(discord(message)).encode(), {}
            case "webhook":
                content = json.dumps(program(message, time_text(envelope.made_at))).encode()
                secret = read_credential(self._rule.secret_file, "the secret of the webhook")
                number = hashlib.sha256(f"{self._id_of}-{envelope.id}".encode()).hexdigest()[:32]
                return content, signed(secret, f"msg_{number}", self._now() // 1000, content)


def signed(secret: str, number: str, at_s: int, content: bytes) -> dict[str, str]:
    """The headers that prove who sent `content`, and when. Raises InfrastructureError where the secret is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError as error:
        raise InfrastructureError(f"the secret of the webhook is no base64: {_MAKE_ONE}") from error
    if len(key) < SECRET_BYTES_MIN:
        raise InfrastructureError(f"the secret of the webhook is too short to be one: {_MAKE_ONE}")
    proof = hmac.new(key, f"{number}.{at_s}.".encode() + content, hashlib.sha256).digest()
    return {
        "webhook-id": number,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{base64.b64encode(proof).decode()}",
    }


_MAKE_ONE: Final = "`openssl rand -base64 32` makes one"


def judged(answer: Answer, where: str) -> Outcome:
    """What an answer means. The address itself is never shown: who has it can write in our name."""
    if answer.status in _GOOD:
        return Outcome(fate=Fate.DELIVERED)
    said = printable(" ".join(answer.body.decode("utf-8", "replace").split()))[:SAID_CHARACTERS_MAX]
    reason = f"{where} answers {answer.status}: {said or 'and says nothing'}"
    if answer.status in _MINDS_THIS:
        return Outcome(fate=Fate.REFUSED, reason=reason)
    asked = answer.headers.get("retry-after", "").partition(".")[0]
    again_ms = int(asked) * 1000 if asked.isascii() and asked.isdecimal() and len(asked) <= _DIGITS_MAX else 0
    if answer.status == _TOO_OFTEN:
        again_ms = again_ms or BUSY_MS
    return Outcome(fate=Fate.UNAVAILABLE, reason=reason, again_ms=again_ms)
