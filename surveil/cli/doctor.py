"""`doctor`: what is missing or weak on this machine, and for each the next command to type.

What belongs here: the order of the checks, asking the dispatcher, and showing the findings. What does not: the checks
of the machine itself (`findings`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from surveil.cli.engines import check_engine
from surveil.cli.findings import (
    Finding,
    Health,
    check_bucket,
    check_disk,
    check_files,
    check_folder,
    check_git,
    check_libzmq,
    check_memory,
    check_ports,
    check_python,
    check_sandbox,
    check_settings,
    check_system,
    check_user,
)
from surveil.cli.hearing import check_telling
from surveil.cli.noise import all_troubles, did_words, peer_words
from surveil.cli.options import client_flags, example, json_flag
from surveil.errors import ExitCode, NotAllowedError, SurveilError
from surveil.screen.printing import print_json, print_line, print_table
from surveil.screen.table import Column

if TYPE_CHECKING:
    from surveil.config import ClientConfig

PATIENCE_MS: Final = 3_000
_COLUMNS: Final = (Column(name="", states=True), Column(name=""), Column(name="", folds=True))
_LOST: Final = {
    "hooks": " Webhooks are refused until `surveil hook secret` has set each secret anew.",
    "outbox": " What waited to be told until then stays untold.",
}
"""What putting a file aside costs, where that is more than the past."""
CLOCK_MS_MAX: Final = 5_000
"""Clocks further apart than this make ages and durations look wrong; nothing else depends on them."""


@click.command(epilog=example("surveil doctor", "surveil doctor --dispatcher tcp://192.0.2.7:7300 --json"))
@client_flags
@json_flag
def doctor(*, as_json: bool, **where: str | None) -> int:
    """Say what is missing or weak here, and what to type about it.

    Changes nothing; into a bucket it puts an object of a few bytes, and deletes it. Ends with exit code 7 if something
    is broken, and 0 otherwise.
    """
    found = list(_findings(where))
    if as_json:
        print_json(
            [
                {"name": each.name, "health": each.health.value, "sentence": each.sentence, "next": each.next or None}
                for each in found
            ]
        )
    else:
        print_table(_COLUMNS, [[each.health.value, each.name, each.sentence] for each in found])
        wrong = [each for each in found if each.next]
        if wrong:
            print_line("")
            print_line("What to type next:")
        for each in wrong:
            print_line(f"  {each.name}: {each.next}")
    broken = any(each.health is Health.BROKEN for each in found)
    return int(ExitCode.INFRASTRUCTURE if broken else ExitCode.OK)


def _findings(where: dict[str, str | None]) -> Iterator[Finding]:
    yield from check_settings(where.get("config"))
    yield from check_python()
    yield from check_system()
    yield from check_user()
    yield from check_sandbox()
    yield from check_memory()
    yield from check_engine()
    yield from check_git()
    yield from check_libzmq()
    yield from check_files()
    try:
        from surveil.cli.settings import client_settings

        settings = client_settings(where)
    except SurveilError:
        # The first check has said what is wrong; without settings nobody knows what else to look at.
        return
    yield from check_disk(settings.data)
    yield from check_folder(settings.data)
    yield from check_bucket(where.get("config"))
    yield from check_telling(settings.data)
    if settings.server is not None:
        yield from _server(settings)
    else:
        yield from _dispatcher(settings.data, settings.dispatcher)


def _server(settings: ClientConfig) -> Iterator[Finding]:
    """Whether the dispatcher answers through the server that commands ask here."""
    from surveil.cli.blocking import Dispatcher
    from surveil.cli.connecting import way_to

    try:
        with Dispatcher(way_to(settings, typed=None)) as dispatcher:
            status = dispatcher.ask("status", patience_ms=PATIENCE_MS).body
    except SurveilError as error:
        token = error.exit_code is ExitCode.NOT_ALLOWED
        next_ = f"surveil {'login --token' if token else 'doctor'}   (on the dispatcher's machine)"
        yield Finding(name="server", health=Health.BROKEN, sentence=str(error), next=next_)
        return
    yield Finding(name="server", health=Health.OK, sentence=f"answers at {settings.server}")
    yield from _of_status(status)


def _dispatcher(data: Path, address: str | None) -> Iterator[Finding]:
    """Whether the dispatcher answers; where none is known or running here, whether one could listen."""
    from surveil.cli.blocking import Dispatcher
    from surveil.client.access import find_access
    from surveil.config import LISTEN_DEFAULT
    from surveil.net.known import FILE_NAME
    from surveil.places import KEYS, UP_LOCK

    start = f"surveil {'up' if (data / UP_LOCK).exists() else 'dispatcher'} --data {data}"
    try:
        access = find_access(data, address)
    except NotAllowedError as error:
        health = Health.BROKEN if address else Health.OK
        known = str(error) if address else "none known here yet"
        yield Finding(
            name="dispatcher", health=health, sentence=known, next="surveil client --join TOKEN" if address else ""
        )
        yield from check_ports(LISTEN_DEFAULT)
        return
    except SurveilError as error:
        next_ = start if error.exit_code is ExitCode.UNREACHABLE else f"ls -lR {data / KEYS}"
        yield Finding(name="dispatcher", health=Health.BROKEN, sentence=str(error), next=next_)
        return
    try:
        with Dispatcher(access) as dispatcher:
            status = dispatcher.ask("status", patience_ms=PATIENCE_MS).body
    except SurveilError as error:
        here = address is None and (data / FILE_NAME).exists()
        # What to type next is ours to say, and to let the doctor look is not it.
        sentence = str(error).partition("; ")[0]
        next_ = start if here else f"surveil doctor   (on the dispatcher's machine, {access.address.host})"
        if error.exit_code is ExitCode.NOT_ALLOWED:
            next_ = "surveil client --join TOKEN"
        health = Health.BROKEN if address else Health.WEAK
        yield Finding(name="dispatcher", health=health, sentence=sentence.rstrip(".") + ".", next=next_)
        if here:
            yield from check_ports(str(access.address))
        return
    yield Finding(name="dispatcher", health=Health.OK, sentence=f"answers at {access.address}")
    yield from _of_status(status)


def _of_status(status: dict[str, Any]) -> Iterator[Finding]:
    """What the dispatcher's own answer tells about clocks, versions and runners."""
    from surveil import __version__

    about = status["dispatcher"]
    apart_ms = abs((datetime.now(UTC) - datetime.fromisoformat(about["at"])).total_seconds() * 1000)
    if apart_ms > CLOCK_MS_MAX:
        sentence = f"This clock and the dispatcher's are {apart_ms / 1000:.0f} s apart; ages will look wrong."
        yield Finding(name="clock", health=Health.WEAK, sentence=sentence, next="timedatectl set-ntp true")
    else:
        yield Finding(name="clock", health=Health.OK, sentence="agrees with the dispatcher's")
    if about["version"] != __version__:
        sentence = f"The dispatcher runs surveil {about['version']}, this is {__version__}."
        next_ = "git pull && make setup   (in the checkout of surveil on the machine with the older version)"
        yield Finding(name="version", health=Health.WEAK, sentence=sentence, next=next_)
    if not status["runners"]["online"]:
        sentence = "No runner is online, so jobs wait."
        yield Finding(name="runners", health=Health.WEAK, sentence=sentence, next="surveil token create")
    for waiting in status["waiting"]:
        # That there is more work than slots is no fault of the machine.
        if "`" in waiting["reason"]:
            number = waiting["jobs"]
            sentence = f"{number} {'job waits' if number == 1 else 'jobs wait'}: {waiting['reason']}"
            next_ = f"surveil show {waiting['oldest'].partition('/')[0]}"
            yield Finding(name="queue", health=Health.WEAK, sentence=sentence, next=next_)
    yield from _of_noise(status)
    for name in status.get("put_aside", []):
        sentence = (
            f"{name} in the dispatcher's data folder was damaged and is put aside; a new one was begun, and what "
            f"stands in this one is kept for whoever looks.{_LOST.get(name.partition('.')[0], '')}"
        )
        next_ = f"mv {name} ELSEWHERE   (in that folder, with the files beside it; once you have looked at its disk)"
        yield Finding(name="damage", health=Health.WEAK, sentence=sentence, next=next_)
    for watched in status["watching"]:
        if watched["problem"]:
            sentence = f"{watched['repo']}: {watched['problem']}"
            yield Finding(
                name="repository", health=Health.WEAK, sentence=sentence, next=f"git ls-remote -- {watched['repo']}"
            )


def _of_noise(status: dict[str, Any]) -> Iterator[Finding]:
    """What came to the dispatcher and should not have; one of an older version does not tell."""
    if ports := status.get("ports"):
        sentence = f"Since its start there came to the dispatcher's ports: {all_troubles(ports)}."
        yield Finding(name="noise", health=Health.WEAK, sentence=sentence, next="surveil status")
    for each in status.get("offenders", []):
        who, peer = peer_words(**each), each["peer"]
        sentence = f"{who[0].upper()}{who[1:]} did what it should not: {did_words(each['did'])}."
        next_ = f"surveil peer revoke {shlex.quote(peer)} --role {each['role']}" if peer else "surveil token list"
        yield Finding(name="peer", health=Health.WEAK, sentence=sentence, next=next_)
