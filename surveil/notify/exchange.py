"""Publishes what happens to an exchange of RabbitMQ, as JSON, each message confirmed before the next thing is told.

What belongs here: the target, its connection, and what failures mean. What does not: what is published (`happenings`).

A message is persistent, has an id that never changes, and may come twice: a consumer that must not count it twice keeps
the ids. Nobody is asked whether there is a queue for it; which of them anybody wants, they bind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection

from surveil.calling import CallError, judged_addresses, look_up, read_credential, words_of
from surveil.core.model import VERDICTS, Attempt, Job
from surveil.core.outbox import Draft, Fate, Outcome, Parcel
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError
from surveil.insight.first_error import is_trouble, plain_line
from surveil.notify.channel_rules import ExchangeRule
from surveil.notify.happenings import Event, event_of_runner, events_of_build, log_line
from surveil.store import JournalLine, Reader, StoreError
from surveil.store.logs import LogStore

TIMEOUT_S: Final = 60.0
"""For one event, or all lines of a log."""
LOG_BYTES_MAX: Final = 1024 * 1024
"""Of a log so much is published, and a line that says what is left out."""
AT_ONCE: Final = 100
"""So many messages are on their way unconfirmed."""
_PERSISTENT: Final = 2
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Exchange:
    """See `surveil.notify.targets.Target`."""

    def __init__(self, rule: ExchangeRule, *, reader: Reader, logs: LogStore, cluster: str) -> None:
        self._rule = rule
        self._reader = reader
        self._logs = logs
        self._cluster = cluster
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    @property
    def name(self) -> str:
        """Of the exchange, in the file of rules."""
        return self._rule.name

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(aiormq.AMQPError, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await connection.close()

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """What these lines tell."""
        found: list[Draft] = []
        for line in lines:
            found += [self._draft(event) for event in self._events(line) if event.kind in self._rule.kinds]
            if line.note.what == "job" and line.note.state in VERDICTS and "log" in self._rule.kinds:
                body = json.dumps({"log": line.note.id})
                slot = f"log-{line.position}"
                found.append(Draft(subject=self.name, slot=slot, body=body, made_at=line.note.at))
        return found

    async def tell(self, parcel: Parcel) -> Outcome:
        """Publish it, and wait until the server has it on disk."""
        try:
            messages = await asyncio.to_thread(self._messages, json.loads(parcel.body))
            async with asyncio.timeout(TIMEOUT_S):
                await self._publish(messages)
        except (ValueError, TypeError, KeyError) as error:
            return Outcome(fate=Fate.HOPELESS, reason=f"what was to be told is no event ({error})")
        except TimeoutError:
            reason = f"{self.name} does not confirm what it is told within {TIMEOUT_S:g} s"
        except CallError as error:
            reason = f"the server of {self.name} {error}"
        except (InfrastructureError, StoreError) as error:
            reason = str(error)
        except (aiormq.AMQPError, OSError) as error:
            reason = f"{self.name} cannot be told ({printable(words_of(error))[:300]})"
        else:
            return Outcome(fate=Fate.DELIVERED)
        await self.close()
        return Outcome(fate=Fate.UNAVAILABLE, reason=reason)

    def _events(self, line: JournalLine) -> Iterator[Event]:
        note = line.note
        if note.build is not None:
            for detail in self._reader.details([note.build]):
                yield from events_of_build(line.position, note, detail)
        elif note.what == "runner":
            names = {runner.id: runner.name for runner in self._reader.runners()}
            yield event_of_runner(line.position, note, names.get(note.id, note.id))

    def _draft(self, event: Event) -> Draft:
        body = json.dumps({"key": f"{event.kind}.{event.state}", "document": event.document})
        return Draft(subject=self.name, slot=event.id, body=body, made_at=event.at)

    def _messages(self, about: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
        """Routing keys and documents."""
        if "log" not in about:
            return [(str(about["key"]), dict(about["document"]))]
        name = str(about["log"])
        return [
            (f"log.{document['severity']}", document)
            for detail in self._reader.details([int(name.partition("/")[0])])
            for job in detail.jobs if job.id == name
            for attempt in detail.attempts if attempt.id == (job.id, job.attempt)
            for document in self._log(job, attempt)
        ]  # fmt: skip

    def _log(self, job: Job, attempt: Attempt) -> Iterator[dict[str, Any]]:
        found = self._logs.read(job.id, attempt.number, 0, LOG_BYTES_MAX)
        at = 0
        for raw in found.data.removesuffix(b"\n").split(b"\n") if found.data else ():
            line = plain_line(raw)
            yield log_line(job, attempt, at, line, severity="error" if is_trouble(line) else "info")
            at += len(raw) + 1
        left = max(found.length, attempt.log_bytes) - len(found.data)
        if left > 0:
            words = f"{left} more bytes of this log are not told here: its page has what there is of them"
            yield log_line(job, attempt, at, words, severity="warning")

    async def _publish(self, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
        waiting = list(messages)
        channel = await self._opened() if waiting else None
        for at in range(0, len(waiting), AT_ONCE):
            assert channel is not None, "there is something to tell"
            # Each writes before it waits, so that they come in their order.
            await asyncio.gather(*(self._one(channel, key, document) for key, document in waiting[at : at + AT_ONCE]))

    async def _one(self, channel: AbstractChannel, key: str, document: dict[str, Any]) -> None:
        properties = aiormq.spec.Basic.Properties(
            content_type="application/json", delivery_mode=_PERSISTENT, message_id=f"{self._cluster}-{document['id']}",
            message_type=document["event"], app_id="surveil",
        )  # fmt: skip
        body = json.dumps(document).encode()
        await channel.basic_publish(body, exchange=self._rule.exchange, routing_key=key, properties=properties)

    async def _opened(self) -> AbstractChannel:
        """A channel on which messages are confirmed; a new one where the last one is gone."""
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        await self.close()
        url = await asyncio.to_thread(read_credential, self._rule.url_file, f"the address of {self.name}")
        there, more = await self._judged(url)
        self._connection = await aiormq.connect(there, **more)
        channel = self._channel = await self._connection.channel(publisher_confirms=True)
        await channel.exchange_declare(exchange=self._rule.exchange, exchange_type="topic", durable=True)
        return channel

    async def _judged(self, url: str) -> tuple[str, dict[str, Any]]:
        """An address with what its name leads to, and how it is to be encrypted."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or (parts.scheme == "amqp" and host not in _HERE):
            raise CallError("is not told without encryption: write its address like amqps://user:password@host/vhost")
        port = parts.port or _PORTS[parts.scheme]
        address = (await judged_addresses(host, port, private=self._rule.private, resolve=look_up))[0]
        shown = f"[{address}]" if ":" in address else address
        login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        there = f"{parts.scheme}://{login}{shown}:{port}{parts.path}"
        if parts.scheme == "amqp":
            return there, {}
        # The certificate has to be that of the name.
        return there, {"context": await asyncio.to_thread(ssl.create_default_context), "server_hostname": host}
