"""Whole pipeline files: what `.surveil.yml` means, and how its mistakes are shown."""

# ruff: noqa: E501  # A table of mistakes is read one case a line.

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surveil.core.declared import REPORTS_USUAL, ShardsDeclaration
from surveil.pipeline import FILENAMES, Invalid, Pipeline, load
from surveil.protocol import PIPELINE_BYTES_MAX, JobSpec, StepSpec

MINIMAL = "jobs: {t: {steps: [{run: make}]}}"


def good(text: str, filename: str = ".surveil.yml") -> tuple[JobSpec, ...]:
    loaded = load(text, filename)
    assert isinstance(loaded, Pipeline), loaded.render()
    return loaded.jobs


def bad(text: bytes | str, filename: str = ".surveil.yml") -> Invalid:
    loaded = load(text, filename)
    assert isinstance(loaded, Invalid)
    return loaded


def said(text: str) -> list[str]:
    return [f"{c.place.line}:{c.place.column} {c.message}" for c in bad(text).complaints]


def in_job(line: str) -> str:
    return f"jobs:\n  t:\n    {line}\n    steps:\n      - run: make\n"


def beside(services: str) -> str:
    return in_job(f"image: a\n    services: {services}")


def in_step(line: str) -> str:
    return f"jobs:\n  t:\n    steps:\n      - run: make\n        {line}\n"


def test_every_key_about_other_jobs_reaches_the_job() -> None:
    jobs = good("""\
jobs:
  build: {steps: [{run: make}]}
  test:
    needs: [build]
    when: "needs.build.state == 'failed' || changed('src/**')"
    matrix:
      v: [1, 2]
      exclude: [{v: 2}]
      include: [{v: 1, w: a/b}, {v: 3.10}]
    continue_on_error: true
    fail_fast: true
    priority: -7
    concurrency: {group: "${{ matrix.v }} ${{ branch }}", cancel_superseded: true}
    steps: [{run: "make ${{ matrix.w }} ${{ needs.build.outputs.x }}"}]
  deploy: {concurrency: production, steps: [{run: make}]}
""")
    assert [job.name for job in jobs] == ["build", "test[v=1]", "test[v=3.10]", "deploy"]
    assert jobs[1] == JobSpec(
        name="test[v=1]",
        needs=("build",),
        when="needs.build.state == 'failed' || changed('src/**')",
        env={"MATRIX_V": "1", "MATRIX_W": "a/b"},
        timeout_ms=3_600_000,
        steps=(
            StepSpec(name="make a/b ${{ needs.build.outputs.x }}", run="make a/b ${{ needs.build.outputs.x }}", env={}),
        ),
        matrix={"v": "1", "w": "a/b"},
        continue_on_error=True,
        fail_fast=True,
        priority=-7,
        concurrency="1 ${{ branch }}",
        cancel_superseded=True,
        reports=REPORTS_USUAL,
    )
    assert (jobs[3].concurrency, jobs[3].cancel_superseded) == ("production", False)


def test_shards_are_cells_of_a_matrix_that_know_how_many_they_are() -> None:
    jobs = good("jobs: {t: {shards: 2, matrix: {v: [a, b]}, steps: [{run: 'x ${{ matrix.shard }}'}]}}")
    assert [(job.name, job.suite, job.shards, job.steps[0].run) for job in jobs] == [
        ("t[shard=1,v=a]", "t[v=a]", 2, "x 1"),
        ("t[shard=1,v=b]", "t[v=b]", 2, "x 1"),
        ("t[shard=2,v=a]", "t[v=a]", 2, "x 2"),
        ("t[shard=2,v=b]", "t[v=b]", 2, "x 2"),
    ]
    (alone,) = good("jobs: {t: {shards: 1, steps: [{run: x}]}}")
    assert (alone.name, alone.suite, alone.shards) == ("t[shard=1]", "t", 1)
    assert good("jobs: {t: {steps: [{run: x}]}}")[0].shards == 0
    needing = good("jobs: {t: {shards: 2, steps: [{run: x}]}, u: {needs: t, steps: [{run: x}]}}")
    assert needing[2].needs == ("t[shard=1]", "t[shard=2]")


