"""The zero configuration of Python projects: a fresh virtual environment, their test requirements, pytest or unittest.

What belongs here: where Python projects say what their tests need. What does not: other languages (`detect`).

The environment stands in `$TMPDIR`, outside of the work tree, so that no test runner walks into it. The project is
installed in editable mode, as its maintainers have it.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from surveil.frozen import dataclass
from surveil.pipeline.recipe import Recipe, Step, table_at, texts_in, toml_table

REQUIREMENT_FILES: Final = (
    "requirements-test.txt",
    "requirements-tests.txt",
    "requirements-testing.txt",
    "requirements_test.txt",
    "test-requirements.txt",
    "test_requirements.txt",
    "requirements-dev.txt",
    "requirements_dev.txt",
    "dev-requirements.txt",
)
PYTHON_FILES: Final = (
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "noxfile.py",
    "requirements.txt",
    *REQUIREMENT_FILES,
)
TEST_NAMES: Final = ("test", "tests", "testing", "dev")
"""How extras and groups of test requirements are called, best first."""

# A plugin that the configuration uses, by the sign of its use; asked for only where nothing else brings it.
_PLUGINS: Final = {
    "--cov": "pytest-cov",
    "asyncio_mode": "pytest-asyncio",
    "--numprocesses": "pytest-xdist",
    "-n auto": "pytest-xdist",
    "DJANGO_SETTINGS_MODULE": "pytest-django",
    "--benchmark": "pytest-benchmark",
}
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,60}[A-Za-z0-9])?")
_REQUIREMENT: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._\-]*(?:\[[A-Za-z0-9._\-, ]*\])?[A-Za-z0-9._\-<>=!~,*+;'\"() ]*"
)
_REQUIREMENTS_MAX: Final = 200
_EXTRA_IN_SETUP: Final = re.compile(
    r"""extras_require.*?['"](test|tests|testing|dev)['"]\s*(?::|\]\s*=)""", re.DOTALL | re.IGNORECASE
)
_USE_ENVIRONMENT: Final = (
    'export VIRTUAL_ENV="$TMPDIR/venv" PATH="$TMPDIR/venv/bin:$PATH"',
    "export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off",
)
# The root's listing only tells that there is something called `requirements`; what is in it is seen when it is there.
_REQUIREMENTS_IN_FOLDER: Final = (
    "for list in requirements/test.txt requirements/tests.txt requirements/testing.txt requirements/dev.txt; do",
    '  if [ -f "$list" ]; then python -m pip install -r "$list"; break; fi',
    "done",
)
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*([^{}\x00-\x1f\x7f]*)")
# What a step's environment has from surveil; that a test needs another one of these is nobody's intention.
_OURS: Final = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV", "SURVEIL")
_LOOKS_LIKE_PYTEST: Final = "'^(import pytest|from pytest|(async )?def test_)'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One place that may say what the tests need: what to give to pip, and which requirements that means."""

    arguments: str
    needs: str
    for_tests_only: bool
    described: str
    is_group: bool = False


def detect_python(files: Mapping[str, str | None]) -> Recipe | None:
    """Recognise a Python project by `pyproject.toml`, `setup.py` or `tox.ini`; not one that only configures tools."""
    project = toml_table(files.get("pyproject.toml")) or {}
    broken = files.get("pyproject.toml") is not None and toml_table(files.get("pyproject.toml")) is None
    named = _telling_file(files, project)
    installable = (
        broken or "setup.py" in files or bool(table_at(project, "build-system") or table_at(project, "project"))
    )
    mentions_pytest = _mentions_pytest(files)
    if named is None or not (installable or mentions_pytest or "tox.ini" in files):
        return None
    source = _best_source(files, project, wants_pytest=mentions_pytest)
    commands = [_install(files, project, source, installable=installable, wants_pytest=mentions_pytest)]
    if source is not None and source.is_group:
        commands.insert(0, "python -m pip install 'pip>=25.1'")  # Older ones do not know `--group`.
    if source is None and "requirements" in files:
        commands += _REQUIREMENTS_IN_FOLDER
    prepare = ('python3 -m venv "$TMPDIR/venv"', *_USE_ENVIRONMENT, *filter(None, commands))
    described = f"installed with {source.described}, " if source else ""
    runner = "pytest" if mentions_pytest else "pytest or unittest, whichever its tests are written for"
    test = ("python -m pytest",) if mentions_pytest else _pytest_or_unittest()
    return Recipe(
        rule=f"{named}: {described}tested in a fresh virtual environment with {runner}",
        steps=(Step("Install", prepare), Step("Test", (*_USE_ENVIRONMENT, *_tox_environment(files), *test))),
    )


