"""How one setting's value is read, whether it was typed as a flag, set in the environment or written in the file.

What belongs here: functions from any value to a checked one; a `ValueError` says what is wrong as a clause for
people. What does not: which settings there are (`roles`) and where values come from (`sources`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from surveil.core.declared import LABEL
from surveil.core.patterns import in_full
from surveil.core.spelling import format_size, parse_duration, parse_size, quoted

LIST_MAX: Final = 1000
NAME_CHARACTERS_MAX: Final = 100
TEXT_CHARACTERS_MAX: Final = 4096

_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
_TCP: Final = re.compile(rf"(?:tcp://)?({_HOST}):([0-9]{{1,5}})")
OFF: Final = "off"
_HTTP: Final = re.compile(rf"(?:http://)?({_HOST})?:([0-9]{{1,5}})/?")
_URL: Final = re.compile(r"[a-z][a-z0-9+]*://\S*")
_WEB: Final = re.compile(rf"(https?)://({_HOST})(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._/-]*)?")
_BUCKET: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")
_PASSWORD: Final = re.compile(r"(://[^/@:]*):[^/@]*@")
_PORT_MAX: Final = 65_535

Item = TypeVar("Item")


def text(value: object) -> str:
    """A text of one line."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {_described(value)}")  # one kind of error for all
    if not value or not value.isprintable() or len(value) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"{quoted(value)} is not one line of printable text")
    return value


def path(value: object) -> Path:
    """A path; `~` is the home folder, and what is relative is taken from the current folder once and for all."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected a path, not {_described(value)}")
    return Path(os.path.abspath(os.path.expanduser(value)))  # noqa: PTH100, PTH111  # a path need not exist yet


def file(value: object) -> Path:
    """A path of a file. What is in it may be a secret, and is refused without being shown."""
    if isinstance(value, str) and ("://" in value or not value.isprintable()):
        raise ValueError("expected the path of a file, not what is in it")
    return path(value)


def name(value: object) -> str:
    """A name that people will type."""
    found = text(value)
    if len(found) > NAME_CHARACTERS_MAX or found != found.strip() or "/" in found or found.startswith("-"):
        raise ValueError(
            f"{quoted(found)} cannot be a name: at most {NAME_CHARACTERS_MAX} characters, no `/`, no `-` first"
        )
    return found


def address(value: object) -> str:
    """`tcp://HOST:PORT`; the scheme may be left out."""
    match = _TCP.fullmatch(text(value))
    if match is None or int(match[2]) > _PORT_MAX:
        raise ValueError(f"{quoted(text(value))} is not an address like `tcp://127.0.0.1:7300`")
    return f"tcp://{match[1]}:{int(match[2])}"


def http_address(value: object) -> str:
    """`HOST:PORT`, from which `http://` and the host may be left out; without a host only this machine is served. `off`
    serves nothing.
    """
    if text(value) == OFF:
        return OFF
    match = _HTTP.fullmatch(text(value))
    if match is None or int(match[2]) > _PORT_MAX:
        raise ValueError(f"{quoted(text(value))} is not an address like `127.0.0.1:8080`")
    return f"{match[1] or '127.0.0.1'}:{int(match[2])}"


def listening(value: object) -> str:
    """`HOST:PORT` of something that is served only if it is asked for."""
    found = http_address(value)
    if found == OFF:
        raise ValueError("is off as long as nobody sets it: leave it out")
    return found


def vault_address(value: object) -> str:
    """The URL of a Vault; only on this machine without encryption."""
    return _web_address(value, "https://vault.example.org:8200", "secrets")


def bucket(value: object) -> str:
    """A bucket and what the names in it begin with; parts of it that lead elsewhere are none."""
    match = _BUCKET.fullmatch(text(value))
    if match is None or {".", ".."} & set(match[2].split("/")):
        raise ValueError(f"{quoted(text(value))} is not a bucket like `s3://builds` or `s3://builds/surveil`")
    return f"s3://{match[1]}{match[2]}"


def endpoint(value: object) -> str:
    """The URL of a server that speaks S3; only on this machine without encryption."""
    return _web_address(value, "https://s3.example.org", "artifacts and caches")


def server(value: object) -> str:
    """The URL of web pages, without the slash at its end; only on this machine without encryption."""
    return _web_address(value, "https://ci.example.org", "your token").rstrip("/")


def forge_url(value: object) -> str:
    """The URL of a forge; only on this machine without encryption."""
    return _web_address(value, "https://git.example.org", "its token")


def issuer(value: object) -> str:
    """The URL by which a provider of identities calls itself; only on this machine without encryption."""
    return _web_address(value, "https://id.example.org", "who signs in")


def hook_url(value: object) -> str:
    """The URL of somebody's webhook; only on this machine without encryption."""
    return _web_address(value, "https://hooks.example.org/surveil", "what is told")


