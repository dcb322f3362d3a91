"""The rules of the house that no other tool checks: sizes, docstrings, forbidden words, documents that exist.

A rule of layout, style, types or imports belongs to ruff, mypy or import-linter, not here. Each rule is a
function from text to complaints, so that a test can show that it bites.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
TINY_LINES_MAX = 10
"""Whoever has so few lines needs none to say what else belongs there."""
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
# The wire vocabulary is one list of plain records; two files would be two places to look for a message.
VOCABULARY = '"""Every message that processes of surveil say to each other'

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|NotImplementedError")
# Folders in which machines keep their checkouts: a path below one of them is true on one machine only.
MACHINE_PATH = re.compile(r"(?<![\w.~:/-])/(?:home|Users|root|work)/\w")
# Right below the root it has a name like `/src`, which examples have as well.
THIS_CHECKOUT = re.compile(rf"(?<![\w~.]){re.escape(str(ROOT))}/" if len(ROOT.parts) > 2 else r"(?!)")
# After `except Exception:` a reason of at least two words, behind an optional noqa.
REASON = re.compile(r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?[\s:;,.-]*\w+\s+\w+")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)\s]*)?\)")

TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".cfg",
    ".yml",
    ".yaml",
    ".txt",
    ".html",
    ".js",
    ".css",
    ".sql",
    ".mako",
}
CODE_FOLDERS = ("surveil", "tests", "benchmarks", "tools")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """Yield every text of the project but this one, which has to spell what it forbids."""
    for folder in (*CODE_FOLDERS, "docs"):
        paths = sorted((ROOT / folder).rglob("*"))
        yield from (path for path in paths if path.suffix in TEXT_SUFFIXES and path != Path(__file__))
    yield from (path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in TEXT_SUFFIXES)
    yield from (ROOT / name for name in ("Makefile", ".ci/programs", ".ci/run", "LICENSE"))


class Read(NamedTuple):
    """What the rules ask of a module."""

    docstring: str
    functions: list[tuple[int, str, int]]
    """Of each the line, the name and how many lines it has."""
    broad: list[int]
    """The lines that catch everything."""


@cache
def read(text: str) -> Read:
    """Read a module once for all rules that ask for it; its tree would fill the memory."""
    tree = ast.parse(text)
    found = Read(ast.get_docstring(tree) or "", [], [])
    ahead: list[ast.AST] = [tree]
    for node in ahead:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                found.functions.append((node.lineno, node.name, length))
            case ast.ExceptHandler(type=caught, lineno=at) if _catches_everything(caught):
                found.broad.append(at)
            case ast.Call(func=ast.Attribute(attr="suppress"), args=args, lineno=at) if any(
                _catches_everything(arg) for arg in args
            ):
                found.broad.append(at)
            case ast.Name() | ast.Constant():
                continue
            case _:
                pass
        # What ast.walk would do in twice the time; there are a million of them.
        for value in node.__dict__.values():
            if isinstance(value, list):
                ahead += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                ahead.append(value)
    return found


