"""An installation that has seen something, for tests and for the pictures in the documents; and one where every text is
somebody's attack.
"""

from __future__ import annotations

import time

from surveil.answer.auditing import What
from surveil.core.model import Attempt, AttemptState, Build, Job, Record, Status
from surveil.core.state import Session
from surveil.frozen import replace
from surveil.protocol import Case, CaseState, StepReport, Tally, WatchedRepo
from surveil.store.acts import Act
from surveil.store.passes import Kind
from surveil.store.people import Role
from tests.answer.desk import Desk
from tests.corpora.naughty import NAUGHTY
from tests.store.records import make_artifact, make_build, make_note, make_runner, make_spec, new
from tests.web.stage import Stage

MINUTE = 60_000
SITE, API = "https://git.example.org/shop/site.git", "https://git.example.org/shop/api.git"
SUBJECTS = (
    "Show the price with its currency", "Let baskets be shared", "Round only what is shown",
    "Upgrade the template engine",
    "Answer 404 for goods that are gone", "Say which address is wrong", "Send one mail, not two", "Sort by price",
)  # fmt: skip
PEOPLE = ("Ada Example <ada@example.org>", "Grace Example <grace@example.org>")
ATTACKS = (
    "<script>window.__xss=1</script>", "<img src=x onerror=window.__xss=1>", '"><svg onload=window.__xss=1>',
    "' onmouseover='window.__xss=1", "javascript:window.__xss=1", "</title><script>window.__xss=1</script>",
    "</textarea><script>window.__xss=1</script>", "<iframe srcdoc='<script>parent.__xss=1</script>'>",
    "<style>*{display:none}</style>", "<base href=//x.example>", "<meta http-equiv=refresh content=0>",
    "<form action=//x.example><button>", "<a hx-get=/ hx-trigger=load>", "<div hx-on:load=window.__xss=1>",
    "{% raw %}{{ 7 * 7 }}", "-->", "<!--", "]]>", "&lt;script&gt;", "<plaintext>", "<xmp>", "<noscript>",
)  # fmt: skip
TEXTS = (*ATTACKS, *NAUGHTY)
CHUNK = 50
LOGGED, WRONG = 14, "unit[python=3.12]"
"""The build, and the job of it, whose log can be looked at."""


def job(build: Build, name: str, at: int, state: Status, *needs: str) -> Job:
    spec = replace(make_spec(name), needs=needs, labels=("linux",), matrix={}, concurrency="")
    return Job(
        id=f"{build.id}/{name}", build=build.id, position=at, repo=build.repo, spec=spec, state=state,
        reason="" if state is not Status.FAILED else "the step `Tests` ended with exit code 1", attempt=0,
        created_at=build.created_at, started_at=build.started_at, finished_at=build.finished_at,
    )  # fmt: skip


def attempt(of: Job, number: int, runner: str, state: AttemptState, *, begin: int, end: int | None) -> Attempt:
    reason = {AttemptState.LOST: "runner blue stopped answering 8.1 s ago", AttemptState.FAILED: of.reason}
    return Attempt(
        job=of.id, number=number, runner=runner.ljust(40, "x"), runner_name=runner, incarnation=1, state=state,
        reason=reason.get(state, ""), assigned_at=begin, accepted_at=begin, started_at=begin, finished_at=end,
    )  # fmt: skip


def build(
    number: int, state: Status, ago_min: int, took_min: int = 4, *, repo: str = SITE, branch: str = "main"
) -> Build:
    begin = _now() - ago_min * MINUTE
    reason = {Status.FAILED: "unit failed", Status.ERRORED: "no runner has the label `gpu`"}.get(state, "")
    open_ = state in {Status.RUNNING, Status.QUEUED}
    return make_build(
        number, jobs=(), mid=str(number), repo=repo, ref=f"refs/heads/{branch}", sha=f"{number * 7919:040x}"[::-1],
        message=SUBJECTS[number % len(SUBJECTS)], author=PEOPLE[number % 2], state=state, reason=reason, trusted=True,
        base="", paths=None, inputs=None, approved="", complaints=(), rule="", created_at=begin, started_at=begin,
        finished_at=None if open_ else begin + took_min * MINUTE,
    )  # fmt: skip


