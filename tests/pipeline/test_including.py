"""Files that a pipeline file includes: one pipeline of all, and complaints that say in which file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from surveil.pipeline import Invalid, Loaded, Pipeline, load
from surveil.pipeline.including import INCLUDED_BYTES_MAX, gather, included_paths
from surveil.protocol import INCLUDES_MAX, IncludedFile

MAIN = "include: [ci/lint.yml, ci/test.yml]\nenv: {A: main}\njobs: {build: {steps: [{run: make}]}}\n"
LINT = "env: {A: lint, B: lint}\njobs: {lint: {needs: [build], steps: [{run: make lint}]}}\n"
TEST = "include: ci/lint.yml\nenv: {B: test}\nsteps: {s: &s [{run: a}]}\njobs: {test: {steps: [*s, {run: b}]}}\n"


def loaded(main: str, files: Mapping[str, str]) -> Loaded:
    return load(main, ".surveil.yml", gather(main, reader(files)))


def reader(files: Mapping[str, str], asked: list[str] | None = None) -> Reader:
    return Reader(files, [] if asked is None else asked)


class Reader:
    """A commit's files."""

    def __init__(self, files: Mapping[str, str], asked: list[str]) -> None:
        self.files = files
        self.asked = asked

    def __call__(self, paths: Sequence[str]) -> list[IncludedFile]:
        self.asked += paths
        return [
            IncludedFile(path=path, text=self.files[path])
            if path in self.files
            else IncludedFile(path=path, problem="is no file of this commit")
            for path in paths
        ]


def said(main: str, files: Mapping[str, str]) -> list[str]:
    found = loaded(main, files)
    assert isinstance(found, Invalid)
    return list(found.sentences())


def test_jobs_and_variables_of_all_files_are_one_pipeline_and_the_including_file_wins() -> None:
    asked: list[str] = []
    files = gather(MAIN, reader({"ci/lint.yml": LINT, "ci/test.yml": TEST}, asked))
    assert asked == ["ci/lint.yml", "ci/test.yml"]
    pipeline = load(MAIN, ".surveil.yml", files)
    assert isinstance(pipeline, Pipeline)
    assert [(job.name, job.needs) for job in pipeline.jobs] == [("build", ()), ("lint", ("build",)), ("test", ())]
    assert all(job.env == {"A": "main", "B": "lint"} for job in pipeline.jobs)
    assert [step.run for step in pipeline.jobs[2].steps] == ["a", "b"]


def test_a_file_of_nothing_but_includes_is_enough() -> None:
    pipeline = loaded("include: a.yml", {"a.yml": "jobs: {t: {steps: [{run: x}]}}"})
    assert isinstance(pipeline, Pipeline)
    assert [job.name for job in pipeline.jobs] == ["t"]


def test_a_complaint_about_an_included_file_says_its_name_and_shows_its_line() -> None:
    files = {
        "ci/lint.yml": "jobs:\n  lint:\n    stepz: []\n",
        "ci/test.yml": "jobs: {test: {steps: [{run: ${{ x }}}]}}",
    }
    found = loaded(MAIN, files)
    assert isinstance(found, Invalid)
    assert found.render().splitlines() == [
        "ci/lint.yml:3:5: unknown key `stepz` in `jobs.lint`",
        "        stepz: []",
        "        ^",
        "    hint: did you mean `steps`?",
        "ci/test.yml:1:30: this is not YAML: did not find expected ',' or '}'",
        "    jobs: {test: {steps: [{run: ${{ x }}}]}}",
        "                                 ^",
        "    hint: check the indentation, the brackets and the quotes just before this place",
    ]
    assert [complaint["file"] for complaint in found.as_json()["complaints"]] == ["ci/lint.yml", "ci/test.yml"]


