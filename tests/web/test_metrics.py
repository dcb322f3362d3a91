"""What Prometheus collects: that the numbers are true, that its own tool likes them, and who may have them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import httpx2
import pytest

from surveil.core.model import Status
from surveil.core.outbox import Draft
from surveil.store.outbox import Outbox
from surveil.web.books import AllBooks
from surveil.web.metrics.route import make_alone
from tests.store.records import make_build, make_job, make_note, make_runner, new
from tests.web.stage import HERE, Stage


def numbers(text: str) -> dict[str, float]:
    """Every sample by its name with its labels."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def collected(stage: Stage) -> dict[str, float]:
    """The numbers of a later look than the one before."""
    stage.app.state.gatherer._remembered.forget()  # noqa: SLF001
    answer = stage.get("/metrics", stage.token())
    assert answer.status_code == 200
    return numbers(answer.text)


def test_only_whoever_may_read_collects_by_the_address_of_the_pages(stage: Stage) -> None:
    assert stage.get("/metrics").status_code == 401
    assert stage.get("/metrics", {"authorization": "Bearer svt_x"}).status_code == 401
    answer = stage.get("/metrics", stage.token("read"))
    assert answer.headers["content-type"].startswith("text/plain")
    open_ = stage.get("/metrics", {**stage.token(), "accept": "application/openmetrics-text; version=1.0.0"})
    assert open_.headers["content-type"].startswith("application/openmetrics-text")
    assert open_.text.endswith("# EOF\n")


def test_an_address_of_its_own_has_the_numbers_and_nothing_else(stage: Stage) -> None:
    alone = make_alone(stage.app.state.gatherer)

    async def ask(path: str) -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=alone), base_url=HERE) as client:
            return await client.get(path)

    assert "surveil_store_up 1.0" in asyncio.run(ask("/metrics")).text
    for path in ("/", "/api/v1/builds", "/openapi.json", "/docs", "/healthz"):
        assert asyncio.run(ask(path)).status_code == 404, path


def test_what_waits_and_runs_is_counted_whoever_is_away(stage: Stage) -> None:
    waits = make_job(3, state=Status.QUEUED, created_at=stage.now - 90_000)
    stage.desk.store.commit(new(make_build(3), waits, make_build(4), make_job(4, state=Status.RUNNING)))
    stage.now += 1_000_000_000  # The job of the second build was made at the beginning of time.
    stage.dispatcher.away = True
    found = collected(stage)
    assert found["surveil_dispatcher_up"] == 0
    assert "surveil_slots" not in found
    assert {state: found[f'surveil_jobs{{state="{state}"}}'] for state in ("blocked", "held", "queued", "running")} == {
        "blocked": 0, "held": 0, "queued": 2, "running": 1,
    }  # fmt: skip
    assert found["surveil_queue_oldest_wait_seconds"] == (stage.now - 1002) / 1000


def test_the_dispatcher_tells_of_its_runners(stage: Stage) -> None:
    pool = [make_runner("a", slots=3), make_runner("b", slots=2, cordoned="no"), make_runner("c", online=False)]
    stage.desk.store.commit(new(*pool))
    for runner in pool:
        stage.desk.live.state.put(runner, 0)
    found = collected(stage)
    assert found["surveil_dispatcher_up"] == 1
    assert found["surveil_slots"] == 5
    assert found["surveil_slots_busy"] == 0
    assert found["surveil_dispatcher_epoch"] == 3
    states = {state: found[f'surveil_runners{{state="{state}"}}'] for state in ("online", "suspect", "offline")}
    assert states == {"online": 0, "suspect": 2, "offline": 1}


def test_verdicts_and_lost_attempts_are_counted_as_they_happen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.desk.store.commit(new(notes=(make_note("build", "1", build=1, state="failed"),)))
    before = collected(stage)
    verdict = 'surveil_builds_total{verdict="failed"}'
    assert before[verdict] == 0  # It happened before anybody looked.
    ended = [
        make_note("build", "5", build=5, state="failed", at=stage.now),
        make_note("build", "5", build=5, state="queued"),
        make_note("build", "6", build=6, state="passed", at=1_001 + 45_000),
        make_note("attempt", "2/test#1", build=2, state="lost"), make_note("job", "2/test", build=2, state="queued"),
        make_note("job", "2/test", build=2, state="failed"), make_note("runner", "a", build=None, state="offline"),
    ]  # fmt: skip
    created = [make_build(5, created_at=stage.now - 100_000), make_build(6, created_at=1_001)]
    stage.desk.store.commit(new(*created, notes=tuple(ended)))
    found = collected(stage)
    assert found[verdict] == 1
    assert found['surveil_builds_total{verdict="passed"}'] == 1
    assert found['surveil_attempts_total{state="lost"}'] == 1
    assert found['surveil_jobs_ended_total{verdict="failed"}'] == 1
    assert found['surveil_runner_changes_total{state="offline"}'] == 1
    took = "surveil_build_duration_seconds"
    assert found[f'{took}_sum{{verdict="passed"}}'] == 45
    in_buckets = [found[f'{took}_bucket{{le="{le}",verdict="passed"}}'] for le in ("30.0", "60.0", "+Inf")]
    assert in_buckets == [0, 1, 1]
    assert found[f'{took}_bucket{{le="60.0",verdict="failed"}}'] == 0
    assert found[f'{took}_count{{verdict="failed"}}'] == 1
    assert collected(stage)[verdict] == 1


