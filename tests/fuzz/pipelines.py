"""Pipelines: whatever a commit calls its pipeline is one that can run, or complaints that can be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from surveil.core.declared import COMPLAINTS_MAX
from surveil.core.pipeline import JOBS_MAX
from surveil.pipeline import FILENAMES, Invalid, Loaded, Pipeline, load
from surveil.pipeline.detect import READ_FILES, Detected, detect
from surveil.pipeline.explain import as_json, explain
from surveil.pipeline.including import gather
from surveil.protocol import Assign, IncludedFile, decode, encode
from tests.fuzz.draw import Draw

READ: Final = tuple(sorted(READ_FILES))
KEYS: Final = (
    "version", "env", "jobs", "labels", "needs", "when", "matrix", "timeout", "retry", "on_runner_loss", "steps",
    "name",
    "run", "shell", "continue_on_error", "image", "command", "dependencies", "<<", "stepz", "test", "build", "runs-on",
    "include", "exclude", "fail_fast", "priority", "concurrency", "group", "cancel_superseded", "on", "artifacts",
    "reports", "secrets",
)  # fmt: skip
SCALARS: Final = (
    "1", "true", "false", "null", "~", "10m", "2h", "1s", "always", "passed", "retry", "fail", "hold", "test", "build",
    "bash", "sh -eu", "NO", "0o7", "1_0", "1e999", ".nan", "9" * 30, "2001-01-01", "12:30", "*", "*a", "&a x",
    "!!str x",
    "!!python/object:x {}", "@", "`", "%x", "${{ matrix.a }}", "${matrix.a}", "'", '"', "''", '"\\x41"', '"\\uD800"',
    "|\n   x", ">-\n   y", "- x", "{a: b}", "[a, b]", "[", "{", "? x", "# c", "---", "...", "\t", "\ufeff", "\u2028",
    "branch == 'main'", "changed('a/**') && failed()", "needs.build.outputs.x > 1", "${{ needs.build.outputs.x }}",
    "${{ branch }}", "a.yml", "ci/b.yml", "../a", "-3",
    "\x85", "\xa0", "a: b: c", "-x", "../x", "x" * 300, "linux", "GPU", "''''", "\U0001f600", "echo hello",
)  # fmt: skip
PROJECT_TEXTS: Final = (
    "[project]\nname='x'\n[project.optional-dependencies]\ntest=['pytest']\n", "[tool.pytest.ini_options]\n",
    "[dependency-groups]\ntest=[{include-group='test'}]\n", "[tool.poetry]\n", "[build-system]\nrequires=['x']\n",
    "[tox]\nenvlist=py\n", "[testenv]\ncommands=pytest\n", '{"scripts":{"test":"jest"}}', '{"scripts":[]}',
    "[package]\n",
    "[workspace]\n", "module x\n", "test: build\n\tgo\n", "check:\n", ".PHONY: test\n",
    "from setuptools import setup\n",
    "", "\n", "x" * 100,
)  # fmt: skip


def check(data: bytes) -> None:
    """Load, and look at everything that can be made of what came out."""
    draw = Draw(data)
    name = draw.pick(FILENAMES)
    way = draw.byte() % 4
    if way == 3:
        _check_detection(draw)
        return
    included = {path: _pipeline(draw) for path in ("a.yml", "ci/b.yml")} if draw.seldom(4) else {}
    text = draw.rest() if way == 0 else (_tree(draw) if way == 1 else _pipeline(draw)).encode()
    files = gather(text, lambda paths: [IncludedFile(path=path, text=included.get(path)) for path in paths])
    _check_loaded(load(text, name, files), text, included)


def seeds() -> Iterator[bytes]:
    """Pipelines in the three dialects, attacks on readers of YAML, and repositories without a file."""
    for number, texts in enumerate((SURVEIL, RUNNERCI, NARWHAL)):
        for text in (*texts, *ATTACKS):
            yield bytes([number, 0]) + text
    for way in (1, 2, 3):
        for start in range(0, 250, 10):
            yield bytes([0, way]) + bytes((start + 7 * step) % 256 for step in range(80))


def _check_loaded(loaded: Loaded, text: bytes, included: Mapping[str, str]) -> None:
    match loaded:
        case Invalid():
            assert 1 <= len(loaded.complaints) <= COMPLAINTS_MAX
            shown = loaded.render()
            assert shown
            assert all(char.isprintable() or char in "\n\t" for char in shown), "a complaint is more than text"
            assert all(sentence.isprintable() for sentence in loaded.sentences())
            assert loaded.as_json()["complaints"]
            for complaint in loaded.complaints:
                body = included[complaint.place.file].encode() if complaint.place.file else text
                last = body.count(b"\n") + body.count(b"\r") + body.count("\x85".encode()) + body.count(b"\xe2\x80") + 1
                assert 1 <= complaint.place.line <= last, "a place outside"
        case Pipeline():
            names = [job.name for job in loaded.jobs]
            assert 1 <= len(names) == len(set(names)) <= JOBS_MAX
            assert all(set(job.needs) <= set(names) - {job.name} and job.steps for job in loaded.jobs)
            for job in loaded.jobs:
                order = Assign(
                    epoch=1, incarnation=1, anchor=1, job=f"1/{job.name}", attempt=1, build=1, repo="/r", ref="r",
                    sha="a" * 40, spec=job,
                )  # fmt: skip
                assert decode(encode(order)) == order, "a job that cannot travel"
            assert all(char.isprintable() or char in "\n\t" for char in explain(loaded)), "a graph is more than text"
            assert as_json(loaded)["jobs"]


def _check_detection(draw: Draw) -> None:
    files: dict[str, str | None] = {}
    for _ in range(draw.byte() % 5):
        text = "".join(draw.many(lambda: draw.pick(PROJECT_TEXTS) if draw.flag() else draw.text()))
        files[draw.pick(READ) if draw.flag() else draw.text()] = None if draw.seldom() else text
    found = detect(files)
    if isinstance(found, Detected):
        loaded = load(found.text, FILENAMES[0])
        assert isinstance(loaded, Pipeline), f"a rule wrote what is no pipeline: {loaded.render()}"
        assert found.rule.isprintable()
    else:
        assert found.sentence.isprintable()


def _tree(draw: Draw, depth: int = 0) -> str:
    """YAML of any kind."""
    anchor = f"&{draw.pick('abc')} " if draw.seldom(8) else ""
    match draw.byte() % (4 if depth > 8 else 7):
        case 0 | 1:
            return anchor + draw.pick(SCALARS)
        case 2:
            return f"*{draw.pick('abc')}"
        case 3:
            return draw.text()
        case 4:
            inner = (_tree(draw, depth + 1) for _ in range(draw.byte() % 4))
            return "".join(f"\n{' ' * depth}- {item}" for item in inner)
        case 5:
            return "".join(
                f"\n{' ' * depth}{draw.pick(KEYS)}: {anchor}{_tree(draw, depth + 1)}" for _ in range(draw.byte() % 5)
            )
        case _:
            return anchor + "[" + ", ".join(_tree(draw, depth + 1) for _ in range(draw.byte() % 4)) + "]"


def _pipeline(draw: Draw) -> str:
    """A file that is nearly a pipeline."""
    lines = ["jobs:"]
    if draw.seldom(4):
        lines.insert(0, f"env: {{A: {draw.pick(SCALARS)}}}")
    if draw.seldom(4):
        lines.insert(0, f"include: [{', '.join(draw.many(lambda: draw.pick(('a.yml', 'ci/b.yml', 'c'))))}]")
    for _ in range(1 + draw.byte() % 3):
        lines.append(f"  {draw.pick(('test', 'build', 'lint', draw.text()))}:")
        for _ in range(draw.byte() % 4):
            value = _tree(draw, 6) if draw.seldom(8) else draw.pick(SCALARS)
            lines.append(f"    {draw.pick(KEYS)}: {value}")
        if draw.seldom(4):
            lines.append(f"    matrix: {{a: [{', '.join(draw.many(lambda: draw.pick(SCALARS)))}]}}")
        if draw.seldom(4):
            entries = ", ".join(f"{{{draw.pick('ab')}: {draw.pick(SCALARS)}}}" for _ in range(draw.byte() % 3))
            lines.append(f"    matrix: {{a: [1, 2], {draw.pick(('include', 'exclude'))}: [{entries}]}}")
        if draw.seldom(4):
            lines.append(f"    needs: [{draw.pick(('test', 'build', 'lint'))}]")
        lines.append("    steps:")
        lines += [
            f"      - {draw.pick(('run', 'run', 'run', 'name'))}: {draw.pick(SCALARS)}" for _ in range(draw.byte() % 3)
        ]
    return "\n".join(lines) + "\n"


SURVEIL: Final = (
    b"jobs: {test: {steps: [{run: make test}]}}\n",
    (
        b"version: 1\nenv: {CI_COLOR: '1'}\njobs:\n  build:\n    steps: [{run: make}]\n  test:\n    labels: [linux]\n"
        b"    needs: [build]\n    when: always\n    matrix: {python: ['3.11', '3.12']}\n    env: {A: b}\n"
        b"    timeout: 10m\n"
        b"    retry: 1\n    on_runner_loss: hold\n    steps:\n      - name: Tests\n        run: |\n          pytest\n"
        b"          true\n        timeout: 5m\n        shell: bash\n        continue_on_error: false\n"
    ),
    b"x: &a {run: 'true'}\njobs: {t: {steps: [*a, *a]}}\n",
)
RUNNERCI: Final = (b"version: 1\njobs:\n  test:\n    steps:\n      - name: T\n        run: make\n",)
NARWHAL: Final = (
    b"name: x\nenv: {A: b}\nsteps:\n  - name: a\n    command: x\n  - name: b\n    dependencies: [a]\n    command: y\n",
)
ATTACKS: Final = (
    b"[" * 200,
    b"{a: " * 100,
    b"- " * 100,
    b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
    b"a: &a {x: 1}\nb: {<<: *a}\n",
    b"&a [*a]",
    b"jobs: !!python/object/apply:os.system [x]\n",
    b"a: 1\na: 2\n",
    b"\xef\xbb\xbfjobs: 1\n",
    b"\xff\xfea\0",
    b"a\0b",
    b"a:\t1\n\tb: 2\n",
    b"a: 1\rb: 2\r",
    b"%YAML 1.1\n---\na\n---\nb\n",
    b"\xed\xa0\x80",
    b"? [a, b]\n: c\n",
    b'"\\UFFFFFFFF"',
)
"""What has broken readers of YAML elsewhere, small."""
