"""What surveil runs for repositories without a pipeline file."""

# ruff: noqa: E501, ISC004  # A table of projects is read one case after the other.

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surveil.pipeline import Pipeline, load
from surveil.pipeline.detect import READ_FILES, Detected, Nothing, detect
from surveil.protocol import JobSpec

PROBLEM_CHARS_MAX = 500
"""What an observer keeps of a sentence."""

ENTER = (
    'export VIRTUAL_ENV="$TMPDIR/venv" PATH="$TMPDIR/venv/bin:$PATH"\n'
    "export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off\n"
)
CREATE = 'python3 -m venv "$TMPDIR/venv"\n' + ENTER
PYTEST = "[tool.pytest.ini_options]\n"
BUILDABLE = "[build-system]\nrequires = ['x']\n"


def job(files: dict[str, str | None]) -> JobSpec:
    """Every text that detection writes goes through the same loader as those of people."""
    found = detect(files)
    assert isinstance(found, Detected)
    pipeline = load(found.text, ".surveil.yml")
    assert isinstance(pipeline, Pipeline), pipeline.render()
    (spec,) = pipeline.jobs
    assert spec.name == "test"
    return spec


def scripts(files: dict[str, str | None]) -> list[str]:
    return [step.run for step in job(files).steps]


def installs(files: dict[str, str | None]) -> str:
    first = scripts(files)[0]
    assert first.startswith(CREATE)
    return first.removeprefix(CREATE)


@pytest.mark.parametrize(
    ("project", "others", "commands"),
    [
        (
            BUILDABLE + "[project.optional-dependencies]\ndev = ['pytest', 'ruff']\ntest = ['pytest>=7']",
            {},
            "python -m pip install -e '.[test]'\n",
        ),
        (
            BUILDABLE + PYTEST + "[project.optional-dependencies]\ntest = ['coverage']\ndev = ['pytest']",
            {},
            "python -m pip install -e '.[dev]'\n",
        ),
        (
            BUILDABLE + "[dependency-groups]\nall = ['pytest']\ntests = [{include-group = 'all'}]\n",
            {},
            "python -m pip install 'pip>=25.1'\npython -m pip install -e '.' --group tests\n",
        ),
        (
            BUILDABLE + PYTEST + "[dependency-groups]\ntest = [{include-group = 'test'}, 1]\n",
            {},
            "python -m pip install 'pip>=25.1'\npython -m pip install -e '.' --group test pytest\n",
        ),
        (BUILDABLE + PYTEST + "addopts = '--cov=x -n auto'", {}, "python -m pip install -e '.' pytest pytest-cov pytest-xdist\n"),
        (
            BUILDABLE + PYTEST,
            {"requirements-dev.txt": "pytest==7\n", "requirements-test.txt": "x"},
            "python -m pip install -e '.' -r requirements-dev.txt\n",
        ),
        (
            BUILDABLE + "[tool.poetry.group.test.dependencies]\npython = '^3.9'\npytest = '^7.4'\n"
            "responses = '^0.25.1'\na = '~1.2.3'\nb = '*'\nc = {version = '>=1,<2', extras = ['x']}\nd = {git = 'x'}\n",
            {},
            "python -m pip install -e '.' 'pytest>=7.4,<8' 'responses>=0.25.1,<0.26' 'a>=1.2.3,<1.3' b 'c>=1,<2' d\n",
        ),
        (
            BUILDABLE + "[tool.hatch.envs.hatch-test]\nextra-dependencies = ['pytest', '$(rm -rf /)']\n",
            {},
            "python -m pip install -e '.' pytest\n",
        ),
        (
            "[project]\nname = 'x'\ndependencies = ['httpx>=1; python_version<\"4\"']\n[dependency-groups]\ndev = ['pytest']\n",
            {"uv.lock": None},
            "python -m pip install 'pip>=25.1'\npython -m pip install 'httpx>=1; python_version<\"4\"' --group dev\n",
        ),
        (PYTEST, {"requirements.txt": "flask\n"}, "python -m pip install -r requirements.txt pytest\n"),
        ("this is = = no toml", {"conftest.py": None}, "python -m pip install -e '.' pytest\n"),
    ],
)  # fmt: skip
def test_a_python_project_is_installed_with_what_its_tests_need(
    project: str, others: dict[str, str | None], commands: str
) -> None:
    files = {"pyproject.toml": project, **others}
    assert installs(files) == commands
    assert scripts(files)[1] == ENTER + "python -m pytest\n"


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        (
            {"setup.py": "setup(extras_require={'docs': ['x'], 'tests': ['pytest']})"},
            "python -m pip install -e '.[tests]'\n",
        ),
        (
            {"setup.py": "EXTRAS_REQUIRE = {}\nEXTRAS_REQUIRE['tests'] = ['pytest']\nsetup(extras_require=EXTRAS_REQUIRE)"},
            "python -m pip install -e '.[tests]'\n",
        ),
        (
            {"setup.py": "", "pytest.ini": "", "requirements": None},
            "python -m pip install -e '.' pytest\n"
            "for list in requirements/test.txt requirements/tests.txt requirements/testing.txt requirements/dev.txt; do\n"
            '  if [ -f "$list" ]; then python -m pip install -r "$list"; break; fi\n'
            "done\n",
        ),
        (
            {"setup.py": "setup()", "setup.cfg": "[options.extras_require]\ntesting =\n  pytest\n"},
            "python -m pip install -e '.[testing]'\n",
        ),
        (
            {"setup.py": "", "tox.ini": "[testenv]\ndeps =\n  pytest>=7\n  -r{toxinidir}/reqs/a.txt\n  py39: old\n  {x}\n"},
            "python -m pip install -e '.' 'pytest>=7' -r reqs/a.txt\n",
        ),
        ({"tox.ini": "[testenv]\ncommands = pytest\n"}, "python -m pip install pytest\n"),
        ({"tox.ini": "no ini", "pytest.ini": ""}, "python -m pip install pytest\n"),
    ],
)  # fmt: skip
def test_older_python_projects_are_recognised_as_well(files: dict[str, str | None], commands: str) -> None:
    assert installs(files) == commands
    assert scripts(files)[1] == ENTER + "python -m pytest\n"