def test_how_many_shards_auto_comes_to_is_said_from_outside_and_one_where_nobody_says_it() -> None:
    text = "jobs: {t: {shards: auto, matrix: {v: [a]}, steps: [{run: x}]}, u: {shards: {target: 5m, most: 2}, steps: [{run: x}]}}"
    loaded = load(text, ".surveil.yml")
    assert isinstance(loaded, Pipeline)
    assert [(job.name, job.shards) for job in loaded.jobs] == [("t[shard=1,v=a]", 1), ("u[shard=1]", 1)]
    assert loaded.undecided == {
        "t": ShardsDeclaration(target_ms=120_000, most=8), "u": ShardsDeclaration(target_ms=300_000, most=2),
    }  # fmt: skip
    decided = load(text, ".surveil.yml", shards={"t": 2, "u": 7, "gone": 3})
    assert isinstance(decided, Pipeline)
    assert [(job.name, job.shards) for job in decided.jobs] == [
        ("t[shard=1,v=a]", 2), ("t[shard=2,v=a]", 2), ("u[shard=1]", 2), ("u[shard=2]", 2),
    ]  # fmt: skip
    fixed = load("jobs: {t: {shards: 2, steps: [{run: x}]}}", ".surveil.yml", shards={"t": 5})
    assert isinstance(fixed, Pipeline)
    assert (len(fixed.jobs), fixed.undecided) == (2, {})


def test_there_is_room_for_as_many_shards_as_may_be_decided() -> None:
    values = ", ".join(map(str, range(30)))
    text = f"jobs: {{t: {{shards: {{most: MOST}}, matrix: {{v: [{values}]}}, steps: [{{run: x}}]}}}}"
    assert len(good(text.replace("MOST", "8"))) == 30
    assert "with the 270 cells of its matrix" in said(text.replace("MOST", "9"))[0]


def test_what_is_wrong_with_the_number_of_shards_is_said_at_its_place() -> None:
    assert said("jobs: {t: {shards: {count: 2}, steps: [{run: x}]}}") == ["1:21 unknown key `count` in `jobs.t.shards`"]
    assert said("jobs: {t: {shards: {most: 99}, steps: [{run: x}]}}") == [
        "1:27 `jobs.t.shards.most`: `99` is not a whole number from 1 to 64"
    ]
    assert said("jobs: {t: {shards: automatic, steps: [{run: x}]}}") == [
        "1:20 `jobs.t.shards`: `automatic` is neither `auto` nor a whole number from 1 to 64"
    ]


@pytest.mark.parametrize("value", ["0", "65", "x", "1.5", "-1", "[1]"])
def test_no_other_number_of_shards_is_taken(value: str) -> None:
    assert said(f"jobs: {{t: {{shards: {value}, steps: [{{run: x}}]}}}}")[0].startswith(
        ("1:20 `jobs.t.shards`", "1:12 `jobs.t.shards`")
    )


def test_the_number_of_a_shard_is_nobody_elses_name() -> None:
    text = "jobs: {t: {shards: 2, matrix: {shard: [a]}, steps: [{run: x}]}}"
    assert "`shards` gives to each shard" in said(text)[0]


def test_what_is_no_pattern_of_reports_is_refused_at_its_place() -> None:
    text = "jobs:\n  t:\n    reports: [a/*.xml, {}]\n    steps: [{{run: x}}]\n"
    assert said(text.format("/tmp/r.xml"))[0].startswith("3:24 `reports`: `/tmp/r.xml` matches no path")
    assert said(text.format('"r[1].xml"'))[0].startswith("3:24 `reports`: `r[1].xml` holds `[`")
    assert said(text.format(", ".join(["x"] * 70))) == ["3:15 `reports` has 71 patterns, more than the 64 allowed"]
    assert good(text.format('"!b"'))[0].reports == ("a/*.xml", "!b")
    assert good("jobs: {t: {reports: [], steps: [{run: x}]}}")[0].reports == ()


