"""Programs started as an ordinary user, also where the tests run as root.

What belongs here: becoming such a user, and letting it reach the Python and the checkout of the tests where root keeps
these to itself. All of it is seen in a mount namespace of the one program, and gone with it.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOMEBODY = 12345
"""The number of a user and a group that nobody has."""
USERS = ["root", "ordinary"] if os.geteuid() == 0 else ["ordinary"]


def own(folder: Path, user: str) -> None:
    """Give a folder and all in it to this user."""
    if user == "ordinary" and os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def command(argv: list[str], user: str) -> list[str]:
    """The command line that runs another one as this user."""
    if user == "root" or os.geteuid() != 0:
        return argv
    lines = ["set -e", "stash=$(mktemp -d)", 'mount -t tmpfs -o mode=755 stash "$stash"']
    needed = dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix), ROOT))
    closed: dict[Path, list[Path]] = {}
    for path in needed:
        for ancestor in _closed(path):
            closed.setdefault(ancestor, []).append(path)
    for number, (ancestor, paths) in enumerate(closed.items()):
        lines += [f'mkdir -p "$stash/{number}/{index}"; mount --bind {path} "$stash/{number}/{index}"'
                  for index, path in enumerate(paths)]  # fmt: skip
        lines.append(f"mount -t tmpfs -o mode=755 open {ancestor}")
        lines += [f'mkdir -p {path}; mount --bind "$stash/{number}/{index}" {path}' for index, path in enumerate(paths)]
    lines.append('umount -l "$stash"; rmdir "$stash"')
    rights = f"--reuid={SOMEBODY} --regid={SOMEBODY} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all"
    lines.append(f"exec setpriv {rights} {shlex.join(argv)}")
    unshare = shutil.which("unshare")
    assert unshare is not None, "util-linux is part of every system"
    return [unshare, "--mount", "sh", "-c", "\n".join(lines)]


def _closed(path: Path) -> Iterator[Path]:
    """The outermost folder on the way to a path that is not for everybody; none where all are."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & 0o001:
            yield ancestor
            return
