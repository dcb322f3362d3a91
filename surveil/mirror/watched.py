"""A repository under watch: looks at its refs with as little work as it takes.

What belongs here: choosing between a look at file times, a reading of files, and a question to a remote. What does
not: when to look (`core.observe`), and what the refs mean.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from surveil.frozen import dataclass
from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address
from surveil.mirror.command import Halt
from surveil.mirror.local import LocalRepository, Signature
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import RefList, parse_remote


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
        self._listing = b""

    def look(self) -> Look:
        """Look at the refs. Blocks. Raises MirrorError, after which the next look reads everything again."""
        if self._local is None:
            return self._ask()
        before, self._signature = self._signature, ()
        if before and self._local.signature() == before:
            self._signature = before
            return Look(refs=None)
        refs = self._local.refs()
        # A repository that lists nothing is in doubt, and looked at each time.
        self._signature = self._local.signature() if refs.refs else ()
        return Look(refs=refs, folders=self._local.watch_folders())

    def _ask(self) -> Look:
        before, self._listing = self._listing, b""
        listing = self.mirror.listing(self._prefixes)
        digest = sha256(listing).digest()
        if digest == before:
            # A hundred thousand refs that are as they were need not be read again, nor gone through by anybody.
            self._listing = before
            return Look(refs=None)
        refs = parse_remote(listing, self.address.key)
        if refs.refs:
            self._listing = digest
        return Look(refs=refs)