def test_lists_of_steps_are_used_again_by_aliases_however_deep() -> None:
    jobs = good("""\
steps:
  base: &base [{run: a}]
  more: &more
    - *base
    - [[{run: b}], {run: c}]
jobs:
  x: {steps: [*more, {run: d}]}
  y: {steps: *base}
  z: {steps: &own [{run: e}, *base]}
""")
    assert [[step.run for step in job.steps] for job in jobs] == [["a", "b", "c", "d"], ["a"], ["e", "a"]]


def test_a_mistake_in_shared_steps_is_told_once_and_at_its_place() -> None:
    text = "steps:\n  s: &s\n    - {run: a, shel: b}\njobs:\n  t: {steps: [{run: x}, *s]}\n  u: {steps: [*s]}\n"
    assert said(text) == ["3:16 unknown key `shel` in `steps.s[0]`"]
    assert said("steps: {s: []}\njobs: {t: {steps: [[]]}}") == ["2:8 job `t` has no steps"]
    assert said("steps: [{run: a}]\njobs: {t: {steps: [{run: a}]}}") == [
        "1:1 `steps`: expected keys and values, not a list"
    ]


def test_every_key_of_the_file_reaches_the_job() -> None:
    jobs = good("""\
version: 1
env: {CI_COLOR: "1", A: over}
jobs:
  build:
    steps: [{run: make}]
  test:
    labels: [linux]
    needs: [build]
    when: always
    matrix: {python: [3.10, "3.12"]}
    env: {A: b, TIME: 12:30, NORWAY: NO, FLAG: true, NUMBER: 010}
    timeout: 10m
    retry: 1
    on_runner_loss: fail
    reports: ["out/${{ matrix.python }}.xml", "!out/a.xml"]
    steps:
      - run: |
          pip install -e .[test]
          pip list
      - name: Tests
        run: pytest --junitxml=report.xml
        timeout: 5m
        shell: bash
        env: {B: ""}
        continue_on_error: true
""")
    env = {"CI_COLOR": "1", "A": "b", "TIME": "12:30", "NORWAY": "NO", "FLAG": "true", "NUMBER": "010"}
    steps = (
        StepSpec(name="pip install -e .[test]", run="pip install -e .[test]\npip list\n", env={}),
        StepSpec(
            name="Tests",
            run="pytest --junitxml=report.xml",
            shell="bash",
            timeout_ms=300_000,
            continue_on_error=True,
            env={"B": ""},
        ),
    )
    assert jobs[0] == JobSpec(
        name="build",
        env={"CI_COLOR": "1", "A": "over"},
        timeout_ms=3_600_000,
        steps=(StepSpec(name="make", run="make", env={}),),
        matrix={},
        reports=REPORTS_USUAL,
    )
    assert list(jobs[1:]) == [
        JobSpec(
            name=f"test[python={version}]",
            needs=("build",),
            when="always",
            labels=("linux",),
            env=env | {"MATRIX_PYTHON": version},
            timeout_ms=600_000,
            retry=1,
            on_runner_loss="fail",
            steps=steps,
            matrix={"python": version},
            reports=(f"out/{version}.xml", "!out/a.xml"),
        )
        for version in ("3.10", "3.12")
    ]