def _telling_file(files: Mapping[str, str | None], project: Mapping[str, Any]) -> str | None:
    """The file that says most: not a `pyproject.toml` that only configures tools, where there is another one."""
    names = ["pyproject.toml", "setup.py", "tox.ini"]
    describes = project.keys() & {"build-system", "project", "dependency-groups"}
    if project and not describes and "pytest" not in (files.get("pyproject.toml") or ""):
        names.append(names.pop(0))
    return next((name for name in names if name in files), None)


def _mentions_pytest(files: Mapping[str, str | None]) -> bool:
    return (
        "pytest.ini" in files
        or "conftest.py" in files
        or any("pytest" in (files.get(name) or "") for name in PYTHON_FILES)
    )


def _install(
    files: Mapping[str, str | None],
    project: Mapping[str, Any],
    source: _Source | None,
    *,
    installable: bool,
    wants_pytest: bool,
) -> str:
    """The one pip command that installs the project, what its tests need, and the test runner."""
    arguments: list[str] = []
    extras = source.arguments if source is not None and source.arguments.startswith("[") else ""
    if installable and not _is_only_an_application(files, project):
        arguments.append(f"-e '.{extras}'")
    else:
        declared = table_at(project, "project")
        arguments += _quoted_requirements(texts_in(declared.get("dependencies")))
        if extras:
            arguments += _quoted_requirements(texts_in(table_at(declared, "optional-dependencies").get(extras[1:-1])))
        if "requirements.txt" in files and not declared:
            arguments.append("-r requirements.txt")
    if source is not None and not extras:
        arguments.append(source.arguments)
    brought = source.needs if source is not None else ""
    if wants_pytest and "pytest" not in brought:
        arguments.append("pytest")
        configured = "\n".join(
            files.get(name) or "" for name in ("pyproject.toml", "setup.cfg", "tox.ini", "pytest.ini")
        )
        arguments += dict.fromkeys(plugin for sign, plugin in _PLUGINS.items() if sign in configured)
    return f"python -m pip install {' '.join(arguments)}" if arguments else ""


def _is_only_an_application(files: Mapping[str, str | None], project: Mapping[str, Any]) -> bool:
    """By the convention of uv: without a build system only what the project needs is installed, not itself."""
    uses_uv = "uv.lock" in files or bool(table_at(project, "tool", "uv"))
    return uses_uv and not table_at(project, "build-system") and "setup.py" not in files


def _best_source(files: Mapping[str, str | None], project: Mapping[str, Any], *, wants_pytest: bool) -> _Source | None:
    """Of all places: one that brings pytest before one that does not, one for tests before one for developers."""
    sources = [
        *_extras(files, project),
        *_groups(project),
        *_of_tools(project),
        *_requirement_files(files),
        *_tox(files),
    ]
    return min(
        sources,
        key=lambda source: (wants_pytest and "pytest" not in source.needs, not source.for_tests_only),
        default=None,
    )


