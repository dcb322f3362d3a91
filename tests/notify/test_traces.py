"""Traces: what a collector on loopback decodes of them, told once, and told in the end."""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from surveil.calling import Caller
from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.errors import InfrastructureError, InvalidError
from surveil.frozen import replace
from surveil.notify.delivering import Delivery
from surveil.notify.rules import load_rules
from surveil.notify.spans import Tracer
from surveil.notify.traces import Rule, Traces, headers_in, tracer_of
from surveil.protocol import StepReport
from surveil.store import BuildDetail
from surveil.store.outbox import Outbox
from tests.store.memory import MemoryStore
from tests.store.records import make_attempt, make_build, make_job, make_note, make_spec, new

NOW = 1_750_000_000_000
NS = 1_000_000
HOW_TO = Path(__file__).parents[2] / "docs/how-to/watch-over.md"


class Collector:
    """Takes traces as a real one does: decodes what it is sent, and answers as it was told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.spans: list[Span] = []
        self.paths: list[str] = []
        self.resources: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(self.path, dict(self.headers.items()), body)
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="collector")
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.paths.append(path)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        request = ExportTraceServiceRequest()
        request.ParseFromString(gzip.decompress(body))
        for resource in request.resource_spans:
            self.resources.append({each.key: each.value.string_value for each in resource.resource.attributes})
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


def told(detail: BuildDetail, *, cluster: str = "c1") -> list[Span]:
    return list(Tracer(cluster=cluster, public_url="https://ci.example.org").spans(detail))


def job(name: str, at: int, state: Status, **fields: Any) -> Job:
    spec = replace(make_spec(name), continue_on_error=False)
    times = {"created_at": NOW, "started_at": NOW + 2_000, "finished_at": NOW + 60_000}
    return make_job(7, name, **{"position": at, "spec": spec, "state": state, **times, **fields})


def attempt(number: int, state: AttemptState, begin: int, end: int | None, **fields: Any) -> Attempt:
    times = {"assigned_at": NOW + begin, "accepted_at": NOW + begin + 100, "finished_at": end and NOW + end}
    return make_attempt(7, "test", number, **{"state": state, "reason": "", "steps": (), **times, **fields})


def detail() -> BuildDetail:
    """A build whose test was lost with a runner and then failed."""
    steps = (
        StepReport(name="Install", state="passed", exit_code=0, started_after_ms=0, finished_after_ms=9_000),
        StepReport(name="Tests", state="failed", exit_code=2, started_after_ms=9_000, finished_after_ms=28_000),
        StepReport(name="Never begun", state="pending"),
    )
    build = make_build(
        7, ("test", "deploy"), repo="https://git.example.org/shop/site.git", ref="refs/heads/main", state=Status.FAILED,
        reason="test failed", created_at=NOW, started_at=NOW + 2_000, finished_at=NOW + 60_000, retry_of=None,
    )  # fmt: skip
    lost = attempt(1, AttemptState.LOST, 2_000, 20_000, reason="runner blue stopped answering 8.1 s ago")
    failed = attempt(
        2, AttemptState.FAILED, 21_000, 60_000, reason="the step `Tests` ended with exit code 2", steps=steps
    )
    skipped = job("deploy", 1, Status.SKIPPED, reason="", started_at=None)
    failed_job = job("test", 0, Status.FAILED, reason="the step `Tests` ended with exit code 2")
    return BuildDetail(build=build, jobs=(failed_job, skipped), attempts=(lost, failed))


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_build_is_a_trace_and_what_is_under_it_are_spans_within_each_other() -> None:
    spans = told(detail())
    found = by_name(spans)
    assert [span.name for span in spans] == [
        "site main", "test", "attempt 1", "attempt 2", "Install", "Tests", "deploy",
    ]  # fmt: skip
    assert len({span.trace_id for span in spans}) == 1
    assert len({span.span_id for span in spans}) == len(spans)
    assert {len(span.trace_id) for span in spans} == {16}
    assert {len(span.span_id) for span in spans} == {8}
    within = {span.name: name for span in spans for name in found if found[name].span_id == span.parent_span_id}
    assert within == {
        "test": "site main", "deploy": "site main", "attempt 1": "test", "attempt 2": "test", "Install": "attempt 2",
        "Tests": "attempt 2",
    }  # fmt: skip
    for name, inner in within.items():
        outer, own = found[inner], found[name]
        assert outer.start_time_unix_nano <= own.start_time_unix_nano, name
        assert own.end_time_unix_nano <= outer.end_time_unix_nano, name
        assert own.start_time_unix_nano <= own.end_time_unix_nano, name
    tests = found["Tests"]
    assert (tests.start_time_unix_nano, tests.end_time_unix_nano) == ((NOW + 30_100) * NS, (NOW + 49_100) * NS)


def test_spans_say_what_came_of_them_and_why() -> None:
    found = by_name(told(detail()))
    build = attributes(found["site main"])
    assert (build["cicd.pipeline.run.id"], build["cicd.pipeline.result"]) == ("7", "failure")
    assert build["cicd.pipeline.run.url.full"] == "https://ci.example.org/builds/7"
    assert (build["vcs.ref.head.name"], build["vcs.ref.head.revision"]) == ("refs/heads/main", "a" * 40)
    lost = found["attempt 1"]
    assert lost.status.code == SpanStatus.STATUS_CODE_ERROR
    assert lost.status.message == attributes(lost)["surveil.reason"] == "runner blue stopped answering 8.1 s ago"
    assert attributes(found["Tests"])["process.exit.code"] == 2
    assert found["Install"].status.code == SpanStatus.STATUS_CODE_OK
    assert found["deploy"].status.code == SpanStatus.STATUS_CODE_UNSET
    assert attributes(found["test"])["surveil.job.attempts"] == 2


def test_a_failure_that_a_job_may_have_is_no_error_of_its_span() -> None:
    may = replace(make_spec("test"), continue_on_error=True)
    made = detail()
    spans = by_name(told(replace(made, jobs=(replace(made.jobs[0], spec=may), made.jobs[1]))))
    assert spans["test"].status.code == SpanStatus.STATUS_CODE_UNSET
    assert attributes(spans["test"])["cicd.pipeline.task.run.result"] == "failure"


def test_ids_follow_from_what_they_name() -> None:
    assert told(detail()) == told(detail())
    other, first = told(detail(), cluster="c2"), told(detail())
    assert other[0].trace_id != first[0].trace_id
    assert {span.span_id for span in other}.isdisjoint(span.span_id for span in first)


class Scene:
    """A store whose builds a collector is told of."""

    def __init__(self, folder: Path, url: str, headers: Path | None = None) -> None:
        self.store = MemoryStore()
        self.outbox = Outbox(folder)
        self.now = NOW + 60_000
        self.rule = Rule(name="traces", url=url, headers_file=headers, private=False)

    def end(self) -> None:
        made = detail()
        notes = [make_note("build", "7", build=7, at=self.now, state=state) for state in ("queued", "failed")]
        self.store.commit(new(made.build, *made.jobs, *made.attempts, notes=(notes[0],)))
        self.run()
        assert self.outbox.waiting() == {}, "a build that is not over is told"
        self.store.commit(new(notes=(notes[1],)))

    def run(self, turns: int = 8, *, leap_ms: int = 0) -> None:
        async def deliver() -> None:
            async with Caller() as caller:
                tracer = Tracer(cluster="c1", public_url="")
                traces = Traces(self.rule, reader=self.store.reader, caller=caller, tracer=tracer)
                delivery = Delivery(traces, reader=self.store.reader, outbox=self.outbox, now=lambda: self.now)
                for _ in range(turns):
                    self.now += await delivery.step() + leap_ms

        asyncio.run(deliver())

    def problem(self) -> str:
        (following,) = self.outbox.followings()
        return following.problem


def test_a_collector_gets_each_trace_whole_and_once(tmp_path: Path, collector: Collector) -> None:
    scene = Scene(tmp_path, collector.url)
    scene.run()
    scene.end()
    scene.run()
    assert collector.spans == list(Tracer(cluster="c1", public_url="").spans(detail()))
    assert collector.paths == ["/v1/traces"]
    assert collector.headers[0]["content-type"] == "application/x-protobuf"
    assert collector.resources[0]["service.name"] == "surveil"
    # The line is read again, as after a copy was put back: whoever has been told is not told again.
    scene.store.commit(new(notes=(make_note("build", "7", build=7, at=scene.now, state="failed"),)))
    scene.run()
    assert len(collector.paths) == 1


def test_a_collector_that_is_away_is_told_when_it_is_back(tmp_path: Path, collector: Collector) -> None:
    scene = Scene(tmp_path, collector.url)
    scene.run()
    collector.answers = [503, 429, 401]
    scene.end()
    scene.run(20, leap_ms=30_000)
    assert len(collector.paths) == 4
    # What it took before it said so is the same to it.
    assert set(Counter(span.span_id for span in collector.spans).values()) == {4}
    assert scene.problem() == ""


def test_a_trace_that_a_collector_minds_is_given_up_and_no_other_waits(tmp_path: Path, collector: Collector) -> None:
    scene = Scene(tmp_path, collector.url)
    scene.run()
    collector.answers = [400] * 10
    scene.end()
    scene.run(60, leap_ms=300_000)
    (following,) = scene.outbox.followings()
    assert (following.given_up, len(collector.paths)) == (1, 10)


def test_a_collector_is_shown_what_it_asks_for(tmp_path: Path, collector: Collector) -> None:
    headers = tmp_path / "headers"
    headers.write_text("X-Team: ci\n\nAuthorization: Bearer secret\n")
    scene = Scene(tmp_path, collector.url, headers)
    scene.run()
    scene.end()
    scene.run()
    assert collector.headers[0]["authorization"] == "Bearer secret"
    assert collector.headers[0]["x-team"] == "ci"


@pytest.mark.parametrize("text", ["nonsense", "a b: c", "x: a\x01b", "é: x"])
def test_what_is_no_header_is_said_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "headers").write_text(text)
    with pytest.raises(InfrastructureError, match="headers"):
        headers_in(tmp_path / "headers")


def test_the_how_to_shows_rules_that_can_be_read(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    (tmp_path / "notify.toml").write_text(shown)
    (tmp_path / "collector.headers").write_text("Authorization: Bearer x")
    (found,) = load_rules(tmp_path / "notify.toml").traces
    assert (found.url, found.private) == ("https://collector.example.org:4318", False)


def test_without_the_extra_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "surveil.notify.spans", None)
    with pytest.raises(InvalidError, match=r"pip install 'surveil\[otel\]'"):
        tracer_of("c1", None)


def test_the_rules_name_a_collector(tmp_path: Path) -> None:
    rules = tmp_path / "notify.toml"
    (tmp_path / "headers").write_text("x: y")
    rules.write_text(
        '[[traces]]\nurl = "https://collector.example.org:4318/"\nheaders_file = "headers"\nprivate = true\n'
    )
    (found,) = load_rules(rules).traces
    assert found == Rule(
        name="traces", url="https://collector.example.org:4318", headers_file=tmp_path / "headers", private=True
    )
    rules.write_text('[[traces]]\nurl = "http://collector.example.org"\nwhat = 1\n[[traces]]\n')
    with pytest.raises(InvalidError) as complaint:
        load_rules(rules)
    assert "use https" in str(complaint.value)
    assert "there is no key `what`" in str(complaint.value)
    assert "traces 2: `url` is missing" in str(complaint.value)
