"""Root in a container: what it may do there, and that what it leaves is the runner's again.

What belongs here: rights, and files that are another user's. What does not: containers (`container`), and what keeps
root in one from the machine for all users alike (`engine`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError
from surveil.execute.workspace import Workspace

ROOT: Final = "0:0"
RIGHTS: Final = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip
"""What Podman gives to root by itself: enough for every manager of packages. Docker adds devices, packets that are made
by hand, and messages in the machine's own audit.
"""
GIVING: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
GIVE_BACK: Final = 'exec chown -Rh "$0" "$@"'
"""Follows no link; and what is given loses its set-user-id bit, which the kernel sees to."""
AS_ROOT: Final = "as root"
NOT_ROOT: Final = "without root, as strangers sent it"
_GIT_CONFIG: Final = "[safe]\n\tdirectory = *\n"


def tell_git(workspace: Workspace) -> None:
    """Let git work as root in a tree that is not root's. Raises InfrastructureError."""
    if os.geteuid() == 0:
        return
    try:
        (workspace.home / ".gitconfig").write_text(_GIT_CONFIG, encoding="ascii")
    except OSError as error:
        raise InfrastructureError(f"the job's home cannot be written: {error}") from error


def has_others(folder: Path) -> bool:
    """Whether anything in a folder, or itself, is another user's than ours; nothing is in one that does not exist."""
    own = os.geteuid()
    waiting = [str(folder)]
    try:
        if folder.lstat().st_uid != own:
            return True
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.stat(follow_symlinks=False).st_uid != own:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    except PermissionError:
        return True  # What cannot be looked into may hold anything.
    except FileNotFoundError:
        return False
    return False
