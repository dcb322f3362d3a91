"""Decides, when a build is made, how many shards its suites have that leave it open.

What belongs here: whom to ask. What does not: how many are enough (`core.shards`), how long tests took (`durations`),
and what becomes of the number (`surveil.pipeline`).

It is decided once, before there is a build: its jobs are written with it, and stay as they are.
"""

from __future__ import annotations

from surveil.core.declared import ShardsDeclaration
from surveil.core.model import Runner
from surveil.core.shards import enough
from surveil.hands.durations import lately
from surveil.pipeline import Pipeline
from surveil.protocol import CommitSeen, JobSpec
from surveil.say import Voice
from surveil.store import Reader, StoreError

voice = Voice("sharding")


def decided(reader: Reader, commit: CommitSeen, pipeline: Pipeline) -> dict[str, int]:
    """By job of the file how many shards it has: as many as the suite of its largest cell needs. Called in a thread."""
    counts: dict[str, int] = {}
    for name, asked in pipeline.undecided.items():
        suites = {job.suite: job for job in pipeline.jobs if job.shards and job.declared_name == name}
        try:
            runners = reader.runners()
            counts[name] = max(_of_suite(reader, runners, commit, job, asked) for job in suites.values())
        except StoreError as error:
            voice.error("nobody can say how long tests took, so there is one shard", job=name, reason=error)
            continue
        voice.info("it is decided how many shards there are", repo=commit.repo, job=name, shards=counts[name])
    return counts


def _of_suite(reader: Reader, runners: list[Runner], commit: CommitSeen, job: JobSpec, asked: ShardsDeclaration) -> int:
    known = lately(reader, commit.repo, job.suite, ref=commit.ref, base=commit.base)
    # Busy ones count as well: what is busy now is free in a while, and a build has its shards for good.
    slots = sum(runner.slots for runner in runners if _takes(runner, job))
    return enough(known.newest_ms, target_ms=asked.target_ms, most=asked.most, slots=slots)


def _takes(runner: Runner, job: JobSpec) -> bool:
    return (
        runner.online and not runner.draining and not runner.cordoned and frozenset(job.labels).issubset(runner.labels)
    )