def test_one_value_stands_for_a_list_of_one() -> None:
    jobs = good("jobs: {a: {steps: [{run: x}]}, b: {needs: a, labels: linux, steps: [{run: x}]}}")
    assert jobs[1].needs == ("a",)
    assert jobs[1].labels == ("linux",)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("jobs: {}", ["1:1 the pipeline has no jobs"]),
        ("version: 1", ["1:1 `jobs` is missing"]),
        ("jobs:", ["1:6 `jobs`: expected keys and values, not nothing"]),
        ("hello", ["1:1 expected keys and values like `jobs:`, not `hello`"]),
        ("- a", ["1:1 expected keys and values like `jobs:`, not a list"]),
        ("jobs: [a]", ["1:1 `jobs`: expected keys and values, not a list"]),
        ("jobs: {t: }", ["1:11 `jobs.t`: expected keys and values, not nothing"]),
        ("jobs: {t: {}}", ["1:8 `jobs.t.steps` is missing"]),
        ("jobs: {t: {steps: }}", ["1:19 `jobs.t.steps`: expected a list, not nothing"]),
        ("jobs: {t: {steps: []}}", ["1:8 job `t` has no steps"]),
        ("jobs: {t: {steps: [make]}}", ["1:20 `jobs.t.steps[0]`: expected keys and values, not `make`"]),
        ("jobs: {t: {steps: [{name: x}]}}", ["1:20 `jobs.t.steps[0].run` is missing"]),
        ("jobs: {t: {steps: [{run: [a]}]}}", ["1:21 `jobs.t.steps[0].run`: expected a single value, not a list"]),
        ("jobs: {t: {steps: [{run: ' '}]}}", ["1:26 `jobs.t.steps[0].run`: the script is empty"]),
        ('jobs: {t: {steps: [{run: "a\\0b"}]}}', ["1:26 `jobs.t.steps[0].run`: the value holds a NUL character, which no process can be given"]),
        ("version: 2\n" + MINIMAL, ["1:10 `version`: version `2` is not known: this version of surveil reads `version: 1`"]),
        (in_job("timeout: 10"), ["3:14 `jobs.t.timeout`: `10` is not a duration: write a number and a unit, like `90s`, `10m` or `2h`"]),
        (in_job("timeout: 0s"), ["3:14 `jobs.t.timeout`: `0s` is outside of `1s` to `7d`"]),
        (in_job("timeout: 8d"), ["3:14 `jobs.t.timeout`: `8d` is outside of `1s` to `7d`"]),
        (in_job("retry: yes"), ["3:12 `jobs.t.retry`: `yes` is not a whole number from 0 to 10"]),
        (in_job("retry: 11"), ["3:12 `jobs.t.retry`: `11` is not a whole number from 0 to 10"]),
        (in_job("retry: '1'"), ["3:12 `jobs.t.retry`: `1` is not a whole number from 0 to 10"]),
        (in_job("on_runner_loss: wait"), ["3:21 `jobs.t.on_runner_loss`: `wait` is not one of `retry`, `fail`, `hold`"]),
        (
            "jobs:\n  t:\n    steps: [{run: a, when: brnch == 'x'}, {run: b, when: [failed]}]\n",
            ["3:52 `jobs.t.steps[1].when`: expected a single value, not a list"],
        ),
        (
            "jobs:\n  t:\n    steps: [{run: a, env: {A: b}, when: brnch == env.A}, {run: b, when: steps.a}]\n",
            ["3:41 `jobs.t.steps[0].when`: there is no `brnch`", "3:73 `jobs.t.steps[1].when`: there is no `steps`"],
        ),
        (in_job("when: never"), ["3:11 `jobs.t.when`: there is no `never`"]),
        (in_job("env: {1A: x}"), ["3:11 `jobs.t.env.1A`: `1A` cannot be a variable's name: use letters, digits and `_`, no digit first"]),
        (in_job("env: {SURVEIL_SHA: x}"), ["3:11 `jobs.t.env.SURVEIL_SHA`: `SURVEIL_SHA` is set by surveil itself"]),
        (in_job("env: {A: }"), ['3:14 `jobs.t.env.A`: there is no value: write one, or "" for the empty text']),
        (in_job("env: [A=1]"), ["3:5 `jobs.t.env`: expected keys and values, not a list"]),
        (in_job("labels: [a b]"), ["3:14 `a b` is not a label"]),
        (in_job("labels: [[a]]"), ["3:14 `jobs.t.labels[0]`: expected a single value, not a list"]),
        (in_job('labels: "a\\0"'), ["3:13 `jobs.t.labels[0]`: the value holds a NUL character, which no process can be given"]),
        (in_job("needs: {a: b}"), ["3:5 `jobs.t.needs`: expected a list, not keys and values"]),
        (in_job("needs: t"), ["3:12 jobs wait for each other in a circle: `t` needs `t`"]),
        (in_job("matrix: {py-v: [1]}"), ["3:14 `jobs.t.matrix.py-v`: `py-v` cannot be the name of a value: use letters, digits and `_`, no digit first"]),
        (in_job("matrix: {v: [1], include: [2]}"), ["3:32 `jobs.t.matrix.include[0]`: expected keys and values, not `2`"]),
        (in_job("matrix: {v: [1], include: [{v-w: 2}]}"), ["3:33 `jobs.t.matrix.include[0].v-w`: `v-w` cannot be the name of a value: use letters, digits and `_`, no digit first"]),
        (in_job("matrix: {v: [1], exclude: {v: 1}}"), ["3:22 `jobs.t.matrix.exclude`: expected a list, not keys and values"]),
        (in_job("matrix: {v: [1], exclude: [{v: 2}]}"), ["3:36 `exclude` leaves out `2`, which matrix `v` does not list"]),
        (in_job("when: branch == 'x' && brnch"), ["3:28 `jobs.t.when`: there is no `brnch`"]),
        (in_job("when: \"branch == 'x' && brnch\""), ["3:29 `jobs.t.when`: there is no `brnch`"]),
        (in_job("when: >\n      branch == 'x'\n      && brnch"), ["3:11 `jobs.t.when`: there is no `brnch`"]),
        (in_job("when: [always]"), ["3:5 `jobs.t.when`: expected a single value, not a list"]),
        (in_job("when: failed"), ["2:3 job `t` says `when: failed` but needs nothing"]),
        (in_job("priority: high"), ["3:15 `jobs.t.priority`: `high` is not a whole number"]),
        (in_job("priority: 101"), ["3:15 `jobs.t.priority`: `101` is outside of -100 to 100"]),
        (in_job("concurrency: {cancel_superseded: true}"), ["3:5 `jobs.t.concurrency.group` is missing"]),
        (in_job("concurrency: {group: a, grp: b}"), ["3:29 unknown key `grp` in `jobs.t.concurrency`"]),
        (in_job("concurrency: [a]"), ["3:5 `jobs.t.concurrency`: expected keys and values, not a list"]),
        (in_job("concurrency: "), ['3:5 `jobs.t.concurrency.group`: there is no value: write one, or "" for the empty text']),
        (in_job("fail_fast: yes"), ["3:16 `jobs.t.fail_fast`: `yes` is neither `true` nor `false`"]),
        (in_job("image: Python"), ["3:12 `Python` is not the name of an image"]),
        (in_job("image: [a]"), ["3:5 `jobs.t.image`: expected keys and values, not a list"]),
        (in_job("image: {pull: never}"), ["3:5 `jobs.t.image.name` is missing"]),
        (in_job("image: {name: a, pull: often}"), ["3:28 `jobs.t.image.pull`: `often` is not one of `missing`, `always`, `never`"]),
        (in_job("image: {name: a, cpus: 0}"), ["3:28 `jobs.t.image.cpus`: `0` is not a number of processors like `2` or `0.5`"]),
        (in_job("image: {name: a, memory: 1m}"), ["3:30 `jobs.t.image.memory`: `1m` is not a size like `512MiB` or `2GiB`, from 16MiB on"]),
        (in_job("image: {name: a, pids: 0}"), ["3:28 `jobs.t.image.pids`: `0` is not a number of processes from 1 to 4194304"]),
        (in_job("image: {name: a, disk: 2}"), ["3:28 `jobs.t.image.disk`: `2` is not a size like `512MiB` or `2GiB`, from 16MiB on"]),
        (in_job("image: {name: a, disk: 0}"), ["3:28 `jobs.t.image.disk`: 0 is no size: leave the key out for no limit"]),
        (in_job("image: {name: a, disc: 2GiB}"), ["3:22 unknown key `disc` in `jobs.t.image`"]),
        (beside("{db: {image: {name: a, disk: 2GiB}}}"), ["4:38 unknown key `disk` in `jobs.t.services.db.image`"]),
        (in_job("image: {name: a, user: me}"), ["3:28 `jobs.t.image.user`: `me` is not one of `runner`, `root`"]),
        (in_job("image: {name: a, cpu: 1}"), ["3:22 unknown key `cpu` in `jobs.t.image`"]),
        (in_job("services: {db: a}"), ["3:16 job `t` has services and no image"]),
        (beside("[a]"), ["4:5 `jobs.t.services`: expected keys and values, not a list"]),
        (beside("{Db: a}"), ["4:16 `jobs.t.services.Db`: `Db` cannot be a service's name: steps reach it as a host of that name, so use lower-case letters, digits, `-` and `_` between them, at most 63"]),
        (beside("{localhost: a}"), ["4:16 `jobs.t.services.localhost`: `localhost` cannot be a service's name: steps reach it as a host of that name, so use lower-case letters, digits, `-` and `_` between them, at most 63"]),
        (beside("{db: {env: {A: b}}}"), ["4:16 `jobs.t.services.db.image` is missing"]),
        (beside("{db: Postgres}"), ["4:20 `Postgres` is not the name of an image"]),
        (beside("{db: {image: a, ports: [1]}}"), ["4:31 unknown key `ports` in `jobs.t.services.db`"]),
        (beside("{db: {image: a, command: \"a 'b\"}}"), ["4:40 `jobs.t.services.db.command`: `a 'b` has a quote that is not closed"]),
        (beside("{db: {image: a, command: []}}"), ["4:31 `jobs.t.services.db.command`: the command is empty"]),
        (beside("{db: {image: a, command: {a: b}}}"), ["4:31 `jobs.t.services.db.command`: expected a command, as one text or a list of its words, not keys and values"]),
        (beside("{db: {image: a, secrets: [B]}}"), ["4:41 `B` is no variable in which the job has a secret"]),
        (beside("{db: {image: a, health: {port: 1, command: b}}}"), ["4:31 `jobs.t.services.db.health`: a service is ready by a `command` or by a `port`: remove one"]),
        (beside("{db: {image: a, health: {port: 65536}}}"), ["4:46 `jobs.t.services.db.health.port`: `65536` is not a port from 1 to 65535"]),
        (beside("{db: {image: a, health: {interval: 1ms}}}"), ["4:50 `jobs.t.services.db.health.interval`: `1ms` is outside of `100ms` to `1m`"]),
        (beside("{db: {image: a, health: {timeout: 1h}}}"), ["4:49 `jobs.t.services.db.health.timeout`: `1h` is outside of `1s` to `15m`"]),
        (beside("{db: {image: a, health: {port: 1}}, x: {image: a, health: {port: 1}}}"), ["4:51 service `x` and service `db` listen on the same port"]),
        (beside("{db: {image: a, health: ''}}"), ["4:31 `jobs.t.services.db.health.command`: the command is empty"]),
        (beside("{" + ", ".join(f"s{number}: a" for number in range(17)) + "}"), ["4:134 a job has at most 16 services"]),
        (in_step("continue_on_error: on"), ["5:28 `jobs.t.steps[0].continue_on_error`: `on` is neither `true` nor `false`"]),
        (in_step("shell: a;b"), ["5:16 `jobs.t.steps[0].shell`: `a;b` is not a shell: write a program and its options, like `bash` or `sh -eu`"]),
        (in_step('name: "a\\nb"'), ["5:15 `jobs.t.steps[0].name`: a name is one line of printable text"]),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_at_its_place(text: str, sentences: list[str]) -> None:
    assert said(text) == sentences


