"""Naughty texts in every field of every record: exact in JSON, and inert wherever they are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from surveil.cli import logs, reading, story, watching
from surveil.cli.connecting import connected
from surveil.core.model import AttemptState, Note, Record, Status
from surveil.core.spelling import printable
from surveil.errors import ExitCode
from surveil.pipeline.values import job_name
from surveil.protocol import JobSpec, Remark, StepReport, StepSpec, WatchedRepo
from surveil.say import Voice, begin
from tests.answer.desk import NOW
from tests.cli.conftest import Ended, Type
from tests.cli.counter import Counter
from tests.corpora.naughty import BYTES, NAUGHTY, harm
from tests.store.records import make_attempt, make_build, make_job, make_note, make_peer, make_runner, make_token, new
from tests.up.test_story import Dispatcher, job, told

pytestmark = pytest.mark.timeout(300)


NOTES = 3
"""So many lines of the journal each build has."""


def name_of_job(text: str) -> str:
    """The text, if a pipeline could call a job so."""
    try:
        return job_name(text)
    except ValueError:
        return "test"


def fill(counter: Counter) -> None:
    """One build for each text, which stands in every field that a stranger fills."""
    records: list[Record] = []
    notes: list[Note] = []
    for number, text in enumerate(NAUGHTY, start=1):
        name = name_of_job(text)
        step = StepSpec(name=text, run=text, shell=text, env={"V": text})
        spec = JobSpec(
            name=name, needs=(text,), labels=(text,), env={"V": text}, timeout_ms=1, steps=(step,), matrix={"v": text}
        )
        remark = Remark(at=0, after_ms=1, text=text)
        steps = tuple(StepReport(name=text, state="failed", exit_code=1, log_at=0, remarks=(remark,)) for _ in "12")
        records += [
            make_build(
                number, jobs=(name,), repo=text, ref=text, message=text, author=text, pipeline_file=text, rule=text,
                complaints=(text,), reason=text, state=Status.FAILED, mid=f"{number}",
            ),
            make_job(number, name, spec=spec, state=Status.FAILED, attempt=2, reason=text),
            make_attempt(
                number, name, 1, runner_name=text, state=AttemptState.LOST, reason=text, isolation=text, finished_at=NOW
            ),
            make_attempt(
                number, name, 2, runner_name=text, state=AttemptState.FAILED, reason=text, finished_at=NOW,
                accepted_at=NOW, isolation=text, steps=steps,
            ),
            replace(make_runner(f"r{number}"), name=text, host=text, software=text, labels=(text,), cordoned=text),
        ]  # fmt: skip
        notes += [
            make_note("job", f"{number}/{name}", build=number, state="failed", reason=text),
            make_note("attempt", f"{number}/{name}#1", build=number, state="lost", reason=text),
            make_note("build", f"{number}", build=number, state="failed", reason=text),
        ]
        counter.desk.log(f"{number}/{name}", 2, text.encode())
    counter.desk.store.commit(new(*records, notes=tuple(notes)))


@pytest.fixture
def filled(counter: Counter) -> Counter:
    fill(counter)
    return counter


def looks_at(ended: Ended, *, lines: int | None = None) -> None:
    """What was printed is text of so many lines."""
    assert ended.code == 0, ended.err
    assert harm(ended.out) == ""
    assert harm(ended.err) == ""
    assert lines is None or ended.out.count("\n") == lines


def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


def test_every_text_is_exact_in_every_field_of_the_documents(type_: Type, filled: Counter) -> None:
    found: list[dict[str, Any]] = json.loads(type_("builds", "--limit", str(len(NAUGHTY)), "--json").out)
    assert len(found) == len(NAUGHTY)
    for build, text in zip(reversed(found), NAUGHTY, strict=True):
        (job,) = build["jobs"]
        first, last = job["attempts"]
        fields = ("repo", "ref", "message", "author", "pipeline_file", "rule", "reason")
        assert {name: build[name] for name in fields} == dict.fromkeys(fields, text)
        assert build["complaints"] == job["labels"] == job["needs"] == [text]
        assert (job["name"], job["reason"], job["matrix"]) == (name_of_job(text), text, {"v": text})
        assert [first[name] for name in ("runner", "reason", "isolation")] == [text] * 3
        assert [last["runner"], last["reason"], last["steps"][0]["name"]] == [text] * 3
    runners = {runner["id"]: runner for runner in json.loads(type_("runners", "--json").out)}
    for number, text in enumerate(NAUGHTY, start=1):
        runner = runners[f"r{number}".ljust(40, "x")]
        assert [runner[name] for name in ("name", "host", "version", "reason")] == [text] * 4
        assert runner["labels"] == [text]


def test_documents_are_ascii_whatever_is_in_them(type_: Type, filled: Counter) -> None:
    for words in (("builds", "--json"), ("runners", "--json"), ("show", "7", "--json"), ("story", "7", "--json")):
        ended = type_(*words)
        assert ended.code == 0, ended.err
        assert ended.out.isascii()
        assert harm(ended.out) == ""


@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
def test_lists_of_everything_are_inert(
    type_: Type, filled: Counter, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        at_a_terminal(monkeypatch)
    for record in (make_peer(f"{n} {text}"[:100], key=f"k{n}".ljust(40, "x")) for n, text in enumerate(NAUGHTY)):
        filled.desk.store.add_peer(record)
    for number, text in enumerate(NAUGHTY):
        filled.desk.store.add_token(make_token(f"t{number}", labels=(text,), expires_at=NOW + 1_000_000))
    looks_at(type_("builds", "--limit", str(len(NAUGHTY))), lines=None if terminal else len(NAUGHTY) + 1)
    looks_at(type_("runners"), lines=None if terminal else len(NAUGHTY) + 1)
    looks_at(type_("token", "list"))
    looks_at(type_("peers"))
    looks_at(type_("status"))


@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
def test_what_the_dispatcher_knows_of_others_is_inert(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        at_a_terminal(monkeypatch)
    live = counter.desk.live
    live.watching["eye"] = tuple(WatchedRepo(repo=f"{text}{n}", problem=text) for n, text in enumerate(NAUGHTY))
    live.troubles = lambda: [("foreign", 1, text) for text in NAUGHTY]
    live.offenders = lambda _most: [("observer", text, {text: 1}) for text in NAUGHTY]
    for number, text in enumerate(NAUGHTY, start=1):
        live.state.put(make_build(number, complaints=()), 0)
        live.state.put(make_job(number, spec=replace(make_job().spec, labels=(text,))), 0)
    ended = type_("status")
    looks_at(ended)
    assert terminal or all(printable(text) in ended.out for text in NAUGHTY)
    looks_at(type_("doctor"))


@pytest.mark.usefixtures("own_log")
def test_what_processes_write_to_their_own_logs_is_inert(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json"):
        begin("observer", log_format=form, log_level="info")
        for text in NAUGHTY:
            Voice("observer").warning(f"{text} cannot be read", repo=text, reason=text)
        said = capsys.readouterr().err
        assert harm(said) == ""
        assert len(said.splitlines()) == said.count("\n") == len(NAUGHTY)


@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
def test_what_up_tells_of_a_build_is_inert_and_forges_no_line(terminal: bool) -> None:
    lines = told_by_up("plain", terminal=terminal)
    for text in NAUGHTY:
        assert told_by_up(text, terminal=terminal) == lines, repr(text)


def told_by_up(text: str, *, terminal: bool) -> int:
    """In how many lines `up` tells of a build with this text in all fields, on stderr."""
    about = {"reason": text, "state": "errored", "rule": text, "message": text, "repo": text, "ref": text}
    dispatcher = Dispatcher(
        {"7/a": {"data": b"", "steps": [{"name": text, "state": text, "log_at": 0}] * 2}},
        jobs=[job(text, "errored", id="7/a", reason=text), job("b", "queued", reason=text, waiting=text)],
        complaints=[text + "!"],
        **about,
    )
    dispatcher.notes = [
        {"what": "attempt", "id": "7/a#1", "state": "lost", "reason": text},
        {"what": "job", "id": "7/a", "state": "errored", "reason": text},
    ]
    out, err = told(dispatcher, terminal=terminal)
    assert harm(out) == ""
    assert harm(err) == ""
    return err.count("\n")


@pytest.fixture
def stays_connected(filled: Counter, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All commands about a build ask over one connection: there are a thousand of them, and to connect takes each as
    long as all that is looked at here.
    """
    with connected({}) as dispatcher:
        for module in (reading, story, watching, logs):
            monkeypatch.setattr(module, "connected", lambda _flags: nullcontext(dispatcher))
        yield
    assert {"build", "story", "journal", "log"} <= {*filled.asked}


