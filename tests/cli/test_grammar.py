"""The grammar: what `--help` shows, and what it does not pay for."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from surveil.cli.grammar import COMMANDS, root
from surveil.cli.pool import DONE
from surveil.cli.welcome import PIPELINE_FILES
from surveil.core.events import RunnerOrder
from surveil.pipeline import FILENAMES
from tests.cli.conftest import Type

HEAVY = {"alembic", "asyncio", "git", "msgpack", "psutil", "pydantic", "sqlalchemy", "yaml", "zmq"}
LIST_IMPORTS = (
    "import sys; from surveil.cli.failing import run_to_exit_code; from surveil.cli.grammar import root; "
    "run_to_exit_code(root, ['--help']); print(*sys.modules, file=sys.stderr)"
)


def test_help_imports_nothing_but_click_and_the_grammar() -> None:
    done = subprocess.run([sys.executable, "-c", LIST_IMPORTS], capture_output=True, text=True, timeout=60, check=True)
    modules = done.stderr.split()
    assert {module.partition(".")[0] for module in modules} & HEAVY == set()
    assert {module for module in modules if module.startswith("surveil")} == {
        "surveil",
        "surveil.cli",
        "surveil.cli.failing",
        "surveil.cli.grammar",
        "surveil.cli.streams",
        "surveil.core",
        "surveil.core.spelling",
        "surveil.errors",
        "surveil.screen",
        "surveil.screen.unread",
    }


def test_help_names_every_command_with_what_it_does(type_: Type) -> None:
    ended = type_("--help")
    assert (ended.code, ended.err) == (0, "")
    shown = " ".join(ended.out.split())
    for section, entries in COMMANDS.items():
        assert f"{section}:" in ended.out
        for name, entry in entries.items():
            assert f" {name} {entry.help}" in shown


def test_the_examples_at_the_top_of_the_help_have_a_line_each(type_: Type) -> None:
    lines = [line.strip() for line in type_("--help").out.splitlines()]
    assert "Look at what was built:                                      surveil builds" in lines
    assert not any("\\b" in line for line in lines)


@pytest.mark.parametrize(
    ("made", "sentence", "command"),
    [
        ((), "This folder is in no git repository.", "  cd PROJECT "),
        ((".git",), "The repository here has no pipeline file, so its own files say", "  surveil run "),
        ((".git", ".surveil.yml"), "The repository here is described by .surveil.yml.", "  surveil run "),
    ],
)
def test_no_command_at_all_is_told_what_to_type_first(
    type_: Type, home: Path, made: tuple[str, ...], sentence: str, command: str
) -> None:
    for name in made:
        (home / "here" / name).mkdir()
    ended = type_()
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
    assert command in ended.err


def test_the_welcome_knows_the_names_of_pipeline_files() -> None:
    assert PIPELINE_FILES == FILENAMES


def test_a_group_without_a_command_shows_its_help(type_: Type) -> None:
    assert type_("token").err.startswith("Usage: surveil token")


def all_commands() -> Iterator[tuple[str, ...]]:
    """What can be typed, words by words."""

    def below(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if words:
            yield words
        if isinstance(command, click.Group):
            with click.Context(command) as ctx:
                for name in command.list_commands(ctx):
                    found = command.get_command(ctx, name)
                    assert found is not None
                    yield from below(found, (*words, name))

    return below(root, ())


@pytest.mark.parametrize("words", list(all_commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example_and_in_plain_words(type_: Type, words: tuple[str, ...]) -> None:
    ended = type_(*words, "--help")
    assert (ended.code, ended.err) == (0, "")
    example = ended.out.partition("Example:\n")[2]
    assert "surveil " in example
    assert not re.search(r"INTEGER|RANGE|TEXT\b|\[x|<=", ended.out.replace("--reason TEXT", ""))
    assert all(len(line) <= 80 for line in ended.out.splitlines() if line not in example.splitlines())


@pytest.mark.parametrize("words", [("show",), ("status",), ("logs",), ("retry",), ("token", "create"), ("runners",)])
def test_the_help_of_a_command_waits_for_no_socket(words: tuple[str, ...]) -> None:
    script = LIST_IMPORTS.replace("['--help']", repr([*words, "--help"]))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert {module.partition(".")[0] for module in done.stderr.split()} & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("tokn",), "surveil token"),
        (("token", "craete"), "surveil token create"),
        (("runner", "drian", "x"), "surveil runner drain"),
    ],
)
def test_a_misspelt_command_of_a_group_is_answered_with_the_one_that_was_meant(
    type_: Type, words: tuple[str, ...], meant: str
) -> None:
    ended = type_(*words)
    assert ended.code == 2
    assert f"Did you mean `{meant}`?" in ended.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "abc"), "`abc` is no build's number; `surveil builds` lists them."),
        (("show", "0"), "`0` is no build's number"),
        (("show", "9" * 400), "is no build's number"),
        (("logs", "12/test"), "`12/test` is a job: type its build and its name apart, `12 test`."),
        (("builds", "--limit", "5000"), "`5000` is not a whole number from 1 to 1000."),
        (("builds", "--limit", "\u0663"), "is not a whole number"),
    ],
)
def test_a_number_that_is_none_is_answered_with_what_would_be(
    type_: Type, words: tuple[str, ...], sentence: str
) -> None:
    ended = type_(*words)
    assert ended.code == 2
    assert sentence in ended.err


def test_the_orders_are_those_that_a_dispatcher_knows() -> None:
    assert {*DONE} == {order.value for order in RunnerOrder}


def test_the_module_and_the_script_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surveil", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("surveil ")
