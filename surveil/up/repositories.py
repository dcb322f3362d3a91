"""The repositories that `up` is about: found by what was typed, and for `--once` their HEAD with its pipeline.

What belongs here: choosing repositories and the commit. What does not: how git is asked (`surveil.mirror`), and what a
pipeline means (`surveil.pipeline`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from surveil.core.trust import DETACHED
from surveil.errors import NotFoundError
from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address
from surveil.mirror.mirror import Mirror
from surveil.mirror.sighting import Sighting, look
from surveil.mirror.typed import resolve_all


def find_repositories(typed: Sequence[str]) -> tuple[Address, ...]:
    """The addresses of the repositories that were typed; by default the one around the current folder.

    Raises:
        UsageError: something that was typed is no address.
        MirrorError: a path is in no repository.
    """
    cwd = str(Path.cwd())
    return resolve_all(typed or (cwd,), cwd)


def read_head(address: Address, mirrors: Path, access: Access = NO_ACCESS) -> tuple[str, Sighting]:
    """The ref that HEAD names, and its commit with its pipeline. Blocks.

    Raises:
        NotFoundError: HEAD has no commit yet.
        MirrorError: the repository cannot be read.
    """
    mirror = Mirror(mirrors, address, access=access)
    refs = mirror.refs()
    if refs.head_sha is None:
        branch = f" of {refs.head}" if refs.head else ""
        raise NotFoundError(f"{address.key} has no commit yet{branch}: commit something, and try again.")
    return refs.head or DETACHED, look(mirror, refs.head_sha, refs.head)
