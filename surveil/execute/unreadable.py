"""Attempts that another version of surveil left on this machine, and that this one cannot read: they are kept for it.

What belongs here: which folders these are, how long they are kept, and the end of what runs in them. What does not:
attempts that can be read (`attempts`), and threads (`process`).

An upgrade that is taken back is the reason: the older version finds its attempts again, running or with their logs.
Whose they are cannot be said here, so that nobody is told of them meanwhile. That is bounded twice. What runs is ended
after as long as a job may run without a word from the dispatcher, and what is left is deleted after as long as a log
is offered to a dispatcher that does not take it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from surveil.execute import files, processes
from surveil.execute.attempts import group_prefix, held, keeper_of
from surveil.execute.isolation.cgroups import PREFIX
from surveil.execute.keeper.confines import Confines
from surveil.places import WORKSPACES
from surveil.say import Voice

ALONE_S: Final = 600.0
"""`RunnerPolicy.alone_ms`, for those of whom the mind does not know."""
KEPT_S: Final = 86_400.0
"""`RunnerPolicy.released_log_ms`, counted from the last change in the folder."""

voice = Voice("execute")


class Unreadable:
    """The attempts' folders of another version, of the runner whose folder is `data`. Blocks."""

    def __init__(self, data: Path) -> None:
        self._workspaces = data / WORKSPACES
        self._found: dict[str, Path] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    def take(self, path: Path) -> bool:
        """Whether this folder, which could not be read, is to be left as it is.

        It is not where no note of whose it was is left, or a damaged one: no version will ever read that.
        """
        try:
            files.read_fields(str(path / files.ACCEPTED))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return False
        except OSError:
            pass  # The disk does not give it now, and may the next time.
        if _is_over(path):
            return False
        self._found[path.name] = path
        voice.warning(
            "an attempt cannot be read; it is kept for a day, for the version of surveil that can", folder=path
        )
        return True

    def kept(self) -> set[str]:
        """The names of the folders that nobody may delete yet, for attempts and workspaces alike."""
        for name, path in list(self._found.items()):
            if _is_over(path):
                del self._found[name]
        return set(self._found)

    def end(self) -> None:
        """End whatever runs in them; their logs stay."""
        for path in list(self._found.values()):
            if end_unread(path, self._workspaces / path.name):
                voice.warning("an attempt that cannot be read is ended: nobody asks for it any more", folder=path)


def end_unread(path: Path, workspace: Path) -> bool:
    """End the keeper of an attempt that cannot be read, and its processes; whether anything ran. Blocks."""
    keeper = None
    with contextlib.suppress(OSError):  # One that stands still finds no order if it ever goes on.
        keeper = keeper_of(path)
    if keeper is not None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(keeper, signal.SIGKILL)
        os.close(keeper)
    return end_left_behind(path, workspace) > 0 or keeper is not None


def end_left_behind(path: Path, workspace: Path) -> int:
    """End what an attempt without a keeper left behind, and its control groups; how many processes there were."""
    killed = processes.kill_left_behind(workspace)
    # In a copy of a data folder the orders name the groups of the first one, in which its attempts go on.
    ours = PREFIX + group_prefix(path.parent.parent)
    with contextlib.suppress(OSError, ValueError):
        named = files.read_order(str(path)).cgroups
        Confines([group for group in named if Path(group).name.startswith(ours)]).remove()
    return killed


def _is_over(path: Path) -> bool:
    try:
        if held(path):
            return False
        changed_at = max(each.stat().st_mtime for each in (path, *path.iterdir()))
    except FileNotFoundError:
        return True
    except OSError:
        return False
    # A clock that was ahead when it was written does not keep it for ever.
    return abs(time.time() - changed_at) > KEPT_S
