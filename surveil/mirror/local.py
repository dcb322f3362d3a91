"""Reads the refs of a repository on this machine from its files, without starting git.

What belongs here: git's layout on disk as far as refs need it, and signs that something changed. What does
not: objects, and waiting for changes (`watch`).

Reading a ref's file takes microseconds where `git ls-remote` takes 5 ms, and it runs nothing that the
repository's configuration names. Only a repository whose refs are not files (reftable) is listed by git
itself, by its `--git-dir`.
"""

# A Path costs microseconds, and these loops run over every ref of every repository, every few seconds.
# ruff: noqa: PTH

from __future__ import annotations

import os
import stat
import time
from typing import Final, TypeAlias

from surveil.frozen import dataclass
from surveil.mirror.address import show
from surveil.mirror.command import run
from surveil.mirror.refs import REFS_MAX, SHA, RefList, is_ref, ref_text
from surveil.mirror.trouble import MirrorError, Trouble

Signature: TypeAlias = tuple[tuple[int, int, int], ...]
"""Inode, size and change time in nanoseconds of each file and folder whose change means that a ref may have
changed.
"""

_FILE_BYTES_MAX: Final = 4096
_PACKED_BYTES_MAX: Final = 64 * 1024 * 1024
_SYMBOLIC_DEPTH_MAX: Final = 5
_FOLDERS_MAX: Final = 50_000
_RACY_NS: Final = 1_000_000_000
"""A change within a file system's clock tick of an earlier one leaves no trace; so young a change is looked
at again. FAT's tick is 2 s, but nobody keeps a repository there; NFS and the others stay below 1 s."""
_SIGNS: Final = ("packed-refs", "config", "objects")
"""Beside HEAD and the folders of refs: a new configuration may mean another storage; without objects it is gone."""
_ALWAYS: Final[Signature] = ()
"""No signature can be had: look each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things are: `git` holds HEAD, `common` refs and objects (they differ in a linked work tree)."""

    git: str
    common: str
    object_format: str
    ref_storage: str


