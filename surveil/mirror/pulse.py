"""Whether a git that says nothing still does something: what tells a slow server from one that fell silent.

What belongs here: signs of life of a process and its children, from the kernel's books. What does not: how long silence
is borne, and what then (`command`).

A transfer over git:// or ssh has no limit of its own but the long one. A server that works says so (it is asked for its
progress) and sends an empty packet every few seconds; while git itself works, one of its processes runs or waits for a
disk. Where there is none of this, nobody is going to answer. ssh does not count: it keeps a line to a dead service
warm.
"""

# These few small files are read again and again while nothing happens.
# ruff: noqa: PTH123

from __future__ import annotations

from typing import Final

_BUSY: Final = frozenset({"R", "D"})
"""Running, and waiting for a disk."""
_WARM: Final = "ssh"
_PROCESSES_MAX: Final = 64


class Pulse:
    """The signs of life of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._read: dict[int, int] = {}

    def beats(self) -> bool:
        """Whether anything happened since the last call; also where that cannot be known."""
        try:
            family = _family(self._pid)
            working = {pid for pid, name in family.items() if name != _WARM}
            read = {pid: _bytes_read(pid) for pid in working}
            busy = any(_state(pid) in _BUSY for pid in working)
        except (OSError, ValueError):
            # A process that ended just now is news as well. Another system, or a stricter one, tells nothing.
            return True
        before, self._read = self._read, read
        return busy or read != before


def _family(pid: int) -> dict[int, str]:
    """The process and all below it, with the names of their programs."""
    found: dict[int, str] = {}
    left = [pid]
    while left and len(found) < _PROCESSES_MAX:
        each = left.pop()
        found[each] = _text(each, "comm").strip()
        left += map(int, _text(each, f"task/{each}/children").split())
    return found


def _state(pid: int) -> str:
    return _text(pid, "stat").rpartition(")")[2].split()[0]


def _bytes_read(pid: int) -> int:
    """How much it has ever read, from wherever."""
    return int(_text(pid, "io").partition("rchar:")[2].split()[0])


def _text(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read()
