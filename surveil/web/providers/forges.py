"""The conversation with a forge: where somebody signs in, and who came back (OAuth 2, code flow with PKCE).

What belongs here: addresses and questions of GitHub, Gitea and Forgejo, and what their answers make of somebody. What
does not: what tells sign-ins apart (`words`), and what somebody may do who came (`rules`, `surveil.store.people`).

A forge proves nobody to us, as a provider of OpenID Connect does: it gives a token that speaks for whoever signed in,
and its API says who that is. The token came from the forge itself, for a code that only this sign-in's verifier
redeems, so it is no other client's; it is asked with at once, and forgotten.

People are the numbers that their forge gives them, which it gives to nobody else; a name may be another's tomorrow.
What the forges say: docs.github.com/apps/oauth-apps (authorizing, scopes), docs.github.com/rest (users, orgs, teams),
docs.gitea.com/development/oauth2-provider, and `swagger.v1.json` of Gitea and Forgejo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from surveil.calling import Answer, Caller
from surveil.errors import NotAllowedError, UnreachableError
from surveil.forge.github import VERSION
from surveil.forge.speaking import KINDS
from surveil.web.providers.asking import Questions, word_in
from surveil.web.providers.proofs import ProofError
from surveil.web.providers.rules import Arrival, Kind, ProviderRule
from surveil.web.providers.words import Words, begun_words, is_begun, words_of

PATIENCE_S: Final = 30.0
"""For all questions of one sign-in."""
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""A hundred teams of GitHub, each with its organisation, have about 250 KiB."""
PAGES_MAX: Final = 20
EACH: Final = {Kind.GITHUB: 100, Kind.GITEA: 50, Kind.FORGEJO: 50}
"""So many organisations or teams stand on a page, if the forge gives as many as it is asked for."""
NUMBER_MAX: Final = 2**63 - 1
_NAME_CHARACTERS_MAX: Final = 255