def sample(desk: Desk) -> None:
    """Two repositories, a broken branch, a lost runner, a build under way."""
    past = [Status.PASSED] * 9 + [Status.FAILED, Status.PASSED, Status.PASSED, Status.FAILED]
    for number, state in enumerate(past, 1):
        repo, branch = API if number % 3 == 0 else SITE, "prices" if number == 11 else "main"
        _with_jobs(desk, build(number, state, 400 - number * 25, 4 + number % 3, repo=repo, branch=branch))
    _with_jobs(desk, build(14, Status.FAILED, 40, 9, branch="prices"))
    _with_jobs(desk, build(15, Status.RUNNING, 3))
    runners = [
        make_runner("blue", online=False, seen_at=_now() - 30 * MINUTE), make_runner("green", seen_at=_now(), slots=2),
        make_runner("violet", seen_at=_now(), slots=4, cordoned="by ada: its disk is being replaced"),
    ]  # fmt: skip
    key = "blue".ljust(40, "x")
    notes = (
        make_note("runner", key, build=None, state="lost", at=_now() - 31 * MINUTE, reason="stopped answering"),
        make_note("dispatcher", "", build=None, state="started", at=_now() - 500 * MINUTE, reason="epoch 3"),
    )  # fmt: skip
    desk.store.commit(new(*runners, notes=notes))
    for load, runner in enumerate(runners[1:], 1):
        desk.live.state.put(runner, 0)
        heard = Session(incarnation=1, seq=1, heard_at=_now(), load_percent=load * 31, disk_free_mib=90_000)
        desk.live.state.sessions[runner.id] = heard
    for each in desk.store.reader.details([15]):
        records: tuple[Record, ...] = (each.build, *each.jobs, *each.attempts)
        for record in records:
            desk.live.state.put(record, 0)
    kept = {"name": "wheel", "size": 1_234_567, "kept_at": _now(), "expires_at": _now() + 30 * 1440 * MINUTE}
    desk.keep(make_artifact(job="14/build", attempt=1, **kept))
    desk.live.watching["eye"] = (
        WatchedRepo(repo=SITE), WatchedRepo(repo=API, problem="git.example.org refuses the key: permission denied"),
    )  # fmt: skip
    desk.live.schedules = lambda: [(SITE, "30 2 * * *", "Europe/Berlin", _now() + 300 * MINUTE)]


def furnish(stage: Stage) -> None:
    """The sample, and who comes to see it: people with roles, tokens, and what they did."""
    sample(stage.desk)
    roles = {"grace": ("run", "https://git.example.org/shop/*"), "alan": ("read", API), "barbara": ("admin", SITE)}
    for name, (scope, repo) in roles.items():
        stage.passes.people.put(name, [Role(repo=repo, scope=scope)], now=_now() - 30 * 1440 * MINUTE)
    for name, label in (("grace", "the dashboard in the kitchen"), ("alan", "")):
        lasts_ms = 20 * 1440 * MINUTE
        now = _now() - 10 * 1440 * MINUTE
        stage.passes.issue(Kind.TOKEN, name, "run", now=now, lasts_ms=lasts_ms, label=label, user=name)
    done = (
        (What.USER, "grace", "run in https://git.example.org/shop/*", "command"), (What.SIGN_IN, "ada", "", "page"),
        (What.CANCEL, "build 9", "cancelled by ada", "page"), (What.RETRY, "build 12", "", "api"),
        (What.RUNNER, "violet", "cordon: its disk is being replaced", "command"),
        (What.SECRET_SET, "NPM_TOKEN", "for refs/heads/main", "command"),
    )  # fmt: skip
    for ago_min, (what, subject, detail, way) in zip((9000, 400, 180, 90, 45, 8), done, strict=True):
        client = "" if way == "page" and what is What.SIGN_IN else "local"
        at = _now() - ago_min * MINUTE
        stage.acts.write(Act(at=at, person="ada", client=client, way=way, what=what, subject=subject, detail=detail))


