"""The values of a service's keys: its name, its words, and when it is ready.

What belongs here: one value at a time. What does not: values that other keys have as well (`values`), and which keys
there are (`schema`).
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from surveil.core.declared import Text
from surveil.core.spelling import format_duration, parse_duration, quoted
from surveil.pipeline.document import Scalar
from surveil.pipeline.values import SCALARS, known_as, single

INTERVAL_MS_DEFAULT: Final = 1_000
INTERVAL_MS_MIN: Final = 100
INTERVAL_MS_MAX: Final = 60_000
READY_MS_DEFAULT: Final = 120_000
READY_MS_MIN: Final = 1_000
READY_MS_MAX: Final = 15 * 60_000
PORT_MAX: Final = 65_535
WORDS_MAX: Final = 256
SCRIPT: Final = ("/bin/sh", "-c")
"""What runs a command that is one text."""

_SERVICE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


def service_name(name: str) -> str:
    """Check the name of a service, which steps use as that of a host.

    Raises:
        ValueError: with a clause for people.
    """
    if not _SERVICE_NAME.fullmatch(name) or name == "localhost":
        raise ValueError(
            f"{quoted(name)} cannot be a service's name: steps reach it as a host of that name, so use lower-case "
            "letters, digits, `-` and `_` between them, at most 63"
        )
    return name


def _words(value: object) -> tuple[Text, ...]:
    """A list of words, or a text that is cut into words as a shell would, of which nothing is replaced."""
    if isinstance(value, Scalar):
        text = single(value)
        try:
            found = tuple(Text(word, value.place) for word in shlex.split(text))
        except ValueError:
            raise ValueError(f"{quoted(text)} has a quote that is not closed") from None
    elif isinstance(value, list):
        found = tuple(Text(single(item), item.place) for item in value)
    else:
        raise ValueError(f"expected a command, as one text or a list of its words, not {known_as(value)}")
    if not found:
        raise ValueError("the command is empty")
    if len(found) > WORDS_MAX:
        raise ValueError(f"a command has at most {WORDS_MAX} words")
    return found


def _check_words(value: object) -> tuple[Text, ...]:
    """The same; but a text is a script of the service's shell."""
    if isinstance(value, Scalar):
        script = Text(single(value), value.place)
        if not script.value.strip():
            raise ValueError("the command is empty")
        return (*(Text(word, value.place) for word in SCRIPT), script)
    return _words(value)


def _port(value: object) -> int:
    text = single(value)
    if not _PORT.fullmatch(text) or int(text) > PORT_MAX:
        raise ValueError(f"{quoted(text)} is not a port from 1 to {PORT_MAX}")
    return int(text)


def _between(least_ms: int, most_ms: int) -> PlainValidator:
    def check(value: object) -> int:
        text = single(value)
        found = parse_duration(text)
        if not least_ms <= found <= most_ms:
            bounds = f"`{format_duration(least_ms)}` to `{format_duration(most_ms)}`"
            raise ValueError(f"{quoted(text)} is outside of {bounds}")
        return found

    return PlainValidator(check)


_TIME: Final = {"type": "string", "pattern": "^([0-9]+(ms|[smhd]))+$"}

# What follows each validator is the same for editors, as far as JSON Schema can say it.
ServiceName: TypeAlias = Annotated[str, AfterValidator(service_name)]
Words: TypeAlias = Annotated[tuple[Text, ...], PlainValidator(_words), WithJsonSchema(SCALARS)]
CheckWords: TypeAlias = Annotated[tuple[Text, ...], PlainValidator(_check_words), WithJsonSchema(SCALARS)]
Port: TypeAlias = Annotated[
    int, PlainValidator(_port), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": PORT_MAX})
]
Interval: TypeAlias = Annotated[
    int, _between(INTERVAL_MS_MIN, INTERVAL_MS_MAX), WithJsonSchema({**_TIME, "examples": ["1s", "5s"]})
]
ReadyWithin: TypeAlias = Annotated[
    int, _between(READY_MS_MIN, READY_MS_MAX), WithJsonSchema({**_TIME, "examples": ["30s", "5m"]})
]


def short_health(value: object) -> object:
    """A command alone stands for the check by that command."""
    return {"command": value} if isinstance(value, Scalar | list) else value


ShortHealth: Final = BeforeValidator(short_health)