@pytest.mark.parametrize(
    ("main", "files", "expected"),
    [
        ("include: [a.yml]", {}, [".surveil.yml:1:11: `a.yml` is no file of this commit"]),
        (
            "include: ../a.yml",
            {},
            [".surveil.yml:1:10: `include[0]`: `../a.yml` is no file of the commit: write its path from the root"],
        ),
        ("include: /etc/passwd", {}, None),
        ("include: [a//b]", {}, None),
        (
            "include: a.yml",
            {"a.yml": "include: b.yml", "b.yml": "include: a.yml"},
            ["b.yml:1:10: files include each other in a circle: `a.yml` includes `b.yml` includes `a.yml` (remove"],
        ),
        (
            "include: .surveil.yml",
            {".surveil.yml": ""},
            [".surveil.yml:1:10: files include each other in a circle: `.surveil.yml` includes `.surveil.yml`"],
        ),
        (
            "include: a.yml\njobs: {t: {steps: [{run: x}]}}",
            {"a.yml": "\njobs: {t: {steps: [{run: x}]}}"},
            ["a.yml:2:8: the job `t` exists twice, first in line 2 of the pipeline file (give each job its own name)"],
        ),
        (
            "include: a.yml",
            {"a.yml": "jobs: {t: {needs: [u], steps: [{run: x}]}}"},
            ["a.yml:1:20: job `t` needs `u`, which does not exist"],
        ),
        ("include: a.yml", {"a.yml": "- x"}, None),
        ("include: a.yml", {"a.yml": ""}, ["a.yml:1:1: the file is empty"]),
        ("include: {a: b}", {}, None),
        ("include: ", {}, None),
        ("version: 1", {}, [".surveil.yml:1:1: `jobs` is missing"]),
    ],
)  # fmt: skip
def test_what_cannot_be_included_is_a_complaint_at_its_place(
    main: str, files: dict[str, str], expected: list[str] | None
) -> None:
    found = said(main, files)
    assert found
    for sentence, wanted in zip(found, expected or found, strict=True):
        assert sentence.startswith(wanted)


def test_files_that_did_not_come_along_are_a_complaint() -> None:
    found = load("include: [a.yml]", ".surveil.yml")
    assert isinstance(found, Invalid)
    (sentence,) = found.sentences()
    assert sentence.startswith(".surveil.yml:1:11: the file `a.yml` did not come with the pipeline (does its observer")


def test_not_more_is_read_than_may_be_included() -> None:
    files = {f"{number}.yml": f"include: {number + 1}.yml\n" for number in range(INCLUDES_MAX + 5)}
    asked: list[str] = []
    assert len(gather("include: 0.yml", reader(files, asked))) == len(asked) == INCLUDES_MAX
    (sentence,) = said("include: 0.yml", files)
    assert sentence.startswith(
        f"19.yml:1:10: a pipeline includes at most {INCLUDES_MAX} files, and `20.yml` is one more"
    )
    many = [f"{number}.yml" for number in range(INCLUDES_MAX + 5)]
    asked.clear()
    gather(f"include: [{', '.join(many)}]", reader({}, asked))
    assert asked == many[:INCLUDES_MAX]


def test_all_included_files_together_are_bounded() -> None:
    half = "#" * (INCLUDED_BYTES_MAX // 2) + "\njobs: {}"
    files = gather("include: [a, b, c]", reader(dict.fromkeys("abc", half)))
    assert [file.text is None for file in files] == [False, True, True]
    assert said("include: [a, b, c]\njobs: {t: {steps: [{run: x}]}}", dict.fromkeys("abc", half)) == [
        f".surveil.yml:1:{column}: `{name}` is too much: all included files have more than 256 KiB"
        for column, name in ((14, "b"), (17, "c"))
    ]


def test_what_is_written_wrongly_asks_for_no_file() -> None:
    assert included_paths("include: [a, ../b, [c], {d: e}, /f, a]") == ["a"]
    assert included_paths("include: a\n  b: [") == []
    assert included_paths("# include") == []
    assert included_paths(b"include: a") == ["a"]
    assert included_paths("- include") == []
