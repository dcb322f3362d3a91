"""How a file of tables is read, whatever they are about: who is told what, or where people sign in.

What belongs here: from such a file to values, with a complaint for each that cannot be. What does not: which tables
there are (`surveil.notify.rules`, `surveil.web.providers.rules`), and how single values are read (`values`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from surveil.config import values
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import InvalidError

FILE_BYTES_MAX: Final = 256 * 1024
Read: TypeAlias = Callable[[object], Any]


def toml_of(path: Path, otherwise: str) -> dict[str, object]:
    """What a file says; `otherwise` is the clause that says what to do where it cannot be read.

    Raises:
        InvalidError: it is not there, too large, or no TOML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read ({error.strerror}): {otherwise}") from error
    if len(text) > FILE_BYTES_MAX:
        raise InvalidError(f"{path} has more than {FILE_BYTES_MAX // 1024} KiB, and so many rules nobody reads")
    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"{path} is no TOML: {error}") from error


def fields_of(
    table: Mapping[str, object], known: Mapping[str, Read], where: str, complaints: list[str]
) -> dict[str, Any]:
    """The values of a table, each read by its own function; what is wrong or unknown is complained of."""
    read: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            complaints.append(f"{where}: {unknown(name, known)}")
            continue
        try:
            read[name] = known[name](value)
        except ValueError as error:
            complaints.append(f"{where}: `{name}`: {error}")
    return read


def tables_of(found: Mapping[str, object], name: str, complaints: list[str]) -> list[Mapping[str, object]]:
    """All tables of this name."""
    tables = found.get(name, [])
    if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
        return tables
    complaints.append(f"`{name}` is to be written as [[{name}]], a table for each")
    return []


def unknown(name: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """The complaint about a key that nobody reads."""
    return f"there is no key {quoted(name)}: {did_you_mean(name, known)}"


def file_beside(here: Path) -> Read:
    """Reads the path of a file, which is taken from the folder `here`."""
    return lambda value: here / values.file(here / Path(values.text(value)).expanduser())
