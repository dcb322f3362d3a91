"""Makes a child end with its parent: run as a program, it asks the kernel for a signal at the parent's death, and then
becomes the child.

What belongs here: this one wrapper. It is run by its path, isolated and without `site`, so that it costs few
milliseconds; it imports nothing of surveil. What does not: processes that should outlive their parent; those are simply
not started through this.

    python -I -S parent.py PARENT_PID COMMAND [ARGUMENT ...]

The request (Linux: PR_SET_PDEATHSIG) survives `exec` but not `fork`, so the child's own children are not concerned. On
systems without it the child runs all the same, and ends when it is asked to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>."""
ORPHANED = 143
"""The exit status of a child whose parent was gone before it began: what a shell shows for SIGTERM."""


def follow_parent(parent: int) -> bool:
    """Ask for SIGTERM at the death of `parent`; returns whether it still lives.

    SIGTERM rather than SIGKILL: a runner that is told to go says so, and its jobs are taken over in order.
    """
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except AttributeError:
        return True
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # It may have died before we asked; then somebody else is our parent by now.
    return os.getppid() == parent


def main(arguments: list[str]) -> int:
    """Become the command; returns only when that is impossible."""
    parent, command = int(arguments[1]), arguments[2:]
    if not follow_parent(parent):
        return ORPHANED
    try:
        os.execv(command[0], command)  # noqa: S606  # No shell is wanted.
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv))
