"""Has the Apprise library tell one service one thing, in a process of its own: `python -m surveil.notify.apprise_once`.

What belongs here: all that touches the library. What does not: whom it tells what, how long it may take, and what its
answer means (`apprising`).

It is the work of many hands for a hundred services: it may print, raise, or wait for ever. So nobody imports it who has
something else to do, and this process ends by itself should nobody end it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import Final, Literal

LIFE_S: Final = 60
"""Whoever started us ends us earlier, unless it was killed itself."""
REMARKS_MAX: Final = 5
REMARK_CHARACTERS_MAX: Final = 500

_KINDS: Final[dict[str, Literal["info", "success", "warning", "failure"]]] = {
    "broken": "failure", "still failing": "failure", "fixed": "success", "passed": "success", "runner lost": "warning",
}  # fmt: skip


class Remarks(logging.Handler):
    """What the library complains of; the newest are kept."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the sentence, and no traceback."""
        said = record.getMessage()
        if len(said) > REMARK_CHARACTERS_MAX:
            # Not half of a word: it may be half of a secret, by which nobody would know it and cover it.
            said = said[:REMARK_CHARACTERS_MAX].rpartition(" ")[0]
        self.said = [*self.said, said][-REMARKS_MAX:]


def tell(url: str, title: str, body: str, event: str) -> tuple[bool | None, list[str]]:
    """Tell the service at `url`; whether it took it, None where no service is there, and what the library says."""
    import apprise  # noqa: PLC0415  # It takes longer than all of us; whoever reads this module does not want it.

    remarks = Remarks()
    logger = logging.getLogger("apprise")
    logger.addHandler(remarks)
    # What a service is known by stays in memory: nothing of it belongs into somebody's cache folder.
    asset = apprise.AppriseAsset(app_id="surveil", storage_mode="memory")
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return None, remarks.said
    teller = apprise.Apprise(asset=asset)
    teller.add(service)
    kind = apprise.NotifyType(_KINDS.get(event, "info"))
    told = teller.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    return bool(told), remarks.said


def main() -> None:
    """Read what is to be told from standard input, tell it, and write what came of it to standard output, in a line."""
    signal.alarm(LIFE_S)
    # The answer alone goes to where we are listened to, whatever the library prints.
    answering = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wish = json.load(sys.stdin)
    took, remarks = tell(wish["url"], wish["title"], wish["body"], wish["event"])
    with os.fdopen(answering, "w") as answer:
        answer.write(json.dumps({"took": took, "remarks": remarks}) + "\n")


if __name__ == "__main__":
    main()