class LocalRepository:
    """A repository on this machine, known by the path of its work tree, its `.git` or its bare folder.

    Holds no descriptor and no process between calls. One thread at a time may use it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._packed: dict[str, str] = {}
        self._packed_signature: tuple[int, int, int] | None = None
        self._folders: tuple[str, ...] = ()
        self._signs: tuple[str, ...] = ()
        self._read_at_ns = 0

    def layout(self) -> Layout:
        """Find the repository's folders; raises MirrorError with what is wrong at the path."""
        git = _git_folder(self.path)
        common = git
        if (pointer := _read(os.path.join(git, "commondir"))) is not None:
            common = os.path.normpath(os.path.join(git, os.fsdecode(pointer.rstrip(b"\n"))))
            if not os.path.isdir(os.path.join(common, "objects")):
                sentence = f"{show(self.path)} is a work tree of {show(common)}, which is not there (was it moved?)."
                raise MirrorError(sentence, Trouble.NOT_A_REPOSITORY)
        object_format, ref_storage = _formats(os.path.join(common, "config"))
        return Layout(git=git, common=common, object_format=object_format, ref_storage=ref_storage)

    def refs(self) -> RefList:
        """All refs now. Raises MirrorError."""
        self._read_at_ns = time.time_ns()
        self._signs = ()
        layout = self.layout()
        if layout.ref_storage != "files":
            return self._ask_git(layout)
        loose: dict[str, str] = {}
        symbolic: dict[str, str] = {}
        # Loose before packed: a ref that git packs meanwhile is missed as a file and then found in
        # packed-refs. The other way round it would seem deleted.
        self._folders = self._scan(layout.common, loose, symbolic)
        beside = (os.path.join(layout.git, "HEAD"), *(os.path.join(layout.common, name) for name in _SIGNS))
        self._signs = (*beside, *self._folders)
        refs = self._read_packed(layout.common) | loose
        for name, target in symbolic.items():
            if (sha := _follow(target, symbolic, refs)) is not None:
                refs[name] = sha
            else:
                refs.pop(name, None)
        if len(refs) > REFS_MAX:
            raise MirrorError(f"{show(self.path)} has more than {REFS_MAX} refs.", Trouble.TOO_LARGE)
        head, head_sha = _head(layout.git, refs)
        return RefList(head=head, head_sha=head_sha, refs=refs)

    def signature(self) -> Signature:
        """A cheap sign that changes when a ref may have changed; valid for comparing after `refs` was called
        before.

        Empty when nothing cheap is certain: then the caller should read the refs. Raises MirrorError when the
        repository is gone.
        """
        if not self._signs:
            return _ALWAYS
        signature = tuple(_stamp(path) for path in self._signs)
        newest = max(changed for _, _, changed in signature)
        # A change after the refs were read, or just before, may not be among what was read.
        return _ALWAYS if min(time.time_ns(), self._read_at_ns) - newest < _RACY_NS else signature

    def watch_folders(self) -> tuple[str, ...]:
        """The folders in which a change of refs shows: HEAD's, and all below refs. Call `refs` first. Raises
        MirrorError.
        """
        layout = self.layout()
        first = (layout.git,) if layout.git == layout.common else (layout.git, layout.common)
        if layout.ref_storage != "files":
            return (*first, os.path.join(layout.common, layout.ref_storage))
        return (*first, *self._folders)

    def _scan(self, common: str, loose: dict[str, str], symbolic: dict[str, str]) -> tuple[str, ...]:
        """Read all loose refs; returns the folders that were seen."""
        folders: list[str] = []
        left = [b"refs"]
        root = os.fsencode(common)
        while left:
            folder = left.pop()
            folders.append(os.path.join(common, os.fsdecode(folder)))
            if len(folders) > _FOLDERS_MAX:
                raise MirrorError(
                    f"{show(self.path)} keeps its refs in more than {_FOLDERS_MAX} folders.",
                    Trouble.TOO_LARGE,
                )
            try:
                entries = list(os.scandir(os.path.join(root, folder)))
            except (FileNotFoundError, NotADirectoryError):
                continue  # Deleted since its parent was read; git removes folders that it emptied.
            except PermissionError as problem:
                raise _forbidden(self.path) from problem
            except OSError as problem:
                raise MirrorError(f"{show(self.path)} cannot be read: {problem.strerror}.") from problem
            for entry in entries:
                name = folder + b"/" + entry.name
                if entry.is_dir(follow_symlinks=False):
                    left.append(name)
                elif is_ref(name) and (text := _read(os.path.join(root, name))) is not None:
                    _sort(ref_text(name), text, loose, symbolic)
                    if len(loose) > REFS_MAX:
                        raise MirrorError(f"{show(self.path)} has more than {REFS_MAX} refs.", Trouble.TOO_LARGE)
        return tuple(folders)

    def _read_packed(self, common: str) -> dict[str, str]:
        path = os.path.join(common, "packed-refs")
        signature = _stamp(path)
        if signature != self._packed_signature:
            text = _read(path, _PACKED_BYTES_MAX) or b""
            if len(text) >= _PACKED_BYTES_MAX:
                raise MirrorError(f"{show(path)} is larger than {_PACKED_BYTES_MAX} bytes.", Trouble.TOO_LARGE)
            self._packed = _parse_packed(text)
            # Git replaces this file and never writes into it, so the inode tells versions of the same instant
            # apart.
            self._packed_signature = signature
        return self._packed

    def _ask_git(self, layout: Layout) -> RefList:
        # An explicit --git-dir is no discovery, so git does not ask who owns the folder; the user named this
        # path himself, and for-each-ref starts nothing.
        listing = run("for-each-ref", "--format=%(objectname)%09%(refname)", about=self.path, git_dir=layout.git).stdout
        refs: dict[str, str] = {}
        for line in listing.split(b"\n"):
            sha, _, name = line.partition(b"\t")
            if is_ref(name):
                refs[ref_text(name)] = sha.decode("ascii", "replace")
        asked = run("symbolic-ref", "-q", "HEAD", about=self.path, git_dir=layout.git, may_fail=True)
        name = asked.stdout.rstrip(b"\n")
        if is_ref(name):
            return RefList(head=ref_text(name), head_sha=refs.get(ref_text(name)), refs=refs)
        asked = run("rev-parse", "-q", "--verify", "HEAD", about=self.path, git_dir=layout.git, may_fail=True)
        detached = asked.stdout.decode("ascii", "replace").strip()
        return RefList(head=None, head_sha=detached if SHA.fullmatch(detached) else None, refs=refs)