@pytest.mark.parametrize("name", ["-x", ".x", "a/b", "a,b", "a[b]", "''", "' a'", '"a\\nb"', '"\\u202ea"'])
def test_a_name_that_cannot_be_a_jobs_is_refused_at_its_key(name: str) -> None:
    (sentence,) = said(f"jobs:\n  ? {name}\n  : {{steps: [{{run: x}}]}}\n")
    assert sentence.startswith("2:5 ")
    assert "cannot be a job's name" in sentence


@pytest.mark.parametrize("name", ["test", "Unit tests", "test_3.11", "größe", "1"])
def test_a_name_that_people_would_choose_is_allowed(name: str) -> None:
    assert good(f"jobs: {{{name}: {{steps: [{{run: x}}]}}}}")[0].name == name


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("job: 1\n" + MINIMAL, "1:1 unknown key `job`", "did you mean `jobs`?"),
        (in_job("time_out: 1m"), "3:5 unknown key `time_out` in `jobs.t`", "did you mean `timeout`?"),
        (in_job("on-runner-loss: fail"), "3:5 unknown key `on-runner-loss` in `jobs.t`", "did you mean `on_runner_loss`?"),
        (in_job("runs-on: x"), "3:5 unknown key `runs-on` in `jobs.t`", "use `labels: [linux]` to choose machines"),
        (in_step("uses: a/b"), "5:9 unknown key `uses` in `jobs.t.steps[0]`", "a step is a shell script: write `run: COMMAND`"),
        (in_job("variables: {A: b}"), "3:5 unknown key `variables` in `jobs.t`", "variables are under `env`"),
        (".base: {}\n" + MINIMAL, "1:1 unknown key `.base`", "write the steps that jobs share under `steps`, with an anchor"),
        # What is there under a wrong name is not missing as well.
        ("jobs: {t: {stepz: []}}", "1:12 unknown key `stepz` in `jobs.t`", "did you mean `steps`?"),
        ("jobs: {t: {script: [x]}}", "1:12 unknown key `script` in `jobs.t`", "steps are written as `steps: [{run: COMMAND}]`"),
        ("jobs: {t: {steps: [{uses: a/b}]}}", "1:21 unknown key `uses` in `jobs.t.steps[0]`", "a step is a shell script: write `run: COMMAND`"),
        (
            in_step("zzzzzz: 1"),
            "5:9 unknown key `zzzzzz` in `jobs.t.steps[0]`",
            "known are `continue_on_error`, `env`, `name`, `run`, `shell`, `timeout`, `when`",
        ),
    ],
)  # fmt: skip
def test_an_unknown_key_is_an_error_that_says_what_was_meant(text: str, sentence: str, hint: str) -> None:
    (complaint,) = bad(text).complaints
    assert f"{complaint.place.line}:{complaint.place.column} {complaint.message}" == sentence
    assert complaint.hint == hint


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        (in_job("retry: {max: 2}"), "`jobs.t.retry`: expected a single value, not keys and values", "write how many more attempts there may be, like `retry: 2`"),
        (in_job("when: {event: push}"), "`jobs.t.when`: expected a single value, not keys and values", "write one condition, like `branch == 'main' && event == 'push'`"),
        ("jobs: {t: {steps: [{run: [a, b]}]}}", "`jobs.t.steps[0].run`: expected a single value, not a list", "write the commands below each other in one text, behind `run: |`"),
    ],
)  # fmt: skip
def test_where_other_systems_have_a_table_or_a_list_the_hint_has_what_to_write(
    text: str, sentence: str, hint: str
) -> None:
    (complaint,) = bad(text).complaints
    assert (complaint.message, complaint.hint) == (sentence, hint)


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = "jobs:\n  a:\n    retry: x\n    steps: [{run: x}]\n  b:\n    colour: x\n"
    assert [c.place.line for c in bad(text).complaints] == [3, 5, 6]


