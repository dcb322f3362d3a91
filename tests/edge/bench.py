"""Makes repositories byte by byte, so that they may hold what no git would write.

What belongs here: writing objects, refs and files of one repository. What does not: which repositories there are (the
catalogue), and what must come of them (`fates`).

An object is one file, written here in a tenth of a millisecond; a process of git for each would take minutes.
"""

import hashlib
import os
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from tests.mirror.repositories import ENVIRONMENT

PIPELINE: Final = b"version: 1\njobs: {test: {steps: [{run: 'test -f here'}]}}\n"
"""Passes where the work tree is what was committed."""
WHO: Final = b"Ada <ada@example.org> 1700000000 +0000"
FILE: Final = b"100644"
RUNNABLE: Final = b"100755"
LINK: Final = b"120000"
FOLDER: Final = b"40000"
MODULE: Final = b"160000"
ZERO: Final = "0" * 40

Entry: TypeAlias = tuple[bytes, bytes, str]
"""Mode, name and object of one entry of a tree."""


@dataclass(frozen=True)
class Scale:
    """How large the large ones are."""

    commits: int
    files: int
    refs: int
    blob_bytes: int
    depth: int


FULL: Final = Scale(commits=100_000, files=100_000, refs=100_000, blob_bytes=1 << 30, depth=500)
SMALL: Final = Scale(commits=3_000, files=3_000, refs=10_000, blob_bytes=16 << 20, depth=500)


@dataclass(frozen=True)
class Bench:
    """One repository in the making, at `path`. Beside it, `canary` is a folder that nobody may change, and `marker` a
    file that no program may make.
    """

    path: Path
    canary: Path
    marker: Path
    scale: Scale = SMALL
    bare: bool = False
    hash_name: str = "sha1"
    made: dict[str, str] = field(default_factory=dict)
    """What `make` wants to tell `turn`."""

    @property
    def git_dir(self) -> Path:
        return self.path if self.bare else self.path / ".git"

    # ---- the repository ----

    def start(self, config: str = "") -> None:
        """An empty repository, on branch main."""
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            (self.git_dir / folder).mkdir(parents=True)
        version = 0 if self.hash_name == "sha1" else 1
        extensions = "" if self.hash_name == "sha1" else f"[extensions]\n\tobjectFormat = {self.hash_name}\n"
        bare = "true" if self.bare else "false"
        core = f"[core]\n\trepositoryformatversion = {version}\n\tbare = {bare}\n"
        (self.git_dir / "config").write_text(core + extensions + config)
        self.head("refs/heads/main")

    def head(self, ref: str) -> None:
        """Let HEAD name this ref."""
        (self.git_dir / "HEAD").write_text(f"ref: {ref}\n")

    def ref(self, name: bytes | str, sha: str) -> None:
        """Write a ref as a file; git's way by rename, so that nobody reads half of it."""
        file = Path(os.fsdecode(os.fsencode(self.git_dir) + b"/" + _bytes(name)))
        file.parent.mkdir(parents=True, exist_ok=True)
        new = self.git_dir / "new-ref"
        new.write_text(sha + "\n")
        new.rename(file)

    def packed(self, refs: Mapping[bytes, str]) -> None:
        """Write refs into the one file for them."""
        lines = [sha.encode() + b" " + name + b"\n" for name, sha in sorted(refs.items())]
        (self.git_dir / "packed-refs").write_bytes(b"# pack-refs with: sorted\n" + b"".join(lines))

    def git(self, *argv: str | bytes, stdin: bytes = b"", **variables: str) -> str:
        """Let git itself do something, with a configuration that is nobody's."""
        done = subprocess.run(
            ["git", "-c", "gc.auto=0", *argv],
            cwd=self.path,
            env=ENVIRONMENT | variables,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    # ---- objects ----

    def object(self, kind: bytes, body: bytes) -> str:
        """Store an object as it stands, however odd."""
        text = kind + b" " + str(len(body)).encode() + b"\0" + body
        sha = hashlib.new(self.hash_name, text, usedforsecurity=False).hexdigest()
        file = self.loose(sha)
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(zlib.compress(text, 1))
        return sha

    def loose(self, sha: str) -> Path:
        """The file of an object."""
        return self.git_dir / "objects" / sha[:2] / sha[2:]

    def blob(self, body: bytes) -> str:
        return self.object(b"blob", body)

    def tree(self, entries: Iterable[Entry], *, sort: bool = True) -> str:
        """Store a tree; git's order is that of the names, with a slash behind those of folders."""
        found = list(entries)
        if sort:
            found.sort(key=lambda entry: entry[1] + (b"/" if entry[0] == FOLDER else b""))
        return self.object(
            b"tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in found)
        )

    def entries(self, files: Mapping[bytes, bytes]) -> list[Entry]:
        """The entries of these files, in folders where their names hold slashes."""
        here: list[Entry] = []
        below: dict[bytes, dict[bytes, bytes]] = {}
        for name, body in files.items():
            folder, slash, rest = name.partition(b"/")
            if slash:
                below.setdefault(folder, {})[rest] = body
            else:
                here.append((FILE, name, self.blob(body)))
        return here + [(FOLDER, name, self.tree(self.entries(inside))) for name, inside in below.items()]

    def sound(self) -> list[Entry]:
        """What makes a commit pass: its pipeline, and the file that the pipeline looks for."""
        return self.entries({b".surveil.yml": PIPELINE, b"here": b"x"})

    def commit(
        self,
        entries: Iterable[Entry] = (),
        *,
        parents: Sequence[str] = (),
        message: bytes = b"Odd\n",
        author: bytes = WHO,
        headers: bytes = b"",
        tree: str = "",
    ) -> str:
        """Store a commit of what is sound and these entries."""
        root = tree or self.tree([*self.sound(), *entries])
        lines = [b"tree " + root.encode(), *(b"parent " + parent.encode() for parent in parents)]
        lines += [b"author " + author, b"committer " + WHO]
        return self.object(b"commit", b"\n".join(lines) + b"\n" + headers + b"\n" + message)

    def main(self, sha: str) -> str:
        """Let branch main be this commit."""
        self.ref(b"refs/heads/main", sha)
        return sha

    def tag(self, name: bytes, target: str, kind: bytes = b"commit", more: bytes = b"") -> str:
        """Store an annotated tag, without a ref."""
        body = b"object " + target.encode() + b"\ntype " + kind + b"\ntag " + name + b"\ntagger " + WHO + b"\n\nTag\n"
        return self.object(b"tag", body + more)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
