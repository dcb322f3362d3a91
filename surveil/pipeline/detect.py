"""Zero configuration: what the maintainers of a repository without a pipeline file would run, as a pipeline file.

What belongs here: the rules that look at a commit's root files, their order, and the text that they write.
What does not: reading the commit (the observer and the cli do), and Python's many ways (`detect_python`).

The first rule that knows what to do wins. Rust and Go stand before JavaScript because a `package.json` at the root
is often there for formatters and documents only. Python stands before Rust because a Python package that is
partly Rust builds that part itself, while no crate tests the package. A `Makefile` comes last: its `test` target
mostly assumes an environment that the other rules create.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from surveil.frozen import dataclass
from surveil.pipeline.detect_python import PYTHON_FILES, detect_python
from surveil.pipeline.recipe import Recipe, Step, table_at, toml_table

MAKEFILES: Final = ("GNUmakefile", "makefile", "Makefile")
"""As make looks for them, first one first."""
LOCKFILES: Final = ("bun.lock", "bun.lockb", "pnpm-lock.yaml", "yarn.lock", "package-lock.json", "npm-shrinkwrap.json")

READ_FILES: Final = frozenset({*PYTHON_FILES, *MAKEFILES, "package.json", "Cargo.toml", "go.mod"})
"""The files at a commit's root whose text `detect` looks into; of all others it is enough to know the name."""

_TARGET: Final = re.compile(r"^(?![\t #.])([^:=#\n]+):(?!=)", re.MULTILINE)
_PLAIN_TARGET: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_NPM_PLACEHOLDER: Final = "no test specified"

Files: TypeAlias = Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What was recognised: `rule` says so in words, `text` is the `.surveil.yml` that means the same."""

    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """Nothing was recognised; `sentence` says what to write."""

    sentence: str


_LOOKED_FOR: Final = (
    "looked for pyproject.toml, setup.py, tox.ini, Cargo.toml, go.mod, a package.json with a test script, "
    "a Makefile with a test or check target"
)
_TARGETS_SHOWN: Final = 6
_TARGET_CHARS_MAX: Final = 40


def detect(files: Files) -> Detected | Nothing:
    """Choose what to run from the files at a commit's root.

    `files` maps the name of each entry of the root folder to its text, or to None for a folder, for a file that is
    not in `READ_FILES`, and for one that is too large or no text.
    """
    for rule in _RULES:
        recipe = rule(files)
        if recipe is not None:
            return Detected(rule=recipe.rule, text=write(recipe))
    return Nothing(
        sentence=(
            "no pipeline file, and nothing that says how to test this commit "
            f"({'; '.join(_near_misses(files)) or _LOOKED_FOR}): "
            "write a .surveil.yml, for example `jobs: {test: {steps: [{run: ./run-tests}]}}`"
        )
    )


def _near_misses(files: Files) -> Iterator[str]:
    """What almost said how to test this commit: whoever wonders why it is not taken has it before their eyes."""
    if files.get("pyproject.toml") is not None:
        yield "pyproject.toml describes no project and names no tests"
    if files.get("package.json") is not None:
        yield "package.json has no test script"
    if name := _makefile(files):
        targets = [target for target in _targets(files[name] or "") if _PLAIN_TARGET.fullmatch(target)]
        shown = [target for target in targets if len(target) <= _TARGET_CHARS_MAX][:_TARGETS_SHOWN]
        others = " and others" if len(shown) < len(targets) else ""
        only = f", only {', '.join(shown)}{others}" if shown else ""
        yield f"{name} has no target test or check{only}"


def write(recipe: Recipe) -> str:
    """Write a recipe as a `.surveil.yml` with one job."""
    lines = [f"# {recipe.rule}", "version: 1", "jobs:", "  test:", "    steps:"]
    for step in recipe.steps:
        lines += [f"      - name: {step.name}", "        run: |"]
        lines += [f"          {line}" for line in step.lines]
    return "\n".join(lines) + "\n"


def _rust(files: Files) -> Recipe | None:
    text = files.get("Cargo.toml")
    if text is None:
        return None
    workspace = table_at(toml_table(text), "workspace")
    # A workspace that names its default members has said what is tested by default.
    whole = " --workspace" if workspace and "default-members" not in workspace else ""
    locked = " --locked" if "Cargo.lock" in files else ""
    return Recipe(
        rule=f"Cargo.toml: cargo test{whole}",
        steps=(
            Step("Build", (f"cargo test --no-run{whole}{locked}",)),
            Step("Test", (f"cargo test{whole}{locked}",)),
        ),
    )


def _go(files: Files) -> Recipe | None:
    if "go.mod" not in files:
        return None
    return Recipe(
        rule="go.mod: go test ./...",
        steps=(Step("Build", ("go build ./...",)), Step("Test", ("go test ./...",))),
    )


def _javascript(files: Files) -> Recipe | None:
    text = files.get("package.json")
    if text is None:
        return None
    try:
        package = json.loads(text)
    except (ValueError, RecursionError):
        package = {"scripts": {"test": "unreadable"}}  # npm will say what is wrong with the file, better than we.
    script = table_at(package, "scripts").get("test")
    if not isinstance(script, str) or not script.strip() or _NPM_PLACEHOLDER in script:
        return None
    manager = _package_manager(files, package)
    prepare: list[str] = []
    if manager != "npm":
        prepare = [
            'export PATH="$TMPDIR/node/bin:$PATH"',
            f'command -v {manager} > /dev/null || npm install --global --prefix "$TMPDIR/node" {manager}',
        ]
    # Only what the lock file says is installed; a lock file that is out of date is a failure, as it is for everybody.
    locked = {
        "npm": "npm ci" if {"package-lock.json", "npm-shrinkwrap.json"} & set(files) else "npm install",
        "yarn": "yarn install --frozen-lockfile",
        "pnpm": "pnpm install --frozen-lockfile" if "pnpm-lock.yaml" in files else "pnpm install",
        "bun": "bun install",
    }[manager]
    path = prepare[:1]
    return Recipe(
        rule=f"package.json: {manager} install, {manager} test",
        steps=(Step("Install", (*prepare, locked)), Step("Test", (*path, f"{manager} run test"))),
    )


def _package_manager(files: Files, package: object) -> str:
    """The one that the package names, else the one whose lock file is there, else npm."""
    named = package.get("packageManager") if isinstance(package, dict) else None
    if isinstance(named, str) and (name := named.partition("@")[0]) in {"npm", "yarn", "pnpm", "bun"}:
        return name
    lockfile = next((name for name in LOCKFILES if name in files), "package-lock.json")
    return {"bun": "bun", "pnpm": "pnpm", "yarn": "yarn"}.get(lockfile.partition(".")[0].partition("-")[0], "npm")


def _make(files: Files) -> Recipe | None:
    name = _makefile(files)
    if name is None:
        return None
    targets = _targets(files[name] or "")
    target = next((target for target in ("test", "check") if target in targets), None)
    if target is None:
        return None
    return Recipe(rule=f"{name}: make {target}", steps=(Step("Test", (f"make {target}",)),))


def _makefile(files: Files) -> str | None:
    return next((name for name in MAKEFILES if files.get(name) is not None), None)


def _targets(makefile: str) -> list[str]:
    """The targets of a makefile in their order, each once."""
    return list(dict.fromkeys(target for match in _TARGET.finditer(makefile) for target in match[1].split()))


_RULES: Final[tuple[Callable[[Files], Recipe | None], ...]] = (detect_python, _rust, _go, _javascript, _make)
