"""The words of GitLab: statuses of commits, which it shows as a pipeline of its own.

What belongs here: its API, version 4 (docs.gitlab.com/api/commits, "Commit status"). What does not: asking.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from surveil.forge import CommitStatus, Request, State

DESCRIPTION_CHARACTERS_MAX: Final = 255
_REFUSED: Final = 400
# Its older versions know no word for what was skipped.
_STATES: Final = {
    State.PENDING: "pending",
    State.RUNNING: "running",
    State.SUCCESS: "success",
    State.FAILURE: "failed",
    State.ERROR: "failed",
    State.CANCELLED: "canceled",
    State.SKIPPED: "success",
}


class GitLab:
    """See `surveil.forge.Words`."""

    pace_ms = 0

    def api(self, url: str) -> str:
        """Below the forge's own address."""
        return f"{url.rstrip('/')}/api/v4"

    def is_project(self, path: str) -> bool:
        """A group, perhaps groups in it, and a name."""
        return path.count("/") >= 1

    def request(self, status: CommitStatus, token: str) -> Request:
        """Set the status of a commit."""
        document = {
            "state": _STATES[status.state],
            "name": status.context,
            "description": status.description[:DESCRIPTION_CHARACTERS_MAX],
        }
        if status.url:
            document["target_url"] = status.url
        path = f"/projects/{quote(status.project, safe='')}/statuses/{status.sha}"
        return Request(path=path, headers={"private-token": token, "accept": "application/json"}, document=document)

    def known_already(self, status: int, said: str) -> bool:
        """What is pending or runs cannot become so once more."""
        return status == _REFUSED and "Cannot transition status via" in said
