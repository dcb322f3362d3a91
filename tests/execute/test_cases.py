"""Collecting test results: reports are read beside the agent, and told until the dispatcher has them."""

from __future__ import annotations

import base64
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.execute.collect import cases
from surveil.execute.collect.cases import CaseCollector
from surveil.execute.collect.collecting import Collection, Unwanted, Work, covering
from surveil.execute.keeper.entrusted import Entrusted
from surveil.execute.workspace import Workspace
from surveil.protocol import Assign, Cases, CasesKept
from tests.execute.conftest import job

ASSIGN = Assign(
    epoch=1, incarnation=1, anchor=1, job="7/test", attempt=2, build=7, repo="/r", ref="", sha="a" * 40,
    spec=job("true"),
)  # fmt: skip
REPORT = "<testsuite>" + "<testcase name='a' time='0.001'/>" * 2300 + "</testsuite>"


class Line:
    """Between a collector and a dispatcher that keeps what comes, or whatever `answer` does."""

    def __init__(self, answer: Callable[[Cases], CasesKept | None] | None = None) -> None:
        self.said: list[Cases] = []
        self._answer = answer or kept
        self.collector = CaseCollector(self._say)

    def _say(self, said: Cases) -> None:
        self.said.append(said)
        if (answer := self._answer(said)) is not None:
            self.collector.hear(answer)


def kept(said: Cases) -> CasesKept:
    return CasesKept(job=said.job, attempt=said.attempt, upto=said.at + len(said.cases), whole=said.tally is not None)


def work(tmp_path: Path, *patterns: str, unwanted: Callable[[], bool] = lambda: False) -> Work:
    spec = replace(ASSIGN.spec, reports=patterns)
    workspace = Workspace.below(tmp_path)
    workspace.work.mkdir(exist_ok=True)
    return Work(assign=replace(ASSIGN, spec=spec), outcome="passed", workspace=workspace, since_ns=0, unwanted=unwanted)


def test_results_are_told_in_parts_and_their_tally_last(tmp_path: Path) -> None:
    line, made = Line(), work(tmp_path, "*.xml")
    (made.workspace.work / "a.xml").write_text(REPORT)
    assert line.collector(made) == Collection()
    assert [(said.at, len(said.cases), said.tally is not None) for said in line.said] == [
        (0, 1000, False), (1000, 1000, False), (2000, 300, False), (2300, 0, True),
    ]  # fmt: skip
    assert line.said[-1].tally is not None
    assert line.said[-1].tally.passed == 2300


@pytest.mark.parametrize("patterns", [(), ("*.tap", "!x.tap")])
def test_where_there_is_nothing_to_read_nothing_is_started(
    tmp_path: Path, patterns: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "READER", "no.such.module")
    line, made = Line(), work(tmp_path, *patterns)
    (made.workspace.work / "x.tap").write_text("ok 1\n1..1\n")
    if patterns:
        with pytest.raises(InfrastructureError, match="not read to their end"):
            line.collector(made)  # There is a sentence about the pattern to be told, so it is started.
    else:
        assert line.collector(made) == Collection()
    assert line.said == []


def test_what_is_secret_is_covered_in_names_messages_output_and_complaints(tmp_path: Path) -> None:
    token = "tok_Zq7XvT3mLk9sWbe2uH5"
    line, made = Line(), replace(work(tmp_path, "*.xml"), cover=covering(lambda: Entrusted({"T": token}, {}, [])))
    head, coded = "m" * 985 + token, base64.b64encode(token.encode()).decode()
    case = f"<testcase name='a {token[::-1]}'><failure message='{head}'>{coded}</failure></testcase>"
    (made.workspace.work / f"{token}.xml").write_text(f"<testsuite name='{token}'>{case}")
    assert line.collector(made) == Collection()
    cases_said = [case for said in line.said for case in said.cases]
    (one,) = cases_said
    assert (one.suite, one.name, one.output) == ("***", "a ***", "***"), one
    assert one.message == "m" * 985 + "***", "what was cut off by a limit as well"
    tally = line.said[-1].tally
    assert tally is not None
    assert tally.problems
    assert all(problem.startswith("***.xml") for problem in tally.problems)


