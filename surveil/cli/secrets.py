"""Commands about secrets: secret set, ls, rm, rekey.

What belongs here: how a value is read, and what is said. What does not: keeping secrets (`surveil.hands.safe`). A value
comes from standard input and never from an argument, which anybody on the machine could read.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from surveil.cli.connecting import connected
from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, example, json_flag
from surveil.screen.printing import print_json, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

VALUE_BYTES_MAX: Final = 1024 * 1024
"""No more is read; the dispatcher takes much less, and says so."""
_COLUMNS: Final = (
    Column(name="name", least=8),
    Column(name="repository", folds=True),
    Column(name="ref"),
    Column(name="job"),
    Column(name="source", drop=2),
    Column(name="changed", drop=1),
)
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _said(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """What is empty as typed, as a shell's variable that is not set is, does not mean everything."""
    if not value and ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.DEFAULT:
        raise click.BadParameter("it is empty: leave it out where you mean all")
    return value


def scope_flags(command: Decorated) -> Decorated:
    """The flags that say for which jobs a secret is."""
    for flag, metavar, what in (
        ("--job", "PATTERN", "For jobs whose name in the pipeline file is like this.  [default: all]"),
        ("--ref", "PATTERN", "For refs like this: main, release/*, tags/v*.  [default: all]"),
        ("--repo", "PATTERN", "For repositories whose address is like this.  [default: all]"),
    ):
        command = click.option(flag, default="", metavar=metavar, help=what, callback=_said)(command)
    return command


@click.group(cls=NearGroup, epilog=example("surveil secret set NPM_TOKEN --job publish", "surveil secret ls"))
def secret() -> None:
    """Keep secrets for jobs: set, list and remove them."""


@secret.command(
    "set",
    epilog=example(
        "surveil secret set NPM_TOKEN --repo https://example.org/lib.git --ref main --job publish",
        "surveil secret set DEPLOY_KEY --ref 'release/*' < ~/.ssh/deploy_key",
        "surveil secret set DB_PASSWORD --vault ci/staging#password",
    ),
)
@click.argument("name")
@scope_flags
@click.option("--vault", metavar="PATH#FIELD", help="Keep only where in the dispatcher's Vault the value is.")
@client_flags
@json_flag
def set_secret(  # one for each flag
    name: str, *, repo: str, ref: str, job: str, vault: str | None, as_json: bool, **where: str | None
) -> None:
    """Keep a secret, which is read from standard input.

    On a terminal it is asked for, and not shown. One line loses the line break at its end; what has several lines is
    kept as it is. In patterns, `*` stands for anything. A job that several secrets of one name are for gets the one
    that says most about it. The next attempt that begins gets what is set now.
    """
    value = _read(name) if vault is None else vault.encode()
    about = {
        "name": name, "repo": repo, "ref": ref, "job": job, "source": "here" if vault is None else "vault",
        "value": base64.b64encode(value).decode(),
    }  # fmt: skip
    with connected(where) as dispatcher:
        done = dispatcher.ask("secret_set", about).body
    if as_json:
        print_json(done)
    else:
        tell(f"The secret {name} is kept.")


@secret.command("ls", epilog=example("surveil secret ls", "surveil secret ls --json"))
@client_flags
@json_flag
def list_secrets(*, as_json: bool, **where: str | None) -> None:
    """List secrets and for which jobs they are; what they hold is never shown."""
    with connected(where) as dispatcher:
        secrets = dispatcher.listed("secrets")
    if as_json:
        print_json(secrets)
        return
    if not secrets:
        tell("There are no secrets; `surveil secret set NAME` keeps one.")
        return
    rows = [
        [
            known["name"],
            known["repo"] or "all",
            known["ref"] or "all",
            known["job"] or "all",
            known["source"],
            age(known["changed_at"]),
        ]
        for known in secrets
    ]
    print_table(_COLUMNS, rows)


@secret.command("rm", epilog=example("surveil secret rm NPM_TOKEN --ref main"))
@click.argument("name")
@scope_flags
@client_flags
@json_flag
def remove(name: str, *, repo: str, ref: str, job: str, as_json: bool, **where: str | None) -> None:
    """Forget the secret of this name and exactly these patterns; attempts that have it keep it to their end."""
    with connected(where) as dispatcher:
        done = dispatcher.ask("secret_remove", {"name": name, "repo": repo, "ref": ref, "job": job}).body
    if as_json:
        print_json(done)
    else:
        tell(f"The secret {name} is forgotten.")


@secret.command(epilog=example("surveil secret rekey"))
@client_flags
@json_flag
def rekey(*, as_json: bool, **where: str | None) -> None:
    """Encrypt all secrets with a new key.

    The key lies in `keys/secrets.key` of the dispatcher's data folder. Do this when somebody may have read that file,
    and set the secrets anew as well: whoever had it could read them.
    """
    with connected(where) as dispatcher:
        done = dispatcher.ask("secret_rekey").body
    if as_json:
        print_json(done)
    else:
        tell(f"Secrets that have a new key: {done['secrets']}.")


def _read(name: str) -> bytes:
    """The value: typed without being shown, or all of standard input."""
    if sys.stdin.isatty():
        typed: str = click.prompt(f"Value of {name}", hide_input=True, err=True)
        return typed.encode()
    value = sys.stdin.buffer.read(VALUE_BYTES_MAX)
    line = value.removesuffix(b"\n").removesuffix(b"\r")
    return value if b"\n" in line else line
