"""What declared jobs become: cells, filled-in values, needs, and complaints with their places."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from surveil.core import pipeline as expanding
from surveil.core.declared import (
    REPORTS_USUAL,
    ArtifactDeclaration,
    CacheDeclaration,
    Complaint,
    ImageDeclaration,
    JobDeclaration,
    Place,
    ServiceDeclaration,
    StepDeclaration,
    Text,
)
from surveil.core.graph import in_order
from surveil.core.pipeline import (
    ENV_MAX,
    EXPANDED_BYTES_MAX,
    GLOBS_MAX,
    JOBS_MAX,
    NAME_BYTES_MAX,
    STEPS_MAX,
    Expansion,
    expand,
)
from surveil.core.references import JOB_BYTES_MAX, TEXT_BYTES_MAX
from surveil.protocol import JobSpec, StepSpec

HOUR_MS = 3_600_000
NOTHING = "means nothing here: only `${{ matrix.NAME }}` and `${{ needs.JOB.outputs.NAME }}` are filled in"


def text(value: str, line: int = 1, column: int = 1) -> Text:
    return Text(value, Place(line, column))


def texts(*values: str, line: int = 1) -> tuple[Text, ...]:
    return tuple(text(value, line, 1 + index) for index, value in enumerate(values))


def job(
    name: str,
    *needs: str,
    run: str = "make",
    line: int = 1,
    matrix: Mapping[str, Sequence[str]] | None = None,
    labels: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> JobDeclaration:
    return JobDeclaration(
        name=text(name, line),
        needs=texts(*needs, line=line + 1),
        labels=texts(*labels),
        env={key: text(value) for key, value in (env or {}).items()},
        timeout_ms=HOUR_MS,
        steps=(StepDeclaration(name=None, run=text(run, line + 2)),),
        matrix={axis: texts(*values, line=line + 3) for axis, values in (matrix or {}).items()},
    )


def names(expansion: Expansion) -> list[str]:
    assert expansion.complaints == ()
    return [spec.name for spec in expansion.jobs]


def complaints(expansion: Expansion) -> list[str]:
    assert expansion.jobs == ()
    return [f"{c.place.line}:{c.place.column} {c.message}" for c in expansion.complaints]


def test_a_plain_job_becomes_one_spec_with_all_that_was_declared() -> None:
    declared = JobDeclaration(
        name=text("build"),
        labels=texts("linux", "x86_64", "linux"),
        env={"A": text("job")},
        timeout_ms=90_000,
        retry=2,
        on_runner_loss="hold",
        steps=(
            StepDeclaration(
                name=text("Compile"),
                run=text("make all"),
                shell="bash",
                timeout_ms=5_000,
                continue_on_error=True,
                env={"B": text("step")},
            ),
        ),
    )
    assert expand({"A": text("pipeline"), "C": text("pipeline")}, [declared]) == Expansion(
        (
            JobSpec(
                name="build",
                labels=("linux", "x86_64"),
                env={"A": "job", "C": "pipeline"},
                timeout_ms=90_000,
                retry=2,
                on_runner_loss="hold",
                steps=(
                    StepSpec(
                        name="Compile",
                        run="make all",
                        shell="bash",
                        timeout_ms=5_000,
                        continue_on_error=True,
                        env={"B": "step"},
                    ),
                ),
                matrix={},
                reports=REPORTS_USUAL,
            ),
        ),
        (),
    )


def test_a_matrix_makes_one_job_for_each_combination_with_axes_by_name_and_values_as_written() -> None:
    expansion = expand({}, [job("test", matrix={"python": ["3.9", "3.10"], "os": ["linux", "bsd"]})])
    assert names(expansion) == [
        "test[os=linux,python=3.9]",
        "test[os=linux,python=3.10]",
        "test[os=bsd,python=3.9]",
        "test[os=bsd,python=3.10]",
    ]
    assert expansion.jobs[1].matrix == {"os": "linux", "python": "3.10"}
    assert expansion.jobs[1].env == {"MATRIX_OS": "linux", "MATRIX_PYTHON": "3.10"}


def test_matrix_values_are_filled_into_scripts_names_labels_and_environments() -> None:
    declared = job(
        "test",
        run="tox -e py${{matrix.v}} # ${{  matrix.v  }}",
        matrix={"v": ["39"]},
        labels=["py${{ matrix.v }}"],
        env={"PY": "python${{ matrix.v }}"},
    )
    (spec,) = expand({"ALL": text("<${{ matrix.v }}>")}, [declared]).jobs
    assert spec.labels == ("py39",)
    assert spec.env == {"ALL": "<39>", "MATRIX_V": "39", "PY": "python39"}
    assert spec.steps[0].run == "tox -e py39 # 39"
    assert spec.steps[0].name == "tox -e py39 # 39"


def test_a_value_that_looks_like_an_expression_is_refused_because_it_could_be_filled_in_later() -> None:
    said = complaints(expand({}, [job("t", run="${{ matrix.a }}", matrix={"a": ["${{ needs.x.outputs.y }}"]})]))
    assert said == ["4:1 a matrix value is taken as it stands: nothing is filled in"]


def test_needing_a_matrix_job_is_needing_all_of_its_cells_and_a_cell_can_be_needed_alone() -> None:
    jobs = [job("a", matrix={"v": ["1", "2"]}), job("all", "a", "a[v=1]"), job("one", "a[v=2]")]
    specs = {spec.name: spec.needs for spec in expand({}, jobs).jobs}
    assert specs == {"a[v=1]": (), "a[v=2]": (), "all": ("a[v=1]", "a[v=2]"), "one": ("a[v=2]",)}


def test_an_unknown_need_is_named_with_its_place_and_the_near_miss() -> None:
    assert expand({}, [job("build"), job("test", "buidl", line=10)]) == Expansion(
        (),
        (Complaint("job `test` needs `buidl`, which does not exist", Place(11, 1), "did you mean `build`?"),),
    )


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([job("a", "a")], ["2:1 jobs wait for each other in a circle: `a` needs `a`"]),
        (
            [job("a", "b"), job("b", "c", line=10), job("c", "a", line=20)],
            ["21:1 jobs wait for each other in a circle: `a` needs `b` needs `c` needs `a`"],
        ),
        (
            [job("start"), job("a", "start", "b[v=1]"), job("b", "a", matrix={"v": ["1"]}, line=9)],
            ["10:1 jobs wait for each other in a circle: `a` needs `b` needs `a`"],
        ),
    ],
)
def test_jobs_in_a_circle_are_refused_and_the_circle_is_named(jobs: list[JobDeclaration], said: list[str]) -> None:
    assert complaints(expand({}, jobs)) == said


def test_a_long_circle_is_found_without_recursion_and_shown_in_short() -> None:
    jobs = [job(f"j{n}", f"j{(n + 1) % JOBS_MAX}", line=n * 10 + 1) for n in range(JOBS_MAX)]
    (said,) = complaints(expand({}, jobs))
    assert said.endswith("circle: " + " needs ".join(f"`j{n}`" for n in range(8)) + " needs ... needs `j0`")


def test_a_diamond_is_no_circle() -> None:
    jobs = [job("top"), job("left", "top"), job("right", "top"), job("end", "left", "right")]
    expansion = expand({}, jobs)
    assert names(expansion) == ["top", "left", "right", "end"]
    assert in_order(expansion.jobs) == [["top"], ["left", "right"], ["end"]]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("echo ${{ matrix.pyton }}", "3:1 job `t` has no matrix value `pyton`"),
        ("${{ secrets.KEY }}", f"3:1 `${{{{ secrets.KEY }}}}` {NOTHING}"),
        ("${{}}", f"3:1 `${{{{}}}}` {NOTHING}"),
        ("echo ${{ branch }}", f"3:1 `${{{{ branch }}}}` {NOTHING}"),
    ],
)
def test_an_expression_that_means_nothing_is_a_complaint_once_for_all_cells(run: str, said: str) -> None:
    assert complaints(expand({}, [job("t", run=run, matrix={"python": ["1", "2"]})])) == [said]


def test_too_many_jobs_are_counted_before_they_are_made() -> None:
    digits = [str(n) for n in range(1000)]
    said = complaints(expand({}, [job("fits"), job("t", line=5, matrix={"a": digits, "b": digits, "c": digits})]))
    assert said == [
        f"5:1 a pipeline has at most {JOBS_MAX} jobs; with the 1000000000 cells of its matrix `t` makes it 1000000001"
    ]


def test_exactly_as_many_jobs_as_allowed_are_made() -> None:
    assert len(expand({}, [job("t", matrix={"a": [str(n) for n in range(JOBS_MAX)]})]).jobs) == JOBS_MAX


def test_no_jobs_no_steps_and_too_many_steps_are_complaints() -> None:
    none = JobDeclaration(name=text("none", 4), timeout_ms=1, steps=())
    steps = tuple(StepDeclaration(name=None, run=text("x", n + 1)) for n in range(STEPS_MAX + 1))
    many = JobDeclaration(name=text("many"), timeout_ms=1, steps=steps)
    assert complaints(expand({}, [])) == ["1:1 the pipeline has no jobs"]
    assert complaints(expand({}, [none])) == ["4:1 job `none` has no steps"]
    assert complaints(expand({}, [many])) == ["101:1 job `many` has 101 steps; at most 100 are allowed"]


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ({"a": []}, "1:1 matrix `a` has no values"),
        ({"a": ["1", "1"]}, "4:2 matrix `a` lists `1` twice"),
        ({"a": [""]}, "4:1 matrix value `` cannot be part of a job's name"),
        ({"a": ["x]"]}, "4:1 matrix value `x]` cannot be part of a job's name"),
        ({"a": ["x\u202e"]}, "4:1 matrix value `x\N{REPLACEMENT CHARACTER}` cannot be part of a job's name"),
        ({"a": ["1"], "A": ["2"]}, "4:1 matrix `A` and `a` would both be MATRIX_A"),
    ],
)
def test_a_matrix_that_cannot_name_jobs_is_refused(matrix: dict[str, list[str]], said: str) -> None:
    assert complaints(expand({}, [job("t", matrix=matrix)])) == [said]


def test_limits_of_size_hold_after_expansion() -> None:
    long_name = "n" * (NAME_BYTES_MAX + 1)
    assert complaints(expand({}, [job(long_name)]))[0].startswith("1:1 the job's full name")
    many = {f"V{n}": "" for n in range(ENV_MAX + 1)}
    assert complaints(expand({}, [job("t", env=many)])) == [f"1:1 job `t` sets more than {ENV_MAX} variables"]
    grown = "${{ matrix.a }}" * (TEXT_BYTES_MAX // 60 + 1)
    said = complaints(expand({}, [job("t", run=grown, matrix={"a": ["é" * 40]})]))
    assert said == ["3:1 this text is larger than 256 KiB once its matrix values are filled in"]
    heavy = {f"V{n}": "x" * (JOB_BYTES_MAX // 3) for n in range(4)}
    assert complaints(expand({}, [job("t", env=heavy)])) == ["1:1 job `t` is larger than 768 KiB"]
    cells = [str(n) for n in range(JOBS_MAX)]
    said = complaints(expand({}, [job("t", run="x" * (EXPANDED_BYTES_MAX // 200), matrix={"a": cells})]))
    assert said == ["1:1 all jobs together are larger than 8 MiB once expanded"]


def test_what_would_be_far_too_large_is_never_put_together() -> None:
    value, often = "x" * 100_000, "${{ matrix.a }}" * 8_000
    entry = {"a": text(value)}
    many = {f"V{n}": text("${{ matrix.a }}", 5 + n) for n in range(ENV_MAX)}
    tracemalloc.start()
    try:
        one = complaints(expand({}, [replace(job("t", run=often), include=(entry,))]))
        several = complaints(expand(many, [replace(job("t"), include=(entry,))]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert one == ["3:1 this text is larger than 256 KiB once its matrix values are filled in"]
    # 768 KiB hold seven values.
    assert several[0] == "12:1 with this text job `t` is larger than 768 KiB once its matrix values are filled in"
    assert peak_bytes < 4_000_000


def test_cells_share_what_asks_for_no_value_of_the_matrix() -> None:
    fixed, moving = (StepDeclaration(name=None, run=text(run)) for run in ("make", "tox -e ${{ matrix.a }}"))
    declared = replace(job("t", matrix={"a": ["1", "2", "3"]}), steps=(fixed, moving), reports=texts("a.xml", "b.xml"))
    first, *others = expand({}, [declared]).jobs
    assert [spec.steps[1].run for spec in (first, *others)] == ["tox -e 1", "tox -e 2", "tox -e 3"]
    for other in others:
        assert other.steps[0] is first.steps[0]
        assert other.reports is first.reports


def test_a_label_must_be_a_label_after_filling_in() -> None:
    said = complaints(expand({}, [job("t", labels=["${{ matrix.a }}"], matrix={"a": ["two words"]})]))
    assert said == ["1:1 `two words` is not a label"]


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("# set up\n\n  make\nmake test", "make"),
        ("# only a comment", "# only a comment"),
        ("x" * 81, "x" * 79 + "…"),
    ],
)
def test_a_step_without_a_name_is_called_by_the_first_line_that_does_something(script: str, name: str) -> None:
    (spec,) = expand({}, [job("t", run=script)]).jobs
    assert spec.steps[0].name == name


def test_when_always_without_needs_is_a_complaint() -> None:
    declared = JobDeclaration(
        name=text("t"), when=text("always"), timeout_ms=1, steps=(StepDeclaration(name=None, run=text("x")),)
    )
    assert complaints(expand({}, [declared])) == ["1:1 job `t` says `when: always` but needs nothing"]


def test_complaints_come_in_the_order_of_the_file() -> None:
    jobs = [job("b", "x", line=30), job("a", "y", line=10)]
    assert complaints(expand({}, jobs)) == [
        "11:1 job `a` needs `y`, which does not exist",
        "31:1 job `b` needs `x`, which does not exist",
    ]


def test_a_value_that_only_other_cells_have_is_the_empty_text() -> None:
    declared = replace(job("t", run="make <${{ matrix.flags }}>", matrix={"v": ["1", "2"]}), include=(ENTRY,))
    specs = expand({}, [declared]).jobs
    assert {spec.name: spec.steps[0].run for spec in specs} == {"t[v=1]": "make <-x>", "t[v=2]": "make <>"}
    assert "MATRIX_FLAGS" not in specs[1].env


ENTRY = {"v": text("1"), "flags": text("-x")}


def conditional(when: str, *needs: str, env: Mapping[str, str] | None = None) -> JobDeclaration:
    declared = job("t", *needs, env=env, matrix={"v": ["1", "2"]})
    return replace(declared, when=Text(when, Place(7, 11), straight=True))


def test_a_condition_is_kept_as_it_was_written() -> None:
    when = "changed('docs/**') && matrix.v == 1 && env.A == 'b' && env.MATRIX_V < 3 && needs.build.state == 'failed'"
    assert {spec.when for spec in expand({}, [job("build"), conditional(when, "build", env={"A": "b"})]).jobs} == {
        "passed",
        when,
    }


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("brnch == 'x'", "7:11 `jobs.t.when`: there is no `brnch`"),
        ("branch == 'x' && matrix.w == '1'", "7:28 `jobs.t.when`: there is no `matrix.w`"),
        ("needs.biuld.state == 'passed'", "7:11 `jobs.t.when`: the job `biuld` is not among its `needs`"),
        ("needs.test.outputs.x == 'y'", "7:11 `jobs.t.when`: `test` is 2 jobs, each with outputs of its own"),
        ("branch ==", "7:20 `jobs.t.when`: expected a value, not the end"),
    ],
)
def test_a_condition_that_makes_no_sense_is_a_complaint_once_at_its_place(when: str, said: str) -> None:
    jobs = [job("build"), job("test", matrix={"a": ["1", "2"]}), conditional(when, "build", "test")]
    assert complaints(expand({}, jobs)) == [said]


def test_a_condition_that_is_not_written_in_one_line_is_placed_where_it_begins() -> None:
    declared = replace(conditional("always() && nonsense", "a"), when=Text("always() && nonsense", Place(7, 11)))
    assert complaints(expand({}, [job("a"), declared])) == ["7:11 `jobs.t.when`: there is no `nonsense`"]


def test_conditions_about_needs_need_some() -> None:
    said = complaints(expand({}, [replace(conditional("branch == 'x' || failed()"), name=text("t", 4))]))
    assert said == ["4:1 job `t` says `when: branch == 'x' || failed()` but needs nothing"]
    for about_nothing in ("branch == 'x'", "passed"):
        assert names(expand({}, [conditional(about_nothing)])) == ["t[v=1]", "t[v=2]"]


def test_conditions_ask_for_a_bounded_number_of_lists_of_paths() -> None:
    jobs = [replace(conditional(f"changed('{number}')"), name=text(f"j{number}")) for number in range(GLOBS_MAX + 1)]
    assert len(expand({}, jobs[:-1]).jobs) == 2 * GLOBS_MAX
    assert complaints(expand({}, jobs)) == [
        f"7:11 the conditions of all jobs ask for more than {GLOBS_MAX} different lists of changed paths"
    ]


def test_one_cell_that_is_needed_is_what_its_job_means_in_a_condition() -> None:
    jobs = [job("test", matrix={"a": ["1", "2"]}), conditional("needs.test.outputs.x == 'y'", "test[a=1]")]
    assert len(expand({}, jobs).jobs) == 4


def test_outputs_of_needs_stay_in_scripts_and_variables_until_they_are_known() -> None:
    reference = "${{ needs.build.outputs.version }}"
    declared = job("t", "build", run=f"echo {reference} ${{{{ matrix.v }}}}", env={"V": reference}, matrix={"v": ["1"]})
    spec = expand({}, [job("build"), declared]).jobs[1]
    assert spec.steps[0].run == f"echo {reference} 1"
    assert spec.env["V"] == reference


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (job("t", "build", run="${{ needs.bild.outputs.x }}"), "3:1 the job `bild` is not among its `needs`"),
        (
            job("t", "build", run="${{ needs.build }}"),
            "3:1 `needs.build` is no value: write `needs.JOB.state` or `needs.JOB.outputs.NAME`",
        ),
        (
            job("t", "build", labels=["${{ needs.build.outputs.x }}"]),
            "1:1 `${{ needs.build.outputs.x }}` means nothing here: only `${{ matrix.NAME }}` is filled in",
        ),
    ],
)
def test_an_output_that_cannot_be_known_is_a_complaint(declared: JobDeclaration, said: str) -> None:
    assert said in complaints(expand({}, [job("build"), declared]))


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("secrets.TOKEN", "write `secrets: [TOKEN]` at the job, and read `$TOKEN`"),
        ("env.COLOR", "read `$COLOR` in a script, or write the value itself"),
        ("vars.COLOR", "read `$COLOR` in a script, or write the value itself"),
        ("github.event_name", "read `$SURVEIL_EVENT` in a script"),
        ("github.ref_name", "read `${SURVEIL_REF#refs/*/}` in a script"),
        ("steps.build.outputs.x", "let the step leave it in a file of the work tree, where later steps find it"),
        ("github.token", "read other values from the environment, for example `$SURVEIL_SHA`"),
    ],
)
def test_what_other_systems_fill_in_is_answered_with_what_to_write_here(written: str, hint: str) -> None:
    refused = expand({}, [job("t", run=f"echo ${{{{ {written} }}}}")])
    assert [complaint.hint for complaint in refused.complaints] == [hint]


def test_a_concurrency_group_knows_the_commits_names_later() -> None:
    declared = replace(
        job("t", matrix={"v": ["1"]}),
        concurrency=text("deploy ${{ matrix.v }} ${{ branch }}"),
        cancel_superseded=True,
        continue_on_error=True,
        fail_fast=True,
        priority=-3,
    )
    (spec,) = expand({}, [declared]).jobs
    assert (spec.concurrency, spec.cancel_superseded) == ("deploy 1 ${{ branch }}", True)
    assert (spec.continue_on_error, spec.fail_fast, spec.priority) == (True, True, -3)
    wrong = replace(declared, concurrency=text("${{ needs.a.outputs.b }}"))
    (said,) = complaints(expand({}, [wrong]))
    assert said.endswith("only `${{ matrix.NAME }}` and `${{ branch }}` and the like are filled in")
    long = replace(declared, concurrency=text("x" * 201))
    assert complaints(expand({}, [long])) == ["1:1 the name of a concurrency group has at most 200 characters"]


LONG = "x" * 60
BIG = text(LONG)


@pytest.mark.parametrize(
    "large",
    [
        {"name": BIG},
        {"env": {"A": BIG}},
        {"env": {LONG: text("a")}},
        {"include": ({"a": text(f"{LONG[:40]}/")},)},
        {"labels": (BIG,)},
        {"steps": (StepDeclaration(run=BIG, name=text("a")),)},
        {"steps": (StepDeclaration(run=text("a"), name=BIG),)},
        {"steps": (StepDeclaration(name=None, run=text("a"), shell=LONG),)},
        {"steps": (StepDeclaration(name=None, run=text("a"), when=text(f"branch == '{LONG}'")),)},
        {"steps": (StepDeclaration(name=None, run=text("a"), env={"A": BIG}),)},
        {"image": ImageDeclaration(name=BIG)},
        {"artifacts": (ArtifactDeclaration(name=text("a"), paths=(BIG,)),)},
        {"cache": (CacheDeclaration(key=text("a"), paths=(BIG,)),)},
        {"services": (
            ServiceDeclaration(name=text("a"), image=ImageDeclaration(name=BIG), interval_ms=1000, ready_ms=1000),
        ), "image": ImageDeclaration(name=text("a"))},
    ],
    ids="-".join,
)  # fmt: skip
def test_every_text_of_a_job_counts_against_what_one_may_have(
    large: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expanding, "JOB_BYTES_MAX", 64)
    declared = replace(job("t", run="a"), **large)  # type: ignore[arg-type]  # fields by name
    (said,) = complaints(expand({}, [declared]))
    assert said.endswith("` is larger than 0 KiB")


def test_each_cell_is_weighed_by_its_own_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expanding, "JOB_BYTES_MAX", 64)
    cells = replace(job("t", run="${{ matrix.a }}"), include=({"a": text("b")}, {"a": text(f"{LONG}/")}))
    assert complaints(expand({}, [cells]))[0].endswith("is larger than 0 KiB")
    assert len(expand({}, [replace(cells, include=cells.include[:1])]).jobs) == 1