def collector_url(value: object) -> str:
    """The URL of a collector of traces; only on this machine without encryption."""
    return _web_address(value, "https://collector.example.org:4318", "what is built").rstrip("/")


def public_url(value: object) -> str:
    """The URL of our own pages, as people type it; they may be below a prefix."""
    found = text(value).rstrip("/")
    if _WEB.fullmatch(found) is None or {"", ".", ".."} & set(found.split("/")[3:]):
        raise ValueError(f"{quoted(text(value))} is not an address like `https://ci.example.org`")
    return found


def proxy(value: object) -> str:
    """An address or a network of proxies; all of the world is none."""
    try:
        found = ipaddress.ip_network(text(value))
    except ValueError:
        raise ValueError(
            f"{quoted(text(value))} is neither an address like `127.0.0.1` nor a network like `10.1.0.0/16`"
        ) from None
    if found.prefixlen == 0:
        raise ValueError(f"{quoted(text(value))} would let everybody say who they are: name the proxies alone")
    return str(found.network_address) if found.num_addresses == 1 else str(found)


def _web_address(value: object, like: str, what: str) -> str:
    match = _WEB.fullmatch(text(value))
    if match is None:
        raise ValueError(f"{quoted(text(value))} is not an address like `{like}`")
    if match[1] == "http" and match[2] not in {"127.0.0.1", "localhost", "[::1]"}:
        raise ValueError(f"{quoted(text(value))} would show {what} to the network: use https")
    return text(value)


def database_url(value: object) -> str:
    """A database's URL."""
    if _URL.fullmatch(text(value)) is None:
        raise ValueError("expected a URL like `sqlite:////var/lib/surveil/surveil.db`")  # It may hold a password.
    return text(value)


def without_password(value: object) -> str:
    """A URL as it may be shown."""
    return _PASSWORD.sub(r"\1:***@", str(value))


def label(value: object) -> str:
    """A label of a runner."""
    if LABEL.fullmatch(text(value)) is None:
        raise ValueError(f"{quoted(text(value))} is not a label: use letters, digits and `_.:/=+-`, at most 64")
    return text(value)


def ref_pattern(value: object) -> str:
    """A pattern of ref names as `core.patterns` reads them, in full."""
    found = text(value)
    if found.startswith("-") or " " in found:
        raise ValueError(f"{quoted(found)} is not a pattern of refs like `refs/heads/*`")
    return in_full(found)


def repository(value: object) -> str:
    """A repository's path or URL; whether it is one is seen when it is read."""
    found = text(value)
    if found.startswith("-"):
        raise ValueError(f"{quoted(found)} is neither a path nor a URL; for a path write `./{found}`")
    return found


def duration(least_ms: int, most_ms: int) -> Callable[[object], int]:
    """A duration like `90s`; an integer is milliseconds that somebody has read already."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"expected a duration like `90s`, not {_described(value)}")
        found_ms = value if isinstance(value, int) else parse_duration(value)
        if not least_ms <= found_ms <= most_ms:
            raise ValueError(f"{quoted(str(value))} is outside of {least_ms} ms to {most_ms} ms")
        return found_ms

    return read


def whole(least: int, most: int) -> Callable[[object], int]:
    """A whole number within limits."""

    def read(value: object) -> int:
        found = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value) else value
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            raise ValueError(f"{_described(value)} is not a whole number from {least} to {most}")
        return found

    return read


def size(value: object) -> int:
    """A number of bytes like `512MiB` or `2GiB`; 0 is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return parse_size(text(value))


def size_shown(value: object) -> str:
    """A size as it can be typed."""
    return format_size(int(str(value)))


def engine(value: object) -> str:
    """Where a container engine listens: a socket of this machine, as what a container sees are this machine's files."""
    found = text(value)
    if found in {"auto", "off"}:
        return found
    if not found.startswith("unix:///"):
        raise ValueError(f"{_described(value)} is neither `auto` nor `off` nor a socket like `unix:///run/docker.sock`")
    return found


def one_of(*choices: str) -> Callable[[object], str]:
    """One word of a closed set."""

    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"{_described(value)} is not one of {', '.join(f'`{choice}`' for choice in choices)}")
        return str(value)

    return read


def flag(value: object) -> bool:
    """True or false; the environment has only texts for it."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = known.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError(f"{_described(value)} is neither `true` nor `false`")
    return found


def listed(item: Callable[[object], Item]) -> Callable[[object], tuple[Item, ...]]:
    """A list; in the environment its items stand between commas or on lines of their own."""

    def read(value: object) -> tuple[Item, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in re.split(r"[,\n]", value) if part.strip()]
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"expected a list, not {_described(value)}")
        if len(value) > LIST_MAX:
            raise ValueError(f"the list has {len(value)} items; at most {LIST_MAX} are allowed")
        return tuple(dict.fromkeys(item(part) for part in value))

    return read


def _described(value: object) -> str:
    match value:
        case str():
            return quoted(value)
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"`{value}`"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
