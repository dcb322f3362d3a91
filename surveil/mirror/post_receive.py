"""The hook of a repository on this machine that has it looked at after each push.

What belongs here: putting it into a repository and taking it out, with whatever hook was there before. What does not:
what it runs, which the caller says.

It comes into its place by one rename, so that no push ever finds half of it or none.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

from surveil.errors import InfrastructureError, InvalidError
from surveil.mirror.address import show
from surveil.mirror.local import LocalRepository

NAME: Final = "post-receive"
BEFORE: Final = "post-receive.before-surveil"
"""Where the hook that was there stays; ours runs it first."""
MARK: Final = "# Made by `surveil hook install`, and taken out by `surveil hook remove`."
_HOOK_BYTES_MAX: Final = 64 * 1024
_TEXT: Final = """#!/bin/sh
{mark}
# It has the repository looked at as soon as something was pushed. No push waits for that, or fails because of it.
ended=0
if [ -x "${{0%/*}}/{before}" ]; then
    "${{0%/*}}/{before}" "$@" || ended=$?
fi
{command} </dev/null >/dev/null 2>&1 &
exit "$ended"
"""


class Done(StrEnum):
    """What came of it, in words."""

    MADE = "made"
    CHANGED = "made anew, as it was another one of ours"
    KEPT = "there already, as it is to be"
    REMOVED = "removed"
    RESTORED = "removed; the hook that was there before is in its place again"
    ABSENT = "not there, so nothing was removed"
    BESIDE = "made; the hook that was there runs before it"


def install(repo: str, command: Sequence[str]) -> Done:
    """Have `command` run after each push to the repository at this path.

    Raises:
        MirrorError: it is no repository.
        InvalidError: its hooks are elsewhere, or two hooks are in the way.
        InfrastructureError: its folder cannot be written.
    """
    hook = _hook_of(repo)
    before = hook.with_name(BEFORE)
    text = _TEXT.format(mark=MARK, before=BEFORE, command=shlex.join(command)).encode()
    with _failures(hook):
        found = _read(hook)
        if found == text and os.access(hook, os.X_OK):
            return Done.KEPT
        done = Done.MADE if found is None else Done.CHANGED
        if found is not None and not _is_ours(found):
            if os.path.lexists(before):
                raise InvalidError(
                    f"Both {hook} and {before} are there, and neither is ours: decide which one is to run before ours, "
                    f"and leave it as {before.name} alone."
                )
            os.link(hook, before, follow_symlinks=False)
            done = Done.BESIDE
        hook.parent.mkdir(exist_ok=True)
        made = hook.with_name(f".{NAME}.{os.getpid()}")
        try:
            made.write_bytes(text)
            made.chmod(0o755)
            made.replace(hook)
        finally:
            made.unlink(missing_ok=True)
    return done


def remove(repo: str) -> Done:
    """Take our hook out, and put back what was there before it. Raises as `install` does."""
    hook = _hook_of(repo)
    before = hook.with_name(BEFORE)
    with _failures(hook):
        found = _read(hook)
        if found is None or not _is_ours(found):
            return Done.ABSENT
        if os.path.lexists(before):
            before.replace(hook)
            return Done.RESTORED
        hook.unlink()
    return Done.REMOVED


def _hook_of(repo: str) -> Path:
    common = Path(LocalRepository(repo).layout().common)
    with suppress(OSError):
        config = (common / "config").read_bytes()
        if b"hookspath" in config.lower():
            raise InvalidError(
                f"The configuration of {show(repo)} names another folder for hooks (`core.hooksPath`): put a line "
                f"there that types `surveil look {show(repo)}`."
            )
    return common / "hooks" / NAME


def _read(hook: Path) -> bytes | None:
    """The hook's text; None where there is none."""
    try:
        with hook.open("rb") as file:
            return file.read(_HOOK_BYTES_MAX)
    except FileNotFoundError:
        # A link that leads nowhere is a hook that somebody may mend.
        return b"" if hook.is_symlink() else None


def _is_ours(text: bytes) -> bool:
    return MARK.encode() in text.splitlines()


@contextmanager
def _failures(hook: Path) -> Iterator[None]:
    """Say what could not be written."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(
            f"The hook {hook} cannot be written ({error.strerror}): type the command as whoever owns the repository."
        ) from error
