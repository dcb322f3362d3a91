"""What a repository may be called: a path, or an address of one of five kinds. Pure: no disk, no network.

What belongs here: reading, checking and naming addresses. What does not: whether anything answers there.

An allow-list, because git's own list is longer than it is safe: `ext::` runs a command, `fd::` reads our
descriptors, and anything that begins with `-` is an option to somebody.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from surveil.errors import UsageError
from surveil.frozen import dataclass

_SHOWN_CHARS_MAX: Final = 200
_PORT_MAX: Final = 65535
ADDRESS_CHARS_MAX: Final = 2000
"""A repository's name travels beside a ref and a SHA in one text of at most 4096 characters."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
_USER = re.compile(r"[A-Za-z0-9_.~+%!][A-Za-z0-9_.~+%!=@-]{0,127}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SCP_LIKE = re.compile(r"(?:([^/@:]+)@)?(\[[^\]/]*\]|[^/:\[\]]+):([^:].*)", re.DOTALL)
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]*\]")
"""An address of IPv6, whose colons name no helper."""
_KINDS_SENTENCE: Final = "use a path, or an address that begins with https://, ssh://, http://, git:// or user@host:"


class AddressError(UsageError):
    """The text cannot be the address of a repository that surveil would touch."""


class Kind(StrEnum):
    """How git reaches a repository; the value is what `GIT_ALLOW_PROTOCOL` calls it."""

    LOCAL = "file"
    HTTPS = "https"
    HTTP = "http"
    SSH = "ssh"
    GIT = "git"


