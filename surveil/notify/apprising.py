"""Carries messages to whatever service the Apprise library knows, by a process that has it.

What belongs here: the message's form, how long it may take, and what the answer means. What does not: the library
(`apprise_once`), which finds and asks the service by itself, so that nothing of `surveil.calling` holds for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote

from surveil.calling import read_credential
from surveil.core.outbox import Fate, Outcome
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError, InvalidError
from surveil.fleet.child import environment
from surveil.notify.channels import Envelope
from surveil.notify.wording import Message, plain

PATIENCE_S: Final = 30.0
"""For all of it: to start, to import the library, and for each of several servers that an address may mean."""
ANSWER_BYTES_MAX: Final = 64 * 1024
SAID_CHARACTERS_MAX: Final = 200
_LIBRARY: Final = "apprise"
_COMMAND: Final = (sys.executable, "-m", "surveil.notify.apprise_once")
_MINDS_THIS: Final = re.compile(r"\berror=(?:400|409|413|415|422)\b")
"""How the library names the status of an answer that is about this message, and of none that comes after it."""
_CALLS: Final = re.compile(r"@|<|\](?=\()")
_GAP: Final = "\N{ZERO WIDTH SPACE}"
_BETWEEN: Final = re.compile(r"[/:@?&=,;#]+")
_SECRET_CHARACTERS_MIN: Final = 4


def require_library(channel: str) -> None:
    """Raise InvalidError where the library is not installed."""
    if importlib.util.find_spec(_LIBRARY) is None:
        raise InvalidError(
            f"{channel} cannot be told: {_LIBRARY} is not installed; type `pip install 'surveil[apprise]'`."
        )


class Apprised:
    """See `surveil.notify.channels.Carrier`."""

    def __init__(self, url_file: Path, *, patience_s: float = PATIENCE_S) -> None:
        self._url_file = url_file
        self._patience_s = patience_s

    async def carry(self, message: Message, envelope: Envelope) -> Outcome:
        """Have the service told. No service is told the envelope's name, so it may show what comes twice twice."""
        del envelope
        try:
            url = await asyncio.to_thread(read_credential, self._url_file, "an address of Apprise")
        except InfrastructureError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        wish = {"url": url, "title": inert(message.title), "body": body_of(message), "event": message.event}
        try:
            async with asyncio.timeout(self._patience_s):
                answer = await _asked(json.dumps(wish).encode())
        except TimeoutError:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"Apprise was not done within {self._patience_s:g} s")
        except OSError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"no process can be started for Apprise: {error.strerror}")
        return judged(answer, url)


async def _asked(wish: bytes) -> Any:
    """What the other process answers to this wish; None where it ends without an answer. Raises OSError."""
    # No pipes of asyncio's: it would wait for their ends before it tells us of the end of the process, and those never
    # come while what a service has started holds them, or once a line has become too long.
    reading, writing = os.pipe()
    with (
        open(reading, "rb", buffering=0) as answers,  # noqa: ASYNC230, PTH123  # A descriptor.
        open(writing, "wb", buffering=0) as answering,  # noqa: ASYNC230, PTH123  # A descriptor.
        open(os.memfd_create("wish"), "w+b") as asking,  # noqa: ASYNC230, PTH123  # A descriptor.
    ):
        asking.write(wish)
        asking.seek(0)
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=asking, stdout=answering, stderr=asyncio.subprocess.DEVNULL,
            env=environment({}), start_new_session=True,
        )  # fmt: skip
        answering.close()
        try:
            return json.loads(await _first_line(answers))
        except ValueError:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _first_line(pipe: IO[bytes]) -> bytes:
    """The first line of a pipe, which is closed then. Raises ValueError where it is longer than any answer."""
    stream = asyncio.StreamReader(limit=ANSWER_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), pipe
    )
    try:
        return await stream.readline()
    finally:
        transport.close()


def judged(answer: Any, url: str) -> Outcome:
    """What an answer means. Nothing of the address is shown: who has it can write in our name."""
    match answer:
        case {"took": True}:
            return Outcome(fate=Fate.DELIVERED)
        case {"took": None}:
            return Outcome(
                fate=Fate.UNAVAILABLE, reason="Apprise knows no service by this address: `apprise --details` lists all"
            )
        case {"took": False, "remarks": list(remarks)}:
            said = covered(printable("; ".join(map(str, remarks)) or "the service did not take it"), url)
            fate = Fate.REFUSED if any(_MINDS_THIS.search(str(each)) for each in remarks) else Fate.UNAVAILABLE
            return Outcome(fate=fate, reason=f"Apprise says: {said[:SAID_CHARACTERS_MAX]}")
        case _:
            return Outcome(fate=Fate.UNAVAILABLE, reason="Apprise ended without a word: try the address with `apprise`")


def covered(text: str, url: str) -> str:
    """The text without any piece of the address but its first word, which names the kind of service."""
    pieces = {piece for whole in (url, unquote(url)) for piece in _BETWEEN.split(whole.partition("://")[2])}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SECRET_CHARACTERS_MIN:
            text = re.sub(re.escape(piece), "***", text, flags=re.IGNORECASE)
    return text


def body_of(message: Message) -> str:
    """All but the title, as text."""
    return inert(plain(message).partition("\n")[2].strip("\n") or message.title)


def inert(text: str) -> str:
    """The text, so that it calls nobody and shows no links by another name, whatever marks the service reads."""
    return _CALLS.sub(lambda found: found[0] + _GAP, text)