def complaints(paths: list[Path], rule: Callable[[str], Iterator[str]]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {said}" for path in paths for said in rule(path.read_text())]


def too_long(text: str) -> Iterator[str]:
    lines = len(text.splitlines())
    if lines > MODULE_LINES_MAX and not text.startswith(VOCABULARY):
        yield f"{lines} lines, of at most {MODULE_LINES_MAX}; split it where its first sentence has an 'and'"
    for at, name, length in read(text).functions:
        if length > FUNCTION_LINES_MAX:
            yield f"line {at}: {name} has {length} lines, of at most {FUNCTION_LINES_MAX}"


def without_docstring(text: str) -> Iterator[str]:
    if not read(text).docstring:
        yield "has no docstring that says what it is"


def without_bounds(text: str) -> Iterator[str]:
    said = read(text).docstring.replace("\n", " ")
    if len(text.splitlines()) > TINY_LINES_MAX and not ("What belongs here:" in said and "What does not:" in said):
        yield "has a docstring that does not say what belongs here, and what does not"


def _catches_everything(caught: ast.expr | None) -> bool:
    match caught:
        case None | ast.Name(id="Exception" | "BaseException"):
            return True
        case ast.Tuple(elts=kinds):
            return any(_catches_everything(kind) for kind in kinds)
        case _:
            return False


def broad_catches(text: str) -> Iterator[str]:
    lines = text.splitlines()
    for at in read(text).broad:
        if not REASON.search(lines[at - 1]):
            yield f"line {at}: catches everything and does not say why on the same line"


def unfinished(text: str) -> Iterator[str]:
    for at, line in enumerate(text.splitlines() if UNFINISHED.search(text) else (), start=1):
        if found := UNFINISHED.search(line):
            yield f"line {at}: {found[0]}: finish it, or write down in docs/ that it is not there"


def machine_paths(text: str) -> Iterator[str]:
    for at, line in enumerate(text.splitlines(), start=1):
        if MACHINE_PATH.search(line) or THIS_CHECKOUT.search(line):
            yield f"line {at}: names a path of one machine"


def forwarding(text: str, package: str) -> Iterator[str]:
    """Complain about imports at the top of an `__init__.py` from modules of its own package."""
    for node in ast.parse(text).body:
        match node:
            case ast.ImportFrom(level=level, module=module, lineno=at):
                own = level > 0 or module == package or (module or "").startswith(package + ".")
            case ast.Import(names=names, lineno=at):
                own = any(name.name.startswith(package + ".") for name in names)
            case _:
                continue
        if own:
            yield f"line {at}: forwards what another module implements; import it from there"


def broken_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(document.read_text()):
        if "://" not in target and not target.startswith("mailto:") and not (document.parent / target).exists():
            yield f"{document.relative_to(ROOT)}: links to {target}, which does not exist"


def test_modules_and_functions_fit_the_eye() -> None:
    assert complaints(python_files("surveil"), too_long) == []


def test_every_module_says_what_belongs_in_it() -> None:
    assert complaints(python_files("surveil", "benchmarks", "tools"), without_docstring) == []
    # A migration is one change of the tables, and nothing is ever added to it.
    rooms = [path for path in python_files("surveil") if "migrations" not in path.parts]
    assert complaints(rooms, without_bounds) == []


def test_nothing_is_left_for_later() -> None:
    assert complaints(list(text_files()), unfinished) == []


def test_whoever_catches_everything_says_why() -> None:
    assert complaints(python_files(*CODE_FOLDERS), broad_catches) == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert complaints(list(text_files()), machine_paths) == []


def test_packages_hold_their_contract_and_forward_no_implementation() -> None:
    found = []
    for path in (ROOT / "surveil").rglob("__init__.py"):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        found += [f"{package}: {said}" for said in forwarding(path.read_text(), package)]
    assert found == []


def test_every_folder_of_tests_is_a_package() -> None:
    """Otherwise two test modules of one name hide each other."""
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_constraints_name_no_address_and_no_path_and_hash_every_package() -> None:
    for name in ("constraints.txt", "constraints-dev.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert " @ " not in text
        assert not re.search(r"^-", text, re.MULTILINE), "an option of pip would point at an index or a folder"
        pins = re.split(r"\n(?=\S)", text)
        assert [pin.split()[0] for pin in pins if "==" in pin and "--hash=sha256:" not in pin] == []


def test_the_runtime_pins_are_part_of_the_development_pins() -> None:
    runtime, development = (
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("constraints.txt", "constraints-dev.txt")
    )
    assert runtime - development == set()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert [said for document in documents for said in broken_links(document)] == []


def test_every_document_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    reached: set[Path] = set()
    ahead = [index] if index.exists() else []
    while ahead:
        document = ahead.pop()
        if document in reached or not document.exists() or document.suffix != ".md":
            continue
        reached.add(document)
        ahead += [(document.parent / target).resolve() for target in LINK.findall(document.read_text())]
    lost = sorted(set((ROOT / "docs").rglob("*.md")) - reached)
    assert [str(path.relative_to(ROOT)) for path in lost if index.exists()] == []


def test_every_wire_message_is_documented() -> None:
    code, page = ROOT / "surveil" / "protocol.py", ROOT / "docs" / "protocol.md"
    names = [
        node.name
        for node in (ast.parse(code.read_text()).body if code.exists() else [])
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.decorator_list
    ]
    text = page.read_text() if page.exists() else " ".join(f"`{name}`" for name in names)
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (too_long, '"""Long."""\n' * (MODULE_LINES_MAX + 1)),
        (too_long, "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX),
        (without_docstring, "x = 1\n"),
        (without_bounds, '"""A room.\n\nWhat belongs here: all.\n"""\n' + "x = 1\n" * TINY_LINES_MAX),
        (unfinished, "# TODO: the rest"),
        (unfinished, "raise NotImplementedError"),
        (machine_paths, "cd /home/someone/surveil"),
        (broad_catches, "try:\n    f()\nexcept:\n    pass\n"),
        (broad_catches, "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass\n"),
        (broad_catches, "try:\n    f()\nexcept (ValueError, Exception) as exc:\n    pass\n"),
        (broad_catches, "with contextlib.suppress(Exception):\n    f()\n"),
        (lambda text: forwarding(text, "surveil.net"), "from surveil.net.transport import Socket\n"),
        (lambda text: forwarding(text, "surveil.net"), "from .transport import Socket\n"),
    ],
)
def test_the_rules_bite(rule: Callable[[str], Iterator[str]], text: str) -> None:
    assert len(list(rule(text))) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (too_long, "def f():\n" + "    pass\n" * (FUNCTION_LINES_MAX - 1)),
        (without_bounds, '"""A room.\n\nWhat belongs here: x. What\ndoes not: y.\n"""\n' + "x = 1\n" * TINY_LINES_MAX),
        (without_bounds, '"""A door."""\n' + "x = 1\n" * (TINY_LINES_MAX - 1)),
        (
            broad_catches,
            "try:\n    f()\nexcept Exception:  # noqa: BLE001 - the plug-in is not ours\n    pass\n",
        ),
        (broad_catches, "try:\n    f()\nexcept OSError:\n    pass\n"),
        (machine_paths, "see surveil/home/page.html and ~/work/surveil"),
        (lambda text: forwarding(text, "surveil.net"), "from surveil.errors import SurveilError\n"),
    ],
)
def test_the_rules_let_good_code_pass(rule: Callable[[str], Iterator[str]], text: str) -> None:
    assert list(rule(text)) == []
