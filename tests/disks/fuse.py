"""The kernel's side of a disk: the protocol of FUSE, so that any process works on a `Disk` as on every other.

What belongs here: requests and answers as bytes, and what each asks of the disk. What does not: what a disk remembers
(`model`), and which calls are to fail (`faults`).

Shapes and numbers are those of the kernel's `include/uapi/linux/fuse.h`, version 7.31.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from collections.abc import Callable
from typing import Final

from tests.disks.faults import Faults
from tests.disks.model import ROOT, Disk, Inode, Step

REQUEST_BYTES_MAX: Final = 1024 * 1024 + 4096
CONTROL: Final = "user.disk"
"""An attribute of the root folder: what is written to it is an order to the disk itself."""

_IN: Final = struct.Struct("<IIQQIIIHH")
_OUT: Final = struct.Struct("<IiQ")
_ATTR: Final = struct.Struct("<QQQQQQIIIIIIIIII")
_VALID_S: Final = 3600
"""So long the kernel may believe an answer: nobody but it changes anything."""
_VERSION: Final = (7, 31)
_FLAGS: Final = 1 | 1 << 5 | 1 << 13 | 1 << 17 | 1 << 22
"""Reading ahead, writes of more than a page, `readdirplus` left out, files without opening, and long writes."""
_INTERRUPT, _FORGET, _BATCH_FORGET, _DESTROY = 36, 2, 42, 38
_SILENT: Final = frozenset({_INTERRUPT, _FORGET, _BATCH_FORGET})
_SIZE_BIT, _MODE_BIT = 8, 1
_EXCHANGE: Final = 2
_NO_REPLACE: Final = 1


class Failed(Exception):
    """The answer is this error number."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Kernel:
    """Answers the kernel's requests from `handle` with what `disk` has; `order` obeys and answers our own words, and
    every change goes to `note`.
    """

    def __init__(
        self, handle: int, disk: Disk, faults: Faults, *, order: Callable[[str], str], note: Callable[[Step], None]
    ) -> None:
        self._handle = handle
        self._disk = disk
        self._faults = faults
        self._order = order
        self._note = note
        self._answer = ""
        self._lookups: dict[int, int] = {}
        self._calls: dict[int, Callable[[Inode, bytes], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 5: self._readlink, 6: self._symlink, 8: self._mknod,
            9: self._mkdir, 10: self._unlink, 11: self._rmdir, 12: self._rename, 13: self._link, 15: self._read,
            16: self._write, 17: self._statfs, 20: self._fsync, 21: self._setxattr, 22: self._getxattr,
            26: self._init, 27: self._opendir, 28: self._readdir, 29: self._nothing, 30: self._fsync,
            35: self._create, 45: self._rename2,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer until the disk is taken away."""
        while True:
            try:
                request = os.read(self._handle, REQUEST_BYTES_MAX)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT}:
                    continue  # A request was withdrawn before it was read.
                if error.errno == errno.ENODEV:
                    return
                raise
            self._serve_one(request)

    def _serve_one(self, request: bytes) -> None:
        _, opcode, unique, number, *_ = _IN.unpack_from(request)
        body = request[_IN.size :]
        if opcode in _SILENT:
            self._forget(opcode, number, body)
            return
        try:
            answer, error = self._call(opcode, number, body), 0
        except Failed as failed:
            answer, error = b"", -failed.number
        try:
            os.write(self._handle, _OUT.pack(_OUT.size + len(answer), error, unique) + answer)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # Whoever asked was killed.
                raise

    def _call(self, opcode: int, number: int, body: bytes) -> bytes:
        if opcode == _DESTROY:
            return b""
        call = self._calls.get(opcode)
        if call is None:
            raise Failed(errno.ENOSYS)
        inode = self._disk.inodes.get(number) if number else self._disk.inodes[ROOT]
        if inode is None:
            raise Failed(errno.ESTALE)
        return call(inode, body)

    def _do(self, *step: object) -> int | None:
        """One change, noted before it is answered."""
        self._note(step)
        result = getattr(self._disk, str(step[0]))(*step[1:])
        return result if isinstance(result, int) else None

    def _may(self, kind: str, name: str) -> None:
        number = self._faults.meet(kind, name)
        if number:
            raise Failed(number)

    def _forget(self, opcode: int, number: int, body: bytes) -> None:
        if opcode == _INTERRUPT:
            return
        if opcode == _FORGET:
            pairs = [(number, struct.unpack_from("<Q", body)[0])]
        else:
            count = struct.unpack_from("<I", body)[0]
            pairs = [struct.unpack_from("<QQ", body, 8 + 16 * at) for at in range(count)]
        for inode, times in pairs:
            left = self._lookups.get(inode, 0) - times
            self._lookups[inode] = left
            if left <= 0:
                del self._lookups[inode]
                self._do("forget", inode)

    # ---- answers ------------------------------------------------------------------------------------------------

    def _attr(self, inode: Inode) -> bytes:
        seconds, rest = divmod(inode.changed_ns, 1_000_000_000)
        size = len(inode.data)
        times, rests = [seconds] * 3, [rest] * 3
        owner = (os.geteuid(), os.getegid())
        return _ATTR.pack(
            inode.number, size, (size + 511) // 512, *times, *rests, inode.mode, inode.links, *owner, 0, 4096, 0
        )

    def _entry(self, inode: Inode) -> bytes:
        self._lookups[inode.number] = self._lookups.get(inode.number, 0) + 1
        return struct.pack("<QQQQII", inode.number, 0, _VALID_S, _VALID_S, 0, 0) + self._attr(inode)

    def _attr_out(self, inode: Inode) -> bytes:
        return struct.pack("<QII", _VALID_S, 0, 0) + self._attr(inode)

    def _child(self, folder: Inode, name: str) -> Inode:
        number = folder.names.get(name)
        if number is None:
            raise Failed(errno.ENOENT)
        return self._disk.inodes[number]

    def _made(self, folder: Inode, name: str, mode: int, content: bytes = b"") -> bytes:
        if name in folder.names:
            raise Failed(errno.EEXIST)
        self._may("make", name)
        number = self._do("make", folder.number, name, mode, content)
        assert number is not None
        inode = self._disk.inodes[number]
        inode.changed_ns = folder.changed_ns = time.time_ns()
        return self._entry(inode)

    # ---- requests -----------------------------------------------------------------------------------------------

    def _init(self, _: Inode, body: bytes) -> bytes:
        flags = struct.unpack_from("<IIII", body)[3]
        wanted = flags & (_FLAGS & ~(1 << 13) | 1 << 28)
        head = struct.pack("<IIIIHHIIHHI", *_VERSION, 1 << 20, wanted, 64, 48, 1 << 20, 1, 256, 0, 0)
        return head.ljust(64, b"\0")

    def _lookup(self, folder: Inode, body: bytes) -> bytes:
        return self._entry(self._child(folder, _names(body)[0]))

    def _getattr(self, inode: Inode, _: bytes) -> bytes:
        return self._attr_out(inode)

    def _setattr(self, inode: Inode, body: bytes) -> bytes:
        valid, _, _, size, _, _, mtime, _, _, rest, _, mode = struct.unpack_from("<IIQQQQQQIIII", body)
        if valid & _MODE_BIT:
            self._do("chmod", inode.number, stat.S_IFMT(inode.mode) | stat.S_IMODE(mode))
        if valid & _SIZE_BIT:
            if size > len(inode.data):
                self._may("write", self._name_of(inode))
            self._do("cut", inode.number, size)
        inode.changed_ns = mtime * 1_000_000_000 + rest if valid & 32 and not valid & 256 else time.time_ns()
        return self._attr_out(inode)

    def _readlink(self, inode: Inode, _: bytes) -> bytes:
        return bytes(inode.data)

    def _symlink(self, folder: Inode, body: bytes) -> bytes:
        name, text = _names(body)
        return self._made(folder, name, stat.S_IFLNK | 0o777, os.fsencode(text))

    def _mknod(self, folder: Inode, body: bytes) -> bytes:
        mode, _, umask = struct.unpack_from("<III", body)
        return self._made(folder, _names(body[16:])[0], mode & ~umask)

    def _mkdir(self, folder: Inode, body: bytes) -> bytes:
        mode, umask = struct.unpack_from("<II", body)
        return self._made(folder, _names(body[8:])[0], stat.S_IFDIR | stat.S_IMODE(mode & ~umask))

    def _create(self, folder: Inode, body: bytes) -> bytes:
        _, mode, umask = struct.unpack_from("<III", body)
        entry = self._made(folder, _names(body[16:])[0], stat.S_IFREG | stat.S_IMODE(mode & ~umask))
        return entry + struct.pack("<QII", 0, 2, 0)

    def _unlink(self, folder: Inode, body: bytes) -> bytes:
        name = _names(body)[0]
        gone = self._child(folder, name)
        self._do("unlink", folder.number, name)
        folder.changed_ns = time.time_ns()
        if gone.number not in self._lookups:
            self._do("forget", gone.number)
        return b""

    def _rmdir(self, folder: Inode, body: bytes) -> bytes:
        if self._child(folder, _names(body)[0]).names:
            raise Failed(errno.ENOTEMPTY)
        return self._unlink(folder, body)

    def _rename(self, folder: Inode, body: bytes) -> bytes:
        return self._renamed(folder, struct.unpack_from("<Q", body)[0], _names(body[8:]), 0)

    def _rename2(self, folder: Inode, body: bytes) -> bytes:
        to, flags = struct.unpack_from("<QI", body)
        return self._renamed(folder, to, _names(body[16:]), flags)

    def _renamed(self, folder: Inode, to: int, names: list[str], flags: int) -> bytes:
        target = self._disk.inodes[to]
        self._child(folder, names[0])
        if flags & _EXCHANGE:
            raise Failed(errno.EINVAL)
        if flags & _NO_REPLACE and names[1] in target.names:
            raise Failed(errno.EEXIST)
        old = target.names.get(names[1])
        if old is not None and self._disk.inodes[old].names:
            raise Failed(errno.ENOTEMPTY)
        self._may("rename", names[1])
        self._do("rename", folder.number, names[0], to, names[1])
        folder.changed_ns = target.changed_ns = time.time_ns()
        return b""

    def _link(self, folder: Inode, body: bytes) -> bytes:
        number, name = struct.unpack_from("<Q", body)[0], _names(body[8:])[0]
        if name in folder.names:
            raise Failed(errno.EEXIST)
        self._may("make", name)
        self._do("link", number, folder.number, name)
        return self._entry(self._disk.inodes[number])

    def _read(self, inode: Inode, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        self._may("read", self._name_of(inode))
        return bytes(inode.data[at : at + size])

    def _write(self, inode: Inode, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        self._may("write", self._name_of(inode))
        self._do("write", inode.number, at, body[40 : 40 + size])
        inode.changed_ns = time.time_ns()
        return struct.pack("<II", size, 0)

    def _statfs(self, _: Inode, __: bytes) -> bytes:
        blocks, inodes = self._faults.room()
        return struct.pack("<QQQQQIIII", 1 << 20, blocks, blocks, 1 << 20, inodes, 4096, 255, 4096, 0).ljust(80, b"\0")

    def _fsync(self, inode: Inode, _: bytes) -> bytes:
        try:
            self._may("sync", self._name_of(inode))
        except Failed:
            if self._faults.fault is not None and self._faults.fault.done:
                self._do("sync", inode.number)
                raise
            # As Linux does: what did not reach the platter is not tried again, and the next sync says that all is well.
            self._note(("sync_failed", inode.number))
            self._disk.sync_failed(inode.number)
            raise
        self._do("sync", inode.number)
        return b""

    def _setxattr(self, inode: Inode, body: bytes) -> bytes:
        size, _ = struct.unpack_from("<II", body)
        name, _, value = body[8:].partition(b"\0")
        if inode.number != ROOT or name.decode() != CONTROL:
            raise Failed(errno.EOPNOTSUPP)
        self._answer = self._order(value[:size].decode())
        return b""

    def _getxattr(self, inode: Inode, body: bytes) -> bytes:
        size, _ = struct.unpack_from("<II", body)
        if inode.number != ROOT or body[8:].rstrip(b"\0").decode() != CONTROL:
            raise Failed(errno.ENODATA)
        value = self._answer.encode()
        return struct.pack("<II", len(value), 0) if size == 0 else value

    def _opendir(self, _: Inode, __: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def _readdir(self, folder: Inode, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        listed = [(".", folder.number), ("..", folder.number), *sorted(folder.names.items())]
        found = b""
        for place, (name, number) in list(enumerate(listed))[at:]:
            raw = os.fsencode(name)
            kind = stat.S_IFMT(self._disk.inodes[number].mode) >> 12
            entry = struct.pack("<QQII", number, place + 1, len(raw), kind) + raw
            entry = entry.ljust((len(entry) + 7) // 8 * 8, b"\0")
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    def _nothing(self, _: Inode, __: bytes) -> bytes:
        return b""

    def _name_of(self, inode: Inode) -> str:
        """The first name that leads to it, as a path; only asked when a fault waits for one."""
        return (self._faults.wants_names and self._path(inode.number)) or ""

    def _path(self, number: int) -> str:
        if number == ROOT:
            return "."
        for folder in self._disk.inodes.values():
            for name, child in folder.names.items():
                if child == number:
                    above = "" if folder.number == ROOT else f"{self._path(folder.number)}/"
                    return f"{above}{name}"
        return ""


def _names(body: bytes) -> list[str]:
    return [os.fsdecode(name) for name in body.split(b"\0")[:-1]]
