"""A disk as a loss of power leaves it: what was put on the platter is there, of the rest a drawn part, torn by sectors.

What belongs here: files, names, what is durable of them, and drawing a state after the loss. What does not: how the
kernel asks for them (`fuse`), and faults on purpose (`faults`). It is pure: a trace of calls replays it exactly.

The rules are those that file systems with a journal keep, and no kinder:

* Each sector that was written since its file's last sync arrives by itself or not at all, as it was after any of these
  writes; where others arrived behind it, what never did reads as zeros. Bytes beyond the place where the file was cut
  arrive only if the cut did.
* A folder's new, changed and vanished names arrive in their order up to a drawn one. A file's own sync does not bring
  its name; a rename happens in both folders or in neither.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

SECTOR_BYTES: Final = 512
ROOT: Final = 1
"""The number of the root folder, as the kernel has it."""


@dataclass(slots=True)
class Write:
    """Bytes that were written and are not durable yet."""

    at: int
    data: bytes


@dataclass(slots=True)
class Cut:
    """A new length that is not durable yet."""

    size: int


@dataclass(slots=True)
class Naming:
    """A name that was given, or taken away (None), and is not durable yet; two of one rename have one number."""

    name: str
    inode: int | None
    rename: int = 0


@dataclass(slots=True)
class Inode:
    """A file, folder or anything else that has names."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    """A file's content, or what a symbolic link says, as processes see it."""
    kept: bytearray = field(default_factory=bytearray)
    """The content that is durable."""
    pending: list[Write | Cut] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    kept_names: dict[str, int] = field(default_factory=dict)
    pending_names: list[Naming] = field(default_factory=list)
    links: int = 0
    changed_ns: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it has names in it."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class Found:
    """What lies under a path after a loss of power."""

    mode: int
    content: bytes


Image: TypeAlias = dict[str, Found]
"""By path without the root's slash, folders before what is in them."""


class Disk:
    """The files and names of one disk. Every method that changes something is one step of a trace."""

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {ROOT: Inode(ROOT, stat.S_IFDIR | 0o755, links=2)}
        self._last = ROOT
        self._renames = 0

    # ---- what processes do --------------------------------------------------------------------------------------

    def make(self, folder: int, name: str, mode: int, content: bytes = b"") -> int:
        """A new file, folder or other thing under a name; returns its number."""
        self._last += 1
        made = Inode(self._last, mode, data=bytearray(content), links=2 if stat.S_ISDIR(mode) else 1)
        if content:
            # A link's text comes with its name.
            made.kept = bytearray(content)
        self.inodes[made.number] = made
        self._name(folder, Naming(name, made.number))
        return made.number

    def link(self, inode: int, folder: int, name: str) -> None:
        """One more name for a file."""
        self.inodes[inode].links += 1
        self._name(folder, Naming(name, inode))

    def unlink(self, folder: int, name: str) -> int:
        """Take a name away; returns whose it was."""
        number = self.inodes[folder].names[name]
        self._drop_link(number)
        self._name(folder, Naming(name, None))
        return number

    def rename(self, folder: int, name: str, to: int, new: str) -> int | None:
        """Give another name, in the place of what had it; returns the number of that, if there was something."""
        number = self.inodes[folder].names[name]
        old = self.inodes[to].names.get(new)
        if old == number:
            return None
        if old is not None:
            self._drop_link(old)
        self._renames += 1
        self._name(to, Naming(new, number, self._renames))
        self._name(folder, Naming(name, None, self._renames))
        return old

    def write(self, inode: int, at: int, data: bytes) -> None:
        """Write bytes of a file."""
        file = self.inodes[inode]
        _put(file.data, at, data)
        file.pending.append(Write(at, data))

    def cut(self, inode: int, size: int) -> None:
        """Give a file another length."""
        file = self.inodes[inode]
        _resize(file.data, size)
        file.pending.append(Cut(size))

    def chmod(self, inode: int, mode: int) -> None:
        """Change the rights; nothing rests on when these are durable."""
        self.inodes[inode].mode = mode

    def sync(self, inode: int) -> None:
        """Put all of it on the platter: a file's content, or a folder's names."""
        file = self.inodes[inode]
        for step in file.pending:
            _apply(file.kept, step)
        file.pending.clear()
        file.kept_names = dict(file.names)
        file.pending_names.clear()

    def sync_failed(self, inode: int) -> None:
        """What a sync that fails leaves: nothing of it is durable, and nothing waits to become so any more.

        The system still shows it, until the power goes.
        """
        file = self.inodes[inode]
        file.pending.clear()
        file.pending_names.clear()

    def mark(self, text: str) -> None:
        """Something that a process said at this moment; the disk itself does nothing."""

    def forget(self, inode: int) -> None:
        """Nobody has it open and it has no name any more."""
        found = self.inodes.get(inode)
        if found is not None and found.links == 0 and not self._is_kept(inode):
            del self.inodes[inode]

    def _is_kept(self, inode: int) -> bool:
        """Whether a folder would still have it after a loss of power."""
        return any(
            inode in folder.kept_names.values() or any(naming.inode == inode for naming in folder.pending_names)
            for folder in self.inodes.values()
            if folder.is_folder
        )

    def _name(self, folder: int, naming: Naming) -> None:
        found = self.inodes[folder]
        if naming.inode is None:
            del found.names[naming.name]
        else:
            found.names[naming.name] = naming.inode
        found.pending_names.append(naming)

    def _drop_link(self, inode: int) -> None:
        found = self.inodes[inode]
        found.links = 0 if found.is_folder else found.links - 1

    # ---- what is left -------------------------------------------------------------------------------------------

    def sync_all(self) -> None:
        """Put everything on the platter."""
        for inode in list(self.inodes):
            self.sync(inode)

    def image(self) -> Image:
        """Everything as processes see it."""
        return dict(self._walk(ROOT, "", lambda inode: inode.names, lambda inode: bytes(inode.data)))

    def lost(self, dice: random.Random) -> Image:
        """Everything as a loss of power leaves it now."""
        names = self._lost_names(dice)
        # Some losses keep nearly all and some nearly nothing: that is where the rare states are.
        likely = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        return dict(
            self._walk(
                ROOT, "", lambda inode: names[inode.number], lambda inode: bytes(_lost_content(inode, likely, dice))
            )
        )

    def _lost_names(self, dice: random.Random) -> dict[int, dict[str, int]]:
        folders = [inode for inode in self.inodes.values() if inode.is_folder]
        reached = {folder.number: dice.randint(0, len(folder.pending_names)) for folder in folders}
        while _complete_renames(folders, reached):
            continue
        found = {}
        for folder in folders:
            names = dict(folder.kept_names)
            for naming in folder.pending_names[: reached[folder.number]]:
                if naming.inode is None:
                    names.pop(naming.name, None)
                else:
                    names[naming.name] = naming.inode
            found[folder.number] = names
        return found

    def _walk(
        self, number: int, path: str, names: Callable[[Inode], dict[str, int]], content: Callable[[Inode], bytes]
    ) -> Iterator[tuple[str, Found]]:
        for name, child in sorted(names(self.inodes[number]).items()):
            inode = self.inodes[child]
            where = f"{path}{name}"
            yield where, Found(inode.mode, b"" if inode.is_folder else content(inode))
            if inode.is_folder:
                yield from self._walk(child, f"{where}/", names, content)


