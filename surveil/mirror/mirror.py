"""Bare mirrors: this machine's own copy of what a repository holds.

What belongs here: getting one commit into a mirror, reading from it, keeping it small, and doubting it when it seems
damaged. What does not: its folder and locks (`folder`), work trees (`checkout`), and deciding what to fetch.

A mirror of a repository on this machine copies nothing: it borrows the repository's objects (git's
alternates), so a new commit is there the moment it exists. The mirror's own configuration is all that git
reads; the repository's is never looked at, whoever wrote it. A mirror of a remote fetches exactly the commits
that are asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address
from surveil.mirror.command import FETCH_TIMEOUT_S, LOCAL_TIMEOUT_S, Halt, run
from surveil.mirror.folder import Folder
from surveil.mirror.local import LocalRepository
from surveil.mirror.objects import (
    METADATA_BYTES_MAX,
    Commit,
    CommittedFile,
    read_commit,
    read_files,
    requests,
    requests_for,
)
from surveil.mirror.refs import (
    SHA256_DIGITS,
    WATCHED_PREFIXES,
    RefList,
    check_ref,
    check_sha,
    kept_ref,
    list_remote,
    parse_remote,
    ref_bytes,
)
from surveil.mirror.trouble import MirrorError, Output, Trouble, failure

_HEADER_BYTES: Final = 200
"""What `git cat-file --batch` says before and after each object."""
CHANGED_MAX: Final = 1_000
"""So many changed files are told of; whoever changes more has changed everything."""
CHANGED_BYTES_MAX: Final = 64 * 1024
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

    def __init__(
        self, root: str | Path, address: Address, halt: Halt | None = None, access: Access = NO_ACCESS
    ) -> None:
        self.address = address
        self.halt = halt
        self.access = access
        self.folder = Folder(root, address, halt)

    # ---- what is there ----

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    def refs(self, prefixes: tuple[str, ...] = WATCHED_PREFIXES) -> RefList:
        """The repository's refs now: of a local one all, of a remote those that match `prefixes`. Raises
        MirrorError.
        """
        if self.address.is_local:
            return LocalRepository(self.address.key).refs()
        return parse_remote(self.listing(prefixes), self.address.key)

    def listing(self, prefixes: tuple[str, ...] = WATCHED_PREFIXES) -> bytes:
        """What a remote says of its refs that match `prefixes`, for `parse_remote`. Raises MirrorError."""
        return list_remote(self.address, prefixes, self.halt, self.access)

    def has(self, sha: str) -> bool:
        """Whether the commit (or tag) is in the mirror already."""
        check_sha(sha)
        if not self.path.is_dir():
            return False
        with self.folder.disk(), self.folder.using():
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
        with self.folder.disk():
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
        refs = LocalRepository(self.address.key if self.folder.borrows else str(self.path)).refs().refs
        return {name: sha for name, sha in refs.items() if name.startswith("refs/tags/")}

    def read(self, sha: str, names: Sequence[str] = (), file_bytes_max: int = 256 * 1024) -> Commit:
        """The commit that `sha` is or tags, and those of its root files `names` that it has. `fetch` it
        first. Raises MirrorError.

        The names are fixed words of surveil's own, not other people's.
        """
        check_sha(sha)
        limit = METADATA_BYTES_MAX + len(names) * (file_bytes_max + _HEADER_BYTES)
        with self.folder.disk(), self.folder.using():
            output = self._batch(requests(sha, names), limit)
        commit = read_commit(output.stdout, names, file_bytes_max)
        if commit is None:
            if output.stderr.strip():
                raise failure(output, self.address.key)
            if len(output.stdout) > limit:
                sentence = f"{self.address.key}: the commit {sha} and its root folder are larger than {limit} bytes."
                raise MirrorError(sentence, Trouble.TOO_LARGE)
            raise MirrorError(f"{self.address.key} holds no commit {sha} that could be read.", Trouble.MISSING)
        return commit

    def read_files(self, sha: str, paths: Sequence[str], file_bytes_max: int) -> list[CommittedFile]:
        """Files anywhere in a commit that was fetched, as far as they are there. Raises MirrorError.

        The paths are a stranger's: git gets them by its standard input, one a line, and looks them up as they are.
        """
        check_sha(sha)
        assert not any("\n" in path for path in paths), "a line end would be two questions"
        limit = METADATA_BYTES_MAX + len(paths) * (file_bytes_max + _HEADER_BYTES)
        with self.folder.disk(), self.folder.using():
            output = self._batch(requests_for(sha, paths), limit)
        return read_files(output.stdout, sha, paths, file_bytes_max)

    def grew(self, old: str, new: str) -> bool:
        """Whether `new`, which was fetched, has `old` in its history; otherwise its ref was forced.

        Raises MirrorError.
        """
        check_sha(old)
        check_sha(new)
        with self.folder.disk(), self.folder.using():
            return self.git("merge-base", "--is-ancestor", old, new, may_fail=True).status == 0

    def changed(self, old: str | None, new: str, *, since_parting: bool = False) -> tuple[str, ...] | None:
        """The files in which `new` differs from `old`, or from where it left the history of `old`, or from its own
        first parent where there is no `old`; sorted, renamed ones under both names. None where a commit is not here or
        has no parent, or the files are more than anybody would go through.

        Raises MirrorError.
        """
        check_sha(new)
        against = f"{new}^1" if old is None else check_sha(old)
        how = ("-r", "-z", "--name-only", "--no-renames", *(("--merge-base",) if since_parting else ()))
        with self.folder.disk(), self.folder.using():
            output = self.git(
                "diff-tree", *how, against, new, output_bytes_max=CHANGED_BYTES_MAX, cut=True, may_fail=True
            )
        if output.status != 0 or len(output.stdout) > CHANGED_BYTES_MAX:
            return None
        names = output.stdout.decode("utf-8", "backslashreplace").split("\0")[:-1]
        return None if len(names) > CHANGED_MAX else tuple(sorted(names))

    # ---- keeping ----

    def replace_if_damaged(self, problem: MirrorError) -> bool:
        """Discard the mirror if this may come from damage in it; True if it makes sense to fetch and try again.

        Ours or theirs? A new mirror tells: if it fails as well, the damage is theirs. A mirror that borrows has nothing
        of its own that could be damaged.
        """
        damaged = problem.trouble in {Trouble.CORRUPT, Trouble.GARBLED, Trouble.NOT_A_REPOSITORY}
        if self.folder.borrows or not damaged or not self.path.is_dir():
            return False
        self.folder.discard()
        return True

    def tidy(self) -> None:
        """Forget commits of refs that nobody fetched for a month, and repack where that pays. For idle
        moments; may take minutes.
        """
        if self.folder.borrows or not self.path.is_dir():
            return
        with self.folder.disk(), self.folder.lock_fetch(), self.folder.alone():
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

    def _batch(self, questions: bytes, limit: int) -> Output:
        """What git says of these objects, one after the other, cut off behind `limit` bytes."""
        with open(os.memfd_create("asked"), "w+b") as asked:  # noqa: PTH123 - a descriptor
            asked.write(questions)
            asked.seek(0)
            return self.git(
                "cat-file", "--batch", "--buffer", stdin=asked, output_bytes_max=limit, cut=True, may_fail=True
            )

    def _borrow(self, sha: str) -> None:
        layout = LocalRepository(self.address.key).layout()
        objects = Path(layout.common, "objects")
        self.folder.ensure(layout.object_format, objects)
        # A commit made a moment ago is a loose object: one look at its file spares a process.
        if not Path(objects, sha[:2], sha[2:]).exists() and not self._has(sha):
            sentence = f"{self.address.key} holds no object {sha}: was it pruned, or is the clone partial?"
            raise MirrorError(sentence, Trouble.MISSING)

    def _fetch_remote(self, sha: str, ref: str | None) -> None:
        with self.folder.lock_fetch():
            self.folder.ensure("sha256" if len(sha) == SHA256_DIGITS else "sha1", None)
            with self.folder.using():
                if self._has(sha):
                    return
                self.folder.remove_stale_locks()
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
        # Its progress is what tells a server that works from one that fell silent.
        options = ("--progress", "--force", "--no-write-fetch-head", "--no-recurse-submodules")
        argv = ("fetch", *options, "--end-of-options", self.address.url, refspec)
        self.git(*argv, options=_FSCK, timeout_s=FETCH_TIMEOUT_S, remote=True)

    def _has(self, sha: str) -> bool:
        return self.git("cat-file", "-e", sha, may_fail=True).status == 0

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
            access=self.access,
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
