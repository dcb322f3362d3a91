"""A commit with its history and its tags in one file, to be carried to a machine that cannot fetch it.

What belongs here: making such a file from one mirror and taking it into another, in git's own bundle format. What
does not: how it is carried (`hands.supplying` and `execute.transfer.supply`), and who may have it (`hands.relay`).

Whoever takes one believes nothing of it. Git names every object by its content and checks each as after a fetch, and a
commit counts only when all that it needs is there.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Final

from surveil.mirror.command import FETCH_TIMEOUT_S, OUTPUT_BYTES_MAX
from surveil.mirror.local import LocalRepository
from surveil.mirror.mirror import FSCK_IGNORED, Mirror
from surveil.mirror.refs import SHA, SHA256_DIGITS, check_sha, is_ref, kept_ref, ref_bytes
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import HAVE_MAX

BUNDLE_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
TAGS_MAX: Final = 2_000
"""The nearest ones in the commit's history; what derives a version from tags looks no further."""
HEADER_BYTES_MAX: Final = 4 * 1024 * 1024
_HEADS: Final = {"sha1": b"# v2 git bundle\n", "sha256": b"# v3 git bundle\n@object-format=sha256\n"}
_COMMIT_REF: Final = b"refs/surveil/commit"
# Packs are made beside whatever else this machine does.
_PACKING: Final = ("-c", "pack.threads=2", "-c", "pack.windowMemory=128m", "-c", "pack.deltaCacheSize=64m")
_OURS: Final = frozenset({Trouble.HALTED, Trouble.TIMEOUT, Trouble.NO_GIT, Trouble.NO_SPACE})
"""Troubles of this machine, not of what it was given."""
_STRICT: Final = "--strict=" + ",".join(f"{name}=ignore" for name in FSCK_IGNORED)


def make_bundle(mirror: Mirror, sha: str, have: Sequence[str], sink: io.BufferedRandom) -> int:
    """Write what somebody who has all of `have` lacks of commit `sha`; returns how many bytes that are. Blocks.

    What of `have` is not known here is passed over. Raises MirrorError, with a sentence for whoever wanted the commit.
    """
    check_sha(sha)
    mirror.fetch(sha)
    _refuse_shallow(mirror)
    with mirror.folder.disk(), mirror.folder.using():
        known = _commits(mirror, have)
        tags = _tags_behind(mirror, sha)
        sink.write(_HEADS[_object_format(sha)])
        sink.writelines(f"-{commit} \n".encode() for commit in known)
        sink.write(sha.encode() + b" " + _COMMIT_REF + b"\n")
        sink.writelines(tag.encode() + b" " + ref_bytes(name) + b"\n" for name, tag in tags.items())
        sink.write(b"\n")
        with _lines([sha, *tags.values(), *(f"^{commit}" for commit in known)]) as asked:
            mirror.git(
                *("pack-objects", "--revs", "--thin", "--delta-base-offset", "--stdout", "--quiet"),
                options=_PACKING,
                stdin=asked,
                sink=sink,
                timeout_s=FETCH_TIMEOUT_S,
                output_bytes_max=BUNDLE_BYTES_MAX,
            )
        sink.flush()
        return sink.tell()


def take_bundle(mirror: Mirror, sha: str, file: IO[bytes], ref: str | None = None) -> None:
    """Take what `make_bundle` wrote into a mirror, for commit `sha` of `ref`. Blocks.

    Raises:
        MirrorError: of kind CORRUPT when the file does not make the commit whole, or git objects to something in it.
    """
    check_sha(sha)
    with mirror.folder.disk():
        tags, start = _read_header(file, sha)
        with mirror.folder.lock_fetch():
            mirror.folder.ensure(_object_format(sha), _borrowed(mirror))
            with mirror.folder.using():
                mirror.folder.remove_stale_locks()
                os.lseek(file.fileno(), start, os.SEEK_SET)
                _index(mirror, sha, file)
                lack = _lack(mirror, sha)
                if not lack:
                    _set_refs(mirror, {kept_ref(sha, ref): sha})
                    _take_tags(mirror, tags)
    if lack:
        # What is in a mirror counts as whole, so nothing of this may stay.
        mirror.folder.discard()
        raise MirrorError(f"What was supplied of commit {sha} is not whole: {lack}.", Trouble.CORRUPT)


def tips(mirror: Mirror) -> tuple[str, ...]:
    """Commits that the mirror has with all their history, the latest fetched first; at most HAVE_MAX."""
    with mirror.folder.disk(), mirror.folder.using():
        kept = sorted((mirror.path / "refs" / "surveil").glob("*"), key=_mtime_ns, reverse=True)
        shas = (path.read_text(encoding="ascii", errors="replace").strip() for path in kept[:HAVE_MAX])
        return tuple(dict.fromkeys(sha for sha in shas if SHA.fullmatch(sha)))


# ---- making ----


def _refuse_shallow(mirror: Mirror) -> None:
    if mirror.address.is_local:
        shallow = Path(LocalRepository(mirror.address.key).layout().common, "shallow")
        if shallow.exists() and shallow.stat().st_size:
            raise MirrorError(
                f"{mirror.address.key} is a shallow clone, from which no commit can be handed on: "
                "type `git fetch --unshallow` there."
            )


