"""Who is asking, and what they may do.

What belongs here: reading a request for its pass, and refusing what its pass does not allow or what its page did not
mean. What does not: how passes are kept (`surveil.store.passes`).

A program shows a token in `Authorization: Bearer`; a browser has a session's cookie. What a browser sends by itself
proves only where it comes from, so a change by cookie must also come from one of our own pages: the browser says so
(`Sec-Fetch-Site`, `Origin`), and the page shows a word that no other site can read. A token needs neither.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from surveil.answer.auditing import What
from surveil.core.spelling import quoted
from surveil.errors import NotAllowedError, NotFoundError
from surveil.frozen import dataclass
from surveil.store.acts import Act, Acts
from surveil.store.passes import Kind, Pass, Passes
from surveil.store.people import ANYBODY, Person, Role, checked, roles_text
from surveil.web import behalf
from surveil.web.providers.rules import Arrival
from surveil.web.recognised import Recognised
from surveil.web.rights import Rights, Scope, rights_of
from surveil.web.root import root_of

COOKIE: Final = "surveil"
SECURE_COOKIE: Final = "__Host-surveil"
"""Browsers take it over https only, for this host only, and for all of it."""
SECURE_COOKIE_BELOW: Final = "__Secure-surveil"
"""Over https only; for pages below a prefix, whose cookie should not be shown to their neighbours."""
CSRF_HEADER: Final = "x-surveil-csrf"
CSRF_FIELD: Final = "csrf"
KNOWN: Final = "known"
"""In a request's state, once it has shown a pass that is good, what tells that one from others (`told_by`): those who
count requests come before us.
"""
SESSION_MS: Final = 30 * 24 * 3_600_000
_FOREIGN: Final = "This change does not come from a page of this server: load the page again, and repeat."
_CALLED_CHARACTERS_MAX: Final = 60
_SIGN_IN: Final = "Sign in first: `surveil login` on the dispatcher's machine prints a link."


class UnknownVisitor(NotAllowedError):
    """Nobody we know: a pass is missing, or is good no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whoever asks, as their pass and their roles say. `csrf` is the word that pages of a session show; programs have
    none. `user` is the name under which they are known; who came by a pass of the dispatcher's machine alone has none.
    Whoever comes with nothing has no `pass_id`.
    """

    person: str
    rights: Rights
    pass_id: str
    csrf: str | None
    user: str | None

    @property
    def scope(self) -> Scope:
        """What they may do with at least one repository."""
        return self.rights.most

    def may(self, word: str, repo: str | None = None) -> bool:
        """Whether they may do what a scope's word says with a repository, or everywhere; for pages."""
        have = self.rights.everywhere if repo is None else self.rights.at(repo)
        return have >= Scope[word.upper()]

    def require(self, scope: Scope, repo: str | None = None) -> None:
        """Raise NotAllowedError unless they may do this with a repository, or everywhere."""
        self._require(scope, self.rights.everywhere if repo is None else self.rights.at(repo), where="here")

    def require_some(self, scope: Scope) -> None:
        """Raise NotAllowedError unless they may do this with at least one repository; which, is seen to later."""
        self._require(scope, self.rights.most, where="anywhere")

    def require_known(self) -> None:
        """Raise UnknownVisitor for who came with nothing."""
        if not self.pass_id:
            raise UnknownVisitor(_SIGN_IN)

    def _require(self, scope: Scope, have: Scope, *, where: str) -> None:
        if have >= scope:
            return
        self.require_known()
        may = f"may only `{have.word}`" if have else f"may do nothing {where}"
        raise NotAllowedError(
            f"This takes the right to `{scope.word}`, and {self.person} {may}: ask an administrator for a role "
            "(`surveil user role`), or for a token or a link with that scope (`surveil login --scope` makes one)."
        )


