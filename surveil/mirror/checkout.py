"""Makes a private work tree at exactly one commit.

What belongs here: the `.git` folder of a workspace, and filling the work tree. What does not: the workspace's
life (`execute.workspace`), getting the commit into the mirror (`mirror`), and trees made ahead (`spare`).

The `.git` folder is written file by file, and one `git read-tree` fills the work tree: cloning would start
five processes and take four times as long. Objects are borrowed from the mirror. There are no hooks, no
submodules, no configuration but ours, and git runs before any step could have written into the folder, never
after.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from surveil.mirror.command import run
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import SHA256_DIGITS, check_sha, is_ref, ref_bytes
from surveil.mirror.trouble import MirrorError

CHECKOUT_TIMEOUT_S: Final = 10 * 60.0
"""A hundred thousand files on a slow disk."""


def checkout(mirror: Mirror, sha: str, destination: str | Path, ref: str = "") -> None:
    """Fill the empty or absent folder `destination` with the files of commit `sha`, which `mirror` holds.

    HEAD is detached at the commit, `origin` names the repository, and the tags that the mirror knows are
    there for steps that derive a version from them; `ref`, where given, is noted as the remote branch it was.
    Raises MirrorError, of kind CORRUPT or MISSING when the repository is to blame; what was written so far is
    the caller's to remove.
    """
    check_sha(sha)
    destination = Path(destination).absolute()
    try:
        _fill(mirror, sha, destination, ref)
    except MirrorError as problem:
        if not mirror.replace_if_damaged(problem):
            raise
        shutil.rmtree(destination, ignore_errors=True)
        mirror.fetch(sha, ref or None)
        _fill(mirror, sha, destination, ref)


def _fill(mirror: Mirror, sha: str, destination: Path, ref: str) -> None:
    git_dir = destination / ".git"
    with mirror.folder.using():
        try:
            _write_git_folder(mirror, sha, git_dir)
            _write_refs(mirror, sha, git_dir, ref)
        except OSError as problem:
            raise MirrorError(f"No work tree can be made at {destination}: {problem.strerror}.") from problem
        _read_tree(mirror, sha, destination)


def bring(mirror: Mirror, sha: str, tree: Path, ref: str) -> None:
    """Bring a work tree that `checkout` made, and nobody used, to another commit of the same mirror.

    Files that differ from what was checked out are written again, as the index shows them; what is not in the index is
    not seen. Raises MirrorError and OSError; what the tree holds then is anybody's guess.
    """
    check_sha(sha)
    with mirror.folder.using():
        _write_refs(mirror, sha, tree / ".git", ref)
        _read_tree(mirror, sha, tree)


def is_alone(mirror: Mirror, tree: Path) -> bool:
    """Whether there is no file in a work tree but those of its index. Raises MirrorError."""
    found = run(
        *("ls-files", "--others", "-z"),
        about=mirror.address.key,
        git_dir=str(tree / ".git"),
        cwd=str(tree),
        options=(f"--work-tree={tree}",),
        timeout_s=CHECKOUT_TIMEOUT_S,
        halt=mirror.halt,
    )
    return not found.stdout


def _read_tree(mirror: Mirror, sha: str, tree: Path) -> None:
    run(
        *("read-tree", "--reset", "-u", sha),
        about=mirror.address.key,
        git_dir=str(tree / ".git"),
        cwd=str(tree),
        options=(f"--work-tree={tree}", "-c", "core.fsync=none"),
        timeout_s=CHECKOUT_TIMEOUT_S,
        halt=mirror.halt,
    )


def _write_git_folder(mirror: Mirror, sha: str, git_dir: Path) -> None:
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (git_dir / folder).mkdir(parents=True)
    version = ["[core]", "\trepositoryformatversion = 1", "\tbare = false", "\tlogAllRefUpdates = true"]
    extensions = ["[extensions]", "\tobjectFormat = sha256"] if len(sha) == SHA256_DIGITS else []
    origin = [
        '[remote "origin"]',
        f"\turl = {_config_value(mirror.address.key)}",
        "\tfetch = +refs/heads/*:refs/remotes/origin/*",
    ]
    (git_dir / "config").write_text("\n".join([*version, *extensions, *origin, ""]), encoding="utf-8")
    borrowed = mirror.path / "objects"
    (git_dir / "objects" / "info" / "alternates").write_bytes(os.fsencode(borrowed) + b"\n")


def _write_refs(mirror: Mirror, sha: str, git_dir: Path, ref: str) -> None:
    (git_dir / "packed-refs").write_bytes(_packed_refs(mirror, sha, ref))
    (git_dir / "HEAD").write_text(sha + "\n", encoding="ascii")


def _packed_refs(mirror: Mirror, sha: str, ref: str) -> bytes:
    lines = {ref_bytes(name): value for name, value in mirror.tags().items()}
    if ref.startswith("refs/heads/") and is_ref(name := b"refs/remotes/origin/" + ref_bytes(ref)[len("refs/heads/") :]):
        lines[name] = sha
    return b"".join(value.encode() + b" " + name + b"\n" for name, value in sorted(lines.items()))


def _config_value(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
