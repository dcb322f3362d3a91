"""What a commit holds, as far as starting a build needs it: who, what, and a few files of its root folder.

What belongs here: reading git's objects from the output of one `git cat-file --batch`. What does not: getting
the commit here (`mirror`), and what its files mean (`surveil.pipeline`).

Everything in a commit was written by strangers: bytes that are no text are replaced, lengths are cut, sizes
are checked before reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from surveil.frozen import dataclass

MESSAGE_CHARS_MAX: Final = 4000
AUTHOR_CHARS_MAX: Final = 200
ROOT_ENTRIES_MAX: Final = 10_000
"""So many names of a root folder are told; whatever is asked for is found among all of them."""
METADATA_BYTES_MAX: Final = 4 * 1024 * 1024
"""A commit object and a root tree together may have so many bytes; git itself sets no limit."""

_REGULAR: Final = (b"100644", b"100755", b"100664")
_SIZE: Final = re.compile(r"[0-9]{1,18}")
"""More digits than these are no size of anything, and Python refuses to read thousands of them."""
# Encodings that commits really name. Python knows many more, and some of those are programs rather than
# alphabets.
_ENCODINGS = re.compile(
    r"(?:iso-?8859-?\d+|latin-?\d|(?:windows-|cp)125\d|koi8-[ru]|shift[_-]?jis|sjis|euc-?\w\w|gb\w+|big5|cp\d+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as a build shows it.

    `root` are the first names in its root folder, sorted as git sorts them, and all that were asked for. `files` holds
    the regular files that were asked for and are there; `oversized` maps those that were too long to their size in
    bytes, and `odd` names those that are no regular file.
    """

    sha: str
    message: str
    author: str
    authored_at_s: int
    root: tuple[str, ...]
    files: Mapping[str, bytes]
    oversized: Mapping[str, int]
    odd: tuple[str, ...]


def requests(sha: str, names: Sequence[str]) -> bytes:
    """What `git cat-file --batch` is to be asked for, so that `read_commit` understands its answers."""
    lines = [f"{sha}^{{commit}}", f"{sha}^{{tree}}", *(f"{sha}:{name}" for name in names)]
    return "".join(line + "\n" for line in lines).encode()