def test_a_target_that_is_away_shows(stage: Stage) -> None:
    assert not any(name.startswith("surveil_outbox") for name in collected(stage))
    outbox = Outbox(stage.folder)
    outbox.begin("forge", position=0, at=0)
    draft = Draft(subject="s", slot="s", body="x", made_at=stage.now - 7_000)
    outbox.read_on("forge", [draft], position=0, at=0, now=stage.now)
    outbox.close()
    stage.desk.store.commit(new(notes=tuple(make_note() for _ in range(3))))
    found = collected(stage)
    of = {name: found[f'surveil_outbox_{name}{{target="forge"}}'] for name in ("waiting", "behind_lines", "failures")}
    assert of == {"waiting": 1, "behind_lines": 3, "failures": 0}
    assert found['surveil_outbox_oldest_wait_seconds{target="forge"}'] == 7
    assert found['surveil_outbox_delivered_total{target="forge"}'] == 0
    stage.app.state.gatherer.close()


def test_what_this_process_was_asked_is_counted_by_route_and_never_by_address(stage: Stage) -> None:
    for path in ("/api/v1/builds/1", "/api/v1/builds/2", "/api/v1/builds/1/jobs/test/log/follow?attempt=1"):
        assert stage.get(path, stage.token()).status_code == 200
    for path in ("/guess", "/guess/again", "/hooks/github", "/hooks/nobody"):
        stage.post(path, {"x-hub-signature-256": "sha256=00", "x-github-event": "push"}, json={})
    found = collected(stage)
    assert found['surveil_web_answers_total{route="/api/v1/builds/{build}",status="200"}'] == 2
    assert found['surveil_web_answers_total{route="none",status="404"}'] == 2
    assert found['surveil_webhooks_total{forge="github",status="401"}'] == 1
    assert found['surveil_webhooks_total{forge="none",status="404"}'] == 1
    assert found['surveil_followers{kind="log"}'] == 0


def test_a_head_is_counted_as_the_whole_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = stage.token()
    for path in ("/api/v1/builds/1", "/api/v1/builds/2", "/api/v1/builds/1/jobs/test/log/follow?attempt=1"):
        assert stage.request("HEAD", path, headers).status_code == 200
    monkeypatch.setattr(AllBooks, "written_build", lambda *_: 1 // 0)
    assert stage.request("HEAD", "/api/v1/builds/1", headers).status_code == 500
    found = collected(stage)
    assert found['surveil_web_answers_total{route="/api/v1/builds/{build}",status="200"}'] == 2
    assert found['surveil_web_answers_total{route="/api/v1/builds/{build}",status="500"}'] == 1
    assert found['surveil_followers{kind="log"}'] == 0


def test_what_is_refused_before_any_route_is_counted_as_well(stage: Stage) -> None:
    stage.public_url = "https://ci.example.org/ci"
    large = {**stage.token("admin"), "content-length": "99999999"}
    assert stage.post("/api/v1/builds", large, content=b"x").status_code == 413
    assert stage.get("/api/v1/builds/1", stage.token()).status_code == 200
    found = collected(stage)
    assert found['surveil_web_answers_total{route="none",status="413"}'] == 1
    assert found['surveil_web_answers_total{route="/api/v1/builds/{build}",status="200"}'] == 1


def test_an_answer_that_breaks_is_counted_as_broken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    headers = stage.token()
    assert [stage.get("/api/v1/status", headers).status_code for _ in range(2)] == [200, 200]
    monkeypatch.setattr(AllBooks, "written_build", broken)
    # Whoever was let in goes the short way, and others the usual one.
    assert stage.get("/api/v1/builds/1", headers).status_code == 500
    assert stage.get("/api/v1/builds/1", stage.token()).status_code == 500
    assert collected(stage)['surveil_web_answers_total{route="/api/v1/builds/{build}",status="500"}'] == 2


def test_whoever_follows_counts_for_as_long(stage: Stage) -> None:
    sums = stage.app.state.gatherer.web
    seen: list[int] = []

    async def follow() -> None:
        async def receive() -> dict[str, object]:
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                seen.append(sum(sums.open.values()))

        headers = [(name.encode(), value.encode()) for name, value in stage.token().items()]
        path = "/api/v1/builds/1/jobs/test/log/follow"
        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"attempt=1",
            "headers": headers, "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("x", 1),
        }  # fmt: skip
        async with asyncio.timeout(30):
            await stage.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(follow())
    assert seen
    assert set(seen) == {1}
    assert sum(sums.open.values()) == 0


def test_prometheus_own_tool_finds_nothing_to_say(stage: Stage) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool: type `apt install prometheus`")
    outbox = Outbox(stage.folder)
    outbox.begin("forge", position=0, at=0)
    outbox.close()
    stage.post("/hooks/github")
    stage.desk.live.troubles = lambda: [("strangers turned away", 3, "192.0.2.1")]
    collected(stage)
    text = stage.get("/metrics", stage.token()).text
    assert len(numbers(text)) > 100
    done = subprocess.run(
        [promtool, "check", "metrics"], check=False, input=text, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    stage.app.state.gatherer.close()