def test_the_number_of_complaints_is_bounded() -> None:
    text = "jobs:\n" + "".join(f"  j{n}: x\n" for n in range(500))
    assert len(bad(text).complaints) == 50


def test_complaints_are_rendered_with_line_caret_and_hint() -> None:
    loaded = bad("jobs:\n  tést:\n    env: {日本: [x]}\n    stepz: 1\n    steps: [{run: x}]\n", "sub/.surveil.yml")
    assert loaded.render().splitlines()[-4:] == [
        "sub/.surveil.yml:4:5: unknown key `stepz` in `jobs.tést`",
        "        stepz: 1",
        "        ^",
        "    hint: did you mean `steps`?",
    ]
    assert loaded.render().splitlines()[1:3] == ["        env: {日本: [x]}", "              ^"]
    assert loaded.sentences()[-1] == (
        "sub/.surveil.yml:4:5: unknown key `stepz` in `jobs.tést` (did you mean `steps`?)"
    )


def test_a_caret_stands_below_its_place_behind_tabs_and_wide_characters_and_in_endless_lines() -> None:
    tab = bad("a:\n\tb: c").render().splitlines()
    assert tab[1:3] == ["    \tb: c", "    ^"]
    wide = bad("{日本: 1, 日本: 2}").render().splitlines()
    assert wide[1:3] == ["    {日本: 1, 日本: 2}", "              ^"]
    endless = bad("x: '" + "y" * 5000 + "'\nx: 1, y: [" + "z" * 5000 + "]: 2").render().splitlines()
    assert all(len(line) < 200 for line in endless)


