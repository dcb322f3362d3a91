"""The tables of channels in the file of rules: by which ways people are told, and of what.

What belongs here: reading and checking them. What does not: the file (`rules`), and what the rules come to (`serving`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from surveil.config import values
from surveil.config.tables import Read, fields_of, file_beside, tables_of
from surveil.core.spelling import quoted
from surveil.frozen import dataclass
from surveil.notify.happenings import KINDS
from surveil.notify.wanting import USUAL, Wanted, read_news, read_refs, read_repos

EXCHANGE: Final = "amqp"
ADDRESSES_MAX: Final = 50
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])?")
_SERVER: Final = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_PORT_MAX: Final = 65_535
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


Encryption: TypeAlias = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A server that takes mail for others, from whom, and how it is spoken to."""

    host: str
    port: int
    encryption: Encryption
    user: str = ""
    password_file: Path | None = None
    private: bool = False
    authority: Path | None = None
    """The file of the certificates that vouch for the server, where those of the system do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRule:
    """Letters from `sender` to all of these, by this server."""

    server: MailServer
    sender: str
    to: tuple[str, ...]


HookKind: TypeAlias = Literal["slack", "discord", "webhook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRule:
    """A webhook of others: at `url`, or at what `url_file` holds. What programs get is signed with `secret_file`."""

    kind: HookKind
    url: str
    url_file: Path
    secret_file: Path
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseRule:
    """A service that the Apprise library knows, at the address of it that `url_file` holds."""

    url_file: Path


Way: TypeAlias = MailRule | HookRule | AppriseRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRule:
    """A channel that is told of what is `wanted`, in its own way."""

    name: str
    wanted: Wanted
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRule:
    """An exchange of RabbitMQ that is told of all events of these kinds; `url_file` holds where it is."""

    name: str
    url_file: Path
    exchange: str
    kinds: tuple[str, ...]
    private: bool


def exchanges_of(found: Mapping[str, object], here: Path, complaints: list[str]) -> list[ExchangeRule]:
    """All exchanges of a file in the folder `here`; what is wrong is complained of."""
    known: Mapping[str, Read] = {
        "name": values.name, "url_file": file_beside(here), "exchange": values.name,
        "events": values.listed(values.one_of(*KINDS)), "private": values.flag,
    }  # fmt: skip
    made: list[ExchangeRule] = []
    for number, table in enumerate(tables_of(found, EXCHANGE, complaints), start=1):
        where = f"{EXCHANGE} {number}"
        read = fields_of(table, known, where, complaints)
        if not missing(read, ("url_file",), where, complaints):
            rule = ExchangeRule(
                name=read.get("name", EXCHANGE), url_file=read["url_file"], exchange=read.get("exchange", "surveil"),
                kinds=read.get("events", KINDS[:-1]), private=read.get("private", False),
            )  # fmt: skip
            made.append(rule)
    return made


def channels_of(found: Mapping[str, object], here: Path, complaints: list[str]) -> list[ChannelRule]:
    """All channels of a file in the folder `here`; what is wrong is complained of."""
    made: list[ChannelRule] = []
    for kind, (fields, way_of) in CHANNELS.items():
        for number, table in enumerate(tables_of(found, kind, complaints), start=1):
            where = f"{kind} {number}"
            before = len(complaints)
            read = fields_of(table, {**_COMMON, **fields(here)}, where, complaints)
            way = way_of(read, where, complaints)
            if way is not None and len(complaints) == before:
                wanted = Wanted(news=read.get("events", USUAL), repos=read.get("repos", ()), refs=read.get("refs"))
                made.append(ChannelRule(name=read.get("name", kind), wanted=wanted, way=way))
    return made


_COMMON: Final[Mapping[str, Read]] = {
    "name": values.name,
    "repos": read_repos,
    "refs": read_refs,
    "events": read_news,
}


def missing(read: Mapping[str, Any], names: tuple[str, ...], where: str, complaints: list[str]) -> bool:
    """Whether a table lacks one of these; each that it lacks is complained of."""
    lacks = [name for name in names if name not in read]
    complaints += [f"{where}: `{name}` is missing" for name in lacks]
    return bool(lacks)


def _mail_fields(here: Path) -> Mapping[str, Read]:
    return {
        "server": _server, "encryption": values.one_of(*_PORTS), "user": values.text,
        "password_file": file_beside(here), "authority_file": file_beside(here),
        "from": _address, "to": _addresses, "private": values.flag,
    }  # fmt: skip


def _mail(read: Mapping[str, Any], where: str, complaints: list[str]) -> MailRule | None:
    if missing(read, ("server", "from", "to"), where, complaints):
        return None
    host, port = read["server"]
    local = host in _HERE
    encryption: Encryption = read.get("encryption") or (
        "tls" if port == _PORTS["tls"] else "none" if local else "starttls"
    )
    if encryption == "none" and not local:
        complaints.append(f"{where}: `encryption` can be left out only on this machine: letters would be open to all")
    if ("user" in read) != ("password_file" in read):
        complaints.append(f"{where}: `user` and `password_file` go together")
    server = MailServer(
        host=host, port=port or _PORTS[encryption], encryption=encryption, user=read.get("user", ""),
        password_file=read.get("password_file"), private=read.get("private", False),
        authority=read.get("authority_file"),
    )  # fmt: skip
    return MailRule(server=server, sender=read["from"], to=read["to"])


def _chat_fields(here: Path) -> Mapping[str, Read]:
    return {"url_file": file_beside(here), "private": values.flag}


def _webhook_fields(here: Path) -> Mapping[str, Read]:
    return {**_chat_fields(here), "url": values.hook_url, "secret_file": file_beside(here)}


def _hook(kind: HookKind, read: Mapping[str, Any], where: str, complaints: list[str]) -> HookRule | None:
    named = ("url",) if "url" in read and "url_file" not in read else ("url_file",)
    if missing(read, (*named, *(("secret_file",) if kind == "webhook" else ())), where, complaints):
        return None
    if len({"url", "url_file"} & set(read)) > 1:
        complaints.append(f"{where}: of `url` and `url_file` there can be one")
    return HookRule(
        kind=kind, url=read.get("url", ""), url_file=read.get("url_file", Path()),
        secret_file=read.get("secret_file", Path()), private=read.get("private", False),
    )  # fmt: skip


def _apprise_fields(here: Path) -> Mapping[str, Read]:
    return {"url_file": file_beside(here)}


def _apprise(read: Mapping[str, Any], where: str, complaints: list[str]) -> AppriseRule | None:
    return None if missing(read, ("url_file",), where, complaints) else AppriseRule(url_file=read["url_file"])


def _server(value: object) -> tuple[str, int]:
    """Host and port; 0 where none is written."""
    found = _SERVER.fullmatch(values.text(value))
    if found is None or int(found[2] or 1) > _PORT_MAX:
        raise ValueError(f"{quoted(values.text(value))} is no mail server like `smtp.example.org:587`")
    return found[1].strip("[]"), int(found[2] or 0)


def _address(value: object) -> str:
    if _ADDRESS.fullmatch(values.text(value)) is None:
        raise ValueError(f"{quoted(values.text(value))} is no address like `team@example.org`")
    return values.text(value)


def _addresses(value: object) -> tuple[str, ...]:
    found = values.listed(_address)(value)
    if not 0 < len(found) <= ADDRESSES_MAX:
        raise ValueError(f"{len(found)} addresses are not 1 to {ADDRESSES_MAX}")
    return found


CHANNELS: Final[
    Mapping[str, tuple[Callable[[Path], Mapping[str, Read]], Callable[[Mapping[str, Any], str, list[str]], Way | None]]]
] = {
    "mail": (_mail_fields, _mail),
    "slack": (_chat_fields, partial(_hook, "slack")),
    "discord": (_chat_fields, partial(_hook, "discord")),
    "webhook": (_webhook_fields, partial(_hook, "webhook")),
    "apprise": (_apprise_fields, _apprise),
}
"""By the name of their tables: the fields that each kind has beside the common ones, and what they come to."""