def _extras(files: Mapping[str, str | None], project: Mapping[str, Any]) -> Iterator[_Source]:
    declared = table_at(project, "project", "optional-dependencies") or table_at(project, "tool", "poetry", "extras")
    found = {name: " ".join(texts_in(needs)) for name, needs in declared.items()}
    config = _ini(files.get("setup.cfg"))
    if config.has_section("options.extras_require"):
        found |= dict(config.items("options.extras_require", raw=True))
    if not found and (match := _EXTRA_IN_SETUP.search(files.get("setup.py") or "")) is not None:
        found[match[1]] = files.get("setup.py") or ""
    for name in _in_order_of_names(found):
        yield _Source(
            arguments=f"[{name}]",
            needs=found[name],
            for_tests_only=_is_for_tests(name),
            described=f"its extra `{name}`",
        )


def _groups(project: Mapping[str, Any]) -> Iterator[_Source]:
    groups = table_at(project, "dependency-groups")
    for name in _in_order_of_names(groups):
        needs = " ".join(_group_needs(groups, name, set()))
        yield _Source(
            arguments=f"--group {name}",
            needs=needs,
            for_tests_only=_is_for_tests(name),
            described=f"its dependency group `{name}`",
            is_group=True,
        )


def _group_needs(groups: Mapping[str, Any], name: str, seen: set[str]) -> Iterator[str]:
    """A group's requirements with those of the groups that it includes, each group once."""
    if name in seen or not isinstance(groups.get(name), list):
        return
    seen.add(name)
    for item in groups[name]:
        if isinstance(item, str):
            yield item
        elif isinstance(included := table_at(item).get("include-group"), str):
            yield from _group_needs(groups, included, seen)


def _of_tools(project: Mapping[str, Any]) -> Iterator[_Source]:
    """Requirements that stand in tables of project managers, where pip does not look: given to pip one by one."""
    tool = table_at(project, "tool")
    found: list[tuple[str, str, Sequence[str]]] = []
    poetry = table_at(tool, "poetry")
    for name, group in table_at(poetry, "group").items():
        found.append(("poetry", name, _from_poetry(table_at(group, "dependencies"))))
    found.append(("poetry", "dev", _from_poetry(table_at(poetry, "dev-dependencies"))))
    for name, needs in table_at(tool, "pdm", "dev-dependencies").items():
        found.append(("pdm", name, texts_in(needs)))
    found.append(("uv", "dev", texts_in(table_at(tool, "uv").get("dev-dependencies"))))
    for name, environment in table_at(tool, "hatch", "envs").items():
        keys = ("dependencies", "extra-dependencies")
        needs = [need for key in keys for need in texts_in(table_at(environment).get(key))]
        found.append(("hatch", {"default": "dev", "hatch-test": "test"}.get(name, name), needs))
    for manager, name, needs in found:
        arguments = _quoted_requirements(needs)
        if arguments and name in TEST_NAMES:
            yield _Source(
                arguments=" ".join(arguments),
                needs=" ".join(needs),
                for_tests_only=_is_for_tests(name),
                described=f"the {name} requirements of {manager}",
            )


def _from_poetry(needs: Mapping[str, Any]) -> list[str]:
    """Translate `{name: "^1.2"}` into requirements that pip reads; constraints in other shapes are left out."""
    requirements = []
    for name, wanted in needs.items():
        version = wanted if isinstance(wanted, str) else table_at(wanted).get("version", "*")
        if name == "python" or not _NAME.fullmatch(name) or not isinstance(version, str):
            continue
        requirements.append(name + _poetry_version(version))
    return requirements


def _poetry_version(version: str) -> str:
    """`^1.2` is `>=1.2,<2`, `~1.2.3` is `>=1.2.3,<1.3`; operators mean what pip means by them."""
    if match := re.fullmatch(r"\^([0-9]+(?:\.[0-9]+)*)", version):
        parts = [int(part) for part in match[1].split(".")]
        first = next((index for index, part in enumerate(parts) if part), len(parts) - 1)
        return f">={match[1]},<{'.'.join(map(str, [*parts[:first], parts[first] + 1]))}"
    if match := re.fullmatch(r"~([0-9]+)\.([0-9]+)(?:\.[0-9]+)*", version):
        return f">={version[1:]},<{match[1]}.{int(match[2]) + 1}"
    if re.fullmatch(r"(?:[<>]=?|[!=]=|~=)[0-9][0-9a-z.*]*(?:, ?(?:[<>]=?|!=)[0-9][0-9a-z.*]*)*", version):
        return version.replace(" ", "")
    return f"=={version}" if re.fullmatch(r"[0-9]+(?:\.[0-9]+)*(?:\.\*)?", version) else ""