class ForgeProvider:
    """See `surveil.web.providers.Provider`."""

    def __init__(self, rule: ProviderRule, caller: Caller, *, back: str, patience_s: float = PATIENCE_S) -> None:
        self.rule = rule
        self.back = back
        self._caller = caller
        self._questions = Questions(rule, caller)
        self._api = KINDS[rule.kind]().api(rule.issuer)
        self._patience_s = patience_s

    async def way_there(self, secret: str) -> str:
        """See `Provider`."""
        words = words_of(secret, self.rule.name)
        asked = {
            "response_type": "code",
            "client_id": self.rule.client_id,
            "redirect_uri": self.back,
            "state": words.state,
            **self._scope(),
            **words.challenge,
        }
        return f"{self.rule.issuer}/login/oauth/authorize?{urlencode(asked)}"

    def began(self, secret: str, state: str) -> bool:
        """See `Provider`."""
        return is_begun(secret, self.rule.name, state)

    async def arrival(self, secret: str, *, code: str, state: str, issuer: str | None) -> Arrival:
        """See `Provider`."""
        words = begun_words(secret, self.rule.name, state)
        if issuer is not None and not _is_of(issuer, self.rule.issuer):
            raise NotAllowedError(f"This comes from another provider than {self.rule.title}: begin again.")
        try:
            async with asyncio.timeout(self._patience_s):
                with self._questions.saying():
                    return await self._arrived(code, words)
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.rule.title} does not say within {self._patience_s:g} s who you are: try again in a while, or "
                "tell an administrator."
            ) from error

    def _scope(self) -> dict[str, str]:
        """What the token may do: read what has to be read. GitHub shows everybody's profile without any scope.

        Gitea and Forgejo refuse whoever allowed other scopes before, so ours are always the same there. Older ones know
        none, and give a token for everything.
        """
        if self.rule.kind is Kind.GITHUB:
            return {"scope": "read:org"} if self.rule.needs_groups else {}
        return {"scope": "read:user read:organization"}

    async def _arrived(self, code: str, words: Words) -> Arrival:
        """Whoever a code was given for."""
        tokens = f"{self.rule.issuer}/login/oauth/access_token"
        given = await self._questions.redeemed(tokens, code, words.verifier, back=self.back, by_form=True)
        headers = self._headers(word_in(given, "access_token"))
        if str(given.get("token_type", "")).lower() != "bearer":
            raise ProofError("gives a token of a kind that nobody here can use")
        person = await self._questions.document("GET", f"{self._api}/user", headers=headers)
        number, name = _number(person), _name(person, "login")
        if number is None or name is None:
            raise ProofError("does not say who signed in")
        return Arrival(rule=self.rule, subject=str(number), called=name, groups=await self._groups(headers))

    def _headers(self, token: str) -> dict[str, str]:
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if self.rule.kind is Kind.GITHUB:
            headers |= {"accept": "application/vnd.github+json", "x-github-api-version": VERSION}
        return headers

    async def _groups(self, headers: Mapping[str, str]) -> frozenset[str]:
        """Their organisations and teams, as far as a role is for one; each by its name and by its number."""
        wanted = [each.group for each in self.rule.grants if each.group is not None]
        found: set[str] = set()
        if any("/" not in each for each in wanted):
            found |= await self._listed("/user/orgs", headers, _names_of)
        if any("/" in each for each in wanted):
            found |= await self._listed("/user/teams", headers, _teams_of)
        return frozenset(found)

    async def _listed(
        self, path: str, headers: Mapping[str, str], read: Callable[[Mapping[str, Any]], set[str]]
    ) -> set[str]:
        """What stands on all pages of a list. Raises ProofError rather than to return a part of it."""
        each = EACH[self.rule.kind]
        size = "per_page" if self.rule.kind is Kind.GITHUB else "limit"
        found: set[str] = set()
        count = 0
        for page in range(1, PAGES_MAX + 1):
            url = f"{self._api}{path}"
            answer = await self._caller.call("GET", f"{url}?{size}={each}&page={page}", headers=headers)
            entries = self._questions.understood(answer, url)
            if not isinstance(entries, list):
                raise ProofError(f"gives no list at {urlsplit(url).path}")
            for entry in entries:
                found |= read(entry) if isinstance(entry, dict) else set()
            count += len(entries)
            if not entries or self._is_last(answer, count):
                return found
        raise ProofError(f"lists more than {PAGES_MAX * each} of your organisations or teams, and nobody reads on")

    def _is_last(self, answer: Answer, count: int) -> bool:
        """Whether nothing comes after so many. GitHub says whether there is a next page, and Gitea how many there are:
        its pages may be shorter than they were asked for. Without that word, only an empty page is the last one.
        """
        if self.rule.kind is Kind.GITHUB:
            return 'rel="next"' not in answer.headers.get("link", "")
        total = answer.headers.get("x-total-count", "")
        return total.isascii() and total.isdecimal() and count >= int(total[:18])


def _names_of(organisation: Mapping[str, Any]) -> set[str]:
    """By what an organisation may be meant."""
    number, name = _number(organisation), _name(organisation, "login", "name", "username")
    return ({f"#{number}"} if number is not None else set()) | ({name.lower()} if name is not None else set())


def _teams_of(team: Mapping[str, Any]) -> set[str]:
    """By what a team may be meant."""
    organisation, name = team.get("organization"), _name(team, "slug", "name")
    if not isinstance(organisation, dict) or name is None:
        return set()
    return {f"{each}/{name.lower()}" for each in _names_of(organisation)}


def _number(found: Mapping[str, Any]) -> int | None:
    number = found.get("id")
    # Gitea's accounts without a person, like that of its Actions, have numbers below zero.
    good = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= NUMBER_MAX
    return number if good else None


def _name(found: Mapping[str, Any], *keys: str) -> str | None:
    """A name by the first of these keys that is there. All forges have plain ones: a letter that only becomes a plain
    one when it is made small would make two names the same.
    """
    name = next((found[key] for key in keys if key in found), None)
    if not isinstance(name, str) or not name.isascii() or not name.isprintable():
        return None
    return name if 0 < len(name) <= _NAME_CHARACTERS_MAX and "/" not in name and not name.startswith("#") else None


def _is_of(issuer: str, url: str) -> bool:
    """Whether a forge that says who it is (RFC 9207) is the one at this address; what stands below it is its own way to
    say so.
    """
    try:
        said, ours = urlsplit(issuer), urlsplit(url)
    except ValueError:
        return False
    return (said.scheme, said.netloc.lower()) == (ours.scheme, ours.netloc.lower())
