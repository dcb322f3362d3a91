"""`surveil notify`: tells others what became of builds: the forges that their commits come from.

What belongs here: the role, from its configuration to its end. What does not: what is told next, and when it is tried
again (`surveil.core.outbox`), and how a forge is spoken to (`surveil.forge`):

* `rules` reads the file that says who is told what; `opening` makes targets of that, and opens the rest.
* `targets` is what a target has to do; `statuses` and `checks` are those that tell a forge of commits, both by how
  things stand (`standing`), and `tested` says what a check has below its title; `traces` is that which tells a
  collector of builds, as the `spans` that they are.
* `delivering` follows the journal for each target, and delivers.

It is a process of its own, so that a forge that hangs delays neither dispatch nor pages. It only reads what the
dispatcher keeps, so it may be stopped and started at any time; what happened meanwhile is told then.
"""

from __future__ import annotations

import asyncio

from surveil.config import NotifyConfig
from surveil.errors import ExitCode
from surveil.lasting import loading
from surveil.say import begin


def main(config: NotifyConfig) -> ExitCode:
    """Tell until a signal comes.

    Raises:
        SurveilError: it cannot start; the sentence says what to do.
    """
    begin("notify", log_format=config.log_format, log_level=config.log_level)
    with loading():
        from surveil.notify.serving import serve  # noqa: PLC0415  # A mistake in the settings is told before.

    return asyncio.run(serve(config))
