"""A real browser for tests: Debian's Chromium, without a screen and without a word to anybody outside.

Where Debian's build of it without windows is there, that is taken: it draws and runs pages as the whole browser does,
which loads hundreds of files of its own for each new window, and took three times the processor time for a small page.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, Request, sync_playwright

from tests.system.processes import Place

PATIENCE_MS = 60_000
TELLING_MS = 5_000
CLONE_NEWNET = 0x40000000
"""Linux's name of a network's namespace; Python has it from 3.12 on."""
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
"""netdevice(7): how an interface is made to work."""
REQUESTS_TOLD = 30
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root it has no sandbox of its own; and it asks nobody for updates."""


class Seen:
    """A page, what the browser complained of, and what became of its latest requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._requests: deque[Request] = deque(maxlen=REQUESTS_TOLD)
        self._ends: dict[Request, str] = {}
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self._requests.append(request))  # noqa: PLW0108  # it marks what it is given
        page.on("response", lambda told: self._ends.update({told.request: str(told.status)}))
        page.on("requestfailed", lambda request: self._ends.update({request: str(request.failure)}))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    def told(self) -> str:
        """What a person would look at first where a test failed."""
        try:
            text = self.page.locator("body").inner_text(timeout=TELLING_MS)
        except Error as error:
            text = str(error)
        requests = [f"{each.method} {each.url}: {self._ends.get(each, 'no answer')}" for each in self._requests]
        return "\n".join([f"The browser was at {self.page.url}, which says:", text, *requests, *self.complaints])


def not_there(complaint: str) -> bool:
    """Whether it is of a server that was not there: the browser's own words, or those of whoever asked just then."""
    return "ERR_" in complaint or "Failed to fetch" in complaint


@contextmanager
def steady_network() -> Iterator[None]:
    """Let this thread, and what it starts, have a network of their own, with nothing but loopback.

    A browser drops all connections of HTTP/2 wherever an address of the machine comes or goes (`ERR_NETWORK_CHANGED`),
    as it does with every container that another test starts. Who may not have one, as whoever is not root, seldom has
    containers.
    """
    system = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        is_own = _done(system.unshare(CLONE_NEWNET))
        try:
            if is_own:
                _begin_loopback()
            yield
        finally:
            if is_own:
                assert _done(system.setns(before.fileno(), CLONE_NEWNET))


def _done(code: int) -> bool:
    """Whether this may be done, and was. Raises OSError where it may."""
    if code and ctypes.get_errno() != errno.EPERM:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return not code


def _begin_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, for tests that open one each."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        pytest.skip(
            "there is no browser: type `apt install chromium-headless-shell`, or `chromium` where it is unknown"
        )
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(_QUIET))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def window(started: Browser, *, any_certificate: bool = False) -> Iterator[Seen]:
    """One page that shares nothing with others; it may take any certificate for a good one."""
    context = started.new_context(ignore_https_errors=any_certificate)
    try:
        seen = Seen(context.new_page())
        try:
            yield seen
        except (Error, AssertionError) as error:
            error.add_note(seen.told())
            raise
    finally:
        context.close()


@contextmanager
def browser(*, any_certificate: bool = False) -> Iterator[Seen]:
    """One page of a new browser, whose profile is gone afterwards."""
    with chromium() as started, window(started, any_certificate=any_certificate) as seen:
        yield seen


def sign_in(page: Page, place: Place) -> None:
    """Open a new link to the pages of the running `up`, and press its button."""
    place.wait_for_pages()
    page.goto(place.run("login", "--data", str(place.data)).stdout.strip())
    page.click("text=Sign in to surveil")
    page.wait_for_selector("text=Sign out")