def test_nothing_in_a_complaint_can_move_the_cursor() -> None:
    text = 'jobs: {"\\e[2J": {"\\e]0;x\\a": 1, steps: [{run: x, "\\u202e": 1}]}}'
    loaded = bad(text.encode() + b"\n# \xe2\x80\xae", "evil\x1b.yml")
    shown = loaded.render() + "".join(loaded.sentences())
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert all(char.isprintable() or char == "\n" for char in bad(b"a: \x1b[2J").render())


def test_of_a_file_that_is_too_large_no_more_is_kept_than_of_one_that_is_not() -> None:
    assert len(bad(b"x" * 5_000_000).text) == PIPELINE_BYTES_MAX
    assert len(bad("é" * 5_000_000).text) == PIPELINE_BYTES_MAX


def test_complaints_as_json_name_file_line_column_message_and_hint() -> None:
    assert json.loads(json.dumps(bad("job: 1\njobs: {t: {steps: [{run: x}]}}").as_json())) == {
        "file": ".surveil.yml",
        "complaints": [
            {
                "file": ".surveil.yml",
                "line": 1,
                "column": 1,
                "message": "unknown key `job`",
                "hint": "did you mean `jobs`?",
            }
        ],
    }


def test_the_names_are_looked_for_in_the_documented_order() -> None:
    assert FILENAMES == (".surveil.yml", ".runnerci.yml", "narwhal.yml")


