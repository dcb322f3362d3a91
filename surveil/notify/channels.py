"""Tells people: what of the journal is news for a channel, and what they read of it.

What belongs here: the target that all channels share, and the promise of the one that carries a message. What does
not: each carrier (`mail`), what is news (`core.turns`), reading (`gathering`) and wording (`wording`).

What waits is only which build, or which line of the journal, and what that means; the message is made when it is told,
so that it holds all that is known then. It happened, whatever comes after it: so nothing takes its place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

from surveil.core.model import VERDICTS, Build, Note
from surveil.core.outbox import Draft, Fate, Outcome, Parcel
from surveil.core.turns import News
from surveil.frozen import dataclass
from surveil.notify.gathering import Gatherer, is_lost
from surveil.notify.summary import Summary
from surveil.notify.wanting import Wanted
from surveil.notify.wording import Message, message_of
from surveil.store import JournalLine, StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a carrier needs beside the message: a name that is the same each time it is tried, and when it was made."""

    id: str
    made_at: int


class Carrier(Protocol):
    """Brings a message to people, or to programs of theirs."""

    async def carry(self, message: Message, envelope: Envelope) -> Outcome:
        """Bring it, once; it may have been brought before. Whatever goes wrong outside is an outcome."""
        ...


class Channel:
    """See `surveil.notify.targets.Target`."""

    def __init__(self, name: str, wanted: Wanted, carrier: Carrier, gatherer: Gatherer) -> None:
        self._name = name
        self._wanted = wanted
        self._carrier = carrier
        self._gatherer = gatherer

    @property
    def name(self) -> str:
        """Of the channel, in the file of rules."""
        return self._name

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """What of these lines is news for it."""
        found = (self._draft(line) for line in lines)
        return [draft for draft in found if draft is not None]

    async def tell(self, parcel: Parcel) -> Outcome:
        """Make the message, and have it carried."""
        try:
            message = await asyncio.to_thread(self._message, json.loads(parcel.body))
        except StoreError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        except (ValueError, TypeError, KeyError) as error:
            return Outcome(fate=Fate.HOPELESS, reason=f"what was to be told is no news ({error})")
        if message is None:
            return Outcome(fate=Fate.HOPELESS, reason="what it is about is not kept any more")
        return await self._carrier.carry(message, Envelope(id=parcel.slot, made_at=parcel.made_at))

    def _draft(self, line: JournalLine) -> Draft | None:
        note = line.note
        if note.what == "build" and note.state in VERDICTS and note.build is not None:
            return self._about_build(note, note.build)
        if News.RUNNER_LOST in self._wanted.news and is_lost(note):
            return self._about_runner(line)
        return None

    def _about_build(self, note: Note, number: int) -> Draft | None:
        build = self._wanted_build(number)
        if build is None:
            return None
        turn = self._gatherer.turn(build)
        if turn is None or turn.news not in self._wanted.news:
            return None
        # What broke is told before what was mended.
        return Draft(
            subject=f"{build.repo} {build.ref}",
            slot=f"build-{number}",
            body=json.dumps({"build": number}),
            made_at=note.at,
        )

    def _about_runner(self, line: JournalLine) -> Draft | None:
        """Who has all repositories hears of each runner, who has some of those whose work was lost with it."""
        note = line.note
        if self._wanted.everywhere is not (note.what == "runner"):
            return None
        if note.build is not None and self._wanted_build(note.build) is None:
            return None
        slot = f"{note.what}-{line.position}"
        return Draft(subject=slot, slot=slot, body=json.dumps({note.what: line.position}), made_at=note.at)

    def _wanted_build(self, number: int) -> Build | None:
        found = (detail.build for detail in self._gatherer.reader.details([number]))
        return next((build for build in found if self._wanted.of(build.repo, build.ref)), None)

    def _message(self, about: dict[str, Any]) -> Message | None:
        found: Summary | None
        match about:
            case {"build": int(number)}:
                found = self._gatherer.about_build(number)
            case {"runner": int(position)}:
                found = self._gatherer.about_runner(position)
            case {"attempt": int(position)}:
                found = self._gatherer.about_attempt(position)
            case _:
                raise ValueError(f"neither a build nor a line of the journal: {about}")
        return None if found is None else message_of(found)
