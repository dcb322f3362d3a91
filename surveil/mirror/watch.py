"""Notices that files of local repositories changed, at once and without looking.

What belongs here: the kernel's file events (inotify) for the folders that hold refs. What does not: what changed
(`local`), and the polls that remain for whatever no event tells of: network file systems, other kernels, lost events.

One descriptor for all repositories, to be waited for by the owner's loop: no thread, and no work while nothing happens.
A write by rename, as git's are, shows in the folder, so folders are watched and files are not. Why `inotify_simple`
rather than more: `watchdog` needs threads, `watchfiles` watches whole trees, and a repository's `objects` alone are
257 folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from surveil.mirror.address import show
from surveil.mirror.trouble import MirrorError

try:
    from inotify_simple import INotify, flags  # type: ignore[import-untyped]

    _MASK: Final = (
        flags.CREATE
        | flags.DELETE
        | flags.MOVED_TO
        | flags.MOVED_FROM
        | flags.CLOSE_WRITE
        | flags.DELETE_SELF
        | flags.MOVE_SELF
        | flags.ONLYDIR
    )
    _LOST: Final = flags.IGNORED | flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT
    _OVERFLOW: Final = flags.Q_OVERFLOW
except ImportError:  # Not Linux: its wheels are for Linux alone, and polling is what remains.
    INotify = None

_NO_REFS: Final = frozenset({"index", "COMMIT_EDITMSG", "FETCH_HEAD", "gc.pid"})
"""Files beside HEAD that change more often than refs do."""
FOLDERS_MAX: Final = 1_000
"""Of one repository. More would eat up what the kernel grants a user (`fs.inotify.max_user_watches`)."""


class Watch:
    """File events of any number of repositories, each known by a key of the caller's.

    Use `fileno` with a selector or loop, and call `read` when it is readable.
    """

    def __init__(self) -> None:
        if INotify is None:
            raise MirrorError("This system has no file events that surveil knows; repositories are polled.")
        try:
            self._inotify: Any = INotify(nonblocking=True)
        except OSError as problem:
            sentence = (
                f"No file events can be had: {problem.strerror} (see /proc/sys/fs/inotify); repositories are polled."
            )
            raise MirrorError(sentence) from problem
        self._keys: dict[int, set[str]] = {}
        self._watched: dict[str, dict[str, int]] = {}

    def fileno(self) -> int:
        """The descriptor that becomes readable when something happened."""
        return int(self._inotify.fileno())

    def close(self) -> None:
        """End all watches."""
        self._inotify.close()

    def follow(self, key: str, folders: Iterable[str]) -> bool:
        """Watch exactly these folders for `key`; True if any of them is new, and may have changed since it was listed.

        Raises MirrorError when the kernel grants no more; what it granted stays.
        """
        before = self._watched.setdefault(key, {})
        wanted = list(folders)[:FOLDERS_MAX]
        for folder in before.keys() - set(wanted):
            self._remove(key, before.pop(folder))
        new = [folder for folder in wanted if folder not in before]
        for folder in new:
            try:
                descriptor = int(self._inotify.add_watch(folder, _MASK))
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue  # Gone since it was listed, or not ours to see: the parent tells, or the next poll.
            except OSError as problem:
                reason = f"{problem.strerror}; raise fs.inotify.max_user_watches"
                raise MirrorError(
                    f"The kernel watches no more folders ({reason}): {show(folder)} is polled."
                ) from problem
            before[folder] = descriptor
            self._keys.setdefault(descriptor, set()).add(key)
        return bool(new)

    def read(self) -> set[str]:
        """The keys whose folders stirred since the last time; never waits. All keys when the kernel lost count."""
        try:
            events = self._inotify.read(timeout=0)
        except BlockingIOError:
            return set()
        stirred: set[str] = set()
        for event in events:
            if event.mask & _OVERFLOW:
                return set(self._watched)
            # Git makes a lock beside each file that it changes; the change itself is the rename that follows.
            if event.name in _NO_REFS or event.name.endswith(".lock"):
                continue
            stirred |= self._keys.get(event.wd, set())
            if event.mask & _LOST:
                self._lost(event.wd)
        return stirred

    def _lost(self, descriptor: int) -> None:
        """The folder is gone, so its watch is as well; should it come back, `follow` watches the new one."""
        for key in self._keys.pop(descriptor, set()):
            folders = self._watched.get(key, {})
            for folder in [folder for folder, watched in folders.items() if watched == descriptor]:
                del folders[folder]

    def _remove(self, key: str, descriptor: int) -> None:
        keys = self._keys.get(descriptor, set())
        keys.discard(key)
        if keys:
            return
        self._keys.pop(descriptor, None)
        try:
            self._inotify.rm_watch(descriptor)
        except OSError:
            # The kernel removed it with its folder, and the event that says so is not read yet.
            return