def _with_jobs(desk: Desk, made: Build) -> None:
    """Lint and build, four cells of tests after them, and then the deployment."""
    broken, begin = made.state is Status.FAILED, made.created_at
    cells = [f"unit[python=3.{minor}]" for minor in (11, 12, 13, 14)]
    states = {"build": Status.PASSED, "lint": Status.PASSED, **dict.fromkeys(cells, Status.PASSED)}
    states[cells[1]] = Status.FAILED if broken else Status.PASSED
    states["deploy"] = Status.SKIPPED if broken else Status.PASSED
    if made.state is Status.RUNNING:
        states |= {**dict.fromkeys(cells, Status.RUNNING), cells[3]: Status.QUEUED, "deploy": Status.BLOCKED}
    needs = {"deploy": tuple(cells), **dict.fromkeys(cells, ("build",))}
    jobs = [job(made, name, at, state, *needs.get(name, ())) for at, (name, state) in enumerate(states.items())]
    tries: list[Attempt] = []
    for at, each in enumerate(jobs):
        if each.state in {Status.QUEUED, Status.BLOCKED, Status.SKIPPED}:
            continue
        start = begin + (at > 1) * MINUTE + (at > 5) * 2 * MINUTE
        end = None if each.state is Status.RUNNING else start + MINUTE + at * 9_000
        runner = ("green", "violet")[at % 2]
        if broken and at == 4:
            tries.append(attempt(each, 1, "blue", AttemptState.LOST, begin=start, end=start + MINUTE // 2))
            start += MINUTE // 2
        number, came_to = 1 + (broken and at == 4), AttemptState(each.state.value)
        tries.append(attempt(each, number, runner, came_to, begin=start, end=end))
    ends = {each.job: (each.started_at, each.finished_at) for each in tries}
    for at, each in enumerate(jobs):
        begun, ended = ends.get(each.id, (None, None))
        jobs[at] = replace(each, started_at=begun, finished_at=ended, attempt=int(each.id in ends))
    if made.id == LOGGED:
        tries = [_print(desk, each) if each.job.endswith(WRONG) else each for each in tries]
    desk.store.commit(new(made, *jobs, *tries))
    for tried in tries:
        if "unit" in tried.job and tried.state in {AttemptState.PASSED, AttemptState.FAILED}:
            wrong = tried.state is AttemptState.FAILED
            found = [_case(number, "passed") for number in range(30)]
            if wrong:
                found[3], found[4] = _case(3, "failed"), _case(4, "failed")
            tally = Tally(passed=30 - 2 * wrong, failed=2 * wrong, errored=0, skipped=0, duration_ms=31_000)
            desk.store.add_cases(tried.id, 0, found, tally)


def _print(desk: Desk, tried: Attempt) -> Attempt:
    """What an attempt at the tests printed; the attempt with its steps."""
    first = b"::group::Install the packages\nCollecting pytest\n\x1b[2mInstalling packages\x1b[0m\n::endgroup::\n"
    passed = (
        b"tests/test_prices.py::test_price_%d \x1b[32mPASSED\x1b[0m\n" % number for number in (*range(3), *range(5, 30))
    )
    log = first + b"".join(passed) + (
        b"tests/test_prices.py::test_price_3 \x1b[31mFAILED\x1b[0m\n\n    def test_price():\n"
        b">       assert price(12.5) == '12.50 EUR'\n\x1b[1;31mE       AssertionError: 12.5 != '12.50 EUR'\x1b[0m\n"
    )  # fmt: skip
    desk.log(tried.job, tried.number, log)
    steps = (
        StepReport(name="Install", state="passed", exit_code=0, log_at=0),
        StepReport(name="Tests", state="failed", exit_code=1, log_at=len(first)),
    )
    return replace(tried, steps=steps, log_bytes=len(log), released=True)


def _case(number: int, state: CaseState) -> Case:
    wrong = state == "failed"
    return Case(
        suite="tests.test_prices", name=f"test_price_{number}", state=state, duration_ms=40 + number * number * 9,
        message="AssertionError: 12.5 != '12.50 EUR'" if wrong else "",
        output="def test_price():\n>   assert price(12.5) == '12.50 EUR'\nE   AssertionError" if wrong else "",
    )  # fmt: skip


def attacked(desk: Desk) -> None:
    """A build, a runner, a watched repository and a schedule for each text; each `CHUNK` of them as jobs and tests."""
    records: list[Record] = []
    for number, text in enumerate(TEXTS, 1):
        made = replace(build(number, Status.FAILED, number, repo=text), ref=text, message=text, author=text)
        made = replace(made, reason=text, event=text[:100], complaints=(text,))
        records.append(made)
        records.append(replace(make_runner(f"r{number}"), name=text, host=text, labels=(text,), cordoned=text))
        if number % CHUNK == 0 or number == len(TEXTS):
            texts = TEXTS[(number - 1) // CHUNK * CHUNK : number]
            jobs = [replace(job(made, name, at, Status.FAILED), reason=name) for at, name in enumerate(texts)]
            jobs = [replace(each, spec=replace(each.spec, needs=(each.spec.name, "lint"))) for each in jobs]
            lint = job(made, "lint", len(jobs), Status.PASSED)
            tries = [attempt(each, 1, each.spec.name, AttemptState.FAILED, begin=5, end=9) for each in jobs]
            records += [*jobs, lint, *(replace(each, reason=each.runner_name) for each in tries)]
    notes = [
        make_note("runner", f"r{n}".ljust(40, "x"), build=None, state="lost", reason=t) for n, t in enumerate(TEXTS, 1)
    ]
    desk.store.commit(new(*records, notes=tuple(notes)))
    for record in records:
        if isinstance(record, Attempt):
            name = record.runner_name
            case = Case(suite=name, name=name, state="failed", duration_ms=1, message=name, output=name)
            tally = Tally(passed=0, failed=1, errored=0, skipped=0, duration_ms=1, problems=(name,))
            desk.store.add_cases(record.id, 0, [case], tally)
    for number, text in enumerate(TEXTS[:CHUNK]):
        kept = {"name": text, "blob": f"{number:064x}", "expires_at": _now()}
        desk.keep(make_artifact(job=f"{CHUNK}/{text}", attempt=1, **kept))
    desk.live.watching["eye"] = tuple(WatchedRepo(repo=text, problem=text) for text in TEXTS)
    desk.live.schedules = lambda: [(text, text, text, None) for text in TEXTS]


def _now() -> int:
    return time.time_ns() // 1_000_000
