"""Tells a collector of OpenTelemetry what became of builds: a trace for each, once it is over, by OTLP over HTTP.

What belongs here: its table in the file of rules, from lines of the journal to a request, and what its answer means.
What does not: the spans (`spans`), which need the extra `otel`.

What is kept for a build that waits to be told is its number alone: the trace is made when it is told.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from surveil.calling import Answer, Caller, CallError
from surveil.config import values
from surveil.config.tables import Read, fields_of, file_beside, tables_of
from surveil.core.model import VERDICTS
from surveil.core.outbox import Draft, Fate, Outcome, Parcel
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError, InvalidError
from surveil.frozen import dataclass
from surveil.store import JournalLine, Reader

if TYPE_CHECKING:
    from surveil.notify.spans import Tracer

TABLE: Final = "traces"
PATH: Final = "/v1/traces"
HEADERS_BYTES_MAX: Final = 16 * 1024
_AWAY: Final = frozenset({401, 403, 408, 429})
"""What is put right at the collector or in the file of headers, and not by telling something else."""
_OK: Final = 200
_SERVERS_OWN: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A collector, by the address that `/v1/traces` is put behind, and a file with lines like `NAME: VALUE` that it is
    shown as headers; with `private` it may be in a network of one's own.
    """

    name: str
    url: str
    headers_file: Path | None
    private: bool


def traces_of(found: Mapping[str, object], here: Path, complaints: list[str]) -> list[Rule]:
    """All collectors of a file of rules in the folder `here`; what is wrong is complained of."""
    known: Mapping[str, Read] = {
        "name": values.name, "url": values.collector_url, "headers_file": file_beside(here), "private": values.flag,
    }  # fmt: skip
    made: list[Rule] = []
    for number, table in enumerate(tables_of(found, TABLE, complaints), start=1):
        where = f"{TABLE} {number}"
        read = fields_of(table, known, where, complaints)
        if "url" not in table:
            complaints.append(f"{where}: `url` is missing")
        elif "url" in read:
            made.append(
                Rule(
                    name=read.get("name", TABLE), url=read["url"], headers_file=read.get("headers_file"),
                    private=read.get("private", False),
                )
            )  # fmt: skip
    return made


class Traces:
    """See `surveil.notify.targets.Target`."""

    def __init__(self, rule: Rule, *, reader: Reader, caller: Caller, tracer: Tracer) -> None:
        self._rule = rule
        self._reader = reader
        self._caller = caller
        self._tracer = tracer

    @property
    def name(self) -> str:
        """Of the collector, in the file of rules."""
        return self._rule.name

    def drafts(self, lines: Sequence[JournalLine]) -> list[Draft]:
        """One for each build that got its verdict."""
        return [
            Draft(subject=f"build {note.id}", slot=f"build {note.id}", body=json.dumps(note.build), made_at=note.at)
            for note in (line.note for line in lines)
            if note.what == "build" and note.state in VERDICTS
        ]

    async def tell(self, parcel: Parcel) -> Outcome:
        """Send the trace of a build."""
        details = await asyncio.to_thread(self._reader.details, [json.loads(parcel.body)])
        if not details:
            return Outcome(fate=Fate.HOPELESS, reason="there is no such build any more")
        try:
            headers = await asyncio.to_thread(headers_in, self._rule.headers_file)
            body = await asyncio.to_thread(lambda: gzip.compress(self._tracer.request(details[0]), mtime=0))
            answer = await self._caller.call(
                "POST", self._rule.url + PATH, content=body,
                headers={**headers, "content-type": "application/x-protobuf", "content-encoding": "gzip"},
            )  # fmt: skip
        except CallError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"{self._rule.url} {error}")
        except InfrastructureError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        return self._judged(answer)

    def _judged(self, answer: Answer) -> Outcome:
        if answer.status == _OK:
            return Outcome(fate=Fate.DELIVERED)
        said = printable(" ".join(answer.body[:200].decode("utf-8", "replace").split()))
        reason = f"{self._rule.url} answers {answer.status}: {said or 'and says nothing'}"
        asked = answer.headers.get("retry-after", "")
        again_ms = int(asked) * 1000 if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 0  # noqa: PLR2004
        if answer.status in _AWAY or answer.status >= _SERVERS_OWN:
            return Outcome(fate=Fate.UNAVAILABLE, reason=reason, again_ms=again_ms)
        return Outcome(fate=Fate.REFUSED, reason=reason)


def headers_in(path: Path | None) -> dict[str, str]:
    """What a collector is shown to be let in; read each time, so that it may be changed. Raises InfrastructureError."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            lines = file.read(HEADERS_BYTES_MAX).decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InfrastructureError(f"the headers for the collector cannot be read from {path}: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if not colon or not name.replace("-", "").isalnum() or not value.isprintable():
            raise InfrastructureError(f"line {number} of {path} is no header: write it as `NAME: VALUE`")
        found[name.lower()] = value
    return found


def tracer_of(cluster: str, public_url: str | None) -> Tracer:
    """What makes traces. Raises InvalidError where the extra is not installed."""
    try:
        from surveil.notify.spans import Tracer  # noqa: PLC0415  # It needs the extra `otel`, which few have.
    except ImportError as error:
        raise InvalidError(
            f"traces need the extra `otel` ({error}): type `pip install 'surveil[otel]'`, or leave [[traces]] out"
        ) from error
    return Tracer(cluster=cluster, public_url=(public_url or "").rstrip("/"))