class Door:
    """Lets visitors in, and notes who came. `now` is the present instant in milliseconds since 1970."""

    def __init__(self, passes: Passes, acts: Acts, now: Callable[[], int]) -> None:
        self._passes = passes
        self._acts = acts
        self.now = self._now = now
        self._recognised = Recognised()

    def recognised(self, request: HTTPConnection) -> Visitor | None:
        """Whoever sends this request, if they were let in before and nothing was changed since; others are looked up
        (`visitor`).
        """
        kind, secret = shown_by(request)
        now, mark = self._now(), self._passes.mark()
        found = self._recognised.find(kind, secret, mark=mark, now=now) if secret else None
        if found is not None:
            self._let_in(request, found, secret)
        return found

    async def visitor(self, request: HTTPConnection) -> Visitor:
        """Whoever sends this request; who comes with nothing may see what is public.

        Raises:
            UnknownVisitor: nobody with a good pass, and nothing is public.
            NotAllowedError: somebody without any role.
        """
        kind, secret = shown_by(request)
        found = await (self._known(kind, secret) if kind is Kind.TOKEN else self._in_browser(secret))
        self._let_in(request, found, secret)
        return found

    @staticmethod
    def _let_in(request: HTTPConnection, visitor: Visitor, secret: str) -> None:
        if visitor.pass_id:
            request.scope.setdefault("state", {})[KNOWN] = told_by(secret)
        behalf.remember(visitor.person, behalf.way_of(request, in_browser=visitor.csrf is not None))

    async def _in_browser(self, session: str) -> Visitor:
        """Whoever has this session; who has none may see what is public. Raises UnknownVisitor."""
        try:
            if not session:
                raise UnknownVisitor(_SIGN_IN)
            return await self._known(Kind.SESSION, session)
        except UnknownVisitor:
            public = await asyncio.to_thread(self._passes.people.find, ANYBODY)
            if public is None or not public.roles:
                raise
            rights = rights_of(public.roles, Scope.READ)
            return Visitor(person=ANYBODY, rights=rights, pass_id="", csrf=None, user=ANYBODY)

    async def enter(self, link: str) -> tuple[str, Pass] | None:
        """A new session for whoever has a link that is still good: its secret, and what it was made from."""
        now = self._now()
        shown = await asyncio.to_thread(self._passes.admit, Kind.LINK, link, now=now)
        if shown is None:
            return None
        await self._note(What.SIGN_IN, shown.person, f"may {shown.scope}", behalf.PAGE)
        return await asyncio.to_thread(self._passes.exchange, link, now=now, lasts_ms=SESSION_MS)

    async def arrive(self, who: Arrival) -> str:
        """The secret of a new session for somebody who signed in at a provider.

        Raises:
            NotAllowedError: nobody gave them a role.
        """
        now, rule = self._now(), who.rule
        person = await asyncio.to_thread(
            self._passes.people.arrive, rule.name, who.subject, who.called, who.roles, issuer=rule.issuer, now=now,
            trusts_name=rule.trust_names,
        )  # fmt: skip
        if person is None:
            called = quoted(who.called[:_CALLED_CHARACTERS_MAX])
            raise NotAllowedError(
                f"{rule.title} says that you are {called} ({quoted(who.subject)}), and nobody gave you a role here: "
                "show this to an administrator."
            )
        await self._note(What.SIGN_IN, person.name, f"at {rule.name}", behalf.PAGE)
        return await asyncio.to_thread(
            self._passes.issue, Kind.SESSION, person.name, Scope.ADMIN.word, now=now, lasts_ms=rule.lasts_ms,
            user=person.name,
        )  # fmt: skip

    async def leave(self, visitor: Visitor) -> None:
        """End the session or token that they came in with."""
        await self._note(What.SIGN_OUT, visitor.person, "", behalf.PAGE)
        await asyncio.to_thread(self._passes.end, visitor.pass_id, now=self._now())

    async def passes_of(self, visitor: Visitor) -> list[Pass]:
        """The sessions and tokens that are still good: a visitor's own, and an administrator's are everybody's."""
        found = [
            each for kind in (Kind.SESSION, Kind.TOKEN) for each in await asyncio.to_thread(self._passes.listed, kind)
        ]
        now = self._now()
        good = [each for each in found if each.ended_at is None and each.expires_at > now]
        mine = (visitor.person, visitor.user)
        return [each for each in good if visitor.may("admin") or (each.person, each.user) == mine]

    async def people(self) -> list[Person]:
        """Everybody who is known."""
        return await asyncio.to_thread(self._passes.people.listed)

    async def put_person(
        self, visitor: Visitor, name: str, roles: Sequence[Role], *, new: bool = False,
        was: Sequence[Role] | None = None,
    ) -> Person:  # fmt: skip
        """Know somebody, with these roles in place of those before; with `new`, only if nobody is known so, and with
        `was`, only if somebody is and those before are these. Raises InvalidError, and UsageError where it is
        otherwise.
        """
        checked(name, roles)
        # Looked at before as well, so that no line says of somebody what is not done.
        await asyncio.to_thread(self._passes.people.see, name, roles, new=new, was=was)
        await self._note(What.USER, visitor.person, roles_text(name, roles), _way(visitor))
        return await asyncio.to_thread(self._passes.people.put, name, roles, now=self._now(), new=new, was=was)

    async def forget_person(self, visitor: Visitor, name: str) -> int:
        """Know somebody no more, and end all that they came in with; how many of these were good. Raises
        NotFoundError.
        """
        await self._note(What.USER_REMOVE, visitor.person, name, _way(visitor))
        return await asyncio.to_thread(self._passes.forget, name, now=self._now())

    async def end(self, visitor: Visitor, pass_id: str) -> None:
        """End one of these.

        Raises:
            NotFoundError: they have none with this id.
        """
        meant = next((each for each in await self.passes_of(visitor) if each.id == pass_id), None)
        if meant is None:
            raise NotFoundError(f"There is no session or token {pass_id[:20]!r} of yours that could be ended.")
        subject = f"the {meant.kind} {meant.id} of {meant.person}"
        await self._note(What.PASS_END, visitor.person, subject, _way(visitor))
        await asyncio.to_thread(self._passes.end, pass_id, now=self._now())

    async def note(self, visitor: Visitor, what: What, subject: str, *, detail: str = "") -> None:
        """Write down what a visitor is about to do."""
        await self._note(what, visitor.person, subject, _way(visitor), detail)

    async def _note(self, what: What, person: str, subject: str, way: str, detail: str = "") -> None:
        act = Act(at=self._now(), person=person, way=way, what=what, subject=subject, detail=detail)
        await asyncio.to_thread(self._acts.write, act)

    async def _known(self, kind: Kind, secret: str) -> Visitor:
        now, mark = self._now(), self._passes.mark()
        recognised = self._recognised.find(kind, secret, mark=mark, now=now)
        if recognised is not None:
            return recognised
        found = await asyncio.to_thread(self._admitted, kind, secret)
        if found is None:
            what = "token is unknown, expired or revoked" if kind is Kind.TOKEN else "session is over"
            raise UnknownVisitor(f"This {what}: `surveil login` on the dispatcher's machine makes a new one.")
        shown, visitor = found
        self._recognised.remember(kind, secret, shown, visitor, mark=mark, now=now)
        return visitor

    def _admitted(self, kind: Kind, secret: str) -> tuple[Pass, Visitor] | None:
        """Whoever has this secret, with the roles that they have at this moment. Called in a thread."""
        found = self._passes.admit(kind, secret, now=self._now())
        if found is None:
            return None
        scope = Scope[found.scope.upper()]
        rights = Rights(scope)
        if found.user is not None:
            person = self._passes.people.find(found.user)
            if person is None:
                return None
            rights = rights_of(person.roles, scope)
        csrf = csrf_of(secret) if kind is Kind.SESSION else None
        return found, Visitor(person=found.person, rights=rights, pass_id=found.id, csrf=csrf, user=found.user)