@pytest.mark.parametrize(
    ("lines", "exports"),
    [
        ("\n  THREADED = 1\n  # no\n  WORDS= it's two\n", "export THREADED=1 WORDS='it'\"'\"'s two'\n"),
        ("\n  COVERAGE_FILE = {envtmpdir}/c\n  py39: OLD = 1\n  A-B = 1\n  SURVEIL_SHA = 1\n  X = $(rm -rf /)\n",
         "export X='$(rm -rf /)'\n"),
        ("A = {envname}", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_tests_run_with_the_environment_that_tox_would_give_them(lines: str, exports: str) -> None:
    files: dict[str, str | None] = {"setup.py": "", "tox.ini": f"[testenv]\ndeps = pytest\nsetenv = {lines}\n"}
    assert scripts(files)[1] == ENTER + exports + "python -m pytest\n"


@pytest.mark.parametrize("key", ["set_env", "setenv"])
def test_both_names_that_tox_has_for_the_environment_are_read(key: str) -> None:
    files: dict[str, str | None] = {"tox.ini": f"[testenv]\ncommands = pytest\n{key} =\n  A = 1\n"}
    assert scripts(files)[1] == ENTER + "export A=1\npython -m pytest\n"


def test_a_project_that_never_mentions_pytest_decides_when_its_tests_are_at_hand() -> None:
    files: dict[str, str | None] = {"setup.py": "setup()"}
    assert installs(files) == "python -m pip install -e '.'\n"
    assert "python -m unittest discover" in scripts(files)[1]
    found = detect(files)
    assert isinstance(found, Detected)
    assert found.rule == (
        "setup.py: tested in a fresh virtual environment with pytest or unittest, whichever its tests are written for"
    )


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"pyproject.toml": "[tool.black]\n", "setup.py": "", "tox.ini": "[testenv]\ndeps = pytest\n"}, "setup.py"),
        ({"pyproject.toml": "[tool.black]\n", "tox.ini": "[testenv]\ndeps = pytest\n"}, "tox.ini"),
        ({"pyproject.toml": PYTEST, "setup.py": ""}, "pyproject.toml"),
        ({"pyproject.toml": BUILDABLE, "setup.py": "", "conftest.py": None}, "pyproject.toml"),
        ({"pyproject.toml": "[tool.black]\n", "conftest.py": None}, "pyproject.toml"),
    ],
)
def test_the_rule_names_the_file_that_made_the_difference(files: dict[str, str | None], named: str) -> None:
    found = detect(files)
    assert isinstance(found, Detected)
    assert found.rule.startswith(f"{named}: ")
    assert found.rule.endswith("tested in a fresh virtual environment with pytest")


