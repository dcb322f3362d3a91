"""The repository that a person means by what was typed: an address as it stands, or the repository around a path.

What belongs here: the one way from typed text to a checked address. What does not: what an address may be (`address`),
and whether a remote answers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from surveil.mirror.address import Address, parse, show
from surveil.mirror.local import LocalRepository, looks_bare
from surveil.mirror.trouble import MirrorError, Trouble


def resolve(text: str, cwd: str) -> Address:
    """The address that was typed; a path inside a repository of this machine means that repository.

    Raises:
        UsageError: the text is no address.
        MirrorError: there is no repository at the path, or it cannot be read.
    """
    address = parse(text, cwd)
    if not address.is_local:
        return address
    found = parse(find_repository(address.key), "/")
    LocalRepository(found.key).layout()
    return found


def resolve_all(texts: Iterable[str], cwd: str) -> tuple[Address, ...]:
    """The addresses that were typed, each once. Raises as `resolve` does."""
    return tuple({address.key: address for address in (resolve(text, cwd) for text in texts)}.values())


def find_repository(path: str) -> str:
    """The repository that holds `path`: the nearest folder at or above it with a `.git`, or a bare one.
    Raises MirrorError.
    """
    start = Path(os.path.realpath(path))
    if not start.is_dir():
        raise MirrorError(f"There is no folder {show(path)}; check the path with `ls`.", Trouble.NOT_A_REPOSITORY)
    for folder in (start, *start.parents):
        if (folder / ".git").exists() or looks_bare(str(folder)):
            # A path inside `.git` means the repository around it.
            return str(folder.parent if folder.name == ".git" and looks_bare(str(folder)) else folder)
    raise MirrorError(
        f"{show(path)} is not in a git repository; name one, or make one with `git init`.",
        Trouble.NOT_A_REPOSITORY,
    )
