"""A mail server on loopback that keeps what it takes, and whose moods are used up one by one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Mood(NamedTuple):
    """What comes of the next letter: an answer to its text or to its recipient, a silence, or an end."""

    answer: str = ""
    to_recipient: str = ""
    hang: bool = False
    cut: bool = False


class Letter(NamedTuple):
    """A letter that was taken: who was named on the envelope, and what it says."""

    sender: str
    to: list[str]
    message: EmailMessage
    encrypted: bool
    user: str


class PostOffice:
    """Takes letters. With `login` only from who has it; `tls` is the way in which it encrypts."""

    def __init__(
        self, *, certificate: Path | None = None, tls: str = "none", login: tuple[str, str] | None = None
    ) -> None:
        self.letters: list[Letter] = []
        self.moods: list[Mood] = []
        self.tried = 0
        self._spoken_with: list[SMTP] = []
        self._login = login
        self._released = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        more: dict[str, Any] = {"loop": self._loop, "hostname": "localhost"}
        if tls == "starttls":
            more |= {"tls_context": context, "require_starttls": True}
        if login is not None:
            # The library does not know that a connection is encrypted where it was from its beginning.
            begun = tls == "starttls"
            more |= {"authenticator": self._judge, "auth_required": begun, "auth_require_tls": begun}
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        serving = self._loop.create_server(
            lambda: self._spoken(SMTP(self, **more)), sock=listener, ssl=context if tls == "tls" else None
        )  # fmt: skip
        self._server = self._loop.run_until_complete(serving)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        self._released.set()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for each in self._spoken_with:
            if isinstance(each.transport, asyncio.Transport):
                each.transport.abort()
        await asyncio.sleep(0.01)  # A turn for each layer of a connection to let go.

    def _spoken(self, server: SMTP) -> SMTP:
        self._spoken_with.append(server)
        return server

    async def handle_RCPT(  # noqa: N802  # the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tried += 1
        if self.moods and self.moods[0].to_recipient:
            return self.moods.pop(0).to_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the same
        mood = self.moods.pop(0) if self.moods else Mood()
        if mood.hang:
            await self._released.wait()
        if mood.cut:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            return "451 gone"
        if mood.answer:
            return mood.answer
        assert isinstance(envelope.content, bytes)
        made = message_from_bytes(envelope.content, _class=EmailMessage, policy=policy.default)
        login: Any = session.auth_data
        user = login.login.decode() if session.authenticated else ""
        assert server.transport is not None
        encrypted = server.transport.get_extra_info("sslcontext") is not None
        letter = Letter(envelope.mail_from or "", envelope.rcpt_tos, made, encrypted, user)
        self.letters.append(letter)
        return "250 OK"

    def _judge(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = self._login is not None and (data.login.decode(), data.password.decode()) == self._login
        return AuthResult(success=good, handled=False, auth_data=data)


def make_certificate(folder: Path, name: str = "localhost") -> Path:
    """A certificate of this name that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )  # fmt: skip
    return path
