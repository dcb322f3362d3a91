"""Artifacts that jobs take, by what is noted of them: in an order, and for an attempt that fetches one.

What belongs here: which blobs an attempt may have, and why it gets none. What does not: whose artifacts are meant
(`core.taking`), and the way of their bytes (`lending`).

It is looked up each time that it is asked, and remembered nowhere: what is noted of an attempt that is over changes no
more, so every answer is the same until the artifact goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from surveil.core.kept import Artifact
from surveil.core.spelling import quoted
from surveil.frozen import dataclass, replace
from surveil.hands.entrusting import RefusedError
from surveil.protocol import Assign, TakenArtifact
from surveil.store.blobs import Blobs
from surveil.store.shelf import Shelf

TAKEN_BYTES_MAX: Final = 16 * 1024**3
"""Of all that one job takes; its runner has to hold them, packed and unpacked."""


@dataclass(frozen=True, slots=True)
class Taking:
    """Looks things up. Blocks, in any thread."""

    shelf: Shelf
    blobs: Blobs

    def ordered(self, order: Assign) -> Assign:
        """The order with the digests and sizes of the artifacts that it names; those that need not be there, and are
        not, are left out.

        Raises:
            RefusedError: one is not there, or all are too large together.
            StoreError: nobody can look now.
        """
        takes = order.spec.artifacts_from
        if not takes:
            return order
        noted = self._noted(takes, order.build)
        filled = [self._filled(order, take, noted) for take in takes]
        found = tuple(take for take in filled if take is not None)
        size = sum(take.size for take in found)
        if size > TAKEN_BYTES_MAX:
            raise RefusedError(
                f"the artifacts that {order.spec.name} takes hold {size // 1024**2} MiB together, more than the "
                f"{TAKEN_BYTES_MAX // 1024**2} allowed: name those that it uses, as `JOB/NAME`"
            )
        return replace(order, spec=replace(order.spec, artifacts_from=found))

    def sizes(self, takes: Sequence[TakenArtifact], build: int) -> Mapping[str, int]:
        """The blobs that an attempt of this build may fetch, and their sizes. Raises StoreError."""
        noted = self._noted(takes, build)
        known = (noted.get(_key(take, build)) for take in takes)
        return {artifact.blob: artifact.size for artifact in known if artifact is not None}

    def _noted(self, takes: Iterable[TakenArtifact], build: int) -> Mapping[tuple[str, int, str], Artifact]:
        builds = {take.build or build for take in takes}
        return {artifact.id: artifact for number in builds for artifact in self.shelf.artifacts(number)}

    def _filled(
        self, order: Assign, take: TakenArtifact, noted: Mapping[tuple[str, int, str], Artifact]
    ) -> TakenArtifact | None:
        key = _key(take, order.build)
        artifact = noted.get(key)
        what = f"the artifact {quoted(take.name)} of {key[0]} attempt {take.attempt}"
        anew = f"`surveil retry {order.build}` makes it anew"
        if artifact is None:
            if take.optional:
                return None
            raise RefusedError(f"{what} is not there: no file was kept under this name, or its time is over; {anew}")
        if self.blobs.size(artifact.blob) != artifact.size:
            raise RefusedError(f"{what} is noted, and its files are not on the dispatcher's disk any more; {anew}")
        return replace(take, blob=artifact.blob, size=artifact.size)


def _key(take: TakenArtifact, build: int) -> tuple[str, int, str]:
    return (f"{take.build or build}/{take.job}", take.attempt, take.name)
