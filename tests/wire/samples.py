"""One message of each kind with a value in every field, for golden bytes and for fuzzing."""

from __future__ import annotations

from typing import Final

from surveil import protocol
from surveil.protocol import (
    ArtifactSpec,
    CacheSpec,
    Case,
    Held,
    ImageSpec,
    IncludedFile,
    JobSpec,
    Message,
    Ref,
    Remark,
    SecretUse,
    ServiceSpec,
    StepReport,
    StepSpec,
    TakenArtifact,
    Tally,
    WatchedRepo,
)

STEP: Final = StepReport(
    name="Tests", state="failed", exit_code=-9, started_after_ms=5, finished_after_ms=1_234, log_at=65_536,
    remarks=(Remark(at=70_000, after_ms=1_230, text="9 bytes of this step's log were dropped"),),
    image="postgres@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
)  # fmt: skip
SPEC: Final = JobSpec(
    name="test-3.12",
    needs=("build",),
    when="always",
    labels=("linux", "gpu"),
    env={"CI_COLOR": "1"},
    timeout_ms=600_000,
    retry=1,
    on_runner_loss="hold",
    steps=(
        StepSpec(
            name="Tests", run="pytest\n", shell="bash", timeout_ms=300_000, continue_on_error=True, env={"A": "ä"}
        ),
    ),
    matrix={"python": "3.12"},
    image=ImageSpec(
        name="python:3.12",
        pull="always",
        cpu_thousandths=1500,
        memory_bytes=2**30,
        processes=512,
        root=True,
        disk_bytes=2**31,
    ),
    reports=("reports/*.xml",),
    secrets=(SecretUse(name="TOKEN", env="NPM_TOKEN", file="TOKEN_FILE", place=":7:15"),),
    shards=4,
    services=(
        ServiceSpec(
            name="db",
            image=ImageSpec(name="postgres:16"),
            env={"POSTGRES_USER": "app"},
            command=("postgres", "-d1"),
            secrets=("NPM_TOKEN",),
            health=("pg_isready",),
            port=5432,
            interval_ms=500,
            ready_ms=30_000,
        ),
    ),
    artifacts=(ArtifactSpec(name="wheels", paths=("dist/*.whl",), required=True, retention_ms=86_400_000),),
    artifacts_from=(
        TakenArtifact(job="build", name="wheels", build=3, attempt=2, optional=True, blob="b" * 64, size=4096),
    ),
    cache=(CacheSpec(key="pip-${{ hash('*.txt') }}", restore_keys=("pip-",), paths=("~/.cache/pip",)),),
)
CASE: Final = Case(
    suite="shapes.Round", name="falls", state="failed", duration_ms=12, message="it stood", output="line 7: it stood"
)
HELD: Final = (Held(job="7/test", attempt=2, finished=True, log_bytes=70_000),)
REFS: Final = (Ref(job="7/test", attempt=2, log_bytes=70_000),)
SHA: Final = "0123456789abcdef0123456789abcdef01234567"

