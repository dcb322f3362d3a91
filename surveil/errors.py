"""The errors that surveil raises on purpose, split by whose fault they are.

What belongs here: exception classes whose text is one sentence for a person (what, where, why, what to type
next) and whose `exit_code` is the process's answer to a script. What does not: values that describe ordinary
bad news of a job (those are states), and bugs of our own (those are assertions).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's process ends with; scripts rely on these numbers."""

    OK = 0
    BUILD_FAILED = 1
    USAGE = 2
    INVALID = 3
    UNREACHABLE = 4
    NOT_ALLOWED = 5
    NOT_FOUND = 6
    INFRASTRUCTURE = 7
    CANCELLED = 8
    TIMED_OUT = 124
    INTERRUPTED = 130


class SurveilError(Exception):
    """Anything that surveil says to a person instead of a traceback; the parent of all the others."""

    exit_code: ExitCode = ExitCode.INFRASTRUCTURE
    blameless: bool = False
    """Whether an attempt that it ends would have met it on any machine."""


class UsageError(SurveilError):
    """The person's fault: what was typed cannot mean anything."""

    exit_code = ExitCode.USAGE


class InvalidError(SurveilError):
    """The author's fault: a configuration or pipeline file that cannot be used as it stands."""

    exit_code = ExitCode.INVALID


class UnreachableError(SurveilError):
    """The world's fault: no dispatcher answers at the address."""

    exit_code = ExitCode.UNREACHABLE


class NotAllowedError(SurveilError):
    """The asker's fault: the key or token is unknown, used up, expired, revoked or of the wrong role."""

    exit_code = ExitCode.NOT_ALLOWED


class NotFoundError(SurveilError):
    """The asker's fault: the build, job, runner or repository named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class InfrastructureError(SurveilError):
    """The machine's fault: a disk, a process, a port or a data folder that does not do its part. Or what was asked for
    is not there, and this machine is `blameless`.
    """

    exit_code = ExitCode.INFRASTRUCTURE

    def __init__(self, sentence: str, *, blameless: bool = False) -> None:
        super().__init__(sentence)
        self.blameless = blameless


class ProtocolError(SurveilError):
    """The peer's fault: bytes that are no message of this protocol. Caught at the edge, never further in."""


def error_of(sentence: str, exit_code: int) -> SurveilError:
    """The error whose exit code this is, with this sentence."""
    kinds: dict[int, type[SurveilError]] = {
        ExitCode.USAGE: UsageError,
        ExitCode.INVALID: InvalidError,
        ExitCode.UNREACHABLE: UnreachableError,
        ExitCode.NOT_ALLOWED: NotAllowedError,
        ExitCode.NOT_FOUND: NotFoundError,
    }
    return kinds.get(exit_code, InfrastructureError)(sentence)
