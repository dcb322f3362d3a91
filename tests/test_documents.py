"""What the documents tell people to type is there: commands, flags and targets; and their pipelines are pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from surveil import pipeline
from surveil.cli.grammar import root

ROOT = Path(__file__).parents[1]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "reference" not in path.parts  # Made from the code, and compared with it elsewhere.
]
BLOCK = re.compile(r"^```(?:sh|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(surveil [a-z][^`\n]*|make [a-z][^`\n]*)`")
HERE_DOCUMENT = re.compile(r"<<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)
STARTERS = re.compile(r"^(?!~)(?:.*/)?surveil$")


def typed(page: Path) -> Iterator[list[str]]:
    """The words of every `surveil ...` and `make ...` of a page, from the command's name on."""
    text = page.read_text()
    lines = [line for block in BLOCK.findall(text) for line in HERE_DOCUMENT.sub("", block).splitlines()]
    for line in (*lines, *INLINE.findall(text)):
        words = re.split(r" #| \| ", line)[0].split()
        if words and words[0] == "make":
            yield words
        # Behind `sudo -u surveil` and the like, the command is the last word that could be one.
        at = max((at for at, word in enumerate(words) if STARTERS.match(word)), default=None)
        if at is not None and not {"useradd", "clone", "mv"} & set(words):
            yield ["surveil", *words[at + 1 :]]


def targets() -> set[str]:
    """What `make` can be asked for: the targets with a rule, and one for each benchmark."""
    text = (ROOT / "Makefile").read_text()
    benches = re.findall(r"^BENCHES := (.*)$", text, re.MULTILINE)[0].split()
    return {*re.findall(r"^([a-z-]+):", text, re.MULTILINE), *(f"bench-{name}" for name in benches)}


def objection(words: list[str]) -> str:
    """What is wrong with a command line of ours; empty if nothing is."""
    if words[0] == "make":
        target = next((word for word in words[1:] if "=" not in word), "help")
        return "" if target in targets() else "no such target"
    command: click.Command = root
    for word in words[1:]:
        if word == "--":
            break  # What follows is another program's, or a name.
        if isinstance(command, click.Group) and not word.startswith("-"):
            known = command.get_command(click.Context(command), word)
            if known is not None:
                command = known
                continue
            if command is root:
                return f"no command {word}"
        flag = word.partition("=")[0]
        flags = {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
        if flag.startswith("--") and flag not in flags:
            return f"{command.name} has no {flag}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_whatever_a_page_says_to_type_can_be_typed(page: Path) -> None:
    said = {" ".join(words): objection(words) for words in typed(page)}
    assert {line: problem for line, problem in said.items() if problem} == {}


def test_the_pages_say_a_lot_to_type() -> None:
    assert sum(1 for page in PAGES for _ in typed(page)) >= 60
    assert objection(["surveil", "stauts"]) == "no command stauts"
    assert objection(["surveil", "token", "create", "--for-ever"]) == "create has no --for-ever"
    assert objection(["make", "coffee"]) == "no such target"


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_the_pipelines_of_the_first_pages_are_valid(name: str) -> None:
    text = (ROOT / name).read_text()
    found = [text for text in (*BLOCK.findall(text), *HERE_DOCUMENT.findall(text)) if text.startswith("version:")]
    assert len(found) == 1
    assert not isinstance(pipeline.load(found[0], ".surveil.yml"), pipeline.Invalid), found[0]


@pytest.mark.parametrize("name", ["triggers.md"])
def test_the_pipelines_of_a_how_to_are_valid(name: str) -> None:
    text = (ROOT / "docs" / "how-to" / name).read_text()
    found = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    for each in found:
        loaded = pipeline.load(each, ".surveil.yml")
        assert not isinstance(loaded, pipeline.Invalid), loaded.render()
