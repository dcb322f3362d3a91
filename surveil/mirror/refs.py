r"""Refs: what their names may be, and which ones a repository has.

What belongs here: the form in which refs travel through surveil, and asking a remote for them. What does not:
reading them from a local repository's files (`local`), and which of them matter (`core.observe`).

Git's ref names are bytes; ours are text. A byte that is not UTF-8 is written `\xNN`. That can be undone
without doubt, because git forbids backslashes in ref names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from surveil.frozen import dataclass
from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address, show
from surveil.mirror.command import REMOTE_TIMEOUT_S, Halt, run
from surveil.mirror.trouble import MirrorError, Trouble

REFS_MAX: Final = 200_000
SHA256_DIGITS: Final = 64
REF_BYTES_MAX: Final = 500
"""Longer names are left out: with its escapes and an address beside it, a name must fit in a text of 4096
characters.
"""

WATCHED_PREFIXES: Final = ("refs/heads/*", "refs/tags/*")
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
# What `git check-ref-format` refuses: control characters, blanks, ~^:?*[\, `..`, `@{`, `//`, and components
# that start with a dot or end with `.lock` or a dot.
_BAD_NAME = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\./|[/.]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefList:
    """All refs of a repository at one moment.

    `head` is the ref that HEAD names, even where no commit is there yet; None when HEAD is detached.
    `head_sha` is HEAD's object, None when there is none. `refs` maps each name to the object it holds: the
    tag object, for an annotated tag.
    """

    head: str | None
    head_sha: str | None
    refs: Mapping[str, str]


def ref_text(name: bytes) -> str:
    """A ref's name as text; see the module's first lines."""
    return name.decode("utf-8", "backslashreplace")


def ref_bytes(name: str) -> bytes:
    """The bytes that `ref_text` made this name from; of any other text, some bytes that name nothing."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), name.encode("utf-8", "surrogatepass"))


def is_ref(name: bytes) -> bool:
    """Whether git would take this as a full ref name, and we as one that fits in our messages."""
    return name.startswith(b"refs/") and len(name) <= REF_BYTES_MAX and not _BAD_NAME.search(name)


def check_sha(sha: str) -> str:
    """The same text, if it is a whole object name in lower case; otherwise MirrorError. Keeps options and
    ranges out of git's arguments.
    """
    if not SHA.fullmatch(sha):
        raise MirrorError(f"{show(sha)} is not a commit's full name of 40 or 64 hexadecimal digits.", Trouble.MISSING)
    return sha


def check_ref(ref: str) -> bytes:
    """The bytes of a full ref name; MirrorError if it is not one."""
    name = ref_bytes(ref)
    if not is_ref(name):
        raise MirrorError(f"{show(ref)} is not the full name of a ref, like refs/heads/main.", Trouble.MISSING)
    return name


def kept_ref(sha: str, ref: str | None) -> str:
    """A mirror's own ref that keeps what was fetched of `ref`.

    One flat name for each: branches `a` and `a/b` may follow each other, folders of refs would not let them.
    """
    return "refs/surveil/" + hashlib.sha256((ref or sha).encode()).hexdigest()[:20]


def list_remote(
    address: Address,
    prefixes: tuple[str, ...] = WATCHED_PREFIXES,
    halt: Halt | None = None,
    access: Access = NO_ACCESS,
) -> bytes:
    """Ask a remote for its HEAD and the refs that match `prefixes`; the answer is for `parse_remote`. Blocks, at most
    REMOTE_TIMEOUT_S. Raises MirrorError.
    """
    argv = ["ls-remote", "--symref", "--end-of-options", address.url, "HEAD", *prefixes]
    return run(*argv, about=address.key, address=address, access=access, timeout_s=REMOTE_TIMEOUT_S, halt=halt).stdout


def parse_remote(listing: bytes, about: str) -> RefList:
    """Read what `git ls-remote --symref` prints. Lines that are no ref are left out; more than REFS_MAX refs
    are an error.
    """
    head: str | None = None
    head_sha: str | None = None
    refs: dict[str, str] = {}
    for line in listing.split(b"\n"):
        left, tab, name = line.partition(b"\t")
        if not tab or name.endswith(b"^{}"):
            continue
        if name == b"HEAD":
            if left.startswith(b"ref: ") and is_ref(left[5:]):
                head = ref_text(left[5:])
            elif SHA.fullmatch(left.decode("ascii", "replace")):
                head_sha = left.decode("ascii")
        elif is_ref(name) and SHA.fullmatch(left.decode("ascii", "replace")):
            refs[ref_text(name)] = left.decode("ascii")
            if len(refs) > REFS_MAX:
                raise MirrorError(
                    f"{show(about)} has more than {REFS_MAX} refs; watch fewer with --ref.", Trouble.TOO_LARGE
                )
    return RefList(head=head, head_sha=head_sha, refs=refs)
