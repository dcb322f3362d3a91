"""Bare mirrors: this machine's own copy of what a repository holds.

What belongs here: making a mirror, getting one commit into it, reading from it, keeping it small, and
replacing it when it is damaged. What does not: work trees (`checkout`), and deciding what to fetch.

A mirror of a repository on this machine copies nothing: it borrows the repository's objects (git's
alternates), so a new commit is there the moment it exists. The mirror's own configuration is all that git
reads; the repository's is never looked at, whoever wrote it. A mirror of a remote fetches exactly the commits
that are asked for.

Observer, runners and commands may share a folder of mirrors. Two lock files beside each mirror keep them
apart: fetching excludes fetching, and replacing or packing excludes every use. Locks are the kernel's (flock)
and so end with their holder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from surveil.mirror.address import Address
from surveil.mirror.command import FETCH_TIMEOUT_S, LOCAL_TIMEOUT_S, Halt, run
from surveil.mirror.inventory import ADDRESS_FILE
from surveil.mirror.local import LocalRepository
from surveil.mirror.objects import METADATA_BYTES_MAX, Commit, read_commit, requests
from surveil.mirror.refs import SHA256_DIGITS, RefList, check_ref, check_sha, kept_ref, list_remote, ref_bytes
from surveil.mirror.trouble import MirrorError, Output, Trouble, failure

LOCK_TIMEOUT_S: Final = FETCH_TIMEOUT_S + 60.0
"""Nobody holds a lock longer than the longest fetch, unless it was stopped."""
_LOCK_WAIT_MIN_S: Final = 0.002
_LOCK_WAIT_MAX_S: Final = 0.2
_ALTERNATES: Final = "objects/info/alternates"
_HEADER_BYTES: Final = 200
"""What `git cat-file --batch` says before and after each object."""
PACKS_MAX: Final = 20
KEEP_REFS_S: Final = 30 * 24 * 3600
"""How long a fetched commit is kept after its ref was last fetched."""
FULL_GC_S: Final = 30 * 24 * 3600

# Damage that can hurt a reader is refused. What is merely untidy is not: famous histories hold time zones and
# modes that never were right.
FSCK_IGNORED: Final = (
    "badTimezone",
    "badDateOverflow",
    "zeroPaddedDate",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "badEmail",
    "badName",
    "zeroPaddedFilemode",
    "badFilemode",
    "missingEmail",
    "missingTaggerEntry",
    "badTagName",
    "gitmodulesParse",
    "gitmodulesMissing",
    "multipleAuthors",
    "nulInCommit",
    "emptyName",
    "nullSha1",
)
_FSCK: Final = (
    *("-c", "fetch.fsckObjects=true"),
    # A fetch that is cut short leaves no commit without its files: packs appear whole, loose objects one by
    # one.
    *("-c", "fetch.unpackLimit=1"),
    *(part for name in FSCK_IGNORED for part in ("-c", f"fetch.fsck.{name}=ignore")),
)


class Mirror:
    """One repository's mirror. Holds no descriptor and no process between calls; threads and processes may
    share its folder.
    """

    def __init__(self, root: str | Path, address: Address, halt: Halt | None = None) -> None:
        self.address = address
        self.halt = halt
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", address.name).strip("-.")[:40] or "repository"
        digest = hashlib.sha256(address.key.encode()).hexdigest()[:12]
        self.path = Path(root).absolute() / f"{slug}-{digest}.git"

    # ---- what is there ----

    @property
    def borrows(self) -> bool:
        """Whether its objects are those of a repository on this machine."""
        return bool(_content(self.path / _ALTERNATES))

    def refs(self, prefixes: tuple[str, ...] = ("refs/heads/*", "refs/tags/*")) -> RefList:
        """The repository's refs now: of a local one all, of a remote those that match `prefixes`. Raises
        MirrorError.
        """
        if self.address.is_local:
            return LocalRepository(self.address.key).refs()
        return list_remote(self.address, prefixes, self.halt)

    def has(self, sha: str) -> bool:
        """Whether the commit (or tag) is in the mirror already."""
        check_sha(sha)
        if not self.path.is_dir():
            return False
        with self.disk(), self.using():
            return self._has(sha)

    def fetch(self, sha: str, ref: str | None = None) -> None:
        """Bring the commit or tag `sha` into the mirror, at once if it is there. `ref` names where it was
        seen, which some servers need.

        Raises MirrorError; of kind MISSING when the repository no longer holds the commit.
        """
        check_sha(sha)
        if ref == "HEAD":
            ref = None  # What a commit of a detached HEAD was seen on: nothing that could be asked for later.
        if ref is not None:
            check_ref(ref)
        with self.disk():
            if self.address.is_local:
                self._borrow(sha)
            else:
                self._fetch_or_replace(sha, ref)

    def _fetch_or_replace(self, sha: str, ref: str | None) -> None:
        try:
            self._fetch_remote(sha, ref)
        except MirrorError as problem:
            if not self.replace_if_damaged(problem):
                raise
            self._fetch_remote(sha, ref)

    def tags(self) -> dict[str, str]:
        """The tags that the repository has, as far as the mirror knows them. Raises MirrorError."""
        # A mirror that borrows has no refs of its own; one that was supplied from elsewhere has nothing but those.
        refs = LocalRepository(self.address.key if self.borrows else str(self.path)).refs().refs
        return {name: sha for name, sha in refs.items() if name.startswith("refs/tags/")}

    def read(self, sha: str, names: Sequence[str] = (), file_bytes_max: int = 256 * 1024) -> Commit:
        """The commit that `sha` is or tags, and those of its root files `names` that it has. `fetch` it
        first. Raises MirrorError.

        The names are fixed words of surveil's own, not other people's.
        """
        check_sha(sha)
        limit = METADATA_BYTES_MAX + len(names) * (file_bytes_max + _HEADER_BYTES)
        with self.disk(), self.using(), open(os.memfd_create("asked"), "w+b") as asked:  # noqa: PTH123 - a descriptor
            asked.write(requests(sha, names))
            asked.seek(0)
            output = self.git(
                "cat-file", "--batch", "--buffer", stdin=asked, output_bytes_max=limit, cut=True, may_fail=True
            )
        commit = read_commit(output.stdout, names, file_bytes_max)
        if commit is None:
            if output.stderr.strip():
                raise failure(output, self.address.key)
            raise MirrorError(f"{self.address.key} holds no commit {sha} that could be read.", Trouble.MISSING)
        return commit

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` grew out of `old`; otherwise the ref was forced. False also when `old` is not here
        any more.
        """
        check_sha(old)
        check_sha(new)
        with self.using():
            return self.git("merge-base", "--is-ancestor", old, new, may_fail=True).status == 0

    # ---- keeping ----

    def discard(self) -> None:
        """Throw the mirror away; the next fetch makes a new one."""
        with self.disk(), self.lock_fetch(), self._lock("life", fcntl.LOCK_EX):
            if self.path.is_dir():
                gone = tempfile.mkdtemp(dir=self.path.parent, prefix="gone-")
                self.path.rename(Path(gone, "mirror"))
                shutil.rmtree(gone, ignore_errors=True)

    def replace_if_damaged(self, problem: MirrorError) -> bool:
        """Discard the mirror if this may come from damage in it; True if it makes sense to fetch and try again.

        Ours or theirs? A new mirror tells: if it fails as well, the damage is theirs. A mirror that borrows has nothing
        of its own that could be damaged.
        """
        damaged = problem.trouble in {Trouble.CORRUPT, Trouble.NOT_A_REPOSITORY}
        if self.borrows or not damaged or not self.path.is_dir():
            return False
        self.discard()
        return True

    def tidy(self) -> None:
        """Forget commits of refs that nobody fetched for a month, and repack where that pays. For idle
        moments; may take minutes.
        """
        if self.borrows or not self.path.is_dir():
            return
        with self.disk(), self.lock_fetch(), self._lock("life", fcntl.LOCK_EX):
            horizon = time.time() - KEEP_REFS_S
            for kept in (self.path / "refs" / "surveil").glob("*"):
                if kept.stat().st_mtime < horizon:
                    kept.unlink()
            marker = self.path / "surveil-gc"
            if not marker.exists() or marker.stat().st_mtime < time.time() - FULL_GC_S:
                self.git(
                    "gc",
                    "--quiet",
                    "--prune=2.weeks.ago",
                    options=("-c", "gc.packRefs=false"),
                    timeout_s=FETCH_TIMEOUT_S,
                )
                marker.touch()
            elif len(list((self.path / "objects" / "pack").glob("*.pack"))) > PACKS_MAX:
                self.git("repack", "-d", "-q", "--geometric=2", timeout_s=FETCH_TIMEOUT_S)

    # ---- how ----

    def _borrow(self, sha: str) -> None:
        layout = LocalRepository(self.address.key).layout()
        objects = Path(layout.common, "objects")
        self.ensure(layout.object_format, objects)
        # A commit made a moment ago is a loose object: one look at its file spares a process.
        if not Path(objects, sha[:2], sha[2:]).exists() and not self._has(sha):
            sentence = f"{self.address.key} holds no object {sha}: was it pruned, or is the clone partial?"
            raise MirrorError(sentence, Trouble.MISSING)

    def _fetch_remote(self, sha: str, ref: str | None) -> None:
        with self.lock_fetch():
            self.ensure("sha256" if len(sha) == SHA256_DIGITS else "sha1", None)
            with self.using():
                if self._has(sha):
                    return
                self._remove_stale_locks()
                kept = kept_ref(sha, ref)
                attempts = [f"+{sha}:{kept}"]
                if ref is not None:
                    attempts.append(f"+{os.fsdecode(ref_bytes(ref))}:{kept}")
                for refspec in attempts:
                    try:
                        self._fetch_refspec(refspec)
                    except MirrorError as problem:
                        if problem.trouble is not Trouble.MISSING:
                            raise
                    if self._has(sha):
                        return
        raise MirrorError(
            f"{self.address.key} no longer gives out {sha}{f' of {ref}' if ref else ''}.", Trouble.MISSING
        )

    def _fetch_refspec(self, refspec: str) -> None:
        options = ("--quiet", "--force", "--no-write-fetch-head", "--no-recurse-submodules")
        argv = ("fetch", *options, "--end-of-options", self.address.url, refspec)
        self.git(*argv, options=_FSCK, timeout_s=FETCH_TIMEOUT_S, remote=True)

    def _has(self, sha: str) -> bool:
        return self.git("cat-file", "-e", sha, may_fail=True).status == 0

    def ensure(self, object_format: str, borrowed: Path | None) -> None:
        """Write an empty bare repository unless it is there; it appears whole or not at all."""
        config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tlogAllRefUpdates = false\n"
        config += f"[extensions]\n\tobjectFormat = {object_format}\n" if object_format != "sha1" else ""
        if borrowed is not None and "\n" in str(borrowed):
            raise MirrorError(
                f"{self.address.key} keeps its objects in a folder with a line break in its name; rename it."
            )
        wanted = {
            "HEAD": b"ref: refs/heads/none\n",
            "config": config.encode(),
            ADDRESS_FILE: self.address.key.encode("utf-8", "replace"),
            _ALTERNATES: b"" if borrowed is None else os.fsencode(borrowed) + b"\n",
        }
        if all(_content(self.path / name) == text for name, text in wanted.items()):
            return
        if self.path.is_dir():
            # Another format, or borrowed from a place that moved: it is another repository now.
            self._replace(wanted)
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock("life", fcntl.LOCK_EX):
            if not self.path.is_dir():
                self._write(wanted)

    def _replace(self, wanted: dict[str, bytes]) -> None:
        with self._lock("life", fcntl.LOCK_EX):
            if all(_content(self.path / name) == text for name, text in wanted.items()):
                return
            gone = tempfile.mkdtemp(dir=self.path.parent, prefix="gone-")
            self.path.rename(Path(gone, "mirror"))
            self._write(wanted)
        shutil.rmtree(gone, ignore_errors=True)

    def _write(self, wanted: dict[str, bytes]) -> None:
        new = tempfile.mkdtemp(dir=self.path.parent, prefix="new-")
        for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
            Path(new, folder).mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            Path(new, name).write_bytes(text)
        Path(new).rename(self.path)

    def _remove_stale_locks(self) -> None:
        """Remove lock files of a git that was killed; we hold the fetch lock, so no living git of ours can
        own one.
        """
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*"):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)

    def git(
        self,
        *argv: str,
        options: Sequence[str] = (),
        stdin: IO[bytes] | None = None,
        sink: IO[bytes] | None = None,
        timeout_s: float = LOCAL_TIMEOUT_S,
        output_bytes_max: int = METADATA_BYTES_MAX,
        cut: bool = False,
        may_fail: bool = False,
        remote: bool = False,
    ) -> Output:
        """Run git on the mirror; see `command.run`. Only a `remote` call may talk to the repository."""
        return run(
            *argv,
            about=self.address.key,
            address=self.address if remote else None,
            git_dir=str(self.path),
            options=options,
            stdin=stdin,
            sink=sink,
            timeout_s=timeout_s,
            output_bytes_max=output_bytes_max,
            cut=cut,
            may_fail=may_fail,
            halt=self.halt,
        )

    @contextlib.contextmanager
    def disk(self) -> Iterator[None]:
        """Whatever this machine's disk refuses is a sentence about the mirror's folder."""
        try:
            yield
        except OSError as problem:
            trouble = Trouble.NO_SPACE if problem.errno in {errno.ENOSPC, errno.EDQUOT} else Trouble.FAILED
            raise MirrorError(f"The mirror {self.path} cannot be used: {problem.strerror}.", trouble) from problem

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Hold the mirror as it is: nobody replaces or packs it meanwhile."""
        with self._lock("life", fcntl.LOCK_SH):
            yield

    def lock_fetch(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else bring anything into the mirror meanwhile."""
        return self._lock("fetch", fcntl.LOCK_EX)

    def lock_supply(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else ask for a supply meanwhile: jobs of one commit start together, and one transfer is enough."""
        return self._lock("supply", fcntl.LOCK_EX)

    @contextlib.contextmanager
    def _lock(self, name: str, how: int) -> Iterator[None]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{self.path}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            wait_s = _LOCK_WAIT_MIN_S
            while True:
                try:
                    fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if self.halt is not None and self.halt.rung:
                        raise MirrorError(f"Nobody waits for {self.path} any more.", Trouble.HALTED) from problem
                    if time.monotonic() > deadline:
                        sentence = f"Another process has locked the mirror {self.path} for {LOCK_TIMEOUT_S:g} s."
                        raise MirrorError(sentence, Trouble.TIMEOUT) from problem
                # The kernel can wait for a lock, but not for a limited time.
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, _LOCK_WAIT_MAX_S)
            yield
        finally:
            os.close(descriptor)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
