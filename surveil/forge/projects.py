"""Which repository is which project of a forge: by its address, whichever way git reaches it, or by word.

What belongs here: reading addresses of repositories, purely. What does not: the words of forges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from surveil.forge import Words

_SCP_LIKE: Final = re.compile(r"(?:[^/@:]+@)?(\[[^\]/]*\]|[^/:\[\]]+):([^:].*)")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.~-]*")


def project_of(repo: str, *, url: str, words: Words, named: Mapping[str, str]) -> str | None:
    """The project that a repository, by its name in surveil, is at the forge at `url`; None if it is of elsewhere.

    `named` says it of those whose address does not, as of a copy on this machine's disk.
    """
    if repo in named:
        return named[repo]
    forge = urlsplit(url)
    if "://" in repo:
        there = urlsplit(repo)
        same = there.hostname == forge.hostname and (there.scheme == "ssh" or there.netloc == forge.netloc)
        path, base = unquote(there.path), forge.path if there.scheme != "ssh" else ""
    elif match := _SCP_LIKE.fullmatch(repo):
        same, path, base = match[1].strip("[]") == forge.hostname, match[2], ""
    else:
        return None
    base = base.strip("/")
    path = path.strip("/")
    if not same or (base and not path.startswith(f"{base}/")):
        return None
    path = path.removeprefix(f"{base}/" if base else "").removesuffix(".git").strip("/")
    sound = all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in path.split("/"))
    return path if sound and words.is_project(path) else None
