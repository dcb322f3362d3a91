"""`surveil web`: pages and an HTTP API over what a dispatcher keeps.

What belongs here: the role, from its configuration to its end. What does not: what is read and how it looks:

* `books` answers what is asked: it reads the store itself, and leaves wishes to the dispatcher; `remembered` lets many
  who ask the same cost as much as one.
* `visitors` knows who is asking, and what they may do; `links` makes what they come in with.
* `front` knows where people reach us, through which proxies, and `root` where our addresses begin there.
* `allowing` counts how often anybody asks, `limits` how much.
* `headers` keeps browsers from doing what pages do not ask for; `problems` says what is wrong.
* `hooks` takes webhooks of forges.
* `ids` names builds for programs; `events` is the form of what is told as it happens.
* `app` puts these together with the routes of `api`; `opening` opens the parts, `serving` listens.

It is a process of its own, so that nobody who looks can slow or stop dispatch, and it may be stopped, started and
doubled at will: what people come in with is kept beside the database (`surveil.store.passes`), and nothing else is.
"""

from __future__ import annotations

import asyncio

from surveil.config import WebConfig
from surveil.config.values import OFF
from surveil.errors import ExitCode, UsageError
from surveil.lasting import loading
from surveil.say import begin


def main(config: WebConfig) -> ExitCode:
    """Serve until a signal comes.

    Raises:
        SurveilError: it cannot start; the sentence says what to do.
    """
    if config.http == OFF:
        raise UsageError(
            "`surveil web` has nothing to serve with `--http off`: give it an address like 127.0.0.1:7380."
        )
    begin("web", log_format=config.log_format, log_level=config.log_level)
    with loading():
        # Its framework takes long; a mistake is told before.
        from surveil.web.serving import serve  # noqa: PLC0415

    return asyncio.run(serve(config))
