"""Who did what: which wishes are acts and what is said of each, and the question for them.

What belongs here: a wish to a line, a line to a document. What does not: how lines are kept (`surveil.store.acts`), and
what happens by itself, which stands in the journal.

No line holds the value of a secret, a token or a link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Protocol, assert_never

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    PackWish,
    RekeyWish,
    RemoveSecretWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SecretWish,
    SubmitWish,
    TokenWish,
    Wish,
)
from surveil.answer.arguments import Arguments
from surveil.answer.views import time_text
from surveil.core.events import ApprovalWanted, CancelWanted, UnholdWanted
from surveil.core.spelling import format_duration
from surveil.store.acts import BEGUN as BOOK_BEGUN
from surveil.store.acts import COPIED as BOOK_COPIED
from surveil.store.acts import Act

ACTS_MAX: Final = 500
"""Lines in one answer; the asker turns pages with `before`."""


class What(StrEnum):
    """What can be done, in one word each; programs filter by them."""

    SUBMIT = "submit"
    RETRY = "retry"
    CANCEL = "cancel"
    UNHOLD = "unhold"
    APPROVE = "approve"
    RUNNER = "runner"
    JOIN_TOKEN = "join-token"  # noqa: S105  # an act's name, not a secret
    JOIN_TOKEN_REVOKE = "join-token-revoke"  # noqa: S105  # the same
    PEER_REVOKE = "peer-revoke"
    BACKUP = "backup"
    SECRET_SET = "secret-set"  # noqa: S105  # the same
    SECRET_REMOVE = "secret-remove"  # noqa: S105  # the same
    SECRET_REKEY = "secret-rekey"  # noqa: S105  # the same
    PASS = "pass"  # noqa: S105  # the same
    PASS_END = "pass-end"  # noqa: S105  # the same
    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"
    USER = "user"
    USER_REMOVE = "user-remove"
    HOOK = "hook"
    HOOK_ALLOW = "hook-allow"
    HOOK_FORGET = "hook-forget"
    COPIED = BOOK_COPIED
    BEGUN = BOOK_BEGUN


class ActsRead(Protocol):
    """Where lines are found; `surveil.store.acts.Acts` is one."""

    def listed(self, *, person: str, what: str, since: int, before: int | None, limit: int) -> list[Act]:
        """The newest first."""


async def audit(about: Arguments, acts: ActsRead) -> Reply:
    """A page of lines, the newest first; one that is not full is the last."""
    person, what = about.text("person", ""), about.text("what", "")
    since = about.number("since", 0)
    before = about.number("before", least=1) if about.has("before") else None
    limit = about.number("limit", 100, least=1, most=ACTS_MAX)
    about.finish()
    found = await asyncio.to_thread(acts.listed, person=person, what=what, since=since, before=before, limit=limit)
    return Reply(body=[act_view(act) for act in found])


def act_view(act: Act) -> dict[str, Any]:
    """A line as a document."""
    return {
        "position": act.position,
        "at": time_text(act.at),
        "person": act.person or None,
        "client": act.client or None,
        "way": act.way,
        "what": act.what,
        "subject": act.subject,
        "detail": act.detail,
    }


def said_of(wish: Wish, about: Mapping[str, Any]) -> tuple[What, str, str] | None:
    """What is done, to what, and more about it; None for what changes nothing that anybody would ask for later.
    `about` are the arguments from which the wish was made.
    """
    match wish:
        case SubmitWish(commit=commit):
            return What.SUBMIT, f"{commit.repo} {commit.ref} {commit.sha}", ""
        case RetryWish(event=event):
            again = len(event.jobs) - len(event.carried)
            return What.RETRY, f"build {event.retry_of}", f"{again} of {len(event.jobs)} jobs"
        case JobsWish(event=event):
            return _of_jobs(event)
        case RunnerWish(event=event):
            return What.RUNNER, str(about["name"]), f"{event.order}: {event.reason}"
        case TokenWish():
            about_it = "; ".join(filter(None, (f"good for {format_duration(wish.expires_ms)}", ", ".join(wish.labels))))
            return What.JOIN_TOKEN, f"for {wish.uses} of role {wish.role}", about_it
        case RevokeTokenWish():
            return What.JOIN_TOKEN_REVOKE, wish.token, ""
        case RevokePeerWish(peer=peer):
            return What.PEER_REVOKE, f"{peer.role} {peer.name}", wish.reason
        case BackupWish():
            return What.BACKUP, wish.destination, ""
        case SecretWish():
            return What.SECRET_SET, wish.name, f"for {wish.scope}, {wish.source}"
        case RemoveSecretWish():
            return What.SECRET_REMOVE, wish.name, f"for {wish.scope}"
        case RekeyWish():
            return What.SECRET_REKEY, "", ""
        case LookWish() | PackWish():
            return None
        case _:
            assert_never(wish)


def _of_jobs(event: CancelWanted | UnholdWanted | ApprovalWanted) -> tuple[What, str, str]:
    subject = f"build {event.build}"
    match event:
        case ApprovalWanted():
            return What.APPROVE, subject, ""
        case CancelWanted() | UnholdWanted():
            what = What.CANCEL if isinstance(event, CancelWanted) else What.UNHOLD
            return what, f"{subject}: {', '.join(event.names)}" if event.names else subject, event.reason
        case _:
            assert_never(event)
