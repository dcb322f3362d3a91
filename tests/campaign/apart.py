"""Namespaces of the campaign's own: whatever becomes of it, nothing of it stays behind.

What belongs here: getting into them. What does not: the hosts' namespaces, which are inside (hosts).
"""

import os
import shutil
import subprocess
import sys
from typing import Final

PROGRAMS: Final = ("unshare", "nsenter", "ip", "mount", "git")
_INSIDE: Final = "SURVEIL_CAMPAIGN_INSIDE"


def missing() -> str:
    """What this machine lacks for a campaign, in a sentence; empty if it lacks nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"a campaign needs the programs {', '.join(absent)}: install util-linux, iproute2, mount and git"
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"a campaign needs namespaces of its own, and this user may make none: {tried.stderr.strip()}"
    return ""


def inside() -> bool:
    """Whether this process is in the campaign's own namespaces."""
    return os.environ.get(_INSIDE) == "1"


def enter(module: str, words: list[str]) -> None:
    """Replace this process by the same command within new namespaces. Its end is the end of all that it started."""
    argv = [*_unshare(), sys.executable, "-m", module, *words]
    os.execvpe(argv[0], argv, {**os.environ, _INSIDE: "1"})


def _unshare() -> list[str]:
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *mapped, "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "--"]
