"""The grammar: what `--help` shows, and what it does not pay for."""

import subprocess
import sys

from surveil.cli.grammar import COMMANDS
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
        "surveil.core",
        "surveil.core.spelling",
        "surveil.errors",
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
    assert "Look at what was built:                         surveil builds" in lines
    assert not any("\\b" in line for line in lines)


def test_no_command_at_all_is_shown_the_help(type_: Type) -> None:
    ended = type_()
    assert ended.code == 2
    assert ended.err.startswith("Usage: surveil")
    assert type_("token").err.startswith("Usage: surveil token")


def test_the_module_and_the_script_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surveil", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("surveil ")
