"""`up --once`: one verdict for the HEAD of each repository, and then nothing is left running.

What belongs here: reading the commits, submitting them, and the exit code. What does not: telling of a build (`story`),
and the processes (`tree`). No observer is needed: what is tested is what HEAD is now.

Everything is kept in a folder that is removed at the end, unless --data names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from surveil import pipeline
from surveil.client import exit_code_of
from surveil.client.asking import Client
from surveil.client.commits import submission
from surveil.config import LISTEN_DEFAULT, UpConfig, data_home
from surveil.core.declared import CONTAINERS
from surveil.errors import ExitCode, InfrastructureError, InvalidError, SurveilError
from surveil.fleet.confining import no_containers_of
from surveil.frozen import dataclass
from surveil.mirror.access import Access
from surveil.mirror.address import Address
from surveil.mirror.sighting import Sighting
from surveil.places import MIRRORS
from surveil.screen.live import Screen
from surveil.up.interrupts import Interrupts
from surveil.up.lock import locked
from surveil.up.repositories import find_repositories, read_head
from surveil.up.story import FollowUp, Teller
from surveil.up.tree import Tree, running

ANY_PORT: Final = "tcp://127.0.0.1:0"
WORST_FIRST: Final = (
    ExitCode.INVALID,
    ExitCode.INFRASTRUCTURE,
    ExitCode.BUILD_FAILED,
    ExitCode.CANCELLED,
    ExitCode.OK,
)
"""Of several verdicts the first of these is the exit code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """A repository's HEAD, ready to be submitted."""

    address: Address
    ref: str
    seen: Sighting


def main(config: UpConfig) -> int:
    """Test the HEADs; returns the exit code. Raises SurveilError."""
    repos = find_repositories(config.repos)
    with _folder(config) as data, locked(data):
        return asyncio.run(_test(config, data, repos))


async def _test(config: UpConfig, data: Path, repos: Sequence[Address]) -> int:
    screen, interrupts = Screen(), Interrupts()
    access = Access(ssh_config=config.ssh_config, credentials=config.credentials)
    heads = [await interrupts.unless_first(asyncio.to_thread(_read, address, data, access)) for address in repos]
    sound = [head for head in heads if not await _complain(head, config, screen)]
    codes = [ExitCode.INVALID] * (len(heads) - len(sound))
    if sound:
        # Whoever listens for nobody else needs no port that people know.
        listen = ANY_PORT if config.listen == LISTEN_DEFAULT else config.listen
        async with running(config, data, listen, screen.say_soon, interrupts) as (tree, client):
            teller = Teller(client, screen, FollowUp(over=True), runners_come=config.runners > 0)
            codes += await interrupts.unless_first(_verdicts(tree, teller, client, sound))
    return int(next(code for code in WORST_FIRST if code in codes))


async def _verdicts(tree: Tree, teller: Teller, client: Client, heads: Sequence[_Head]) -> list[ExitCode]:
    """Submit the commits and wait for their verdicts; raises what makes that impossible."""
    asked = [asyncio.create_task(_verdict(client, teller, head)) for head in heads]
    failing = asyncio.create_task(tree.until_failed())
    try:
        waiting: set[asyncio.Task[Any]] = set(asked)
        while waiting:
            done, _ = await asyncio.wait({*waiting, failing}, return_when=asyncio.FIRST_COMPLETED)
            if failing in done:
                raise failing.result()
            for task in done:
                task.result()
            waiting -= done
        return [task.result() for task in asked]
    finally:
        for task in (*asked, failing):
            task.cancel()
        await asyncio.gather(*asked, failing, return_exceptions=True)


async def _verdict(client: Client, teller: Teller, head: _Head) -> ExitCode:
    build = (await client.ask("submit", submission(head.address, head.ref, head.seen))).body["build"]
    return exit_code_of(await teller.tell(build))


def _read(address: Address, data: Path, access: Access) -> _Head:
    ref, seen = read_head(address, data / MIRRORS, access)
    return _Head(address=address, ref=ref, seen=seen)


async def _complain(head: _Head, config: UpConfig, screen: Screen) -> bool:
    """Say what keeps a commit from being tested at all; whether there is anything."""
    about, seen = f"{head.address.key} {head.seen.sha[:7]}", head.seen
    if seen.pipeline is None:
        await screen.say(f"{about}: {seen.problem}", "weak")
        return True
    loaded = await asyncio.to_thread(pipeline.load, seen.pipeline, seen.pipeline_file, seen.includes)
    if isinstance(loaded, pipeline.Invalid):
        await screen.say_all([f"{about}: the pipeline is not valid.", *loaded.render().split("\n")], "weak")
        return True
    await _object(about, {label for job in loaded.jobs for label in job.labels}, config)
    return False


async def _object(about: str, labels: set[str], config: UpConfig) -> None:
    """Raise if no runner of this machine will have these labels: nobody else joins, so a job would wait for ever."""
    # Every runner has the names of its system and processor as labels.
    own = {*config.labels, platform.system().lower(), platform.machine().lower()}
    if CONTAINERS in labels - own and (why := await asyncio.to_thread(no_containers_of, config)):
        raise InfrastructureError(f"{about}: a job with an image needs containers, and {why}; see `surveil doctor`.")
    missing = sorted(labels - own - {CONTAINERS})
    if missing:
        flags = " ".join(f"--label {label}" for label in missing)
        raise InvalidError(
            f"{about}: a job asks for a runner with {', '.join(missing)}, and only this machine will run it: "
            f"if it is one, say so with {flags}."
        )


@contextlib.contextmanager
def _folder(config: UpConfig) -> Iterator[Path]:
    """The data folder: the one that was named, or one for this time only."""
    if config.data != data_home():
        yield config.data
        return
    try:
        temporary = tempfile.TemporaryDirectory(prefix="surveil-once-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SurveilError(f"No temporary folder can be made: {error.strerror}; name one with --data.") from error
    with temporary as name:
        yield Path(name)