def test_a_cover_that_is_longer_than_a_secret_stays_within_the_limits(tmp_path: Path) -> None:
    line, made = Line(), replace(work(tmp_path, "*.xml"), cover=covering(lambda: Entrusted({"T": "😀"}, {}, [])))
    (made.workspace.work / "a.xml").write_text(f"<testsuite><testcase name='{'😀x' * 250}'/></testsuite>")
    assert line.collector(made) == Collection()
    assert line.said[0].cases[0].name == ("***x" * 250)[:500]


def test_what_is_lost_on_the_way_is_said_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "AGAIN_S", 0.02)
    monkeypatch.setattr(cases, "LOOK_S", 0.01)
    lost: list[Cases] = []

    def lossy(said: Cases) -> CasesKept | None:
        if lost.count(said) < 2:
            lost.append(said)
            return None
        return kept(said)

    line, made = Line(lossy), work(tmp_path, "*.xml")
    (made.workspace.work / "a.xml").write_text(REPORT)
    assert line.collector(made) == Collection()
    assert len(line.said) == 12
    assert line.said[:3] == [line.said[0]] * 3


def test_an_answer_to_something_earlier_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "AGAIN_S", 0.02)
    monkeypatch.setattr(cases, "LOOK_S", 0.01)
    said_before: list[Cases] = []

    def late(said: Cases) -> CasesKept | None:
        """First the answer to what was said before, then, to the repetition, the right one."""
        said_before.append(said)
        again = said_before.count(said) > 1
        short = CasesKept(job=said.job, attempt=said.attempt, upto=said.at, whole=False)
        return kept(said) if again else short

    line, made = Line(late), work(tmp_path, "*.xml")
    (made.workspace.work / "a.xml").write_text(REPORT)
    assert line.collector(made) == Collection()
    assert len(line.said) == 8


def test_a_new_connection_hears_at_once_what_was_said_on_the_old_one(tmp_path: Path) -> None:
    """However long it would be until it is said again."""

    def first_lost(said: Cases) -> CasesKept | None:
        if len(line.said) == 1:
            line.collector.restart()
            return None
        return kept(said)

    line, made = Line(first_lost), work(tmp_path, "*.tap")
    (made.workspace.work / "a.tap").write_text("ok 1 - a\n1..1\n")
    assert line.collector(made) == Collection()
    assert [said.at for said in line.said] == [0, 0, 1]


def test_what_nobody_wants_any_more_is_left(tmp_path: Path) -> None:
    line = Line(lambda _: None)
    made = work(tmp_path, "*.xml", unwanted=lambda: bool(line.said))
    (made.workspace.work / "a.xml").write_text(REPORT)
    with pytest.raises(Unwanted):
        line.collector(made)
    assert len(line.said) == 1


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (f"import os; os.kill(os.getpid(), {signal.SIGKILL})", "the process that reads them was ended"),
        ("print('nonsense')", "Expecting value"),
        ("print('{\"cases\": [{}]}')", "is missing"),
        ("print('{\"cases\": []}')", "the process that reads them was ended"),
    ],
    ids=["killed", "nonsense", "an empty case", "no tally"],
)
def test_a_reader_that_does_not_do_its_part_is_a_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    (tmp_path / "broken_reader.py").write_text(script)
    monkeypatch.setattr(cases, "READER", "broken_reader")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    made = work(tmp_path, "*.xml")
    (made.workspace.work / "a.xml").write_text(REPORT)
    with pytest.raises(InfrastructureError, match=sentence):
        Line().collector(made)


def test_the_reader_takes_no_module_from_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that is typed in a work tree is started among files that strangers may have written."""
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    line, made = Line(), work(tmp_path, "*.xml")
    (made.workspace.work / "a.xml").write_text(REPORT)
    assert line.collector(made) == Collection()


def test_two_attempts_do_not_hear_each_others_answers(tmp_path: Path) -> None:
    line = Line(lambda said: kept(replace(said, attempt=said.attempt + 1)))
    made = work(tmp_path, "*.tap", unwanted=lambda: bool(line.said))
    (made.workspace.work / "a.tap").write_text("ok 1 - a\n1..1\n")
    with pytest.raises(Unwanted):
        line.collector(made)