Step: TypeAlias = tuple[Any, ...]
"""A method of `Disk` by name, and its arguments."""


def replay(disk: Disk, steps: Iterator[Step]) -> Iterator[Step]:
    """Do the steps of a trace one after another, and hand each on when it was done."""
    for step in steps:
        getattr(disk, step[0])(*step[1:])
        yield step


def _complete_renames(folders: list[Inode], reached: dict[int, int]) -> bool:
    """Let each rename that one folder has arrive in the other one as well; whether there was one."""
    arrived = {
        naming.rename
        for folder in folders
        for naming in folder.pending_names[: reached[folder.number]]
        if naming.rename
    }
    more = False
    for folder in folders:
        wanted = [at + 1 for at, naming in enumerate(folder.pending_names) if naming.rename in arrived]
        if wanted and wanted[-1] > reached[folder.number]:
            reached[folder.number] = wanted[-1]
            more = True
    return more


def _lost_content(inode: Inode, likely: float, dice: random.Random) -> bytearray:
    found = bytearray(inode.kept)
    left = _versions_kept(inode, likely, dice)
    # So far what is written counts although a cut before it is lost: below it nothing had to be given back first.
    upto: int | None = None
    for step in inode.pending:
        if isinstance(step, Cut):
            if upto is not None or dice.random() >= likely:
                upto = step.size if upto is None else min(upto, step.size)
            else:
                _resize(found, step.size)
            continue
        for at, piece in _sectors(step):
            sector = at // SECTOR_BYTES
            left[sector] -= 1
            if left[sector] >= 0 and (upto is None or at + len(piece) <= upto):
                _put(found, at, piece)
    return found


def _versions_kept(inode: Inode, likely: float, dice: random.Random) -> dict[int, int]:
    """How many of the writes to each sector arrived: the memory of a later one holds the earlier ones as well."""
    versions: dict[int, int] = {}
    for step in inode.pending:
        if isinstance(step, Write):
            for at, _ in _sectors(step):
                versions[at // SECTOR_BYTES] = versions.get(at // SECTOR_BYTES, 0) + 1
    return {sector: count if dice.random() < likely else dice.randrange(count) for sector, count in versions.items()}


def _sectors(step: Write) -> Iterator[tuple[int, bytes]]:
    """What was written, by the sectors in which it lies."""
    at, end = step.at, step.at + len(step.data)
    while at < end:
        upto = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        yield at, step.data[at - step.at : upto - step.at]
        at = upto


def _apply(content: bytearray, step: Write | Cut) -> None:
    if isinstance(step, Cut):
        _resize(content, step.size)
    else:
        _put(content, step.at, step.data)


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
