"""`surveil up`: everything on one machine, as one supervised tree of processes.

What belongs here: what only this command does. What does not: keeping processes running (`fleet`), and what each of
them does (the roles).

* `tree` starts the parts and ends them, `interrupts` says when; `lock` keeps a second `up` out of the same data folder.
* `repositories` finds what to watch, and reads a commit for `--once`.
* `pages` says where the web pages are served.
* `story` tells of builds as they happen; `surveil.screen` prints.
* `watching` is `up` as it usually runs, `once` is `up --once`.

Ctrl-C ends everything that was started here, and says what was cut; a second one does so at once.
"""

from __future__ import annotations

from surveil.config import UpConfig
from surveil.errors import UsageError


def main(config: UpConfig) -> int:
    """Run until Ctrl-C or SIGTERM, or with `once` until every verdict is there; returns the exit code.

    Raises:
        SurveilError: it cannot start, or cannot go on; everything that was started has ended by then.
    """
    if config.once and not config.runners:
        raise UsageError("With --once nobody else runs the jobs, so --runners must be at least 1.")
    from surveil.up import once, watching  # noqa: PLC0415  # Whoever asks for help should not wait for the parts.

    return once.main(config) if config.once else watching.main(config)
