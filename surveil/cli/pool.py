"""Commands about runners: `runner` offers this machine, `runners` lists the pool, and both give orders to a runner.

What belongs here: these two groups, and the orders, which are the same under both. What does not: what a runner does.
"""

from __future__ import annotations

from typing import Any, Final

import click

from surveil.cli.connecting import connected
from surveil.cli.flags import role_flags
from surveil.cli.grammar import NearGroup
from surveil.cli.options import client_flags, example, json_flag, offered
from surveil.cli.settings import load_flags
from surveil.config import RunnerConfig
from surveil.lasting import loading
from surveil.screen.printing import print_json, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

_COLUMNS: Final = (
    Column(name="name", least=10),
    Column(name="state", states=True),
    Column(name="busy"),
    Column(name="load", drop=1),
    Column(name="seen", drop=2),
    Column(name="version", drop=4),
    Column(name="labels", least=10, drop=3),
    Column(name="reason", folds=True),
)
DONE: Final = {
    "drain": "takes nothing new, and goes on with what it has",
    "cordon": "gets no work until it is uncordoned",
    "uncordon": "gets work again",
    "revoke": "is no longer let in; its key is worthless",
}


@click.group(
    cls=NearGroup,
    invoke_without_command=True,
    epilog=example(
        "surveil runner --join TOKEN", "surveil runner --label gpu --slots 2", "surveil runner drain spare-2"
    ),
)
@role_flags(RunnerConfig)
@click.pass_context
def runner(ctx: click.Context, /, **flags: Any) -> int:
    """Offer this machine to run jobs.

    On a spare machine `surveil runner --join TOKEN` is the whole set-up; later it starts with the same --data and
    nothing else. The first Ctrl-C lets running jobs end, the second stops at once. The commands below give orders to
    a runner of the pool.
    """
    if ctx.invoked_subcommand is not None:
        typed = [name for name in flags if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if typed:
            raise click.UsageError(f"Flags of `{ctx.invoked_subcommand}` stand after it, not before.", ctx)
        return 0
    config = load_flags(RunnerConfig, flags).value
    with loading():
        from surveil.runner import main

    return int(main(config))


@click.group(
    cls=NearGroup,
    invoke_without_command=True,
    epilog=example("surveil runners", "surveil runners --json", "surveil runners cordon spare-2"),
)
@client_flags
@json_flag
@click.pass_context
def runners(ctx: click.Context, /, *, as_json: bool, **where: str | None) -> None:
    """List the pool of runners, and give them orders."""
    if ctx.invoked_subcommand is not None:
        return
    with connected(where) as dispatcher:
        found = dispatcher.listed("runners")
    if as_json:
        print_json(found)
        return
    if not found:
        tell("No runner has joined yet: `surveil token create` makes a token, `surveil runner --join TOKEN` adds one.")
        return
    print_table(
        _COLUMNS,
        [
            [
                known["name"],
                known["state"],
                f"{known['busy']}/{known['slots']}",
                "" if known["load"] is None else f"{known['load']} %",
                age(known["last_seen_at"]),
                known["version"] or "",
                ", ".join(known["labels"]),
                known["reason"] or "",
            ]
            for known in found
        ],
    )


def _order(order: str, meaning: str) -> click.Command:
    """The command that gives one order; it stands under `runner` and under `runners`."""

    @click.command(order, help=meaning, epilog=example(f"surveil runner {order} spare-2 --reason 'new disk'"))
    @click.argument("name", shell_complete=offered("runners"))
    @click.option("--reason", default="", metavar="TEXT", help="A sentence for whoever wonders later.")
    @client_flags
    def command(name: str, *, reason: str, **where: str | None) -> None:
        with connected(where) as dispatcher:
            dispatcher.ask("runner", {"name": name, "order": order, "reason": reason})
        tell(f"Runner {name} {DONE[order]}.")

    return command


for _command in (
    _order("drain", "Let a runner finish what it has, and give it nothing new."),
    _order("cordon", "Give a runner no work until it is uncordoned."),
    _order("uncordon", "Give a drained or cordoned runner work again."),
    _order("revoke", "Let a runner in no more: its key becomes worthless."),
):
    runner.add_command(_command)
    runners.add_command(_command)
