"""What came to a dispatcher and should not have, in plain words: at its ports, and from peers that it knows.

What belongs here: words. What does not: what is counted, and when (`surveil.net`), and where it is shown (`reading`,
`doctor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

TROUBLES: Final = {
    "foreign": "connections that do not speak surveil's protocol",
    "handshakes_failed": "handshakes that were broken off or too slow",
    "handshakes_refused": "handshakes by keys that are unknown or revoked",
    "handshakes_broken": "handshakes that the dispatcher failed to judge, which is its own defect",
    "accept_failed": "connections for which the dispatcher had no room",
    "zap_restarts": "spans in which nobody could be let in until the dispatcher noticed, which is its own defect",
    "malformed": "messages that cannot be read",
    "denied": "messages that their sender may not say",
    "too_large": "messages that were too large to be sent, which is a defect of the dispatcher",
    "unanswered": "questions that the dispatcher failed to answer, which is its own defect",
    "endless": "messages without an end",
    "crowded": "connections that were one too many of their key, or of those that never say a word",
    "unread": "messages to a peer for which too much waits already that it does not read",
}
"""What there may be at the ports."""
DID: Final = {
    "may_not_say": "messages that its role may not say",
    "malformed": "messages that cannot be read",
    "endless_messages": "messages without an end",
    "connections_too_many": "connections more than one key may have",
    "answers_not_read": "messages to it while too much waited already that it did not read",
    "hellos_too_often": "introductions more than one key may make at once",
    "attempts_not_its_own": "words about attempts that are not its own",
    "output_refused": "pieces of logs that are not its own or not in their place",
    "commits_not_its_business": "questions for commits that are none of its business",
    "labels_not_granted": "introductions with labels that its token did not grant",
    "tokens_refused": "tokens that are worth nothing",
    "hellos_refused": "introductions by a copy of its data folder, or as of another installation",
}
"""What a peer may have done that it should not have."""


def trouble_words(*, trouble: str, count: int, last_from: str | None) -> str:
    """What came to the ports and should not have, since the dispatcher's start."""
    return f"{TROUBLES.get(trouble, trouble)}: {count}{f', the last from {last_from}' if last_from else ''}"


def peer_words(*, peer: str | None, role: str, **_: object) -> str:
    """Who it was; strangers have no names."""
    return f"{role} {peer}" if peer else f"a {role}"


def did_words(did: Mapping[str, int]) -> str:
    """What a peer did since the dispatcher's start."""
    return ", ".join(f"{DID.get(what, what)}: {count}" for what, count in did.items())


def all_troubles(troubles: Iterable[Mapping[str, Any]]) -> str:
    """All that came to the ports, in one line."""
    return "; ".join(trouble_words(**trouble) for trouble in troubles)
