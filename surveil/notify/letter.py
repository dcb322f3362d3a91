"""A message as a letter: HTML beside the plain text, and the headers of an e-mail.

What belongs here: pure functions to an e-mail's text. What does not: what it says (`wording`), and handing it to a
server (`mail`).

Whoever writes commits writes part of it. Text is escaped where it becomes HTML, and the library that makes headers
refuses whatever would end one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from hashlib import sha256
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from surveil.core.spelling import printable
from surveil.core.turns import News
from surveil.notify.channels import Envelope
from surveil.notify.wording import Message, plain

_COLOURS: Final[Mapping[str, str]] = {
    News.BROKEN: "#c62828",
    News.STILL_FAILING: "#c62828",
    News.FIXED: "#2e7d32",
    News.PASSED: "#2e7d32",
    News.RUNNER_LOST: "#b26a00",
}
_ID_DIGITS: Final = 32


def letter(
    message: Message, envelope: Envelope, *, sender: str, to: Sequence[str], channel: str, cluster: str
) -> EmailMessage:
    """The e-mail. Made twice it is the same, so that a server or a reader that has it already knows it."""
    made = EmailMessage(policy=SMTP)
    domain = sender.rpartition("@")[2]
    made["From"] = sender
    made["To"] = ", ".join(to)
    # The library would read what is spelled as an encoded word, and write down whatever that holds.
    made["Subject"] = printable(message.title).replace("=?", "= ?")
    made["Date"] = format_datetime(datetime.fromtimestamp(envelope.made_at / 1000, UTC))
    made["Message-ID"] = f"<{_id(cluster, channel, envelope.id)}@{domain}>"
    # Readers show what has the same ancestor as one conversation; nobody ever sent that one.
    made["References"] = f"<{_id(cluster, channel, message.thread)}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Surveil-Event"] = message.event
    made.set_content(plain(message), cte="quoted-printable")
    made.add_alternative(html(message), subtype="html", cte="quoted-printable")
    # The library draws a border by chance otherwise.
    made.set_boundary(f"=_{_id(cluster, channel, envelope.id)}")
    return made


def html(message: Message) -> str:
    """A message as a page of HTML that needs nothing beside it."""
    return _template().render(message=message, colour=_COLOURS.get(message.event, "#607d8b"))


@cache
def _template() -> Template:
    return Environment(
        loader=PackageLoader("surveil.notify"), autoescape=True, undefined=StrictUndefined
    ).get_template("letter.html")  # fmt: skip


def _id(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:_ID_DIGITS]
