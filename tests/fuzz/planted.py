"""Mistakes planted in the product, each of which a fuzzer must find: the proof that its alarm works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake in what `target` looks at; `where` is the name that stands for something else."""

    target: str
    where: str
    instead: Callable[..., Any]

    def plant(self) -> None:
        """Until the process ends."""
        patch(self.where, self.instead).start()


def _trusting(value: Any, where: str) -> int:
    """A check that takes whoever has the right size for an integer."""
    assert where
    return int(value)


def _unlucky(slot: bytes) -> Any:
    """A slot that is believed without its sum."""
    from surveil.store.log_chunks import _FIELDS, SLOT_BYTES, Chunk  # noqa: PLC0415  # the engine watches it

    if len(slot) != SLOT_BYTES:
        return None
    at, after_ms, length, crc, flush = _FIELDS.unpack_from(slot)
    return Chunk(at, length, crc, after_ms, flush)


def _careless(text: str) -> str:
    """A filter that forgets the carriage return."""
    return text.translate(dict.fromkeys((*range(9), 11, 12, *range(14, 27), *range(28, 32))))


def _credulous(entry: Any) -> list[str]:
    """Names in an archive that are believed."""
    return str(entry.name).split("/")


def _hasty(self: Any, name: str, part: Any, digest: str) -> None:
    """A blob that is taken for what it was announced as."""
    part.sync()
    self._blobs.take(part.path, digest)
    del self._open[name]
    part.close()


def _forgetful(pieces: Iterable[bytes]) -> Iterator[str]:
    """Lines of TAP, but for those that cross the end of a piece."""
    for piece in pieces:
        yield from piece.decode(errors="replace").split("\n")


PLANTED: Final[Mapping[str, Planted]] = {
    "integers are not looked at": Planted("messages", "surveil.codec._check_int", _trusting),
    "a line shown as it was typed": Planted("pipelines", "surveil.pipeline.printable", str),
    "slots without sums": Planted("logs", "surveil.store.log_chunks.chunk_of", _unlucky),
    "names in archives": Planted("archives", "surveil.execute.archives.unpacking._judged", _credulous),
    "a digest nobody compares": Planted("deposits", "surveil.store.incoming.Incoming._finish", _hasty),
    "a line between two pieces": Planted("reports", "surveil.insight.tap._lines", _forgetful),
    "a carriage return": Planted("rest", "surveil.screen.terminal._plain", _careless),
}
