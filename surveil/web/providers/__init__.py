"""Sign-in elsewhere: people come in by what they use already, at providers of OpenID Connect and at forges.

What belongs here: what every provider does for us, whatever it speaks. The rooms below have the file that names
providers, the conversations with them, and what their proofs are worth. What does not: the pages of it
(`surveil.web.pages.arriving`), who is known (`surveil.store.people`), and sessions (`surveil.web.visitors`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from surveil.web.providers.rules import Arrival, ProviderRule


class Provider(Protocol):
    """A provider, to which people are led, and from which they come to the address `back`."""

    rule: ProviderRule
    back: str

    async def way_there(self, secret: str) -> str:
        """Where a browser goes that keeps this secret. Raises SurveilError where the provider does not say that."""
        ...

    def began(self, secret: str, state: str) -> bool:
        """Whether the browser that keeps this secret began the sign-in that comes back with this state."""
        ...

    async def arrival(self, secret: str, *, code: str, state: str, issuer: str | None) -> Arrival:
        """Who came back with this code and state to the browser that keeps this secret.

        Raises:
            NotAllowedError: it is not this sign-in's, or proves nothing.
            SurveilError: the provider does not answer.
        """
        ...