_PORTS: Final = {Kind.HTTPS: "443", Kind.HTTP: "80", Kind.SSH: "22", Kind.GIT: "9418"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A checked address.

    `key` is the one name of the repository everywhere: in messages, tables and pages. It never holds a
    password. `url` is the same as git is told it. `user` came with an http(s) address, and says which of several
    credentials is meant (`access`).
    """

    kind: Kind
    key: str
    user: str = ""

    @property
    def url(self) -> str:
        """What git is told; the same as `key`, since credentials travel apart."""
        return self.key

    @property
    def name(self) -> str:
        """A short name for people: the last part of the path, without `.git`."""
        last = re.split(r"[/:]", self.key.removesuffix("/.git"))[-1]
        return last.removesuffix(".git") or self.key

    @property
    def server(self) -> str:
        """What it has in common with other repositories of its server: all before the path; nothing on this machine."""
        if self.is_local:
            return ""
        if "://" in self.key:
            return "/".join(self.key.split("/", 3)[:3])
        match = _SCP_LIKE.fullmatch(self.key)
        assert match is not None, f"{self.key} is neither a path nor has it a host"
        return self.key[: match.start(3) - 1]

    @property
    def is_local(self) -> bool:
        """Whether the repository is a folder of this machine."""
        return self.kind is Kind.LOCAL

    @property
    def is_plain(self) -> bool:
        """Whether anyone on the way may read and change what is fetched, which is worth a warning."""
        return self.kind in {Kind.HTTP, Kind.GIT}


def parse(text: str, cwd: str) -> Address:
    """Read an address that a person typed; a relative path is taken from `cwd`, which is absolute.

    Raises AddressError with one sentence that says what is wrong and what to type instead.
    """
    _check_characters(text)
    if text.startswith("-"):
        raise AddressError(f"{show(text)} begins with a dash, as no address may; for a path write ./{show(text)}.")
    if match := _SCHEME.fullmatch(text):
        return _url(match[1].lower(), match[2], text)
    if "::" in _BRACKETED.sub("", text.split("/", 1)[0]):
        raise AddressError(f"{show(text)} names a git remote helper, which surveil never runs; {_KINDS_SENTENCE}.")
    if match := _SCP_LIKE.fullmatch(text):
        return _scp_like(match[1], match[2], match[3], text)
    return _local(posixpath.join(cwd, text), text)


def show(text: str) -> str:
    """The text as a person may be shown it: no password, no control character, not endless."""
    if match := re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@", text):
        text = match[1] + text[match.end() :]
    visible = "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARS_MAX])
    return visible + ("..." if len(text) > _SHOWN_CHARS_MAX else "")


def _check_characters(text: str) -> None:
    if not text or text.isspace():
        raise AddressError(f"A repository's address is empty; {_KINDS_SENTENCE}.")
    if len(text) > ADDRESS_CHARS_MAX:
        raise AddressError(
            f"The address {show(text)} has {len(text)} characters; at most {ADDRESS_CHARS_MAX} are allowed."
        )
    for character in text:
        # Format characters (Cf) turn text around or hide it: an address must look like what it is.
        if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}:
            raise AddressError(f"{show(text)} holds the invisible character U+{ord(character):04X}; leave it out.")
        if unicodedata.category(character) == "Cs":
            raise AddressError(
                f"The path {show(text)} is not UTF-8, so it cannot be shown or sent; rename it or link to it."
            )


def _url(scheme: str, rest: str, text: str) -> Address:
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host.lower() not in {"", "localhost"} or not slash:
            raise AddressError(f"{show(text)} names another machine's files; write file:///PATH, or use https or ssh.")
        path = unquote("/" + path)
        _check_characters(path)
        return _local(path, text)
    if scheme not in {kind.value for kind in _PORTS}:
        raise AddressError(f"surveil does not fetch over {show(scheme)}:// as in {show(text)}; {_KINDS_SENTENCE}.")
    kind = Kind(scheme)
    authority, _, path = rest.partition("/")
    userinfo, at, host_port = authority.rpartition("@")
    host, port = _host_and_port(host_port, kind, text)
    if any(c.isspace() for c in rest):
        raise AddressError(f"The address {show(text)} holds a blank; write %20 instead.")
    path = path.rstrip("/")
    if not path:
        raise AddressError(f"The address {show(text)} names a host and no repository; add its path.")
    user, _, password = userinfo.partition(":")
    if kind is Kind.SSH:
        if password:
            raise AddressError(f"The address {show(text)} holds a password, which ssh cannot use; use a key instead.")
        if at and not _USER.fullmatch(user):
            raise AddressError(f"The user in {show(text)} is not one that ssh takes.")
        return Address(kind=kind, key=f"ssh://{user + '@' if user else ''}{host}{port}/{path}")
    if kind is Kind.GIT and userinfo:
        raise AddressError(
            f"The address {show(text)} names a user, which git:// does not know; leave that out or use https://."
        )
    if password:
        raise AddressError(
            f"The address {show(text)} holds a password, which everybody on this machine could read; write it to a "
            "file, and name that with --credentials FILE."
        )
    user = unquote(user)
    if not user.isprintable():
        raise AddressError(f"The user in {show(text)} holds an invisible character; check how it is quoted.")
    return Address(kind=kind, key=f"{scheme}://{host}{port}/{path}", user=user)


def _host_and_port(text: str, kind: Kind, whole: str) -> tuple[str, str]:
    host, colon, port = text, "", ""
    if not text.endswith("]"):
        host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    if not _HOST.fullmatch(host):
        raise AddressError(f"The address {show(whole)} has no proper host; write one like {kind.value}://host/path.")
    if colon and port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _PORT_MAX):
        raise AddressError(f"The port in {show(whole)} is not a number from 1 to 65535.")
    return host.lower(), f":{int(port)}" if port and port != _PORTS[kind] else ""


def _scp_like(user: str | None, host: str, path: str, text: str) -> Address:
    if not _HOST.fullmatch(host):
        raise AddressError(f"The address {show(text)} has no proper host; a path that holds a colon begins with ./.")
    if user is not None and not _USER.fullmatch(user):
        raise AddressError(f"The user in {show(text)} is not one that ssh takes.")
    if path.startswith("-"):
        raise AddressError(f"The path in {show(text)} begins with a dash, which ssh could take for an option.")
    if path.startswith("//"):
        # git takes all before `://` for the name of a protocol.
        raise AddressError(f"The path in {show(text)} begins with two slashes; write one, or begin with ssh://.")
    return Address(kind=Kind.SSH, key=f"{user + '@' if user else ''}{host.lower()}:{path.rstrip('/') or '/'}")


def _local(path: str, text: str) -> Address:
    if not path.startswith("/"):
        raise AddressError(
            f"The path {show(text)} is relative, and there is no folder to start from; write it in full."
        )
    # POSIX lets a leading `//` mean something special; nobody who types it means that.
    key = "/" + posixpath.normpath(path).lstrip("/")
    if len(key) > ADDRESS_CHARS_MAX:
        raise AddressError(f"The path {show(text)} has {len(key)} characters; at most {ADDRESS_CHARS_MAX} are allowed.")
    return Address(kind=Kind.LOCAL, key=key)
