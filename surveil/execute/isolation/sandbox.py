"""What a step of a sandboxed attempt sees of its machine, as bubblewrap's command line.

What belongs here: which folders are shown, which are hidden, and the order in which that is said. What does not:
whether there can be a sandbox (`isolating`), building and entering it (`keeper.enclosure`), and what a workspace is
(`workspace`).

Everything that is not named here is not there: no home, no data folder, no `/run` with its sockets. What is shown of
the machine may be read and not written; an attempt writes into its own workspace alone.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from surveil.execute.workspace import Workspace
from surveil.frozen import dataclass, replace
from surveil.places import RUNNERS

SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys", "/nix/store", "/gnu/store",
    "/var/lib/ca-certificates", "/var/lib/dpkg", "/var/lib/gems", "/var/lib/ghc", "/var/lib/texmf",
)  # fmt: skip
"""What belongs to the system, as far as it is there: programs, libraries, and what is known about them."""
ETC_ENTRIES_MAX: Final = 50_000
SSH: Final = Path("/etc/ssh")
OF_SSH: Final = ("ssh_config", "ssh_known_hosts")
"""All that is shown of `/etc/ssh`. Its keys are nobody's business, and ssh refuses to read what lies in a folder below
it when it does not know the owner, as in a namespace of users.
"""
NAMESPACES: Final = (
    "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent",
    "--new-session", "--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin",
)  # fmt: skip
NO_MORE_NAMESPACES: Final = "--disable-userns"
"""Nobody in there makes another namespace of users, in which he would have rights for the kernel to watch over. Known
to bubblewrap from 0.8 on.
"""
BORROWS_MAX: Final = 5
"""As deep as git itself follows repositories that borrow objects from others."""
OURSELVES: Final = Path(__file__).resolve().parents[2]
"""This very package. A checkout that is installed for its developers lies outside of their virtual environment, whose
pytest asks for our plugin.
"""
_NOTHING: Final = "/dev/null"
_PROGRAM_FOLDERS: Final = frozenset({"bin", "sbin", "shims"})


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How the attempts of this machine are kept apart: the first words of bubblewrap's command line, those by which it
    shows the machine, and those by which it hides again what must not be seen.
    """

    words: tuple[str, ...]
    showing: tuple[str, ...] = ()
    hiding: tuple[str, ...] = ()

    def argv(self, workspace: Workspace) -> list[str]:
        """The command line for an attempt, but for the program that runs in there. Looks into the work tree."""
        words = [*self.words]
        for name in ("/tmp", "/var/tmp"):  # noqa: S108  # the very names are wanted
            words += ["--bind", str(workspace.common_tmp), name]
        words += self.showing
        if workspace.root not in workspace.work.parents:
            for own in (workspace.work, *git_folders(workspace.work)):
                words += ["--bind", str(own), str(own)]
        words += self.hiding
        for path in borrowed(workspace.work):
            words += ["--ro-bind", str(path), str(path)]
        return [*words, "--bind", str(workspace.root), str(workspace.root), "--remount-ro", "/"]

    def without(self, word: str) -> Sandbox:
        """The same for a bubblewrap that does not know this word."""
        return replace(self, words=tuple(each for each in self.words if each != word))


def describe(
    program: str, *, path: str, home: Path, data: Path | None, expose: Sequence[Path], secrets: Iterable[Path]
) -> Sandbox:
    """The sandbox of this machine, as its files are now.

    Args:
        program: where bubblewrap is.
        path: the PATH of steps; the folders in it are shown, and what their programs need.
        home: the real home, of which nothing else is shown.
        data: the runner's data folder, which is hidden wherever it lies.
        expose: what is shown as well because a person says so.
        secrets: files that are hidden wherever they lie.
    """
    system = [Path(name) for name in SYSTEM if Path(name).exists()]
    never = [home, *([] if data is None else _data_folders(data))]
    tools = [tool for entry in path.split(os.pathsep) for tool in _tools(Path(entry), home, never)]
    # A name server's address often lies in a folder that is not shown.
    shown = _outermost([*system, *tools, Path("/etc/resolv.conf").resolve()])
    showing = [word for one in shown for word in _show(one)]
    showing += ["--proc", "/proc", "--dev", "/dev"]
    showing += [word for one in _private_in_etc() for word in _hide(one)]
    showing += _only_of_ssh()
    for one in expose:
        showing += ["--dev-bind" if one.is_relative_to("/dev") else "--ro-bind", str(one), str(one)]
    seen = [*shown, *expose]
    hidden = [one for one in (*never[1:], *secrets) if one.exists()]
    hiding = [word for one in hidden if any(one.is_relative_to(root) for root in seen) for word in _hide(one)]
    return Sandbox((program, *NAMESPACES, NO_MORE_NAMESPACES), tuple(showing), tuple(hiding))


