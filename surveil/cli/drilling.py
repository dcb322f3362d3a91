"""The course of a drill: a harmless job, something that dies under it, and what is seen afterwards.

What belongs here: what is done in which order, what is looked at, and what counts as held. What does not: the consent
(`drill`), finding and ending processes (`surveil.execute.victims`), how the report looks (`surveil.screen.recovery`).

A drill believes nothing that it can count: the job prints numbered lines, and all of them have to be in the log of the
attempt that decided, in their order, each once.
"""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surveil.cli.drilling_report import Seen
from surveil.client import VERDICTS
from surveil.core.trust import DRILL
from surveil.errors import InfrastructureError, NotAllowedError, NotFoundError, SurveilError
from surveil.execute.victims import Victim, find_victim, holder, kill_runner, start_again, stop_for
from surveil.net.keys import RUNNER_KEY, load_keys
from surveil.places import KEYS, RUNNERS
from surveil.screen.words import Waits

if TYPE_CHECKING:
    from surveil.cli.blocking import Dispatcher

A_RUNNER: Final = "a runner"
A_DISPATCHER: Final = "a dispatcher"
JOB: Final = "drill"
COPIES_MAX: Final = 16
"""So many jobs are made at most, for one of them to reach a runner on this machine; the others are cancelled."""
BEGIN_S: Final = 120.0
END_S: Final = 300.0
LOOK_S: Final = 0.2
WAITING_S: Final = 3.0
"""A job that waits for so long is told why."""
LINES_FIRST: Final = 3
"""So many lines are in the log before anything dies."""
RETURN_S: Final = 30.0
"""How long a runner is waited for that should be back, after the job has its verdict."""
ALONE_S: Final = 10.0
"""If nobody started the runner again by then, we do; supervisors take a second."""
NOTICED_MS: Final = 2_000
"""A dispatcher that stood still for less may not have noticed it itself."""
OPEN_BUILDS: Final = 200
"""So many of the newest builds are looked through for jobs that run."""


def pipeline(seconds: int, copies: int) -> str:
    """The pipeline of a drill: jobs that print a numbered line each second, and do nothing else."""
    script = f"i=0; while [ $i -lt {seconds} ]; do i=$((i+1)); echo line $i of {seconds}; sleep 1; done"
    jobs = [
        f"  {JOB if copy == 0 else f'{JOB}-{copy + 1}'}:\n    timeout: 10m\n    steps:\n"
        f"      - name: Count to {seconds} and do nothing else\n        run: '{script}'\n"
        for copy in range(copies)
    ]
    return "version: 1\njobs:\n" + "".join(jobs)


def expected_log(seconds: int) -> bytes:
    """What such a job prints."""
    return b"".join(b"line %d of %d\n" % (number, seconds) for number in range(1, seconds + 1))


# ---- who may be ended ----------------------------------------------------------------------------


def local_runners(dispatcher: Dispatcher, data: Path, named: Path | None) -> dict[str, Path]:
    """The data folders of this dispatcher's runners whose processes are here and ours, by the runner's name.

    Raises:
        NotFoundError: there is none.
    """
    below = sorted((data / RUNNERS).iterdir()) if (data / RUNNERS).is_dir() else []
    folders = [named] if named is not None else [data, *below]
    names = {runner["id"]: runner["name"] for runner in dispatcher.listed("runners") if runner["state"] == "online"}
    found: dict[str, Path] = {}
    for folder in folders:
        if holder(folder, A_RUNNER) is not None and (name := names.get(_key(folder))) is not None:
            found[name] = folder
    if not found:
        where = str(named) if named is not None else f"{data} or {data / RUNNERS}"
        raise NotFoundError(
            f"No online runner of this dispatcher runs on this machine, as this user, with its data in {where}: name "
            "its data folder with --runner-data, or type the command on the runner's machine."
        )
    return found


def _key(folder: Path) -> str:
    try:
        return load_keys(folder / KEYS / RUNNER_KEY).public
    except SurveilError:
        return ""