def run_test_step(tmp_path: Path, sources: dict[str, str], python: str) -> tuple[int, str]:
    """Run the second step of a detected pipeline for real, in an environment whose `python` is `python`."""
    work, binaries = tmp_path / "work", tmp_path / "tmp/venv/bin"
    work.mkdir()
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    (binaries / "python").chmod(0o755)
    for name, text in sources.items():
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text(text)
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "tmp")}
    script = scripts({"setup.py": "setup()"})[1]
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=work, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


UNIT = "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        assert {}\n"


@pytest.mark.parametrize("folder", ["", "tests/"])
@pytest.mark.parametrize(("truth", "code"), [("True", 0), ("False", 1)])
def test_unittest_tests_are_found_and_their_verdict_is_the_steps(
    tmp_path: Path, folder: str, truth: str, code: int
) -> None:
    found, output = run_test_step(tmp_path, {f"{folder}test_x.py": UNIT.format(truth)}, sys.executable)
    assert found == code, output
    assert "Ran 1 test" in output


def test_no_tests_at_all_are_a_failure_that_says_so(tmp_path: Path) -> None:
    assert run_test_step(tmp_path, {"x.py": ""}, sys.executable) == (
        1,
        "No tests found: there is no file named test*.py.\n",
    )


def test_tests_that_look_like_pytests_are_given_to_pytest(tmp_path: Path) -> None:
    code, output = run_test_step(tmp_path, {"tests/test_x.py": "def test_it(): pass\n"}, "echo")
    assert code == 0
    assert output == "-m pip install pytest\n-m pytest\n"


@pytest.mark.parametrize(
    ("files", "rule", "commands"),
    [
        (
            {"Cargo.toml": "[package]\n"},
            "Cargo.toml: cargo test",
            ["cargo test --no-run\n", "cargo test\n"],
        ),
        (
            {"Cargo.toml": "[workspace]\nmembers = ['a']\n", "Cargo.lock": None},
            "Cargo.toml: cargo test --workspace",
            ["cargo test --no-run --workspace --locked\n", "cargo test --workspace --locked\n"],
        ),
        (
            {"Cargo.toml": "[workspace]\ndefault-members = ['a']\n"},
            "Cargo.toml: cargo test",
            ["cargo test --no-run\n", "cargo test\n"],
        ),
        ({"go.mod": "module x\n"}, "go.mod: go test ./...", ["go build ./...\n", "go test ./...\n"]),
        (
            {"package.json": '{"scripts": {"test": "jest"}}'},
            "package.json: npm install, npm test",
            ["npm install\n", "npm run test\n"],
        ),
        (
            {"package.json": '{"scripts": {"test": "jest"}}', "package-lock.json": None},
            "package.json: npm install, npm test",
            ["npm ci\n", "npm run test\n"],
        ),
        (
            {"package.json": '{"scripts": {"test": "jest"}, "packageManager": "pnpm@9"}', "pnpm-lock.yaml": None},
            "package.json: pnpm install, pnpm test",
            [
                'export PATH="$TMPDIR/node/bin:$PATH"\n'
                'command -v pnpm > /dev/null || npm install --global --prefix "$TMPDIR/node" pnpm\n'
                "pnpm install --frozen-lockfile\n",
                'export PATH="$TMPDIR/node/bin:$PATH"\npnpm run test\n',
            ],
        ),
        ({"Makefile": "all:\n\tx\ntest: all\n\ty\n"}, "Makefile: make test", ["make test\n"]),
        ({"GNUmakefile": "check lint: all\n"}, "GNUmakefile: make check", ["make check\n"]),
    ],
)  # fmt: skip
def test_other_languages_are_tested_with_their_own_tools(
    files: dict[str, str | None], rule: str, commands: list[str]
) -> None:
    found = detect(files)
    assert isinstance(found, Detected)
    assert found.rule == rule
    assert found.text.startswith(f"# {rule}\nversion: 1\n")
    assert scripts(files) == commands


