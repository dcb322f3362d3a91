"""Writes the reference pages from the code: `python -m tools.reference`.

What belongs here: the pages `commands.md`, `configuration.md` and `json.md` below `docs/reference`, and the schema of
pipeline files. What does not: pages that people write; what documents hold (`surveil.answer.shapes`), and what the
schema says (`schema`). A test compares the pages with what this would write.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Final

import click

from surveil.answer.shapes.kinds import REFERENCE, Schema
from surveil.cli.grammar import COMMANDS, root
from surveil.config import REFS_DEFAULT, ROLES
from surveil.config.roles import Setting, settings_of
from surveil.core.policy import Policy
from surveil.errors import ExitCode
from surveil.pipeline import SCHEMA_FILE
from tools.schema import schema
from tools.shapes import shapes

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
WRITTEN: Final = "<!-- Written by `make docs` from the code; changes made here are lost. -->"
EXITS: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "it went well; of a build: it passed",
    ExitCode.BUILD_FAILED: "the build failed",
    ExitCode.USAGE: "what was typed cannot be meant",
    ExitCode.INVALID: "the configuration or the pipeline is invalid",
    ExitCode.UNREACHABLE: "the dispatcher does not answer",
    ExitCode.NOT_ALLOWED: "the key or token does not allow it",
    ExitCode.NOT_FOUND: "there is no such build, job, runner, ref or file",
    ExitCode.INFRASTRUCTURE: "a machine did not do its part; of a build: it is errored",
    ExitCode.CANCELLED: "the build was cancelled",
    ExitCode.TIMED_OUT: "the time to wait is over",
    ExitCode.INTERRUPTED: "it was interrupted, as by Ctrl-C",
}


def pages() -> dict[Path, str]:
    """Every page that this module writes, with its text."""
    written = {"commands.md": commands(), "configuration.md": configuration(), "json.md": json_shapes()}
    texts = {FOLDER / name: "\n".join([*lines, ""]) for name, lines in written.items()}
    # One for people to point their editors at, and one that `surveil schema` prints, wherever it is installed.
    return texts | dict.fromkeys((FOLDER / SCHEMA_FILE.name, SCHEMA_FILE), schema())


# ---- commands ------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """The page about the command line."""
    yield from ["# Commands", "", WRITTEN, ""]
    yield "`surveil COMMAND` and `python -m surveil COMMAND` are the same."
    yield "Data goes to stdout, progress and everything that surveil itself has to say to stderr."
    yield "Commands that print data take `--json`; [the shapes](json.md) are stable."
    yield "Colours and tables appear on a terminal only, and colours not where `NO_COLOR` is set."
    yield "Flags that are settings can also be set [in the environment and in a file](configuration.md)."
    yield from ["", "## Exit codes", "", "| code | means |", "|---|---|"]
    yield from (f"| {int(code)} | {EXITS[code]} |" for code in ExitCode)
    for section, entries in COMMANDS.items():
        yield from ["", f"## {section}"]
        for name in entries:
            command = root.get_command(click.Context(root, info_name="surveil"), name)
            assert command is not None, f"{name} has no command"
            yield from _command(command, click.Context(command, info_name=f"surveil {name}"))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.info_name or ""
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield from ["", f"### `{path}`", "", "```text", usage, "```", ""]
    yield from _paragraphs(command.help or "")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options:
        yield from ["", "| flag | does |", "|---|---|"]
        yield from (_option(option) for option in options)
    if command.epilog:
        examples = command.epilog.replace("\b", "").replace("Example:", "").strip("\n").splitlines()
        yield from ["", "```sh", *(line.strip() for line in examples if line.strip()), "```"]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(inner, click.Context(inner, info_name=f"{path} {name}"))


def _paragraphs(text: str) -> Iterator[str]:
    """A help text as paragraphs of one line each."""
    for number, paragraph in enumerate(text.replace("\b\n", "").split("\n\n")):
        if number:
            yield ""
        yield " ".join(paragraph.split())


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    metavar = "" if option.is_flag else f" `{_metavar(option)}`"
    default = f" (default: `{option.default}`)" if option.show_default and option.default is not None else ""
    return f"| {names}{metavar} | {_cell(option.help or '')}{default} |"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar.replace("|", "\\|")
    if isinstance(option.type, click.Choice):
        return "\\|".join(map(str, option.type.choices))
    return "N"


# ---- configuration -------------------------------------------------------------------------------


def configuration() -> Iterator[str]:
    """The page about settings."""
    yield from ["# Configuration", "", WRITTEN, ""]
    yield "Nothing needs to be configured: every setting has a default."
    yield "What is set in several places is taken from the first of these:"
    yield ""
    yield "1. a flag;"
    yield "2. the environment: `SURVEIL_KEY`, or `SURVEIL_KEY_FILE` with the path of a file that holds the value;"
    yield (
        "3. the configuration file: `--config`, else `SURVEIL_CONFIG`, else `config.toml` in the platform's user "
        "configuration folder;"
    )
    yield "4. the default."
    yield ""
    yield "`surveil config show --role ROLE --origin` says where each value came from."
    yield "Unknown keys and variables are errors, with the one that was probably meant."
    yield from [
        "",
        "In the file, keys at the top are for every role that has them, and those of a role's table for it alone:",
        "",
    ]
    yield from ["```toml", 'dispatcher = "tcp://192.0.2.7:7300"', "", "[role.runner]", "slots = 4", 'labels = ["gpu"]']
    yield from ["", "[role.dispatcher.policy]", 'lease = "20s"', "```"]
    for name, role in ROLES.items():
        yield from [
            "",
            f"## {name.capitalize()}",
            "",
            "| key | flag | variable | default | meaning |",
            "|---|---|---|---|---|",
        ]
        defaults = _defaults(role)
        yield from (_setting(setting, defaults) for key, setting in settings_of(role).items() if "." not in key)
    yield from ["", "## Policy", ""]
    yield "The numbers that the dispatcher lives by, for `dispatcher` and `up`."
    yield "In the file they stand in a table `policy`."
    yield from ["", "| key | variable | default | meaning |", "|---|---|---|---|"]
    meanings = _policy_meanings()
    for key, setting in settings_of(ROLES["dispatcher"]).items():
        if "." in key:
            value = getattr(Policy(), setting.field.partition(".")[2])
            meaning = meanings.get(setting.field.partition(".")[2], "")
            yield f"| `{key}` | `{setting.variable}` | `{setting.show(value)}` | {_cell(meaning)} |"


def _defaults(role: type) -> dict[str, object]:
    """The defaults that are the same on every machine."""
    return {each.name: each.default for each in fields(role) if each.default is not MISSING}


def _setting(setting: Setting, defaults: Mapping[str, object]) -> str:
    default = defaults.get(setting.field)
    shown = f"`{setting.show(default)}`" if default not in {None, (), REFS_DEFAULT} else ""
    meaning = setting.meaning[:1].upper() + setting.meaning[1:]
    return f"| `{setting.key}` | `{setting.flag}` | `{setting.variable}` | {shown} | {_cell(meaning)}. |"


def _policy_meanings() -> dict[str, str]:
    """The sentences below the fields of `Policy`; a field without one shares that of the next field or explains
    itself.
    """
    source = Path(__file__).parents[1] / "surveil" / "core" / "policy.py"
    (policy,) = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)]
    meanings: dict[str, str] = {}
    name = ""
    for node in policy.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                meanings[name] = " ".join(text.split())
    return meanings


# ---- JSON ----------------------------------------------------------------------------------------


def json_shapes() -> Iterator[str]:
    """The page about documents."""
    yield from ["# JSON", "", WRITTEN, ""]
    yield "What `--json` prints: one document, or for streams a line for each."
    yield "Times are RFC 3339 in UTC with milliseconds, durations are integers of milliseconds."
    yield "Values that are not known are `null`."
    yield "Keys may be added, and are never removed or given another meaning."
    yield "The HTTP API sends the same documents; `/api/v1/openapi.json` describes each route's."
    printed = shapes()
    names = {each.shape.component: each.shape.name for each in printed}
    for each in printed:
        shape, example = each.shape, dict(each.example)
        assert example.keys() == shape.keys.keys(), f"{shape.name}: {example.keys() ^ shape.keys.keys()}"
        yield from [
            "",
            f"## {shape.name}",
            "",
            f"{_place(each.printed_by)}.",
            "",
            "| key | is | holds |",
            "|---|---|---|",
        ]
        for key, meaning in shape.meanings.items():
            yield f"| `{key}` | {_kind(shape.keys[key], names)} | {_cell(meaning)} |"
        for key in ("jobs", "attempts"):
            if key in example:
                example[key] = ["..."]
        yield from ["", "```json", json.dumps(example, indent=2), "```"]


def _kind(schema: Schema, names: Mapping[str, str]) -> str:
    """What a value is, in a few words; documents with a section of their own lead there."""
    if "$ref" in schema:
        name = names[str(schema["$ref"]).removeprefix(REFERENCE)]
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if "anyOf" in schema:
        return " or ".join(_kind(each, names) for each in schema["anyOf"])
    kinds = schema["type"]
    return " or ".join(_word(schema, kind, names) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _word(schema: Schema, kind: str, names: Mapping[str, str]) -> str:
    match kind:
        case "string":
            return "time" if "pattern" in schema else "word" if "enum" in schema else "text"
        case "boolean":
            return "true or false"
        case "array":
            return f"list: {_kind(schema['items'], names)}"
        case "object":
            return f"map: {_kind(schema['additionalProperties'], names)}" if _is_map(schema) else "document"
        case _:
            return kind


def _is_map(schema: Schema) -> bool:
    return "additionalProperties" in schema


def _place(printed_by: str) -> str:
    return f"Stands {printed_by}" if printed_by.startswith("in ") else f"Printed by {printed_by}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the pages that differ."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
