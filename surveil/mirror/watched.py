"""A repository under watch: looks at its refs with as little work as it takes.

What belongs here: choosing between a look at file times, a reading of files, and a question to a remote. What does
not: when to look (`core.observe`), and what the refs mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address
from surveil.mirror.command import Halt
from surveil.mirror.local import LocalRepository, Signature
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import RefList


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look found: the refs, or None where nothing changed; and the folders whose files tell of changes."""

    refs: RefList | None
    folders: tuple[str, ...] = ()


class Watched:
    """One repository. One thread at a time may use it."""

    def __init__(
        self, address: Address, mirrors: Path, prefixes: tuple[str, ...], halt: Halt, access: Access = NO_ACCESS
    ) -> None:
        self.address = address
        self.mirror = Mirror(mirrors, address, halt, access)
        self._prefixes = prefixes
        self._local = LocalRepository(address.key) if address.is_local else None
        self._signature: Signature = ()

    def look(self) -> Look:
        """Look at the refs. Blocks. Raises MirrorError, after which the next look reads everything again."""
        if self._local is None:
            return Look(refs=self.mirror.refs(self._prefixes))
        before, self._signature = self._signature, ()
        if before and self._local.signature() == before:
            self._signature = before
            return Look(refs=None)
        refs = self._local.refs()
        self._signature = self._local.signature()
        return Look(refs=refs, folders=self._local.watch_folders())
