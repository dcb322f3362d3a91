"""Why git could not do what was asked: kinds for the program, sentences for people.

What belongs here: what a finished call left behind, and reading git's complaints, which are made for people and change
with its versions; so an unknown complaint is FAILED, and nothing worse. What does not: running git (`command`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from surveil.errors import ExitCode, InfrastructureError
from surveil.frozen import dataclass
from surveil.mirror.address import show


class Trouble(StrEnum):
    """Why git could not do what was asked, as far as the reason changes what anybody does next."""

    UNREACHABLE = "unreachable"
    NOT_A_REPOSITORY = "not a repository"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    MISSING = "missing"
    CORRUPT = "corrupt"
    GARBLED = "garbled"
    TOO_LARGE = "too large"
    NO_GIT = "no git"
    NO_SPACE = "no space"
    NOT_A_COMMIT = "not a commit"
    HALTED = "halted"
    FAILED = "failed"


_ASIDE: Final = re.compile(
    r"(?:remote: *)?(?:(?:hint|warning)\b|(?:Enumerating|Counting|Compressing|Receiving|Finding) |Total \d|.*\d% \()"
)
"""Words of git beside the matter: advice, and progress."""
_NOT_THERE: Final = frozenset({Trouble.NOT_A_REPOSITORY, Trouble.MISSING})
"""What was named does not exist, which a script should tell from a machine that does not do its part."""


class MirrorError(InfrastructureError):
    """A repository could not be read. `trouble` is the kind of reason; the text is a sentence for people."""

    def __init__(self, sentence: str, trouble: Trouble = Trouble.FAILED) -> None:
        super().__init__(sentence)
        self.trouble = trouble
        if trouble in _NOT_THERE:
            self.exit_code = ExitCode.NOT_FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a call left: its exit status, its output, and the last lines of what it complained about."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line of stderr that says most."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        lines = [line for line in lines if not _ASIDE.match(line)] or lines
        telling = [
            line for line in lines if re.match(r"(fatal|error|ssh|remote|ERROR)\b", line) and "early EOF" not in line
        ]
        return show((telling or lines or [f"git ended with status {self.status}"])[0])


def failure(output: Output, about: str) -> MirrorError:
    """The error that a failed call means: its kind from what git wrote, its sentence from the line that says
    most.
    """
    trouble = trouble_of(output)
    advice = _ADVICE.get(trouble, "")
    complaint = output.complaint.rstrip(".")
    end = "" if complaint.endswith("?") else "."
    return MirrorError(f"{show(about)}: {complaint}{end}{advice and ' ' + advice}", trouble)


def trouble_of(output: Output) -> Trouble:
    """The kind of a failed call, from what git wrote."""
    return next((kind for pattern, kind in _SIGNS if re.search(pattern, output.stderr, re.IGNORECASE)), Trouble.FAILED)


_SIGNS: Final = tuple(
    ("|".join(patterns), kind)
    for kind, patterns in {
        Trouble.NO_SPACE: ("no space left on device", "disk quota exceeded"),
        Trouble.CORRUPT: (
            "is empty$",
            "is corrupt",
            "corrupt (loose|patch|pack)",
            "inflate: ",
            "unable to unpack",
            "bad (tree|object|pack)",
            "packfile .* (cannot|does not)",
            "missing (blob|tree|commit)",
            "unable to read (tree|sha1|[0-9a-f]{40})",
            "failed to unpack tree object",
            "did not send all necessary objects",
            "fsck error",
            "garbage at end",
            "hash mismatch",
            "unable to parse (object|commit)",
            "could not parse object",
            "bogus commit object",
            r"object [0-9a-f]{40,64} is a \w+, not a",
        ),
        Trouble.NOT_A_COMMIT: ("expected commit type", "expected tree type"),
        Trouble.MISSING: (
            "not our ref",
            "unadvertised object",
            "couldn't find remote ref",
            "no such remote ref",
            "bad revision",
            "not a valid object name",
            "not a valid commit",
            "unknown revision",
        ),
        Trouble.REFUSED: (
            "authentication failed",
            "permission denied",
            "access denied",
            "could not read (username|password)",
            "terminal prompts disabled",
            "host key verification failed",
            "HTTP 40[13]",
            "returned error: 40[13]",
            "access or permission",
        ),
        Trouble.NOT_A_REPOSITORY: (
            "not a git repository",
            "does not appear to be a git repo",
            "is this a git repository",
            "repository .*not found",
            "not exported",
            "returned error: 404",
        ),
        Trouble.UNREACHABLE: (
            "could not resolve",
            "unable to look up",
            "connection (refused|reset|timed out|closed)",
            "timed out",
            "unable to connect",
            "failed to connect",
            "no route",
            "unable to access",
            "unexpected disconnect",
            "the remote end hung up",
            "early EOF",
            r"returned error: (429|5\d\d)",
        ),
    }.items()
)
"""They are compiled when a call fails, which in most processes none does."""

_ADVICE: Final = {
    Trouble.NO_SPACE: "Make room on this machine's disk; type `df -h` to see how much there is.",
    Trouble.REFUSED: "Check the address, and that this user may read it (ssh key, known host).",
    Trouble.NOT_A_REPOSITORY: "Check the path or address with `git ls-remote`.",
}
