"""Commands about what moves elsewhere: `look`, and `hook` with its own.

What belongs here: what people and hooks type so that nobody waits for the next poll. What does not: what looking finds
(`surveil.observer`), webhooks that come (`surveil.web.hooks`), and the files of a repository's hook
(`surveil.mirror.post_receive`). A secret comes from standard input and never from an argument, which anybody on the
machine could read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import Duration, client_flags, example, json_flag, offered
from surveil.cli.settings import own_settings, refuse_server
from surveil.cli.webhooks import opened_webhooks
from surveil.core.spelling import format_duration
from surveil.errors import SurveilError
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

if TYPE_CHECKING:
    from surveil.mirror.post_receive import Done

WATCHING_MS: Final = 5_000
"""So long the dispatcher may take to say what is watched."""
_READ_BYTES_MAX: Final = 4096
_PUT_HERE: Final = (
    "A hook in a repository of this machine asks the dispatcher itself, and no server: leave --server and --token out, "
    "and name the dispatcher with --dispatcher where it is elsewhere; or have the repository's forge send webhooks "
    "(`surveil --server URL hook secret REPO`)."
)
_COLUMNS: Final = (
    Column(name="repository", folds=True),
    Column(name="set", drop=1),
    Column(name="old secret", drop=2),
    Column(name="may", drop=3),
    Column(name="heard"),
)


def named(text: str) -> str:
    """The repository that was typed; a folder that is not on this machine is taken at its word, for whoever watches it
    may be on another one.
    """
    from surveil.mirror.address import parse
    from surveil.mirror.typed import find_repository

    address = parse(text, str(Path.cwd()))
    return find_repository(address.key) if address.is_local and Path(address.key).is_dir() else address.key


@click.command(epilog=example("surveil look", "surveil look https://example.org/lib.git"))
@click.argument("repo", default=".", shell_complete=offered("folders"))
@client_flags
@json_flag
def look(repo: str, *, as_json: bool, **where: str | None) -> None:
    """Have a repository looked at now.

    Whoever watches REPO, by default the repository of the current folder, looks at its refs at once instead of at the
    next poll, and what is new is built. It says nothing of what there is to see.
    """
    with connected(where) as dispatcher:
        done = dispatcher.ask("look", {"repo": named(repo)}).body
    if as_json:
        print_json(done)
    else:
        observers = done["observers"]
        tell(f"{observers} {'observer looks' if observers == 1 else 'observers look'} at {done['repo']} now.")


@click.group(cls=NearGroup, epilog=example("surveil hook secret https://github.com/team/lib --make", "surveil hook ls"))
def hook() -> None:
    """Build at once what is pushed: webhooks, and a hook of a bare repository."""


@hook.command(
    "secret",
    epilog=example(
        "surveil hook secret https://github.com/team/lib --make",
        "surveil hook secret git@gitlab.com:team/lib.git --overlap 1h < new-secret",
    ),
)
@click.argument("repo")
@click.option("--make", is_flag=True, help="Make a secret, and print it once, instead of reading one.")
@click.option(
    "--overlap", type=Duration(), metavar="DURATION",
    help="How long the secret before this one stays good.  [default: 1d]",
)  # fmt: skip
@client_flags
@json_flag
def set_secret(repo: str, *, make: bool, overlap: int | None, as_json: bool, **where: str | None) -> None:
    """Set the secret with which a forge proves its webhooks for REPO.

    It is read from standard input; on a terminal it is asked for, and not shown. Type this on the dispatcher's machine,
    or with --server and a token of scope `admin`. REPO is as its observer watches it. Set the same secret at the forge,
    within the time that the one before stays good.
    """
    from surveil.web.hooks.secrets import OVERLAP_MS, make_secret

    overlap = OVERLAP_MS if overlap is None else overlap
    with opened_webhooks(where) as webhooks:
        key = named(repo)
        secret = make_secret() if make else _read(key)
        made, address = webhooks.set(key, secret, overlap_ms=overlap), webhooks.address()
    if _is_unwatched(key, where):
        tell(f"No observer that is connected watches {key}, so its webhooks are answered with 404 for now: start")
        tell("`surveil up` or `surveil observer` with it as well, or name it here as `surveil status` does.")
    if as_json:
        print_json({**made, **({"secret": secret} if make else {})})
        return
    if make:
        print_line(secret)
    old = "" if made["previous_until"] is None else f" The one before stays good for {format_duration(overlap)}."
    tell(f"The secret for webhooks of {key} is set.{old} The forge sends them to {address}/hooks/FORGE, with")
    tell("github, gitlab, gitea, forgejo or generic for FORGE; docs/how-to/webhooks.md says what to set there.")


@hook.command("ls", epilog=example("surveil hook ls", "surveil hook ls --json"))
@client_flags
@json_flag
def list_hooks(*, as_json: bool, **where: str | None) -> None:
    """List the repositories that webhooks may come for, and when one came last."""
    with opened_webhooks(where) as webhooks:
        documents = webhooks.listed()
    if as_json:
        print_json(documents)
        return
    if not documents:
        tell("No webhook is known; `surveil hook secret REPO` sets the secret of one.")
        return
    rows = [
        [
            each["repo"],
            age(each["changed_at"]),
            "still good" if each["previous_until"] else "none",
            each["may"],
            age(each["heard_at"]) if each["heard_at"] else "never",
        ]
        for each in documents
    ]
    print_table(_COLUMNS, rows)


@hook.command("allow", epilog=example("surveil hook allow https://github.com/team/lib retry"))
@click.argument("repo")
@click.argument("what", type=click.Choice(["look", "retry"]))
@client_flags
@json_flag
def allow(repo: str, what: str, *, as_json: bool, **where: str | None) -> None:
    """Say what webhooks for REPO may ask for.

    A webhook is a hint to look, and nothing more. With `retry` it may also have builds of REPO built again: GitHub
    sends that when somebody who may write to the repository presses the button beside a check. `look` takes it back.
    """
    key = named(repo)
    with opened_webhooks(where) as webhooks:
        webhooks.allow(key, what)
    if as_json:
        print_json({"repo": key, "may": what})
    else:
        tell(f"Webhooks for {key} may {'have its builds built again' if what == 'retry' else 'give hints to look'}.")


@hook.command("forget", epilog=example("surveil hook forget https://github.com/team/lib"))
@click.argument("repo")
@client_flags
@json_flag
def forget(repo: str, *, as_json: bool, **where: str | None) -> None:
    """Take no more webhooks for REPO."""
    key = named(repo)
    with opened_webhooks(where) as webhooks:
        webhooks.forget(key)
    if as_json:
        print_json({"repo": key})
    else:
        tell(f"No webhook is taken for {key} any more.")


@hook.command("install", epilog=example("surveil hook install /srv/git/lib.git"))
@click.argument("repo", default=".", shell_complete=offered("folders"))
@click.option("--as", "watched_as", metavar="ADDRESS", help="How its observer calls it.  [default: its path]")
@client_flags
@json_flag
def install(repo: str, *, watched_as: str | None, as_json: bool, **where: str | None) -> None:
    """Put a hook into a repository of this machine that has it looked at after each push.

    A hook that is there stays, and runs first. Whoever pushes must be able to read the data folder that this command
    was typed with. No push waits for the look, or fails because of it. It asks the dispatcher itself, and no server
    over HTTP: a token in a hook would be everybody's who pushes.
    """
    from surveil.mirror.post_receive import install as put
    from surveil.mirror.typed import resolve

    data = own_settings(where, _PUT_HERE).data.absolute()
    found = resolve(repo, str(Path.cwd()))
    _require_local(found.is_local, repo)
    dispatcher = ["--dispatcher", where["dispatcher"]] if where.get("dispatcher") else []
    asked = named(watched_as) if watched_as else found.key
    command = [sys.executable, "-P", "-m", "surveil", "look", "--data", str(data), *map(str, dispatcher), "--", asked]
    _tell_of_hook(found.key, put(found.key, command), as_json=as_json)
    if _is_unwatched(asked, where):
        tell(f"No observer that is connected watches {asked}, so a push starts nothing for now: start `surveil up` or")
        tell("`surveil observer` with it as well, or say with --as what `surveil status` calls it.")


@hook.command("remove", epilog=example("surveil hook remove /srv/git/lib.git"))
@click.argument("repo", default=".", shell_complete=offered("folders"))
@json_flag
def remove(repo: str, *, as_json: bool) -> None:
    """Take the hook out of a repository again, and put back what was there before."""
    from surveil.mirror.post_receive import remove as take_out
    from surveil.mirror.typed import resolve

    refuse_server(_PUT_HERE)
    found = resolve(repo, str(Path.cwd()))
    _require_local(found.is_local, repo)
    _tell_of_hook(found.key, take_out(found.key), as_json=as_json)


def _is_unwatched(repo: str, where: Mapping[str, str | None]) -> bool:
    """Whether the dispatcher says that nobody watches it; one that is away says nothing."""
    from surveil.mirror.place import place_of

    try:
        with connected(where) as dispatcher:
            watching = dispatcher.ask("status", patience_ms=WATCHING_MS).body["watching"]
    except SurveilError:
        return False
    return place_of(repo) not in {place_of(each["repo"]) for each in watching}


def _require_local(is_local: bool, repo: str) -> None:  # noqa: FBT001  # the only thing that it asks
    if not is_local:
        raise click.UsageError(
            f"{repo} is on another machine: type this there, or have its forge send webhooks (`surveil hook secret`)."
        )


def _tell_of_hook(repo: str, done: Done, *, as_json: bool) -> None:
    if as_json:
        print_json({"repo": repo, "done": done.name.lower()})
    else:
        tell(f"The hook of {repo} is {done}.")


def _read(repo: str) -> str:
    """The secret: typed without being shown, or the line on standard input."""
    if sys.stdin.isatty():
        typed: str = click.prompt(f"Secret for webhooks of {repo}", hide_input=True, err=True)
        return typed
    return sys.stdin.buffer.read(_READ_BYTES_MAX).decode(errors="replace").removesuffix("\n").removesuffix("\r")