def _git_folder(path: str) -> str:
    inner = os.path.join(path, ".git")
    if looks_bare(inner):
        return inner
    if (pointer := _read(inner)) is not None and pointer.startswith(b"gitdir: "):
        target = os.path.normpath(os.path.join(path, os.fsdecode(pointer[8:].rstrip(b"\n"))))
        if os.path.isdir(target):
            return target
        raise MirrorError(
            f"{show(path)} points to {show(target)}, which is not there (a moved work tree?).",
            Trouble.NOT_A_REPOSITORY,
        )
    if looks_bare(path):
        return path
    try:
        os.stat(path)
        os.listdir(inner if os.path.isdir(inner) else path)
    except PermissionError as problem:
        raise _forbidden(path) from problem
    except FileNotFoundError as problem:
        raise MirrorError(
            f"There is no repository at {show(path)}: the path does not exist.", Trouble.NOT_A_REPOSITORY
        ) from problem
    except OSError as problem:
        raise MirrorError(f"{show(path)} cannot be read: {problem.strerror}.", Trouble.NOT_A_REPOSITORY) from problem
    raise MirrorError(
        f"{show(path)} is not a git repository; make it one with `git init`, or name another.",
        Trouble.NOT_A_REPOSITORY,
    )


def looks_bare(path: str) -> bool:
    """Git's own test, in short: a HEAD, objects and refs (the latter two may be elsewhere for a linked work
    tree).
    """
    if not (os.path.isfile(os.path.join(path, "HEAD")) or os.path.islink(os.path.join(path, "HEAD"))):
        return False
    linked = os.path.isfile(os.path.join(path, "commondir"))
    return linked or (os.path.isdir(os.path.join(path, "objects")) and os.path.isdir(os.path.join(path, "refs")))


def _forbidden(path: str) -> MirrorError:
    return MirrorError(
        f"This user may not read {show(path)}; give it access, or run the observer as another user.",
        Trouble.REFUSED,
    )


def _formats(config: str) -> tuple[str, str]:
    """The object format and ref storage that a repository's configuration names; git reads `extensions` from
    this file alone.
    """
    found = {"objectformat": "sha1", "refstorage": "files"}
    section = ""
    for raw in (_read(config, 1024 * 1024) or b"").decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section, _, line = line[1:].partition("]")
            section, line = section.strip().lower(), line.strip()
        key, equals, value = line.partition("=")
        if section == "extensions" and equals and key.strip().lower() in found:
            found[key.strip().lower()] = value.split("#")[0].split(";")[0].strip().strip('"').lower()
    return found["objectformat"], found["refstorage"].split(":")[0]


def _read(path: str | bytes, limit: int = _FILE_BYTES_MAX) -> bytes | None:
    """The first `limit` bytes of a regular file; None if there is none. A FIFO or a link out of the
    repository is not one.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        # Gone since the folder was read, a link, or forbidden: for a single ref all mean that it cannot be
        # watched now.
        return None
    try:
        # A folder can be opened, but not made a file of Python's.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(descriptor)


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))


def _sort(name: str, text: bytes, loose: dict[str, str], symbolic: dict[str, str]) -> None:
    """Put what a ref's file holds where it belongs. A damaged one (a power cut leaves them empty) is as good
    as absent.
    """
    value = text.strip()
    if value.startswith(b"ref:"):
        symbolic[name] = ref_text(value[4:].strip())
        return
    sha = value.split(maxsplit=1)[0].decode("ascii", "replace") if value else ""
    if SHA.fullmatch(sha) and sha.strip("0"):
        loose[name] = sha


def _follow(target: str, symbolic: dict[str, str], refs: dict[str, str]) -> str | None:
    for _ in range(_SYMBOLIC_DEPTH_MAX):
        if target not in symbolic:
            return refs.get(target)
        target = symbolic[target]
    return None


def _parse_packed(text: bytes) -> dict[str, str]:
    refs: dict[str, str] = {}
    for line in text.split(b"\n"):
        sha, blank, name = line.partition(b" ")
        if blank and line[:1] not in b"#^" and is_ref(name):
            digits = sha.decode("ascii", "replace")
            if SHA.fullmatch(digits):
                refs[ref_text(name)] = digits
    return refs


def _head(git: str, refs: dict[str, str]) -> tuple[str | None, str | None]:
    path = os.path.join(git, "HEAD")
    try:
        # Repositories from before 2005's end may have HEAD as a link.
        return (name := ref_text(os.fsencode(os.readlink(path)))), refs.get(name)
    except OSError:
        value = (_read(path) or b"").strip()
    if value.startswith(b"ref:"):
        name = ref_text(value[4:].strip())
        return name, refs.get(name)
    sha = value.decode("ascii", "replace")
    return None, sha if SHA.fullmatch(sha) else None
