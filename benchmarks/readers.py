"""Readers of a log, played by one process: a thousand that follow it over connections of their own, and some that read
so slowly that the server always has more for them than they take.

What belongs here: the cheapest reader that a server cannot tell from a browser. What does not: browsers, and what is
measured of the server.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Any, Final

from benchmarks.helpers import HELPERS
from benchmarks.noop import end
from surveil.net.options import raise_file_limit

AT_ONCE: Final = 50
"""So many connect at one time."""
SLOW_BYTES: Final = 1024
SLOW_S: Final = 1.0
SLOW_BUFFER_BYTES: Final = 16 * 1024
ELSEWHERE: Final = 10
"""The niceness of readers that stand for machines elsewhere: whoever serves them does not share a processor with them.
"""
AGES_MAX: Final = 100_000
_LINE: Final = re.compile(rb"now (\d{19})")


class Heard:
    """What the readers tell, in shared memory. `ages` are the milliseconds from a line's writing to a reader."""

    def __init__(self) -> None:
        self.connected: Synchronized[int] = HELPERS.Value("q", 0)
        self.bytes: Synchronized[int] = HELPERS.Value("q", 0)
        self.broken: Synchronized[int] = HELPERS.Value("q", 0)
        self.noted: Synchronized[int] = HELPERS.Value("q", 0)
        self.ages = HELPERS.Array("d", AGES_MAX, lock=False)

    def take_ages(self) -> list[float]:
        """What was noted since the last call."""
        count = min(self.noted.value, AGES_MAX)
        self.noted.value = 0
        return list(self.ages[:count])

    def note(self, data: bytes) -> None:
        """Note the lines in these bytes."""
        now = time.time_ns()
        for found in _LINE.finditer(data):
            at = self.noted.value
            if at < AGES_MAX:
                self.ages[at] = (now - int(found[1])) / 1e6
                self.noted.value = at + 1


async def _follow(port: int, request: bytes, door: asyncio.Semaphore, heard: Heard) -> None:
    async with door:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        if b" 200 " not in await reader.readline():
            heard.broken.value += 1
            return
        heard.connected.value += 1
    while data := await reader.read(65536):
        heard.bytes.value += len(data)
        heard.note(data)
    heard.broken.value += 1


async def _dawdle(port: int, request: bytes, heard: Heard) -> None:
    """Read so little that there is always more."""
    loop = asyncio.get_running_loop()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        line.setblocking(False)
        await loop.sock_connect(line, ("127.0.0.1", port))
        await loop.sock_sendall(line, request)
        heard.connected.value += 1
        while await loop.sock_recv(line, SLOW_BYTES):  # noqa: ASYNC110  # slow is what it is
            await asyncio.sleep(SLOW_S)
    heard.broken.value += 1


async def _be(port: int, token: str, paths: tuple[str, str], counts: tuple[int, int], heard: Heard) -> None:
    """Be so many followers of one path, and so many slow readers of the other."""
    door = asyncio.Semaphore(AT_ONCE)
    follow, dawdle = (
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for path in paths
    )
    works = [_follow(port, follow, door, heard) for _ in range(counts[0])]
    await asyncio.gather(*works, *(_dawdle(port, dawdle, heard) for _ in range(counts[1])))


def _main(niceness: int, *about: Any) -> None:
    os.nice(niceness)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise_file_limit()
    asyncio.run(_be(*about))


@contextmanager
def reading(
    port: int, token: str, paths: tuple[str, str], counts: tuple[int, int], *, niceness: int = 0
) -> Iterator[Heard]:
    """The readers between their start and their end."""
    heard = Heard()
    about = (niceness, port, token, paths, counts, heard)
    process: BaseProcess = HELPERS.Process(target=_main, args=about, daemon=True)
    process.start()
    try:
        yield heard
    finally:
        end(process)
