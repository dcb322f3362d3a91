"""A build as a trace of OpenTelemetry: the build, its jobs, their attempts and those's steps are spans.

What belongs here: which spans there are, what they are called, and the bytes of them (OTLP). What does not: when they
are told to whom (`traces`).

Ids follow from what they name, so that a trace which is told again is the same trace, and whoever knows a build finds
it. Attributes have the names that OpenTelemetry's conventions for CI/CD and version control give them, where they give
any; all others begin with `surveil.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from surveil import __version__
from surveil.core.model import Attempt, Build, Job
from surveil.frozen import dataclass
from surveil.store import BuildDetail

TEXT_CHARACTERS_MAX: Final = 1_000
_NS: Final = 1_000_000
_RESULTS: Final = {
    "passed": "success", "failed": "failure", "errored": "error", "cancelled": "cancellation", "skipped": "skip",
    "lost": "error",
}  # fmt: skip
_WRONG: Final = frozenset({"failed", "errored", "lost"})

Value = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """Makes traces of one installation; links begin with `public_url`, and without one there are none."""

    cluster: str
    public_url: str

    def request(self, detail: BuildDetail) -> bytes:
        """What a collector is sent of a build that is over."""
        made = ExportTraceServiceRequest()
        resource = made.resource_spans.add()
        about = {"service.name": "surveil", "service.version": __version__, "service.instance.id": self.cluster}
        resource.resource.attributes.extend(_attributes(about))
        scope = resource.scope_spans.add()
        scope.scope.name, scope.scope.version = "surveil", __version__
        scope.spans.extend(self.spans(detail))
        return bytes(made.SerializeToString(deterministic=True))

    def spans(self, detail: BuildDetail) -> Iterator[Span]:
        """The spans of a build, each after the one that it is within."""
        build = detail.build
        trace = self._mark(16, "build", str(build.id))
        root = self._mark(8, "build", str(build.id))
        yield _span(
            trace, root, b"", name=f"{_name_of(build.repo)} {build.ref.removeprefix('refs/heads/')}",
            start=build.created_at, end=build.finished_at or build.created_at, state=build.state, reason=build.reason,
            about=self._about_build(build),
        )  # fmt: skip
        tries: dict[str, list[Attempt]] = {}
        for attempt in detail.attempts:
            tries.setdefault(attempt.job, []).append(attempt)
        for job in detail.jobs:
            yield from self._of_job(build, job, tries.get(job.id, []), trace, root)

    def _of_job(self, build: Build, job: Job, tries: list[Attempt], trace: bytes, root: bytes) -> Iterator[Span]:
        mark = self._mark(8, "job", job.id)
        end = job.finished_at or build.finished_at or job.created_at
        start = min([each.assigned_at for each in tries] + [job.started_at or end, end])
        yield _span(
            trace, mark, root, name=job.spec.name, start=start, end=end, state=job.state, reason=job.reason,
            tolerated=job.counts_as != job.state,
            about={
                "cicd.pipeline.task.name": job.spec.name, "cicd.pipeline.task.run.id": job.id,
                "cicd.pipeline.task.run.result": _RESULTS.get(job.state), "surveil.job.attempts": len(tries),
                "surveil.job.waited_ms": max(0, start - job.created_at),
            },
        )  # fmt: skip
        for attempt in tries:
            yield from self._of_attempt(attempt, trace, mark, end)

    def _of_attempt(self, attempt: Attempt, trace: bytes, job: bytes, job_end: int) -> Iterator[Span]:
        identity = f"{attempt.job}#{attempt.number}"
        mark = self._mark(8, "attempt", identity)
        end = attempt.finished_at or job_end
        yield _span(
            trace, mark, job, name=f"attempt {attempt.number}", start=attempt.assigned_at, end=end,
            state=attempt.state, reason=attempt.reason,
            about={
                "cicd.worker.name": attempt.runner_name, "surveil.attempt.number": attempt.number,
                "surveil.attempt.state": attempt.state.value, "process.exit.code": attempt.exit_code,
                "surveil.attempt.isolation": attempt.isolation or None,
            },
        )  # fmt: skip
        accepted = attempt.accepted_at
        for at, step in enumerate(attempt.steps):
            if accepted is not None and step.started_after_ms is not None:
                ended = end if step.finished_after_ms is None else accepted + step.finished_after_ms
                yield _span(
                    trace, self._mark(8, "step", f"{identity}.{at}"), mark, name=step.name,
                    start=accepted + step.started_after_ms, end=ended, state=step.state, reason="",
                    about={"process.exit.code": step.exit_code},
                )  # fmt: skip

    def _about_build(self, build: Build) -> dict[str, Value]:
        return {
            "cicd.pipeline.name": build.pipeline_file or build.rule or None,
            "cicd.pipeline.run.id": str(build.id),
            "cicd.pipeline.result": _RESULTS.get(build.state),
            "cicd.pipeline.run.url.full": f"{self.public_url}/builds/{build.id}" if self.public_url else None,
            "vcs.repository.url.full": build.repo,
            "vcs.ref.head.name": build.ref,
            "vcs.ref.head.revision": build.sha,
            "surveil.build.event": build.event,
            "surveil.build.author": build.author,
            "surveil.build.retry_of": build.retry_of,
            "surveil.build.trusted": build.trusted,
        }

    def _mark(self, size: int, kind: str, identity: str) -> bytes:
        """An id that is the same each time it is asked for, and never of zeros alone."""
        found = sha256(f"{self.cluster} {kind} {identity}".encode()).digest()[:size]
        return found if any(found) else b"\1" * size


def _span(
    trace: bytes, mark: bytes, parent: bytes, *, name: str, start: int, end: int, state: str, reason: str,
    about: Mapping[str, Value], tolerated: bool = False,
) -> Span:  # fmt: skip
    """A span from instants in milliseconds; clocks of others may have it end before it begins, which none does."""
    made = Span(
        trace_id=trace, span_id=mark, parent_span_id=parent, name=name[:TEXT_CHARACTERS_MAX] or "-",
        kind=Span.SPAN_KIND_INTERNAL if parent else Span.SPAN_KIND_SERVER,
        start_time_unix_nano=max(0, start) * _NS, end_time_unix_nano=max(start, end, 0) * _NS,
    )  # fmt: skip
    made.attributes.extend(_attributes({**about, "surveil.reason": reason or None}))
    if state in _WRONG and not tolerated:
        made.attributes.extend(_attributes({"error.type": state}))
        made.status.code, made.status.message = Status.STATUS_CODE_ERROR, reason[:TEXT_CHARACTERS_MAX]
    elif state == "passed":
        made.status.code = Status.STATUS_CODE_OK
    return made


def _attributes(values: Mapping[str, Value]) -> Iterator[KeyValue]:
    for key, value in values.items():
        match value:
            case None:
                continue
            case bool():
                yield KeyValue(key=key, value=AnyValue(bool_value=value))
            case int():
                yield KeyValue(key=key, value=AnyValue(int_value=value))
            case _:
                yield KeyValue(key=key, value=AnyValue(string_value=value[:TEXT_CHARACTERS_MAX]))


def _name_of(repo: str) -> str:
    return repo.rstrip("/").rpartition("/")[2].removesuffix(".git") or repo
