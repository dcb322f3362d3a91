"""The words of Gitea and Forgejo: commit statuses.

What belongs here: their API, version 1 (`swagger.v1.json` of either). What does not: asking.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from surveil.forge import CommitStatus, Request, State

DESCRIPTION_CHARACTERS_MAX: Final = 255
# Their older versions know no word for what was skipped, and none has one for what runs or was cancelled.
_STATES: Final = {
    State.PENDING: "pending",
    State.RUNNING: "pending",
    State.SUCCESS: "success",
    State.FAILURE: "failure",
    State.ERROR: "error",
    State.CANCELLED: "error",
    State.SKIPPED: "success",
}


class Gitea:
    """See `surveil.forge.Words`."""

    pace_ms = 0

    def api(self, url: str) -> str:
        """Below the forge's own address."""
        return f"{url.rstrip('/')}/api/v1"

    def is_project(self, path: str) -> bool:
        """An owner and a name."""
        return path.count("/") == 1

    def request(self, status: CommitStatus, token: str) -> Request:
        """Create a commit status."""
        document = {
            "state": _STATES[status.state],
            "context": status.context,
            "description": status.description[:DESCRIPTION_CHARACTERS_MAX],
            "target_url": status.url,
        }
        headers = {"authorization": f"token {token}", "accept": "application/json"}
        return Request(path=f"/repos/{quote(status.project)}/statuses/{status.sha}", headers=headers, document=document)

    def known_already(self, status: int, said: str) -> bool:
        """They take the same twice."""
        del status, said
        return False
