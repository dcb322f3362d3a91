"""What an attempt puts out for the jobs that need its own: the lines `NAME=value` that its steps wrote to the file
`$SURVEIL_OUTPUT`.

What belongs here: reading that file, which strangers wrote. What does not: when it is read (`keeper`). Imports only
what a keeper may import.
"""

# A keeper does without pathlib, which costs it memory and time.

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Final

from surveil.execute.files import OutputStatus
from surveil.execute.keeper.endings import End

OUTPUTS_BYTES_MAX: Final = 64 * 1024
"""Of the whole file: all of it is part of the result, which has to fit into one message and onto a full disk."""
OUTPUTS_MAX: Final = 256
"""As in messages."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OutputsError(ValueError):
    """The file cannot be taken for outputs; the author's doing, in a sentence."""


def put_out(path: str, cover: Callable[[str], str], end: End) -> tuple[list[OutputStatus], End]:
    """What the steps put out, with secrets covered, and what that makes of their end: whoever relies on it must not go
    on without, so what cannot be read is a failure.
    """
    try:
        return [OutputStatus(*map(cover, output)) for output in read_outputs(path)], end
    except OutputsError as error:
        return [], End("failed", str(error)) if end.outcome == "passed" else end


def read_outputs(path: str) -> list[OutputStatus]:
    """The outputs in the order in which they were first written, the last value of each; none without a file.

    Never follows a link: the steps may be kept from files that we can read.

    Raises:
        OutputsError: it is no file of `NAME=value` lines within the limits.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputsError(f"$SURVEIL_OUTPUT cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutputsError("$SURVEIL_OUTPUT is no file any more: write `NAME=value` lines to it")
        content = _read_all(descriptor)
    finally:
        os.close(descriptor)
    return _parse(content)


def _read_all(descriptor: int) -> bytes:
    content = b""
    while chunk := os.read(descriptor, OUTPUTS_BYTES_MAX + 1 - len(content)):
        content += chunk
    if len(content) > OUTPUTS_BYTES_MAX:
        raise OutputsError(
            f"$SURVEIL_OUTPUT is over {OUTPUTS_BYTES_MAX // 1024} KiB: put out names, and keep files as artifacts"
        )
    return content


def _parse(content: bytes) -> list[OutputStatus]:
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise OutputsError(f"line {number} of $SURVEIL_OUTPUT is no UTF-8") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise OutputsError(f"line {number} of $SURVEIL_OUTPUT is not `NAME=value`")
        if _CONTROL.search(value):
            raise OutputsError(f"line {number} of $SURVEIL_OUTPUT has a control character in its value")
        found[name] = value
    if len(found) > OUTPUTS_MAX:
        raise OutputsError(f"$SURVEIL_OUTPUT has {len(found)} names; at most {OUTPUTS_MAX} are kept")
    return [OutputStatus(name, value) for name, value in found.items()]
