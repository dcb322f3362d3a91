"""What `doctor` looks at on this machine: one function for each thing, which returns findings.

What belongs here: checks that change nothing. What does not: the dispatcher (`doctor` asks it), and how findings are
shown.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from surveil.errors import SurveilError
from surveil.frozen import dataclass
from surveil.places import KEYS

PYTHON_MIN: Final = (3, 11)
DISK_WEAK_BYTES: Final = 2 * 1024**3
DISK_BROKEN_BYTES: Final = 200 * 1024**2
PRIVATE: Final = 0o077

GIT_MIN: Final = (2, 31)
"""The oldest git with all options that surveil passes."""
GIT_FIXED: Final[Mapping[tuple[int, int], int]] = {
    (2, 43): 7,
    (2, 44): 4,
    (2, 45): 4,
    (2, 46): 4,
    (2, 47): 3,
    (2, 48): 2,
    (2, 49): 1,
    (2, 50): 1,
}
"""The patch level of each release line from which on hostile submodules cannot write outside their folder
(CVE-2025-48384).
"""


class Health(StrEnum):
    """How well something is."""

    OK = "ok"
    WEAK = "weak"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `next` is the command to type, or what to do; empty where all is well."""

    name: str
    health: Health
    sentence: str
    next: str = ""


def check_python() -> Iterator[Finding]:
    """Whether this Python is new enough."""
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        yield _broken("python", f"Python {version} is too old.", _as_root("apt install python3.11 python3.11-venv"))
    else:
        yield _ok("python", f"Python {version}")


def check_git() -> Iterator[Finding]:
    """Whether git is there, and free of the known holes."""
    from surveil.mirror.command import run
    from surveil.mirror.trouble import MirrorError

    try:
        words = run("version", about="git").stdout.decode("ascii", "replace")
    except MirrorError as error:
        yield _broken("git", str(error), _as_root("apt install git"))
        return
    yield judge_git(words)


def judge_git(words: str) -> Finding:
    """The finding for what `git version` printed."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", words)
    if match is None:
        sentence = f"`git version` says {words.strip()[:60]!r}, which names no version."
        return _weak("git", sentence, _as_root("apt install git"))
    major, minor, patch = (int(number or 0) for number in match.groups())
    if (major, minor) < GIT_MIN:
        sentence = f"git {match[0]} is older than 2.31 and lacks what surveil asks of it."
        return _broken("git", sentence, _as_root("apt install git"))
    fixed = GIT_FIXED.get((major, minor))
    newest_line = max(GIT_FIXED)
    if (major, minor) > newest_line or (fixed is not None and patch >= fixed):
        return _ok("git", f"git {match[0]}")
    sentence = (
        f"git {match[0]} is older than the releases that close CVE-2025-48384 (2.43.7 to 2.50.1), unless your "
        "distribution has mended it; surveil fetches no submodules, but your steps may."
    )
    return _weak("git", sentence, _as_root("apt update", "apt install --only-upgrade git"))


def check_libzmq() -> Iterator[Finding]:
    """Whether libzmq is new enough to face strangers."""
    upgrade = f"{sys.executable} -m pip install --upgrade 'pyzmq>=26'"
    try:
        from surveil.net.options import check_libzmq as check
        from surveil.net.options import libzmq_version

        check()
    except ImportError as error:
        yield _broken("libzmq", f"pyzmq cannot be loaded: {error}.", upgrade)
    except SurveilError as error:
        yield _broken("libzmq", f"{str(error).partition(': ')[0]}.", upgrade)
    else:
        yield _ok("libzmq", f"libzmq {libzmq_version()}")


def check_system() -> Iterator[Finding]:
    """Whether the system has what runners stand on: Linux with pidfd, and a shell."""
    if not sys.platform.startswith("linux"):
        yield _broken(
            "system", f"{platform.system()} cannot run jobs: runners need Linux.", "surveil client --join TOKEN"
        )
    elif not hasattr(os, "pidfd_open"):
        yield _broken("system", "This Python or kernel knows no pidfd; a kernel from 5.3 on is needed.", "uname -r")
    else:
        yield _ok("system", f"Linux {platform.release()}")
    for shell, health in (("sh", Health.BROKEN), ("bash", Health.WEAK)):
        if shutil.which(shell) is None:
            install = _as_root(f"apt install {shell}")
            yield Finding(name="shell", health=health, sentence=f"There is no `{shell}`.", next=install)


def check_sandbox() -> Iterator[Finding]:
    """What keeps the steps of jobs apart from this machine."""
    from surveil.execute.isolation.isolating import find

    found = find()
    if found.sandbox is not None:
        yield _ok("sandbox", f"steps run in {found.name}")
    else:
        sentence = f"Steps run without a sandbox, so a job sees all that its runner's user sees: {found.why}."
        yield _weak("sandbox", sentence, found.next or "bwrap --unshare-user --ro-bind / / true")


def check_memory() -> Iterator[Finding]:
    """Whether secrets that jobs want as files have a place that is no disk."""
    from surveil.execute.keeper.entrusted import MEMORY, is_in_memory

    try:
        fits = is_in_memory(MEMORY) and os.access(MEMORY, os.W_OK | os.X_OK)
    except OSError:
        fits = False
    if fits:
        yield _ok("secrets", f"files for them lie in memory, at {MEMORY}")
    else:
        sentence = (
            f"{MEMORY} is no memory to write to: jobs that want a secret as a file will be errored on a runner here."
        )
        yield _weak("secrets", sentence, _as_root(f"mount -t tmpfs -o mode=1777 tmpfs {MEMORY}"))


def check_user() -> Iterator[Finding]:
    """Whether jobs would run as somebody who may do anything."""
    if os.geteuid() == 0:
        sentence = "This is root, and steps run as the user of their runner: a runner should have a user of its own."
        yield _weak("user", sentence, "useradd --system --create-home --home-dir /var/lib/surveil surveil")


def check_files() -> Iterator[Finding]:
    """Whether a dispatcher may open enough files; each connection takes one."""
    from surveil.net.options import raise_file_limit

    try:
        warning = raise_file_limit()
    except SurveilError as error:
        yield _broken("open files", str(error), "ulimit -n 65536")
        return
    yield _weak("open files", warning, "ulimit -n 65536") if warning else _ok("open files", "enough")


def check_disk(data: Path) -> Iterator[Finding]:
    """Whether there is room where logs and work trees go."""
    for name, folder in (("data", data), ("temporary files", Path(tempfile.gettempdir()))):
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        free_text = f"{free / 1024**3:.1f} GiB free for {name} ({existing})"
        clean_up = f"df -h {existing}"
        if free < DISK_BROKEN_BYTES:
            yield _broken("disk", f"Only {free_text}: jobs will fail.", clean_up)
        elif free < DISK_WEAK_BYTES:
            yield _weak("disk", f"Only {free_text}.", clean_up)
        else:
            yield _ok("disk", free_text)


def check_folder(data: Path) -> Iterator[Finding]:
    """Whether the data folder is ours, writable and private, and its keys are."""
    try:
        status = data.stat()
    except FileNotFoundError:
        yield _ok("data folder", f"{data} is not there yet; `surveil up` makes it")
        return
    except OSError as error:
        sentence = f"{data} cannot be looked into by this user: {error.strerror}."
        yield _broken("data folder", sentence, f"sudo chown -R {os.geteuid()} {data}")
        return
    if not os.access(data, os.W_OK | os.X_OK):
        yield _broken("data folder", f"{data} cannot be written by this user.", f"sudo chown -R {os.geteuid()} {data}")
        return
    if status.st_mode & stat.S_IWOTH:
        yield _broken("data folder", f"{data} can be written by everybody.", f"chmod o-w {data}")
    elif status.st_mode & PRIVATE:
        yield _weak(
            "data folder",
            f"Other users can look into {data}; logs may hold what they should not see.",
            f"chmod 700 {data}",
        )
    else:
        yield _ok("data folder", str(data))
    for key in sorted((data / KEYS).glob("*.key")):
        if key.stat().st_mode & PRIVATE:
            yield _broken("keys", f"{key} is open to other users.", f"chmod 600 {key}")


def check_bucket(config_file: str | None) -> Iterator[Finding]:
    """Whether files can be put into the dispatcher's bucket, read and deleted; to be asked where one is named."""
    from surveil.config import DispatcherConfig, load
    from surveil.store.bucket import Bucket, probe, where_of

    try:
        where = where_of(load(DispatcherConfig, {}, config_file=config_file).value)
        if where is None:
            return
        bucket = Bucket(where)
        probe(bucket)
    except SurveilError as error:
        yield _broken("bucket", f"{str(error).rstrip('.')}.", "surveil config show --role dispatcher --origin")
    else:
        yield _ok("bucket", f"{bucket} takes files, gives and deletes them")