def _requirement_files(files: Mapping[str, str | None]) -> Iterator[_Source]:
    for name in REQUIREMENT_FILES:
        if name in files:
            yield _Source(
                arguments=f"-r {name}",
                needs=files[name] or "",
                for_tests_only="test" in name,
                described=name,
            )


def _tox(files: Mapping[str, str | None]) -> Iterator[_Source]:
    """`deps` of tox's main environment; lines for single factors are not for everybody, and left out."""
    config = _ini(files.get("tox.ini"))
    lines = _option(config, "testenv", "deps").splitlines()
    arguments: list[str] = []
    for line in (line.strip().replace("{toxinidir}/", "") for line in lines):
        if match := re.fullmatch(r"-r ?([A-Za-z0-9._][A-Za-z0-9._/-]*)", line):
            arguments.append(f"-r {match[1]}")
        elif _REQUIREMENT.fullmatch(line):
            arguments.append(shlex.quote(line))
    if arguments:
        needs = " ".join(lines)
        yield _Source(arguments=" ".join(arguments), needs=needs, for_tests_only=True, described="the deps of tox.ini")


def _tox_environment(files: Mapping[str, str | None]) -> tuple[str, ...]:
    """The variables that tox gives to tests, as one line of shell; those that only tox can know are left out.

    Some projects switch tests on by them, so that without them fewer run than their maintainers see.
    """
    config = _ini(files.get("tox.ini"))
    lines = [line for key in ("set_env", "setenv") for line in _option(config, "testenv", key).splitlines()]
    found = [match.groups() for line in lines if (match := _VARIABLE.fullmatch(line.strip()))]
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in found if not name.startswith(_OURS))
    return (f"export {exports}",) if exports else ()


def _option(config: configparser.RawConfigParser, section: str, key: str) -> str:
    """An option's text; empty where it is missing, or stands there without a value."""
    return config.get(section, key, raw=True, fallback="") or ""


def _ini(text: str | None) -> configparser.RawConfigParser:
    config = configparser.RawConfigParser(strict=False)
    try:
        config.read_string(text or "")
    except configparser.Error:
        return configparser.RawConfigParser()  # The tool whose file it is explains that better.
    return config


def _in_order_of_names(found: Mapping[str, Any]) -> list[str]:
    return [name for name in TEST_NAMES if name in found]


def _is_for_tests(name: str) -> bool:
    return name.startswith("test")


def _quoted_requirements(requirements: Sequence[str]) -> list[str]:
    plain = [requirement.strip() for requirement in requirements[:_REQUIREMENTS_MAX]]
    return [shlex.quote(requirement) for requirement in plain if _REQUIREMENT.fullmatch(requirement)]


def _pytest_or_unittest() -> tuple[str, ...]:
    """Decide where the tests are at hand. An empty run of unittest passes on older Pythons, so it is refused here."""
    return (
        f"if grep -rqsE --include='*.py' {_LOOKS_LIKE_PYTEST} .; then",
        "  python -m pip install pytest",
        "  python -m pytest",
        "elif [ -z \"$(find . -name 'test*.py' -print | head -n 1)\" ]; then",
        "  echo 'No tests found: there is no file named test*.py.' >&2",
        "  exit 1",
        "elif [ -d tests ] && [ ! -e tests/__init__.py ]; then",
        "  python -m unittest discover -s tests",
        "else",
        "  python -m unittest discover",
        "fi",
    )
