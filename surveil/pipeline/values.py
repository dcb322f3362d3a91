"""The values of a pipeline file's keys: how each is read from what was typed, or what is wrong with it.

What belongs here: one value at a time. What does not: which keys there are (`schema`, `dialects`).

Every validator takes a node of the document as it stands there, because the typed text decides: `3.10` is no
number here, and only `true` and `false` are flags. A `ValueError` says what is wrong as a clause for people.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from surveil.core.declared import OnRunnerLoss, Pull, Text
from surveil.core.keeping import SHORT_NAME
from surveil.core.spelling import parse_duration, parse_size, quoted
from surveil.pipeline.document import Kind, Scalar

TIMEOUT_MS_DEFAULT: Final = 60 * 60_000
TIMEOUT_MS_MIN: Final = 1000
TIMEOUT_MS_MAX: Final = 7 * 86_400_000
RETRY_MAX: Final = 10
SHARDS_MAX: Final = 64
SHARDS_MOST: Final = 8
SHARDS_TARGET_MS: Final = 120_000
"""What `shards: auto` means: as long as somebody waits at a screen."""
PRIORITY_MAX: Final = 100
INCLUDE_CHARACTERS_MAX: Final = 300
RETENTION_MS_MIN: Final = 3_600_000
ARTIFACT_NAME_BYTES_MAX: Final = 120
CPUS_MAX: Final = 1024
PROCESSES_MAX: Final = 4_194_304
"""As many as the kernel ever allows."""

SET_BY_SURVEIL: Final = frozenset(
    ["CI", "SURVEIL"]
    + [
        f"SURVEIL_{name}"
        for name in ("BUILD", "JOB", "ATTEMPT", "REPO", "REF", "SHA", "EVENT", "RUNNER", "SHARDS", "WORKSPACE")
    ]
)
"""Variables that every step gets from surveil; a file that set them would lie to its own steps."""

SHELL_CHARACTERS_MAX: Final = 200
AXIS_CHARACTERS_MAX: Final = 60

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_JOB_NAME: Final = re.compile(r"[^\s/,\[\].-][^/,\[\]]*")
_SHELL: Final = re.compile(r"[A-Za-z0-9_./+-]+(?: [A-Za-z0-9_./+=-]+){0,9}")


def known_as(value: object) -> str:
    """What a value is, for `expected ..., not ...`."""
    match value:
        case Scalar(is_nothing=True):
            return "nothing"
        case Scalar():
            return quoted(value.text)
        case list():
            return "a list"
        case _:
            return "keys and values"


def _scalar(value: object) -> Scalar:
    if not isinstance(value, Scalar):
        raise ValueError(f"expected a single value, not {known_as(value)}")  # pydantic collects these
    if value.is_nothing:
        raise ValueError('there is no value: write one, or "" for the empty text')
    if "\0" in value.text:
        raise ValueError("the value holds a NUL character, which no process can be given")
    return value


def single(value: object) -> str:
    """A single value as it was typed. Raises ValueError with a clause."""
    return _scalar(value).text


def _text(value: object) -> Text:
    scalar = _scalar(value)
    return Text(scalar.text, scalar.place)


def _script(value: object) -> Text:
    text = _text(value)
    if not text.value.strip():
        raise ValueError("the script is empty")
    return text


def _title(value: object) -> Text:
    text = _text(value)
    if not text.value.strip() or not text.value.isprintable():
        raise ValueError("a name is one line of printable text")
    return text


def _duration(value: object) -> int:
    scalar = _scalar(value)
    duration_ms = parse_duration(scalar.text)
    if not TIMEOUT_MS_MIN <= duration_ms <= TIMEOUT_MS_MAX:
        raise ValueError(f"{quoted(scalar.text)} is outside of `1s` to `7d`")
    return duration_ms


def _retry(value: object) -> int:
    scalar = _scalar(value)
    if scalar.kind is not Kind.WHOLE or not re.fullmatch("[0-9]{1,2}", scalar.text) or int(scalar.text) > RETRY_MAX:
        raise ValueError(f"{quoted(scalar.text)} is not a whole number from 0 to {RETRY_MAX}")
    return int(scalar.text)


def _flag(value: object) -> bool:
    scalar = _scalar(value)
    if scalar.kind is not Kind.FLAG:
        raise ValueError(f"{quoted(scalar.text)} is neither `true` nor `false`")
    return scalar.text.lower() == "true"


def _version(value: object) -> int:
    scalar = _scalar(value)
    if scalar.text not in {"1", "1.0"}:
        raise ValueError(f"version {quoted(scalar.text)} is not known: this version of surveil reads `version: 1`")
    return 1


def _shell(value: object) -> str:
    scalar = _scalar(value)
    if not _SHELL.fullmatch(scalar.text) or len(scalar.text) > SHELL_CHARACTERS_MAX:
        raise ValueError(
            f"{quoted(scalar.text)} is not a shell: write a program and its options, like `bash` or `sh -eu`"
        )
    return scalar.text


def one_of(*choices: str) -> PlainValidator:
    """A validator of one of these words."""

    def check(value: object) -> str:
        scalar = _scalar(value)
        if scalar.text not in choices:
            raise ValueError(f"{quoted(scalar.text)} is not one of {', '.join(f'`{choice}`' for choice in choices)}")
        return scalar.text

    return PlainValidator(check)


def _when(value: object) -> Text:
    """A word or a condition; what it means is asked when the names are known (`core.pipeline`)."""
    scalar = _scalar(value)
    return Text(scalar.text, scalar.inside or scalar.place, straight=scalar.inside is not None)


def shard_count(value: object, *, instead: str = "not") -> int:
    """Read how many shards there are; `instead` says what else it might have been.

    Raises:
        ValueError: with a clause for people.
    """
    scalar = _scalar(value)
    if (
        scalar.kind is not Kind.WHOLE
        or not re.fullmatch("[0-9]{1,2}", scalar.text)
        or not 1 <= int(scalar.text) <= SHARDS_MAX
    ):
        raise ValueError(f"{quoted(scalar.text)} is {instead} a whole number from 1 to {SHARDS_MAX}")
    return int(scalar.text)


def _priority(value: object) -> int:
    scalar = _scalar(value)
    if scalar.kind is not Kind.WHOLE or not re.fullmatch("[-+]?[0-9]{1,3}", scalar.text):
        raise ValueError(f"{quoted(scalar.text)} is not a whole number")
    if abs(int(scalar.text)) > PRIORITY_MAX:
        raise ValueError(f"{quoted(scalar.text)} is outside of -{PRIORITY_MAX} to {PRIORITY_MAX}")
    return int(scalar.text)


def listed(value: object) -> object:
    """One value stands for a list of one."""
    return [value] if isinstance(value, Scalar) and not value.is_nothing else value


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{quoted(name)} cannot be a variable's name: use letters, digits and `_`, no digit first")
    if name in SET_BY_SURVEIL:
        raise ValueError(f"{quoted(name)} is set by surveil itself")
    return name


def _variable_value(value: object) -> str:
    return _variable(_scalar(value).text)


def axis_name(name: str) -> str:
    """Check the name of a matrix value, which becomes part of a variable's.

    Raises:
        ValueError: with a clause for people.
    """
    if not _VARIABLE.fullmatch(name) or len(name) > AXIS_CHARACTERS_MAX:
        raise ValueError(f"{quoted(name)} cannot be the name of a value: use letters, digits and `_`, no digit first")
    return name


def job_name(name: str) -> str:
    """Check a job's name, which people type and which becomes part of file names and of `BUILD/NAME`.

    Raises:
        ValueError: with a clause for people.
    """
    if not _JOB_NAME.fullmatch(name) or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"{quoted(name)} cannot be a job's name: use printable text without `/`, `,`, `[` and `]` "
            "that starts with neither `-` nor `.`"
        )
    return name


def include_path(path: str) -> str:
    """Check the path of a file that is included: from the root of the commit, and never out of it.

    Raises:
        ValueError: with a clause for people.
    """
    parts = path.split("/")
    if not path.isprintable() or not all(parts) or {".", ".."} & set(parts) or len(path) > INCLUDE_CHARACTERS_MAX:
        raise ValueError(f"{quoted(path)} is no file of the commit: write its path from the root, like `ci/lint.yml`")
    return path


def _include(value: object) -> Text:
    text = _text(value)
    return Text(include_path(text.value), text.place)


def _cpus(value: object) -> int:
    """Processors in thousandths, as text: no binary fraction comes in between."""
    scalar = _scalar(value)
    match = re.fullmatch(r"([0-9]{1,4})(?:\.([0-9]{1,3}))?", scalar.text)
    found = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")) if match else 0
    if not 0 < found <= CPUS_MAX * 1000:
        raise ValueError(f"{quoted(scalar.text)} is not a number of processors like `2` or `0.5`")
    return found


def _size(value: object) -> int:
    scalar = _scalar(value)
    found = parse_size(scalar.text)
    if not found:
        raise ValueError("0 is no size: leave the key out for no limit")
    return found


def _processes(value: object) -> int:
    scalar = _scalar(value)
    if not re.fullmatch("[0-9]{1,7}", scalar.text) or not 0 < int(scalar.text) <= PROCESSES_MAX:
        raise ValueError(f"{quoted(scalar.text)} is not a number of processes from 1 to {PROCESSES_MAX}")
    return int(scalar.text)


def _retention(value: object) -> int:
    scalar = _scalar(value)
    duration_ms = parse_duration(scalar.text)
    if duration_ms < RETENTION_MS_MIN:
        raise ValueError(f"{quoted(scalar.text)} is shorter than `1h`")
    return duration_ms


def _artifact_name(value: object) -> Text:
    text = _text(value)
    try:
        job_name(text.value)
    except ValueError:
        raise ValueError(
            f"{quoted(text.value)} cannot be an artifact's name: use printable text without `/`, `,`, `[` and `]` that "
            "starts with neither `-` nor `.`"
        ) from None
    if len(text.value.encode()) > ARTIFACT_NAME_BYTES_MAX:
        raise ValueError(f"an artifact's name has at most {ARTIFACT_NAME_BYTES_MAX} bytes")
    return text


def _artifacts(value: object) -> object:
    """Patterns that stand in the list themselves are one artifact."""
    items = listed(value)
    if not isinstance(items, list):
        return items
    patterns = [item for item in items if isinstance(item, Scalar)]
    if not patterns:
        return items
    name = Scalar(text=SHORT_NAME, plain=False, place=patterns[0].place)
    return [{"name": name, "paths": patterns}, *(item for item in items if not isinstance(item, Scalar))]


_SCALAR: Final = {"type": ["string", "number", "boolean"]}
SCALARS: Final = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
"""One value or a list of them, as JSON Schema says it."""
_VARIABLES: Final = {
    "type": "object",
    "propertyNames": {"pattern": f"^{_VARIABLE.pattern}$"},
    "additionalProperties": _SCALAR,
}

_DURATION: Final = {"type": "string", "pattern": "^([0-9]+(ms|[smhd]))+$", "examples": ["90s", "10m", "2h"]}
_SIZE: Final = {"type": ["string", "integer"], "examples": ["512MiB", "2GiB"]}

# What follows each validator is the same for editors, as far as JSON Schema can say it.
TextValue: TypeAlias = Annotated[Text, PlainValidator(_text), WithJsonSchema(_SCALAR)]
Title: TypeAlias = Annotated[Text, PlainValidator(_title), WithJsonSchema(_SCALAR)]
Script: TypeAlias = Annotated[Text, PlainValidator(_script), WithJsonSchema({**_SCALAR, "minLength": 1})]
Texts: TypeAlias = Annotated[tuple[TextValue, ...], BeforeValidator(listed), WithJsonSchema(SCALARS)]
Includes: TypeAlias = Annotated[
    tuple[Annotated[Text, PlainValidator(_include)], ...], BeforeValidator(listed), WithJsonSchema(SCALARS)
]
Variable: TypeAlias = Annotated[
    str, PlainValidator(_variable_value), WithJsonSchema({"type": "string", "pattern": f"^{_VARIABLE.pattern}$"})
]
Duration: TypeAlias = Annotated[int, PlainValidator(_duration), WithJsonSchema(_DURATION)]
Version: TypeAlias = Annotated[int, PlainValidator(_version), WithJsonSchema({"enum": [1, "1", "1.0"]})]
Cpus: TypeAlias = Annotated[int, PlainValidator(_cpus), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Size: TypeAlias = Annotated[int, PlainValidator(_size), WithJsonSchema(_SIZE)]
Processes: TypeAlias = Annotated[int, PlainValidator(_processes), WithJsonSchema({"type": "integer", "minimum": 1})]
PullValue: TypeAlias = Annotated[
    Pull, one_of("missing", "always", "never"), WithJsonSchema({"enum": ["missing", "always", "never"]})
]
RUNNER: Final = "runner"
ROOT: Final = "root"
UserValue: TypeAlias = Annotated[str, one_of(RUNNER, ROOT), WithJsonSchema({"enum": [RUNNER, ROOT]})]
Env: TypeAlias = Annotated[dict[Annotated[str, AfterValidator(_variable)], TextValue], WithJsonSchema(_VARIABLES)]
JobName: TypeAlias = Annotated[str, AfterValidator(job_name)]
Axis: TypeAlias = Annotated[str, AfterValidator(axis_name)]
Retention: TypeAlias = Annotated[int, PlainValidator(_retention), WithJsonSchema(_DURATION)]
ArtifactName: TypeAlias = Annotated[Text, PlainValidator(_artifact_name), WithJsonSchema(_SCALAR)]
ShortArtifacts: Final = BeforeValidator(_artifacts)
Flag: TypeAlias = Annotated[bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})]
Retry: TypeAlias = Annotated[
    int, PlainValidator(_retry), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": RETRY_MAX})
]
Shell: TypeAlias = Annotated[
    str, PlainValidator(_shell), WithJsonSchema({"type": "string", "pattern": f"^{_SHELL.pattern}$"})
]
ShardCount: TypeAlias = Annotated[
    int, PlainValidator(shard_count), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": SHARDS_MAX})
]
Priority: TypeAlias = Annotated[
    int,
    PlainValidator(_priority),
    WithJsonSchema({"type": "integer", "minimum": -PRIORITY_MAX, "maximum": PRIORITY_MAX}),
]
WhenValue: TypeAlias = Annotated[
    Text,
    PlainValidator(_when),
    WithJsonSchema({"type": ["string", "boolean"], "examples": ["passed", "failed", "always", "branch == 'main'"]}),
]
OnRunnerLossValue: TypeAlias = Annotated[
    OnRunnerLoss, one_of("retry", "fail", "hold"), WithJsonSchema({"enum": ["retry", "fail", "hold"]})
]
