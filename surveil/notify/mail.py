"""Carries messages as e-mail, to one server that takes it from there.

What belongs here: one conversation with a server, and what its answers mean. What does not: the letter (`letter`), and
when it is tried again (`core.outbox`).

A server is found and judged as every other server of others is (`surveil.calling`): by its certificate's name, and at
an address where nobody is led astray.
"""

from __future__ import annotations

import asyncio
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import aiosmtplib

from surveil.calling import CallError, Resolve, connected, look_up, read_credential, words_of
from surveil.core.outbox import Fate, Outcome
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError
from surveil.notify.channel_rules import MailServer
from surveil.notify.channels import Envelope
from surveil.notify.letter import letter
from surveil.notify.wording import Message
from surveil.say import Voice

TIMEOUT_S: Final = 30.0
"""For the whole conversation."""
SAID_CHARACTERS_MAX: Final = 300
GOODBYE_S: Final = 2.0
_FOR_GOOD: Final = range(500, 600)
_ABOUT_US: Final = (
    aiosmtplib.SMTPConnectResponseError,
    aiosmtplib.SMTPHeloError,
    aiosmtplib.SMTPAuthenticationError,
    aiosmtplib.SMTPSenderRefused,
)
"""It minds us, and not this letter."""

voice = Voice("notify")


class Mail:
    """See `surveil.notify.channels.Carrier`."""

    def __init__(
        self, server: MailServer, *, sender: str, to: tuple[str, ...], channel: str, cluster: str,
        resolve: Resolve = look_up,
    ) -> None:  # fmt: skip
        self._server = server
        self._sender = sender
        self._to = to
        self._channel = channel
        self._cluster = cluster
        self._resolve = resolve

    async def carry(self, message: Message, envelope: Envelope) -> Outcome:
        """Hand a letter to the server."""
        made = letter(
            message, envelope, sender=self._sender, to=self._to, channel=self._channel, cluster=self._cluster
        )  # fmt: skip
        server = self._server
        where = f"{server.host}:{server.port}"
        try:
            return await self._handed_over(made, where)
        except TimeoutError:
            reason = f"{where} does not take a letter within {TIMEOUT_S:g} s"
        except _ABOUT_US as error:
            reason = f"{where} does not let us in: it answers {error.code}: {_line(error.message)}"
        except aiosmtplib.SMTPResponseException as error:
            return _judged(error.code, error.message, where)
        except CallError as error:
            reason = f"{where} {error}"
        except InfrastructureError as error:
            reason = str(error)
        except (OSError, aiosmtplib.SMTPException) as error:
            reason = f"{where} cannot be spoken with ({_line(words_of(error))})"
        return Outcome(fate=Fate.UNAVAILABLE, reason=reason)

    async def _handed_over(self, made: EmailMessage, where: str) -> Outcome:
        server = self._server
        context = await asyncio.to_thread(_context, server.authority)
        password = ""
        if server.password_file is not None:
            password = await asyncio.to_thread(
                read_credential, server.password_file, "the password for the mail server"
            )
        async with asyncio.timeout(TIMEOUT_S):
            client = aiosmtplib.SMTP(
                # The certificate has to be that of the name.
                hostname=server.host,
                sock=await connected(server.host, server.port, private=server.private, resolve=self._resolve),
                use_tls=server.encryption == "tls", start_tls=server.encryption == "starttls", tls_context=context,
                timeout=TIMEOUT_S, local_hostname=self._sender.rpartition("@")[2],
            )  # fmt: skip
            try:
                await client.connect()
                if server.user:
                    await client.login(server.user, password)
                outcome = await self._sent(client, made, where)
            except BaseException:  # Cancelled as well, it is to leave no connection behind.
                _hang_up(client)
                raise
        await _leave(client)
        return outcome

    async def _sent(self, client: aiosmtplib.SMTP, made: EmailMessage, where: str) -> Outcome:
        try:
            refused, _ = await client.send_message(made, sender=self._sender, recipients=list(self._to))
        except aiosmtplib.SMTPRecipientsRefused as error:
            # All are: what is said of the first goes for the letter.
            return _judged(error.recipients[0].code, error.recipients[0].message, where)
        if refused:
            # The others have it, and would have it twice.
            said = "; ".join(f"{address}: {_line(response.message)}" for address, response in refused.items())
            voice.warning("not everybody gets letters", channel=self._channel, server=where, refused=said)
        return Outcome(fate=Fate.DELIVERED)


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Say goodbye; the letter is the server's whatever it answers."""
    transport = client.transport
    try:
        async with asyncio.timeout(GOODBYE_S):
            await client.quit()
    except (TimeoutError, OSError, aiosmtplib.SMTPException):
        client.close()
    finally:
        _cut(transport)


def _hang_up(client: aiosmtplib.SMTP) -> None:
    transport = client.transport
    client.close()
    _cut(transport)


def _cut(transport: asyncio.BaseTransport | None) -> None:
    """End a connection that is being closed. One that is encrypted would wait for the server to close it as well."""
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _judged(code: int, said: str, where: str) -> Outcome:
    """What an answer to a letter means: 4xx is not now, 5xx not this one."""
    reason = f"{where} answers {code}: {_line(said) or 'and says nothing'}"
    return Outcome(fate=Fate.REFUSED if code in _FOR_GOOD else Fate.UNAVAILABLE, reason=reason)


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise InfrastructureError(f"the certificates in {authority} cannot be read: {error}") from error


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:SAID_CHARACTERS_MAX]