def shown_by(request: HTTPConnection) -> tuple[Kind, str]:
    """What a request shows, and of which kind it is; an empty text where it shows nothing."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return Kind.TOKEN, token.strip()
    return Kind.SESSION, request.cookies.get(cookie_name(request), "")


def password_of(request: HTTPConnection) -> str | None:
    """What a request shows as the password of Basic authentication; None where it shows none."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def told_by(secret: str) -> bytes:
    """What tells a pass from others, without letting anybody in."""
    return sha256(secret.encode("utf-8", "replace")).digest()[:16]


def _way(visitor: Visitor) -> str:
    return behalf.API if visitor.csrf is None else behalf.PAGE


def check_sign_in(request: HTTPConnection) -> None:
    """See that nobody signs somebody else in, as themselves: what was done then would be done under their eyes.

    Raises:
        NotAllowedError: it comes from elsewhere.
    """
    if is_foreign(request):
        raise NotAllowedError(_FOREIGN)


def check_origin(request: HTTPConnection, visitor: Visitor, shown: str) -> None:
    """See that a change is meant by one of our own pages, which `shown` that session's word.

    Raises:
        NotAllowedError: it comes from elsewhere.
    """
    if visitor.csrf is None:
        return
    if is_foreign(request) or not hmac.compare_digest(shown.encode(), visitor.csrf.encode()):
        raise NotAllowedError(_FOREIGN)


def is_foreign(request: HTTPConnection) -> bool:
    """Whether a browser says that a page which is not ours has it send this."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    return site not in {"same-origin", "none"} or (origin is not None and not _is_ours(request, origin))


def csrf_of(secret: str) -> str:
    """The word that the pages of a session show: it follows from the session's secret, and leads to it by no way."""
    return sha256(b"csrf " + secret.encode()).hexdigest()


def cookie_name(request: HTTPConnection) -> str:
    """The name under which this browser keeps its session, by whether it came over https."""
    if request.url.scheme not in {"https", "wss"}:
        return COOKIE
    return SECURE_COOKIE_BELOW if root_of(request) else SECURE_COOKIE


def _is_ours(request: HTTPConnection, origin: str) -> bool:
    """Whether an origin is that of our pages. A proxy may have encrypted what came to us in the clear; what is in the
    clear itself is no page of ours where ours are encrypted.
    """
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.netloc == request.headers.get("host", "") and parts.scheme in {"https", request.url.scheme}
