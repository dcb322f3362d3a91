"""Where a repository is, whichever way leads there: https and ssh, with `.git` and without, in any case.

What belongs here: telling that two addresses mean the same repository. What does not: what addresses look like
(`address`). Pure.

Whoever names a repository from outside may know it by another address than whoever watches it does. Being generous
costs one look at a repository too many, and never more: nothing is built because of a name.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote

from surveil.mirror.address import Address, AddressError, parse

_MARK: Final = "://"
_PORT: Final = re.compile(r":[0-9]+\Z")


def place_of(text: str) -> str | None:
    """The place that an address names, `host/path` or `/path`; None where it is no address that surveil would touch."""
    try:
        address = parse(text, "/")
    except AddressError:
        return None
    return _path(address) if address.is_local else _remote(address)


def _remote(address: Address) -> str:
    _, mark, rest = address.key.rpartition(_MARK)
    authority, _, path = rest.partition("/") if mark else _scp_like(rest)
    host = _PORT.sub("", authority.rpartition("@")[2])
    return f"{host}/{_plain(unquote(path)).strip('/')}".casefold()


def _scp_like(key: str) -> tuple[str, str, str]:
    """`user@host:path`, whose host may be in brackets and hold colons."""
    end = key.index("]") + 1 if "[" in key.partition("/")[0] else 0
    head, colon, path = key[end:].partition(":")
    return key[:end] + head, colon, path


def _path(address: Address) -> str:
    return _plain(address.key) or "/"


def _plain(path: str) -> str:
    """Without what git leaves out as well: a bare repository's ending, and the folder in a work tree."""
    path = posixpath.normpath(path) if path else path
    return path.removesuffix("/.git").removesuffix(".git")
