"""What a role says about itself on stderr: one event once, as a phrase with keys, readable by people or as JSON
lines by machines.

What belongs here: the form. What does not: builds' logs (store), and what commands print for people (cli).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from surveil.core.spelling import printable

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_KEYS: Final = "surveil_keys"


class Voice:
    """A part's way of saying things: `voice.info("runner joined", runner="spare-2")`."""

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"surveil.{part}")

    def debug(self, phrase: str, **keys: object) -> None:
        """Say what only somebody who looks for a defect wants to read."""
        self._logger.debug(phrase, extra={_KEYS: keys})

    def info(self, phrase: str, **keys: object) -> None:
        """Say what a person who runs this wants to know."""
        self._logger.info(phrase, extra={_KEYS: keys})

    def warning(self, phrase: str, **keys: object) -> None:
        """Say what is wrong and will be dealt with."""
        self._logger.warning(phrase, extra={_KEYS: keys})

    def error(self, phrase: str, **keys: object) -> None:
        """Say what is wrong and needs a person."""
        self._logger.error(phrase, extra={_KEYS: keys})

    def defect(self, phrase: str, error: BaseException, **keys: object) -> None:
        """Say what went wrong by a mistake of ours, with the way that led there."""
        self._logger.error(phrase, exc_info=error, extra={_KEYS: keys})


def begin(role: str, *, log_format: str, log_level: str) -> None:
    """Set up this process's own log.

    `log_format` is `text`, `json`, or `auto`: text for a terminal and for `up`, which is text too.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_AsJson(role) if log_format == "json" else _AsText(role))
    logger = logging.getLogger("surveil")
    logger.handlers = [handler]
    logger.setLevel(LEVELS[log_level])
    logger.propagate = False


class _AsText(logging.Formatter):
    """`12:30:45 dispatcher: runner joined runner=spare-2`; the level only where it is not the usual one."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f" {record.levelname.lower()}:"
        keys = "".join(f" {key}={_plain(value)}" for key, value in getattr(record, _KEYS, {}).items())
        text = f"{at} {self._role}:{level} {printable(record.getMessage())}{keys}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _AsJson(logging.Formatter):
    """One JSON document a line: `at`, `role`, `part`, `level`, `event`, and the keys."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {
            "at": at,
            "role": self._role,
            "part": record.name.removeprefix("surveil."),
            "level": record.levelname.lower(),
        }
        line |= {"event": record.getMessage()} | getattr(record, _KEYS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _plain(value: object) -> str:
    """A value that cannot be mistaken for the next key, nor write lines of its own."""
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)