def check_ports(listen: str) -> Iterator[Finding]:
    """Whether a dispatcher could listen here; to be asked only where none runs."""
    from surveil.net.addresses import PORT_MAX, parse_address

    address = parse_address(listen, listening=True)
    if address.port == 0:
        return
    for port in (address.port, address.port + 1):
        if port > PORT_MAX:
            yield _broken(
                "ports",
                f"There is no port {port} for bulk after {address.port}.",
                "surveil up --listen tcp://127.0.0.1:7300",
            )
            continue
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, port))
            except OSError as error:
                yield _broken(
                    "ports",
                    f"Port {port} of {address.host} cannot be had: {error.strerror}.",
                    f"ss -ltnp sport = :{port}",
                )
            else:
                yield _ok("ports", f"port {port} of {address.host} is free")


def check_settings(config_file: str | None) -> Iterator[Finding]:
    """Whether environment and configuration file mean something for every role."""
    from surveil.config import ROLES, load

    complaints: dict[str, None] = {}
    for role in ROLES.values():
        try:
            load(role, {}, config_file=config_file)
        except SurveilError as error:
            complaints.update(dict.fromkeys(str(error).splitlines()))
    for complaint in complaints:
        variable = re.search(r"\bSURVEIL_\w+", complaint)
        file = re.search(r"(/\S+?)[;:,]?(?:\s|$)", complaint)
        next_ = f"unset {variable[0]}" if variable else f"${{EDITOR:-vi}} {file[1]}" if file else "surveil config show"
        yield _broken("settings", complaint, next_)
    if not complaints:
        yield _ok("settings", "all known")


def _ok(name: str, sentence: str) -> Finding:
    return Finding(name=name, health=Health.OK, sentence=sentence)


def _weak(name: str, sentence: str, next_: str) -> Finding:
    return Finding(name=name, health=Health.WEAK, sentence=sentence, next=next_)


def _broken(name: str, sentence: str, next_: str) -> Finding:
    return Finding(name=name, health=Health.BROKEN, sentence=sentence, next=next_)


def _as_root(*commands: str) -> str:
    """Commands that only root may type, as this user types them."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return " && ".join(sudo + command for command in commands)