def _commits(mirror: Mirror, shas: Sequence[str]) -> list[str]:
    """Those of the objects that are commits here."""
    with _lines([check_sha(sha) for sha in shas]) as asked:
        answers = mirror.git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked).stdout.decode()
    return [line.removesuffix(" commit") for line in answers.splitlines() if line.endswith(" commit")]


def _tags_behind(mirror: Mirror, sha: str) -> dict[str, str]:
    """The tags of the commit and of its history, the nearest first."""
    tags = mirror.tags()
    if not tags:
        return {}
    with _lines([f"{tag}^{{commit}}" for tag in tags.values()]) as asked:
        answers = mirror.git(
            "cat-file", "--batch-check=%(objectname)", stdin=asked, output_bytes_max=OUTPUT_BYTES_MAX
        ).stdout.splitlines()
    history = mirror.git("rev-list", sha, output_bytes_max=OUTPUT_BYTES_MAX, cut=True).stdout.splitlines()
    place = {commit: at for at, commit in enumerate(history)}
    peeled = zip(answers, tags.items(), strict=False)
    near = sorted((place[commit], name, tag) for commit, (name, tag) in peeled if commit in place)
    return {name: tag for _, name, tag in near[:TAGS_MAX]}


# ---- taking ----


def _read_header(file: IO[bytes], sha: str) -> tuple[dict[str, str], int]:
    """The tags that a bundle brings, and where its pack begins."""
    file.seek(0)
    head = file.read(HEADER_BYTES_MAX)
    signature = _HEADS[_object_format(sha)]
    end = head.find(b"\n\n")
    refs: dict[bytes, str] = {}
    for line in head[len(signature) : end].split(b"\n"):
        value, _, name = line.partition(b" ")
        if not line.startswith(b"-") and SHA.fullmatch(value.decode("ascii", "replace")) and is_ref(name):
            refs[name] = value.decode("ascii")
    if end < 0 or not head.startswith(signature) or refs.pop(_COMMIT_REF, "") != sha:
        raise MirrorError(f"What was supplied is no bundle of commit {sha}.", Trouble.CORRUPT)
    tags = {os.fsdecode(name): value for name, value in refs.items() if name.startswith(b"refs/tags/")}
    return tags, end + len(b"\n\n")


def _borrowed(mirror: Mirror) -> Path | None:
    """The objects of a repository on this machine, which lacks the commit but may have all the others."""
    if not mirror.address.is_local:
        return None
    try:
        return Path(LocalRepository(mirror.address.key).layout().common, "objects")
    except MirrorError:
        return None  # The path is another machine's.


def _index(mirror: Mirror, sha: str, file: IO[bytes]) -> None:
    """Take a pack from the file's present place on; all of it, or nothing where git objects."""
    argv = ("index-pack", "--stdin", "--fix-thin", _STRICT, f"--max-input-size={BUNDLE_BYTES_MAX}")
    try:
        mirror.git(*argv, stdin=file, timeout_s=FETCH_TIMEOUT_S)
    except MirrorError as problem:
        if problem.trouble in _OURS:
            raise
        raise MirrorError(f"What was supplied of commit {sha} is refused: {problem}", Trouble.CORRUPT) from problem


def _lack(mirror: Mirror, sha: str) -> str:
    """What of the commit is missing, in git's words; a checkout would find that out too late."""
    argv = ("rev-list", "--objects", "--quiet", sha, "--not", "--all")
    output = mirror.git(*argv, timeout_s=FETCH_TIMEOUT_S, may_fail=True)
    return output.complaint.rstrip(".") if output.status else ""


def _take_tags(mirror: Mirror, tags: dict[str, str]) -> None:
    try:
        _set_refs(mirror, tags)
    except MirrorError:
        # A tag `v1/a` cannot stand beside an older `v1`. What was supplied last is how things are now.
        _set_refs(mirror, {os.fsdecode(ref_bytes(name)): "" for name in mirror.tags()})
        _set_refs(mirror, tags)


def _set_refs(mirror: Mirror, refs: dict[str, str]) -> None:
    """Set refs of the mirror, or delete those without a value; all or none."""
    with _lines([f"update {name} {sha}" if sha else f"delete {name}" for name, sha in refs.items()]) as asked:
        mirror.git("update-ref", "--stdin", stdin=asked)


# ---- both ----


def _object_format(sha: str) -> str:
    return "sha256" if len(sha) == SHA256_DIGITS else "sha1"


def _mtime_ns(path: Path) -> int:
    return path.stat().st_mtime_ns


def _lines(lines: Iterable[str]) -> IO[bytes]:
    """A file for git to read from, that needs no room on any disk."""
    file = open(os.memfd_create("asked"), "w+b")  # noqa: PTH123, SIM115 - a descriptor, closed by whoever asks
    file.write(b"".join(os.fsencode(line) + b"\n" for line in lines))
    file.seek(0)
    return file
