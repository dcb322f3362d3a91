"""The command about who did what: `audit`.

What belongs here: listing acts, and going through their chain. What does not: which acts there are
(`surveil.answer.auditing`), and what happened by itself, which `surveil story` and `surveil watch` tell.
"""

from __future__ import annotations

import time
from typing import Any, Final

import click

from surveil.answer.auditing import What
from surveil.cli.connecting import connected
from surveil.cli.options import Duration, Number, client_flags, example, json_flag
from surveil.cli.settings import own_settings
from surveil.errors import UsageError
from surveil.screen.printing import print_json, print_line, print_table, tell
from surveil.screen.table import Column
from surveil.screen.words import age

PAGE: Final = 500
_CHECKED_THERE: Final = (
    "`surveil audit --check` reads the book itself and asks no server: type it on the dispatcher's machine, without "
    "--server and --token; `surveil --server URL audit` lists what was done."
)
_COLUMNS: Final = (
    Column(name="age"),
    Column(name="person", least=8),
    Column(name="way", drop=2),
    Column(name="what"),
    Column(name="subject", least=12),
    Column(name="detail", least=8, drop=1),
)


@click.command(
    epilog=example(
        "surveil audit", "surveil audit --what secret-set --since 30d", "surveil audit --person ada --json",
        "surveil audit --check",
    )
)  # fmt: skip
@click.option("--person", default="", metavar="NAME", help="Only what this person did.")
@click.option("--what", default="", metavar="ACT", help="Only acts of this kind, like `cancel` or `secret-set`.")
@click.option("--since", type=Duration(), metavar="DURATION", help="Only what is not older than this.")
@click.option(
    "--limit", type=Number(1, 1_000_000), default=50, show_default=True, metavar="N", help="So many at the most."
)
@click.option("--check", is_flag=True, help="See whether a line was changed or taken out, and print the newest digest.")
@client_flags
@json_flag
def audit(
    person: str, what: str, since: int | None, limit: int, *, check: bool, as_json: bool, **where: str | None
) -> None:
    """List who did what.

    That is by pages, by the HTTP API and by commands; the newest comes first.

    --check is typed on the dispatcher's machine. It goes through the lines that are kept, each of which holds a digest
    over itself and the one before it. Keep the digest that it prints elsewhere: as long as it comes up again, nobody
    wrote the book anew up to there.
    """
    if check:
        _check(where, as_json=as_json)
        return
    if what and what not in {*What}:
        raise UsageError(f"Nobody does `{what}`: acts are {', '.join(f'`{each}`' for each in What)}.")
    about: dict[str, Any] = {"person": person, "what": what}
    if since is not None:
        about["since"] = max(0, time.time_ns() // 1_000_000 - since)
    found: list[dict[str, Any]] = []
    with connected(where) as dispatcher:
        while len(found) < limit:
            asked = min(PAGE, limit - len(found))
            page = dispatcher.ask("audit", {**about, "limit": asked}).body
            found += page
            if len(page) < asked:
                break
            about["before"] = page[-1]["position"]
    if as_json:
        print_json(found)
    elif not found:
        tell("Nobody did anything of the kind.")
    else:
        print_table(_COLUMNS, [_row(each) for each in found])


def _row(act: dict[str, Any]) -> list[str]:
    who = " ".join(filter(None, [act["person"], act["client"] and f"({act['client']})"]))
    return [age(act["at"]), who, act["way"], act["what"], act["subject"], act["detail"]]


def _check(where: dict[str, str | None], *, as_json: bool) -> None:
    from surveil.errors import InfrastructureError, InvalidError
    from surveil.store.acts import FILE, Acts

    data = own_settings(where, _CHECKED_THERE).data
    if not (data / FILE).exists():
        raise InvalidError(f"{data} holds no book of acts: name the dispatcher's folder with --data, on its machine.")
    acts = Acts(data)
    try:
        found = acts.check()
    finally:
        acts.close()
    if as_json:
        print_json({"lines": found.lines, "newest": found.newest, "broken_at": found.broken_at})
    else:
        print_line(found.newest)
    if found.broken_at is not None:
        raise InfrastructureError(
            f"Line {found.broken_at} of {data / FILE} does not follow from the {found.lines} before it: somebody "
            "changed the file, or the disk did; compare it with a copy."
        )
    if not as_json:
        tell(f"All {found.lines} lines follow from one another.")
