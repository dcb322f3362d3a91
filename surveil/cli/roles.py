"""Commands that run a role in this process: up, dispatcher, web, observer. The runner is with the pool (`pool`).

What belongs here: flags to a configuration, and the configuration to the role's `main`. What does not: what a role
does.
"""

from __future__ import annotations

from typing import Any

import click

from surveil.cli.flags import role_flags
from surveil.cli.options import example
from surveil.cli.settings import load_flags
from surveil.config import DispatcherConfig, ObserverConfig, UpConfig, WebConfig
from surveil.lasting import loading


@click.command(
    epilog=example(
        "surveil up",
        "surveil up --once ~/src/project",
        "surveil up --runners 3 --listen tcp://192.0.2.7:7300 ~/src/project",
    )
)
@role_flags(UpConfig)
def up(**flags: Any) -> int:
    """Run everything on this machine, and test each new commit.

    Starts a dispatcher, an observer of the REPOs (by default of the one around this folder) and runners; streams what
    happens, and says how to add a spare machine. Ctrl-C ends everything that was started here and says what was cut;
    a second one does so at once. With --once it tests the present HEAD of each REPO, and ends with the verdict's exit
    code.
    """
    config = load_flags(UpConfig, flags).value
    with loading():
        from surveil.up import main

    return int(main(config))


@click.command(epilog=example("surveil dispatcher --data /var/lib/surveil --listen tcp://192.0.2.7:7300"))
@role_flags(DispatcherConfig)
def dispatcher(**flags: Any) -> int:
    """Run the dispatcher alone.

    It keeps everything under --data, and listens on this machine's loopback unless --listen says otherwise; the port
    after it carries the jobs' output. Machines join with the tokens of `surveil token create`.
    """
    config = load_flags(DispatcherConfig, flags).value
    with loading():
        from surveil.dispatcher import main

    return int(main(config))


@click.command(epilog=example("surveil web --http 127.0.0.1:8080"))
@role_flags(WebConfig)
def web(**flags: Any) -> int:
    """Serve the web pages and the HTTP API.

    It runs on the dispatcher's machine and reads what that keeps under --data, so that nobody who looks slows it; it
    may be stopped and started at any time. `surveil login` prints a link to come in with.
    """
    config = load_flags(WebConfig, flags).value
    from surveil.web import main

    return int(main(config))


@click.command(
    epilog=example(
        "surveil observer --join TOKEN https://example.org/project.git",
        "surveil observer --interval 5s --ref 'refs/heads/*' --ref 'refs/tags/v*' ~/src/project",
    )
)
@role_flags(ObserverConfig)
def observer(**flags: Any) -> int:
    """Watch repositories and report their commits.

    A machine that joins shows its TOKEN once; after that it starts with the same --data and nothing else.
    """
    config = load_flags(ObserverConfig, flags).value
    if not config.repos:
        raise click.UsageError("An observer needs at least one repository to watch: a path or a URL.")
    with loading():
        from surveil.observer import main

    return int(main(config))
