"""The grammar: which commands there are, and in which module each one lives.

What belongs here: the names of the program and its commands, one line of help for each, and the lazy look-up. What
does not: what a command does or takes. Nothing but click is imported for `surveil --help`; a test compares these lines
with the commands' own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final, NamedTuple

import click

from surveil import __version__
from surveil.core.spelling import closest, quoted
from surveil.errors import ExitCode

PROGRAM: Final = "surveil"
COMPLETE: Final = "_SURVEIL_COMPLETE"
"""The variable by which a shell asks for completions."""


class Entry(NamedTuple):
    """Where a command lives: `module` below `surveil.cli`, and `attribute` in it; `help` is the first sentence of its
    help.
    """

    module: str
    attribute: str
    help: str


COMMANDS: Final[dict[str, dict[str, Entry]]] = {
    "Test this repository": {
        "run": Entry("here", "run", "Run the pipeline of this work tree here and now."),
        "up": Entry("roles", "up", "Run everything on this machine, and test each new commit."),
        "explain": Entry("pipelines", "explain", "Show what would run, and why."),
        "validate": Entry("pipelines", "validate", "Check a pipeline file."),
        "schema": Entry("pipelines", "schema", "Print the JSON Schema of `.surveil.yml`, for editors."),
        "init": Entry("pipelines", "init", "Write down what surveil would run as a `.surveil.yml`."),
    },
    "Look at builds": {
        "status": Entry("reading", "status", "Show the dispatcher, its queue and its runners at a glance."),
        "builds": Entry("reading", "builds", "List builds, newest first."),
        "show": Entry("reading", "show", "Show one build with its jobs and attempts."),
        "logs": Entry("logs", "logs", "Print what the steps of a build printed."),
        "tests": Entry("tests", "tests", "List the test results of a build: failures first, then the slowest."),
        "artifacts": Entry("artifacts", "artifacts", "List and fetch what the jobs of a build kept."),
        "story": Entry("story", "story", "Tell the whole history of a job or a build in plain words."),
        "watch": Entry("watching", "watch", "Print what happens, as it happens."),
    },
    "Act on builds": {
        "submit": Entry("acting", "submit", "Test a commit now."),
        "look": Entry("hooking", "look", "Have a repository looked at now."),
        "retry": Entry("acting", "retry", "Build the same commit again."),
        "cancel": Entry("acting", "cancel", "End a build, or some of its jobs."),
        "replay": Entry("replay", "replay", "Run a past attempt again on this machine."),
        "approve": Entry("acting", "approve", "Let a build of an untrusted ref run."),
        "unhold": Entry("acting", "unhold", "Let held jobs of a build be tried again."),
    },
    "Use more machines": {
        "runner": Entry("pool", "runner", "Offer this machine to run jobs."),
        "runners": Entry("pool", "runners", "List the pool of runners, and give them orders."),
        "token": Entry("tokens", "token", "Make, list and revoke join tokens."),
        "peers": Entry("peers", "peers", "List who is let in: runners, observers and clients."),
        "peer": Entry("peers", "peer", "Take out a runner, an observer or a client."),
        "client": Entry("tokens", "client", "Let this machine's commands talk to a dispatcher elsewhere."),
        "dispatcher": Entry("roles", "dispatcher", "Run the dispatcher alone."),
        "observer": Entry("roles", "observer", "Watch repositories and report their commits."),
    },
    "Look from a browser": {
        "hook": Entry("hooking", "hook", "Build at once what is pushed: webhooks, and a hook of a bare repository."),
        "web": Entry("roles", "web", "Serve the web pages and the HTTP API."),
        "login": Entry("visiting", "login", "Print a link that signs a browser in, or make a token for a program."),
        "user": Entry("people", "user", "Say who may do what: people, and their roles in repositories."),
    },
    "Tell others": {
        "notify": Entry("telling", "notify", "Tell forges and people what became of builds."),
    },
    "Look after it": {
        "doctor": Entry("doctor", "doctor", "Say what is missing or weak here, and what to type about it."),
        "drill": Entry("drill", "drill", "Kill a runner under a harmless job, and report the recovery."),
        "secret": Entry("secrets", "secret", "Keep secrets for jobs: set, list and remove them."),
        "audit": Entry("auditing", "audit", "List who did what."),
        "systemd": Entry("systemd", "systemd", "Have systemd run a role as a service."),
        "config": Entry("upkeep", "config", "Show the settings and where each one comes from."),
        "db": Entry("upkeep", "db", "Check and back up the dispatcher's data."),
        "completion": Entry("upkeep", "completion", "Print what makes your shell complete surveil's commands."),
        "version": Entry("upkeep", "version", "Print the versions of surveil and of what it stands on."),
    },
}
"""All commands, by what people come for."""

ALONE: Final = frozenset(
    {
        "run", "up", "explain", "validate", "schema", "init", "client", "dispatcher", "observer", "web", "systemd",
        "config", "completion", "version",
    }
)  # fmt: skip
"""Commands that ask no dispatcher, and so no server."""

_FLAT: Final = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class NearGroup(click.Group):
    """A group that knows which of its commands was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but for a word that is no command."""
        names = self.list_commands(ctx)
        # While a shell asks for completions, a word that is not whole yet is no mistake.
        if args and args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = closest(args[0], names)
            hint = f" Did you mean `{ctx.command_path} {near}`?" if near else ""
            raise click.UsageError(f"There is no command {quoted(args[0])}.{hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(NearGroup):
    """A group whose commands are imported when they are typed."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(_FLAT)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None if there is no such name."""
        entry = _FLAT.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(f"surveil.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command), f"{entry} names no command"
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections without importing anything."""
        for section, entries in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


_ABOUT: Final = """Continuous integration that outlives its machines.

\b
Run this repository's tests now, on the files as they are:   surveil run
Test its HEAD in a fresh checkout, for one verdict:          surveil up --once
Test each new commit, until Ctrl-C:                          surveil up
Look at what was built:                                      surveil builds

Every command explains itself with --help.
"""
"""A group's help; `\\b`, a real backspace here, keeps click from filling the paragraph."""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    help=_ABOUT,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="surveil", message="%(prog)s %(version)s")
@click.option(
    "--token", metavar="TOKEN", help="The token that the server is shown.  [env: SURVEIL_TOKEN, SURVEIL_TOKEN_FILE]"
)
@click.option("--server", metavar="URL", help="Ask the dispatcher through its web pages at URL.  [env: SURVEIL_SERVER]")
@click.pass_context
def root(ctx: click.Context, server: str | None, token: str | None) -> int:
    """Find the command that was typed; without one, say what to type first."""
    if ctx.invoked_subcommand is not None:
        if ctx.invoked_subcommand in ALONE and (server or token):
            raise click.UsageError(
                f"`surveil {ctx.invoked_subcommand}` asks no server: leave --server and --token out."
            )
        return 0
    from surveil.cli.welcome import welcome

    welcome()
    # A script that forgot to say what it wants must not take this for a success.
    return int(ExitCode.USAGE)
