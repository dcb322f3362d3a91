"""The reference is what the code says, and the help is complete."""

import re

import click
import pytest

from surveil.cli.grammar import COMMANDS, Entry, root
from surveil.errors import ExitCode
from tools.reference import EXITS, pages

ENTRIES = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


def test_the_pages_are_what_the_code_would_write() -> None:
    stale = [path.name for path, text in pages().items() if not path.exists() or path.read_text() != text]
    assert stale == [], "type `make docs`"


def test_every_exit_code_is_explained() -> None:
    assert set(EXITS) == set(ExitCode)


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in ENTRIES:
        command = root.get_command(click.Context(root), name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items())
def test_the_short_help_is_the_commands_own_first_sentence(name: str, entry: Entry) -> None:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert (command.help or "").partition("\n")[0] == entry.help


@pytest.mark.parametrize(("name", "command"), every_command(), ids=[name for name, _ in every_command()])
def test_every_command_has_an_example_that_its_grammar_takes(name: str, command: click.Command) -> None:
    examples = re.findall(r"^ *((?:\S+=\S+ )?surveil .*)$", command.epilog or "", re.MULTILINE)
    assert examples, f"`surveil {name} --help` shows no example"
    both_spellings = name.startswith(("runner ", "runners ", "peer ", "peers "))
    assert both_spellings or any(f"surveil {name}" in example for example in examples)


@pytest.mark.parametrize(("name", "command"), every_command(), ids=[name for name, _ in every_command()])
def test_every_flag_says_what_it_does(name: str, command: click.Command) -> None:
    silent = [each.name for each in command.params if isinstance(each, click.Option) and not each.help]
    assert silent == [], name