def running_jobs(dispatcher: Dispatcher, but: int = 0) -> list[tuple[str, str, int]]:
    """The jobs that have an attempt on a runner now, those of the build `but` left out: job, runner, attempt."""
    builds = dispatcher.builds(limit=OPEN_BUILDS)
    jobs = [job for build in builds if build["state"] not in VERDICTS and build["id"] != but for job in build["jobs"]]
    return [
        (job["id"], job["attempts"][-1]["runner"], job["attempt"])
        for job in jobs
        if job["state"] == "running" and job["attempts"]
    ]


def a_commit(dispatcher: Dispatcher) -> Mapping[str, Any]:
    """A build whose commit every runner can get: the newest one that is no drill's.

    Raises:
        NotFoundError: nothing was ever built.
    """
    for build in dispatcher.builds(limit=OPEN_BUILDS):
        if build["ref"] != DRILL:
            return build
    raise NotFoundError(
        "A drill's job needs a commit to be checked out, and nothing was built here yet: commit something, or type "
        "`surveil submit` in a repository, and then again `surveil drill`."
    )


# ---- the course ----------------------------------------------------------------------------------


class Drill:
    """One drill. `tell` says on the screen how it goes."""

    def __init__(self, dispatcher: Dispatcher, *, seconds: int, tell: Callable[[str], None]) -> None:
        self._dispatcher = dispatcher
        self._seconds = seconds
        self._tell = tell
        self._started: subprocess.Popen[bytes] | None = None
        """A runner that we started again; it goes on when we are done."""

    def kill_a_runner(self, local: Mapping[str, Path], *, anyway: bool) -> Seen:
        """Kill the local runner that gets the drill's job, and look how the job goes on.

        Raises:
            SurveilError: it could not be done; nothing was killed, and the drill's build is cancelled.
        """
        online = [runner for runner in self._dispatcher.listed("runners") if runner["state"] == "online"]
        elsewhere = any(runner["name"] not in local for runner in online)
        build = self._submit(min(len(online), COPIES_MAX) if elsewhere else 1)
        with self._cancelled_if_it_fails(build):
            job, attempt = self._begun(build, set(local))
            self._let_go_of_copies(build, job)
            name = attempt["runner"]
            others = [each for each in running_jobs(self._dispatcher, but=build) if each[1] == name]
            if others and not anyway:
                raise NotAllowedError(
                    f"Runner {name} got {others[0][0]} meanwhile, so it was not killed: try again when it is idle, or "
                    "with --anyway."
                )
            victim = find_victim(local[name], A_RUNNER)
            seen = Seen(kind="runner", victim=name, pid=victim.pid, build=build, job=job["name"], lines=self._seconds)
            seen.died_at = self._now()
            kill_runner(victim, (job["id"], attempt["number"]))
            self._tell(f"killed runner {name} (process {victim.pid}) and what it ran of build {build}")
            self._watch(seen, victim)
        self._conclude(seen)
        self._look_at_others(seen, others)
        if not any(each["state"] == "lost" and each["number"] == attempt["number"] for each in seen.attempts):
            seen.faults.append(f"attempt {attempt['number']} of the killed runner does not count as lost")
        return seen

    def stop_the_dispatcher(self, victim: Victim, duration_ms: int) -> Seen:
        """Stop the dispatcher's process under the drill's job, and look how both go on.

        Raises:
            SurveilError: it could not be done; nothing was stopped, and the drill's build is cancelled.
        """
        build = self._submit(1)
        with self._cancelled_if_it_fails(build):
            job, _ = self._begun(build, set())
            others = running_jobs(self._dispatcher, but=build)
            seen = Seen(kind="dispatcher", victim="dispatcher", pid=victim.pid, build=build, job=job["name"])
            seen.lines, seen.for_ms, seen.died_at = self._seconds, duration_ms, self._now()
            stopped = stop_for(victim, A_DISPATCHER, duration_ms)
            self._tell(f"stopped the dispatcher (process {victim.pid}) for {duration_ms / 1000:.0f} s")
            if stopped.wait():
                raise InfrastructureError("The process that stopped the dispatcher and let it go on failed.")
            self._tell("the dispatcher goes on")
            self._watch(seen, None)
        self._conclude(seen)
        self._look_at_others(seen, others)
        if len(seen.attempts) != 1:
            seen.faults.append(
                f"the job needed {len(seen.attempts)} attempts, though its runner was there all the time"
            )
        return seen

    # ---- its steps -------------------------------------------------------------------------------

    def _submit(self, copies: int) -> int:
        commit = a_commit(self._dispatcher)
        about = {
            "mid": f"manual:{uuid.uuid4()}",
            "repo": commit["repo"],
            "ref": DRILL,
            "sha": commit["sha"],
            "message": "surveil drill: a harmless job that counts while something dies",
            "author": "surveil drill",
            "pipeline": pipeline(self._seconds, copies),
            "pipeline_file": "surveil drill",
        }
        build: int = self._dispatcher.ask("submit", about).body["build"]
        self._tell(f"build {build} is the drill's: it counts to {self._seconds} and does nothing else")
        return build

    @contextmanager
    def _cancelled_if_it_fails(self, build: int) -> Iterator[None]:
        """Leave no job behind that nobody watches."""
        try:
            yield
        except (SurveilError, KeyboardInterrupt):
            self._dispatcher.ask("cancel", {"build": build, "reason": "the drill was broken off"})
            raise

    def _begun(self, build: int, wanted: set[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The job, and its attempt, that prints by now on one of the `wanted` runners; on any where none is named."""
        began = time.monotonic()
        waits = Waits()
        document = self._dispatcher.build(build)
        while (now := time.monotonic()) < began + BEGIN_S:
            for job in document["jobs"]:
                attempt = job["attempts"][-1] if job["attempts"] else None
                if job["state"] != "running" or attempt is None or (wanted and attempt["runner"] not in wanted):
                    continue
                if attempt["log_bytes"] >= len(expected_log(LINES_FIRST)):
                    return job, attempt
            if document["state"] in VERDICTS:
                raise InfrastructureError(
                    f"The drill's job did not run as it should, so nothing was ended: build {build} {document['state']}"
                    f" ({document['reason'] or 'without a reason'})."
                )
            for news in waits.news(document) if now > began + WAITING_S else ():
                self._tell(news)
            time.sleep(LOOK_S)
            document = self._dispatcher.build(build)
        why = next((job["waiting"] for job in document["jobs"] if job["waiting"]), None)
        where = next((job["attempts"][-1]["runner"] for job in document["jobs"] if job["attempts"]), None)
        reason = why or (f"it went to runner {where}, which is not on this machine" if where else "it was not begun")
        raise InfrastructureError(f"The drill's job did not begin here within {BEGIN_S:.0f} s: {reason}.")

    def _let_go_of_copies(self, build: int, kept: Mapping[str, Any]) -> None:
        names = [job["name"] for job in self._dispatcher.build(build)["jobs"] if job["id"] != kept["id"]]
        if names:
            about = {"build": build, "jobs": names, "reason": "the drill needs one job only"}
            self._dispatcher.ask("cancel", about)

    def _watch(self, seen: Seen, victim: Victim | None) -> None:
        """Wait for the job's verdict, and for the killed runner to be back."""
        began = time.monotonic()
        until, settled_at = began + END_S, None
        while settled_at is None or (victim is not None and seen.back_after_ms is None):
            now = time.monotonic()
            if settled_at is None and self._job(seen)["state"] in VERDICTS:
                settled_at = now
            if victim is not None and seen.back_after_ms is None:
                self._look_for(victim, seen, now - began)
            if settled_at is not None and now - settled_at > RETURN_S:
                assert victim is not None, "nothing else is waited for"
                seen.faults.append(f"runner {seen.victim} is not back; start it with: {victim.command}")
                return
            if now > until:
                raise InfrastructureError(f"The job has no verdict {END_S:.0f} s after the {seen.kind} was gone.")
            time.sleep(LOOK_S)

    def _look_for(self, victim: Victim, seen: Seen, gone_s: float) -> None:
        """See whether the killed runner is back, and start it where nobody else does."""
        here = holder(victim.folder, A_RUNNER)
        if here is None and gone_s > ALONE_S and not seen.started_again:
            seen.started_again = True
            self._tell(f"nobody started runner {seen.victim} again, so the drill does")
            self._started = start_again(victim)
        elif here is not None and here != victim.pid:
            runners = self._dispatcher.listed("runners")
            if any(each["name"] == seen.victim and each["state"] == "online" for each in runners):
                seen.back_after_ms = int(gone_s * 1000)
                self._tell(f"runner {seen.victim} is back (process {here})")

    def _conclude(self, seen: Seen) -> None:
        """Look at what there is now that it is over."""
        job = self._job(seen)
        seen.verdict, seen.verdict_at, seen.attempts = job["state"], job["finished_at"], job["attempts"]
        if seen.verdict != "passed":
            seen.faults.append(f"the job {seen.verdict}: {job['reason']}")
        passed = [attempt["number"] for attempt in seen.attempts if attempt["state"] == "passed"]
        if len(passed) != (seen.verdict == "passed"):
            seen.faults.append(f"{len(passed)} attempts passed")
        expected = expected_log(seen.lines)
        for attempt in seen.attempts:
            log = self._log(job["id"], attempt["number"])
            if attempt["number"] in passed and log == expected:
                seen.lines_kept = seen.lines
            elif attempt["number"] in passed:
                seen.lines_kept = log.count(b"\n")
                seen.faults.append(f"the log of attempt {attempt['number']} is not what it printed")
            elif not expected.startswith(log):
                seen.faults.append(f"the log of attempt {attempt['number']} has what it did not print")
        self._read_story(seen, job["id"])

    def _read_story(self, seen: Seen, job: str) -> None:
        """When it was noticed, and where the work went on, in the dispatcher's own words."""
        after = [line for line in self._dispatcher.story(seen.build, seen.job) if line["at"] >= (seen.died_at or "")]
        words = {"dispatcher"} if seen.kind == "dispatcher" else {"runner", "lost"}
        seen.noticed = next((line for line in after if line["what"] in words), None)
        seen.went_on = next((line for line in after if line["what"] == "accepted"), None)
        if seen.noticed is None and (seen.for_ms is None or seen.for_ms >= NOTICED_MS):
            seen.faults.append(f"the story of {job} does not say that the {seen.kind} was gone")
        if seen.kind == "runner" and seen.went_on is None:
            seen.faults.append("nobody took the job afterwards")

    def _look_at_others(self, seen: Seen, others: Sequence[tuple[str, str, int]]) -> None:
        """What became of the other jobs that ran there: none of them may have needed another attempt."""
        for job_id, _, attempt in others:
            number, _, name = job_id.partition("/")
            jobs = self._dispatcher.build(int(number))["jobs"]
            job = next(each for each in jobs if each["name"] == name)
            seen.others.append(f"{job_id} {job['state']}, attempt {job['attempt']}")
            if job["attempt"] != attempt:
                seen.faults.append(f"{job_id} had to be tried again")

    def _job(self, seen: Seen) -> Mapping[str, Any]:
        jobs: Sequence[Mapping[str, Any]] = self._dispatcher.build(seen.build)["jobs"]
        return next(job for job in jobs if job["name"] == seen.job)

    def _log(self, job: str, attempt: int) -> bytes:
        pieces = self._dispatcher.follow_log(job, attempt=attempt, follow=False)
        return b"".join(piece.data for piece in pieces)

    def _now(self) -> str:
        """The present instant on the dispatcher's clock."""
        return str(self._dispatcher.ask("status").body["dispatcher"]["at"])