def test_any_other_file_name_is_read_like_surveil_yml() -> None:
    assert good(MINIMAL, "folder/other.yaml") == good(MINIMAL)


def _mutated(dice: random.Random, value: Any) -> Any:
    """Change something anywhere in a valid pipeline: a value's type, a key, a text."""
    strange: list[Any] = [
        None,
        0,
        -1,
        1e300,
        True,
        "",
        "x",
        [],
        {},
        [[]],
        {"": None},
        "1h",
        ["a", "a"],
        "${{ matrix.x }}",
    ]
    if dice.random() < 0.2:
        return dice.choice(strange)
    if isinstance(value, dict):
        items = [(key, _mutated(dice, item)) for key, item in value.items() if dice.random() > 0.05]
        return dict(items) | (
            {dice.choice(["env", "needs", "x", "run", ""]): dice.choice(strange)} if dice.random() < 0.1 else {}
        )
    if isinstance(value, list):
        return [_mutated(dice, item) for item in value] * dice.choice([1, 1, 1, 2])
    return value


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from([*FILENAMES, "x"]))
def test_any_shape_of_pipeline_is_loaded_or_explained(dice: random.Random, filename: str) -> None:
    shape = {
        "version": 1, "name": "x", "env": {"A": "b"}, "image": "x",
        "jobs": {
            "a": {"steps": [{"name": "s", "run": "x ${{ matrix.v }}", "timeout": "1m"}], "matrix": {"v": ["1", "2"]}},
            "b": {"needs": ["a"], "labels": ["l"], "env": {"B": "c"}, "steps": [{"run": "y"}]},
        },
        "steps": [{"name": "n", "command": "c", "dependencies": ["n"]}],
    }  # fmt: skip
    text = json.dumps(_mutated(dice, shape))
    loaded = load(text, filename)
    if isinstance(loaded, Invalid):
        assert loaded.complaints
        assert loaded.render()
        assert loaded.sentences()
        json.dumps(loaded.as_json())
    else:
        assert loaded.jobs


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)), st.sampled_from(FILENAMES))
def test_any_bytes_are_loaded_or_explained(data: bytes | str, filename: str) -> None:
    loaded = load(data, filename)
    assert isinstance(loaded, Pipeline) or loaded.render()
