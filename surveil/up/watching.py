"""`up` as it usually runs: until Ctrl-C, testing each new commit.

What belongs here: the greeting, which builds are told of, and the end. What does not: how one build is told of
(`story`), and the processes (`tree`).
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from surveil import __version__
from surveil.client import VERDICTS
from surveil.client.asking import Client
from surveil.client.following import follow_journal
from surveil.config import UpConfig, data_home
from surveil.core.spelling import format_duration
from surveil.errors import ExitCode, SurveilError
from surveil.mirror.address import Address
from surveil.screen.live import Screen
from surveil.screen.words import commit_line
from surveil.up.interrupts import Interrupted, Interrupts
from surveil.up.lock import locked
from surveil.up.pages import link_to, require_apart
from surveil.up.repositories import find_repositories
from surveil.up.story import FollowUp, Teller
from surveil.up.tree import LOG_NAME, OUTAGE_MS, Tree, running

BUILDS_MAX: Final = 8
"""So many builds are told of at once; the others wait for their turn, and nothing of them is left out."""
RECENT: Final = 50
"""So many of the newest builds are looked through for open ones."""
SPARE_TOKEN_MS: Final = 3_600_000
PROBLEMS_MS: Final = 5_000
"""How often the repositories are asked after."""
CUT_PATIENCE_MS: Final = 2_000
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def main(config: UpConfig) -> int:
    """Run until a signal; returns the exit code. Raises SurveilError."""
    require_apart(config)
    repos = find_repositories(config.repos)
    with locked(config.data):
        return asyncio.run(_watch(config, repos))


async def _watch(config: UpConfig, repos: Sequence[Address]) -> int:
    screen, interrupts = Screen(goes_on=True), Interrupts()
    cut: list[str] = []
    try:
        async with running(config, config.data, config.listen, screen.say_soon, interrupts) as (tree, client):
            tree.watch([address.key for address in repos])
            tree.serve_pages()
            tree.tell_others()
            try:
                await interrupts.unless_first(_greet(tree, client, config, repos, screen))
                await interrupts.unless_first(_live(tree, client, config, screen))
            finally:
                screen.end()
                cut = await _open_builds(client)
                await screen.say("Stopping; Ctrl-C again stops at once.")
    except Interrupted:
        await screen.say_all(["Stopped.", *(f"  cut short: {line}" for line in cut)])
        if cut:
            await screen.say(
                "What was cut short runs again when surveil is up again; `surveil cancel BUILD` then ends it for good."
            )
    return int(ExitCode.INTERRUPTED if interrupts.second.is_set() else ExitCode.OK)


async def _greet(tree: Tree, client: Client, config: UpConfig, repos: Sequence[Address], screen: Screen) -> None:
    """Say what runs where, and how another machine joins."""
    slots = "1 slot" if config.slots == 1 else f"{config.slots} slots"
    each = " each" if config.runners > 1 else ""
    facts = [
        ("address", str(tree.address)),
        ("data", str(config.data)),
        ("watching", ", ".join(address.key for address in repos)),
        ("every", format_duration(config.interval_ms) if config.interval_ms is not None else ""),
        ("runners", f"{config.runners} with {slots}{each}" if config.runners else "none on this machine"),
        ("pages", await link_to(config.data, tree.pages, config.public_url) if tree.pages else ""),
        ("ask it", f"surveil builds{_where(config)}, show BUILD, logs BUILD, story BUILD, status; {elsewhere()}"),
        ("their logs", str(config.data / LOG_NAME)),
        ("spare machine", await _spare(tree, client)),
    ]
    lines = [f"  {name:<15}{value}" for name, value in facts if value]
    await screen.say_all([f"surveil {__version__} is up; Ctrl-C ends it.", *lines])


def elsewhere() -> str:
    """Where commands are typed; and what before them, where no terminal would find `surveil`."""
    programs = Path(sys.executable).parent
    if shutil.which("surveil") is not None or not (programs / "surveil").exists():
        return "in another terminal"
    return f'in another terminal, after export PATH="{programs}:$PATH"'


async def _spare(tree: Tree, client: Client) -> str:
    """The one command that adds a machine, or how to let one in."""
    if tree.address.host in LOOPBACK:
        return (
            "only this machine reaches a loopback address; "
            f"start with --listen tcp://0.0.0.0:{tree.address.port} to add others"
        )
    about = {"role": "runner", "labels": [], "expires_ms": SPARE_TOKEN_MS, "uses": 1}
    token = (await client.ask("token_create", about)).body["token"]
    return f"{joining(token)}   (good once, for {format_duration(SPARE_TOKEN_MS)})"


def joining(token: str) -> str:
    """What is typed on a machine that is to help, as the tutorial has it."""
    return f"surveil runner --join {token}"


async def _live(tree: Tree, client: Client, config: UpConfig, screen: Screen) -> None:
    """Tell of builds and problems until something cannot go on. Raises SurveilError."""
    teller = Teller(client, screen, FollowUp(where=_where(config)), runners_come=config.runners > 0)
    doing = {
        asyncio.create_task(_tell_builds(client, teller), name="builds"),
        asyncio.create_task(_tell_problems(client, screen), name="problems"),
        asyncio.create_task(_fail(tree), name="supervision"),
    }
    try:
        done, _ = await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


def _where(config: UpConfig) -> str:
    """The flags by which commands in another terminal find this dispatcher."""
    return "" if config.data == data_home() else f" --data {shlex.quote(str(config.data))}"


async def _fail(tree: Tree) -> None:
    raise await tree.until_failed()


async def _tell_builds(client: Client, teller: Teller) -> None:
    """Tell of each build that is open now or begins later."""
    turns = asyncio.Semaphore(BUILDS_MAX)

    async def tell(build: int, *, taken_up: bool = False) -> None:
        async with turns:
            await teller.tell(build, taken_up=taken_up)

    async def tell_all(telling: asyncio.TaskGroup) -> None:
        position = (await client.ask("journal", {"after": -1})).body["position"]
        recent = await client.builds(limit=RECENT)
        for build in reversed(recent):
            if build["state"] not in VERDICTS:
                telling.create_task(tell(build["id"], taken_up=build["started_at"] is not None))
        newest = max((build["id"] for build in recent), default=0)
        async for note in follow_journal(client, after=position):
            if note["what"] == "build" and note["build"] > newest:
                newest = note["build"]
                telling.create_task(tell(newest))

    try:
        async with asyncio.TaskGroup() as telling:
            await tell_all(telling)
    except ExceptionGroup as group:
        # They all fail for the same reason, and the sentence of the first says it.
        raise group.exceptions[0] from group


async def _tell_problems(client: Client, screen: Screen) -> None:
    """Say when a repository cannot be read, and when it can be again."""
    known: Mapping[str, str] = {}
    while True:
        body: dict[str, Any] = (await client.ask("status", patience_ms=OUTAGE_MS)).body
        problems = {each["repo"]: each["problem"] for each in body["watching"] if each["problem"]}
        for repo, problem in problems.items():
            if known.get(repo) != problem:
                await screen.say(problem if repo in problem else f"{repo}: {problem}", "weak")
        for repo in known:
            if repo not in problems:
                await screen.say(f"{repo} can be read again.")
        known = problems
        await asyncio.sleep(PROBLEMS_MS / 1000)


async def _open_builds(client: Client) -> list[str]:
    """The builds that an end now cuts short, in words; none if the dispatcher does not say."""
    try:
        async with asyncio.timeout(CUT_PATIENCE_MS / 1000):
            recent = await client.builds(limit=RECENT)
    except (SurveilError, TimeoutError):
        return []
    return [f"build {build['id']}: {commit_line(build)}" for build in recent if build["state"] not in VERDICTS]