ALL = {
    "pyproject.toml": BUILDABLE,
    "Cargo.toml": "[package]\n",
    "go.mod": "module x\n",
    "package.json": '{"scripts": {"test": "jest"}}',
    "Makefile": "test:\n",
}


def test_of_several_languages_the_first_in_the_argued_order_is_chosen() -> None:
    files: dict[str, str | None] = dict(ALL)
    order = []
    while isinstance(found := detect(files), Detected):
        order.append(found.rule.partition(":")[0])
        del files[order[-1]]
    assert order == ["pyproject.toml", "Cargo.toml", "go.mod", "package.json", "Makefile"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": None, "src": None},
        {"pyproject.toml": "[tool.ruff]\n"},
        {"package.json": "{}"},
        {"package.json": "[]"},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"Makefile": "test := x\n.PHONY: test\n#test: x\n\ttest: x\n"},
        {"Makefile": None},
        {"Cargo.toml": None},
    ],
)
def test_nothing_recognised_is_a_sentence_that_says_what_to_write(files: dict[str, str | None]) -> None:
    found = detect(files)
    assert isinstance(found, Nothing)
    assert "write a .surveil.yml" in found.sentence
    example = found.sentence.split("`")[1]
    assert isinstance(load(example, ".surveil.yml"), Pipeline)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"pyproject.toml": "[tool.ruff]\n"}, "pyproject.toml describes no project and names no tests"),
        ({"package.json": "{}"}, "package.json has no test script"),
        (
            {"package.json": '{"scripts": {"test": "echo no test specified"}}', "Makefile": "all:\n.PHONY: all\n"},
            "package.json has no test script; Makefile has no target test or check, only all",
        ),
        (
            {"Makefile": "all: x-test\nx-test: x.c x.h\n\tcc\n$(X): y\nclean:\na b c d e f:\n" + "g" * 80 + ":\n"},
            "Makefile has no target test or check, only all, x-test, clean, a, b, c and others",
        ),
        ({"Makefile": "# empty\n"}, "Makefile has no target test or check"),
    ],
)
def test_what_comes_near_to_a_rule_is_named_with_what_it_lacks(files: dict[str, str | None], why: str) -> None:
    found = detect(files)
    assert isinstance(found, Nothing)
    assert found.sentence.startswith(f"no pipeline file, and nothing that says how to test this commit ({why}): write")
    assert len(found.sentence) < PROBLEM_CHARS_MAX


@pytest.mark.parametrize("name", ["pyproject.toml", "package.json", "Cargo.toml", "setup.cfg", "tox.ini"])
@pytest.mark.parametrize(
    "text", ["[" * 50_000, "{" * 50_000, "a=" + "[" * 100_000, "\0", "[a\n", "[project]\n[project]\n"]
)
def test_hostile_manifests_raise_nothing(name: str, text: str) -> None:
    files: dict[str, str | None] = {name: text}
    if isinstance(detect(files), Detected):
        job(files)


SHAPES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=8), st.sampled_from(["pytest", "^1", "'; rm"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["scripts", "test", "dev", "packageManager", "tool", "poetry", "group", "dependencies", "x"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(READ_FILES)),
        st.one_of(st.none(), st.text(max_size=60), SHAPES.map(json.dumps)),
        max_size=5,
    )
)
def test_whatever_stands_in_the_files_the_text_written_is_a_valid_pipeline(files: dict[str, str | None]) -> None:
    if isinstance(detect(files), Detected):
        job(files)
