"""Passes that are made on the dispatcher's machine: links for browsers, tokens for programs.

What belongs here: what `surveil login` and `up` need without a server of their own. What does not: what passes let
their holders do (`visitors`), and where links lead (`whereabouts`). Imports nothing of the web framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from surveil.answer.auditing import What
from surveil.answer.views import time_text
from surveil.client.access import person_here
from surveil.core.spelling import format_duration, quoted
from surveil.errors import InvalidError, NotFoundError, SurveilError
from surveil.net.known import FILE_NAME as WHEREABOUTS
from surveil.store.acts import FILE as BOOK
from surveil.store.acts import Act, open_book
from surveil.store.passes import Kind, Pass, Passes
from surveil.store.people import ANYBODY, Person
from surveil.store.sqlite import FILE as DATABASE
from surveil.store.sqlite import open_reader
from surveil.web.whereabouts import address_of

LINK_MS: Final = 15 * 60_000
COMMAND: Final = "command"


def make_pass(
    data: Path,
    kind: Kind,
    *,
    person: str,
    scope: str,
    now: int,
    lasts_ms: int,
    label: str = "",
    user: str | None = None,
) -> str:
    """The secret of a new pass for the dispatcher's folder `data`; with a `user` it allows what that person's roles do.

    Raises:
        InvalidError: the folder is not a dispatcher's, or nobody can have the pass.
        StoreError: it cannot be written.
    """
    if person == ANYBODY:
        raise InvalidError(f"`{ANYBODY}` stands for whoever comes with nothing, and so needs nothing to come in with.")
    with opened_passes(data) as passes:
        lasts = f"good for {format_duration(lasts_ms)}"
        note_here(data, What.PASS, f"a {kind} for {person}, who may {scope}", detail=lasts, now=now)
        return passes.issue(kind, person, scope, now=now, lasts_ms=lasts_ms, label=label, user=user)


def known_as(data: Path, person: str | None) -> str | None:
    """The name, if somebody is known by it. Raises as `make_pass` does."""
    if person is None:
        return None
    with opened_passes(data) as passes:
        return None if passes.people.find(person) is None else person


def passes_of(data: Path, *, now: int) -> list[Pass]:
    """The sessions and tokens that are still good. Raises as `make_pass` does."""
    with opened_passes(data) as passes:
        found = [each for kind in (Kind.SESSION, Kind.TOKEN) for each in passes.listed(kind)]
    return [each for each in found if each.ended_at is None and each.expires_at > now]


def end_pass(data: Path, pass_id: str, *, now: int) -> Pass:
    """End the session or token of this id, and return it.

    Raises:
        NotFoundError: there is none that is still good.
        InvalidError: the folder is not a dispatcher's.
        StoreError: it cannot be written.
    """
    found = next((each for each in passes_of(data, now=now) if each.id == pass_id), None)
    if found is None:
        raise no_pass(pass_id)
    with opened_passes(data) as passes:
        note_here(data, What.PASS_END, f"the {found.kind} {found.id} of {found.person}", now=now)
        passes.end(pass_id, now=now)
    return found


def no_pass(pass_id: str) -> NotFoundError:
    """What is said of a session or token that there is none of."""
    return NotFoundError(f"There is no session or token {quoted(pass_id)}; `surveil login --list` lists them.")


def pass_view(found: Pass) -> dict[str, Any]:
    """A session or token without its secret, which nobody has any more."""
    return {
        "id": found.id,
        "kind": found.kind.value,
        "person": found.person,
        "user": found.user,
        "scope": found.scope,
        "created_at": time_text(found.created_at),
        "seen_at": time_text(found.seen_at),
        "expires_at": time_text(found.expires_at),
    }


def person_view(found: Person) -> dict[str, Any]:
    """Somebody who is known, with their roles."""
    return {
        "name": found.name,
        "provider": found.provider,
        "issuer": found.issuer,
        "subject": found.subject,
        "roles": [{"repo": each.repo, "role": each.scope, "source": each.source or None} for each in found.roles],
        "created_at": time_text(found.created_at),
        "seen_at": time_text(found.seen_at),
    }


def note_here(data: Path, what: What, subject: str, *, detail: str = "", now: int) -> None:
    """Put an act of whoever types a command here into the book of this folder. Raises StoreError."""
    acts = open_book(data, now=now, expected=not (data / BOOK).exists() and _had_book(data))
    try:
        acts.write(Act(at=now, person=person_here(), way=COMMAND, what=what, subject=subject, detail=detail))
    finally:
        acts.close()


def _had_book(data: Path) -> bool:
    """Whether there was a book of acts before. A dispatcher makes it first of all, and then says where it is itself; in
    a copy it never did, but there it was started before.
    """
    if (data / WHEREABOUTS).exists():
        return True
    try:
        reader = open_reader(data)
    except SurveilError:
        return True  # Of an older version, or damaged: it is no new one in any case.
    try:
        return reader.cluster().epoch > 1
    finally:
        reader.close()


@contextmanager
def opened_passes(data: Path) -> Iterator[Passes]:
    """The passes and people of a dispatcher's folder. Raises InvalidError and StoreError."""
    if not (data / DATABASE).exists():
        raise InvalidError(f"{data} is not the folder of a dispatcher: name that with --data, on its machine.")
    passes = Passes(data)
    try:
        yield passes
    finally:
        passes.close()


def make_link(
    data: Path, *, person: str, scope: str, now: int, user: str | None = None, address: str | None = None
) -> str:
    """The address that signs a browser in once, below `address` or where the pages are. Raises as `make_pass` does."""
    secret = make_pass(data, Kind.LINK, person=person, scope=scope, now=now, lasts_ms=LINK_MS, user=user)
    return f"{address or address_of(data)}/login?key={secret}"
