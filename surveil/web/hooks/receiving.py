"""One delivery, from its bytes to a hint: who says it, whether that is so, whether it was said before.

What belongs here: the order of these questions, and what is answered. What does not: HTTP (`route`), how forges say
things (`forges`), looking (the observers), and building again (`retrying`).

Nothing of a payload is believed but which repository it speaks of, and that only to find the secrets which it may be
proved with: what is looked at is the repository for which the secret was set. Of a wish for a retry also what is
wished, where that repository's webhooks may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar

from surveil.errors import SurveilError
from surveil.mirror.place import place_of
from surveil.say import Voice
from surveil.web.books import Books
from surveil.web.hooks.forges import (
    FORGES,
    PING,
    Again,
    Forge,
    Headers,
    Proof,
    addresses_in,
    read_payload,
    told_apart,
)
from surveil.web.hooks.retrying import Outcome, Retrying
from surveil.web.hooks.secrets import HookSecrets, Opened
from surveil.web.room import Room

BUSY_MAX: Final = 32
"""Deliveries in work at once. Whoever sends slowly what proves nothing leaves half to those who do not."""
WAIT_S: Final = 3.0
"""A forge may say a hundred things in the same second, and many send nothing a second time; some give up after five
seconds.
"""
THREADS: Final = 2
"""For all deliveries: only one writes at a time, and what the others look at is there at once."""
QUIET_MS: Final = 60_000
"""How long the log is silent about deliveries that nobody could prove, after it spoke of one."""
_NOBODY: Final = Opened(repo="", secrets=(b"nobody knows this, and it proves nothing",))
"""Stands where no secret is known, so that the answer takes as long."""

Found = TypeVar("Found")

voice = Voice("web")


UNPROVED: Final = Outcome(
    status=401,
    sentence="Nothing proves who sent this: set the same secret here (`surveil hook secret REPO`) and at the forge, "
    "and let that sign with SHA-256.",
)


class Receiver:
    """Takes deliveries. `now` is in milliseconds since 1970."""

    def __init__(self, books: Books, secrets: HookSecrets, now: Callable[[], int], *, cluster: str) -> None:
        self._books = books
        self._retrying = Retrying(books, secrets.hooks, cluster)
        self.secrets = secrets
        self._now = now
        self.room = Room(most=BUSY_MAX, wait_s=WAIT_S)
        self._quiet_until = 0
        self._unproved = 0
        # Their own: whoever reads a page waits for none of the deliveries that wait for the disk.
        self._threads = ThreadPoolExecutor(THREADS, "hooks")

    def close(self) -> None:
        """End what was begun; nothing comes any more."""
        self._threads.shutdown()

    def proof(self, forge: str, headers: Headers) -> Proof | None:
        """What the headers may prove, before anything of the body is read; None where that is nothing."""
        found = FORGES[forge].proof(headers, self._now())
        if found is None:
            self._doubt(forge)
        return found

    async def receive(self, forge: str, headers: Headers, proof: Proof, body: bytes) -> Outcome:
        """Decide on a delivery, and do what is to be done.

        Raises:
            SurveilError: the body says nothing, or the dispatcher cannot be asked.
        """
        known = FORGES[forge]
        # A megabyte of a form takes a quarter of a second, and nobody is known yet who sent it.
        payload = await self._aside(read_payload, body, headers("content-type"))
        places = [place for each in addresses_in(known, payload) if (place := place_of(each))]
        meant = await self._aside(self._proved, places, proof, body)
        if not meant:
            self._doubt(forge)
            return UNPROVED
        digests = told_apart(known, proof, headers, body)
        return await self._take(known, headers, meant[0].repo, digests, known.again(headers, payload))

    def _proved(self, places: list[str], proof: Proof, body: bytes) -> list[Opened]:
        """The repositories that the delivery may speak of, and proves that it does."""
        found = self.secrets.at(places, now=self._now()) or [_NOBODY]
        proved = [each for each in found if any(proof.fits(secret, body) for secret in each.secrets)]
        return [each for each in proved if each is not _NOBODY]

    async def _take(
        self, forge: Forge, headers: Headers, repo: str, digests: list[bytes], again: Again | None
    ) -> Outcome:
        hooks, event = self.secrets.hooks, forge.event(headers)[:100]
        if event not in forge.moving and again is None:
            # Which event it is nobody signs: as one of these, no delivery is to stand in the way of what it is.
            digests = [sha256(b"idle" + digest).digest() for digest in digests]
        if not await self._aside(partial(hooks.take, repo, digests, now=self._now())):
            return Outcome(status=409, sentence="This was delivered before; every delivery counts once within 7 days.")
        if event == PING:
            return Outcome(status=200, document={"repo": repo, "heard": PING, "observers": 0})
        if event not in forge.moving and again is None:
            return Outcome(status=202, document={"repo": repo, "heard": "nothing of interest", "observers": 0})
        try:
            if again is not None:
                outcome = await self._retrying.retry(repo, again, digests[-1])
                if outcome.document is None:
                    await self._aside(hooks.give_back, digests)
                return outcome
            told = (await self._books.ask("look", {"repo": repo})).body
        except (SurveilError, asyncio.CancelledError):
            # Nothing came of it, so the forge, or a person there, may say it again.
            await asyncio.shield(self._aside(hooks.give_back, digests))
            raise
        voice.info("webhook", repo=repo, forge=forge.name, what=event)
        return Outcome(status=202, document={"repo": repo, "heard": "a hint", "observers": told["observers"]})

    async def _aside(self, do: Callable[..., Found], *about: Any) -> Found:
        """What comes of this in a thread for deliveries."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, do, *about)

    def _doubt(self, forge: str) -> None:
        """Say now and then that somebody knocks who cannot prove who they are."""
        self._unproved += 1
        now = self._now()
        if now >= self._quiet_until:
            voice.warning("webhooks that nothing proves were refused", forge=forge, count=self._unproved)
            self._quiet_until, self._unproved = now + QUIET_MS, 0