def read_commit(answers: bytes, names: Sequence[str], file_bytes_max: int) -> Commit | None:
    """Read the answers to `requests`, whose end may be cut off. None when the commit or its tree is not
    there.
    """
    found = _objects(answers)
    commit, tree = next(found, None), next(found, None)
    if commit is None or tree is None or commit.body is None or tree.body is None:
        return None
    entries = dict(_entries(tree.body, len(commit.sha) // 2))
    files: dict[str, bytes] = {}
    oversized: dict[str, int] = {}
    for name, answer in zip(names, found, strict=False):
        if answer.kind != "blob" or entries.get(name.encode()) not in _REGULAR:
            continue
        if answer.size > file_bytes_max or answer.body is None:
            oversized[name] = answer.size
        else:
            files[name] = answer.body
    asked = {name.encode() for name in names}
    told = (name for at, name in enumerate(entries) if at < ROOT_ENTRIES_MAX or name in asked)
    odd = tuple(name for name in names if entries.get(name.encode(), _REGULAR[0]) not in _REGULAR)
    headers, message = _split(commit.body)
    author, authored_at_s = _author(headers)
    return Commit(
        sha=commit.sha,
        message=_text(message, headers).strip()[:MESSAGE_CHARS_MAX],
        author=_text(author, headers).strip()[:AUTHOR_CHARS_MAX],
        authored_at_s=authored_at_s,
        root=tuple(name.decode("utf-8", "backslashreplace") for name in told),
        files=files,
        oversized=oversized,
        odd=odd,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedFile:
    """A file of a commit; without a `body`, the `problem` of it, a clause."""

    path: str
    body: bytes | None = None
    problem: str = ""


def requests_for(sha: str, paths: Sequence[str]) -> bytes:
    """What `git cat-file --batch` is to be asked for files anywhere in a commit, each with its folder, which knows
    whether it is a link. The paths are a stranger's, and hold no line end.
    """
    lines = [f"{sha}:{name}" for path in paths for name in (path.rpartition("/")[0], path)]
    return "".join(line + "\n" for line in lines).encode()


def read_files(answers: bytes, sha: str, paths: Sequence[str], file_bytes_max: int) -> list[CommittedFile]:
    """Read the answers to `requests_for`, whose end may be cut off."""
    found = _objects(answers)
    return [_file(path, sha, next(found, None), next(found, None), file_bytes_max) for path in paths]


def _file(path: str, sha: str, folder: _Answer | None, file: _Answer | None, bytes_max: int) -> CommittedFile:
    if folder is None or file is None or "missing" in {folder.kind, file.kind}:
        unread = folder is None or file is None
        return CommittedFile(path=path, problem="could not be read" if unread else "is no file of this commit")
    if file.kind == "blob" and file.size > bytes_max:
        return CommittedFile(path=path, problem=f"has {file.size} bytes; at most {bytes_max} are allowed")
    modes = dict(_entries(folder.body or b"", len(sha) // 2))
    if file.kind != "blob" or modes.get(path.rpartition("/")[2].encode(), _REGULAR[0]) not in _REGULAR:
        return CommittedFile(path=path, problem="is a link or a folder; make it a regular file")
    if folder.body is None or file.body is None:
        return CommittedFile(path=path, problem="could not be read")
    return CommittedFile(path=path, body=file.body)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One object; without a body when the output was cut off before its end."""

    sha: str
    kind: str
    size: int
    body: bytes | None


def _objects(answers: bytes) -> Iterator[_Answer]:
    """The objects in the order in which they were asked for; one that is not there has kind "missing"."""
    at = 0
    while (end := answers.find(b"\n", at)) >= 0:
        words = answers[at:end].decode("utf-8", "replace").rsplit(" ", 2)
        at = end + 1
        if len(words) != len(("sha", "kind", "size")) or not _SIZE.fullmatch(words[2]):
            # "NAME missing", and for odd names "NAME ambiguous" or "dangling SIZE", after which the name
            # follows.
            yield _Answer("", "missing", 0, None)
            continue
        size = int(words[2])
        body = answers[at : at + size] if at + size <= len(answers) else None
        yield _Answer(words[0], words[1], size, body)
        at += size + 1


def _entries(tree: bytes, hash_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and mode of each entry of a tree object."""
    at = 0
    while (zero := tree.find(b"\0", at)) >= 0:
        mode, _, name = tree[at:zero].partition(b" ")
        yield name, mode
        at = zero + 1 + hash_bytes


def _split(commit: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The headers that matter, and the message. Continued lines (signatures) begin with a blank and are
    passed over.
    """
    head, _, message = commit.partition(b"\n\n")
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key in {b"author", b"encoding"}:
            headers.setdefault(key, value)
    return headers, message


def _author(headers: Mapping[bytes, bytes]) -> tuple[bytes, int]:
    """The author's name (or address, where there is no name) and the date in seconds since 1970; 0 where it
    makes no sense.
    """
    line = headers.get(b"author", b"")
    # Not by one regular expression: a line of nothing but `<` would take it time by the square of its length.
    name, opened, rest = line.partition(b"<")
    address, closed, date = rest.rpartition(b">")
    if not opened or not closed:
        return line, 0
    seconds = re.match(rb"\s*(-?[0-9]{1,15})", date)
    return name.strip() or address, int(seconds[1]) if seconds else 0


def _text(value: bytes, headers: Mapping[bytes, bytes]) -> str:
    named = headers.get(b"encoding", b"utf-8").decode("ascii", "replace").strip().lower()
    encoding = named if _ENCODINGS.fullmatch(named) else "utf-8"
    try:
        text = value.decode(encoding, "replace")
    except LookupError:
        text = value.decode("utf-8", "replace")
    # NUL is legal in a commit made by hand, and in hardly anything that would show or store it.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