@pytest.mark.usefixtures("stays_connected")
@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
def test_each_build_is_shown_told_and_read_inertly(
    type_: Type, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        at_a_terminal(monkeypatch)
    for number in range(1, len(NAUGHTY) + 1):
        looks_at(type_("show", str(number)))
        looks_at(type_("story", str(number)))
        watched = type_("watch", str(number))
        assert (watched.code, watched.err) == (ExitCode.BUILD_FAILED, "")
        assert harm(watched.out) == ""
        assert watched.out.count("\n") == NOTES
        ended = type_("logs", str(number))
        assert harm(ended.err) == ""
        if terminal:
            assert harm(ended.out) == ""
        else:
            assert ended.raw == NAUGHTY[number - 1].encode()


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("terminal", [False, True], ids=["in a pipe", "on a terminal"])
def test_output_of_any_bytes_is_exact_in_a_pipe_and_inert_on_a_terminal(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch, terminal: bool, name: str
) -> None:
    passed = make_attempt(state=AttemptState.PASSED, finished_at=NOW, released=True, log_bytes=len(BYTES[name]))
    counter.desk.store.commit(new(make_build(state=Status.PASSED), make_job(state=Status.PASSED, attempt=1), passed))
    for at in range(0, len(BYTES[name]), 200_000):
        counter.desk.log("1/test", 1, BYTES[name][at : at + 200_000])
    if terminal:
        at_a_terminal(monkeypatch)
    ended = type_("logs", "1")
    assert ended.code == 0, ended.err
    assert harm(ended.err) == ""
    if terminal:
        assert harm(ended.out) == ""
    else:
        assert ended.raw == BYTES[name]