SAMPLES: Final[tuple[Message, ...]] = (
    protocol.Hello(
        name="spare-2", software="0.1.0", host="box", cluster="c0ffee", incarnation=3, birth=2**52 + 1, seq=1,
        labels=("linux",), slots=4, held=HELD, mirrors=("/srv/repo.git",),
    ),
    protocol.Heartbeat(incarnation=3, seq=17, held=HELD, free=3, load_percent=42, disk_free_mib=10_240),
    protocol.Accepted(job="7/test", attempt=2),
    protocol.Rejected(job="7/test", attempt=2, reason="no slot is free"),
    protocol.Progress(job="7/test", attempt=2, steps=(STEP,)),
    protocol.Finished(
        job="7/test", attempt=2, outcome="failed", reason="step Tests ended with 1", exit_code=1, started_after_ms=3,
        finished_after_ms=1_240, log_bytes=70_000, steps=(STEP,), isolation="process",
        outputs=(protocol.JobOutput(name="version", value="1.2"),), blameless=True,
    ),
    protocol.Output(job="7/test", attempt=2, at=65_536, crc=0xDEADBEEF, after_ms=900, data=b"\x00ok\n\xff"),
    protocol.Cases(
        job="7/test", attempt=2, at=1_000, cases=(CASE,),
        tally=Tally(passed=1_000, failed=1, errored=2, skipped=3, duration_ms=4_321, problems=("a.xml: it is no XML",)),
    ),
    protocol.Deposit(
        id=12, job="7/test", attempt=2, blob="c0ffee00" * 8, size=262_147, at=262_144, data=b"\x00\xff\n",
    ),
    protocol.KeepArtifact(
        id=13, job="7/test", attempt=2, name="wheels", blob="c0ffee00" * 8, size=262_147, files=3,
        retention_ms=86_400_000,
    ),
    protocol.Deposited(id=12, upto=262_147, whole=True, problem="the disk is full", retry_ms=500),
    protocol.ShardAsk(
        job="7/test", attempt=2, seq=3, digest="ab" * 32, final=True, data=b"[]",
        done=(protocol.ShardResult(item=5, state="passed", duration_ms=12),),
    ),
    protocol.SeekCache(
        id=14, job="7/test", attempt=2, key="pip-3.12-c0ffee", restore_keys=("pip-3.12-", "pip-"), paths=("~/.cache",),
    ),
    protocol.CacheFound(
        id=14, key="pip-3.12-c0ffee", blob="c0ffee00" * 8, size=262_147, problem="the attempt was given up", retry_ms=9,
    ),
    protocol.Fetch(id=15, job="7/test", attempt=2, blob="c0ffee00" * 8, at=262_144),
    protocol.Piece(id=15, at=262_144, problem="it is gone", retry_ms=9, data=b"\x00\xff\n"),
    protocol.KeepCache(
        id=16, job="7/test", attempt=2, key="pip-3.12-c0ffee", paths=("~/.cache",), blob="c0ffee00" * 8, size=262_147,
    ),
    protocol.DoubtBlob(id=17, job="7/test", attempt=2, blob="c0ffee00" * 8),
    protocol.Bye(incarnation=3, returning=True),
    protocol.Want(
        id=11, runner="r" * 40, repo="https://example.org/r.git", sha=SHA, have=(SHA[::-1],), at=262_144
    ),
    protocol.Welcome(
        cluster="c0ffee", epoch=5, incarnation=3, seq=1, heartbeat_ms=2_000, lease_ms=8_000, bulk_port=7_301,
        renewed=REFS, revoked=REFS, draining=True,
    ),
    protocol.Beat(epoch=5, seq=17, renewed=REFS, revoked=REFS, draining=True),
    protocol.Introduce(epoch=5),
    protocol.Busy(retry_ms=1_500),
    protocol.Assign(
        epoch=5, incarnation=3, anchor=17, job="7/test", attempt=2, build=7, repo="https://example.org/r.git",
        ref="refs/heads/main", sha=SHA, spec=SPEC, event="pull_request", trusted=False,
        envelope="AAEC",
    ),
    protocol.Cancel(job="7/test", attempt=2, grace_ms=10_000, reason="somebody asked"),
    protocol.Release(job="7/test", attempt=2, fate="recorded"),
    protocol.Kept(job="7/test", attempt=2, upto=70_000),
    protocol.CasesKept(job="7/test", attempt=2, upto=1_001, whole=True),
    protocol.ShardTell(job="7/test", attempt=2, seq=3, batch=(4, 9), wants_list=True, left=2, problem="no list"),
    protocol.Drain(stop=True),
    protocol.CommitSeen(
        mid="push:r:refs/heads/main:" + SHA, repo="https://example.org/r.git", ref="refs/heads/main", sha=SHA,
        event="push", message="Mend it", author="A <a@example.org>", pipeline="version: 1\n",
        pipeline_file=".surveil.yml", rule="pyproject", problem="a problem", trusted=False, base="refs/heads/main",
        paths=("docs/index.md",), inputs={"target": "staging"},
        includes=(IncludedFile(path="ci/a.yml", text="jobs: {}\n"), IncludedFile(path="b", problem="is no file")),
    ),
    protocol.Seen(mid="manual:1", build=7),
    protocol.Watching(birth=5, repos=(WatchedRepo(repo="/srv/repo.git", problem="it is gone"),), looks=True),
    protocol.LookNow(repo="/srv/repo.git"),
    protocol.Pack(
        id=11, runner="r" * 40, made=3, at=262_144, total=262_147, problem="it is gone", retry_ms=500,
        data=b"\x00\xff\n",
    ),
    protocol.Ask(id=9, what="builds", about={"limit": 20, "repo": None}, person="ada", way="page"),
    protocol.Answer(id=9, body=[{"id": 7, "state": "passed"}], error="no such build", exit_code=6, data=b"log\n"),
    protocol.Enrol(secret=bytes(range(32)), name="spare-2", cluster="c0ffee"),
    protocol.Enrolled(cluster="c0ffee", name="spare-2", role="runner", labels=("linux",)),
    protocol.Refused(reason="this data folder was copied", exit_code=5, birth=2**52 + 1, final=True),
)  # fmt: skip

PARCEL: Final[tuple[Message, ...]] = tuple(
    sample for sample in SAMPLES if isinstance(sample, protocol.Accepted | protocol.Finished)
)
