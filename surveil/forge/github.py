"""The words of GitHub, in its cloud and on one's own servers: commit statuses.

What belongs here: GitHub's REST API, version 2022-11-28 (docs.github.com/rest/commits/statuses). What does not: asking.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from surveil.forge import CommitStatus, Request, State

VERSION: Final = "2022-11-28"
DESCRIPTION_CHARACTERS_MAX: Final = 140
_CLOUD: Final = "https://github.com"
# There is no word for what runs, none for what was skipped, and a check that was skipped counts as a success there.
_STATES: Final = {
    State.PENDING: "pending",
    State.RUNNING: "pending",
    State.SUCCESS: "success",
    State.FAILURE: "failure",
    State.ERROR: "error",
    State.CANCELLED: "error",
    State.SKIPPED: "success",
}


class GitHub:
    """See `surveil.forge.Words`."""

    pace_ms = 750
    """It allows 80 things to be made a minute."""

    def api(self, url: str) -> str:
        """The cloud has a host of its own for it."""
        return "https://api.github.com" if url.rstrip("/") == _CLOUD else f"{url.rstrip('/')}/api/v3"

    def is_project(self, path: str) -> bool:
        """An owner and a name."""
        return path.count("/") == 1

    def request(self, status: CommitStatus, token: str) -> Request:
        """Create a commit status."""
        document = {
            "state": _STATES[status.state],
            "context": status.context,
            "description": status.description[:DESCRIPTION_CHARACTERS_MAX],
        }
        if status.url:
            document["target_url"] = status.url
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": VERSION,
        }
        return Request(path=f"/repos/{quote(status.project)}/statuses/{status.sha}", headers=headers, document=document)

    def known_already(self, status: int, said: str) -> bool:
        """It takes the same twice."""
        del status, said
        return False