def _data_folders(data: Path) -> list[Path]:
    """The runner's own folder, or that of the dispatcher in which it lies."""
    return [data.parent.parent if data.parent.name == RUNNERS else data]


def _tools(entry: Path, home: Path, never: Sequence[Path]) -> Iterator[Path]:
    """The folders that are shown for one of PATH: itself, and what stands beside it, as programs look for that.

    `~/.pyenv/shims` needs all of `~/.pyenv`, a virtual environment the Python that it was made of, and our own one
    ourselves; but nothing is shown in which a home or our data lies.
    """
    if not entry.is_absolute() or not _is_reached(entry):
        return
    whole = entry.parent if entry.name in _PROGRAM_FOLDERS else entry
    # Beside the programs of these are secrets: tokens of cargo, and whatever `~/.local` has for keyrings.
    alone = whole in {home / ".cargo", home / ".local"}
    found = [entry if alone or _holds(whole, never) else whole]
    if whole == home / ".cargo":
        found.append(home / ".rustup")
    try:
        settings = (whole / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        settings = []
    if whole.resolve() == Path(sys.prefix).resolve():
        found.append(OURSELVES)
    found += [Path(value.strip()).parent for key, _, value in (line.partition("=") for line in settings)
              if key.strip() == "home"]  # fmt: skip
    yield from (one for one in found if one.is_absolute() and _is_reached(one) and not _holds(one, never))


def _is_reached(folder: Path) -> bool:
    """Whether this user finds such a folder: `su` and `runuser` leave it a PATH with those of root."""
    return os.access(folder, os.X_OK) and folder.is_dir()


def _holds(folder: Path, never: Sequence[Path]) -> bool:
    return any(one.is_relative_to(folder) for one in never)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """These without those that lie in another one of them, so that each is shown once."""
    found: list[Path] = []
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if path.exists() and not any(path.is_relative_to(root) for root in found):
            found.append(path)
    return found


def _show(path: Path) -> list[str]:
    """`/bin` is a link on most systems, and stays one: then a program's name is the same in there."""
    if str(path) in SYSTEM and path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)]


def _hide(path: Path) -> list[str]:
    return ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", _NOTHING, str(path)]


def _only_of_ssh() -> list[str]:
    if not SSH.is_dir():
        return []
    words = ["--tmpfs", str(SSH)]
    for name in OF_SSH:
        words += ["--ro-bind-try", str(SSH / name), str(SSH / name)]
    return words


def _private_in_etc() -> Iterator[Path]:
    """What in `/etc` is not for everybody, but may be read by the user of this process: its owner, or root."""
    folders, seen = ["/etc"], 0
    while folders and seen < ETC_ENTRIES_MAX:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if entry.is_symlink() or entry.path == str(SSH):
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if not mode & stat.S_IROTH:
                if os.access(entry.path, os.R_OK):
                    yield Path(entry.path)
            elif stat.S_ISDIR(mode):
                folders.append(entry.path)


def for_person(argv: Sequence[str]) -> list[str]:
    """The command line of a sandbox for a program on a terminal: it gets the environment that bubblewrap was started
    with, and stays in the session whose terminal it is. Nothing where there is no sandbox.
    """
    words = [*argv]
    for unwanted, count in (("--new-session", 1), ("--clearenv", 1), ("--setenv", 3)):
        if unwanted in words:
            at = words.index(unwanted)
            del words[at : at + count]
    return [*words, "--"] if words else []


# ---- what git needs of a work tree's surroundings -------------------------------------------------------------------


def git_folders(work: Path) -> list[Path]:
    """The folders outside of a person's work tree that belong to its repository: those of a linked work tree."""
    try:
        word, _, named = (work / ".git").read_text(encoding="utf-8").strip().partition(": ")
    except OSError:
        return []  # It is a folder, or there is none.
    own = work / named
    try:
        common = own / (own / "commondir").read_text(encoding="utf-8").strip()
    except OSError:
        common = own
    found = [Path(os.path.realpath(one)) for one in (own, common)]
    if word != "gitdir" or not all((one / "HEAD").is_file() for one in found) or not (found[1] / "objects").is_dir():
        return []
    return _outermost(found)


def borrowed(work: Path) -> list[Path]:
    """The folders of objects that a work tree's repository borrows from, and those that these borrow from."""
    repository = next(iter(git_folders(work)[-1:]), work / ".git")
    found: list[Path] = []
    ahead = [repository / "objects"]
    for _ in range(BORROWS_MAX):
        ahead = [path for objects in ahead for path in _alternates(objects) if path not in found]
        found += ahead
    return found


def _alternates(objects: Path) -> Iterator[Path]:
    try:
        lines = (objects / "info" / "alternates").read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        path = objects / os.fsdecode(line)
        if line and not line.startswith(b"#") and path.name == "objects" and path.is_dir():
            yield path
